package cli_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/scimtest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// pushed is a running program that identity providers push to.
type pushed struct {
	t   *testing.T
	h   *house
	dir string
	env []string
}

// TestServe_Conversations lets identity providers talk to the program itself, all at once, each with a key of its own,
// and then asks the program what has become of the people.
func TestServe_Conversations(t *testing.T) {
	all, err := scimtest.All()
	if err != nil {
		t.Fatal(err)
	}
	// One program for each set of settings.
	sets := map[string][]*scimtest.Conversation{}
	for _, c := range all {
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
			lines = append(lines, name+": "+c.Settings[name])
		}
		config := "listen: 127.0.0.1:0\ndatabase: ${DATABASE}\nscim: {" + strings.Join(append(lines, "enabled: true"), ", ") + "}\n"
		sets[config] = append(sets[config], c)
	}
	eachDatabase(t, func(t *testing.T, dsn string) {
		for config, conversations := range sets {
			h := newHouse(t, dsn)
			dir, env := furnished(t, h, config)
			converse(t, &pushed{t, h, dir, env}, conversations)
		}
	})
}

func converse(t *testing.T, p *pushed, conversations []*scimtest.Conversation) {
	t.Helper()
	admin := "admin" + conversations[0].Name + "@acme.test"
	output(t, p.dir, p.env, "admin", "create", admin, "--scim")
	keys := map[string]string{}
	for _, c := range conversations {
		keys[c.Name] = strings.TrimSpace(output(t, p.dir, p.env, "keys", "create", "--user", admin, "--name", c.Name))
	}
	program := start(t, p.dir, p.env, "serve")
	url := program.url()
	t.Run("all", func(t *testing.T) {
		for _, c := range conversations {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				values, err := scimtest.Replay(t.Context(), http.DefaultClient, url+scim.Root, keys[c.Name], c)
				if err != nil {
					t.Fatal(err)
				}
				(&pushed{t, p.h, p.dir, p.env}).checkEnd(c.End, values)
			})
		}
	})
	p.checkNothingRefused()
	program.end(syscall.SIGTERM)
	for name, key := range keys {
		if strings.Contains(program.errs(), key[17:60]) {
			t.Errorf("the log tells the key of %s", name)
		}
	}
}

// checkEnd asks the program for what a conversation should have led to.
func (p *pushed) checkEnd(end scimtest.End, values map[string]string) {
	p.t.Helper()
	states, names := p.users()
	for state, people := range map[string][]string{"active": end.Active, "inactive": end.Inactive, "deleted": end.Deleted} {
		for _, name := range people {
			if got := states[values[name]]; got != state {
				p.t.Errorf("%s is %q, want %s", name, got, state)
			}
		}
	}
	for _, group := range end.Gone {
		if got, there := p.members(values[group]); there {
			p.t.Errorf("the group %s is still there, with %v", group, got)
		}
	}
	for group, members := range end.Members {
		var want []string
		for _, m := range members {
			want = append(want, names[values[m]])
		}
		got, _ := p.members(values[group])
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
			p.t.Errorf("members of %s (-want +got):\n%s", group, diff)
		}
	}
}

// users returns the state and the userName of everybody, by id.
func (p *pushed) users() (states, names map[string]string) {
	p.t.Helper()
	states, names = map[string]string{}, map[string]string{}
	for line := range strings.Lines(output(p.t, p.dir, p.env, "users", "list", "--output", "json", "--limit", "1000")) {
		var u struct {
			ID              string
			UserName        string `json:"user_name"`
			Active, Deleted bool
		}
		if err := json.Unmarshal([]byte(line), &u); err != nil {
			p.t.Fatal(err)
		}
		names[u.ID], states[u.ID] = u.UserName, "inactive"
		switch {
		case u.Deleted:
			states[u.ID] = "deleted"
		case u.Active:
			states[u.ID] = "active"
		}
	}
	return states, names
}

// members returns the names of a group's members, and whether there is such a group.
func (p *pushed) members(group string) (names []string, there bool) {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "idpsync", "groups", "show", group, "--output", "json")
	cmd.Dir, cmd.Env = p.dir, append(cmd.Environ(), p.env...)
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) && strings.Contains(string(failed.Stderr), "no such group") {
		return nil, false
	}
	if err != nil {
		p.t.Fatalf("groups show %s: %v", group, err)
	}
	var g struct {
		MemberNames []string `json:"member_names"`
	}
	if err := json.Unmarshal(out, &g); err != nil {
		p.t.Fatal(err)
	}
	return g.MemberNames, true
}

// checkNothingRefused looks into the audit log: what identity providers said has been done, under their keys' names.
func (p *pushed) checkNothingRefused() {
	p.t.Helper()
	s, err := store.Open(p.t.Context(), p.h.dsn)
	if err != nil {
		p.t.Fatal(err)
	}
	defer s.Close()
	events, err := s.Audit(p.t.Context(), store.AuditQuery{Limit: 10_000})
	if err != nil {
		p.t.Fatal(err)
	}
	pushes := 0
	for _, e := range events {
		if e.Type == identity.EventRefused {
			p.t.Errorf("refused: %s %q by %+v: %s", e.Object, e.Name, e.Actor, e.Reason)
		}
		if e.Actor.Kind == "key" && e.Actor.RequestID != "" {
			pushes++
		}
	}
	if pushes == 0 {
		p.t.Errorf("none of %d events is a push's", len(events))
	}
}
