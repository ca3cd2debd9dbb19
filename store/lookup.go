package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/idpsync/idpsync/store/identity"
)

// UserLookup is a search for one user that goes along with another read, in one round trip. Set ID or UserName, then
// give it to KeyHolder.
type UserLookup struct {
	ID       string // or
	UserName string // compared without case

	Done   bool // it was answered
	Found  bool // false for nobody; deleted ones are nobody
	User   identity.User
	Groups []GroupRef // of the user, as GroupsOfUsers returns them

	nested bool // one of the groups is in another
}

var (
	userByID      = newText("SELECT " + userColumnList + " FROM users WHERE id = ? AND deleted_at IS NULL")
	userByName    = newText("SELECT " + userColumnList + " FROM users WHERE user_name_key = ? AND deleted_at IS NULL")
	groupsByID    = newText(groupsOfOne + "m.user_id = ? ORDER BY g.display_name_key")
	groupsByName  = newText(groupsOfOne + "m.user_id = (SELECT id FROM users WHERE user_name_key = ?) ORDER BY g.display_name_key")
	keyHolderText = newText(holderSelect)
)

// groupsOfOne reads the groups that a user is a member of, and whether they are in others: few are, and only then are
// those looked for.
const groupsOfOne = "SELECT g.id, g.display_name, EXISTS (SELECT 1 FROM group_closure c WHERE c.member_id = g.id) " +
	"FROM group_members m JOIN groups g ON g.id = m.group_id WHERE "

// statements returns what the lookup asks of the database: nothing where no row can be meant.
func (l *UserLookup) statements() []statement {
	user, groups, value := userByID, groupsByID, l.ID
	if l.ID == "" {
		user, groups, value = userByName, groupsByName, identity.Normalize(l.UserName)
	}
	if l.ID != "" && !isID(l.ID) || !holdable(value) {
		return nil
	}
	return []statement{{user, []any{value}, l.scanUser}, {groups, []any{value}, l.scanGroups}}
}

func (l *UserLookup) scanUser(found rows) error {
	if l.Found = found.Next(); !l.Found {
		return nil
	}
	row, err := scanUserRow(found)
	if err != nil {
		return err
	}
	l.User, err = row.user()
	return err
}

func (l *UserLookup) scanGroups(found rows) error {
	for found.Next() {
		var (
			g      GroupRef
			nested bool
		)
		if err := found.Scan(&g.ID, &g.DisplayName, &nested); err != nil {
			return err
		}
		l.Groups, l.nested = append(l.Groups, g), l.nested || nested
	}
	return nil
}

// finish reads what the first round trip left open.
func (l *UserLookup) finish(ctx context.Context, s *Store) error {
	l.Done = true
	if !l.nested {
		return nil
	}
	groups, err := s.GroupsOfUsers(ctx, []string{l.User.ID})
	l.Groups = groups[l.User.ID]
	return err
}

// scanUserRow reads the columns of userColumnList.
func scanUserRow(found rows) (*userRow, error) {
	var row userRow
	err := found.Scan(&row.ID, &row.Seq, &row.UserName, &row.ExternalID, &row.Active, &row.Origin, &row.Source, &row.SourceID,
		&row.Document, &row.Roles, &row.Fingerprint, &row.Version, &row.CreatedAt, &row.UpdatedAt, &row.LastPushAt,
		&row.ObservedAt, &row.DeletedAt, &row.Reason)
	return &row, err
}

// KeyHolder returns the key with an id and what its owner may do; ErrNotFound. The lookups are answered in the same
// round trip, whether the key is found or not; only for a key that is none they may take another.
func (s *Store) KeyHolder(ctx context.Context, id string, along ...*UserLookup) (Holder, error) {
	if !holdable(id) {
		return Holder{}, ErrNotFound
	}
	if s.d.postgres() && len(along) == 1 {
		holder, found, err := s.holderAndUser(ctx, id, along[0])
		switch {
		case errors.Is(err, errNotJoined), err == nil && !found:
		case err != nil:
			return Holder{}, fmt.Errorf("read the holder of a key: %w", err)
		default:
			return s.finishHolder(ctx, holder, along, true)
		}
	}
	var (
		holder Holder
		found  bool
	)
	statements := []statement{{keyHolderText, []any{identity.RootTeamID, identity.RoleSCIMProvisioner, identity.RoleAdmin, id}, func(r rows) error {
		found = r.Next()
		if !found {
			return nil
		}
		var err error
		holder, err = scanHolder(r)
		return err
	}}}
	for _, lookup := range along {
		statements = append(statements, lookup.statements()...)
	}
	if err := s.together(ctx, statements...); err != nil {
		return Holder{}, fmt.Errorf("read the holder of a key: %w", err)
	}
	holder, err := s.finishHolder(ctx, holder, along, found)
	if err == nil && !found {
		err = ErrNotFound
	}
	return holder, err
}

// finishHolder reads what the first round trip left open.
func (s *Store) finishHolder(ctx context.Context, holder Holder, along []*UserLookup, found bool) (Holder, error) {
	for _, lookup := range along {
		if err := lookup.finish(ctx, s); err != nil {
			return Holder{}, err
		}
	}
	if holder.Provisioner || !found {
		return holder, nil
	}
	// Most provisioners are so by grants of their own; those of a group take longer to find.
	var err error
	holder.Provisioner, err = s.isProvisioner(ctx, holder.UserID)
	return holder, err
}

func scanHolder(r rows) (Holder, error) {
	var (
		row    keyRow
		h      Holder
		direct int
	)
	err := r.Scan(&row.ID, &row.UserID, &row.UserName, &row.Name, &row.Source, &row.Connector, &row.Hash, &row.CreatedAt,
		&row.ExpiresAt, &row.LastUsedAt, &row.DisabledAt, &row.RevokedAt, &h.OwnerActive, &direct)
	h.Key, h.Provisioner = row.key(), direct == 2
	return h, err
}
