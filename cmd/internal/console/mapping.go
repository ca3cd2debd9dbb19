package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/identity"
)

// registerMapping registers the pages of the role mapping.
func (c *Console) registerMapping(mux *http.ServeMux) {
	c.get(mux, "/mapping", c.mapping)
	c.get(mux, "/mapping/edit", c.editRule)
	c.post(mux, "/mapping/preview", levelAdmin, c.previewRule)
	c.post(mux, "/mapping/apply", levelAdmin, c.applyRule)
}

// mappingPage is the role mapping in force.
type mappingPage struct {
	api.Mapping
	Rules   []ruleShown // those of this page
	Matched int
	Search  string
	Pages   listPages
	Changed *api.Event // the newest change of any rule
}

// ruleShown is a rule with who changed it last, as far as the log's newest events tell.
type ruleShown struct {
	api.Rule
	Changed *api.Event
}

const (
	rulesOnPage    = 100
	mappingChanges = 200 // events that are looked through for who changed a rule last
)

func (c *Console) mapping(q *request) (*view, error) {
	mapping, err := fetch[api.Mapping](q, "/role-mappings", url.Values{"effects": {"0"}})
	if err != nil {
		return nil, err
	}
	events, err := fetch[api.Page[api.Event]](q, "/audit", url.Values{"type": {"mapping.changed"}, "limit": {strconv.Itoa(mappingChanges)}})
	if err != nil {
		return nil, err
	}
	newest := map[string]*api.Event{}
	for i := range events.Items {
		if e := &events.Items[i]; newest[e.ObjectID] == nil {
			newest[e.ObjectID] = e
		}
	}
	page := mappingPage{Mapping: mapping, Search: q.Query("q")}
	if len(events.Items) > 0 {
		page.Changed = &events.Items[0]
	}
	var rules []ruleShown
	for _, rule := range mapping.Items {
		if mentions(&rule, page.Search) {
			rules = append(rules, ruleShown{rule, newest[identity.Normalize(rule.Group)]})
		}
	}
	page.Matched = len(rules)
	page.Rules, page.Pages = slicePage(q, "/mapping", rules, rulesOnPage)
	return &view{Page: "mapping", Title: "Role mapping", Section: "/mapping", Data: page}, nil
}

// mentions tells whether a rule's group, or a team or role that it gives, contains a text.
func mentions(rule *api.Rule, text string) bool {
	has := func(in string) bool { return strings.Contains(strings.ToLower(in), strings.ToLower(text)) }
	if has(rule.Group) {
		return true
	}
	for _, g := range rule.Grants {
		if has(g.Team) || has(g.Role) {
			return true
		}
	}
	return false
}

// ruleForm is a rule as it is typed.
type ruleForm struct {
	Group    string
	Known    bool // it is a rule already: the group stays
	Rows     []ruleRow
	Roles    []string
	Teams    []string // suggestions
	Groups   []string
	Unmapped bool // ask whether the rule is to end
}

// ruleRow is a role on a team, of those that the form has room for.
type ruleRow struct {
	N int
	api.TeamRole
	Bad bool
}

const (
	spareRows = 3
	mostRows  = 1000
	suggested = 50
)

func (c *Console) editRule(q *request) (*view, error) {
	if q.Level < levelAdmin {
		return nil, notAllowed(levelAdmin)
	}
	if part(q.Request) == "part-groups" {
		groups, err := groupNames(q, q.Query("group"))
		return &view{Page: "mapping_edit", Title: "Groups", Data: ruleForm{Groups: groups}}, err
	}
	group := q.Query("group")
	mapping, err := fetch[api.Mapping](q, "/role-mappings", url.Values{"effects": {"0"}})
	if err != nil {
		return nil, err
	}
	if mapping.Declared {
		return nil, &api.Problem{Status: http.StatusConflict, Title: "The configuration declares it", Detail: "The role mapping is changed in the configuration file, under role_mapping."}
	}
	form := ruleForm{Group: group}
	var grants []api.TeamRole
	for _, rule := range mapping.Items {
		if group != "" && identity.Normalize(rule.Group) == identity.Normalize(group) {
			form.Group, form.Known, grants = rule.Group, true, rule.Grants
		}
	}
	return c.showRuleForm(q, form, grants, spareRows, nil)
}

// showRuleForm shows the form of a rule with room for more, and what was wrong with it.
func (c *Console) showRuleForm(q *request, form ruleForm, grants []api.TeamRole, spare int, problem *api.Problem) (*view, error) {
	roles, err := fetch[api.Page[api.RoleInfo]](q, "/roles", nil)
	if err != nil {
		return nil, err
	}
	for _, role := range roles.Items {
		form.Roles = append(form.Roles, role.Role)
	}
	teams, err := fetch[api.Page[api.Team]](q, "/teams", url.Values{"limit": {"500"}})
	if err != nil {
		return nil, err
	}
	for i := range teams.Items {
		form.Teams = append(form.Teams, teams.Items[i].Name)
	}
	if form.Groups, err = groupNames(q, ""); err != nil {
		return nil, err
	}
	for range spare {
		grants = append(grants, api.TeamRole{})
	}
	for i, grant := range grants {
		row := ruleRow{N: i + 1, TeamRole: grant, Bad: wrongField(problem, "body.grants["+strconv.Itoa(i)+"]")}
		form.Rows = append(form.Rows, row)
	}
	v := &view{Page: "mapping_edit", Title: "Add a rule", Section: "/mapping", Problem: problem, Data: form}
	if form.Known {
		v.Title = "What " + form.Group + " gives"
	}
	if problem != nil {
		v.Status = problem.Status
	}
	return v, nil
}

// groupNames returns names of groups to choose from.
func groupNames(q *request, search string) ([]string, error) {
	page, err := fetch[api.Page[api.Group]](q, "/groups", url.Values{"limit": {strconv.Itoa(suggested)}, "search": {strings.ToValidUTF8(search[:min(len(search), 200)], "")}})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(page.Items))
	for i := range page.Items {
		names[i] = page.Items[i].DisplayName
	}
	return names, nil
}

// remap is a change of the role mapping, as forms carry it from page to page.
type remap struct {
	Kind   string // set, unmap, or declared: what the configuration says
	Group  string
	Known  bool
	Grants []api.TeamRole
	Hash   string // of the plan that was looked at
	From   int    // of those who gain and lose
}

const (
	changeSet      = "set"
	changeUnmap    = "unmap"
	changeDeclared = "declared"
)

// readRemap returns what a form says. Rows without a team and a role are room that was not used.
func readRemap(q *request) remap {
	ch := remap{Kind: q.Form("kind"), Group: q.Form("group"), Known: q.Form("known") != "", Hash: q.Form("plan_hash")}
	teams, roles := q.PostForm["team"], q.PostForm["role"]
	for i := range min(len(teams), len(roles), mostRows) {
		if g := (api.TeamRole{Team: strings.TrimSpace(teams[i]), Role: roles[i]}); g.Role != "" || g.Team != "" && q.Form("more") != "" {
			ch.Grants = append(ch.Grants, g)
		}
	}
	if from, err := strconv.Atoi(q.Form("from")); err == nil && from > 0 {
		ch.From = from
	}
	if ch.Kind != changeUnmap && ch.Kind != changeDeclared {
		ch.Kind = changeSet
	}
	return ch
}

// effectsOnPage is how many of those who gain, and of those who lose, a preview names at a time.
const effectsOnPage = 25

// ask asks the API for a change, or only what it would come to.
func (ch *remap) ask(q *request, dry bool) (*api.MappingPlan, error) {
	body := map[string]any{"effects": effectsOnPage, "effects_from": ch.From}
	if dry {
		body["dry_run"] = true
	} else {
		body["plan_hash"] = ch.Hash
	}
	path := "/role-mappings"
	switch ch.Kind {
	case changeDeclared:
		path += "/apply"
	case changeUnmap:
		path += "/unmap"
		body["group"] = ch.Group
	default:
		body["group"], body["grants"] = ch.Group, ch.Grants
		if ch.Grants == nil {
			body["grants"] = []api.TeamRole{}
		}
	}
	return call[*api.MappingPlan](q, http.MethodPost, path, nil, body)
}

// previewPage is what a change comes to.
type previewPage struct {
	remap
	Plan     *api.MappingPlan
	Nothing  bool
	Shown    int // the last of those who are named
	Next     int // 0: all are named
	Previous int // -1: these are the first
	Gains    int // in all, roles and not people
	Losses   int
	Admins   int  // who become admin on the root team
	Wide     bool // asked again before it is done
}

// manyPeople is from how many on a change is asked about again.
const manyPeople = 50

func (c *Console) previewRule(q *request) (string, *view, error) {
	ch := readRemap(q)
	form := ruleForm{Group: ch.Group, Known: ch.Known}
	switch {
	case q.Form("more") != "":
		v, err := c.showRuleForm(q, form, ch.Grants, 2*spareRows, nil)
		return "", v, err
	case q.Form("back") != "":
		v, err := c.showRuleForm(q, form, ch.Grants, spareRows, nil)
		return "", v, err
	case ch.Kind == changeSet && len(ch.Grants) == 0 && ch.Known:
		ch.Kind = changeUnmap // nothing is left that it gives
	}
	plan, err := ch.ask(q, true)
	if problem := asProblem(err); problem != nil && ch.Kind != changeDeclared {
		v, err := c.showRuleForm(q, form, ch.Grants, spareRows, inWords(problem))
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	return "", showPreview(ch, plan, nil), nil
}

// inWords says what is wrong with the form of a rule as the form calls it.
func inWords(p *api.Problem) *api.Problem {
	if wrongField(p, "body.group") {
		p = &api.Problem{Status: p.Status, Title: p.Title, Detail: "Say which group: its name has 1 to 1,000 characters.", Errors: p.Errors[:1], RequestID: p.RequestID}
	} else if len(p.Errors) > 0 && p.Errors[0].Location == "body.grants" {
		p = &api.Problem{Status: p.Status, Title: p.Title, Detail: "Say what the group gives: at least one role on one team.", Errors: p.Errors[:1], RequestID: p.RequestID}
	} else if wrongField(p, "body.grants[") {
		p = &api.Problem{Status: p.Status, Title: p.Title, Detail: "Each role needs a team, of at most 200 characters; see the marked rows.", Errors: p.Errors, RequestID: p.RequestID}
	}
	return p
}

func showPreview(ch remap, plan *api.MappingPlan, problem *api.Problem) *view {
	page := previewPage{remap: ch, Plan: plan, Previous: -1}
	ch.Hash = plan.PlanHash
	page.Hash = plan.PlanHash
	for _, t := range plan.Totals {
		page.Gains += t.Gains
		page.Losses += t.Losses
		if t.Role == identity.RoleAdmin && identity.Normalize(t.Team) == identity.Normalize(identity.RootTeam) {
			page.Admins += t.Gains
		}
	}
	page.Wide = plan.Losing > 0 || plan.Guard != "" || page.Admins > 0 || plan.Gaining >= manyPeople
	page.Nothing = len(plan.Rules)+len(plan.Groups)+len(plan.Gains)+len(plan.Losses) == 0 && plan.Default == nil
	page.Shown = ch.From + max(len(plan.Gains), len(plan.Losses))
	if page.Shown < max(page.Gains, page.Losses) {
		page.Next = page.Shown
	}
	if ch.From > 0 {
		page.Previous = max(ch.From-effectsOnPage, 0)
	}
	v := &view{Page: "mapping_preview", Title: "What would change", Section: "/mapping", Problem: problem, Data: page}
	if problem != nil {
		v.Status = problem.Status
	}
	return v
}

func (c *Console) applyRule(q *request) (string, *view, error) {
	ch := readRemap(q)
	if ch.Hash == "" { // nobody looked at what would come of it
		plan, err := ch.ask(q, true)
		if err != nil {
			return "", nil, err
		}
		return "", showPreview(ch, plan, nil), nil
	}
	plan, err := ch.ask(q, false)
	if problem := asProblem(err); problem != nil && problem.Plan != nil {
		changed := &api.Problem{
			Status: problem.Status, Title: "Nothing was changed: the plan is another one now", RequestID: problem.RequestID,
			Detail: "Since you looked, people or rules changed. Below is what it comes to now: look at it again, then apply it.",
		}
		return "", showPreview(ch, problem.Plan, changed), nil
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify("The role mapping is changed: " + gainAndLose(plan) + ".")
	return "/mapping", nil, nil
}

func gainAndLose(plan *api.MappingPlan) string {
	if plan.Gaining+plan.Losing == 0 {
		return "nobody gains or loses a role"
	}
	return plural(plan.Gaining, "person gains", "people gain") + " a role, " + plural(plan.Losing, "loses", "lose") + " one"
}
