package connectors_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

func TestParseCheckpoint(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	text := connectors.Checkpoint{Connector: "okta", Scope: "s1", At: at, State: json.RawMessage(`{"cursor":"x"}`)}.String()
	for name, test := range map[string]struct {
		text, connector, scope string
		now                    time.Time
		reason                 string // of the refusal, "" for none
	}{
		"good":                 {text, "okta", "s1", at.Add(time.Hour), ""},
		"just young enough":    {text, "okta", "s1", at.Add(connectors.CheckpointAge), ""},
		"too old":              {text, "okta", "s1", at.Add(connectors.CheckpointAge + time.Second), "144h"},
		"a clock that is slow": {text, "okta", "s1", at.Add(-time.Hour), ""},
		"another connector":    {text, "entra", "s1", at, `connector "okta"`},
		"another scope":        {text, "okta", "s2", at, "scope"},
		"none":                 {"", "okta", "s1", at, "no checkpoint"},
		"garbled":              {text[:len(text)/2], "okta", "s1", at, "no checkpoint"},
		"another version":      {strings.Replace(text, `"v":1`, `"v":0`, 1), "okta", "s1", at, "version"},
	} {
		c, err := connectors.ParseCheckpoint(test.text, test.connector, test.scope, test.now)
		if test.reason == "" {
			if err != nil || string(c.State) != `{"cursor":"x"}` || !c.At.Equal(at) {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
			continue
		}
		if !errors.Is(err, connectors.ErrResync) || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v, want ErrResync with %q", name, err, test.reason)
		}
	}
	if got := connectors.CheckpointTime(text); !got.Equal(at) {
		t.Errorf("CheckpointTime = %v, want %v", got, at)
	}
	if got := connectors.CheckpointTime("x"); !got.IsZero() {
		t.Errorf("CheckpointTime of garbage = %v", got)
	}
}

func TestScopeHash(t *testing.T) {
	t.Parallel()
	one := connectors.ScopeHash("app", []string{"a*"}, true)
	if one != connectors.ScopeHash("app", []string{"a*"}, true) {
		t.Error("the same scope has two hashes")
	}
	for _, other := range [][]any{{"app", []string{"a*"}, false}, {"app", []string{"a*", "b"}, true}, {"ap", []string{"pa*"}, true}, {}} {
		if one == connectors.ScopeHash(other...) {
			t.Errorf("%v has the hash of another scope", other)
		}
	}
}
