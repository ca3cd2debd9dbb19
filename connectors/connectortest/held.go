package connectortest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// held is what a receiver holds of a source, kept by the contract's rules and no other knowledge. It keeps who is a
// member by id, whether they are known or not.
type held struct {
	people     map[string]identity.Record
	groups     map[string]string
	members    map[string]map[string]bool
	checkpoint string
}

// hold returns what a full pull comes to.
func hold(s *stated) *held {
	h := &held{people: map[string]identity.Record{}, groups: map[string]string{}, members: map[string]map[string]bool{}, checkpoint: s.checkpoint}
	for id, r := range s.people {
		if !gone(&r) {
			h.people[id] = r
		}
	}
	for id, g := range s.groups {
		h.groups[id] = g.DisplayName
		h.members[id] = map[string]bool{}
		maps.Copy(h.members[id], s.members[id])
	}
	return h
}

// directory returns what is held, in the form to compare.
func (h *held) directory() directory {
	d := directory{People: map[string]string{}, Groups: maps.Clone(h.groups), Members: map[string][]string{}}
	for id, r := range h.people {
		d.People[id] = describeRecord(&r)
	}
	for id := range h.groups {
		d.Members[id] = d.known(h.members[id])
	}
	return d
}

// changes is what a sequence of changes came to, in the order in which it was stated.
type changes struct {
	people     []statedChange
	doubtful   []string
	groups     []identity.GroupRecord
	members    []identity.MemberRecord
	checkpoint string
	pages      int
	err        error
	wrong      []string
}

type statedChange struct {
	identity.Record
	unscoped bool
}

// collectChanges reads a sequence of changes. It keeps copies, and spoils every page that it has read.
func collectChanges(pages iter.Seq2[connectors.Page, error]) *changes {
	var c changes
	for page, err := range pages {
		switch {
		case c.err != nil:
			c.wrong = append(c.wrong, "something came after the error")
			return &c
		case err != nil:
			c.err = err
			continue
		case c.checkpoint != "":
			c.wrong = append(c.wrong, "a page came after the one with the checkpoint")
		}
		c.take(&page)
		spoil(&page)
	}
	switch {
	case c.err == nil && c.checkpoint == "":
		c.wrong = append(c.wrong, "they end without a checkpoint or an error")
	case c.err != nil && c.checkpoint != "":
		c.wrong = append(c.wrong, "there is a checkpoint, and then an error")
	case errors.Is(c.err, connectors.ErrResync) && c.pages > 0:
		c.wrong = append(c.wrong, "ErrResync came after pages")
	}
	return &c
}

func (c *changes) take(page *connectors.Page) {
	c.pages++
	c.checkpoint = page.Checkpoint
	for _, r := range page.Records {
		if r.SourceID == "" {
			c.wrong = append(c.wrong, "a person is stated without an id")
		}
		r.Attributes = slices.Clone(r.Attributes)
		c.people = append(c.people, statedChange{r, page.Unscoped})
	}
	c.doubtful = append(c.doubtful, page.Doubtful...)
	for _, g := range page.Groups {
		if g.SourceID == "" || g.Gone == (g.DisplayName != "") {
			c.wrong = append(c.wrong, fmt.Sprintf("a group is stated without an id, or neither with a name nor as gone: %+v", g))
		}
		c.groups = append(c.groups, g)
	}
	for _, m := range page.Members {
		if len(m.Removed) > 0 && !m.Delta {
			c.wrong = append(c.wrong, fmt.Sprintf("members of %s are taken out of a whole list", m.GroupID))
		}
		m.UserIDs, m.Removed = slices.Clone(m.UserIDs), slices.Clone(m.Removed)
		c.members = append(c.members, m)
	}
}

// apply does what a receiver does with changes. It reads by id, from c, what they leave open.
func (h *held) apply(ctx context.Context, c connectors.Connector, stated *changes) error {
	before := h.memberships()
	for _, change := range stated.people {
		if err := h.takePerson(ctx, c, &change); err != nil {
			return err
		}
	}
	for _, id := range stated.doubtful {
		if err := h.readPerson(ctx, c, id); err != nil {
			return err
		}
	}
	unknown := map[string]bool{}
	for _, g := range stated.groups {
		if err := h.takeGroup(ctx, c, g, unknown); err != nil {
			return err
		}
	}
	if err := h.takeMembers(stated.members, unknown); err != nil {
		return err
	}
	for _, id := range slices.Sorted(keys(unknown)) {
		if err := h.readGroup(ctx, c, id); err != nil {
			return err
		}
	}
	if err := h.meetMembers(ctx, c); err != nil {
		return err
	}
	after := h.memberships()
	for _, id := range slices.Sorted(maps.Keys(before)) {
		if _, known := h.people[id]; known && after[id] == 0 {
			if err := h.readPerson(ctx, c, id); err != nil {
				return err
			}
		}
	}
	h.checkpoint = stated.checkpoint
	return nil
}

// memberships returns of how many groups everybody is a member.
func (h *held) memberships() map[string]int {
	n := map[string]int{}
	for _, members := range h.members {
		for id := range members {
			n[id]++
		}
	}
	return n
}

func (h *held) takePerson(ctx context.Context, c connectors.Connector, change *statedChange) error {
	r, known := h.people[change.SourceID]
	switch {
	case !known && change.unscoped:
		return h.readPerson(ctx, c, change.SourceID)
	case !known && change.UserName == "":
		if gone(&change.Record) || change.Status != identity.StatusActive {
			return nil
		}
		return fmt.Errorf("the person %s is not known, and a part is stated: %+v", change.SourceID, change.Record)
	}
	r.SourceID = change.SourceID
	if change.UserName != "" {
		r.UserName = change.UserName
	}
	if change.Status != "" && change.Status != identity.StatusUnknown {
		r.Status = change.Status
	}
	r.Attributes = slices.Clone(r.Attributes)
	for _, a := range change.Attributes {
		if i := slices.IndexFunc(r.Attributes, func(b identity.Stated) bool { return a.Path == b.Path }); i >= 0 {
			r.Attributes[i] = a
		} else {
			r.Attributes = append(r.Attributes, a)
		}
	}
	h.put(&r)
	return nil
}

func (h *held) put(r *identity.Record) {
	if gone(r) {
		delete(h.people, r.SourceID)
		return
	}
	h.people[r.SourceID] = *r
}

// readPerson reads by id: what is not found is gone.
func (h *held) readPerson(ctx context.Context, c connectors.Connector, id string) error {
	r, err := c.User(ctx, id)
	switch {
	case errors.Is(err, connectors.ErrNotFound):
		delete(h.people, id)
	case err != nil:
		return fmt.Errorf("read the person %s by id: %w", id, err)
	case r.SourceID != id:
		return fmt.Errorf("read the person %s by id: got %s", id, r.SourceID)
	default:
		h.put(&r)
	}
	return nil
}

func (h *held) takeGroup(ctx context.Context, c connectors.Connector, g identity.GroupRecord, unknown map[string]bool) error {
	_, known := h.groups[g.SourceID]
	switch {
	case g.Gone && known:
		return h.readGroup(ctx, c, g.SourceID)
	case g.Gone:
	case known:
		h.groups[g.SourceID] = g.DisplayName
	default:
		unknown[g.SourceID] = true
	}
	return nil
}

// readGroup reads a group with its members: what is not found is gone.
func (h *held) readGroup(ctx context.Context, c connectors.Connector, id string) error {
	s := collect(c.Group(ctx, id))
	switch {
	case errors.Is(s.err, connectors.ErrNotFound):
		delete(h.groups, id)
		delete(h.members, id)
		return nil
	case s.err != nil:
		return fmt.Errorf("read the group %s: %w", id, s.err)
	case !s.last[id]:
		return fmt.Errorf("read the group %s: its members have no last part", id)
	}
	h.groups[id] = s.groups[id].DisplayName
	h.members[id] = map[string]bool{}
	maps.Copy(h.members[id], s.members[id])
	return nil
}

// takeMembers applies whole lists and changes of them; groups that are not known are noted as such.
func (h *held) takeMembers(stated []identity.MemberRecord, unknown map[string]bool) error {
	parts := map[string]map[string]bool{}
	for _, m := range stated {
		if _, known := h.groups[m.GroupID]; !known {
			unknown[m.GroupID] = true
			continue
		}
		if m.Delta {
			for _, id := range m.UserIDs {
				h.members[m.GroupID][id] = true
			}
			for _, id := range m.Removed {
				delete(h.members[m.GroupID], id)
			}
			continue
		}
		if parts[m.GroupID] == nil {
			parts[m.GroupID] = map[string]bool{}
		}
		for _, id := range m.UserIDs {
			parts[m.GroupID][id] = true
		}
		if m.Last {
			h.members[m.GroupID] = parts[m.GroupID]
			delete(parts, m.GroupID)
		}
	}
	for id := range parts {
		return fmt.Errorf("the members of %s are listed, and have no last part", id)
	}
	return nil
}

// meetMembers reads the members who are not known.
func (h *held) meetMembers(ctx context.Context, c connectors.Connector) error {
	met := map[string]bool{}
	for _, members := range h.members {
		for id := range members {
			if _, known := h.people[id]; known || met[id] {
				continue
			}
			met[id] = true
			if err := h.readPerson(ctx, c, id); err != nil {
				return err
			}
		}
	}
	return nil
}
