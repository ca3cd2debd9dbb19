package identity

import "time"

// EventType names what happened, as subscribers see it.
type EventType string

// Types of event.
const (
	EventUserCreated       EventType = "user.created"
	EventUserUpdated       EventType = "user.updated"
	EventUserDeactivated   EventType = "user.deactivated"
	EventUserReactivated   EventType = "user.reactivated"
	EventUserConverted     EventType = "user.converted"
	EventUserDeleted       EventType = "user.deleted"
	EventGroupCreated      EventType = "group.created"
	EventGroupUpdated      EventType = "group.updated"
	EventGroupDeleted      EventType = "group.deleted"
	EventMembershipAdded   EventType = "membership.added"
	EventMembershipRemoved EventType = "membership.removed"
	EventGrantAdded        EventType = "grant.added"
	EventGrantRevoked      EventType = "grant.revoked"
	EventTeamCreated       EventType = "team.created"
	EventTeamDeleted       EventType = "team.deleted"
	EventTeamUpdated       EventType = "team.updated"
	EventKeyCreated        EventType = "key.created"
	EventKeyRevoked        EventType = "key.revoked"
	EventKeyDisabled       EventType = "key.disabled"
	EventKeyRotated        EventType = "key.rotated"
	EventKeyEnabled        EventType = "key.enabled"
	EventMappingChanged    EventType = "mapping.changed"
	EventSCIMEnabled       EventType = "scim.enabled"
	EventSCIMDisabled      EventType = "scim.disabled"
	EventRefused           EventType = "change.refused"
	EventSignInSucceeded   EventType = "signin.succeeded"
	EventSignInFailed      EventType = "signin.failed"
	EventSignInBlocked     EventType = "signin.blocked"
	EventSignInUnblocked   EventType = "signin.unblocked"
	EventSessionEnded      EventType = "session.ended"
	EventPasswordChanged   EventType = "password.changed"
	EventUserUnlinked      EventType = "user.unlinked"
	EventRunStarted        EventType = "run.started"
	EventRunFinished       EventType = "run.finished"
	EventDriftFound        EventType = "drift.found"
	EventDriftRepaired     EventType = "drift.repaired"
	EventRunHeld           EventType = "run.held"
	EventRunApproved       EventType = "run.approved"
	EventRunRejected       EventType = "run.rejected"
	EventConflictLinked    EventType = "conflict.linked"
	EventConflictIgnored   EventType = "conflict.ignored"
	EventConflictReopened  EventType = "conflict.reopened"
	EventConnectorPaused   EventType = "connector.paused"
	EventConnectorRestored EventType = "connector.restored"
	EventWebhookDisabled   EventType = "webhook.disabled"
	EventWebhookEnabled    EventType = "webhook.enabled"
	EventWebhookTested     EventType = "webhook.tested"
	EventWebhookAgain      EventType = "webhook.redelivered"
)

// EventTypes returns all types of event.
func EventTypes() []EventType {
	return []EventType{
		EventUserCreated, EventUserUpdated, EventUserDeactivated, EventUserReactivated,
		EventUserConverted, EventUserDeleted, EventGroupCreated, EventGroupUpdated,
		EventGroupDeleted, EventMembershipAdded, EventMembershipRemoved, EventGrantAdded,
		EventGrantRevoked, EventTeamCreated, EventTeamDeleted, EventTeamUpdated,
		EventKeyCreated, EventKeyRevoked, EventKeyDisabled, EventKeyRotated,
		EventKeyEnabled, EventMappingChanged, EventSCIMEnabled, EventSCIMDisabled,
		EventRefused, EventSignInSucceeded, EventSignInFailed, EventSignInBlocked,
		EventSignInUnblocked, EventSessionEnded, EventPasswordChanged, EventUserUnlinked,
		EventRunStarted, EventRunFinished, EventDriftFound, EventDriftRepaired, EventRunHeld,
		EventRunApproved, EventRunRejected, EventConflictLinked, EventConflictIgnored,
		EventConflictReopened, EventConnectorPaused, EventConnectorRestored, EventWebhookDisabled,
		EventWebhookEnabled, EventWebhookTested, EventWebhookAgain,
	}
}

// Actor is who did something: a person, a key, a connector's run or the system itself.
type Actor struct {
	Kind      string // "key", "user", "connector", "cli", "system"
	ID        string // key id, user id, connector name
	Name      string
	RequestID string // id of the request, where there is one
	RunID     string // id of the run, where there is one
}

// Event is one line of the audit log. It is written in the transaction of the change that it tells of.
type Event struct {
	Seq      int64
	ID       string // UUID, given when it is recorded
	At       time.Time
	Type     EventType
	Actor    Actor
	Object   Object
	ObjectID string // id of the user, group or key
	Name     string
	Fields   []FieldChange
	Members  []string // membership events: ids of the users added or removed
	Reason   string
}
