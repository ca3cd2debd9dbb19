package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

type teamRow struct {
	ID        string
	Name      string
	GroupID   *string
	Kept      bool
	Scope     string
	CreatedAt time.Time
}

const teamColumns = "id, name, group_id, kept, scope, created_at"

func (row teamRow) team() (identity.Team, error) {
	t := identity.Team{ID: row.ID, Name: row.Name, Kept: row.Kept, Created: row.CreatedAt.UTC()}
	if row.GroupID != nil {
		t.GroupID = *row.GroupID
	}
	if err := json.Unmarshal([]byte(row.Scope), &t.Scope); err != nil {
		return t, fmt.Errorf("read the scope of team %s: %w", row.ID, err)
	}
	return t, nil
}

// Teams returns all teams, in the order of their names, root first.
func (r reader) Teams(ctx context.Context) ([]identity.Team, error) {
	var rows []teamRow
	err := r.raw(ctx, "SELECT "+teamColumns+" FROM teams ORDER BY CASE WHEN name_key = 'root' THEN 0 ELSE 1 END, name_key").Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read teams: %w", err)
	}
	teams := make([]identity.Team, len(rows))
	for i, row := range rows {
		if teams[i], err = row.team(); err != nil {
			return nil, err
		}
	}
	return teams, nil
}

// TeamByName returns the team with a name, compared without case; ErrNotFound.
func (r reader) TeamByName(ctx context.Context, name string) (identity.Team, error) {
	if !holdable(name) {
		return identity.Team{}, ErrNotFound
	}
	return r.oneTeam(ctx, "name_key = ?", identity.Normalize(name))
}

// Team returns the team with an id; ErrNotFound.
func (r reader) Team(ctx context.Context, id string) (identity.Team, error) {
	if !isID(id) {
		return identity.Team{}, ErrNotFound
	}
	return r.oneTeam(ctx, "id = ?", id)
}

// LockTeam returns the team with an id and keeps others from changing it until the transaction ends; ErrNotFound.
func (tx *Tx) LockTeam(ctx context.Context, id string) (identity.Team, error) {
	if !isID(id) {
		return identity.Team{}, ErrNotFound
	}
	return tx.oneTeam(ctx, "id = ?"+tx.d.forUpdate(), id)
}

func (r reader) oneTeam(ctx context.Context, where string, args ...any) (identity.Team, error) {
	var rows []teamRow
	err := r.raw(ctx, "SELECT "+teamColumns+" FROM teams WHERE "+where, args...).Scan(&rows).Error
	if err != nil {
		return identity.Team{}, fmt.Errorf("read team: %w", err)
	}
	if len(rows) == 0 {
		return identity.Team{}, ErrNotFound
	}
	return rows[0].team()
}

// PutTeam writes a team, new or known by its id. A name that is taken is a *DuplicateError.
func (tx *Tx) PutTeam(ctx context.Context, t identity.Team) error {
	var group any
	if t.GroupID != "" {
		group = t.GroupID
	}
	scope, err := jsonList(t.Scope)
	if err != nil {
		return fmt.Errorf("write team %s: %w", t.ID, err)
	}
	_, err = tx.exec(ctx, "INSERT INTO teams (id, name, name_key, group_id, kept, scope, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) "+
		"ON CONFLICT (id) DO UPDATE SET name = excluded.name, name_key = excluded.name_key, group_id = excluded.group_id, "+
		"kept = excluded.kept, scope = excluded.scope",
		t.ID, t.Name, identity.Normalize(t.Name), group, t.Kept, scope, stamp(t.Created))
	if err != nil {
		return fmt.Errorf("write team %s: %w", t.ID, err)
	}
	return nil
}

// DeleteTeamIfUnused removes a team on which no grant stands, which no group is behind and which nobody made to stay,
// and tells whether it did.
func (tx *Tx) DeleteTeamIfUnused(ctx context.Context, id string) (bool, error) {
	n, err := tx.exec(ctx, "DELETE FROM teams WHERE id = ? AND id <> ? AND group_id IS NULL AND NOT kept "+
		"AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.team_id = teams.id) "+
		"AND NOT EXISTS (SELECT 1 FROM group_grants g WHERE g.team_id = teams.id)", id, identity.RootTeamID)
	if err != nil {
		return false, fmt.Errorf("delete team %s: %w", id, err)
	}
	return n > 0, nil
}

// DeleteTeam removes a team on which nothing is granted any more. The root team stays.
func (tx *Tx) DeleteTeam(ctx context.Context, id string) error {
	if _, err := tx.exec(ctx, "DELETE FROM teams WHERE id = ? AND id <> ?", id, identity.RootTeamID); err != nil {
		return fmt.Errorf("delete team %s: %w", id, err)
	}
	return nil
}

// TeamUse is what stands in the way of a team's deletion.
type TeamUse struct {
	People int // who hold a grant of their own on it: direct, by hand or by a sign-in
	Groups int // that give a role on it
}

// TeamUse counts what is granted on a team.
func (r reader) TeamUse(ctx context.Context, id string) (TeamUse, error) {
	var use TeamUse
	err := r.raw(ctx, "SELECT (SELECT count(DISTINCT user_id) FROM grants WHERE team_id = ?) AS people, "+
		"(SELECT count(DISTINCT group_id) FROM group_grants WHERE team_id = ?) AS groups", id, id).Scan(&use).Error
	if err != nil {
		return use, fmt.Errorf("count what is granted on team %s: %w", id, err)
	}
	return use, nil
}

// GroupGrant is a role on a team that a group gives its members.
type GroupGrant struct {
	GroupID  string
	TeamID   string
	TeamName string
	Role     identity.Role
}

// GroupGrants returns what these groups give their members, by group id.
func (r reader) GroupGrants(ctx context.Context, groupIDs []string) (map[string][]GroupGrant, error) {
	var rows []GroupGrant
	err := r.raw(ctx, "SELECT gg.group_id, gg.team_id, t.name AS team_name, gg.role FROM group_grants gg JOIN teams t ON t.id = gg.team_id WHERE "+
		r.d.in("gg.group_id", "uuid")+" ORDER BY t.name_key, gg.role", r.d.list(validIDs(groupIDs))).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read grants of groups: %w", err)
	}
	grants := make(map[string][]GroupGrant, len(groupIDs))
	for _, row := range rows {
		grants[row.GroupID] = append(grants[row.GroupID], row)
	}
	return grants, nil
}

// AddGroupGrant lets a group give its members a role on a team.
func (tx *Tx) AddGroupGrant(ctx context.Context, g GroupGrant) error {
	_, err := tx.exec(ctx, "INSERT INTO group_grants (group_id, team_id, role) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		g.GroupID, g.TeamID, g.Role)
	if err != nil {
		return fmt.Errorf("add grant of group: %w", err)
	}
	return nil
}

// RemoveGroupGrant takes it back.
func (tx *Tx) RemoveGroupGrant(ctx context.Context, g GroupGrant) error {
	_, err := tx.exec(ctx, "DELETE FROM group_grants WHERE group_id = ? AND team_id = ? AND role = ?", g.GroupID, g.TeamID, g.Role)
	if err != nil {
		return fmt.Errorf("remove grant of group: %w", err)
	}
	return nil
}

// PutGrant writes a grant of a person's own (direct, manual, jit) and tells whether it is new.
func (tx *Tx) PutGrant(ctx context.Context, g identity.Grant, now time.Time) (bool, error) {
	n, err := tx.exec(ctx, "INSERT INTO grants (user_id, team_id, role, kind, source_id, created_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		g.UserID, g.TeamID, g.Role, string(g.Kind), g.SourceID, stamp(now))
	if err != nil {
		return false, fmt.Errorf("write grant: %w", err)
	}
	return n > 0, nil
}

// DeleteGrant removes a grant of a person's own and tells whether it stood.
func (tx *Tx) DeleteGrant(ctx context.Context, g identity.Grant) (bool, error) {
	n, err := tx.exec(ctx, "DELETE FROM grants WHERE user_id = ? AND team_id = ? AND role = ? AND kind = ? AND source_id = ?",
		g.UserID, g.TeamID, g.Role, string(g.Kind), g.SourceID)
	if err != nil {
		return false, fmt.Errorf("delete grant: %w", err)
	}
	return n > 0, nil
}

// EffectiveGrants returns every reason for every role of a user, one grant each, in the order of team, role and kind,
// whether the user is active or not: an inactive user's grants are suspended, not gone.
func (r reader) EffectiveGrants(ctx context.Context, userID string) ([]identity.Grant, error) {
	if !isID(userID) {
		return nil, ErrNotFound
	}
	var rows []identity.Grant
	err := r.raw(ctx, "SELECT m.user_id, gg.team_id, t.name AS team_name, t.name_key, gg.role, 'group' AS kind, "+
		"CAST(g.id AS text) AS source_id, g.display_name AS source_name, '' AS through, '' AS through_key FROM group_members m "+
		"JOIN groups g ON g.id = m.group_id JOIN group_grants gg ON gg.group_id = g.id JOIN teams t ON t.id = gg.team_id "+
		"WHERE m.user_id = ? UNION ALL "+
		"SELECT m.user_id, gg.team_id, t.name, t.name_key, gg.role, 'group', CAST(g.id AS text), g.display_name, i.display_name, i.display_name_key "+
		"FROM group_members m JOIN groups i ON i.id = m.group_id JOIN group_closure c ON c.member_id = m.group_id "+
		"JOIN groups g ON g.id = c.ancestor_id JOIN group_grants gg ON gg.group_id = g.id JOIN teams t ON t.id = gg.team_id "+
		"WHERE m.user_id = ? AND NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = g.id AND o.user_id = m.user_id) UNION ALL "+
		"SELECT d.user_id, d.team_id, t.name, t.name_key, d.role, d.kind, d.source_id, '', '', '' FROM grants d "+
		"JOIN teams t ON t.id = d.team_id WHERE d.user_id = ? ORDER BY name_key, role, kind, source_name, source_id, through_key",
		userID, userID, userID).Scan(&rows).Error
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return onePerReason(rows), nil
}

// onePerReason joins neighbours that differ only in the nested group through which they are held: whoever is in a group
// by several nested ones holds what it grants for one reason.
func onePerReason(rows []identity.Grant) []identity.Grant {
	grants := rows[:0]
	for _, row := range rows {
		if last := len(grants) - 1; last >= 0 {
			same := row
			same.Through = grants[last].Through
			if same == grants[last] {
				grants[last].Through += ", " + row.Through
				continue
			}
		}
		grants = append(grants, row)
	}
	return grants
}

// HasRole tells whether a user, active or not, has a role on a team for any reason.
func (r reader) HasRole(ctx context.Context, userID, teamID string, role identity.Role) (bool, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM effective_grants WHERE user_id = ? AND team_id = ? AND role = ?", userID, teamID, role).Scan(&n).Error
	if err != nil {
		return false, fmt.Errorf("read grants: %w", err)
	}
	return n > 0, nil
}

// RoleHeld tells whether anybody active has a role on a team, by its name, for any reason.
func (r reader) RoleHeld(ctx context.Context, role identity.TeamRole) (bool, error) {
	var held bool
	err := r.raw(ctx, "SELECT EXISTS (SELECT 1 FROM effective_grants e JOIN users u ON u.id = e.user_id JOIN teams t ON t.id = e.team_id "+
		"WHERE t.name_key = ? AND e.role = ? AND u.active AND u.deleted_at IS NULL)", identity.Normalize(role.Team), role.Role).Scan(&held).Error
	if err != nil {
		return false, fmt.Errorf("read grants: %w", err)
	}
	return held, nil
}

// PrivilegedUsers returns which of these users hold admin or scim_provisioner on the root team.
func (r reader) PrivilegedUsers(ctx context.Context, userIDs []string) (map[string]bool, error) {
	var ids []string
	err := r.raw(ctx, "SELECT DISTINCT user_id FROM effective_grants WHERE team_id = ? AND role IN (?, ?) AND "+r.d.in("user_id", "uuid"),
		identity.RootTeamID, identity.RoleAdmin, identity.RoleSCIMProvisioner, r.d.list(validIDs(userIDs))).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	privileged := make(map[string]bool, len(ids))
	for _, id := range ids {
		privileged[id] = true
	}
	return privileged, nil
}

// localAdmin is the condition on users that break glass is about. Local accounts are few, and each is asked for by
// itself, as the offset makes PostgreSQL do: a group that makes admins may be large, and all of it read otherwise.
const localAdmin = "origin = 'local' AND active AND deleted_at IS NULL AND EXISTS (SELECT 1 FROM effective_grants e " +
	"WHERE e.user_id = users.id AND e.team_id = ? AND e.role = ? LIMIT 1 OFFSET 0)"

// CountLocalAdmins returns the number of active local accounts that are admin on the root team.
func (r reader) CountLocalAdmins(ctx context.Context) (int, error) {
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM users WHERE "+localAdmin, identity.RootTeamID, identity.RoleAdmin).Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("read local admins: %w", err)
	}
	return n, nil
}

// LocalAdmins returns the ids of the active local accounts that are admin on the root team: break glass. The rows stay
// as they are until the transaction ends.
func (tx *Tx) LocalAdmins(ctx context.Context) ([]string, error) {
	// One transaction at a time, from here to its end: of two that each take a different admin's role away, both would
	// see the other admin still there. The rows themselves are locked too, for the ways that do not ask here.
	if err := tx.takeTurn(ctx); err != nil {
		return nil, err
	}
	var ids []string
	err := tx.raw(ctx, "SELECT id FROM users WHERE "+localAdmin+" ORDER BY seq"+tx.d.forUpdate(), identity.RootTeamID, identity.RoleAdmin).Scan(&ids).Error
	if err != nil {
		return nil, fmt.Errorf("read local admins: %w", err)
	}
	return ids, nil
}

// Keeper is an active local account that is admin on the root team.
type Keeper struct {
	ID       string
	UserName string
	// OwnsKey tells that it is a provisioner, too, and owns a key with which somebody may be pushing: live and used.
	OwnsKey bool
}

// Keepers returns what LocalAdmins does, locked in the same way, with what else break glass protects.
func (tx *Tx) Keepers(ctx context.Context, now time.Time) ([]Keeper, error) {
	if err := tx.takeTurn(ctx); err != nil {
		return nil, err
	}
	var keepers []Keeper
	err := tx.raw(ctx, "SELECT id, user_name, EXISTS (SELECT 1 FROM api_keys k WHERE k.user_id = users.id AND k.disabled_at IS NULL "+
		"AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?) AND k.last_used_at IS NOT NULL) "+
		"AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = users.id AND e.team_id = ? AND e.role = ? LIMIT 1 OFFSET 0) AS owns_key "+
		"FROM users WHERE "+localAdmin+" ORDER BY seq"+tx.d.forUpdate(),
		stamp(now), identity.RootTeamID, identity.RoleSCIMProvisioner, identity.RootTeamID, identity.RoleAdmin).Scan(&keepers).Error
	if err != nil {
		return nil, fmt.Errorf("read local admins: %w", err)
	}
	return keepers, nil
}
