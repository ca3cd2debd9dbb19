package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ErrNoBreakGlass: SCIM is not switched on while nobody could get in without the identity provider.
var ErrNoBreakGlass = errors.New("there is no active local admin on the root team (break glass)")

// DeclaredError says that the configuration states whether SCIM is on, so that it is not changed elsewhere.
type DeclaredError struct{ On bool }

func (e *DeclaredError) Error() string {
	return "the configuration declares SCIM " + onOff(e.On)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// SCIM is the administration setting of the push endpoint, as it is in force.
type SCIM struct {
	On       bool
	Declared bool           // by the configuration, and not to be changed elsewhere
	Waiting  bool           // declared on, and off until there is break glass
	Since    time.Time      // when it became so, by the database's clock; zero where nobody ever decided
	By       identity.Actor // who decided last
	Read     time.Time      // when it was read, by the database's clock
}

// JITProvisioning tells whether a sign-in may make an account for somebody unknown: not while SCIM is on, because then
// the identity provider says who there is.
func (s SCIM) JITProvisioning() bool { return !s.On }

// scimSetting is the name under which the setting is stored.
const scimSetting = "scim"

// scimValue is the stored setting. What an operator decided and what a configuration declares are kept apart: a
// declaration that is taken out of the configuration leaves the decision as it was.
type scimValue struct {
	Enabled    bool      `json:"enabled"`
	EnabledAt  time.Time `json:"enabled_at,omitzero"`
	Declared   string    `json:"declared,omitempty"` // "on" or "off" where a declaration was last put in force
	DeclaredAt time.Time `json:"declared_at,omitzero"`
}

// on tells what is in force by the stored value alone.
func (v scimValue) on() bool {
	if v.Declared != "" {
		return v.Declared == onOff(true)
	}
	return v.Enabled
}

// declaration is what scimValue.Declared is when the configuration's declaration is in force.
func (a *Applier) declaration() string {
	if a.declared == nil {
		return ""
	}
	return onOff(*a.declared)
}

// SCIM returns the setting: what the configuration declares, else what is stored, which is off until it is enabled.
func (a *Applier) SCIM(ctx context.Context) (SCIM, error) {
	held, value, err := readSCIM(a.store.Setting(ctx, scimSetting))
	if err != nil {
		return SCIM{}, err
	}
	return a.inForce(ctx, held, value)
}

func readSCIM(held store.Setting, err error) (store.Setting, scimValue, error) {
	var value scimValue
	if err == nil {
		if err = json.Unmarshal([]byte(held.Value), &value); err != nil {
			err = fmt.Errorf("read the setting %s: %w", scimSetting, err)
		}
	}
	return held, value, err
}

func (a *Applier) inForce(ctx context.Context, held store.Setting, value scimValue) (SCIM, error) {
	s := SCIM{On: value.Enabled, Since: held.Changed, By: held.By, Read: held.Read}
	switch {
	case a.declared == nil && value.Enabled:
		s.Since = value.EnabledAt
	case a.declared == nil:
	case value.Declared == a.declaration():
		s.On, s.Declared, s.Since = *a.declared, true, value.DeclaredAt
	default: // declared, and not yet put in force by a server
		s.On, s.Declared, s.Since, s.By = *a.declared, true, time.Time{}, identity.Actor{}
		if s.On {
			admins, err := a.store.CountLocalAdmins(ctx)
			if err != nil {
				return SCIM{}, err
			}
			s.On, s.Waiting = admins > 0, admins == 0
		}
	}
	return s, nil
}

// EnableSCIM switches SCIM on and tells whether it was off. It is refused with ErrNoBreakGlass, which is recorded, and
// with a *DeclaredError.
func (a *Applier) EnableSCIM(ctx context.Context, by identity.Actor) (changed bool, err error) {
	changed, err = a.setSCIM(ctx, by, true)
	if errors.Is(err, ErrNoBreakGlass) {
		a.recordSCIMRefusal(ctx, by)
	}
	return changed, err
}

// DisableSCIM switches SCIM off and tells whether it was on. It is refused with a *DeclaredError.
func (a *Applier) DisableSCIM(ctx context.Context, by identity.Actor) (changed bool, err error) {
	return a.setSCIM(ctx, by, false)
}

func (a *Applier) setSCIM(ctx context.Context, by identity.Actor, on bool) (changed bool, err error) {
	if a.declared != nil {
		return false, &DeclaredError{On: *a.declared}
	}
	err = a.inTx(ctx, by, func(c *change) error {
		changed = false
		held, value, err := readSCIM(c.tx.LockSetting(ctx, scimSetting))
		if err != nil || value.Enabled == on {
			return err
		}
		if err := c.wantBreakGlass(ctx, on); err != nil {
			return err
		}
		changed, value = true, scimValue{Enabled: on} // and without a declaration, which is no longer there
		if on {
			value.EnabledAt = held.Read
		}
		return c.putSCIM(ctx, held, value, !on, "")
	})
	return changed, err
}

func (c *change) wantBreakGlass(ctx context.Context, on bool) error {
	if !on {
		return nil
	}
	admins, err := c.tx.LocalAdmins(ctx)
	if err == nil && len(admins) == 0 {
		err = ErrNoBreakGlass
	}
	return err
}

// SyncSCIM puts in force what the configuration declares, once for all replicas that read it: on as soon as there is
// break glass. What that changes is recorded. It returns the setting.
func (a *Applier) SyncSCIM(ctx context.Context, by identity.Actor) (SCIM, error) {
	held, value, err := readSCIM(a.store.Setting(ctx, scimSetting))
	if err != nil {
		return SCIM{}, err
	}
	s, err := a.inForce(ctx, held, value)
	if err != nil || s.Waiting || value.Declared == a.declaration() {
		return s, err
	}
	err = a.inTx(ctx, by, func(c *change) error {
		held, value, err := readSCIM(c.tx.LockSetting(ctx, scimSetting))
		if err != nil || value.Declared == a.declaration() {
			return err
		}
		before := value.on()
		value.Declared, value.DeclaredAt = a.declaration(), time.Time{}
		reason := "no longer declared in the configuration"
		if a.declared != nil {
			value.DeclaredAt, reason = held.Read, "declared in the configuration"
		}
		if err := c.wantBreakGlass(ctx, value.Declared != "" && value.on()); err != nil {
			return err
		}
		return c.putSCIM(ctx, held, value, before, reason)
	})
	if err != nil && !errors.Is(err, ErrNoBreakGlass) { // an admin who went in the meantime: it waits on
		return SCIM{}, err
	}
	return a.SCIM(ctx)
}

// putSCIM writes the setting, and the event that tells of it where something else is in force than before.
func (c *change) putSCIM(ctx context.Context, held store.Setting, value scimValue, before bool, reason string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write the setting %s: %w", scimSetting, err)
	}
	held.Value, held.Changed, held.By = string(text), held.Read, c.by
	if after := value.on(); after != before {
		event := identity.Event{
			Type: identity.EventSCIMDisabled, Object: "setting", ObjectID: scimSetting, Name: scimSetting, Reason: reason,
			Fields: []identity.FieldChange{{Path: "enabled", Before: before, After: after}},
		}
		if after {
			event.Type = identity.EventSCIMEnabled
		}
		c.event(event)
	}
	return c.tx.PutSetting(ctx, held)
}

func (a *Applier) recordSCIMRefusal(ctx context.Context, by identity.Actor) {
	a.logger.WarnContext(ctx, "change refused", "reason", ErrNoBreakGlass.Error(), "actor_kind", by.Kind, "actor_id", by.ID, "request_id", by.RequestID)
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		return tx.Record(ctx, []identity.Event{{
			At: a.now(), Type: identity.EventRefused, Actor: by, Object: "setting", ObjectID: scimSetting, Name: scimSetting,
			Reason: "enable SCIM: " + ErrNoBreakGlass.Error(),
		}})
	})
	if err != nil {
		a.logger.ErrorContext(ctx, "record a refusal", "error", err)
	}
}
