package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// resync is a run of one person or group, followed while it goes.
type resync struct {
	Connector string
	Run       *api.Run // nil before one was asked for
	Joined    bool     // another run was going, and this is it
	Steps     []step
	Changes   []changeShown
	More      bool // changes than are shown
	Here      string
}

// step is one thing that the run told.
type step struct {
	What, Text, Tone string
}

// changeShown is one thing that the run decided and did.
type changeShown struct {
	Sign, Class, What string
	Thing, Other      named
	Fields            []field
	Reason, State     string
}

// personResyncPage is a person with a run of theirs.
type personResyncPage struct {
	personHead
	Resync resync
}

func (c *Console) personResync(q *request) (*view, error) {
	head, err := c.head(q, "resync")
	if err != nil {
		return nil, err
	}
	page := personResyncPage{personHead: head, Resync: resync{Connector: head.User.Source}}
	if err := page.Resync.follow(q); err != nil {
		return nil, err
	}
	v := head.view("person_resync", page)
	v.Refresh = page.Resync.going()
	return v, nil
}

// resyncPerson asks for a run of one person and shows how it goes.
func (c *Console) resyncPerson(q *request) (string, *view, error) {
	head, err := c.head(q, "resync")
	if err != nil {
		return "", nil, err
	}
	next, err := "", error(nothingToAsk())
	if head.Pulled {
		next, err = startOne(q, head.User.Source, map[string]any{"user": head.User.SourceID}, head.At()+"/resync")
	}
	if p := asProblem(err); p != nil && p.Status != http.StatusForbidden {
		v := head.view("person_resync", personResyncPage{personHead: head, Resync: resync{Connector: head.User.Source}})
		v.Status, v.Problem = p.Status, p
		return "", v, nil
	}
	return next, nil, err
}

func nothingToAsk() *api.Problem {
	return &api.Problem{Status: http.StatusConflict, Title: "Not possible as things are", Detail: "No connector that is configured owns it: there is nowhere to read it."}
}

// startOne starts a run of one person or group and returns where it is followed.
func startOne(q *request, connector string, body map[string]any, at string) (string, error) {
	body["connectors"] = []string{connector}
	body["dry_run"] = q.Form("dry_run") == "true"
	started, err := call[api.Started](q, http.MethodPost, "/runs", nil, body)
	if err != nil {
		return "", err
	}
	query := url.Values{"run": {started.Items[0].RunID}}
	if started.Items[0].Status == "joined" {
		query.Set("joined", "true")
	}
	return at + "?" + query.Encode(), nil
}

// stepsShown bounds how many changes of a run are shown here.
const stepsShown = 50

func (r *resync) going() bool { return r.Run != nil && r.Run.Status == "running" }

// follow reads the run that the address names.
func (r *resync) follow(q *request) error {
	id := q.Query("run")
	if id == "" {
		return nil
	}
	at := "/runs/" + url.PathEscape(id)
	run, err := fetch[api.Run](q, at, nil)
	if isNotFound(err) {
		return &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such run."}
	}
	if err != nil {
		return err
	}
	r.Run, r.Here = &run, q.URL.RequestURI()
	r.Joined = q.Query("joined") == "true" || run.Kind != "object"
	if r.Joined {
		return nil // its changes are about everybody
	}
	changes, err := fetch[api.Page[api.Change]](q, at+"/changes", url.Values{"limit": {strconv.Itoa(stepsShown)}})
	if err != nil {
		return err
	}
	names := nameFinder{q: q, known: map[string]named{}}
	for i := range changes.Items {
		r.Changes = append(r.Changes, changeOf(&names, &changes.Items[i]))
	}
	r.More = changes.NextCursor != ""
	r.Steps = stepsOf(&run, len(r.Changes))
	return nil
}

// stepsOf tells a run in order: what was read and matched, and what came of it.
func stepsOf(run *api.Run, changes int) []step {
	var out []step
	for _, s := range run.Steps {
		what := map[string]string{"read": "Read at the source", "match": "Matched with what is held"}[s.Step]
		out = append(out, step{What: what, Text: s.Text})
	}
	if run.Incomplete != "" {
		out = append(out, step{What: "Not everything could be read", Text: run.Incomplete, Tone: "warn"})
	}
	if run.Finished == nil {
		return out
	}
	if run.Status == "failed" {
		return append(out, step{What: "Failed", Text: run.Error, Tone: "bad"})
	}
	decided := step{What: "Decided", Text: "nothing is to be changed: what " + run.Connector + " states is what is held"}
	if changes > 0 {
		decided.Text = plural(changes, "change")
	}
	out = append(out, decided)
	if changes == 0 {
		return out
	}
	done := step{What: "Done", Text: plural(run.Counts.Applied, "change") + " applied"}
	switch {
	case run.DryRun:
		done = step{What: "Changed nothing", Text: "it was asked to look only"}
	case run.Counts.Held > 0:
		done.Tone = "warn"
		done.Text += ", " + plural(run.Counts.Held, "change") + " held by the guard: " + run.Guard
	case run.Counts.Failed+run.Counts.Skipped > 0:
		done.Tone = "warn"
		done.Text += ", " + plural(run.Counts.Failed+run.Counts.Skipped, "change") + " not: the reason stands beside each"
	}
	return append(out, done)
}

func changeOf(names *nameFinder, c *api.Change) changeShown {
	sign := map[string][2]string{
		"create": {"+", "add"}, "add": {"+", "add"}, "reactivate": {"+", "add"}, "update": {"~", "change"}, "convert": {"~", "change"},
		"deactivate": {"-", "remove"}, "remove": {"-", "remove"}, "delete": {"-", "remove"}, "conflict": {"!", "stop"},
	}[c.Op]
	out := changeShown{Sign: sign[0], Class: sign[1], What: c.Op, Fields: fieldsShown(c.Fields), Reason: c.Reason, State: c.State}
	group := func() named {
		if c.ID == "" {
			return named{Name: c.Name}
		}
		return named{c.Name, "/groups/" + url.PathEscape(c.ID)}
	}
	switch c.Object {
	case "user":
		out.Thing = named{Name: c.Name}
		if c.ID != "" {
			out.Thing.Href = "/people/" + url.PathEscape(c.ID)
		}
	case "member":
		out.What = map[bool]string{true: "add to group", false: "take out of group"}[c.Op == "add"]
		out.Thing = group()
		if c.MemberID != "" {
			if who := names.some([]string{c.MemberID}); len(who) > 0 {
				out.Other = who[0]
			}
		} else {
			out.Other = named{Name: c.MemberSourceID}
		}
	case "group":
		out.What, out.Thing = c.Op+" group", group()
	default:
		out.What, out.Thing = strings.TrimSpace(c.Op+" "+c.Object), group()
	}
	return out
}
