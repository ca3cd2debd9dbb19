package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Caller is a key with the roles that its owner holds on the root team at this moment.
type Caller struct {
	Key
	OwnerActive bool            // the owner is active and not deleted
	RootRoles   []identity.Role // in order
}

var callerText = newText("SELECT " + keyColumns + ", u.active AND u.deleted_at IS NULL, " +
	"(SELECT string_agg(e.role, ',') FROM effective_grants e WHERE e.user_id = k.user_id AND e.team_id = ?) " +
	"FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = ?")

// KeyCaller returns the key with an id and what its owner may do in administration, by one statement; ErrNotFound.
func (s *Store) KeyCaller(ctx context.Context, id string) (Caller, error) {
	if !holdable(id) {
		return Caller{}, ErrNotFound
	}
	var (
		caller Caller
		found  bool
	)
	err := s.together(ctx, statement{callerText, []any{identity.RootTeamID, id}, func(r rows) error {
		if found = r.Next(); !found {
			return nil
		}
		var (
			row   keyRow
			roles *string
		)
		err := r.Scan(&row.ID, &row.UserID, &row.UserName, &row.Name, &row.Source, &row.Connector, &row.Hash, &row.CreatedAt,
			&row.ExpiresAt, &row.LastUsedAt, &row.DisabledAt, &row.RevokedAt, &caller.OwnerActive, &roles)
		caller.Key = row.key()
		if roles != nil {
			caller.RootRoles = uniqueSorted(strings.Split(*roles, ","))
		}
		return err
	}})
	if err != nil {
		return Caller{}, fmt.Errorf("read the holder of a key: %w", err)
	}
	if !found {
		return Caller{}, ErrNotFound
	}
	return caller, nil
}

// TeamScopes returns the scopes of those of these teams that have one, by the teams' names in normal form.
func (r reader) TeamScopes(ctx context.Context, names []string) (map[string][]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = identity.Normalize(name)
	}
	var rows []teamRow
	if err := r.raw(ctx, "SELECT "+teamColumns+" FROM teams WHERE scope <> '[]' AND "+r.d.in("name_key", "text"), r.d.list(keys)).Scan(&rows).Error; err != nil {
		return nil, fmt.Errorf("read teams: %w", err)
	}
	scopes := make(map[string][]string, len(rows))
	for _, row := range rows {
		t, err := row.team()
		if err != nil {
			return nil, err
		}
		scopes[identity.Normalize(t.Name)] = t.Scope
	}
	return scopes, nil
}
