package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/idpsync/idpsync/cmd/internal/httpserver"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Event is one line of the audit log.
type Event struct {
	Seq       int64         `json:"seq"`
	At        time.Time     `json:"at"`
	Type      string        `json:"type"`
	Actor     Actor         `json:"actor"`
	RequestID string        `json:"request_id,omitempty"`
	RunID     string        `json:"run_id,omitempty"`
	Object    string        `json:"object"`
	ObjectID  string        `json:"object_id"`
	Name      string        `json:"name"`
	Fields    []FieldChange `json:"fields" nullable:"false"`
	Members   []string      `json:"members,omitempty" nullable:"false" doc:"Who came into a group, or left it."`
	Reason    string        `json:"reason,omitempty"`
}

// Actor is who did something.
type Actor struct {
	Kind string `json:"kind" doc:"key, user, connector, cli or system"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

func eventOf(e *identity.Event) Event {
	return Event{
		Seq: e.Seq, At: e.At, Type: string(e.Type), Actor: Actor{e.Actor.Kind, e.Actor.ID, e.Actor.Name}, RequestID: e.Actor.RequestID,
		RunID: e.Actor.RunID, Object: string(e.Object), ObjectID: e.ObjectID, Name: e.Name, Fields: fieldsOf(e.Fields), Members: e.Members, Reason: e.Reason,
	}
}

const (
	tagAudit = "audit"
	ndjson   = "application/x-ndjson"
)

type auditIn struct {
	ObjectID  string    `query:"object_id" maxLength:"200" doc:"About this user, group, key, run, ..."`
	User      string    `query:"user" maxLength:"1000" doc:"About this person, by userName or id: the account, and the groups that it came into and left."`
	Actor     string    `query:"actor" maxLength:"200" doc:"By the user, key or connector with this id."`
	Type      string    `query:"type" maxLength:"100" doc:"Of this type; user.* stands for all that begin so." example:"grant.*"`
	RequestID string    `query:"request_id" maxLength:"200"`
	RunID     string    `query:"run_id" maxLength:"200"`
	From      time.Time `query:"from" doc:"Not before (RFC 3339)."`
	To        time.Time `query:"to" doc:"Before (RFC 3339)."`
	Accept    string    `header:"Accept" doc:"application/x-ndjson exports everything that the filters select, as JSON lines."`
	Paging
}

type auditOut struct {
	ContentType string `header:"Content-Type"`
	Body        func(huma.Context)
}

func (a *API) registerAudit() {
	page := huma.SchemaFromType(a.huma.OpenAPI().Components.Schemas, pageOfEvents)
	event := &huma.Schema{Ref: "#/components/schemas/Event"}
	add(a, operation{
		id: "list-audit", method: http.MethodGet, path: "/audit", tag: tagAudit, need: needViewer, summary: "List or export what happened, the newest first",
		answers: &huma.Response{
			Description: "A page of events; as JSON lines, all of them.",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: page}, ndjson: {Schema: event}},
		},
	}, a.listAudit)
}

func (a *API) listAudit(ctx context.Context, in *auditIn) (*auditOut, error) {
	q := store.AuditQuery{
		ObjectID: in.ObjectID, ActorID: in.Actor, Type: in.Type, RequestID: in.RequestID, RunID: in.RunID, From: in.From, To: in.To,
	}
	for location, at := range map[string]time.Time{"query.from": in.From, "query.to": in.To} {
		if !at.IsZero() && (at.UTC().Year() < 1 || at.UTC().Year() > 9999) {
			return nil, invalid(location, "want a moment such as 2026-03-01T12:00:00Z")
		}
	}
	if in.User != "" {
		u, err := a.findUser(ctx, in.User)
		if err != nil {
			return nil, err
		}
		q.UserID = u.ID
	}
	if strings.Contains(in.Accept, ndjson) {
		return a.exportAudit(ctx, q)
	}
	page, err := a.events(ctx, q, in.Paging)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(page.Body)
	if err != nil {
		return nil, err
	}
	return &auditOut{ContentType: "application/json", Body: func(ctx huma.Context) {
		ctx.SetStatus(http.StatusOK)
		_, _ = ctx.BodyWriter().Write(append(body, '\n')) // the client may be gone
	}}, nil
}

// events answers a page of the audit log.
func (a *API) events(ctx context.Context, q store.AuditQuery, in Paging) (*bodyOf[Page[Event]], error) {
	before, err := in.number("event")
	if err != nil {
		return nil, err
	}
	q.Before, q.Limit = before, in.Limit+1
	events, err := a.o.Store.Audit(ctx, q)
	if err != nil {
		return nil, err
	}
	return &bodyOf[Page[Event]]{pageOf(each(events, eventOf), in.Limit, "event", func(e *Event) string { return strconv.FormatInt(e.Seq, 10) })}, nil
}

// exportPause bounds how long a client may take for a thousand lines.
const exportPause = time.Minute

// exportAudit streams all that a query selects. An export that breaks off ends without the end of the answer, so that
// nobody takes it for whole.
func (a *API) exportAudit(ctx context.Context, q store.AuditQuery) (*auditOut, error) {
	q.Limit = 1000
	events, err := a.o.Store.Audit(ctx, q)
	if err != nil {
		return nil, err
	}
	return &auditOut{ContentType: ndjson, Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		hc.SetStatus(http.StatusOK)
		control, lines := http.NewResponseController(w), json.NewEncoder(w)
		lines.SetEscapeHTML(false)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(exportPause)) // not every writer has one
			for i := range events {
				if err := lines.Encode(eventOf(&events[i])); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
			if len(events) < q.Limit {
				return
			}
			_ = control.Flush()
			q.Before = events[len(events)-1].Seq
			if events, err = a.o.Store.Audit(ctx, q); err != nil {
				a.logger.ErrorContext(ctx, "audit export broken off", "error", err, "request_id", httpserver.RequestID(ctx))
				panic(http.ErrAbortHandler)
			}
		}
	}}, nil
}
