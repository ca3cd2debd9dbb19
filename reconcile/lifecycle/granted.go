package lifecycle

import "github.com/idpsync/idpsync/store/identity"

// granted notes that a grant was given. Every grant is noted so, or by revoked: what somebody might do in the past is told
// from these events (roles.Past). g.TeamName is the team's name now; name is the person's, or the group's.
func (c *change) granted(g identity.Grant, name, reason string) {
	c.event(identity.GrantEvent(true, g, name, reason))
}

// revoked notes that a grant was taken away.
func (c *change) revoked(g identity.Grant, name, reason string) {
	c.event(identity.GrantEvent(false, g, name, reason))
}

// teamRenamed notes that a team has another name: grants on it are told of under the name that it had at the time.
func (c *change) teamRenamed(id, before, after string) {
	c.event(identity.Event{
		Type: identity.EventTeamUpdated, Object: "team", ObjectID: id, Name: after,
		Fields: []identity.FieldChange{{Path: "name", Before: before, After: after}},
	})
}
