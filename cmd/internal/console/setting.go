package console

import (
	"net/http"
	"net/url"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerSettings registers the pages of settings, and those of a person's own keys.
func (c *Console) registerSettings(mux *http.ServeMux) {
	c.get(mux, "/settings", c.settings)
	c.post(mux, "/settings/scim", levelAdmin, c.switchSCIM)
	c.get(mux, "/settings/connectors", c.connectors)
	c.post(mux, "/settings/connectors/check", levelOperator, c.checkConnector)
	c.get(mux, "/settings/sessions", c.sessions)
	c.post(mux, "/settings/sessions/end", levelAdmin, c.endSession)
	c.post(mux, "/settings/sessions/end-all", levelAdmin, c.endSessions)
	c.registerKeys(mux)
	c.registerWebhooks(mux)
}

// tab is an entry of the settings' own navigation.
type tab struct{ Path, Name string }

var settingTabs = []tab{
	{"/settings", "SCIM push"},
	{"/settings/connectors", "Connectors"},
	{"/settings/keys", "API keys"},
	{"/settings/webhooks", "Webhooks"},
	{"/settings/sessions", "Who is signed in"},
}

// settingPage is what a page of settings is about, with the tabs.
type settingPage struct {
	Tabs []tab
	Here string
	Of   any
}

func setting(page, path, title string, of any, problem *api.Problem) *view {
	v := &view{Page: page, Title: title, Section: "/settings", Problem: problem, Data: settingPage{settingTabs, path, of}}
	if problem != nil {
		v.Status = problem.Status
	}
	return v
}

// scimPage is the switch of the push endpoint.
type scimPage struct {
	api.SCIMSetting
	Endpoint string // as it is called from here
}

func (c *Console) settings(q *request) (*view, error) { return c.scimView(q, nil) }

func (c *Console) scimView(q *request, problem *api.Problem) (*view, error) {
	scim, err := fetch[api.SCIMSetting](q, "/settings/scim", nil)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if c.o.Secure {
		scheme = "https"
	}
	return setting("settings", "/settings", "Settings", scimPage{scim, scheme + "://" + q.Host + "/scim/v2"}, problem), nil
}

func (c *Console) switchSCIM(q *request) (string, *view, error) {
	on := q.Form("enabled") == "true"
	scim, err := call[api.SCIMSetting](q, http.MethodPost, "/settings/scim", nil, map[string]any{"enabled": on})
	if problem := asProblem(err); problem != nil {
		v, err := c.scimView(q, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	switch {
	case scim.Changed != nil && !*scim.Changed:
		q.Notify("It was so already.")
	case on && !scim.Answering && scim.AnswersFrom != nil:
		q.Notify("SCIM push is on: all servers answer from " + instant(*scim.AnswersFrom) + ".")
	case on:
		q.Notify("SCIM push is on.")
	default:
		q.Notify("SCIM push is off: identity providers are refused from now on.")
	}
	return "/settings", nil, nil
}

// connectorsPage lists connectors as configured, with what came of trying one.
type connectorsPage struct {
	Items   []api.Connector
	Checked string // the connector that was tried
	Result  api.Checked
}

func (c *Console) connectors(q *request) (*view, error) {
	return c.connectorsView(q, "", api.Checked{}, nil)
}

func (c *Console) connectorsView(q *request, checked string, result api.Checked, problem *api.Problem) (*view, error) {
	list, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return nil, err
	}
	return setting("connectors", "/settings/connectors", "Connectors", connectorsPage{list.Items, checked, result}, problem), nil
}

// standing says in a word how a connector stands, for what its configuration has to do with it.
func standing(c api.Connector) string {
	switch c.Status {
	case "paused":
		return healthQuarantined
	case "failing":
		return healthFailing
	case "new":
		return healthNew
	}
	return "works"
}

func (c *Console) checkConnector(q *request) (string, *view, error) {
	name := q.Form("connector")
	result, err := call[api.Checked](q, http.MethodPost, "/connectors/"+url.PathEscape(name)+"/check", nil, nil)
	problem := asProblem(err)
	if err != nil && problem == nil {
		return "", nil, err
	}
	v, err := c.connectorsView(q, name, result, problem)
	return "", v, err
}

// sessionsPage lists who is signed in.
type sessionsPage struct {
	Items []api.SignedIn
	User  string
	Full  bool   // there may be more
	Own   string // the session of whoever looks
}

func (c *Console) sessions(q *request) (*view, error) { return c.sessionsView(q, nil) }

const sessionsOnPage = 200

func (c *Console) sessionsView(q *request, problem *api.Problem) (*view, error) {
	query := q.given("user")
	query.Set("limit", "200")
	list, err := fetch[api.Page[api.SignedIn]](q, "/sessions", query)
	if refused := asProblem(err); refused != nil && problem == nil {
		problem, err = refused, nil
	}
	if err != nil {
		return nil, err
	}
	page := sessionsPage{Items: list.Items, User: q.Query("user"), Full: len(list.Items) >= sessionsOnPage, Own: q.Session.ID}
	return setting("sessions", "/settings/sessions", "Who is signed in", page, problem), nil
}

func (c *Console) endSession(q *request) (string, *view, error) {
	_, err := call[struct{}](q, http.MethodDelete, "/sessions/"+url.PathEscape(q.Form("id")), nil, nil)
	if problem := asProblem(err); problem != nil {
		v, err := c.sessionsView(q, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify("The session has ended.")
	return "/settings/sessions", nil, nil
}

func (c *Console) endSessions(q *request) (string, *view, error) {
	ended, err := call[api.SessionsEnded](q, http.MethodDelete, "/sessions", url.Values{"user": {q.Form("user")}}, nil)
	if problem := asProblem(err); problem != nil {
		v, err := c.sessionsView(q, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	q.Notify(plural(ended.Ended, "session has", "sessions have") + " ended.")
	return "/settings/sessions", nil, nil
}
