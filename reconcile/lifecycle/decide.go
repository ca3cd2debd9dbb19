// Package lifecycle is the one place with rules about people, for push and pull alike. Decide says what becomes of
// somebody and is pure; the Applier does it: state, audit event and outbox entry in one transaction.
package lifecycle

import (
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Stated is what is known of a person's account: a source's status, or one of the two that only we can find.
type Stated = identity.Status

// What no record says.
const (
	// StatedAbsent: the source's complete listing does not have the person any more.
	StatedAbsent Stated = "absent"
	// StatedDeleted: a SCIM client deleted the resource.
	StatedDeleted Stated = "deleted"
)

// Way is how a statement reached us.
type Way int

// Ways.
const (
	Pull Way = iota // read from the source by a connector
	Push            // sent by the source over SCIM
)

// Facts are what Decide needs to know besides the statement and the person.
type Facts struct {
	Way       Way
	Source    string // who states
	Protected string // why break glass protects the person, "" when it does not
	Revive    bool   // Push: a POST, which brings back who was deactivated or deleted
}

// Decision says what becomes of a person.
type Decision struct {
	Op      identity.Op // OpCreate, OpUpdate, OpDeactivate, OpReactivate, OpConvert, OpDelete; "" for nothing
	Active  bool        // whether the person is active afterwards
	Reason  string      // why, for the journal and the audit log
	Refused bool        // break glass: Op is what was asked for, and must not be done
	Profile bool        // whether stated attributes are taken over, too
}

// Decide says what a statement does to the person held, nil for nobody. It is pure, and the whole table is:
//
//	stated     nobody held        held, active           held, inactive          held, deleted
//	active     create             update                 reactivate              reactivate
//	inactive   create, inactive   deactivate             update                  nothing; by POST: update, inactive
//	pending    nothing            deactivate             nothing                 nothing
//	gone       nothing            deactivate             nothing                 nothing
//	unknown    nothing            nothing                nothing                 nothing
//	absent     nothing            deactivate             nothing                 nothing
//	deleted    nothing            delete                 delete                  nothing
//
// A local account that is stated active or inactive is converted to an SSO account. What would convert, deactivate or
// delete a protected person is refused. OpUpdate says that attributes may change; whether they do, Diff knows.
func Decide(stated Stated, held *identity.User, f Facts) Decision {
	d := decide(stated, held, f)
	if held == nil || d.Op == "" {
		return d
	}
	takesOver := stated == identity.StatusActive || stated == identity.StatusInactive
	if held.Origin == identity.OriginLocal && takesOver && d.Op != identity.OpDelete {
		d.Op = identity.OpConvert
		d.Reason = join("local account is stated by "+f.Source, d.Reason)
	}
	if f.Protected != "" {
		switch d.Op {
		case identity.OpConvert, identity.OpDeactivate, identity.OpDelete:
			d.Refused = true
			d.Reason = "break glass: " + f.Protected
		}
	}
	return d
}

func decide(stated Stated, held *identity.User, f Facts) Decision {
	keep := Decision{Active: held != nil && held.Active}
	switch stated {
	case identity.StatusActive:
		switch {
		case held == nil:
			return Decision{Op: identity.OpCreate, Active: true, Profile: true}
		case held.Deleted():
			return Decision{Op: identity.OpReactivate, Active: true, Profile: true, Reason: "stated again after it was deleted"}
		case !held.Active:
			return Decision{Op: identity.OpReactivate, Active: true, Profile: true, Reason: "stated active"}
		}
		return Decision{Op: identity.OpUpdate, Active: true, Profile: true}
	case identity.StatusInactive:
		switch {
		case held == nil:
			return Decision{Op: identity.OpCreate, Profile: true, Reason: "stated inactive"}
		case held.Deleted():
			if f.Revive {
				return Decision{Op: identity.OpUpdate, Profile: true, Reason: "stated again after it was deleted"}
			}
			return keep
		case held.Active:
			return Decision{Op: identity.OpDeactivate, Profile: true, Reason: "stated inactive"}
		}
		return Decision{Op: identity.OpUpdate, Profile: true}
	case identity.StatusPending, identity.StatusGone, StatedAbsent:
		if held != nil && held.Active {
			return Decision{Op: identity.OpDeactivate, Reason: map[Stated]string{
				identity.StatusPending: "not begun at the source", identity.StatusGone: "gone at the source",
				StatedAbsent: "absent",
			}[stated]}
		}
		return keep
	case StatedDeleted:
		if held != nil && !held.Deleted() {
			return Decision{Op: identity.OpDelete, Reason: "deleted over SCIM"}
		}
		return keep
	}
	return keep // unknown, and whatever a newer source may say
}

func join(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "; ")
}

// Match is the outcome of correlation.
type Match struct {
	User       *identity.User // who the record means; nil for nobody held
	How        string         // "source id", "external id", "name", "rehired": why it is this one
	Conflict   string         // why an operator has to decide; "" when nobody has to
	Candidates []string       // of a conflict: ids of those who may be meant
	Former     string         // of a conflict: the immutable id that would have to be gone for it to be none, "" where nothing helps
}

// Correlate finds who is meant by a record of a connector: whoever is held under its immutable id, then whoever has
// that id as externalId, then whoever has its userName or e-mail address, provided that the candidate is the only one,
// without privileges, and owned by nobody, or known to this source under an id that is gone: then the person was hired
// again. Everything else is a conflict, never a guess. Candidates are all who may be meant, in any order; privileged tells
// who of them, by id, is admin or provisioner on the root team; gone, which immutable ids the source was asked for and
// has no more.
func Correlate(r *identity.Record, source string, candidates []identity.User, privileged, gone map[string]bool) Match {
	var byExternal, byName []*identity.User
	names := recordNames(r)
	for i := range candidates {
		c := &candidates[i]
		switch {
		case c.Source == source && c.SourceID == r.SourceID && r.SourceID != "":
			return Match{User: c, How: "source id"}
		case c.ExternalID != "" && c.ExternalID == r.SourceID:
			byExternal = append(byExternal, c)
		case names[identity.Normalize(c.UserName)] || c.Email() != "" && names[identity.Normalize(c.Email())]:
			byName = append(byName, c)
		}
	}
	matched, how := byExternal, "external id"
	if len(matched) == 0 {
		matched, how = byName, "name"
	}
	switch {
	case len(matched) == 0:
		return Match{}
	case len(matched) > 1:
		m := Match{Conflict: fmt.Sprintf("two accounts may be meant: %s and %s", describe(matched[0]), describe(matched[1]))}
		for _, c := range matched {
			m.Candidates = append(m.Candidates, c.ID)
		}
		return m
	}
	c := matched[0]
	conflict := func(format string, args ...any) Match {
		return Match{Conflict: describe(c) + " " + fmt.Sprintf(format, args...), Candidates: []string{c.ID}}
	}
	owned := c.Source != "" && c.Source != source && !Pushed(c.Source)
	switch {
	case owned:
		return conflict("is owned by %s", c.Source)
	case how == "external id":
		return Match{User: c, How: how}
	case c.Source == source && c.SourceID != "" && privileged[c.ID]:
		return conflict("is known to %s as %s, and a privileged account", source, c.SourceID)
	case c.Source == source && c.SourceID != "" && gone[c.SourceID]:
		return Match{User: c, How: "rehired"}
	case c.Source == source && c.SourceID != "":
		m := conflict("is known to %s as %s", source, c.SourceID)
		m.Former = c.SourceID
		return m
	case c.Source != "":
		return conflict("is owned by %s", c.Source)
	case privileged[c.ID]:
		return conflict("is a privileged account")
	}
	return Match{User: c, How: how}
}

func describe(u *identity.User) string { return fmt.Sprintf("%s (%s)", u.UserName, u.ID) }

// Pushed tells whether a source is a SCIM key that is bound to no connector.
func Pushed(source string) bool { return strings.HasPrefix(source, "scim:") }

func recordNames(r *identity.Record) map[string]bool {
	names := map[string]bool{}
	for _, name := range RecordNames(r) {
		names[identity.Normalize(name)] = true
	}
	return names
}

// RecordNames returns the names by which a record may be found: its userName and its primary e-mail address.
func RecordNames(r *identity.Record) []string {
	names := []string{r.UserName}
	for i := range r.Attributes {
		s := &r.Attributes[i]
		if s.Path.Schema == "" && s.Path.Attr == "emails" && s.Path.Type == "work" && s.Path.Sub == "value" {
			if email, _ := s.Value.(string); email != "" {
				names = append(names, email)
			}
		}
	}
	return names
}
