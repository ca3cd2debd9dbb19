package entra

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// state is what the connector keeps in a checkpoint.
type state struct {
	Users    string         `json:"users"`  // delta link
	Groups   string         `json:"groups"` // delta link
	Nesting  string         `json:"nesting,omitempty"`
	Asleep   []string       `json:"asleep,omitempty"` // of the nested groups
	Assigned *assignedState `json:"assigned,omitempty"`
}

// assignedState is who was assigned to the application: one by one, or of many their digest.
type assignedState struct {
	Digest string   `json:"digest"`
	Listed bool     `json:"listed"`
	Users  []string `json:"users,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

func newAssignedState(a *assignments) *assignedState {
	if a == nil {
		return nil
	}
	users, groups, digest := a.list()
	s := &assignedState{Digest: digest}
	if len(users)+len(groups) <= mostAssignments {
		s.Listed, s.Users, s.Groups = true, users, groups
	}
	return s
}

// changes returns who was assigned and who was let go since the state was written. ok is false where only that there were
// changes is known.
func (s *assignedState) changes(now *assignments) (came, left assignments, ok bool) {
	if s == nil {
		return came, left, now == nil
	}
	if now == nil {
		return came, left, false
	}
	if _, _, digest := now.list(); digest == s.Digest {
		return came, left, true
	}
	if !s.Listed {
		return came, left, false
	}
	came.users, left.users = difference(s.Users, now.users)
	came.groups, left.groups = difference(s.Groups, now.groups)
	return came, left, true
}

func difference(before []string, now map[guid]bool) (came, left map[guid]bool) {
	came, left = map[guid]bool{}, map[guid]bool{}
	old := make(map[guid]bool, len(before))
	for _, s := range before {
		if id, ok := parseGUID(s); ok {
			old[id] = true
			if !now[id] {
				left[id] = true
			}
		}
	}
	for id := range now {
		if !old[id] {
			came[id] = true
		}
	}
	return came, left
}

// checkpoint writes a checkpoint.
func (c *Connector) checkpoint(at time.Time, s state) string {
	text, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return connectors.Checkpoint{Connector: c.name, Scope: c.scopeHash, At: at, State: text}.String()
}

// continued reads a checkpoint. It returns connectors.ErrResync where it cannot be continued. Its age is judged by whoever
// knows what time it is at Graph.
func (c *Connector) continued(text string) (at time.Time, s state, nested nesting, err error) {
	checkpoint, err := connectors.ParseCheckpoint(text, c.name, c.scopeHash, time.Time{})
	if err != nil {
		return at, s, nested, err
	}
	if err := json.Unmarshal(checkpoint.State, &s); err != nil {
		return at, s, nested, fmt.Errorf("%w: the checkpoint's state cannot be read", connectors.ErrResync)
	}
	if nested, err = parseNesting(s.Nesting); err != nil {
		return at, s, nested, fmt.Errorf("%w: the checkpoint's nesting cannot be read", connectors.ErrResync)
	}
	for _, text := range s.Asleep {
		if id, ok := parseGUID(text); ok {
			nested.sleep(id)
		}
	}
	if !c.sameHost(s.Users) || !c.sameHost(s.Groups) {
		return at, s, nested, fmt.Errorf("%w: the checkpoint's links do not lead to %s", connectors.ErrResync, c.base.Host)
	}
	return checkpoint.At, s, nested, nil
}
