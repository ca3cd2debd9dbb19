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
	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

// Event is one line of the audit log.
type Event struct {
	Seq       int64         `json:"seq"`
	ID        string        `json:"id" doc:"UUID, which receivers of webhooks know the event by."`
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
	Chain     *EventLink    `json:"chain,omitempty" doc:"The place in the chain of hashes; absent while the event is not sealed."`
}

// EventLink is an event's place in the chain of hashes.
type EventLink struct {
	Seq  int64  `json:"seq" doc:"From 1 on, without gaps."`
	Prev string `json:"prev" doc:"The hash before it; 64 zeros before the first."`
	Hash string `json:"hash" doc:"SHA-256, in hexadecimal digits, over prev, a line feed, and the event without chain in canonical JSON."`
}

// AuditHead is how far the audit log is sealed.
type AuditHead struct {
	Head          string     `json:"head" doc:"COUNT:HASH, as idpsync audit verify --expect takes it."`
	Count         int64      `json:"count"`
	Hash          string     `json:"hash"`
	SealedAt      *time.Time `json:"sealed_at,omitempty" doc:"When it was last moved."`
	Unsealed      int        `json:"unsealed" doc:"Events that wait to be sealed; 100000 stands for more."`
	UnsealedSince *time.Time `json:"unsealed_since,omitempty" doc:"When the one of them that waits longest happened."`
}

// Actor is who did something.
type Actor struct {
	Kind string `json:"kind" doc:"key, user, connector, cli or system"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

func eventOf(e *identity.Event) Event {
	return Event{
		Seq: e.Seq, ID: e.ID, At: e.At, Type: string(e.Type), Actor: Actor{e.Actor.Kind, e.Actor.ID, e.Actor.Name}, RequestID: e.Actor.RequestID,
		RunID: e.Actor.RunID, Object: string(e.Object), ObjectID: e.ObjectID, Name: e.Name, Fields: fieldsOf(e.Fields), Members: e.Members, Reason: e.Reason,
	}
}

// linkOf returns a place in the chain as lines of an export have it.
func linkOf(l store.Link) *chain.Link {
	return &chain.Link{Seq: l.Position, Prev: l.Prev, Hash: l.Hash}
}

const (
	tagAudit = "audit"
	ndjson   = "application/x-ndjson"

	orderSealed = "sealed"
)

type auditIn struct {
	ObjectID  string    `query:"object_id" maxLength:"200" doc:"About this user, group, key, run, ..."`
	User      string    `query:"user" maxLength:"1000" doc:"About this person, by userName or id: the account, and the groups that it came into and left."`
	Actor     string    `query:"actor" maxLength:"200" doc:"By the user, key or connector with this id, or of a command by the name of who ran it."`
	Type      string    `query:"type" maxLength:"100" doc:"Of this type; user.* stands for all that begin so." example:"grant.*"`
	RequestID string    `query:"request_id" maxLength:"200"`
	RunID     string    `query:"run_id" maxLength:"200"`
	From      time.Time `query:"from" doc:"Not before (RFC 3339)."`
	To        time.Time `query:"to" doc:"Before (RFC 3339)."`
	Order     string    `query:"order" enum:"newest,sealed" default:"newest" doc:"Of an export: sealed is the order of the chain, the oldest first, and leaves out what is not sealed yet. Such an export can be verified by itself."`
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
	add(a, operation{
		id: "audit-head", method: http.MethodGet, path: "/audit/head", tag: tagAudit, need: needViewer,
		summary: "Tell how far the log is sealed, and the hash that stands for all of it",
	}, a.auditHead)
}

func (a *API) auditHead(ctx context.Context, _ *struct{}) (*bodyOf[AuditHead], error) {
	standing, err := a.o.Store.AuditStanding(ctx)
	if err != nil {
		return nil, err
	}
	head := AuditHead{Head: standing.Head.String(), Count: standing.Head.Count, Hash: standing.Head.Hash.String(), Unsealed: standing.Unsealed}
	if !standing.SealedAt.IsZero() {
		head.SealedAt = &standing.SealedAt
	}
	if !standing.Oldest.IsZero() {
		head.UnsealedSince = &standing.Oldest
	}
	return &bodyOf[AuditHead]{head}, nil
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
		if in.Order == orderSealed {
			return a.export(ctx, a.sealedLines(q))
		}
		return a.export(ctx, a.newestLines(q))
	}
	if in.Order == orderSealed {
		return nil, invalid("query.order", "the order of the chain is for exports: send Accept: "+ndjson)
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
	links, err := a.o.Store.Links(ctx, events)
	if err != nil {
		return nil, err
	}
	list := each(events, func(e *identity.Event) Event {
		event := eventOf(e)
		if l, ok := links[e.Seq]; ok {
			event.Chain = &EventLink{l.Position, l.Prev.String(), l.Hash.String()}
		}
		return event
	})
	return &bodyOf[Page[Event]]{pageOf(list, in.Limit, "event", func(e *Event) string { return strconv.FormatInt(e.Seq, 10) })}, nil
}

const (
	// exportPause bounds how long a client may take for a thousand lines.
	exportPause = time.Minute
	exportBatch = 1000
)

// A batch returns the next lines of an export, and whether more may follow.
type batch func(ctx context.Context) (lines [][]byte, more bool, err error)

// newestLines exports the newest events first.
func (a *API) newestLines(q store.AuditQuery) batch {
	q.Limit = exportBatch
	return func(ctx context.Context) ([][]byte, bool, error) {
		events, err := a.o.Store.Audit(ctx, q)
		if err != nil || len(events) == 0 {
			return nil, false, err
		}
		links, err := a.o.Store.Links(ctx, events)
		if err != nil {
			return nil, false, err
		}
		lines := make([][]byte, len(events))
		for i := range events {
			var link *chain.Link
			if l, ok := links[events[i].Seq]; ok {
				link = linkOf(l)
			}
			if lines[i], err = chain.Line(&events[i], link); err != nil {
				return nil, false, err
			}
		}
		q.Before = events[len(events)-1].Seq
		return lines, len(events) == exportBatch, nil
	}
}

// sealedLines exports the chain.
func (a *API) sealedLines(q store.AuditQuery) batch {
	q.Limit = exportBatch
	after := int64(0)
	return func(ctx context.Context) ([][]byte, bool, error) {
		events, err := a.o.Store.SealedAudit(ctx, q, after)
		if err != nil || len(events) == 0 {
			return nil, false, err
		}
		lines := make([][]byte, len(events))
		for i := range events {
			if lines[i], err = chain.Line(&events[i].Event, linkOf(events[i].Link)); err != nil {
				return nil, false, err
			}
		}
		after = events[len(events)-1].Link.Position
		return lines, len(events) == exportBatch, nil
	}
}

// export streams all that a query selects. An export that breaks off ends without the end of the answer, so that
// nobody takes it for whole.
func (a *API) export(ctx context.Context, next batch) (*auditOut, error) {
	lines, more, err := next(ctx)
	if err != nil {
		return nil, err
	}
	return &auditOut{ContentType: ndjson, Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		hc.SetStatus(http.StatusOK)
		control := http.NewResponseController(w)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(exportPause)) // not every writer has one
			for _, line := range lines {
				if _, err := w.Write(line); err != nil {
					panic(http.ErrAbortHandler)
				}
			}
			if !more {
				return
			}
			_ = control.Flush()
			if lines, more, err = next(ctx); err != nil {
				a.logger.ErrorContext(ctx, "audit export broken off", "error", err, "request_id", httpserver.RequestID(ctx))
				panic(http.ErrAbortHandler)
			}
		}
	}}, nil
}
