package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// mappingValue is the stored setting beside the rules. While it was never written (version 0), the configuration's
// mapping is in force as it stands.
type mappingValue struct {
	DefaultRole identity.Role `json:"default_role"`
	Declared    bool          `json:"declared"` // the rules are what a configuration declared
}

// versioned is a mapping compiled from the stored rules at a version.
type versioned struct {
	version int64
	mapping *roles.Mapping
	rules   []roles.Rule
	value   mappingValue
}

// mappingReader is what the stored mapping is read from: the store, or a transaction.
type mappingReader interface {
	RoleRules(ctx context.Context) ([]identity.RoleRule, error)
}

// Declared returns the mapping that the configuration declares, and whether it declares any rules: then they are not
// changed elsewhere.
func (a *Applier) Declared() (*roles.Mapping, bool) { return a.mapping, len(a.mapping.Rules()) > 0 }

// Mapping returns the role mapping in force: the stored one, or before anything was stored the configuration's.
func (a *Applier) Mapping(ctx context.Context) (*roles.Mapping, error) {
	held, err := a.store.Setting(ctx, store.RoleMappingSetting)
	if err != nil {
		return nil, err
	}
	v, err := a.compiled(ctx, a.store, held)
	return v.mapping, err
}

// compiled returns the mapping in force by the setting that tells its version, from memory where it is known.
func (a *Applier) compiled(ctx context.Context, from mappingReader, held store.Setting) (*versioned, error) {
	if held.Version == 0 {
		return &versioned{mapping: a.mapping, rules: a.mapping.Rules(), value: mappingValue{DefaultRole: a.mapping.DefaultRole()}}, nil
	}
	if v := a.inForceMapping.Load(); v != nil && v.version == held.Version {
		return v, nil
	}
	v := &versioned{version: held.Version}
	if err := json.Unmarshal([]byte(held.Value), &v.value); err != nil {
		return v, fmt.Errorf("read the setting %s: %w", held.Name, err)
	}
	var err error
	if v.rules, err = from.RoleRules(ctx); err != nil {
		return v, err
	}
	v.mapping = a.mapping.With(v.value.DefaultRole, v.rules)
	a.inForceMapping.Store(v)
	return v, nil
}

// mappingNow returns the mapping that this transaction goes by. It stays in force until the transaction ends: whoever
// changes it waits.
func (c *change) mappingNow(ctx context.Context) (*roles.Mapping, error) {
	if c.goesBy == nil {
		held, err := c.tx.ShareSetting(ctx, store.RoleMappingSetting)
		if err != nil {
			return nil, err
		}
		if c.goesBy, err = c.compiled(ctx, c.tx, held); err != nil {
			return nil, err
		}
	}
	return c.goesBy.mapping, nil
}

// lockMapping returns the mapping in force and keeps everybody else from going by it until the transaction ends.
func (c *change) lockMapping(ctx context.Context) (store.Setting, *versioned, error) {
	held, err := c.tx.LockSetting(ctx, store.RoleMappingSetting)
	if err != nil {
		return held, nil, err
	}
	if c.goesBy == nil || c.goesBy.version != held.Version { // else it may be this transaction's own, and not to be remembered
		c.goesBy, err = c.compiled(ctx, c.tx, held)
	}
	return held, c.goesBy, err
}

// moved lets the stored rules follow a group or a team to its new name, so that it goes on to give what it gave, and
// whoever takes the old name inherits nothing. What a configuration declares says what it says.
func (c *change) moved(ctx context.Context, r roles.Rename) error {
	if identity.Normalize(r.From) == identity.Normalize(r.To) || r.From == "" {
		return nil
	}
	mapping, err := c.mappingNow(ctx)
	if err != nil || c.goesBy.version == 0 || c.goesBy.value.Declared || !mapping.Names(r) {
		return err
	}
	held, now, err := c.lockMapping(ctx)
	if err != nil {
		return err
	}
	return c.putRules(ctx, held, now, roles.Edit{Moved: []roles.Rename{r}}.Apply(now.rules), now.value, "follows the name of what it is about")
}

// putRules writes the mapping's next version, which the transaction goes by from here on, with an event for each rule
// that differs.
func (c *change) putRules(ctx context.Context, held store.Setting, now *versioned, rules []roles.Rule, value mappingValue, reason string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the setting %s: %w", held.Name, err)
	}
	before := now.rules
	if now.version == 0 {
		before = nil // nothing was stored
	}
	if len(roles.Compare(before, rules)) > 0 || now.version == 0 {
		if err := c.tx.PutRoleRules(ctx, rules); err != nil {
			return err
		}
	}
	held.Value, held.Changed, held.By = string(text), held.Read, c.by
	if err := c.tx.PutSetting(ctx, held); err != nil {
		return err
	}
	for _, changed := range roles.Compare(before, rules) {
		c.event(identity.Event{
			Type: identity.EventMappingChanged, Object: "mapping", ObjectID: identity.Normalize(changed.Group), Name: changed.Group, Reason: reason,
			Fields: []identity.FieldChange{{Path: "grants", Before: orNone(changed.Removed), After: orNone(changed.Added)}},
		})
	}
	if now.value.DefaultRole != value.DefaultRole {
		c.event(identity.Event{
			Type: identity.EventMappingChanged, Object: "mapping", ObjectID: "default_role", Name: "default_role", Reason: reason,
			Fields: []identity.FieldChange{{Path: "default_role", Before: now.value.DefaultRole, After: value.DefaultRole}},
		})
	}
	c.goesBy = &versioned{version: held.Version + 1, mapping: c.mapping.With(value.DefaultRole, rules), rules: rules, value: value}
	return nil
}

// orNone is a list of grants as the audit log has it, nil for none.
func orNone(grants []identity.TeamRole) any {
	if len(grants) == 0 {
		return nil
	}
	texts := make([]any, len(grants))
	for i, g := range grants {
		texts[i] = g.Team + ":" + g.Role
	}
	return texts
}

// SyncGroups makes what groups grant what the mapping in force says, group by group, and returns how many differed. It
// is for groups that no run sees to: those that the named connectors own are left to their runs.
func (a *Applier) SyncGroups(ctx context.Context, by identity.Actor, connectors []string) (int, error) {
	const page = 500
	pulled := map[string]bool{}
	for _, name := range connectors {
		pulled[name] = true
	}
	changed := 0
	for after := int64(0); ; {
		groups, err := a.store.OwnedGroups(ctx, "", after, page)
		if err != nil {
			return changed, err
		}
		for i := range groups {
			if pulled[groups[i].Source] {
				continue
			}
			differed, err := a.syncGroup(ctx, by, groups[i].ID)
			var refused *RefusedError
			if errors.As(err, &refused) {
				continue // break glass: the group keeps what it grants, and the refusal is recorded
			}
			if err != nil {
				return changed, err
			}
			if differed {
				changed++
			}
		}
		if len(groups) < page {
			return changed, nil
		}
		after = groups[len(groups)-1].Seq
	}
}

// syncGroup makes what one group grants what the mapping says.
func (a *Applier) syncGroup(ctx context.Context, by identity.Actor, id string) (bool, error) {
	differed := false
	err := a.inTx(ctx, by, func(c *change) error {
		g, err := c.tx.LockGroup(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		before := len(c.events)
		if err := c.syncTeam(ctx, &g); err != nil {
			return err
		}
		differed = len(c.events) > before
		return nil
	})
	return differed, err
}
