package connectortest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// pathSafe tells whether an id or a user name can stand in a path and still be one: what is made of dots and slashes
// would ask for something else.
func pathSafe(id string) bool {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return strings.ContainsAny(id, letters) && strings.Trim(id, letters+"-_.+@") == "" && !strings.ContainsAny(id, "/?#% ")
}

// User reads one person.
func (c *staff) User(ctx context.Context, id string) (identity.Record, error) {
	if !pathSafe(id) {
		return identity.Record{}, fmt.Errorf("%q is neither an id nor a user name", id)
	}
	var p person
	at, err := c.get(ctx, "GET /people/{id}", "people/"+id, nil, &p)
	if absent(err, "no_such_person") {
		return identity.Record{}, fmt.Errorf("person %s: %w", id, connectors.ErrNotFound)
	}
	if err != nil {
		return identity.Record{}, fmt.Errorf("person %s: %w", id, err)
	}
	r, err := p.record(at)
	if err != nil {
		return identity.Record{}, refuse("GET /people/{id}", err.Error())
	}
	if !c.includes(&p) {
		return identity.Record{}, fmt.Errorf("person %s is a member of no team in scope: %w", id, connectors.ErrNotFound)
	}
	return r, nil
}

// Group yields one team, by id or by name, and its members.
func (c *staff) Group(ctx context.Context, id string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		t, at, err := c.team(ctx, id)
		var groups []identity.GroupRecord
		var members []identity.MemberRecord
		if err == nil {
			groups, members, err = c.teams([]team{t}, at)
		}
		if err == nil && len(groups) == 0 {
			err = fmt.Errorf("not in scope: %w", connectors.ErrNotFound)
		}
		if err != nil {
			yield(connectors.Page{}, fmt.Errorf("team %s: %w", id, err))
			return
		}
		if yield(connectors.Page{Phase: connectors.PhaseGroups, Groups: groups, Complete: true}, nil) {
			yield(connectors.Page{Phase: connectors.PhaseMembers, Members: members, Complete: true}, nil)
		}
	}
}

func (c *staff) team(ctx context.Context, id string) (t team, at time.Time, err error) {
	if pathSafe(id) {
		at, err = c.get(ctx, "GET /teams/{id}", "teams/"+id, nil, &t)
		if !absent(err, "no_such_team") {
			return t, at, err
		}
	}
	var found []team
	at, _, err = each(ctx, c, "GET /teams", "teams", url.Values{"name": {id}}, func(t *team) string { return t.ID }, func(teams []team, _ time.Time) error {
		for _, t := range teams {
			if identity.Normalize(t.Name) == identity.Normalize(id) {
				found = append(found, t)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return t, at, err
	case len(found) == 0:
		return t, at, connectors.ErrNotFound
	case len(found) > 1:
		return t, at, fmt.Errorf("%d teams have this name, ask by id", len(found))
	}
	return found[0], at, nil
}

// Check tries the token, and whether people and teams may be read.
func (c *staff) Check(ctx context.Context) (connectors.Report, error) {
	var report connectors.Report
	for _, path := range []string{"people", "teams"} {
		item := connectors.Item{Name: "read " + path, OK: true, Detail: "granted"}
		var page list[struct{}]
		_, err := c.get(ctx, "GET /"+path, path, url.Values{"limit": {"1"}}, &page)
		if err == nil && page.Sequence == 0 {
			err = refuse("GET /"+path, "the list has no sequence")
		}
		if ctx.Err() != nil {
			return report, err
		}
		if err != nil {
			item.OK, item.Detail = false, err.Error()
			item.Remedy = "see the answer above, and whether the address is the directory's"
		}
		if errors.Is(err, connectors.ErrUnauthorized) || errors.Is(err, connectors.ErrForbidden) {
			item.Remedy = "ask for a token that may read " + path
		}
		report.Items = append(report.Items, item)
	}
	return report, nil
}
