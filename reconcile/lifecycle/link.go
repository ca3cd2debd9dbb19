package lifecycle

import (
	"context"
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// ConflictError says why a conflict cannot be decided so.
type ConflictError struct{ ID, Reason string }

func (e *ConflictError) Error() string { return fmt.Sprintf("conflict %s: %s", e.ID, e.Reason) }

// LinkConflict says that the record of a conflict is the held account, or group, with an id: its source and the source's
// immutable id become the record's, whoever owned it, because an operator says so. The next comparison makes the rest of
// it what the record states. A *ConflictError says why it cannot be; break glass refuses with a *RefusedError.
func (a *Applier) LinkConflict(ctx context.Context, by identity.Actor, conflictID, heldID string) (identity.Conflict, error) {
	return a.decideConflict(ctx, by, conflictID, func(c *change, conflict *identity.Conflict) (identity.EventType, string, error) {
		if conflict.Status == identity.ConflictLinked || conflict.Status == identity.ConflictResolved {
			return "", "", &ConflictError{conflict.ID, "it is " + string(conflict.Status) + ": nothing is left to decide"}
		}
		link := c.linkUser
		if conflict.Object == identity.ObjectGroup {
			link = c.linkGroup
		}
		name, err := link(ctx, conflict, heldID)
		conflict.Status = identity.ConflictLinked
		return identity.EventConflictLinked, fmt.Sprintf("%s %s is %s", conflict.Connector, conflict.SourceID, name), err
	})
}

// IgnoreConflict says that the record of a conflict is to be left alone: no run makes anything of it. With undo it is an
// open conflict again. A *ConflictError says why it cannot be.
func (a *Applier) IgnoreConflict(ctx context.Context, by identity.Actor, conflictID string, undo bool) (identity.Conflict, error) {
	return a.decideConflict(ctx, by, conflictID, func(_ *change, conflict *identity.Conflict) (identity.EventType, string, error) {
		from, to, event := identity.ConflictOpen, identity.ConflictIgnored, identity.EventConflictIgnored
		if undo {
			from, to, event = identity.ConflictIgnored, identity.ConflictOpen, identity.EventConflictReopened
		}
		if conflict.Status != from {
			return "", "", &ConflictError{conflict.ID, fmt.Sprintf("it is %s, not %s", conflict.Status, from)}
		}
		conflict.Status = to
		return event, conflict.Reason, nil
	})
}

// decideConflict lets decide set a conflict's status, and writes down who decided it.
func (a *Applier) decideConflict(ctx context.Context, by identity.Actor, id string, decide func(*change, *identity.Conflict) (identity.EventType, string, error)) (identity.Conflict, error) {
	var result identity.Conflict
	err := a.inTx(ctx, by, func(c *change) error {
		conflict, err := c.tx.LockConflict(ctx, id)
		if err != nil {
			return err
		}
		event, reason, err := decide(c, &conflict)
		if err != nil {
			return err
		}
		conflict.DecidedBy, conflict.DecidedAt = by.Name, c.now
		if conflict.Status == identity.ConflictOpen {
			conflict.DecidedBy, conflict.DecidedAt = "", identity.Conflict{}.DecidedAt
		}
		c.event(identity.Event{Type: event, Object: "conflict", ObjectID: conflict.ID, Name: conflict.Name, Reason: reason})
		result = conflict
		return c.tx.DecideConflict(ctx, &conflict)
	})
	return result, err
}

// linkUser gives an account the record's source and immutable id, and returns its name.
func (c *change) linkUser(ctx context.Context, conflict *identity.Conflict, id string) (string, error) {
	held, err := c.tx.HeldUsers(ctx, conflict.Connector, []string{conflict.SourceID})
	if err != nil {
		return "", err
	}
	if h, taken := held[conflict.SourceID]; taken {
		return "", &ConflictError{conflict.ID, fmt.Sprintf("%s holds the record as %s (%s) already", conflict.Connector, h.UserName, h.ID)}
	}
	before, err := c.tx.LockUser(ctx, id)
	if err != nil {
		return "", err
	}
	if before.Source == conflict.Connector && before.SourceID != "" && before.Active {
		return "", &ConflictError{conflict.ID, fmt.Sprintf("%s is %s's record %s, and active: two records cannot be one account; deactivate that record first, or ignore this one",
			describe(&before), before.Source, before.SourceID)}
	}
	protected, err := c.protected(ctx, &before)
	if err != nil {
		return "", err
	}
	if protected != "" {
		return "", &RefusedError{Reason: "break glass: " + protected, UserID: before.ID, UserName: before.UserName}
	}
	after := before.Clone()
	after.Source, after.SourceID, after.Fingerprint = conflict.Connector, conflict.SourceID, identity.Fingerprint{}
	if before.Source != conflict.Connector {
		after.ExternalID = "" // the former owner's; the comparison sets the record's
	}
	after.Version, after.LastModified = before.Version+1, c.now
	c.restated(&before, &after)
	c.event(identity.Event{
		Type: identity.EventUserUpdated, Object: identity.ObjectUser, ObjectID: after.ID, Name: after.UserName,
		Fields: linked(before.Source, before.SourceID, conflict), Reason: fmt.Sprintf("linked to %s %s by %s", conflict.Connector, conflict.SourceID, c.by.Name),
	})
	return describe(&after), c.tx.UpdateUser(ctx, &after, before.Version)
}

// linkGroup does for a group what linkUser does for an account.
func (c *change) linkGroup(ctx context.Context, conflict *identity.Conflict, id string) (string, error) {
	held, err := c.tx.HeldGroups(ctx, conflict.Connector, []string{conflict.SourceID})
	if err != nil {
		return "", err
	}
	if g, taken := held[conflict.SourceID]; taken {
		return "", &ConflictError{conflict.ID, fmt.Sprintf("%s holds the record as %s (%s) already", conflict.Connector, g.DisplayName, g.ID)}
	}
	before, err := c.tx.LockGroup(ctx, id)
	if err != nil {
		return "", err
	}
	if before.Source == conflict.Connector && before.SourceID != "" {
		return "", &ConflictError{conflict.ID, fmt.Sprintf("%s (%s) is %s's record %s: two records cannot be one group; delete that record first, or ignore this one",
			before.DisplayName, before.ID, before.Source, before.SourceID)}
	}
	after := before
	after.Source, after.SourceID, after.Fingerprint = conflict.Connector, conflict.SourceID, identity.Fingerprint{}
	if before.Source != conflict.Connector {
		after.ExternalID = ""
	}
	after.Version, after.LastModified = before.Version+1, c.now
	c.event(identity.Event{
		Type: identity.EventGroupUpdated, Object: identity.ObjectGroup, ObjectID: after.ID, Name: after.DisplayName,
		Fields: linked(before.Source, before.SourceID, conflict), Reason: fmt.Sprintf("linked to %s %s by %s", conflict.Connector, conflict.SourceID, c.by.Name),
	})
	return fmt.Sprintf("%s (%s)", after.DisplayName, after.ID), c.tx.UpdateGroup(ctx, &after, before.Version)
}

// linked tells whose record something was and is.
func linked(source, sourceID string, conflict *identity.Conflict) []identity.FieldChange {
	var before any
	if text := strings.TrimSpace(source + " " + sourceID); text != "" {
		before = text
	}
	return []identity.FieldChange{{Path: "source", Before: before, After: conflict.Connector + " " + conflict.SourceID}}
}
