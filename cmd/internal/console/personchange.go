package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// giveForm offers what can be given by hand.
type giveForm struct {
	Teams []string // some, to choose from
	Roles []string
}

// offered is how many teams are offered while one types; any other can be typed.
const offered = "100"

func readGiveForm(q *request) (*giveForm, error) {
	roles, err := fetch[api.Page[api.RoleInfo]](q, "/roles", nil)
	if err != nil {
		return nil, err
	}
	teams, err := fetch[api.Page[api.Team]](q, "/teams", url.Values{"limit": {offered}})
	if err != nil {
		return nil, err
	}
	form := &giveForm{}
	for _, r := range roles.Items {
		form.Roles = append(form.Roles, r.Role)
	}
	for i := range teams.Items {
		form.Teams = append(form.Teams, teams.Items[i].Name)
	}
	return form, nil
}

// givePage says what giving a role means, before it is done.
type givePage struct {
	personHead
	Team, Role string
	Form       *giveForm
	Problem    string // what is wrong with what was chosen, "" for nothing
	WrongTeam  bool
	WrongRole  bool
	Means      []string
	Held       *heldRole // where the person has the role already
}

// roleMeans says what a role on the root team lets somebody do here.
var roleMeans = map[string]string{
	"viewer":           "On the root team it lets somebody look at everything in this console, and ask what anybody may do.",
	"operator":         "On the root team it lets somebody start runs, and decide about what the guard holds and about conflicts.",
	"admin":            "On the root team it lets somebody change everything here: roles, keys, teams and settings.",
	"scim_provisioner": "On the root team it lets the person's API keys push people and groups over SCIM.",
}

func (c *Console) personGive(q *request) (*view, error) {
	head, err := c.head(q, "overview")
	if err != nil {
		return nil, err
	}
	if q.Level < levelAdmin {
		return nil, notAllowed(levelAdmin)
	}
	page := givePage{personHead: head, Team: q.Query("team"), Role: q.Query("role")}
	if page.Form, err = readGiveForm(q); err != nil {
		return nil, err
	}
	team, err := findTeam(q, page.Team)
	if err != nil {
		return nil, err
	}
	switch {
	case team == nil:
		page.WrongTeam, page.Problem = true, "There is no such team. Choose one that there is, or make it under Groups & teams first."
	case !slices.Contains(page.Form.Roles, page.Role):
		page.WrongRole, page.Problem = true, "There is no such role. Choose one of the list; others are added in the configuration, under roles."
	}
	v := head.view("person_give", &page)
	v.Title = "Give a role to " + head.Name()
	if page.Problem != "" {
		return v, nil
	}
	page.Team = team.Name
	return v, page.say(q, team)
}

// findTeam returns the team of a name, nil for none.
func findTeam(q *request, name string) (*api.Team, error) {
	if name == "" {
		return nil, nil
	}
	found, err := fetch[api.Page[api.Team]](q, "/teams", url.Values{"team": {name}})
	if err != nil || len(found.Items) == 0 {
		return nil, err
	}
	return &found.Items[0], nil
}

// say tells in words what it means to give the role.
func (p *givePage) say(q *request, team *api.Team) error {
	got, err := fetch[api.Access](q, q.personPath()+"/access", nil)
	if err != nil {
		return err
	}
	for _, t := range accessOf(q, &got).Teams {
		for i := range t.Roles {
			if t.Roles[i].Role == p.Role && strings.EqualFold(t.Team, p.Team) {
				p.Held = &t.Roles[i]
			}
		}
	}
	add := func(format string, args ...any) { p.Means = append(p.Means, fmt.Sprintf(format, args...)) }
	add("%s holds %s on %s from the next request on.", p.Name(), p.Role, p.Team)
	if text := roleMeans[p.Role]; team.Kind == "root" && text != "" {
		add("%s", text)
	}
	if len(team.Scope) > 0 {
		add("The team's roles are for: %s.", strings.Join(team.Scope, ", "))
	}
	add("It stands until somebody takes it away by hand: no group, no identity provider and no run ends it.")
	if !p.User.Active {
		add("The account is deactivated: nothing is in force until it is active again.")
	}
	add("The audit log keeps who gave it, and when.")
	return nil
}

func (c *Console) giveRole(q *request) (string, *view, error) {
	got, err := call[api.Grant](q, http.MethodPost, "/grants", nil, map[string]string{"user": q.PathValue("id"), "team": q.Form("team"), "role": q.Form("role")})
	if err != nil {
		return c.refusedPerson(q, err)
	}
	if got.Changed {
		q.Notify(fmt.Sprintf("%s holds %s on %s now, given by hand.", got.User, got.Role, got.Team))
	} else {
		q.Notify(fmt.Sprintf("%s held %s on %s by hand already.", got.User, got.Role, got.Team))
	}
	return q.personAt(""), nil, nil
}

func (c *Console) takeRole(q *request) (string, *view, error) {
	query := url.Values{"user": {q.PathValue("id")}, "team": {q.Form("team")}, "role": {q.Form("role")}}
	got, err := call[api.Grant](q, http.MethodDelete, "/grants", query, nil)
	if err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify(fmt.Sprintf("What gave %s %s on %s by hand is taken away.", got.User, got.Role, got.Team))
	return q.personAt(""), nil, nil
}

// personAt returns where a page of the person is whom the address names.
func (q *request) personAt(rest string) string {
	return "/people/" + url.PathEscape(q.PathValue("id")) + rest
}

func (c *Console) deactivate(q *request) (string, *view, error) {
	u, err := call[api.User](q, http.MethodPost, q.personPath()+"/deactivate", nil, nil)
	if err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify(u.UserName + " is deactivated. Sessions have ended, API keys are disabled, no role is in force.")
	return q.personAt(""), nil, nil
}

func (c *Console) reactivate(q *request) (string, *view, error) {
	u, err := call[api.User](q, http.MethodPost, q.personPath()+"/reactivate", nil, nil)
	if err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify(u.UserName + " is active again, with the roles of before. API keys stay disabled until they are let in again one by one.")
	return q.personAt(""), nil, nil
}

func (c *Console) endPersonsSessions(q *request) (string, *view, error) {
	var err error
	if id := q.Form("session"); id != "" {
		_, err = call[struct{}](q, http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, nil)
		q.Notify("The session has ended.")
	} else {
		var ended api.SessionsEnded
		ended, err = call[api.SessionsEnded](q, http.MethodDelete, "/sessions", url.Values{"user": {q.PathValue("id")}}, nil)
		q.Notify(plural(ended.Ended, "session") + " ended.")
	}
	if err != nil {
		return c.refusedPerson(q, err)
	}
	return q.personAt("/sign-in"), nil, nil
}

func (c *Console) revokePersonsKey(q *request) (string, *view, error) {
	if _, err := call[struct{}](q, http.MethodDelete, "/keys/"+url.PathEscape(q.Form("key")), nil, nil); err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify("The key is revoked: it lets nobody in any more.")
	return q.personAt("/sign-in"), nil, nil
}

func (c *Console) enablePersonsKey(q *request) (string, *view, error) {
	if _, err := call[api.Key](q, http.MethodPost, "/keys/"+url.PathEscape(q.Form("key"))+"/enable", nil, nil); err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify("The key lets in again.")
	return q.personAt("/sign-in"), nil, nil
}

func (c *Console) unlockPerson(q *request) (string, *view, error) {
	if _, err := call[struct{}](q, http.MethodPost, q.personPath()+"/unlock", nil, nil); err != nil {
		return c.refusedPerson(q, err)
	}
	q.Notify("Sign-in is possible again without waiting.")
	return q.personAt("/sign-in"), nil, nil
}

// refusedPerson shows the person again with what the API says against a change.
func (c *Console) refusedPerson(q *request, err error) (string, *view, error) {
	p := asProblem(err)
	if p == nil || p.Status == http.StatusForbidden {
		return "", nil, err
	}
	head, failed := c.head(q, "overview")
	if failed != nil {
		return "", nil, failed
	}
	v, failed := c.personView(q, head)
	if failed != nil {
		return "", nil, failed
	}
	v.Status, v.Problem = p.Status, p
	return "", v, nil
}
