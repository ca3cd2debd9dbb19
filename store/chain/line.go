package chain

import (
	"encoding/json"

	"github.com/idpsync/idpsync/store/identity"
)

// Link is what the line of a sealed event has under `chain`: its place, the hash before it, and its own.
type Link struct {
	Seq  int64
	Prev Hash
	Hash Hash
}

// MarshalJSON writes {"hash","prev","seq"}.
func (l Link) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Hash string `json:"hash"`
		Prev string `json:"prev"`
		Seq  int64  `json:"seq"`
	}{l.Hash.String(), l.Prev.String(), l.Seq})
}

// Line returns an event's line in an export, with its end. link is nil where the event is not sealed yet.
func Line(e *identity.Event, link *Link) ([]byte, error) {
	line, err := Canonical(e)
	if err != nil || link == nil {
		return append(line, '\n'), err
	}
	place, err := json.Marshal(link)
	if err != nil {
		return nil, err
	}
	rest := line[len(`{`):]
	return append(append(append([]byte(`{"chain":`), place...), ','), append(rest, '\n')...), nil
}
