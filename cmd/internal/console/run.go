package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// runPage is one run: how it goes or went, what it found, and what waits for a decision.
type runPage struct {
	Run     api.Run
	Outcome string // in a sentence or two
	Remedy  string // of what is wrong, "" for nothing
	Phases  []phase
	Done    int // of To, while changes are applied
	To      int
	Address string // of this page, with its filters

	Decide *decision
	Later  string // a run that came after, and is to be looked at instead
	Lapsed bool   // what was held cannot be approved any more

	Plan  planView
	About string // where the person or group of a run of one is shown, "" where that is not known
}

// phase is a part of a run's way.
type phase struct {
	Name, Text, State string // "past", "now" or ""
}

// decision is what approving or rejecting comes to.
type decision struct {
	Hash    string
	Until   time.Time // it lapses then
	Count   int
	What    []effect
	Members bool // whether memberships end
}

// effect is what happens to one kind of thing.
type effect struct {
	Text string
	Href string // where they are listed
}

var phaseTexts = []phase{
	{Name: "pull", Text: "Read"}, {Name: "plan", Text: "Compare"}, {Name: "guard", Text: "Guard"}, {Name: "verify", Text: "Read again by id"}, {Name: "apply", Text: "Apply"},
}

// phasesOf returns how far a run has come that is going.
func phasesOf(run *api.Run) []phase {
	list := phaseTexts
	switch {
	case run.Decision != nil:
		list = list[3:] // just what was approved
	case run.DryRun:
		list = list[:4]
	}
	out, now := make([]phase, len(list)), false
	for i, p := range list {
		out[i] = p
		switch {
		case p.Name == run.Phase:
			out[i].State, now = "now", true
		case !now:
			out[i].State = "past"
		}
	}
	if !now { // it has only begun
		for i := range out {
			out[i].State = ""
		}
	}
	return out
}

func (c *Console) run(q *request) (*view, error) { return c.runView(q) }

func (c *Console) runView(q *request) (*view, error) {
	at := "/runs/" + url.PathEscape(q.PathValue("id"))
	run, err := fetch[api.Run](q, at, nil)
	if isNotFound(err) {
		return nil, &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such run."}
	}
	if err != nil {
		return nil, err
	}
	page := runPage{Run: run, Outcome: outcomeOf(&run), Address: "/runs/" + run.RunID}
	title := "Run of " + run.Connector
	if run.DryRun {
		title = "Plan for " + run.Connector
	}
	v := &view{Page: "run", Title: title, Section: "/runs"}
	if run.Status == "running" {
		v.Refresh = true
		page.Phases, page.Done, page.To = phasesOf(&run), run.Counts.Applied, toApply(&run)
		page.Plan.Counts = countsOf(&run)
		v.Data = page
		return v, nil
	}
	if page.Plan, err = readPlan(q, &run); err != nil {
		return nil, err
	}
	page.About = aboutOf(&run, &page.Plan)
	if err := c.standing(q, &page); err != nil {
		return nil, err
	}
	v.Data = page
	return v, nil
}

// standing adds what depends on how the connector stands now: what waits for a decision, and what to do about a failure.
func (c *Console) standing(q *request, page *runPage) error {
	run := &page.Run
	waits := run.Status == "held" && !run.DryRun && run.Decision == nil
	if !waits && run.Status != "failed" && run.Incomplete == "" {
		return nil
	}
	list, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return err
	}
	var connector *api.Connector
	for i := range list.Items {
		if list.Items[i].Name == run.Connector {
			connector = &list.Items[i]
		}
	}
	page.Remedy = remedyOf(run, connector)
	if !waits {
		return nil
	}
	switch {
	case connector == nil:
		page.Remedy = "The configuration has no connector of this name any more, so nothing of this run can be approved."
		return nil
	case connector.Held != "" && connector.Held != run.RunID:
		page.Later = connector.Held
	case connector.Held == "":
		page.Later = connector.LastRun // it found that nothing, or something else, is to be removed
	}
	until := run.Finished.Add(approvalLapses)
	page.Lapsed = page.Later == "" && !c.now().Before(until)
	if page.Later == "" && !page.Lapsed {
		page.Decide = decisionOf(run, until)
	}
	return nil
}

// approvalLapses is how long what a run held can be approved. The API decides; this is for the text.
const approvalLapses = 24 * time.Hour

// decisionOf says what is decided about: whom and what an approval takes away.
func decisionOf(run *api.Run, until time.Time) *decision {
	d := &decision{Hash: run.PlanHash, Until: until}
	add := func(kind string, one, many string) {
		if n := run.Held[kind]; n > 0 {
			object, op, _ := strings.Cut(kind, ".")
			d.What = append(d.What, effect{plural(n, one, many), "/runs/" + run.RunID + "?" + url.Values{"object": {object}, "op": {op}, "state": {"staged"}}.Encode() + "#plan"})
			d.Count += n
		}
	}
	add("user.deactivate", "person is deactivated: their sessions end, their API keys are disabled, their roles are suspended",
		"people are deactivated: their sessions end, their API keys are disabled, their roles are suspended")
	add("group.delete", "group is deleted, with its team and the roles that it gives", "groups are deleted, with their teams and the roles that they give")
	add("member.remove", "membership ends, with the roles that come with it", "memberships end, with the roles that come with them")
	add("grant.remove", "role is no longer given by a group", "roles are no longer given by groups")
	d.Members = run.Held["member.remove"] > 0
	return d
}

// toApply returns how many changes a run means to apply.
func toApply(run *api.Run) int {
	n := foundOf(run)
	for key, count := range run.Counts.Changes {
		if strings.HasSuffix(key, ".conflict") {
			n -= count
		}
	}
	return max(n-run.Counts.Held, run.Counts.Applied)
}

// outcomeOf says in words how a run goes or went.
func outcomeOf(run *api.Run) string {
	found, conflicts := foundOf(run), 0
	for key, count := range run.Counts.Changes {
		if strings.HasSuffix(key, ".conflict") {
			conflicts += count
		}
	}
	switch run.Status {
	case "running":
		return "It is going."
	case "failed":
		if run.Counts.Applied > 0 {
			return fmt.Sprintf("It failed after %s had been applied. These stay; the next run goes on from there.", plural(run.Counts.Applied, "change"))
		}
		return "It failed, and changed nothing."
	}
	var parts []string
	add := func(n int, one, many string) {
		if n > 0 {
			parts = append(parts, plural(n, one, many))
		}
	}
	switch {
	case found == 0 && run.Incomplete == "":
		text := "No drift: what " + run.Connector + " states is what is held."
		switch run.Kind {
		case "incremental":
			text = "No drift in what changed since the last run."
		case "object":
			text = "No drift: both sides say the same of this one."
		}
		return text + kept(run)
	case run.DryRun:
		add(found-conflicts, "difference found, nothing changed", "differences found, nothing changed")
	default:
		add(found-conflicts, "difference found", "differences found")
		add(run.Counts.Applied, "repaired", "repaired")
	}
	add(run.Counts.Held, "held by the guard", "held by the guard")
	add(run.Counts.Skipped-conflicts, "skipped", "skipped")
	add(run.Counts.Failed, "failed", "failed")
	add(conflicts, "conflict waits for an operator", "conflicts wait for an operator")
	if len(parts) == 0 {
		return "Nothing to change was found in what could be read." + kept(run)
	}
	return strings.Join(parts, ", ") + "." + kept(run)
}

func kept(run *api.Run) string {
	if run.Counts.Kept == 0 {
		return ""
	}
	return " " + plural(run.Counts.Kept, "person or group", "people and groups") + " seemed absent and stayed, because they were there when read by id."
}

// remedyOf says what to do about a run that failed or could not read everything. connector is nil where it is not
// configured any more.
func remedyOf(run *api.Run, connector *api.Connector) string {
	switch {
	case connector == nil:
		return "The configuration has no connector of this name any more."
	case connector.Status == "paused":
		return "The identity provider rejects the credential. Give the connector a new one in the configuration, restart, then check it and pull again: scheduled runs wait until then."
	case run.Status == "failed" && strings.HasPrefix(run.Error, "interrupted"):
		return "The server was stopped or died. The next run finds what is left: nothing is lost."
	case run.Status == "failed":
		return "Check the connector: that tries the credential, the rights and the clock, and names what is wrong. What passes by itself is tried again by the next scheduled run."
	case run.Incomplete != "":
		return "Nobody and nothing was taken away for being absent, because the listing was not proven whole. Newcomers and changes were handled. The next run reads again; if this lasts, check the connector."
	}
	return ""
}

func (c *Console) approveRun(q *request) (string, *view, error) {
	id := q.PathValue("id")
	run, err := call[api.Run](q, http.MethodPost, "/runs/"+url.PathEscape(id)+"/approve", nil, map[string]string{"plan_hash": q.Form("plan_hash")})
	if err != nil {
		return c.refusedDecision(q, err)
	}
	q.Notify("Approved. What was held is applied now, after everybody concerned was read by id once more.")
	return "/runs/" + run.RunID, nil, nil
}

func (c *Console) rejectRun(q *request) (string, *view, error) {
	id := q.PathValue("id")
	run, err := call[api.Run](q, http.MethodPost, "/runs/"+url.PathEscape(id)+"/reject", nil, nil)
	if err != nil {
		return c.refusedDecision(q, err)
	}
	q.Notify("Rejected. What was held stays as it is. The next run finds it again, unless the cause is mended at the identity provider.")
	return "/runs/" + run.RunID, nil, nil
}

// refusedDecision shows the run again with what the API says against a decision.
func (c *Console) refusedDecision(q *request, err error) (string, *view, error) {
	p := asProblem(err)
	if p == nil || p.Status == http.StatusForbidden || p.Status == http.StatusNotFound {
		return "", nil, err
	}
	v, failed := c.runView(q)
	if failed != nil {
		return "", nil, errors.Join(failed, err)
	}
	v.Status, v.Problem = p.Status, p
	return "", v, nil
}
