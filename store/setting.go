package store

import (
	"context"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Setting is something that administrators decide while the program runs. What its value means is the caller's to know.
type Setting struct {
	Name    string
	Value   string // JSON
	Version int64  // 0: it was never set, and Value is an empty object
	Changed time.Time
	By      identity.Actor // who changed it: kind, id and name
	Read    time.Time      // when it was read, by the database's clock
}

type settingRow struct {
	Value                                     string
	Version                                   int64
	ChangedAt                                 time.Time
	ChangedByKind, ChangedByID, ChangedByName string
	ReadAt                                    *time.Time
}

// Setting returns a setting, and the time by the same statement: replicas that wait for a time that it holds agree on
// how long that is, whatever their own clocks show.
func (r reader) Setting(ctx context.Context, name string) (Setting, error) {
	return r.setting(ctx, name, "")
}

func (r reader) setting(ctx context.Context, name, lock string) (Setting, error) {
	clock := "NULL"
	if r.d.postgres() {
		clock = "clock_timestamp()"
	}
	var rows []settingRow
	err := r.raw(ctx, "SELECT value, version, changed_at, changed_by_kind, changed_by_id, changed_by_name, "+clock+
		" AS read_at FROM settings WHERE name = ?"+lock, name).Scan(&rows).Error
	if err != nil {
		return Setting{}, fmt.Errorf("read the setting %s: %w", name, err)
	}
	if len(rows) == 0 {
		now, err := r.Now(ctx)
		return Setting{Name: name, Value: "{}", Read: now}, err
	}
	row := rows[0]
	s := Setting{
		Name: name, Value: row.Value, Version: row.Version, Changed: row.ChangedAt.UTC(), Read: timeOf(row.ReadAt),
		By: identity.Actor{Kind: row.ChangedByKind, ID: row.ChangedByID, Name: row.ChangedByName},
	}
	if s.Version == 0 {
		s.Changed = time.Time{}
	}
	if s.Read.IsZero() {
		s.Read, err = r.Now(ctx)
	}
	return s, err
}

// LockSetting returns a setting and keeps others from changing it until the transaction ends.
func (tx *Tx) LockSetting(ctx context.Context, name string) (Setting, error) {
	_, err := tx.exec(ctx, "INSERT INTO settings (name, value, version, changed_at, changed_by_kind, changed_by_id, changed_by_name) "+
		"VALUES (?, '{}', 0, ?, '', '', '') ON CONFLICT (name) DO NOTHING", name, stamp(time.Unix(0, 0)))
	if err != nil {
		return Setting{}, fmt.Errorf("lock the setting %s: %w", name, err)
	}
	return tx.setting(ctx, name, tx.d.forUpdate())
}

// PutSetting writes a setting that LockSetting returned, as its next version; Version and Read do not count.
func (tx *Tx) PutSetting(ctx context.Context, s Setting) error {
	_, err := tx.exec(ctx, "UPDATE settings SET value = ?, version = version + 1, changed_at = ?, changed_by_kind = ?, "+
		"changed_by_id = ?, changed_by_name = ? WHERE name = ?",
		s.Value, stamp(s.Changed), s.By.Kind, s.By.ID, legible(s.By.Name), s.Name)
	if err != nil {
		return fmt.Errorf("write the setting %s: %w", s.Name, err)
	}
	return nil
}

// CountSCIMKeys returns the number of keys that the push endpoint lets in at a time: live, and the owner active and a
// provisioner.
func (r reader) CountSCIMKeys(ctx context.Context, now time.Time) (int, error) {
	const holds = " AND EXISTS (SELECT 1 FROM effective_grants e WHERE e.user_id = k.user_id AND e.team_id = ? AND e.role = ?)"
	var n int
	err := r.raw(ctx, "SELECT count(*) FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.disabled_at IS NULL "+
		"AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?) AND u.active AND u.deleted_at IS NULL"+holds+holds,
		stamp(now), identity.RootTeamID, identity.RoleSCIMProvisioner, identity.RootTeamID, identity.RoleAdmin).Scan(&n).Error
	if err != nil {
		return 0, fmt.Errorf("count the SCIM keys: %w", err)
	}
	return n, nil
}
