package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Standing is how the runs of a connector went last, whichever process ran them. Runs of one person or group do not count.
type Standing struct {
	Last     identity.Run // the newest that ended, dry ones left out
	Compared identity.Run // the newest that told how far the source and what is held differ: dry ones too, failed ones left out
}

// RunStanding returns how the runs of a connector went last. A run that there is none of has no ID.
func (r reader) RunStanding(ctx context.Context, connector string) (Standing, error) {
	newest := func(which string, more ...any) (identity.Run, error) {
		var rows []runRow
		args := append([]any{connector, identity.KindObject}, more...)
		if err := r.raw(ctx, runSelect+"WHERE connector = ? AND kind <> ? AND finished_at IS NOT NULL AND "+which+" ORDER BY id DESC LIMIT 1", args...).Scan(&rows).Error; err != nil {
			return identity.Run{}, fmt.Errorf("read runs: %w", err)
		}
		if len(rows) == 0 {
			return identity.Run{}, nil
		}
		return rows[0].run()
	}
	var s Standing
	var err error
	if s.Last, err = newest("NOT dry_run"); err == nil {
		s.Compared, err = newest("status <> ?", string(identity.RunFailed))
	}
	return s, err
}

// Holdings are how many people, groups, memberships and teams are held. Whoever was deleted does not count.
type Holdings struct {
	Active, Inactive map[string]int // people by source: a connector, "scim" for keys without one, "" for local accounts
	Groups           map[string]int // by source
	Memberships      int64          // direct ones of people
	Teams            int
}

// Holdings counts. It reads indexes of people, and the groups; never a document, and no membership.
func (r reader) Holdings(ctx context.Context) (Holdings, error) {
	h := Holdings{Active: map[string]int{}, Inactive: map[string]int{}, Groups: map[string]int{}}
	type row struct {
		Source     string
		N, Members int64
	}
	for _, count := range []struct {
		statement string
		into      map[string]int
	}{
		{"SELECT source, count(*) AS n FROM users WHERE active GROUP BY source", h.Active},
		{"SELECT source, count(*) AS n FROM users WHERE NOT active AND deleted_at IS NULL GROUP BY source", h.Inactive},
		{"SELECT source, count(*) AS n, coalesce(sum(member_count), 0) AS members FROM groups GROUP BY source", h.Groups},
	} {
		var rows []row
		if err := r.scan(ctx, &rows, count.statement); err != nil {
			return h, fmt.Errorf("count what is held: %w", err)
		}
		for _, row := range rows {
			count.into[sourceKind(row.Source)] += int(row.N)
			h.Memberships += row.Members
		}
	}
	var teams []int
	if err := r.scan(ctx, &teams, "SELECT count(*) FROM teams"); err != nil {
		return h, fmt.Errorf("count what is held: %w", err)
	}
	h.Teams = teams[0]
	return h, nil
}

// sourceKind takes all keys that are not bound to a connector together.
func sourceKind(source string) string {
	if kind, _, ok := strings.Cut(source, ":"); ok {
		return kind
	}
	return source
}
