package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Options are what an Applier is made of. Store is required.
type Options struct {
	Store   *store.Store
	Mapping *roles.Mapping // what the configuration declares; nil knows the built-in roles and maps nothing
	SCIM    *bool          // what the configuration declares of SCIM: on, off, or nil where the stored setting decides
	Now     func() time.Time
	NewID   func() string // UUIDs
	Logger  *slog.Logger

	// ProtectedRoles are roles whose last active holder no pull takes away.
	ProtectedRoles []identity.TeamRole
}

// Applier carries decisions out. It is safe for concurrent use.
type Applier struct {
	store    *store.Store
	mapping  *roles.Mapping
	declared *bool // of SCIM, by the configuration
	now      func() time.Time
	newID    func() string
	logger   *slog.Logger

	protectedRoles []identity.TeamRole
	inForceMapping atomic.Pointer[versioned] // as of the version that was last read
}

// New returns an Applier.
func New(o Options) (*Applier, error) {
	if o.Store == nil {
		return nil, errors.New("lifecycle: no store")
	}
	a := &Applier{
		store: o.Store, mapping: o.Mapping, declared: o.SCIM, now: o.Now, newID: o.NewID, logger: o.Logger, protectedRoles: o.ProtectedRoles,
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.newID == nil {
		a.newID = uuid.NewString
	}
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// change is one transaction at work: what it writes besides the rows themselves.
type change struct {
	*Applier
	tx       *store.Tx
	by       identity.Actor
	now      time.Time
	events   []identity.Event
	disable  []string   // users whose API keys are disabled
	convert  []string   // users whose passwords are dropped
	adopt    []string   // users whom a source states from now on
	unbind   []string   // users whose record at the source is another one
	pulled   bool       // a pull's, not a push's or an operator's
	guarding bool       // a guarded change is at work
	protect  bool       // nobody's last protected role is taken, although no pull is at work
	goesBy   *versioned // the role mapping, once it was asked for
}

// inTx runs f in a transaction with everything that belongs to each: the break-glass invariant, the users' keys and
// passwords, the audit events. A refusal is recorded by itself.
func (a *Applier) inTx(ctx context.Context, by identity.Actor, f func(*change) error) error {
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		return a.within(ctx, tx, by, f)
	})
	var refused *RefusedError
	if errors.As(err, &refused) {
		a.recordRefusal(ctx, by, refused)
	}
	return err
}

// within runs f inside tx.
func (a *Applier) within(ctx context.Context, tx *store.Tx, by identity.Actor, f func(*change) error) error {
	c := &change{Applier: a, tx: tx, by: by, now: a.now().UTC().Truncate(time.Microsecond)}
	if err := f(c); err != nil {
		return err
	}
	if len(c.disable) > 0 {
		keys, err := tx.DisableKeys(ctx, c.disable, c.now)
		if err != nil {
			return err
		}
		for _, k := range keys {
			c.event(identity.Event{Type: identity.EventKeyDisabled, Object: "key", ObjectID: k.ID, Name: k.Name, Reason: "its owner " + k.UserName + " was deactivated", Fields: turned("disabled", true)})
		}
	}
	if len(c.convert) > 0 {
		if err := tx.DropPasswords(ctx, c.convert); err != nil {
			return err
		}
	}
	if err := c.settleSignIns(ctx); err != nil {
		return err
	}
	return tx.Record(ctx, c.events)
}

func (a *Applier) recordRefusal(ctx context.Context, by identity.Actor, refused *RefusedError) {
	a.logger.WarnContext(ctx, "change refused", "reason", refused.Reason, "user_id", refused.UserID, "actor_kind", by.Kind, "actor_id", by.ID, "request_id", by.RequestID)
	err := a.store.InTx(ctx, func(tx *store.Tx) error {
		return tx.Record(ctx, []identity.Event{{At: a.now(), Type: identity.EventRefused, Actor: by, Object: identity.ObjectUser, ObjectID: refused.UserID, Name: refused.UserName, Reason: refused.Reason}})
	})
	if err != nil {
		a.logger.ErrorContext(ctx, "record a refusal", "error", err)
	}
}

func (c *change) event(e identity.Event) {
	e.At, e.Actor = c.now, c.by
	c.events = append(c.events, e)
}

// guarded runs f, which may take roles away, and refuses it when it leaves no active local admin on the root team
// where there was one, takes from the local owner of a SCIM key in use what the key needs, or, in a pull and for a role
// mapping, leaves no active holder of a protected role. Concurrent demotions take turns on the admins' rows. Of guarded
// changes within each other the outermost is looked at, as a whole.
func (c *change) guarded(ctx context.Context, f func() error) error {
	if c.guarding {
		return f()
	}
	c.guarding = true
	defer func() { c.guarding = false }()
	before, err := c.tx.Keepers(ctx, c.now)
	if err != nil {
		return err
	}
	held, err := c.heldRoles(ctx)
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	if err := c.keepRoles(ctx, held); err != nil || len(before) == 0 {
		return err
	}
	after, err := c.tx.Keepers(ctx, c.now)
	if err != nil {
		return err
	}
	if len(after) == 0 {
		return &RefusedError{Reason: "break glass: " + lastAdmin}
	}
	for _, owner := range before {
		if owner.OwnsKey && !slices.Contains(after, owner) {
			return &RefusedError{Reason: "break glass: " + keyOwner + ", which needs admin and scim_provisioner on the root team: revoke the key first", UserID: owner.ID, UserName: owner.UserName}
		}
	}
	return nil
}

const (
	lastAdmin = "this would take away the last active local admin on the root team"
	keyOwner  = "this local account owns a SCIM key in use"
)

// protected says why break glass protects a user, or "".
func (c *change) protected(ctx context.Context, u *identity.User) (string, error) {
	if u == nil || u.Origin != identity.OriginLocal || !u.Active {
		return "", nil
	}
	admins, err := c.tx.LocalAdmins(ctx)
	if err != nil {
		return "", err
	}
	if len(admins) == 1 && admins[0] == u.ID {
		return lastAdmin, nil
	}
	owns, err := c.tx.OwnsLiveSCIMKey(ctx, u.ID, c.now)
	if err != nil || !owns {
		return "", err
	}
	return keyOwner, nil
}

// finish turns a decision into the user's next state and notes the event that tells of it. before is nil for a new
// user. It reports whether there is anything to write.
func (c *change) finish(before, after *identity.User, d Decision) bool {
	after.Active, after.DeletedAt = d.Active, time.Time{} // whoever is stated again is back
	var fields []identity.FieldChange
	if before == nil {
		fields = identity.Compare(&identity.User{}, after)
	} else {
		fields = identity.Compare(before, after)
	}
	event := identity.Event{Object: identity.ObjectUser, ObjectID: after.ID, Name: after.UserName, Fields: fields, Reason: d.Reason}
	switch d.Op {
	case identity.OpCreate:
		event.Type = identity.EventUserCreated
	case identity.OpDeactivate:
		event.Type = identity.EventUserDeactivated
	case identity.OpReactivate:
		event.Type = identity.EventUserReactivated
	case identity.OpConvert:
		event.Type = identity.EventUserConverted
		after.Origin = identity.OriginSSO
		c.convert = append(c.convert, after.ID)
	case identity.OpDelete:
		event.Type = identity.EventUserDeleted
		after.DeletedAt = c.now
	default:
		if len(fields) == 0 && before.Source == after.Source && before.SourceID == after.SourceID &&
			before.DeletedAt.Equal(after.DeletedAt) && slices.Equal(before.Roles, after.Roles) {
			return false
		}
		event.Type = identity.EventUserUpdated
	}
	switch {
	case after.Active:
		after.Reason = ""
	case d.Op == identity.OpUpdate && !before.Deleted():
		after.Reason = before.Reason
	default:
		after.Reason = d.Reason
	}
	if before != nil && before.Active && !after.Active {
		c.disable = append(c.disable, after.ID)
	}
	c.restated(before, after)
	if before == nil {
		after.Version, after.Created = 1, c.now
	} else {
		after.Version = before.Version + 1
	}
	after.LastModified = c.now
	c.event(event)
	return true
}

// syncDirectRoles makes a user's direct grants on the root team what the roles attribute says.
func (c *change) syncDirectRoles(ctx context.Context, before, after *identity.User) error {
	var had []string
	if before != nil {
		had = before.Roles
	}
	if slices.Equal(had, after.Roles) {
		return nil
	}
	grant := identity.Grant{UserID: after.ID, TeamID: identity.RootTeamID, TeamName: identity.RootTeam, Kind: identity.GrantDirect}
	for _, role := range had {
		if slices.Contains(after.Roles, role) {
			continue
		}
		grant.Role = role
		gone, err := c.tx.DeleteGrant(ctx, grant)
		if err != nil {
			return err
		}
		if gone {
			c.revoked(grant, after.UserName, "direct role "+role+" on "+identity.RootTeam)
		}
	}
	for _, role := range after.Roles {
		grant.Role = role
		added, err := c.tx.PutGrant(ctx, grant, c.now)
		if err != nil {
			return err
		}
		if added {
			c.granted(grant, after.UserName, "direct role "+role+" on "+identity.RootTeam)
		}
	}
	return nil
}
