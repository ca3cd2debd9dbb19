package reconcile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// ways are how a run may find out what happened: by comparing everything, or by what changed, in either style.
func ways(t *testing.T, f func(t *testing.T, h *house), rules ...roles.Rule) {
	waysOn(t, storetest.Each, f, rules...)
}

// here is SQLite alone, for what differs in what the source says and not in what the database does.
func here(t *testing.T, f func(*testing.T, *store.Store)) { f(t, storetest.SQLite(t)) }

func waysOn(t *testing.T, each func(*testing.T, func(*testing.T, *store.Store)), f func(t *testing.T, h *house), rules ...roles.Rule) {
	t.Parallel()
	for name, style := range map[string]func(*directory){
		"full":   func(d *directory) {},
		"whole":  func(d *directory) { d.Incremental = true },
		"deltas": func(d *directory) { d.Incremental, d.Deltas, d.Partial = true, true, true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := each
			if name == "whole" {
				on = here
			}
			on(t, func(t *testing.T, s *store.Store) {
				h := open(t, s, rules...)
				h.small()
				style(h.source)
				h.run(identity.RunDone)
				h.source.Reads = nil
				f(t, h)
			})
		})
	}
}

// groupsOf lists whose member somebody is.
func (h *house) groupsOf(name string) []string {
	h.t.Helper()
	u := h.user(name)
	groups, err := h.store.GroupsOfUsers(h.t.Context(), []string{u.ID})
	if err != nil {
		h.t.Fatal(err)
	}
	var names []string
	for _, g := range groups[u.ID] {
		names = append(names, g.DisplayName)
	}
	slices.Sort(names)
	return names
}

func (h *house) wantGroups(name string, want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.groupsOf(name)); diff != "" {
		h.t.Errorf("groups of %s (-want +got):\n%s", name, diff)
	}
}

// leave lets somebody leave the company.
func (h *house) goes(id string) {
	h.source.leave(id)
	delete(h.source.Users, id)
}

// reads counts how often somebody was read by id.
func (h *house) reads(id string) (n int) {
	for _, read := range h.source.Reads {
		if read == id {
			n++
		}
	}
	return n
}

// wantRehired wants the person who was u1 to be u9, the same account and active.
func (h *house) wantRehired(before identity.User) {
	h.t.Helper()
	got := h.user(before.UserName)
	if got.ID != before.ID || got.SourceID != "u9" || got.ExternalID != "u9" || !got.Active {
		h.t.Errorf("hired again as %+v, want %s as u9", got, before.ID)
	}
}

func TestRehire_InTheRunInWhichTheOldOneGoes(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		ana := h.user("ana@acme.test")
		h.goes("u1")
		h.source.add("u9", "ana@acme.test")
		h.source.join("g1", "u9")
		run := h.run(identity.RunDone)
		lines := h.journal(run)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "applied user update ana@acme.test ") || !strings.HasSuffix(lines[0], "(rehired: ana@acme.test was u1 before)") {
			t.Errorf("journal %q", lines)
		}
		h.wantRehired(ana)
		h.wantGroups("ana@acme.test", "Engineering")
		if n := h.reads("u1"); n != 1 {
			t.Errorf("u1 was read %d times, want once", n)
		}
		h.wantEmpty()
		h.run(identity.RunDone)
	})
}

func TestRehire_AfterTheOldOneWasDeactivated(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		ana := h.user("ana@acme.test")
		h.goes("u1")
		h.run(identity.RunDone)
		if h.user("ana@acme.test").Active {
			t.Fatal("who left is active")
		}
		h.source.add("u9", "ana@acme.test")
		h.source.join("g2", "u9")
		run := h.run(identity.RunDone)
		if n := run.Counts.Changes["user.reactivate"]; n != 1 {
			t.Errorf("journal %q, want a reactivation", h.journal(run))
		}
		h.wantRehired(ana)
		h.wantGroups("ana@acme.test", "Sales")
		h.wantEmpty()
	})
}

func TestRehire_IntoOtherGroups(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		ana := h.user("ana@acme.test")
		h.source.join("g2", "u2")
		h.run(identity.RunDone)
		h.goes("u1")
		h.source.add("u9", "ana@acme.test")
		h.source.join("g2", "u9")
		h.run(identity.RunDone)
		h.wantRehired(ana)
		h.wantGroups("ana@acme.test", "Sales")
		h.wantGroups("ben@acme.test", "Engineering", "Sales")
		h.wantEmpty()
	})
}

// The old one is stated to be gone, not missing: as a deprovisioned account, or one in the bin under another name.
func TestRehire_TheOldOneIsStatedToBeGone(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		ana := h.user("ana@acme.test")
		h.source.Users["u1"].Status = identity.StatusGone
		h.source.Users["u1"].Name = "0123456789abcdef0123456789abcdefana@acme.test"
		h.source.leave("u1")
		h.run(identity.RunDone)
		if got := h.user("ana@acme.test"); got.ID != ana.ID || got.Active {
			t.Errorf("in the bin: %+v, want the name kept and the account inactive", got)
		}
		h.wantEmpty()
		h.source.add("u9", "ana@acme.test")
		h.run(identity.RunDone)
		h.wantRehired(ana)
		h.wantEmpty()
	})
}

func TestRehire_StaysAConflict(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(h *house)
		mend func(h *house)
	}{
		"the old one is there": {
			func(*house) {},
			func(h *house) { h.goes("u1") },
		},
		"the old one is there, and left out of the list": {
			func(h *house) { h.source.Hidden["u1"] = true },
			func(h *house) { h.source.Hidden["u1"] = false; h.goes("u1") },
		},
		"the old one is suspended": {
			func(h *house) { h.source.Users["u1"].Status = identity.StatusInactive },
			func(h *house) { h.goes("u1") },
		},
		"the old one cannot be read": {
			func(h *house) { h.goes("u1"); h.source.Broken["u1"] = errors.New("status 503") },
			func(h *house) { clear(h.source.Broken) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			waysOn(t, here, func(t *testing.T, h *house) {
				ana := h.user("ana@acme.test")
				c.set(h)
				h.source.add("u9", "ana@acme.test")
				run := h.run(identity.RunPartial)
				if run.Counts.Conflicts() != 1 {
					t.Errorf("journal %q, want a conflict", h.journal(run))
				}
				got := h.user("ana@acme.test")
				if got.ID != ana.ID || got.SourceID != "u1" {
					t.Errorf("the account became %+v", got)
				}
				h.wantConflicts("open user u9 ana@acme.test (ana@acme.test (" + ana.ID + ") is known to okta as u1)")
				c.mend(h)
				h.run(identity.RunDone)
				h.wantRehired(ana)
				h.wantConflicts()
				h.wantEmpty()
			})
		})
	}
}

func TestRehire_PrivilegedStaysAConflict(t *testing.T) {
	ways(t, func(t *testing.T, h *house) {
		ana := h.user("ana@acme.test")
		h.source.join("g1", "u3") // somebody stays
		h.run(identity.RunDone)
		h.goes("u1")
		h.source.add("u9", "ana@acme.test")
		run := h.run(identity.RunPartial)
		if run.Counts.Conflicts() != 1 {
			t.Errorf("journal %q, want a conflict", h.journal(run))
		}
		if got := h.user("ana@acme.test"); got.ID != ana.ID || got.SourceID != "u1" || got.Active {
			t.Errorf("became %+v, want it deactivated and nothing else", got)
		}
	}, roles.Rule{Group: "Engineering", Grants: []identity.TeamRole{{Team: "root", Role: "admin"}}})
}

func TestRehire_OnePerson(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		h := open(t, s)
		h.small()
		h.run(identity.RunDone)
		ana := h.user("ana@acme.test")
		h.goes("u1")
		h.source.add("u9", "ana@acme.test")
		h.source.join("g2", "u9")
		run, _, err := h.one("u9", "")
		if err != nil || run.Status != identity.RunDone {
			t.Fatalf("the run ended %s (%v): %q", run.Status, err, h.journal(run))
		}
		h.wantRehired(ana)
		h.wantGroups("ana@acme.test", "Sales")
		h.wantEmpty()
	})
}

// Whoever keeps the immutable id is the same person, whatever the name: names that swap or move on are nobody hired again.
func TestRehire_RenamesAreNone(t *testing.T) {
	for name, rename := range map[string]func(d *directory){
		"a new name": func(d *directory) { d.Users["u1"].Name = "new@acme.test" },
		"swapped": func(d *directory) {
			d.Users["u1"].Name, d.Users["u2"].Name = d.Users["u2"].Name, d.Users["u1"].Name
		},
		"a chain": func(d *directory) {
			d.Users["u3"].Name, d.Users["u2"].Name, d.Users["u1"].Name = d.Users["u2"].Name, d.Users["u1"].Name, "new@acme.test"
		},
		"somebody new takes the name": func(d *directory) {
			d.Users["u1"].Name = "new@acme.test"
			d.add("u9", "ana@acme.test")
		},
		"somebody new takes the end of a chain": func(d *directory) {
			d.Users["u1"].Name, d.Users["u2"].Name = d.Users["u2"].Name, "new@acme.test"
			d.add("u9", "ana@acme.test")
		},
	} {
		t.Run(name, func(t *testing.T) {
			waysOn(t, here, func(t *testing.T, h *house) {
				ids := map[string]string{}
				for _, id := range []string{"u1", "u2", "u3"} {
					ids[id] = h.user(h.source.Users[id].Name).ID
				}
				rename(h.source)
				for range 3 {
					run, err := h.engine.Run(t.Context(), h.request(false))
					if err != nil {
						t.Fatal(err)
					}
					for _, line := range h.journal(run) {
						if strings.Contains(line, "rehired") {
							t.Errorf("%s", line)
						}
					}
				}
				held, err := h.store.HeldUsers(t.Context(), "okta", []string{"u1", "u2", "u3", "u9"})
				if err != nil {
					t.Fatal(err)
				}
				for id, want := range ids {
					if held[id].ID != want || !held[id].Active {
						t.Errorf("%s is %+v, want %s", id, held[id], want)
					}
				}
				for id, p := range h.source.Users {
					if name != "swapped" && held[id].UserName != p.Name {
						t.Errorf("%s is called %s, want %s", id, held[id].UserName, p.Name)
					}
				}
			})
		})
	}
}
