package identity

import (
	"cmp"
	"slices"
	"strings"
)

// Paths of the fields of a grant event.
const (
	grantTeamID   = "team_id"
	grantTeam     = "team"
	grantRole     = "role"
	grantKind     = "kind"
	grantSourceID = "source_id"
)

// GrantEvent tells that a grant was given, or taken away, in a form from which the past can be told (GrantOf): the
// event's fields have its team, role, kind and source. g.TeamName is the team's name at the time. The event is about the
// group that gives the role to its members, where Kind is GrantGroup, else about the person; name is theirs.
func GrantEvent(given bool, g Grant, name, reason string) Event {
	e := Event{Type: EventGrantAdded, Object: ObjectUser, ObjectID: g.UserID, Name: name, Reason: reason}
	if g.Kind == GrantGroup {
		e.Object, e.ObjectID = ObjectGroup, g.SourceID
	}
	if !given {
		e.Type = EventGrantRevoked
	}
	for _, f := range []struct{ path, value string }{
		{grantTeamID, g.TeamID},
		{grantTeam, g.TeamName},
		{grantRole, g.Role},
		{grantKind, string(g.Kind)},
		{grantSourceID, g.SourceID},
	} {
		switch {
		case f.value == "":
		case given:
			e.Fields = append(e.Fields, FieldChange{Path: f.path, After: f.value})
		default:
			e.Fields = append(e.Fields, FieldChange{Path: f.path, Before: f.value})
		}
	}
	return e
}

// GrantOf returns the grant that an event of type EventGrantAdded or EventGrantRevoked tells of, and false where it
// tells of none. Events that were recorded before they had fields are read from their text: these have no TeamID.
func GrantOf(e *Event) (Grant, bool) {
	g := Grant{Kind: GrantGroup, SourceID: e.ObjectID}
	if e.Object == ObjectUser {
		g = Grant{UserID: e.ObjectID}
	}
	for _, f := range e.Fields {
		value, _ := f.After.(string)
		if e.Type == EventGrantRevoked {
			value, _ = f.Before.(string)
		}
		switch f.Path {
		case grantTeamID:
			g.TeamID = value
		case grantTeam:
			g.TeamName = value
		case grantRole:
			g.Role = value
		case grantKind:
			g.Kind = GrantKind(value)
		case grantSourceID:
			g.SourceID = value
		}
	}
	if g.Role == "" {
		g.readText(e)
	}
	return g, g.Role != "" && g.Kind != "" && (g.TeamID != "" || g.TeamName != "")
}

// readText reads "operator on Payments" of a group's event, and "direct role operator on root" of a person's.
func (g *Grant) readText(e *Event) {
	text := e.Reason
	if e.Object == ObjectUser {
		kind, rest, found := strings.Cut(text, " role ")
		if !found {
			return
		}
		g.Kind, text = GrantKind(kind), rest
	}
	role, team, found := strings.Cut(text, " on ")
	if found {
		g.Role, g.TeamName = role, team
	}
}

// SortGrants puts one person's grants in the order of team, role, kind and source, by the bytes of their names, and
// joins those that differ only in the nested group through which they are held: whoever is in a group by several nested
// ones holds what it grants for one reason. It reuses the slice.
func SortGrants(grants []Grant) []Grant {
	slices.SortFunc(grants, func(a, b Grant) int {
		return cmp.Or(
			strings.Compare(Normalize(a.TeamName), Normalize(b.TeamName)), strings.Compare(a.TeamID, b.TeamID), strings.Compare(a.Role, b.Role),
			strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.SourceName, b.SourceName), strings.Compare(a.SourceID, b.SourceID),
			strings.Compare(Normalize(a.Through), Normalize(b.Through)),
		)
	})
	joined := grants[:0]
	for _, g := range grants {
		if last := len(joined) - 1; last >= 0 {
			same := g
			same.Through = joined[last].Through
			if same == joined[last] {
				joined[last].Through += ", " + g.Through
				continue
			}
		}
		joined = append(joined, g)
	}
	return joined
}
