package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerGroups registers the pages about groups and teams.
func (c *Console) registerGroups(mux *http.ServeMux) {
	c.get(mux, "/groups", c.groups)
	c.get(mux, "/groups/{id}", c.group)
	c.get(mux, "/groups/{id}/history", c.groupHistory)
	c.get(mux, "/groups/{id}/resync", c.groupResync)
	c.post(mux, "/groups/{id}/resync", levelOperator, c.resyncGroup)
	c.get(mux, "/teams", c.teams)
	c.post(mux, "/teams", levelAdmin, c.createTeam)
	c.get(mux, "/teams/{id}", c.team)
	c.get(mux, "/teams/{id}/history", c.teamHistory)
	c.post(mux, "/teams/{id}/name", levelAdmin, c.renameTeam)
	c.post(mux, "/teams/{id}/scope", levelAdmin, c.scopeTeam)
	c.post(mux, "/teams/{id}/delete", levelAdmin, c.deleteTeam)
}

// groupsPage is the list of groups.
type groupsPage struct {
	Search, Source string
	Sources        []string
	Groups         []api.Group
	Total          *int
	Filtered       bool
	Pages          listPages
}

func (c *Console) groups(q *request) (*view, error) {
	page := groupsPage{Search: q.Query("search"), Source: q.Query("source")}
	page.Filtered = page.Search+page.Source != ""
	query := q.given("search", "source", "cursor")
	query.Set("limit", strconv.Itoa(listed))
	list, err := fetch[api.Page[api.Group]](q, "/groups", query)
	if err != nil {
		return nil, err
	}
	page.Groups, page.Total, page.Pages = list.Items, list.Total, cursorPages(q, list.NextCursor)
	if page.Sources, err = sourceNames(q, page.Source); err != nil {
		return nil, err
	}
	return &view{Page: "groups", Title: "Groups", Section: "/groups", Data: page}, nil
}

// groupHead is what all pages of one group begin with.
type groupHead struct {
	Group  api.GroupDetail
	Tab    string
	Pulled bool // a connector owns it, and can be asked about it
}

// At returns where the group's pages are.
func (h groupHead) At() string { return "/groups/" + url.PathEscape(h.Group.ID) }

func (q *request) groupPath() string { return "/groups/" + url.PathEscape(q.PathValue("id")) }

func (c *Console) groupHead(q *request, tab string) (groupHead, error) {
	g, err := fetch[api.GroupDetail](q, q.groupPath(), nil)
	if isNotFound(err) {
		err = &api.Problem{Status: http.StatusNotFound, Title: "Not found", Detail: "There is no such group: the identity provider may have deleted it. The audit log tells."}
	}
	if err != nil {
		return groupHead{}, err
	}
	pulled, err := isConnector(q, g.Source)
	return groupHead{g, tab, pulled}, err
}

func (h groupHead) view(page string, data any) *view {
	return &view{Page: page, Title: h.Group.DisplayName, Section: "/groups", Data: data}
}

// groupPage is one group with some of its members.
type groupPage struct {
	groupHead
	Members []api.Member
	Pages   listPages
}

func (c *Console) group(q *request) (*view, error) {
	head, err := c.groupHead(q, "members")
	if err != nil {
		return nil, err
	}
	query := q.given("cursor")
	query.Set("limit", strconv.Itoa(listed))
	members, err := fetch[api.Page[api.Member]](q, q.groupPath()+"/members", query)
	if err != nil {
		return nil, err
	}
	return head.view("group", groupPage{head, members.Items, cursorPages(q, members.NextCursor)}), nil
}

// groupHistoryPage is what happened to a group.
type groupHistoryPage struct {
	groupHead
	Entries []entry
	Pages   listPages
}

func (c *Console) groupHistory(q *request) (*view, error) {
	head, err := c.groupHead(q, "history")
	if err != nil {
		return nil, err
	}
	entries, pages, err := historyOf(q, head.Group.ID)
	if err != nil {
		return nil, err
	}
	return head.view("group_history", groupHistoryPage{head, entries, pages}), nil
}

// fewEvents is how many events of a group or team a page shows: one may name thousands of members.
const fewEvents = "20"

// historyOf returns a page of what happened to a group or team.
func historyOf(q *request, id string) ([]entry, listPages, error) {
	query := q.given("cursor")
	query.Set("limit", fewEvents)
	query.Set("object_id", id)
	events, err := fetch[api.Page[api.Event]](q, "/audit", query)
	if err != nil {
		return nil, listPages{}, err
	}
	return entriesOf(q, events.Items, id), cursorPages(q, events.NextCursor), nil
}

// groupResyncPage is a group with a run of it.
type groupResyncPage struct {
	groupHead
	Resync resync
}

func (c *Console) groupResync(q *request) (*view, error) {
	head, err := c.groupHead(q, "resync")
	if err != nil {
		return nil, err
	}
	page := groupResyncPage{groupHead: head, Resync: resync{Connector: head.Group.Source}}
	if err := page.Resync.follow(q); err != nil {
		return nil, err
	}
	v := head.view("group_resync", page)
	v.Refresh = page.Resync.going()
	return v, nil
}

func (c *Console) resyncGroup(q *request) (string, *view, error) {
	head, err := c.groupHead(q, "resync")
	if err != nil {
		return "", nil, err
	}
	next, err := "", error(nothingToAsk())
	if head.Pulled {
		next, err = startOne(q, head.Group.Source, map[string]any{"group": head.Group.SourceID}, head.At()+"/resync")
	}
	if p := asProblem(err); p != nil && p.Status != http.StatusForbidden {
		v := head.view("group_resync", groupResyncPage{groupHead: head, Resync: resync{Connector: head.Group.Source}})
		v.Status, v.Problem = p.Status, p
		return "", v, nil
	}
	return next, nil, err
}
