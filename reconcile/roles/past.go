package roles

import (
	"fmt"
	"slices"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// PastAccess is what a user might do at a moment in the past.
type PastAccess struct {
	Access
	At time.Time `json:"at"`
}

// UnknownError says that what somebody might do at a moment is not known.
type UnknownError struct {
	UserID   string
	UserName string    // by which the first event calls the person; "" where there is none
	At       time.Time // the moment asked about
	First    time.Time // of the first event about the person; zero where there is none
	Created  bool      // the first event tells that the person was created: there was nobody before
}

func (e *UnknownError) Error() string {
	name, at := e.UserName, e.At.Format(time.RFC3339)
	if name == "" {
		name = e.UserID
	}
	switch {
	case e.First.IsZero():
		return fmt.Sprintf("%s: the audit log tells nothing of this person", name)
	case e.Created:
		return fmt.Sprintf("%s was not known yet at %s: first stated at %s", name, at, e.First.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s at %s is not known: the audit log does not tell how the account was created, its first event about it is of %s",
		name, at, e.First.UTC().Format(time.RFC3339))
}

// Past tells what a user might do at a moment, and why, from the audit log: everything is called as it was then. The
// events are those up to the moment, the oldest first, of the user (user and grant events), of the groups that have the
// user as a member, themselves or by a nested one (group and grant events, and membership events with the members
// that are the user or one of these groups), and of teams that were renamed; others do no harm. The error is an
// *UnknownError, for the events that were given.
func Past(userID string, events []identity.Event, at time.Time) (PastAccess, error) {
	p := past{user: identity.User{ID: userID}, groups: map[string]*pastGroup{}, teams: map[string]string{}}
	unknown := &UnknownError{UserID: userID, At: at}
	for i := range events {
		e := &events[i]
		if e.At.After(at) {
			continue
		}
		if unknown.First.IsZero() && e.ObjectID == userID && ofAccount(e.Type) {
			unknown.UserName, unknown.First, unknown.Created = e.Name, e.At, e.Type == identity.EventUserCreated
		}
		p.event(e)
	}
	if !unknown.Created {
		return PastAccess{}, unknown
	}
	return PastAccess{Explain(&p.user, p.grants()), at}, nil
}

// ofAccount tells whether an event of a type tells the state of an account.
func ofAccount(t identity.EventType) bool {
	switch t {
	case identity.EventUserCreated, identity.EventUserUpdated, identity.EventUserDeactivated, identity.EventUserReactivated,
		identity.EventUserConverted, identity.EventUserDeleted:
		return true
	}
	return false
}

// past is what is known after some events.
type past struct {
	user   identity.User
	groups map[string]*pastGroup // by id
	own    []identity.Grant      // of the user
	teams  map[string]string     // names by id
}

// pastGroup is a group as it was.
type pastGroup struct {
	name    string
	members map[string]bool // users and groups, by id
	gives   []identity.Grant
}

func (p *past) group(id string) *pastGroup {
	if p.groups[id] == nil {
		p.groups[id] = &pastGroup{members: map[string]bool{}}
	}
	return p.groups[id]
}

func (p *past) event(e *identity.Event) {
	if ofAccount(e.Type) && e.ObjectID == p.user.ID {
		p.changeUser(e)
	}
	switch e.Type {
	case identity.EventGroupCreated, identity.EventGroupUpdated:
		p.group(e.ObjectID).name = e.Name
		p.renameUnnumbered(e)
	case identity.EventGroupDeleted:
		delete(p.groups, e.ObjectID)
	case identity.EventMembershipAdded, identity.EventMembershipRemoved:
		g := p.group(e.ObjectID)
		g.name = e.Name
		for _, id := range e.Members {
			if e.Type == identity.EventMembershipAdded {
				g.members[id] = true
			} else {
				delete(g.members, id)
			}
		}
	case identity.EventGrantAdded, identity.EventGrantRevoked:
		p.changeGrant(e)
	case identity.EventTeamUpdated:
		p.teams[e.ObjectID] = e.Name
		p.renameUnnumbered(e)
	}
}

// changeUser brings the user to the state that an event tells of.
func (p *past) changeUser(e *identity.Event) {
	u := &p.user
	u.UserName = e.Name
	was, linked := *u, false
	for _, f := range e.Fields {
		switch f.Path {
		case identity.PathActive.String():
			u.Active, _ = f.After.(bool)
		case "source":
			linked = true // by an operator: nothing else changes, and nobody who was deleted is back
		}
	}
	switch {
	case linked:
		return
	case e.Type == identity.EventUserDeleted:
		u.DeletedAt = e.At
	default:
		u.DeletedAt = time.Time{} // whoever is stated again is back
	}
	switch {
	case u.Active:
		u.Reason = ""
	case e.Type != identity.EventUserUpdated || was.Deleted():
		u.Reason = e.Reason
	}
}

// changeGrant notes a grant that was given or taken away, of the user or of a group.
func (p *past) changeGrant(e *identity.Event) {
	g, ok := identity.GrantOf(e)
	if !ok {
		return
	}
	if g.TeamID != "" {
		p.teams[g.TeamID] = g.TeamName
	}
	list := &p.own
	switch {
	case e.Object == identity.ObjectGroup:
		list = &p.group(e.ObjectID).gives
	case e.ObjectID != p.user.ID:
		return
	}
	*list = slices.DeleteFunc(*list, func(have identity.Grant) bool {
		return have.Role == g.Role && have.Kind == g.Kind && have.SourceID == g.SourceID && p.sameTeam(&have, &g)
	})
	if e.Type == identity.EventGrantAdded {
		*list = append(*list, g)
	}
}

// sameTeam tells whether two grants are on one team, which events from before they had fields only have the name of.
func (p *past) sameTeam(a, b *identity.Grant) bool {
	if a.TeamID != "" && b.TeamID != "" {
		return a.TeamID == b.TeamID
	}
	return identity.Normalize(p.teamName(a)) == identity.Normalize(p.teamName(b))
}

func (p *past) teamName(g *identity.Grant) string {
	if name, known := p.teams[g.TeamID]; known {
		return name
	}
	return g.TeamName
}

// renameUnnumbered gives a team another name in grants that have only its name. A group's team is called as the group
// is; of renamed ones there was no event of the team's own at that time.
func (p *past) renameUnnumbered(e *identity.Event) {
	for _, f := range e.Fields {
		before, _ := f.Before.(string)
		after, _ := f.After.(string)
		if f.Path != "displayName" && f.Path != "name" || before == "" || after == "" || identity.Normalize(before) == identity.RootTeam {
			continue
		}
		rename := func(list []identity.Grant) {
			for i := range list {
				if list[i].TeamID == "" && identity.Normalize(list[i].TeamName) == identity.Normalize(before) {
					list[i].TeamName = after
				}
			}
		}
		rename(p.own)
		for _, g := range p.groups {
			rename(g.gives)
		}
	}
}

// grants returns every reason for every role of the user.
func (p *past) grants() []identity.Grant {
	var grants []identity.Grant
	add := func(g identity.Grant, sourceName, through string) {
		g.UserID, g.TeamName, g.SourceName, g.Through = p.user.ID, p.teamName(&g), sourceName, through
		grants = append(grants, g)
	}
	for _, g := range p.own {
		add(g, "", "")
	}
	for id, inner := range p.groups {
		if !inner.members[p.user.ID] {
			continue
		}
		for _, g := range inner.gives {
			add(g, inner.name, "")
		}
		for _, outer := range p.around(id) {
			if outer.members[p.user.ID] {
				continue // whoever is in the outer group too holds it so
			}
			for _, g := range outer.gives {
				add(g, outer.name, inner.name)
			}
		}
	}
	return identity.SortGrants(grants)
}

// around returns the groups that a group is in, at any depth.
func (p *past) around(id string) []*pastGroup {
	var found []*pastGroup
	seen := map[string]bool{id: true}
	for next := []string{id}; len(next) > 0; next = next[1:] {
		for outerID, outer := range p.groups {
			if outer.members[next[0]] && !seen[outerID] {
				seen[outerID] = true
				found, next = append(found, outer), append(next, outerID)
			}
		}
	}
	return found
}
