package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// one runs for one person or group and returns what the run told.
func (h *house) one(user, group string) (identity.Run, []string, error) {
	h.t.Helper()
	req := h.request(false)
	req.User, req.Group = user, group
	var steps []string
	req.Step = func(s reconcile.Step) { steps = append(steps, s.Kind+": "+s.Text) }
	run, err := h.engine.Run(h.t.Context(), req)
	return run, steps, err
}

func TestOne_ComparesOnePersonOnly(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.source.Users["u1"].Title = "Director"
		h.source.Users["u2"].Title = "Director"
		h.source.leave("u1")
		h.source.join("g2", "u1", "u2")
		ana := h.user("ana@acme.test")
		for _, name := range []string{"u1", ana.ID, "ANA@acme.test"} {
			run, steps, err := h.one(name, "")
			if err != nil || run.Kind != identity.KindObject || run.Status != identity.RunDone {
				t.Fatalf("%s: run %+v, error %v", name, run, err)
			}
			if name == "u1" {
				h.wantJournal(run, "applied user update ana@acme.test [title: Engineer -> Director] ()",
					"applied member add Sales [members: <nil> -> ana@acme.test] ()", "applied member remove Engineering [members: ana@acme.test -> <nil>] ()")
				want := []string{
					"read: okta states ana@acme.test (u1), active",
					"match: by immutable id u1: ana@acme.test (" + ana.ID + "), active, version 1",
					"read: okta states 1 groups in scope",
				}
				if diff := cmp.Diff(want, steps); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
			} else if n := run.Counts.Planned(); n != 0 {
				t.Errorf("%s: %v", name, h.journal(run))
			}
		}
		if u := h.user("ben@acme.test"); u.Get(pathTitle) != "Engineer" {
			t.Error("somebody else was touched")
		}
		h.run(identity.RunDone) // the incremental run has the rest, and is not put out by what was done already
		h.wantEmpty()
	})
}

func TestOne_WhoIsNewComesWithGroups(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.source.add("u4", "dee@acme.test")
		h.source.join("g1", "u4")
		run, steps, err := h.one("u4", "")
		if err != nil || run.Counts.Changes["user.create"] != 1 || run.Counts.Changes["member.add"] != 1 || run.Counts.Applied != 2 {
			t.Errorf("error %v: %v, steps %q", err, h.journal(run), steps)
		}
	})
}

func TestOne_WhoIsGone(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.source.leave("u1")
		delete(h.source.Users, "u1")
		run, steps, err := h.one("ana@acme.test", "")
		if err != nil || h.user("ana@acme.test").Active || !strings.Contains(strings.Join(steps, "\n"), "okta has nobody in scope for u1") {
			t.Errorf("error %v: %v, steps %q", err, h.journal(run), steps)
		}
		var unknown *reconcile.NotFoundError
		if run, _, err := h.one("nobody@acme.test", ""); !errors.As(err, &unknown) || run.Status != identity.RunFailed {
			t.Errorf("nobody: run %s, error %v", run.Status, err)
		}
		h.source.Broken = map[string]error{"u3": errors.New("status 500")}
		if _, _, err := h.one("u3", ""); err == nil || !strings.Contains(err.Error(), "status 500") || !h.user("cleo@acme.test").Active {
			t.Errorf("an unreadable person: %v", err)
		}
	})
}

func TestOne_ComparesOneGroupOnly(t *testing.T) {
	styles(t, func(t *testing.T, s *store.Store, style func(*directory)) {
		h := incremental(t, s, style)
		h.source.Groups["g1"], h.source.Groups["g2"] = "Builders", "Sellers"
		h.source.join("g1", "u3")
		delete(h.source.Members["g1"], "u2")
		run, _, err := h.one("", "Engineering")
		if err != nil {
			t.Fatal(err)
		}
		h.wantJournal(run, "applied group update Engineering [displayName: Engineering -> Builders] ()",
			"applied member add Builders [members: <nil> -> cleo@acme.test] ()", "applied member remove Builders [members: ben@acme.test -> <nil>] ()")
		delete(h.source.Groups, "g2")
		delete(h.source.Members, "g2")
		if run, _, err := h.one("", "g2"); err != nil || run.Counts.Changes["group.delete"] != 1 || run.Status != identity.RunDone {
			t.Errorf("error %v: %v", err, h.journal(run))
		}
		var unknown *reconcile.NotFoundError
		if _, _, err := h.one("", "Nobodies"); !errors.As(err, &unknown) {
			t.Errorf("an unknown group: %v", err)
		}
		h.run(identity.RunDone)
		h.wantEmpty()
	})
}
