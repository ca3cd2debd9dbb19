package webhook

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// MaxMembers bounds the members that a message names.
const MaxMembers = 1000

// message is a body, as docs/webhooks.md describes it. Keys are added, never changed.
type message struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	EventID          string   `json:"event_id"`
	Sequence         int64    `json:"sequence"`
	Actor            actor    `json:"actor"`
	Object           string   `json:"object"`
	ObjectID         string   `json:"object_id"`
	Name             string   `json:"name"`
	Fields           []field  `json:"fields"`
	Members          []string `json:"members"`
	MembersCount     int      `json:"members_count"`
	MembersTruncated bool     `json:"members_truncated"`
	Reason           string   `json:"reason"`
	RequestID        string   `json:"request_id"`
	RunID            string   `json:"run_id"`
}

type actor struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

type field struct {
	Path   string `json:"path"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// Body returns the message that tells of an event.
func Body(id string, e *identity.Event) ([]byte, error) {
	d := data{
		EventID: id, Sequence: e.Seq, Actor: actor{e.Actor.Kind, e.Actor.ID, e.Actor.Name},
		Object: string(e.Object), ObjectID: e.ObjectID, Name: e.Name, Fields: make([]field, len(e.Fields)),
		Members: e.Members[:min(len(e.Members), MaxMembers)], MembersCount: len(e.Members), MembersTruncated: len(e.Members) > MaxMembers,
		Reason: e.Reason, RequestID: e.Actor.RequestID, RunID: e.Actor.RunID,
	}
	for i, f := range e.Fields {
		d.Fields[i] = field{f.Path, f.Before, f.After}
	}
	if d.Members == nil {
		d.Members = []string{}
	}
	body, err := json.Marshal(message{Type: string(e.Type), Timestamp: e.At.UTC(), Data: d})
	if err != nil {
		return nil, fmt.Errorf("write event %s: %w", id, err)
	}
	return body, nil
}
