package connectortest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

var phases = []connectors.Phase{connectors.PhaseUsers, connectors.PhaseGroups, connectors.PhaseMembers}

// stated is what a full pull came to.
type stated struct {
	people     map[string]identity.Record
	groups     map[string]identity.GroupRecord
	members    map[string]map[string]bool
	last       map[string]bool // groups that were listed to their end
	complete   map[connectors.Phase]bool
	checkpoint string
	resumes    []string // of each page
	err        error
	wrong      []string // what no sequence of pages may do
}

func newStated() *stated {
	return &stated{
		people: map[string]identity.Record{}, groups: map[string]identity.GroupRecord{}, members: map[string]map[string]bool{},
		last: map[string]bool{}, complete: map[connectors.Phase]bool{},
	}
}

// collect reads a pull, of a full one or of a group. It keeps nothing of a page but copies, and spoils every page that
// it has read: pages belong to the receiver.
func collect(pages iter.Seq2[connectors.Page, error]) *stated {
	s := newStated()
	s.read(pages)
	return s
}

func (s *stated) read(pages iter.Seq2[connectors.Page, error]) {
	for page, err := range pages {
		switch {
		case s.err != nil:
			s.complain("something came after the error")
			return
		case err != nil:
			s.err = err
			continue
		case s.checkpoint != "":
			s.complain("a page came after the one with the checkpoint")
		}
		s.take(&page)
		spoil(&page)
	}
}

func (s *stated) complain(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

func (s *stated) take(page *connectors.Page) {
	if !slices.Contains(phases, page.Phase) {
		s.complain("a page is of the phase %q", page.Phase)
	}
	if page.Complete && s.complete[page.Phase] {
		s.complain("the phase %s is complete twice", page.Phase)
	}
	if len(page.Records) > 0 {
		s.late(connectors.PhaseUsers)
	}
	if len(page.Groups) > 0 {
		s.late(connectors.PhaseGroups)
	}
	if len(page.Members) > 0 {
		s.late(connectors.PhaseMembers)
	}
	if page.Unscoped || len(page.Doubtful) > 0 {
		s.complain("a page that states all leaves people to be read by id")
	}
	for i := range page.Records {
		s.takePerson(&page.Records[i])
	}
	for _, g := range page.Groups {
		s.takeGroup(g)
	}
	for _, m := range page.Members {
		s.takeMembers(m)
	}
	s.complete[page.Phase] = s.complete[page.Phase] || page.Complete
	s.checkpoint = page.Checkpoint
	s.resumes = append(s.resumes, page.Resume)
	if page.Checkpoint != "" && !s.whole() {
		s.complain("there is a checkpoint, and not every phase is complete")
	}
}

func (s *stated) late(phase connectors.Phase) {
	if s.complete[phase] {
		s.complain("something is stated of %s after they were complete", phase)
	}
}

func (s *stated) takePerson(r *identity.Record) {
	if _, twice := s.people[r.SourceID]; twice {
		s.complain("the person %s is stated twice", r.SourceID)
	}
	switch {
	case r.SourceID == "" || r.UserName == "" || r.Status == "":
		s.complain("the person %q is stated without an id, user name or status: %+v", r.SourceID, *r)
	case r.ReadAt.IsZero():
		s.complain("when the person %s was read is not said", r.SourceID)
	}
	kept := *r
	kept.Attributes = slices.Clone(r.Attributes)
	s.people[r.SourceID] = kept
}

func (s *stated) takeGroup(g identity.GroupRecord) {
	if _, twice := s.groups[g.SourceID]; twice {
		s.complain("the group %s is stated twice", g.SourceID)
	}
	switch {
	case g.SourceID == "" || g.DisplayName == "":
		s.complain("a group is stated without an id or name: %+v", g)
	case g.Gone:
		s.complain("the group %s is said to be gone where those that there are are listed", g.SourceID)
	case g.ReadAt.IsZero():
		s.complain("when the group %s was read is not said", g.SourceID)
	}
	s.groups[g.SourceID] = g
}

func (s *stated) takeMembers(m identity.MemberRecord) {
	_, known := s.groups[m.GroupID]
	switch {
	case !known:
		s.complain("members come before their group %s", m.GroupID)
	case s.last[m.GroupID]:
		s.complain("members of the group %s come after its last", m.GroupID)
	case m.Delta || len(m.Removed) > 0:
		s.complain("a change of the members of %s is stated where all are listed", m.GroupID)
	}
	if s.members[m.GroupID] == nil {
		s.members[m.GroupID] = map[string]bool{}
	}
	for _, id := range m.UserIDs {
		if s.members[m.GroupID][id] {
			s.complain("%s is stated to be a member of %s twice", id, m.GroupID)
		}
		s.members[m.GroupID][id] = true
	}
	s.last[m.GroupID] = s.last[m.GroupID] || m.Last
}

// whole tells whether every phase is complete.
func (s *stated) whole() bool {
	return s.complete[connectors.PhaseUsers] && s.complete[connectors.PhaseGroups] && s.complete[connectors.PhaseMembers]
}

// directory returns what was stated, in the form to compare.
func (s *stated) directory() directory {
	d := directory{People: map[string]string{}, Groups: map[string]string{}, Members: map[string][]string{}}
	for id, r := range s.people {
		if !gone(&r) {
			d.People[id] = describeRecord(&r)
		}
	}
	for id, g := range s.groups {
		d.Groups[id] = g.DisplayName
		d.Members[id] = d.known(s.members[id])
	}
	return d
}

// known returns the members who are not gone, in order.
func (d directory) known(members map[string]bool) []string {
	ids := []string{}
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if _, ok := d.People[id]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// spoil overwrites what a page holds.
func spoil(page *connectors.Page) {
	for i := range page.Records {
		clear(page.Records[i].Attributes)
		_ = append(page.Records[i].Attributes, identity.Stated{})
	}
	clear(page.Records)
	clear(page.Groups)
	for i := range page.Members {
		clear(page.Members[i].UserIDs)
		clear(page.Members[i].Removed)
	}
	clear(page.Members)
	clear(page.Doubtful)
}

// leak returns the secret that shows in an error, "" for none.
func leak(err error, secrets []string) string {
	if err == nil {
		return ""
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%v %+v %#v ", err, err, err)
	var walk func(error)
	walk = func(err error) {
		fmt.Fprintf(&text, "%v %#v ", err, err)
		switch wrapper := err.(type) { //nolint:errorlint // the tree is walked by hand
		case interface{ Unwrap() error }:
			if inner := wrapper.Unwrap(); inner != nil {
				walk(inner)
			}
		case interface{ Unwrap() []error }:
			for _, inner := range wrapper.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
	for _, secret := range secrets {
		if secret != "" && strings.Contains(text.String(), secret) {
			return secret
		}
	}
	return ""
}

// incomplete tells whether the error leaves phases usable that are complete.
func incomplete(err error) bool {
	var e *connectors.IncompleteError
	return errors.As(err, &e)
}
