package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// TeamError says why a team is not made, renamed or deleted as asked.
type TeamError struct{ Team, Reason string }

func (e *TeamError) Error() string { return fmt.Sprintf("team %s: %s", e.Team, e.Reason) }

// Bounds of what is kept of a team.
const (
	maxTeamName   = 200
	maxScope      = 100
	maxScopeEntry = 200
)

// CreateTeam makes a local team, which stays until it is deleted. A taken name is a *store.DuplicateError.
func (a *Applier) CreateTeam(ctx context.Context, by identity.Actor, name string, scope []string) (identity.Team, error) {
	var team identity.Team
	err := a.inTx(ctx, by, func(c *change) error {
		name, err := teamName(name)
		if err != nil {
			return err
		}
		if scope, err = teamScope(name, scope); err != nil {
			return err
		}
		held, err := c.tx.TeamByName(ctx, name)
		switch {
		case err == nil && (held.Kept || held.GroupID != ""):
			return &store.DuplicateError{Object: objectTeam, Attribute: "name", Value: name, ID: held.ID}
		case err == nil: // a mapping made it already: now it stays
			team = held
		case errors.Is(err, store.ErrNotFound):
			team = identity.Team{ID: c.newID(), Name: name, Created: c.now}
		default:
			return err
		}
		team.Kept, team.Scope = true, scope
		event := c.teamEvent(identity.EventTeamCreated, team)
		event.Fields = append(event.Fields, identity.FieldChange{Path: "name", After: name})
		if len(scope) > 0 {
			event.Fields = append(event.Fields, identity.FieldChange{Path: "scope", After: scopeValue(scope)})
		}
		c.event(event)
		return c.tx.PutTeam(ctx, team)
	})
	return team, err
}

const objectTeam identity.Object = "team"

func (c *change) teamEvent(kind identity.EventType, t identity.Team) identity.Event {
	return identity.Event{Type: kind, Object: objectTeam, ObjectID: t.ID, Name: t.Name}
}

func teamName(name string) (string, error) {
	name = strings.TrimSpace(name)
	switch {
	case name == "":
		return "", &TeamError{"", "a team needs a name"}
	case len(name) > maxTeamName || strings.ContainsAny(name, ":\x00\n\r\t"):
		return "", &TeamError{fmt.Sprintf("%.40q", name), fmt.Sprintf("a name has at most %d bytes, and no colon, tab or line break", maxTeamName)}
	}
	return name, nil
}

// teamScope returns a scope in its stored form: trimmed, sorted, each once.
func teamScope(team string, scope []string) ([]string, error) {
	var out []string
	for _, entry := range scope {
		entry = strings.TrimSpace(entry)
		if entry == "" || len(entry) > maxScopeEntry || strings.ContainsAny(entry, ",\x00\n\r") {
			return nil, &TeamError{team, fmt.Sprintf("scope %.40q: want a name of 1 to %d bytes without a comma", entry, maxScopeEntry)}
		}
		out = append(out, entry)
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) > maxScope {
		return nil, &TeamError{team, fmt.Sprintf("its scope names %d things, at most %d are possible", len(out), maxScope)}
	}
	return out, nil
}

func scopeValue(scope []string) any {
	list := make([]any, len(scope))
	for i, entry := range scope {
		list[i] = entry
	}
	return list
}

// SetTeamScope says what a team's roles are for; nothing means everything. Every team may have a scope, that of a group
// too. No such team is store.ErrNotFound.
func (a *Applier) SetTeamScope(ctx context.Context, by identity.Actor, id string, scope []string) (identity.Team, error) {
	var team identity.Team
	err := a.inTx(ctx, by, func(c *change) error {
		var err error
		if team, err = c.tx.LockTeam(ctx, id); err != nil {
			return err
		}
		if scope, err = teamScope(team.Name, scope); err != nil || slices.Equal(scope, team.Scope) {
			return err
		}
		event := c.teamEvent(identity.EventTeamUpdated, team)
		event.Fields = []identity.FieldChange{{Path: "scope", Before: scopeValue(team.Scope), After: scopeValue(scope)}}
		c.event(event)
		team.Scope = scope
		return c.tx.PutTeam(ctx, team)
	})
	return team, err
}

// RenameTeam gives a local team another name; stored role mappings follow. A group's team has the group's name, and root
// is root: a *TeamError.
func (a *Applier) RenameTeam(ctx context.Context, by identity.Actor, id, name string) (identity.Team, error) {
	var team identity.Team
	err := a.inTx(ctx, by, func(c *change) error {
		name, err := teamName(name)
		if err != nil {
			return err
		}
		if team, err = c.tx.LockTeam(ctx, id); err != nil {
			return err
		}
		old := team.Name
		if err := c.localTeam(ctx, &team, "renamed"); err != nil || old == name {
			return err
		}
		team.Name, team.Kept = name, true
		if err := c.tx.PutTeam(ctx, team); err != nil {
			return err
		}
		c.teamRenamed(team.ID, old, name)
		if err := c.moved(ctx, roles.Rename{Team: true, From: old, To: name}); err != nil {
			return err
		}
		return c.syncGranting(ctx, "", old, name)
	})
	return team, err
}

// localTeam refuses what is not for root, for a group's team, or for one that the configuration names.
func (c *change) localTeam(ctx context.Context, team *identity.Team, done string) error {
	switch {
	case team.ID == identity.RootTeamID:
		return &TeamError{team.Name, "the root team is never " + done}
	case team.GroupID != "":
		return &TeamError{team.Name, "it is a group's team, and goes with the group: it is " + done + " at the source of the group"}
	}
	mapping, err := c.mappingNow(ctx)
	if err != nil {
		return err
	}
	if c.goesBy.value.Declared || c.goesBy.version == 0 {
		if groups := mapping.GroupsGranting(team.Name); len(groups) > 0 {
			return &TeamError{team.Name, fmt.Sprintf("the role mapping in the configuration names it (group %s): change it there first", groups[0])}
		}
	}
	return nil
}

// DeleteTeam deletes a local team. While anything is granted on it, or the role mapping names it, it is refused with a
// *TeamError that says what.
func (a *Applier) DeleteTeam(ctx context.Context, by identity.Actor, id string) error {
	return a.inTx(ctx, by, func(c *change) error {
		team, err := c.tx.LockTeam(ctx, id)
		if err != nil {
			return err
		}
		if err := c.localTeam(ctx, &team, "deleted"); err != nil {
			return err
		}
		mapping, err := c.mappingNow(ctx)
		if err != nil {
			return err
		}
		if groups := mapping.GroupsGranting(team.Name); len(groups) > 0 {
			return &TeamError{team.Name, fmt.Sprintf("the role mapping of group %s names it: unmap that first", groups[0])}
		}
		use, err := c.tx.TeamUse(ctx, team.ID)
		if err != nil {
			return err
		}
		if use.People+use.Groups > 0 {
			return &TeamError{team.Name, fmt.Sprintf("%d people and %d groups hold roles on it: take these away first", use.People, use.Groups)}
		}
		event := c.teamEvent(identity.EventTeamDeleted, team)
		event.Fields = []identity.FieldChange{{Path: "name", Before: team.Name}}
		c.event(event)
		return c.tx.DeleteTeam(ctx, team.ID)
	})
}
