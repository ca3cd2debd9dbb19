package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// planView is what a run found, as a diff.
type planView struct {
	Counts       []kindCount // every kind that there is
	Sections     []planSection
	Object, Op   string // filters
	State        string
	Filtered     bool
	Forgotten    bool // there were changes, and they are kept no longer
	Pages        listPages
	Objects, Ops []option
	States       []option
}

// kindCount is how many changes of a kind there are.
type kindCount struct {
	kind
	N    int
	Href string
}

// planSection is the changes of one kind, or the first of them.
type planSection struct {
	kindCount
	Lines []planLine
	More  int // that are not shown
}

// planLine is one change.
type planLine struct {
	Sign, Class, Said string // "+", "add", "adds": for eyes and for ears
	Name, Href        string
	Word              string // between the name and the other: "to", "from", "for members of"
	Other, OtherHref  string
	Fields            []fieldLine
	Folded            bool // the fields are many, and no change of something
	Reason            string
	State             string // "" where it goes without saying
}

type fieldLine struct {
	Path          string
	Before, After string
	Had, Has      bool
}

// kind is what changes are about and what they do.
type kind struct{ Object, Op, Title string }

// kinds are in the order in which people want to see them: first what takes away and what wants a decision.
var kinds = []kind{
	{"user", "conflict", "Conflicts about people"},
	{"group", "conflict", "Conflicts about groups"},
	{"user", "deactivate", "Deactivate people"},
	{"user", "delete", "Delete people"},
	{"user", "create", "Create people"},
	{"user", "reactivate", "Reactivate people"},
	{"user", "convert", "Take over local accounts"},
	{"user", "update", "Update people"},
	{"group", "delete", "Delete groups"},
	{"group", "create", "Create groups"},
	{"group", "update", "Update groups"},
	{"grant", "remove", "Take roles from groups"},
	{"grant", "add", "Give roles to groups"},
	{"member", "remove", "End memberships"},
	{"member", "add", "Add memberships"},
}

var (
	planObjects = []option{{"user", "People"}, {"group", "Groups"}, {"member", "Memberships"}, {"grant", "Roles of groups"}}
	planOps     = []option{
		{"create", "Create"},
		{"update", "Update"},
		{"deactivate", "Deactivate"},
		{"reactivate", "Reactivate"},
		{"convert", "Take over"},
		{"delete", "Delete"},
		{"add", "Add"},
		{"remove", "Remove"},
		{"conflict", "Conflict"},
	}
	planStates = []option{{"planned", "Planned"}, {"staged", "Held"}, {"applied", "Applied"}, {"skipped", "Skipped"}, {"failed", "Failed"}}
)

// How many changes are shown: of each kind where all kinds are, and of a filtered list on a page.
const (
	planSample = 8
	planEach   = 100
)

// countsOf returns the kinds of change that a run found.
func countsOf(run *api.Run) []kindCount {
	var out []kindCount
	for _, k := range kinds {
		if n := run.Counts.Changes[k.Object+"."+k.Op]; n > 0 {
			out = append(out, kindCount{k, n, "/runs/" + run.RunID + "?" + url.Values{"object": {k.Object}, "op": {k.Op}}.Encode() + "#plan"})
		}
	}
	return out
}

// readPlan reads what a run found: the first changes of each kind, or a page of those that the address asks for.
func readPlan(q *request, run *api.Run) (planView, error) {
	p := planView{
		Counts: countsOf(run), Object: q.Query("object"), Op: q.Query("op"), State: q.Query("state"),
		Objects: planObjects, Ops: planOps, States: planStates,
	}
	p.Filtered = p.Object != "" || p.Op != "" || p.State != ""
	path := "/runs/" + run.RunID + "/changes"
	if p.Filtered {
		query := q.given("object", "op", "state", "cursor")
		query.Set("limit", strconv.Itoa(planEach))
		page, err := fetch[api.Page[api.Change]](q, path, query)
		if err != nil {
			return p, err
		}
		p.Pages = cursorPages(q, page.NextCursor)
		p.Sections = sectionsOf(run, page.Items)
		return p, nil
	}
	for _, count := range p.Counts {
		page, err := fetch[api.Page[api.Change]](q, path, url.Values{"object": {count.Object}, "op": {count.Op}, "limit": {strconv.Itoa(planSample)}})
		if err != nil {
			return p, err
		}
		if len(page.Items) == 0 {
			p.Forgotten = true
			continue
		}
		p.Sections = append(p.Sections, planSection{count, linesOf(run, page.Items), max(count.N-len(page.Items), 0)})
	}
	return p, nil
}

// sectionsOf puts changes together that are of a kind, in the order of kinds.
func sectionsOf(run *api.Run, changes []api.Change) []planSection {
	byKind := map[string][]api.Change{}
	for _, change := range changes {
		byKind[change.Object+"."+change.Op] = append(byKind[change.Object+"."+change.Op], change)
	}
	var out []planSection
	for _, k := range kinds {
		if list := byKind[k.Object+"."+k.Op]; len(list) > 0 {
			out = append(out, planSection{kindCount{k, run.Counts.Changes[k.Object+"."+k.Op], ""}, linesOf(run, list), 0})
		}
	}
	return out
}

func linesOf(run *api.Run, changes []api.Change) []planLine {
	lines := make([]planLine, len(changes))
	for i := range changes {
		lines[i] = lineOf(&changes[i])
		if run.DryRun && lines[i].State == "planned" {
			lines[i].State = ""
		}
	}
	return lines
}

// lineOf returns what is shown of a change.
func lineOf(c *api.Change) planLine {
	line := planLine{Name: c.Name, Reason: c.Reason, State: c.State}
	line.Sign, line.Class, line.Said = signOf(c.Op)
	switch c.Object {
	case "user":
		line.Href = linkTo("/people/", c.ID)
	case "group":
		line.Href = linkTo("/groups/", c.ID)
	case "member", "grant":
		// The field names the person, or the role; the change's own name is the group's.
		line.Other, line.OtherHref = c.Name, linkTo("/groups/", c.ID)
		line.Name = ""
		for _, f := range c.Fields {
			line.Name = text(f.After) + text(f.Before)
		}
		line.Word = map[string]string{"member.add": "to", "member.remove": "from", "grant.add": "to members of", "grant.remove": "from members of"}[c.Object+"."+c.Op]
		if c.Object == "member" {
			line.Href = linkTo("/people/", c.MemberID)
		}
		return line
	}
	if c.Op == "deactivate" || c.Op == "delete" {
		return line // that is said by the operation
	}
	line.Folded = c.Op == "create"
	for _, f := range c.Fields {
		line.Fields = append(line.Fields, fieldLine{f.Path, cut(text(f.Before)), cut(text(f.After)), f.Before != nil, f.After != nil})
	}
	return line
}

func signOf(op string) (sign, class, said string) {
	switch op {
	case "create", "add", "reactivate":
		return "+", "add", "adds"
	case "deactivate", "delete", "remove":
		return "−", "remove", "takes away"
	case "conflict":
		return "!", "stop", "conflict"
	}
	return "~", "change", "changes"
}

func linkTo(path, id string) string {
	if id == "" {
		return ""
	}
	return path + url.PathEscape(id)
}

// text returns a value as people read it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, float64:
		return fmt.Sprint(v)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}

// mostText is how much of a value a line shows.
const mostText = 300

func cut(s string) string {
	if len(s) <= mostText {
		return s
	}
	return strings.ToValidUTF8(s[:mostText], "") + " ..."
}

// aboutOf returns where the person or group of a run of one is shown: the one that was matched, or made.
func aboutOf(run *api.Run, p *planView) string {
	for _, step := range run.Steps {
		switch {
		case step.ID != "" && step.Object == "user":
			return linkTo("/people/", step.ID)
		case step.ID != "":
			return linkTo("/groups/", step.ID)
		}
	}
	if run.Kind == "object" && len(p.Sections) > 0 && p.Sections[0].Object == "user" {
		return p.Sections[0].Lines[0].Href
	}
	return ""
}
