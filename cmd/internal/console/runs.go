package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerRuns registers the pages about runs, and the guide to the first connector.
func (c *Console) registerRuns(mux *http.ServeMux) {
	c.get(mux, "/runs", c.runs)
	c.post(mux, "/runs", levelOperator, c.startRuns)
	c.get(mux, "/runs/{id}", c.run)
	c.post(mux, "/runs/{id}/approve", levelOperator, c.approveRun)
	c.post(mux, "/runs/{id}/reject", levelOperator, c.rejectRun)
	c.get(mux, "/start", c.start)
}

// runsPage is the list of runs.
type runsPage struct {
	Connectors []string
	Connector  string // filters
	Status     string
	Statuses   []option
	Runs       []api.Run
	Address    string // of this page
	Pages      listPages
	Form       runForm
}

// option is what a list offers to be chosen.
type option struct{ Value, Text string }

// runForm is what was asked for when runs were to be started.
type runForm struct {
	Open                   bool
	Connector, User, Group string
	DryRun, Full           bool
}

var runStatuses = []option{
	{"running", "Running"},
	{"done", "Done"},
	{"planned", "Planned"},
	{"held", "Held"},
	{"partial", "Partial"},
	{"failed", "Failed"},
}

// runsEach is how many runs a page lists.
const runsEach = 50

func (c *Console) runs(q *request) (*view, error) { return c.runsView(q, runForm{}) }

func (c *Console) runsView(q *request, form runForm) (*view, error) {
	page := runsPage{Connector: q.Query("connector"), Status: q.Query("status"), Statuses: runStatuses, Form: form}
	var err error
	if page.Connectors, err = connectorNames(q); err != nil {
		return nil, err
	}
	if page.Connector != "" && !slices.Contains(page.Connectors, page.Connector) {
		page.Connectors = append(page.Connectors, page.Connector) // it was taken out of the configuration
	}
	query := q.given("connector", "status", "cursor")
	query.Set("limit", strconv.Itoa(runsEach))
	list, err := fetch[api.Page[api.Run]](q, "/runs", query)
	if err != nil {
		return nil, err
	}
	page.Runs = list.Items
	page.Pages, page.Address = cursorPages(q, list.NextCursor), q.URL.RequestURI()
	going := slices.ContainsFunc(list.Items, func(r api.Run) bool { return r.Status == "running" })
	return &view{Page: "runs", Title: "Runs", Section: "/runs", Refresh: going, Data: page}, nil
}

func connectorNames(q *request) ([]string, error) {
	list, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}

func (c *Console) startRuns(q *request) (string, *view, error) {
	form := runForm{
		Open: true, Connector: q.Form("connector"), User: q.Form("user"), Group: q.Form("group"),
		DryRun: q.Form("dry_run") == "true", Full: q.Form("full") == "true",
	}
	body := map[string]any{"dry_run": form.DryRun, "full": form.Full}
	if form.Connector != "" {
		body["connectors"] = []string{form.Connector}
	}
	if form.User != "" {
		body["user"] = form.User
	}
	if form.Group != "" {
		body["group"] = form.Group
	}
	started, err := call[api.Started](q, http.MethodPost, "/runs", nil, body)
	if p := asProblem(err); p != nil && p.Status != http.StatusForbidden {
		v, err := c.runsView(q, form)
		if err != nil {
			return "", nil, err
		}
		v.Status, v.Problem = p.Status, p
		return "", v, nil
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify(startedText(&started))
	if len(started.Items) == 1 {
		return "/runs/" + started.Items[0].RunID, nil, nil
	}
	return "/runs", nil, nil
}

// startedText says what came of a request for runs, where that is not plain to see.
func startedText(started *api.Started) string {
	var parts []string
	if n := len(started.Items); n > 1 {
		parts = append(parts, plural(n, "run")+" started.")
	}
	for i := range started.Items {
		if run := &started.Items[i]; run.Status == "joined" {
			parts = append(parts, fmt.Sprintf("A run of %s was going already: it is shown here, and no other was started.", run.Connector))
		}
	}
	for _, not := range started.Problems {
		parts = append(parts, fmt.Sprintf("%s: not started: %s.", not.Connector, strings.TrimSuffix(not.Detail, ".")))
	}
	return strings.Join(parts, " ")
}

// runKind says what a run is.
func runKind(run api.Run) string {
	text := map[string]string{"full": "Full", "incremental": "Incremental", "object": "One person or group"}[run.Kind]
	if run.DryRun {
		text += ", plan only"
	}
	return text
}

// startedBy says who asked for a run.
func startedBy(run api.Run) string {
	switch run.Trigger {
	case "schedule":
		return "scheduled"
	case "cli":
		return "command line"
	case "demo":
		return "demonstration"
	}
	return "asked for"
}

// runRef is the beginning of a run's id, which is its time: as much as tells it from others, and as commands take.
func runRef(id string) string { return id[:min(len(id), 13)] }
