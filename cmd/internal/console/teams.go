package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// teamsPage is the list of teams.
type teamsPage struct {
	Name   string // of the one that is looked for
	Teams  []api.Team
	Total  *int
	Pages  listPages
	Form   teamForm
	Failed *api.Problem // what is wrong with the form
}

// teamForm is what is known of a team that is to be made.
type teamForm struct{ Name, Scope string }

func (c *Console) teams(q *request) (*view, error) {
	return c.teamsView(q, teamForm{}, nil)
}

func (c *Console) teamsView(q *request, form teamForm, failed *api.Problem) (*view, error) {
	page := teamsPage{Name: q.Query("team"), Form: form, Failed: failed}
	query := q.given("team", "cursor")
	query.Set("limit", strconv.Itoa(listed))
	list, err := fetch[api.Page[api.Team]](q, "/teams", query)
	if err != nil {
		return nil, err
	}
	page.Teams, page.Total, page.Pages = list.Items, list.Total, cursorPages(q, list.NextCursor)
	return &view{Page: "teams", Title: "Teams", Section: "/groups", Data: page}, nil
}

func (c *Console) createTeam(q *request) (string, *view, error) {
	form := teamForm{q.Form("name"), q.Form("scope")}
	body := map[string]any{"name": form.Name}
	if scope := lines(form.Scope); len(scope) > 0 {
		body["scope"] = scope
	}
	t, err := call[api.Team](q, http.MethodPost, "/teams", nil, body)
	if p := asProblem(err); p != nil && p.Status != http.StatusForbidden {
		v, err := c.teamsView(q, form, p)
		if err != nil {
			return "", nil, err
		}
		v.Status, v.Problem = p.Status, p
		return "", v, nil
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify("Team " + t.Name + " is made. Give roles on it by the role mapping, or to people by hand.")
	return "/teams/" + url.PathEscape(t.ID), nil, nil
}

// lines returns the lines of a text that are not blank.
func lines(text string) []string {
	list := []string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// teamPage is one team with some of those who hold roles on it.
type teamPage struct {
	Team     api.Team
	Tab      string
	Inactive bool // people too whose roles are suspended
	Holders  []holder
	Pages    listPages
	NameForm string
	Scope    string // one a line
	Failed   *api.Problem
	Entries  []entry
}

// At returns where the team's pages are.
func (p teamPage) At() string { return "/teams/" + url.PathEscape(p.Team.ID) }

// holder is somebody with the roles on the team.
type holder struct {
	api.Holder
	Held []heldRole
}

func (q *request) teamPath() string { return "/teams/" + url.PathEscape(q.PathValue("id")) }

func (c *Console) readTeam(q *request, tab string) (teamPage, error) {
	t, err := fetch[api.Team](q, q.teamPath(), nil)
	if p := asProblem(err); p != nil && p.Status != http.StatusForbidden {
		// Links from what somebody may do have the name, which may be longer than an id.
		found, failed := findTeam(q, q.PathValue("id"))
		switch {
		case failed != nil:
			err = failed
		case found != nil:
			t, err = *found, nil
		default:
			err = &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such team. The team of a group goes with its group."}
		}
	}
	return teamPage{Team: t, Tab: tab, NameForm: t.Name, Scope: strings.Join(t.Scope, "\n")}, err
}

func (p *teamPage) view(page string) *view {
	return &view{Page: page, Title: "Team " + p.Team.Name, Section: "/groups", Data: p}
}

func (c *Console) team(q *request) (*view, error) {
	page, err := c.readTeam(q, "holders")
	if err != nil {
		return nil, err
	}
	return c.teamView(q, &page)
}

func (c *Console) teamView(q *request, page *teamPage) (*view, error) {
	query := q.given("cursor", "inactive")
	query.Set("limit", strconv.Itoa(listed))
	list, err := fetch[api.Page[api.Holder]](q, "/teams/"+url.PathEscape(page.Team.ID)+"/members", query)
	if err != nil {
		return nil, err
	}
	names := nameFinder{q: q, known: map[string]named{}}
	for i := range list.Items {
		page.Holders = append(page.Holders, holder{list.Items[i], heldRoles(&names, page.Team.Name, list.Items[i].Roles)})
	}
	page.Inactive, page.Pages = q.Query("inactive") == "true", cursorPages(q, list.NextCursor)
	return page.view("team"), nil
}

func (c *Console) teamHistory(q *request) (*view, error) {
	page, err := c.readTeam(q, "history")
	if err != nil {
		return nil, err
	}
	page.Entries, page.Pages, err = historyOf(q, page.Team.ID)
	return page.view("team_history"), err
}

func (c *Console) renameTeam(q *request) (string, *view, error) {
	name := q.Form("name")
	return c.changeTeam(q, map[string]any{"name": name}, "The team is called "+name+" now. The role mapping follows.", func(p *teamPage) { p.NameForm = name })
}

func (c *Console) scopeTeam(q *request) (string, *view, error) {
	text := q.PostForm.Get("scope")
	return c.changeTeam(q, map[string]any{"scope": lines(text)}, "What the team's roles are for is changed.", func(p *teamPage) { p.Scope = text })
}

// changeTeam changes a team, or shows it again with what was typed and what is wrong with it.
func (c *Console) changeTeam(q *request, body map[string]any, done string, typed func(*teamPage)) (string, *view, error) {
	t, err := call[api.Team](q, http.MethodPatch, q.teamPath(), nil, body)
	if err != nil {
		return c.refusedTeam(q, err, typed)
	}
	q.Notify(done)
	return "/teams/" + url.PathEscape(t.ID), nil, nil
}

func (c *Console) deleteTeam(q *request) (string, *view, error) {
	if _, err := call[struct{}](q, http.MethodDelete, q.teamPath(), nil, nil); err != nil {
		return c.refusedTeam(q, err, func(*teamPage) {})
	}
	q.Notify("The team is deleted.")
	return "/teams", nil, nil
}

func (c *Console) refusedTeam(q *request, err error, typed func(*teamPage)) (string, *view, error) {
	p := asProblem(err)
	if p == nil || p.Status == http.StatusForbidden || p.Status == http.StatusNotFound {
		return "", nil, err
	}
	page, failed := c.readTeam(q, "holders")
	if failed != nil {
		return "", nil, failed
	}
	page.Failed = p
	typed(&page)
	v, failed := c.teamView(q, &page)
	if failed != nil {
		return "", nil, failed
	}
	v.Status, v.Problem = p.Status, p
	return "", v, nil
}
