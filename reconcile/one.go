package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// NotFoundError says that neither the source nor the store knows whom or what a run was asked for.
type NotFoundError struct {
	Connector string
	Object    identity.Object
	Name      string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("%s knows no %s %q in scope, and none is held for it", e.Connector, e.Object, e.Name)
}

// pullOne reads one person or one group by id, and compares only that.
func (w *work) pullOne(ctx context.Context) error {
	w.since = newSince()
	for _, phase := range phases {
		w.complete[phase] = true
	}
	w.tally.Users.Stated, w.tally.Groups.Stated = max(w.tally.Users.Held, 1), max(w.tally.Groups.Held, 1)
	find := w.oneGroup
	if w.req.User != "" {
		find = w.oneUser
	}
	for _, step := range []func(context.Context) error{
		find, w.compareGroups, w.findMoves, w.findAffected, w.readUsers, w.readNewcomers, w.compareUsers, w.moveRehired,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if n := w.since.failures; n > 0 {
		w.incomplete(fmt.Sprintf("%d people or groups could not be read by id and were left as they are", n))
	}
	return nil
}

func (w *work) step(kind, format string, args ...any) {
	w.say(Step{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// matched tells which held user or group is compared.
func (w *work) matched(object identity.Object, id, format string, args ...any) {
	w.say(Step{Kind: "match", Text: fmt.Sprintf(format, args...), Object: object, ID: id})
}

func (w *work) say(step Step) {
	w.run.Steps = append(w.run.Steps, step)
	if w.req.Step != nil {
		w.req.Step(step)
	}
}

// oneUser reads one person, and the person's groups where the connector can tell them.
func (w *work) oneUser(ctx context.Context) error {
	held, err := w.heldUser(ctx, w.req.User)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	known := err == nil
	ask := w.req.User
	if known {
		ask = held.SourceID
	}
	r, err := w.req.Source.Connector.User(ctx, ask)
	switch {
	case errors.Is(err, connectors.ErrNotFound):
		w.step("read", "%s has nobody in scope for %s: %v", w.run.Connector, ask, err)
		if !known {
			return &NotFoundError{w.run.Connector, identity.ObjectUser, w.req.User}
		}
		w.since.absent[held.SourceID] = true
	case err != nil:
		return err
	default:
		w.run.Counts.Users++
		w.since.records[r.SourceID] = &r
		w.step("read", "%s states %s (%s), %s", w.run.Connector, r.UserName, r.SourceID, describeStatus(&r))
		if !known {
			if held, err = w.heldUser(ctx, r.SourceID); err == nil {
				known = true
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
	}
	if !known {
		w.step("match", "nobody is held under the id %s: whom the name or the external id means is decided by the rules of correlation", r.SourceID)
		return nil
	}
	w.matched(identity.ObjectUser, held.ID, "by immutable id %s: %s (%s), %s, version %d", held.SourceID, held.UserName, held.ID, activeText(held.Active), held.Version)
	if w.since.absent[held.SourceID] {
		return nil
	}
	return w.oneUsersGroups(ctx, &held)
}

// heldUser returns whom of the connector's people a name means; ErrNotFound.
func (w *work) heldUser(ctx context.Context, name string) (identity.User, error) {
	held, err := w.store.HeldUsers(ctx, w.run.Connector, []string{name})
	if err != nil {
		return identity.User{}, err
	}
	if h, ok := held[name]; ok {
		return w.store.User(ctx, h.ID)
	}
	for _, find := range []func(context.Context, string) (identity.User, error){w.store.User, w.store.UserByName} {
		u, err := find(ctx, name)
		if err == nil && u.Source == w.run.Connector && u.SourceID != "" {
			return u, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return u, err
		}
	}
	return identity.User{}, store.ErrNotFound
}

func describeStatus(r *identity.Record) string {
	if r.RawStatus == "" || r.RawStatus == string(r.Status) {
		return string(r.Status)
	}
	return fmt.Sprintf("%s (%s)", r.RawStatus, r.Status)
}

func activeText(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

// oneUsersGroups compares the groups of a held person: those of which the person is and is not a member, at the source
// and here.
func (w *work) oneUsersGroups(ctx context.Context, held *identity.User) error {
	lister, can := w.req.Source.Connector.(connectors.GroupLister)
	if !can {
		return nil
	}
	stated, err := lister.GroupsOf(ctx, held.SourceID)
	if err != nil {
		return fmt.Errorf("read the groups of %s: %w", held.UserName, err)
	}
	w.step("read", "%s states %d groups in scope", w.run.Connector, len(stated))
	groups, err := w.store.GroupsOfUsers(ctx, []string{held.ID})
	if err != nil {
		return err
	}
	delta := func(group string, member bool) { w.since.deltas[group] = map[string]bool{held.SourceID: member} }
	for _, group := range stated {
		delta(group, true)
	}
	for _, g := range groups[held.ID] {
		if g.Indirect {
			continue
		}
		group, err := w.store.Group(ctx, g.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted in this moment
		}
		if err != nil {
			return err
		}
		if group.Source == w.run.Connector && group.SourceID != "" && !slices.Contains(stated, group.SourceID) {
			delta(group.SourceID, false)
		}
	}
	return nil
}

// oneGroup reads one group with its members.
func (w *work) oneGroup(ctx context.Context) error {
	ask, known := w.req.Group, false
	held, err := w.heldGroup(ctx, w.req.Group)
	switch {
	case err == nil:
		ask, known = held.SourceID, true
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := w.readGroup(ctx, ask); err != nil {
		return err
	}
	for id, r := range w.since.groups {
		w.step("read", "%s states group %s (%s) with %d members", w.run.Connector, r.DisplayName, id, w.group(id).count)
	}
	if reason, gone := w.since.gone[ask]; gone {
		w.step("read", "%s has no such group in scope: %s", w.run.Connector, reason)
		if !known {
			return &NotFoundError{w.run.Connector, identity.ObjectGroup, w.req.Group}
		}
	}
	if known {
		w.matched(identity.ObjectGroup, held.ID, "by immutable id %s: %s (%s) with %d members, version %d", held.SourceID, held.DisplayName, held.ID, held.MemberCount, held.Version)
	}
	return nil
}

// heldGroup returns which of the connector's groups a name means; ErrNotFound.
func (w *work) heldGroup(ctx context.Context, name string) (identity.Group, error) {
	held, err := w.store.HeldGroups(ctx, w.run.Connector, []string{name})
	if err != nil {
		return identity.Group{}, err
	}
	if g, ok := held[name]; ok {
		return g, nil
	}
	for _, find := range []func(context.Context, string) (identity.Group, error){w.store.Group, w.store.GroupByName} {
		g, err := find(ctx, name)
		if err == nil && g.Source == w.run.Connector && g.SourceID != "" {
			return g, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return g, err
		}
	}
	return identity.Group{}, store.ErrNotFound
}
