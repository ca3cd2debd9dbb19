package connectors

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// CheckpointAge is how old a checkpoint may be. Entra ID forgets its delta links after seven days; what is older than
// this is compared in full, whichever the provider.
const CheckpointAge = 6 * 24 * time.Hour

// checkpointVersion changes whenever what a checkpoint holds does: those of an older program are not continued.
const checkpointVersion = 1

// Checkpoint is where a connector's Changes go on. Outside the connector it is an opaque text: see String and
// ParseCheckpoint.
type Checkpoint struct {
	Connector string          // that made it
	Scope     string          // ScopeHash of what it was configured to pull
	At        time.Time       // by the provider's clock: up to here everything is known
	State     json.RawMessage // the connector's own
}

type checkpointText struct {
	Version   int             `json:"v"`
	Connector string          `json:"connector"`
	Scope     string          `json:"scope"`
	At        time.Time       `json:"at"`
	State     json.RawMessage `json:"state"`
}

// String returns the checkpoint as it is kept.
func (c Checkpoint) String() string {
	text, err := json.Marshal(checkpointText{checkpointVersion, c.Connector, c.Scope, c.At.UTC(), c.State})
	if err != nil {
		return "" // only where State is no JSON: no checkpoint is worse than none
	}
	return string(text)
}

// ParseCheckpoint reads a checkpoint. It returns ErrResync, with the reason, where it cannot be continued: it is not one, of
// another program version, of another connector or scope, or older than CheckpointAge at now.
func ParseCheckpoint(text, connector, scope string, now time.Time) (Checkpoint, error) {
	var t checkpointText
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return Checkpoint{}, fmt.Errorf("%w: there is no checkpoint that can be read", ErrResync)
	}
	c := Checkpoint{t.Connector, t.Scope, t.At, t.State}
	switch {
	case t.Version != checkpointVersion:
		return c, fmt.Errorf("%w: the checkpoint is of another version", ErrResync)
	case t.Connector != connector:
		return c, fmt.Errorf("%w: the checkpoint is of connector %q", ErrResync, t.Connector)
	case t.Scope != scope:
		return c, fmt.Errorf("%w: the scope or the mapping of attributes changed", ErrResync)
	case now.Sub(t.At) > CheckpointAge:
		return c, fmt.Errorf("%w: the checkpoint is %s old", ErrResync, now.Sub(t.At).Round(time.Hour))
	}
	return c, nil
}

// CheckpointTime returns how far a checkpoint knows the provider, by the provider's clock; zero where it is none.
func CheckpointTime(text string) time.Time {
	var t checkpointText
	if json.Unmarshal([]byte(text), &t) != nil {
		return time.Time{}
	}
	return t.At
}

// ScopeHash digests what a connector is configured to pull and how it translates it: any values that JSON can write.
func ScopeHash(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		text = fmt.Appendf(nil, "%#v", parts)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
