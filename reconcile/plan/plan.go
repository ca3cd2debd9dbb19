// Package plan compares what a source states with what is held, and guards against plans that take too much away. It
// is pure: snapshots go in, changes and verdicts come out.
package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store/identity"
)

// UserSnapshot is what is held of the people on one page.
type UserSnapshot struct {
	Held       map[string]identity.HeldUser // by the source's id
	Users      map[string]identity.User     // whole, by id: those whose fingerprint does not agree
	Candidates []identity.User              // whom unknown records may mean
	Privileged map[string]bool              // candidates' ids: admin or provisioner on the root team
	Gone       map[string]bool              // immutable ids that the source was asked for and has no more
	Local      Local                        // attributes that the source has no say in once somebody is held
}

// Unsettled lists what has to be read before Users can compare a page: ids of held users whose fingerprint does not
// agree, and the immutable ids and names of records that nobody is held for.
func Unsettled(records []identity.Record, held map[string]identity.HeldUser, local Local) (users, sourceIDs, names []string) {
	for i := range records {
		r := &records[i]
		h, known := held[r.SourceID]
		switch {
		case !known:
			sourceIDs = append(sourceIDs, r.SourceID)
			names = append(names, lifecycle.RecordNames(r)...)
		case h.Fingerprint != local.Digest(r):
			users = append(users, h.ID)
		}
	}
	return users, sourceIDs, names
}

// Former lists the immutable ids by which candidates are known whom an unknown record of a page may be hired again: if the
// source has one of them no more, the record takes the account over.
func Former(source string, records []identity.Record, s UserSnapshot) []string {
	var ids []string
	for i := range records {
		r := &records[i]
		if _, known := s.Held[r.SourceID]; known || !takesOver(r) {
			continue
		}
		if id := lifecycle.Correlate(r, source, s.Candidates, s.Privileged, s.Gone).Former; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// takesOver tells whether a record may make somebody, or take an account over.
func takesOver(r *identity.Record) bool {
	return r.Status == identity.StatusActive || r.Status == identity.StatusInactive
}

// Users compares one page of records with its snapshot. Seen are users who were found equal in full, whose fingerprints
// may be stored so that the next comparison is short.
func Users(source string, records []identity.Record, s UserSnapshot) (changes []identity.Change, seen []identity.Seen) {
	for i := range records {
		r := &records[i]
		digest := s.Local.Digest(r)
		h, known := s.Held[r.SourceID]
		if known && h.Fingerprint == digest {
			continue
		}
		var held *identity.User
		rehired := ""
		if known {
			u, ok := s.Users[h.ID]
			if !ok {
				continue // gone since the snapshot began: the next run sees it as unknown
			}
			held = &u
		} else {
			match := lifecycle.Correlate(r, source, s.Candidates, s.Privileged, s.Gone)
			if match.Conflict != "" {
				if takesOver(r) {
					changes = append(changes, conflict(r, match))
				}
				continue
			}
			if match.User != nil && match.How != "source id" && !takesOver(r) {
				continue // nobody loses access over an account that the source does not own
			}
			held = match.User
			if match.How == "rehired" {
				rehired = fmt.Sprintf("rehired: %s was %s before", held.UserName, held.SourceID)
			}
		}
		if c, ok := user(source, r, held, s.Local); ok {
			c.Fingerprint, c.ReadAt, c.Status = digest, r.ReadAt, statusOf(r, held)
			if rehired != "" {
				c.Reason = rehired
			}
			changes = append(changes, c)
		} else if held != nil && held.Source == source && held.SourceID == r.SourceID {
			seen = append(seen, identity.Seen{ID: held.ID, Version: held.Version, Fingerprint: digest})
		}
	}
	return changes, seen
}

func conflict(r *identity.Record, match lifecycle.Match) identity.Change {
	return identity.Change{
		Object: identity.ObjectUser, Op: identity.OpConflict, SourceID: r.SourceID, Name: r.UserName, Reason: match.Conflict,
		State: identity.StateSkipped, ReadAt: r.ReadAt, Status: r.Status, Candidates: match.Candidates,
	}
}

// user is the change that one record makes to one person, if any.
func user(source string, r *identity.Record, held *identity.User, local Local) (identity.Change, bool) {
	d := lifecycle.Decide(statusOf(r, held), held, lifecycle.Facts{Way: lifecycle.Pull, Source: source})
	if d.Op == "" {
		return identity.Change{}, false
	}
	c := identity.Change{
		Object: identity.ObjectUser, Op: d.Op, SourceID: r.SourceID, Name: r.UserName, Reason: d.Reason,
		State: identity.StatePlanned,
	}
	before := &identity.User{}
	if held != nil {
		before = held
		c.ID, c.Name, c.Version = held.ID, held.UserName, held.Version
	}
	adopted := held != nil && (held.Source != source || held.SourceID != r.SourceID)
	if d.Profile {
		c.Fields = identity.Diff(before, r)
		if held != nil && !adopted {
			c.Fields = local.without(c.Fields)
		}
	}
	if held == nil || held.Active != d.Active {
		field := identity.FieldChange{Path: identity.PathActive.String(), After: d.Active}
		if held != nil {
			field.Before = held.Active
		}
		c.Fields = append(c.Fields, field)
	}
	if d.Op == identity.OpUpdate && len(c.Fields) == 0 && !adopted {
		return identity.Change{}, false
	}
	if adopted && c.Reason == "" {
		c.Reason = "taken over by " + source
	}
	if d.Op == identity.OpDeactivate && r.RawStatus != "" {
		c.Reason = fmt.Sprintf("%s: %s", d.Reason, r.RawStatus)
	}
	return c, true
}

// statusOf is what a record says of an account; one that says nothing of it means that it is as it was.
func statusOf(r *identity.Record, held *identity.User) identity.Status {
	switch {
	case r.Status != "" || held == nil:
		return r.Status
	case held.Active:
		return identity.StatusActive
	}
	return identity.StatusInactive
}

// Absent is the change for somebody whom a complete listing does not have any more.
func Absent(h identity.HeldUser) identity.Change {
	return identity.Change{
		Object: identity.ObjectUser, Op: identity.OpDeactivate, SourceID: h.SourceID, ID: h.ID, Name: h.UserName,
		Version: h.Version, Reason: "absent from the source's listing", State: identity.StatePlanned, Absent: true,
		Fingerprint: identity.AbsentFingerprint(),
		Fields:      []identity.FieldChange{{Path: identity.PathActive.String(), Before: true, After: false}},
	}
}

// GroupSnapshot is what is held of the groups on one page.
type GroupSnapshot struct {
	Held       map[string]identity.Group // by the source's id
	Candidates []identity.Group          // whom unknown records may mean
}

// Groups compares one page of group records with its snapshot.
func Groups(source string, records []identity.GroupRecord, s GroupSnapshot) (changes []identity.Change, seen []identity.Seen) {
	for i := range records {
		r := &records[i]
		digest := r.Fingerprint()
		held, known := s.Held[r.SourceID]
		if known && held.Fingerprint == digest {
			continue
		}
		c := identity.Change{
			Object: identity.ObjectGroup, SourceID: r.SourceID, Name: r.DisplayName, State: identity.StatePlanned,
			Fingerprint: digest, ReadAt: r.ReadAt,
		}
		if !known {
			match, reason := correlateGroup(r, source, s.Candidates)
			if reason != "" {
				c.Op, c.Reason, c.State = identity.OpConflict, reason, identity.StateSkipped
				c.Candidates = []string{match.ID}
				changes = append(changes, c)
				continue
			}
			if match == nil {
				c.Op = identity.OpCreate
				c.Fields = groupFields(&identity.Group{}, r)
				changes = append(changes, c)
				continue
			}
			held = *match
			c.Reason = "taken over by " + source
		}
		c.Op, c.ID, c.Name, c.Version = identity.OpUpdate, held.ID, held.DisplayName, held.Version
		c.Fields = groupFields(&held, r)
		if len(c.Fields) == 0 && known {
			seen = append(seen, identity.Seen{ID: held.ID, Version: held.Version, Fingerprint: digest})
			continue
		}
		changes = append(changes, c)
	}
	return changes, seen
}

func groupFields(held *identity.Group, r *identity.GroupRecord) []identity.FieldChange {
	var fields []identity.FieldChange
	add := func(path, before, after string) {
		if before == after {
			return
		}
		f := identity.FieldChange{Path: path, After: after}
		if before != "" {
			f.Before = before
		}
		fields = append(fields, f)
	}
	add("displayName", held.DisplayName, r.DisplayName)
	add("externalId", held.ExternalID, r.ExternalID)
	return fields
}

// correlateGroup finds the group that an unknown record means: one that has its immutable id as externalId, or a group
// of its name that no connector owns. Groups carry no credentials, so a name is enough where nobody else claims it. With
// a reason it is the group that stands in the way.
func correlateGroup(r *identity.GroupRecord, source string, candidates []identity.Group) (*identity.Group, string) {
	var byName *identity.Group
	for i := range candidates {
		c := &candidates[i]
		owned := c.Source != "" && c.Source != source && !lifecycle.Pushed(c.Source)
		switch {
		case c.ExternalID != "" && c.ExternalID == r.SourceID:
			if owned {
				return c, fmt.Sprintf("group %q (%s) is owned by %s", c.DisplayName, c.ID, c.Source)
			}
			return c, ""
		case identity.Normalize(c.DisplayName) == identity.Normalize(r.DisplayName):
			byName = c
		}
	}
	if byName == nil {
		return nil, ""
	}
	switch byName.Source {
	case "":
		return byName, ""
	case source:
		// The old group of that name is renamed or gone at the source, and yields the name in the same run.
		return nil, ""
	default:
		return byName, fmt.Sprintf("the name %q belongs to a group (%s) of %s", r.DisplayName, byName.ID, byName.Source)
	}
}

// AbsentGroup is the change for a group that a complete listing does not have any more.
func AbsentGroup(g *identity.Group) identity.Change {
	return identity.Change{
		Object: identity.ObjectGroup, Op: identity.OpDelete, SourceID: g.SourceID, ID: g.ID, Name: g.DisplayName,
		Version: g.Version, Reason: "absent from the source's listing", State: identity.StatePlanned, Absent: true,
		Fields: []identity.FieldChange{{Path: "displayName", Before: g.DisplayName}},
	}
}

// Member is the change of one membership. groupID and userID are "" for what is yet to be created.
func Member(op identity.Op, groupSourceID, groupID, groupName, userSourceID, userID, userName string) identity.Change {
	c := identity.Change{
		Object: identity.ObjectMember, Op: op, SourceID: groupSourceID, ID: groupID, Name: groupName,
		MemberSourceID: userSourceID, MemberID: userID, State: identity.StatePlanned,
	}
	field := identity.FieldChange{Path: identity.PathMembers.String()}
	if op == identity.OpAdd {
		field.After = userName
	} else {
		field.Before = userName
	}
	c.Fields = []identity.FieldChange{field}
	return c
}

// Hash sums up a plan whatever the order of its changes: the same set of changes has the same hash, and approving one
// means it. The zero value is the empty plan's. It is not safe for concurrent use.
type Hash struct {
	lanes [4]uint64
	n     uint64
}

// Add adds a change to the plan. Conflicts, which are never applied, do not count.
func (h *Hash) Add(c *identity.Change) {
	if c.Op == identity.OpConflict {
		return
	}
	sum := digest(c)
	for i := range h.lanes {
		h.lanes[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	h.n++
}

// Remove takes a change out of the plan again: it was found to be none.
func (h *Hash) Remove(c *identity.Change) {
	sum := digest(c)
	for i := range h.lanes {
		h.lanes[i] -= binary.BigEndian.Uint64(sum[8*i:])
	}
	h.n--
}

func digest(c *identity.Change) [sha256.Size]byte {
	b, err := json.Marshal([]any{c.Object, c.Op, c.SourceID, c.ID, c.MemberSourceID, c.MemberID, c.Fields, c.Version})
	if err != nil {
		b = fmt.Appendf(nil, "%#v", c)
	}
	return sha256.Sum256(b)
}

// String returns "sha256:" and the hash in hexadecimal.
func (h *Hash) String() string {
	b := binary.BigEndian.AppendUint64(nil, h.n)
	for _, lane := range h.lanes {
		b = binary.BigEndian.AppendUint64(b, lane)
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
