package identity

import "time"

// Group is a group as held. Its members are pairs in the store, never part of this value.
type Group struct {
	ID          string // UUID, never reused
	Seq         int64  // small dense number given by the store
	DisplayName string // unique without case
	ExternalID  string
	Attributes  Attributes // everything else, as sent
	Source      string     // owning connector, or "scim:<key>"; "" for nobody
	SourceID    string     // immutable id at Source, or ""
	Fingerprint Fingerprint
	MemberCount int
	MemberHash  SetHash // order-free hash of the members' keys
	TeamID      string  // the team that this group became

	Version      int64
	Created      time.Time
	LastModified time.Time
	LastPushAt   time.Time
	ObservedAt   time.Time
}

// Team is what grants are given on: "root", the team of a group, or a local team.
type Team struct {
	ID      string
	Name    string   // unique without case
	GroupID string   // the group behind it, or "" for root and local teams
	Kept    bool     // stays when nothing is granted on it: root, and what an administrator made
	Scope   []string // what the team's roles are for, in the application's own words; empty means everything
	Created time.Time
}

// RootTeam is the name of the team that always exists.
const RootTeam = "root"

// RootTeamID is the id of the root team in every installation.
const RootTeamID = "00000000-0000-4000-8000-000000000001"

// Role names a set of permissions. The built-in ones follow; a configuration may add more.
type Role = string

// Built-in roles.
const (
	RoleAdmin           Role = "admin"
	RoleViewer          Role = "viewer"
	RoleOperator        Role = "operator"
	RoleSCIMProvisioner Role = "scim_provisioner"
)

// BuiltInRoles lists the roles that every installation has.
func BuiltInRoles() []Role {
	return []Role{RoleAdmin, RoleViewer, RoleOperator, RoleSCIMProvisioner}
}

// GrantKind tells where a grant comes from.
type GrantKind string

// Kinds of grant.
const (
	GrantGroup  GrantKind = "group"  // by membership of the group SourceID
	GrantDirect GrantKind = "direct" // by the user's own attribute "roles"
	GrantManual GrantKind = "manual" // by an administrator, SourceID
	GrantJIT    GrantKind = "jit"    // by a sign-in
)

// TeamRole is a role on a team.
type TeamRole struct {
	Team string `json:"team"`
	Role Role   `json:"role"`
}

// RoleRule gives the members of one group roles on teams.
type RoleRule struct {
	Group  string     `json:"group"` // externalId, id or displayName (compared without case)
	Grants []TeamRole `json:"grants"`
}

// Grant is one reason why a user has a role on a team. The role is held while any grant of it stands.
type Grant struct {
	UserID     string
	TeamID     string
	TeamName   string
	Role       Role
	Kind       GrantKind
	SourceID   string // group id, user id of the granting administrator, or "" for direct roles
	SourceName string // name of what SourceID identifies, filled on reads
	Through    string // names of the nested groups by which the user is in the group, "" for a member of its own; filled on reads
}
