package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// list is a page of a list. The last one has no Next.
type list[T any] struct {
	Sequence int64  `json:"sequence"` // of the last change of the directory
	Total    int    `json:"total"`    // items in all pages
	Next     string `json:"next"`
	Items    []T    `json:"items"`
}

// each reads a list to its proven end: no next page, as many items as the list says that there are, none of them twice, and
// nothing changed between the first page and the last. It returns the directory's time and number at the beginning.
func each[T any](ctx context.Context, c *staff, endpoint, path string, query url.Values, id func(*T) string, use func([]T, time.Time) error) (began time.Time, sequence int64, err error) {
	seen := map[string]bool{}
	query.Set("limit", strconv.Itoa(c.limit))
	for n := 0; ; n++ {
		var page list[T]
		at, err := c.get(ctx, endpoint, path, query, &page)
		if err != nil {
			return began, sequence, err
		}
		if n == 0 {
			began, sequence = at, page.Sequence
		}
		for i := range page.Items {
			if seen[id(&page.Items[i])] { // or a page that comes again and again would be read for ever
				return began, sequence, refuse(endpoint, "an item is listed twice")
			}
			seen[id(&page.Items[i])] = true
		}
		switch {
		case page.Sequence == 0:
			return began, sequence, refuse(endpoint, "the list has no sequence")
		case page.Sequence != sequence:
			return began, sequence, refuse(endpoint, "the directory changed while it was listed")
		case page.Next != "" && len(page.Items) == 0:
			return began, sequence, refuse(endpoint, "a page before the last is empty")
		case page.Next != "" && len(seen) >= page.Total, page.Next == "" && len(seen) != page.Total:
			return began, sequence, refuse(endpoint, fmt.Sprintf("%d different items were listed, of %d", len(seen), page.Total))
		}
		if err := use(page.Items, at); err != nil {
			return began, sequence, err
		}
		if page.Next == "" {
			return began, sequence, nil
		}
		query.Set("after", page.Next)
	}
}

// errStopped ends a pull whose receiver wants no more.
var errStopped = errors.New("the receiver stopped")

// Full yields the teams with their members, and the people. Each phase ends with a page that is proven to be the last.
func (c *staff) Full(ctx context.Context, _ string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		send := func(page connectors.Page) error {
			if !yield(page, nil) {
				return errStopped
			}
			return nil
		}
		if err := c.full(ctx, send); err != nil && !errors.Is(err, errStopped) {
			yield(connectors.Page{}, err)
		}
	}
}

func (c *staff) full(ctx context.Context, send func(connectors.Page) error) error {
	began, sequence, err := each(ctx, c, "GET /teams", "teams", url.Values{}, func(t *team) string { return t.ID }, func(teams []team, at time.Time) error {
		groups, members, err := c.teams(teams, at)
		if err != nil {
			return refuse("GET /teams", err.Error())
		}
		if err := send(connectors.Page{Phase: connectors.PhaseGroups, Groups: groups}); err != nil {
			return err
		}
		return send(connectors.Page{Phase: connectors.PhaseMembers, Members: members})
	})
	if err != nil {
		return err
	}
	for _, phase := range []connectors.Phase{connectors.PhaseGroups, connectors.PhaseMembers} {
		if err := send(connectors.Page{Phase: phase, Complete: true}); err != nil {
			return err
		}
	}
	_, _, err = each(ctx, c, "GET /people", "people", url.Values{}, func(p *person) string { return p.ID }, func(people []person, at time.Time) error {
		records, err := c.records(people, at)
		if err != nil {
			return refuse("GET /people", err.Error())
		}
		return send(connectors.Page{Phase: connectors.PhaseUsers, Records: records})
	})
	if err != nil {
		return err
	}
	return send(connectors.Page{Phase: connectors.PhaseUsers, Complete: true, Checkpoint: c.checkpoint(began, sequence)})
}

// teams returns the teams in scope, and their members.
func (c *staff) teams(teams []team, at time.Time) (groups []identity.GroupRecord, members []identity.MemberRecord, err error) {
	for i := range teams {
		g, err := teams[i].record(at)
		if err != nil {
			return nil, nil, err
		}
		if c.scope.Includes(&g) {
			groups = append(groups, g)
			members = append(members, identity.MemberRecord{GroupID: g.SourceID, UserIDs: teams[i].Members, Last: true})
		}
	}
	return groups, members, nil
}

// records returns the people in scope.
func (c *staff) records(people []person, at time.Time) (records []identity.Record, err error) {
	for i := range people {
		r, err := people[i].record(at)
		if err != nil {
			return nil, err
		}
		if c.includes(&people[i]) {
			records = append(records, r)
		}
	}
	return records, nil
}

type state struct {
	Sequence int64 `json:"sequence"`
}

func (c *staff) checkpoint(at time.Time, sequence int64) string {
	text, err := json.Marshal(state{sequence})
	if err != nil {
		return ""
	}
	return connectors.Checkpoint{Connector: "staff", Scope: c.hash, At: at, State: text}.String()
}

// changes is an answer to what changed. What was deleted has an id only.
type changes struct {
	Sequence int64    `json:"sequence"`
	More     bool     `json:"more"`
	People   []person `json:"people"`
	Teams    []team   `json:"teams"`
}

// Changes yields who and what changed since the checkpoint. Whether people are in scope depends on teams that may have
// changed as well, so it is left open; who was deleted is in doubt until they are read by id.
func (c *staff) Changes(ctx context.Context, checkpoint string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		held, err := connectors.ParseCheckpoint(checkpoint, "staff", c.hash, c.now())
		var from state
		if err == nil && (json.Unmarshal(held.State, &from) != nil || from.Sequence == 0) {
			err = fmt.Errorf("%w: the checkpoint has no sequence", connectors.ErrResync)
		}
		for n := 0; err == nil; n++ {
			var page connectors.Page
			var more bool
			var at time.Time
			if page, from.Sequence, more, at, err = c.changed(ctx, from.Sequence); err != nil {
				if n > 0 && errors.Is(err, connectors.ErrResync) { // which comes before any page only
					err = errors.New("the directory forgot its changes meanwhile")
				}
				break
			}
			if !more {
				page.Checkpoint = c.checkpoint(at, from.Sequence)
			}
			if !yield(page, nil) || !more {
				return
			}
		}
		yield(connectors.Page{}, err)
	}
}

// changed reads one page of changes.
func (c *staff) changed(ctx context.Context, since int64) (out connectors.Page, sequence int64, more bool, at time.Time, err error) {
	const endpoint = "GET /changes"
	var page changes
	at, err = c.get(ctx, endpoint, "changes", url.Values{"since": {strconv.FormatInt(since, 10)}}, &page)
	var e *connectors.ResponseError
	if errors.As(err, &e) && e.Status == http.StatusGone && e.Code == "forgotten" {
		err = fmt.Errorf("%w: %w", connectors.ErrResync, err)
	}
	if err == nil && (page.Sequence < since || page.More && page.Sequence == since) {
		err = refuse(endpoint, "the changes do not go on")
	}
	out = connectors.Page{Phase: connectors.PhaseUsers, Unscoped: true}
	for i := 0; err == nil && i < len(page.People); i++ {
		p := &page.People[i]
		if p.Deleted {
			out.Doubtful = append(out.Doubtful, p.ID)
			continue
		}
		var r identity.Record
		if r, err = p.record(at); err == nil {
			out.Records = append(out.Records, r)
		}
	}
	for i := 0; err == nil && i < len(page.Teams); i++ {
		t := page.Teams[i]
		groups, members, odd := c.teams([]team{t}, at)
		switch {
		case t.Deleted || odd == nil && len(groups) == 0: // left the scope
			out.Groups = append(out.Groups, identity.GroupRecord{SourceID: t.ID, Gone: true})
		case odd != nil:
			err = refuse(endpoint, odd.Error())
		default:
			out.Groups, out.Members = append(out.Groups, groups...), append(out.Members, members...)
		}
	}
	return out, page.Sequence, page.More, at, err
}
