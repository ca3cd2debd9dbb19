package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerPeople registers the pages about people.
func (c *Console) registerPeople(mux *http.ServeMux) {
	c.get(mux, "/people", c.people)
	c.get(mux, "/people/{id}", c.person)
	c.get(mux, "/people/{id}/history", c.personHistory)
	c.get(mux, "/people/{id}/sign-in", c.personSignIn)
	c.get(mux, "/people/{id}/resync", c.personResync)
	c.get(mux, "/people/{id}/give", c.personGive)
	c.post(mux, "/people/{id}/resync", levelOperator, c.resyncPerson)
	c.post(mux, "/people/{id}/give", levelAdmin, c.giveRole)
	c.post(mux, "/people/{id}/take", levelAdmin, c.takeRole)
	c.post(mux, "/people/{id}/deactivate", levelAdmin, c.deactivate)
	c.post(mux, "/people/{id}/reactivate", levelAdmin, c.reactivate)
	c.post(mux, "/people/{id}/end-sessions", levelAdmin, c.endPersonsSessions)
	c.post(mux, "/people/{id}/revoke-key", levelAdmin, c.revokePersonsKey)
	c.post(mux, "/people/{id}/enable-key", levelAdmin, c.enablePersonsKey)
	c.post(mux, "/people/{id}/unlock", levelAdmin, c.unlockPerson)
}

// peoplePage is the list of people.
type peoplePage struct {
	Search, Active, Origin, Source string // filters
	Sources                        []string
	People                         []api.User
	Total                          *int // of all pages, on the first one
	Filtered                       bool
	Pages                          listPages
}

// listed is how many people, groups or members a page lists.
const listed = 50

func (c *Console) people(q *request) (*view, error) {
	page := peoplePage{Search: q.Query("search"), Active: q.Query("active"), Origin: q.Query("origin"), Source: q.Query("source")}
	query := q.given("search", "active", "origin", "source", "cursor")
	page.Filtered = page.Search+page.Active+page.Origin+page.Source != ""
	query.Set("limit", strconv.Itoa(listed))
	list, err := fetch[api.Page[api.User]](q, "/users", query)
	if err != nil {
		return nil, err
	}
	page.People, page.Total, page.Pages = list.Items, list.Total, cursorPages(q, list.NextCursor)
	if page.Sources, err = sourceNames(q, page.Source); err != nil {
		return nil, err
	}
	return &view{Page: "people", Title: "People", Section: "/people", Data: page}, nil
}

// sourceNames returns the connectors by which lists are filtered, with one that is asked for already.
func sourceNames(q *request, chosen string) ([]string, error) {
	list, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	if chosen != "" && !slices.Contains(names, chosen) {
		names = append(names, chosen)
	}
	return names, nil
}

// personHead is what all pages of one person begin with.
type personHead struct {
	User   api.UserDetail
	Tab    string
	Pulled bool // a connector owns the account, and can be asked about it
	Own    bool // whoever looks is this person
}

// At returns where the person's pages are.
func (p personHead) At() string { return "/people/" + url.PathEscape(p.User.ID) }

// State returns the person's state, for a badge.
func (p personHead) State() string { return stateOf(&p.User.User) }

func stateOf(u *api.User) string {
	switch {
	case u.Deleted:
		return "deleted"
	case u.Active:
		return "active"
	}
	return "inactive"
}

// Name returns what the person is called.
func (p personHead) Name() string {
	if p.User.DisplayName != "" {
		return p.User.DisplayName
	}
	return p.User.UserName
}

func (q *request) personPath() string { return "/users/" + url.PathEscape(q.PathValue("id")) }

// head reads the person whom an address names.
func (c *Console) head(q *request, tab string) (personHead, error) {
	u, err := fetch[api.UserDetail](q, q.personPath(), nil)
	if isNotFound(err) {
		err = &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such person. People are never deleted here: look for them by name."}
	}
	if err != nil {
		return personHead{}, err
	}
	head := personHead{User: u, Tab: tab, Own: q.Session.UserID == u.ID}
	head.Pulled, err = isConnector(q, u.Source)
	return head, err
}

// isConnector tells whether a source is a connector that is configured.
func isConnector(q *request, source string) (bool, error) {
	if source == "" {
		return false, nil
	}
	list, err := fetch[api.Page[api.Connector]](q, "/connectors", nil)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.Items, func(c api.Connector) bool { return c.Name == source }), nil
}

func (h personHead) view(page string, data any) *view {
	return &view{Page: page, Title: h.Name(), Section: "/people", Data: data}
}
