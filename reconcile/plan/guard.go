package plan

import (
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// Limits bound the removals of one kind of object in one plan: more than Floor, and more than Percent of what is held or
// more than Max, are held. Max 0 means no such bound.
type Limits struct {
	Percent float64
	Floor   int
	Max     int
}

// Guard stops plans that take too much away. Creates and updates are never its business.
type Guard struct {
	Users   Limits
	Groups  Limits
	Members Limits
}

// DefaultGuard is the guard where a configuration says nothing.
func DefaultGuard() Guard {
	return Guard{
		Users:   Limits{Percent: 10, Floor: 10, Max: 500},
		Groups:  Limits{Percent: 10, Floor: 5},
		Members: Limits{Percent: 20, Floor: 50},
	}
}

// AtMost returns the limits that let through n removals and hold more, whatever their share.
func AtMost(n int) Limits {
	if n == 0 {
		return Limits{}
	}
	return Limits{Percent: 100, Max: n}
}

// HeldHash tells sets of held removals apart: by whom and what they are about, not by the rows' versions.
func HeldHash(h *Hash, c *identity.Change) {
	about := identity.Change{Object: c.Object, Op: c.Op, SourceID: c.SourceID, ID: c.ID, MemberSourceID: c.MemberSourceID, MemberID: c.MemberID}
	if c.Object == identity.ObjectGrant {
		about.Fields = c.Fields
	}
	h.Add(&about)
}

// Count is how many are held before a run, how many the source states, and how many the plan removes.
type Count struct {
	Held     int
	Stated   int
	Removals int
	Recent   int // removals of the last 24 hours, by earlier runs
}

// Tally is what a guard looks at.
type Tally struct {
	Users   Count
	Groups  Count
	Members Count
	Emptied []string // names of groups with a role mapping that would lose their last member
	Gone    []string // names of groups with a role mapping that would be deleted, and have members
}

// Verdict names what is held and why; empty, nothing is.
type Verdict map[identity.Object]string

// Held tells whether anything is held.
func (v Verdict) Held() bool { return len(v) > 0 }

// String lists the reasons, the weightiest kind first.
func (v Verdict) String() string {
	var parts []string
	for _, object := range []identity.Object{identity.ObjectUser, identity.ObjectGroup, identity.ObjectMember} {
		if reason, ok := v[object]; ok {
			parts = append(parts, reason)
		}
	}
	return strings.Join(parts, "; ")
}

// Check says which removals are held.
func (g Guard) Check(t Tally) Verdict {
	v := Verdict{}
	for _, c := range []struct {
		object identity.Object
		noun   string
		count  Count
		limits Limits
	}{
		{identity.ObjectUser, "users", t.Users, g.Users},
		{identity.ObjectGroup, "groups", t.Groups, g.Groups},
		{identity.ObjectMember, "members", t.Members, g.Members},
	} {
		if reason := c.limits.check(c.noun, c.count); reason != "" {
			v[c.object] = reason
		}
	}
	if len(t.Emptied) > 0 && v[identity.ObjectMember] == "" && t.Members.Removals > 0 {
		v[identity.ObjectMember] = fmt.Sprintf("members: %s with a role mapping would be left empty", strings.Join(t.Emptied, ", "))
	}
	if len(t.Gone) > 0 && v[identity.ObjectGroup] == "" && t.Groups.Removals > 0 {
		v[identity.ObjectGroup] = fmt.Sprintf("groups: %s with a role mapping would be deleted", strings.Join(t.Gone, ", "))
	}
	return v
}

// Hold says why so many of those held are not taken away, or "".
func (l Limits) Hold(noun string, removals, held int) string {
	return l.check(noun, Count{Held: held, Stated: held, Removals: removals})
}

func (l Limits) check(noun string, c Count) string {
	if c.Removals == 0 {
		return ""
	}
	if c.Stated == 0 && c.Held > 0 && noun != "members" {
		return fmt.Sprintf("%s: the source states none, %d are held", noun, c.Held)
	}
	removals, held := c.Removals+c.Recent, c.Held+c.Recent
	if removals <= l.Floor {
		return ""
	}
	recent := ""
	if c.Recent > 0 {
		recent = fmt.Sprintf(", with %d in the last 24 hours", c.Recent)
	}
	if share := 100 * float64(removals) / float64(max(held, 1)); share > l.Percent {
		return fmt.Sprintf("%s %.3g %% > %.3g %% (%d of %d%s)", noun, share, l.Percent, c.Removals, c.Held, recent)
	}
	if l.Max > 0 && removals > l.Max {
		return fmt.Sprintf("%s %d > %d%s", noun, removals, l.Max, recent)
	}
	return ""
}
