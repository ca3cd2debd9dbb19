package identity

import "time"

// Origin tells who vouches for a user at sign-in.
type Origin string

// Origins of a user.
const (
	OriginLocal Origin = "local" // signs in with a password held here
	OriginSSO   Origin = "sso"   // signs in at the identity provider
)

// User is a person as held.
type User struct {
	ID         string // UUID, never reused
	Seq        int64  // small dense number given by the store; orders users and indexes bitmaps
	UserName   string // unique without case
	ExternalID string // the client's identifier (RFC 7643, section 3.1); unique within Source where set
	Active     bool
	Attributes Attributes // everything else, as sent
	Roles      []string   // direct roles on the root team, normalized, from the attribute "roles"

	Origin      Origin
	Source      string      // owning connector, or "scim:<key>"; "" for nobody
	SourceID    string      // immutable id at Source, or ""
	Fingerprint Fingerprint // of the record last found equal to this user; zero means unknown, compare in full

	Version      int64 // grows by one with each change
	Created      time.Time
	LastModified time.Time
	LastPushAt   time.Time // zero: never pushed
	ObservedAt   time.Time // when the read began that last stated this user; zero: never pulled
	DeletedAt    time.Time // zero: not deleted; a deleted user is inactive and hidden from SCIM
	Reason       string    // why the user is inactive, for operators; "" while active
}

// Paths of the hot attributes and of those that have columns.
var (
	PathUserName    = Path{Attr: "userName"}
	PathExternalID  = Path{Attr: "externalId"}
	PathActive      = Path{Attr: "active"}
	PathDisplayName = Path{Attr: "displayName"}
	PathGivenName   = Path{Attr: "name", Sub: "givenName"}
	PathFamilyName  = Path{Attr: "name", Sub: "familyName"}
	PathMembers     = Path{Attr: "members"}
)

// Email returns the primary e-mail address, or "".
func (u *User) Email() string { return u.Attributes.PrimaryEmail() }

// DisplayName returns displayName, else given and family name, else userName.
func (u *User) DisplayName() string {
	if s := u.Attributes.Text(PathDisplayName); s != "" {
		return s
	}
	given, family := u.Attributes.Text(PathGivenName), u.Attributes.Text(PathFamilyName)
	switch {
	case given != "" && family != "":
		return given + " " + family
	case given != "" || family != "":
		return given + family
	}
	return u.UserName
}

// Deleted tells whether the user was deleted over SCIM.
func (u *User) Deleted() bool { return !u.DeletedAt.IsZero() }

// MemberKey returns the user's contribution to the set hash of every group that has it as a member.
func (u *User) MemberKey() SetHash {
	if u.Source != "" && u.SourceID != "" {
		return MemberKey(u.Source, u.SourceID)
	}
	return MemberKey("", u.ID)
}

// Get returns the value at p, hot attributes included.
func (u *User) Get(p Path) any {
	switch p {
	case PathUserName:
		return textOrNil(u.UserName)
	case PathExternalID:
		return textOrNil(u.ExternalID)
	case PathActive:
		return u.Active
	}
	return u.Attributes.Get(p)
}

// Set puts v at p, hot attributes included; nil clears.
func (u *User) Set(p Path, v any) {
	text, _ := v.(string)
	switch p {
	case PathUserName:
		u.UserName = text
	case PathExternalID:
		u.ExternalID = text
	case PathActive:
		u.Active, _ = v.(bool)
	default:
		if u.Attributes == nil {
			u.Attributes = Attributes{}
		}
		u.Attributes.Set(p, v)
	}
}

// Clone returns a copy that shares nothing with u.
func (u *User) Clone() User {
	c := *u
	c.Attributes = u.Attributes.Clone()
	c.Roles = append([]string(nil), u.Roles...)
	return c
}

func textOrNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// HeldUser is what a pull compares a record with first: if the fingerprints agree, nothing more is read.
type HeldUser struct {
	ID          string
	Seq         int64
	SourceID    string
	UserName    string
	Active      bool
	Version     int64
	Fingerprint Fingerprint
}

// Seen notes that a user or group, at a version, was found equal to the record with a fingerprint.
type Seen struct {
	ID          string
	Version     int64
	Fingerprint Fingerprint
}
