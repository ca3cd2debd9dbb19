package console

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/identity"
)

// registerAudit registers the pages of the audit log.
func (c *Console) registerAudit(mux *http.ServeMux) {
	c.get(mux, "/audit", c.audit)
	mux.HandleFunc("GET /audit/export", c.exportAudit)
}

// auditPage is a part of the audit log.
type auditPage struct {
	Events   []api.Event
	Filter   auditFilter
	Types    []identity.EventType
	Families []string // user.* and its like
	Export   string   // where the same is as JSON lines
	Filtered bool
	Head     *api.AuditHead // how far the log is sealed; nil where something is searched
	Pages    listPages
}

// auditFilter is what was asked for, as it was typed.
type auditFilter struct{ User, Actor, Type, ObjectID, RequestID, RunID, From, To string }

const eventsOnPage = 50

// auditQuery returns what the API is asked for. Moments are typed as browsers' fields have them, in UTC.
func auditQuery(q *request) (url.Values, auditFilter, *api.Problem) {
	query := q.given("user", "actor", "type", "object_id", "request_id", "run_id", "order")
	filter := auditFilter{
		query.Get("user"), query.Get("actor"), query.Get("type"), query.Get("object_id"), query.Get("request_id"), query.Get("run_id"),
		q.Query("from"), q.Query("to"),
	}
	for name, typed := range map[string]string{"from": filter.From, "to": filter.To} {
		if typed == "" {
			continue
		}
		at, err := moment(typed)
		if err != nil {
			return nil, filter, &api.Problem{
				Status: http.StatusUnprocessableEntity, Title: "The moment could not be read", Detail: "Write it such as 2026-03-01T12:00, in UTC.",
				Errors: []api.ProblemField{{Location: "query." + name, Message: "is no moment"}},
			}
		}
		query.Set(name, at.Format(time.RFC3339))
	}
	return query, filter, nil
}

// moment reads a date and time in UTC, as a browser's field has it, or as RFC 3339 does.
func moment(typed string) (time.Time, error) {
	var err error
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04", "2006-01-02"} {
		var at time.Time
		if at, err = time.Parse(layout, typed); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, err
}

func (c *Console) audit(q *request) (*view, error) {
	query, filter, problem := auditQuery(q)
	page := auditPage{Filter: filter, Types: identity.EventTypes(), Families: families(), Filtered: filter != auditFilter{}}
	v := &view{Page: "audit", Title: "Audit", Section: "/audit", Problem: problem}
	query.Del("order")
	if problem == nil {
		page.Export = "/audit/export"
		if len(query) > 0 {
			page.Export += "?" + query.Encode()
		}
		query.Set("limit", strconv.Itoa(eventsOnPage))
		if cursor := q.Query("cursor"); cursor != "" {
			query.Set("cursor", cursor)
		}
		list, err := fetch[api.Page[api.Event]](q, "/audit", query)
		if v.Problem = asProblem(err); v.Problem == nil && err != nil {
			return nil, err
		}
		page.Events, page.Pages = list.Items, cursorPagesAt(q, "/audit", list.NextCursor)
	}
	if !page.Filtered && q.Query("cursor") == "" {
		head, err := fetch[api.AuditHead](q, "/audit/head", nil)
		if err != nil {
			return nil, err
		}
		page.Head = &head
	}
	if v.Problem != nil {
		v.Status, page.Export = v.Problem.Status, ""
	}
	v.Data = page
	return v, nil
}

// families returns what types of event begin with.
func families() []string {
	var names []string
	for _, t := range identity.EventTypes() {
		name, _, _ := strings.Cut(string(t), ".")
		if name += ".*"; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// exportAudit hands the API's export on as it comes: it may be longer than what memory holds.
func (c *Console) exportAudit(w http.ResponseWriter, r *http.Request) {
	q := c.begin(w, r)
	if q == nil {
		return
	}
	query, _, problem := auditQuery(q)
	if problem != nil {
		c.fail(q, problem)
		return
	}
	probe := maps.Clone(query)
	probe.Set("limit", "1")
	probe.Del("order")
	if _, err := fetch[api.Page[api.Event]](q, "/audit", probe); err != nil { // what is wrong is said on a page, not in a file
		c.fail(q, err)
		return
	}
	inner := q.Request.Clone(q.Context())
	inner.URL.Path, inner.URL.RawPath, inner.URL.RawQuery = api.Prefix+"/audit", "", query.Encode()
	inner.Header = http.Header{"Accept": {"application/x-ndjson"}, "Sec-Fetch-Site": {"same-origin"}}
	w.Header().Set("Content-Disposition", `attachment; filename="audit-`+c.now().UTC().Format("20060102-150405")+`.jsonl"`)
	c.o.API.ServeHTTP(w, inner)
}
