package reconcile_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// directory is a source in memory. Its exported fields may be changed between pulls.
type directory struct {
	mu sync.Mutex // of Reads

	Users   map[string]*person           // by immutable id
	Groups  map[string]string            // display name by immutable id
	Members map[string]map[string]bool   // user ids by group id
	Fail    map[connectors.Phase]error   // phases that end in an error before their last page
	Hidden  map[string]bool              // users that the listing leaves out, though they are there
	Broken  map[string]error             // users and groups that cannot be read by id
	OnPage  func(phase connectors.Phase) // called before each page is handed out
	PerPage int                          // records on a page; default 3
	Reads   []string                     // ids that were read one by one
	Clock   func() time.Time             // default time.Now

	Incremental bool // gives checkpoints and knows what changed since
	Deltas      bool // states who came and who left, not whole memberships
	Partial     bool // states of people only what changed
	Scoped      bool // only members of a group are in scope
	Resync      bool // refuses its checkpoints
	snapshots   []snapshot
}

// snapshot is a directory as it was when a checkpoint was given.
type snapshot struct {
	users   map[string]person
	groups  map[string]string
	members map[string]map[string]bool
}

type person struct {
	Name   string // userName and e-mail address
	Title  string
	Status identity.Status
}

var (
	_ connectors.Connector   = (*directory)(nil)
	_ connectors.GroupLister = (*directory)(nil)
)

func newDirectory() *directory {
	return &directory{
		Users: map[string]*person{}, Groups: map[string]string{}, Members: map[string]map[string]bool{},
		Fail: map[connectors.Phase]error{}, Hidden: map[string]bool{}, Broken: map[string]error{},
	}
}

func (d *directory) add(id, name string) *person {
	p := &person{Name: name, Title: "Engineer", Status: identity.StatusActive}
	d.Users[id] = p
	return p
}

func (d *directory) join(group string, users ...string) {
	if d.Members[group] == nil {
		d.Members[group] = map[string]bool{}
	}
	for _, u := range users {
		d.Members[group][u] = true
	}
}

func (d *directory) leave(user string) {
	for _, members := range d.Members {
		delete(members, user)
	}
}

var (
	pathEmail = identity.Path{Attr: "emails", Type: "work", Sub: "value"}
	pathTitle = identity.Path{Attr: "title"}
)

func (d *directory) record(id string, at time.Time) identity.Record {
	p := d.Users[id]
	r := identity.Record{
		SourceID: id, UserName: p.Name, ExternalID: id, Status: p.Status, RawStatus: string(p.Status), ReadAt: at,
		Attributes: []identity.Stated{
			{Path: pathEmail, Value: p.Name},
			{Path: identity.PathGivenName, Value: "Given " + id},
			{Path: identity.PathFamilyName, Value: "Family"},
		},
	}
	if p.Title == "" {
		r.Attributes = append(r.Attributes, identity.Stated{Path: pathTitle})
	} else {
		r.Attributes = append(r.Attributes, identity.Stated{Path: pathTitle, Value: p.Title})
	}
	return r
}

func (d *directory) now() time.Time {
	if d.Clock != nil {
		return d.Clock()
	}
	return time.Now()
}

func (d *directory) Check(context.Context) (connectors.Report, error) {
	return connectors.Report{}, nil
}

func (d *directory) Requests() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.Reads))
}

func (d *directory) Full(ctx context.Context, _ string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		checkpoint := d.checkpoint()
		give := func(p connectors.Page) bool {
			if p.Phase == connectors.PhaseMembers && p.Complete && len(d.Fail) == 0 {
				p.Checkpoint = checkpoint
			}
			if d.OnPage != nil {
				d.OnPage(p.Phase)
			}
			return yield(p, nil)
		}
		size := max(d.PerPage, 3)
		var listed []string
		for _, id := range slices.Sorted(maps.Keys(d.Users)) {
			if s := d.Users[id].Status; !d.Hidden[id] && s != identity.StatusGone && d.inScope(id) {
				listed = append(listed, id)
			}
		}
		pages := slices.Collect(slices.Chunk(listed, size))
		if len(pages) == 0 {
			pages = [][]string{nil}
		}
		for i, chunk := range pages {
			last := i == len(pages)-1
			if err := d.Fail[connectors.PhaseUsers]; err != nil && last {
				if !yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseUsers, Err: err}) {
					return
				}
				break
			}
			p := connectors.Page{Phase: connectors.PhaseUsers, Complete: last}
			at := d.now()
			for _, id := range chunk {
				if d.Users[id] != nil { // else gone since the listing began
					p.Records = append(p.Records, d.record(id, at))
				}
			}
			if !give(p) {
				return
			}
		}
		if err := d.Fail[connectors.PhaseGroups]; err != nil {
			if !yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseGroups, Err: err}) {
				return
			}
		} else {
			p := connectors.Page{Phase: connectors.PhaseGroups, Complete: true}
			for _, id := range slices.Sorted(maps.Keys(d.Groups)) {
				if d.Hidden[id] {
					continue
				}
				p.Groups = append(p.Groups, identity.GroupRecord{SourceID: id, DisplayName: d.Groups[id], ExternalID: id, ReadAt: d.now()})
			}
			if !give(p) {
				return
			}
		}
		if err := d.Fail[connectors.PhaseMembers]; err != nil {
			yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseMembers, Err: err})
			return
		}
		groups := slices.DeleteFunc(slices.Sorted(maps.Keys(d.Groups)), func(id string) bool { return d.Hidden[id] })
		if len(groups) == 0 {
			give(connectors.Page{Phase: connectors.PhaseMembers, Complete: true})
		}
		for i, id := range groups {
			members := slices.Sorted(maps.Keys(d.Members[id]))
			half := len(members) / 2
			if half > 0 && !give(connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{{GroupID: id, UserIDs: members[:half]}}}) {
				return
			}
			p := connectors.Page{Phase: connectors.PhaseMembers, Complete: i == len(groups)-1}
			p.Members = []identity.MemberRecord{{GroupID: id, UserIDs: members[half:], Last: true}}
			if !give(p) {
				return
			}
		}
	}
}

// inScope tells whether somebody is to be provisioned.
func (d *directory) inScope(id string) bool {
	if !d.Scoped {
		return true
	}
	for group := range d.Groups {
		if d.Members[group][id] {
			return true
		}
	}
	return false
}

// checkpoint remembers the directory as it is and returns what finds it again.
func (d *directory) checkpoint() string {
	if !d.Incremental {
		return ""
	}
	now := snapshot{map[string]person{}, maps.Clone(d.Groups), map[string]map[string]bool{}}
	for id, p := range d.Users {
		now.users[id] = *p
	}
	for id, members := range d.Members {
		now.members[id] = maps.Clone(members)
	}
	d.snapshots = append(d.snapshots, now)
	return connectors.Checkpoint{Connector: "okta", At: d.now(), State: fmt.Appendf(nil, "%d", len(d.snapshots)-1)}.String()
}

// Changes states what changed since the checkpoint, and once more who changed in the step before: sources overlap.
func (d *directory) Changes(_ context.Context, text string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		c, err := connectors.ParseCheckpoint(text, "okta", "", d.now())
		if err == nil && d.Resync {
			err = connectors.ErrResync
		}
		if err != nil {
			yield(connectors.Page{}, err)
			return
		}
		at, _ := strconv.Atoi(string(c.State))
		checkpoint := d.checkpoint()
		users, groups, members := d.changedUsers(d.snapshots[at]), d.changedGroups(d.snapshots[at]), d.changedMembers(d.snapshots[at])
		again := d.changedUsers(d.snapshots[max(at-1, 0)])
		users.Records = append(again.Records, users.Records...)
		if !yield(users, nil) {
			return
		}
		if err := d.Fail[connectors.PhaseUsers]; err != nil && !yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseUsers, Err: err}) {
			return
		}
		if !yield(groups, nil) {
			return
		}
		if err := d.Fail[connectors.PhaseMembers]; err != nil {
			yield(connectors.Page{}, &connectors.IncompleteError{Phase: connectors.PhaseMembers, Err: err})
			return
		}
		if len(d.Fail) == 0 {
			members.Checkpoint = checkpoint
		}
		yield(members, nil)
	}
}

func (d *directory) changedUsers(old snapshot) connectors.Page {
	page := connectors.Page{Phase: connectors.PhaseUsers, Unscoped: d.Scoped}
	for _, id := range slices.Sorted(maps.Keys(d.Users)) {
		before, known := old.users[id]
		if known && before == *d.Users[id] {
			continue
		}
		r := d.record(id, d.now())
		if known && d.Partial {
			if before.Name == d.Users[id].Name {
				r.UserName = ""
			}
			if before.Status == d.Users[id].Status {
				r.Status, r.RawStatus = "", ""
			}
			if before.Title == d.Users[id].Title {
				r.Attributes = slices.DeleteFunc(r.Attributes, func(s identity.Stated) bool { return s.Path == pathTitle })
			}
		}
		page.Records = append(page.Records, r)
	}
	for _, id := range slices.Sorted(maps.Keys(old.users)) {
		if d.Users[id] == nil {
			page.Doubtful = append(page.Doubtful, id)
		}
	}
	return page
}

func (d *directory) changedGroups(old snapshot) connectors.Page {
	page := connectors.Page{Phase: connectors.PhaseGroups}
	for _, id := range slices.Sorted(maps.Keys(d.Groups)) {
		if name, known := old.groups[id]; !known || name != d.Groups[id] {
			page.Groups = append(page.Groups, identity.GroupRecord{SourceID: id, DisplayName: d.Groups[id], ExternalID: id, ReadAt: d.now()})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old.groups)) {
		if _, there := d.Groups[id]; !there {
			page.Groups = append(page.Groups, identity.GroupRecord{SourceID: id, Gone: true, ReadAt: d.now()})
		}
	}
	return page
}

func (d *directory) changedMembers(old snapshot) connectors.Page {
	page := connectors.Page{Phase: connectors.PhaseMembers}
	for _, id := range slices.Sorted(maps.Keys(d.Groups)) {
		if maps.Equal(old.members[id], d.Members[id]) {
			continue
		}
		m := identity.MemberRecord{GroupID: id, Last: !d.Deltas, Delta: d.Deltas}
		for _, user := range slices.Sorted(maps.Keys(d.Members[id])) {
			if !d.Deltas || !old.members[id][user] {
				m.UserIDs = append(m.UserIDs, user)
			}
		}
		for _, user := range slices.Sorted(maps.Keys(old.members[id])) {
			if d.Deltas && !d.Members[id][user] {
				m.Removed = append(m.Removed, user)
			}
		}
		page.Members = append(page.Members, m)
	}
	return page
}

func (d *directory) User(_ context.Context, id string) (identity.Record, error) {
	d.mu.Lock() // people are read several at a time
	d.Reads = append(d.Reads, id)
	d.mu.Unlock()
	if err := d.Broken[id]; err != nil {
		return identity.Record{}, err
	}
	if d.Users[id] == nil || !d.inScope(id) {
		return identity.Record{}, fmt.Errorf("user %s: %w", id, connectors.ErrNotFound)
	}
	return d.record(id, d.now()), nil
}

// GroupsOf returns whose member somebody is.
func (d *directory) GroupsOf(_ context.Context, id string) ([]string, error) {
	if err := d.Broken[id]; err != nil {
		return nil, err
	}
	var groups []string
	for group := range d.Groups {
		if d.Members[group][id] {
			groups = append(groups, group)
		}
	}
	return groups, nil
}

func (d *directory) Group(_ context.Context, id string) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		name, there := d.Groups[id]
		switch err := d.Broken[id]; {
		case err != nil:
			yield(connectors.Page{}, err)
		case !there:
			yield(connectors.Page{}, fmt.Errorf("group %s: %w", id, connectors.ErrNotFound))
		default:
			g := identity.GroupRecord{SourceID: id, DisplayName: name, ExternalID: id, ReadAt: d.now()}
			if yield(connectors.Page{Phase: connectors.PhaseGroups, Groups: []identity.GroupRecord{g}, Complete: true}, nil) {
				m := identity.MemberRecord{GroupID: id, UserIDs: slices.Sorted(maps.Keys(d.Members[id])), Last: true}
				yield(connectors.Page{Phase: connectors.PhaseMembers, Members: []identity.MemberRecord{m}, Complete: true}, nil)
			}
		}
	}
}
