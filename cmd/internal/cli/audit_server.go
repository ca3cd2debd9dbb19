package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

// ndjson is the media type of an export.
const ndjson = "application/x-ndjson"

// values is what the flags ask a server for.
func (f *auditFilter) values(ctx context.Context, d *desk, now time.Time) (url.Values, error) {
	q := values("actor", f.actor, "type", f.kind, "request_id", f.request, "run_id", f.run)
	for _, t := range []struct{ flag, text, name string }{{"since", f.since, "from"}, {"until", f.until, "to"}} {
		if t.text == "" {
			continue
		}
		at, err := pastMoment(t.text, now)
		if err != nil {
			return nil, usageError{fmt.Errorf("--%s %w", t.flag, err)}
		}
		q.Set(t.name, at.Format(time.RFC3339Nano))
	}
	if f.user != "" {
		u, err := d.findUser(ctx, f.user)
		if err != nil {
			return nil, err
		}
		q.Set("user", u.ID)
	}
	return q, nil
}

// lines calls yield with the lines of an export of a server, and what they say, until it returns false.
func (d *desk) lines(ctx context.Context, q url.Values, yield func(line []byte, event *api.Event) (bool, error)) error {
	answer, err := d.Open(ctx, http.MethodGet, "/audit", q, nil, ndjson)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	in := bufio.NewReader(answer.Body)
	for {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the export broke off: %w", err)
		}
		var event api.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("the export is not what this version expects: %w", err)
		}
		if more, err := yield(line, &event); err != nil || !more {
			return err
		}
	}
}

// listAway lists what happened on a server.
func (e *env) listAway(ctx context.Context, filter *auditFilter, limit int) error {
	ctx, d, err := e.desk(ctx)
	if err != nil {
		return err
	}
	q, err := filter.values(ctx, d, time.Now())
	if err != nil {
		return err
	}
	n := 0
	rows := [][]string{auditHead}
	err = d.lines(ctx, q, func(line []byte, event *api.Event) (bool, error) {
		n++
		if e.json() {
			_, err := e.out.Write(line)
			return n < limit, err
		}
		rows = append(rows, eventRow(eventFrom(event)))
		return n < limit, nil
	})
	if err != nil || e.json() {
		return err
	}
	return e.table(rows)
}

// eventFrom is an event as the API tells of it.
func eventFrom(told *api.Event) *identity.Event {
	ev := &identity.Event{
		Seq: told.Seq, At: told.At, Type: identity.EventType(told.Type), Object: identity.Object(told.Object), ObjectID: told.ObjectID, Name: told.Name,
		Actor:   identity.Actor{Kind: told.Actor.Kind, ID: told.Actor.ID, Name: told.Actor.Name, RequestID: told.RequestID, RunID: told.RunID},
		Members: told.Members, Reason: told.Reason,
	}
	for _, f := range told.Fields {
		ev.Fields = append(ev.Fields, identity.FieldChange{Path: f.Path, Before: f.Before, After: f.After})
	}
	return ev
}

// exportAway writes the log of a server, up to the head that it had at the beginning.
func (e *env) exportAway(ctx context.Context, filter *auditFilter) error {
	ctx, d, err := e.desk(ctx)
	if err != nil {
		return err
	}
	q, err := filter.values(ctx, d, time.Now())
	if err != nil {
		return err
	}
	head, err := get[api.AuditHead](ctx, d, "/audit/head")
	if err != nil {
		return err
	}
	q.Set("order", "sealed")
	n := 0
	err = d.lines(ctx, q, func(line []byte, event *api.Event) (bool, error) {
		if event.Chain == nil || event.Chain.Seq > head.Count { // it came while we were writing
			return false, nil
		}
		n++
		_, err := e.out.Write(line)
		return true, err
	})
	if err != nil {
		return err
	}
	e.say("%d events of %d, head %s", n, head.Count, head.Head)
	return nil
}

// verifyAway reads the log of a server and verifies it here: the server is not believed. Its head is what the chain must come to,
// where no other one is known.
func (e *env) verifyAway(ctx context.Context, expect *chain.Head) error {
	ctx, d, err := e.desk(ctx)
	if err != nil {
		return err
	}
	head, err := get[api.AuditHead](ctx, d, "/audit/head")
	if err != nil {
		return err
	}
	if expect == nil && head.Count > 0 {
		parsed, err := chain.ParseHead(head.Head)
		if err != nil {
			return fmt.Errorf("the server's head: %w", err)
		}
		expect = &parsed
	}
	answer, err := d.Open(ctx, http.MethodGet, "/audit", values("order", "sealed"), nil, ndjson)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := chain.VerifyFile(answer.Body, expect, false)
	return e.printVerdict(verdictJSON{Head: got.Head.String(), Sealed: got.Events, Unsealed: int64(head.Unsealed), UnsealedSince: head.UnsealedSince}, err)
}
