package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerConflicts registers the pages of conflicts.
func (c *Console) registerConflicts(mux *http.ServeMux) {
	c.get(mux, "/conflicts", c.conflicts)
	c.post(mux, "/conflicts/{id}/link", levelOperator, c.linkConflict)
	c.post(mux, "/conflicts/{id}/ignore", levelOperator, c.ignoreConflict)
}

// conflictsPage lists conflicts.
type conflictsPage struct {
	Items      []conflictShown
	Total      int
	All        bool
	Connector  string
	Connectors []string
	Pages      listPages
}

// conflictShown is a conflict with what is known of those who may be meant.
type conflictShown struct {
	api.Conflict
	Users  []api.UserDetail
	Groups []api.GroupDetail
	Gone   int    // of the candidates, those who are not there any more
	More   int    // that are not shown
	Typed  string // what was typed as the account or group that is meant
	Wrong  *api.Problem
}

const (
	conflictsOnPage = 25
	candidatesShown = 5
)

func (c *Console) conflicts(q *request) (*view, error) {
	query := q.given("connector", "cursor")
	query.Set("limit", strconv.Itoa(conflictsOnPage))
	if q.Query("all") != "" {
		query.Set("all", "true")
	}
	list, err := fetch[api.Page[api.Conflict]](q, "/conflicts", query)
	if err != nil {
		return nil, err
	}
	page := conflictsPage{All: q.Query("all") != "", Connector: q.Query("connector"), Pages: cursorPagesAt(q, "/conflicts", list.NextCursor)}
	if list.Total != nil {
		page.Total = *list.Total
	}
	if page.Connectors, err = connectorNames(q); err != nil {
		return nil, err
	}
	for i := range list.Items {
		shown, err := candidates(q, &list.Items[i])
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, shown)
	}
	return &view{Page: "conflicts", Title: "Conflicts", Section: "/conflicts", Data: page}, nil
}

// candidates looks up who may be meant by a record.
func candidates(q *request, conflict *api.Conflict) (conflictShown, error) {
	shown := conflictShown{Conflict: *conflict}
	if conflict.Status != "open" {
		return shown, nil
	}
	for i, id := range conflict.Candidates {
		if i == candidatesShown {
			shown.More = len(conflict.Candidates) - candidatesShown
			break
		}
		var err error
		if conflict.Object == "group" {
			var g api.GroupDetail
			if g, err = fetch[api.GroupDetail](q, "/groups/"+url.PathEscape(id), nil); err == nil {
				shown.Groups = append(shown.Groups, g)
			}
		} else {
			var u api.UserDetail
			if u, err = fetch[api.UserDetail](q, "/users/"+url.PathEscape(id), nil); err == nil {
				shown.Users = append(shown.Users, u)
			}
		}
		if isNotFound(err) {
			shown.Gone, err = shown.Gone+1, nil
		}
		if err != nil {
			return shown, err
		}
	}
	return shown, nil
}

// linkConflict says who a record is. What is refused is said on the list, whose filters the form does not carry.
func (c *Console) linkConflict(q *request) (string, *view, error) {
	meant := map[string]any{"user": q.Form("user")}
	if q.Form("group") != "" {
		meant = map[string]any{"group": q.Form("group")}
	}
	linked, err := call[api.Conflict](q, http.MethodPost, "/conflicts/"+url.PathEscape(q.PathValue("id"))+"/link", nil, meant)
	if problem := asProblem(err); problem != nil {
		return c.conflictRefused(q, problem)
	}
	if err != nil {
		return "", nil, err
	}
	if linked.RunID == "" {
		q.Notify("Linked: the next run of " + linked.Connector + " compares " + linked.Name + ".")
		return "/conflicts", nil, nil
	}
	q.Notify("Linked: this run compares " + linked.Name + " with what " + linked.Connector + " says.")
	return "/runs/" + url.PathEscape(linked.RunID), nil, nil
}

func (c *Console) ignoreConflict(q *request) (string, *view, error) {
	undo := q.Form("undo") != ""
	decided, err := call[api.Conflict](q, http.MethodPost, "/conflicts/"+url.PathEscape(q.PathValue("id"))+"/ignore", nil, map[string]any{"undo": undo})
	if problem := asProblem(err); problem != nil {
		return c.conflictRefused(q, problem)
	}
	if err != nil {
		return "", nil, err
	}
	if undo {
		q.Notify("Looked at again: the next run of " + decided.Connector + " compares " + decided.Name + ".")
		return "/conflicts", nil, nil
	}
	q.Notify("Ignored: " + decided.Connector + " leaves " + decided.Name + " alone.")
	return "/conflicts", nil, nil
}

// conflictRefused shows the conflicts again with why one was not decided so.
func (c *Console) conflictRefused(q *request, problem *api.Problem) (string, *view, error) {
	v, err := c.conflicts(q)
	if err != nil {
		return "", nil, err
	}
	v.Problem, v.Status = problem, problem.Status
	page := v.Data.(conflictsPage)
	for i := range page.Items {
		if page.Items[i].ID == q.PathValue("id") {
			page.Items[i].Typed, page.Items[i].Wrong = q.Form("user")+q.Form("group"), problem
		}
	}
	return "", v, nil
}
