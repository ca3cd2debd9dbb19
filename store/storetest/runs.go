package storetest

import (
	"fmt"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var runCases = []namedCase{
	{"written and written over", putRun},
	{"found by id and by prefix", findRun},
	{"listed, the newest first", listRuns},
	{"interrupted by the next holder of the lease", interruptRuns},
	{"the journal comes back as written", readJournal},
	{"selected from the journal", selectChanges},
	{"marked, applied, staged and skipped", markChanges},
}

// journal appends changes to a run's journal, numbered on from what is there.
func (f *fixture) journal(runID string, changes ...identity.Change) {
	f.Helper()
	ord := int64(len(f.changes(store.ChangeQuery{RunID: runID})))
	for i := range changes {
		ord++
		changes[i].RunID, changes[i].Ord = runID, ord
		if changes[i].State == "" {
			changes[i].State = identity.StatePlanned
		}
	}
	f.tx(func(tx *store.Tx) error { return tx.InsertChanges(f.ctx, changes) })
}

func (f *fixture) changes(q store.ChangeQuery) []identity.Change {
	f.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	changes, err := f.s.Changes(f.ctx, q)
	f.check(err)
	return changes
}

func putRun(f *fixture) {
	want := f.run("r1", "okta")
	got, err := f.s.Run(f.ctx, "r1")
	f.check(err)
	f.equal("Run", got, want)
	want = identity.Run{
		ID: "r1", Connector: "entra", Kind: identity.KindIncremental, Trigger: "api", DryRun: true, Status: identity.RunHeld, Phase: "guard",
		PlanHash: "sha256:'x'", Counts: identity.Counts{Users: 1, Groups: 2, Members: 3, Changes: map[string]int{"user.create": 4}, Applied: 5, Held: 6, Skipped: 7, Failed: 8},
		Guard: "33 % > 10 %", Incomplete: `no "next"`, Requests: 1 << 40, Error: "ü\n", LeaseEpoch: 9, Started: at(time.Second), Finished: at(time.Minute),
		Steps: []identity.Step{{Kind: "read", Text: `okta states "ü"`}},
	}
	f.tx(func(tx *store.Tx) error { return tx.PutRun(f.ctx, &want) })
	got, err = f.s.Run(f.ctx, "r1")
	f.check(err)
	f.equal("Run", got, want)
	if got.Started.Location() != time.UTC || got.Finished.Location() != time.UTC {
		f.Error("times are not in UTC")
	}
}

func findRun(f *fixture) {
	for _, id := range []string{"abc1", "abc2", "abc", "xyz%_"} {
		f.run(id, "okta")
	}
	for id, want := range map[string]string{"abc": "abc", "abc1": "abc1", "x": "xyz%_", "xyz%": "xyz%_", "ab": "", "": "", "%": "", "é": "", "a\x00": "", "\xff": "", "xyz%_+": ""} {
		got, err := f.s.Run(f.ctx, id)
		if want == "" {
			f.isErr("Run "+id, err, store.ErrNotFound)
			continue
		}
		f.check(err)
		if got.ID != want {
			f.Errorf("Run(%q) = %s, want %s", id, got.ID, want)
		}
	}
}

func listRuns(f *fixture) {
	for i := range 6 {
		f.run(fmt.Sprint("r", i), []string{"okta", "entra"}[i%2], func(r *identity.Run) { r.Started = at(time.Duration(i) * 100 * time.Millisecond) })
	}
	for connector, want := range map[string][]string{"": {"r5", "r4", "r3", "r2"}, "okta": {"r4", "r2", "r0"}, "none": nil} {
		runs, err := f.s.Runs(f.ctx, connector, 4)
		f.check(err)
		var got []string
		for i := range runs {
			got = append(got, runs[i].ID)
		}
		f.equal("Runs of "+connector, got, want)
	}
}

func interruptRuns(f *fixture) {
	f.run("dead", "okta")
	f.run("done", "okta", func(r *identity.Run) { r.Status = identity.RunDone })
	f.run("held", "okta", func(r *identity.Run) { r.Status = identity.RunHeld })
	f.run("other", "entra")
	ids, err := f.s.InterruptRuns(f.ctx, "okta", at(time.Hour))
	f.check(err)
	f.equal("InterruptRuns", ids, []string{"dead"})
	for id, want := range map[string]identity.RunStatus{"dead": identity.RunFailed, "done": identity.RunDone, "held": identity.RunHeld, "other": identity.RunRunning} {
		got, err := f.s.Run(f.ctx, id)
		f.check(err)
		if got.Status != want {
			f.Errorf("run %s is %s, want %s", id, got.Status, want)
		}
		if id == "dead" && (!got.Finished.Equal(at(time.Hour)) || got.Error == "") {
			f.Errorf("the interrupted run is %+v", got)
		}
	}
	ids, err = f.s.InterruptRuns(f.ctx, "okta", at(time.Hour))
	f.check(err)
	f.equal("InterruptRuns again", ids, []string(nil))
}

func readJournal(f *fixture) {
	f.run("r", "okta")
	full := identity.Change{
		Object: identity.ObjectMember, Op: identity.OpRemove, SourceID: "g'1", ID: "id", Name: `"ü"\`, Reason: "absent", State: identity.StateStaged,
		Fields:         []identity.FieldChange{{Path: `emails[type eq "work"].value`, Before: "a", After: nil}, {Path: "active", Before: false, After: true}},
		MemberSourceID: "u'1", MemberID: "m", Version: 1 << 40, Absent: true, Status: identity.StatusGone,
		Fingerprint: identity.Fingerprint{0, 1, 255}, ReadAt: epoch,
	}
	f.journal("r", full, identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate, Name: "a\x00b", Reason: "\xff"})
	var many []identity.Change
	for range 50 {
		many = append(many, full)
	}
	f.journal("r", many...)
	got := f.changes(store.ChangeQuery{RunID: "r"})
	if len(got) != 52 {
		f.Fatalf("%d changes, want 52", len(got))
	}
	for i, c := range got {
		want := full
		if i == 1 {
			want = identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate, Name: "a\ufffdb", Reason: "\ufffd", State: identity.StatePlanned}
		}
		want.RunID, want.Ord = "r", int64(i+1)
		f.equal("change", c, want)
	}
	if got[0].ReadAt.Location() != time.UTC {
		f.Error("ReadAt is not in UTC")
	}
}

func selectChanges(f *fixture) {
	f.run("r", "okta")
	f.run("s", "okta")
	f.journal("s", identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate})
	f.journal(
		"r",
		identity.Change{Object: identity.ObjectUser, Op: identity.OpCreate},
		identity.Change{Object: identity.ObjectUser, Op: identity.OpUpdate, State: identity.StateApplied},
		identity.Change{Object: identity.ObjectGroup, Op: identity.OpCreate},
		identity.Change{Object: identity.ObjectMember, Op: identity.OpAdd, State: identity.StateFailed},
	)
	for _, c := range []struct {
		query store.ChangeQuery
		want  []int64
	}{
		{store.ChangeQuery{}, []int64{1, 2, 3, 4}},
		{store.ChangeQuery{After: 1, Limit: 2}, []int64{2, 3}},
		{store.ChangeQuery{Objects: []identity.Object{identity.ObjectUser, identity.ObjectMember}}, []int64{1, 2, 4}},
		{store.ChangeQuery{Ops: []identity.Op{identity.OpCreate}}, []int64{1, 3}},
		{store.ChangeQuery{States: []identity.ChangeState{identity.StatePlanned, identity.StateFailed}, After: 1}, []int64{3, 4}},
		{store.ChangeQuery{Objects: []identity.Object{identity.ObjectUser}, Ops: []identity.Op{identity.OpUpdate}, States: []identity.ChangeState{identity.StateApplied}}, []int64{2}},
	} {
		c.query.RunID = "r"
		var got []int64
		for _, change := range f.changes(c.query) {
			got = append(got, change.Ord)
		}
		f.equal(fmt.Sprintf("Changes(%+v)", c.query), got, c.want)
	}
}

func markChanges(f *fixture) {
	f.run("r", "okta")
	f.run("s", "okta")
	list := []identity.Change{
		{Object: identity.ObjectUser, Op: identity.OpCreate},
		{Object: identity.ObjectUser, Op: identity.OpDeactivate},
		{Object: identity.ObjectUser, Op: identity.OpDelete, State: identity.StateApplied},
		{Object: identity.ObjectMember, Op: identity.OpRemove},
		{Object: identity.ObjectMember, Op: identity.OpAdd},
		{Object: identity.ObjectGroup, Op: identity.OpDelete},
	}
	f.journal("r", list...)
	f.journal("s", list...)
	states := func(what, want string) {
		f.Helper()
		got := ""
		for _, c := range f.changes(store.ChangeQuery{RunID: "r"}) {
			got += string(c.State[0:2]) + " "
		}
		if got != want {
			f.Errorf("after %s the states are %q, want %q", what, got, want)
		}
	}
	n, err := f.s.StageChanges(f.ctx, "r", identity.ObjectUser)
	f.check(err)
	states(fmt.Sprint("staging ", n), "pl st ap pl pl pl ")
	n, err = f.s.SkipRemovals(f.ctx, "r", identity.ObjectMember, "incomplete")
	f.check(err)
	states(fmt.Sprint("skipping ", n), "pl st ap sk pl pl ")
	f.tx(func(tx *store.Tx) error { return tx.MarkApplied(f.ctx, "r", []int64{1, 5, 99}) })
	states("applying", "ap st ap sk ap pl ")
	f.tx(func(tx *store.Tx) error { return tx.MarkApplied(f.ctx, "r", nil) })
	states("applying nothing", "ap st ap sk ap pl ")
	f.check(f.s.MarkChange(f.ctx, "r", 6, identity.StateFailed, "it's\x00broken"))
	states("failing", "ap st ap sk ap fa ")
	got := f.changes(store.ChangeQuery{RunID: "r"})
	if got[5].Reason != "it's\ufffdbroken" || got[3].Reason != "incomplete" {
		f.Errorf("reasons are %q and %q", got[5].Reason, got[3].Reason)
	}
	f.tx(func(tx *store.Tx) error { return tx.DropChanges(f.ctx, "r", nil) })
	f.tx(func(tx *store.Tx) error { return tx.DropChanges(f.ctx, "r", []int64{2, 4, 99}) })
	states("dropping", "ap ap ap fa ")
	for _, c := range f.changes(store.ChangeQuery{RunID: "s"}) {
		if c.Ord != 3 && c.State != identity.StatePlanned {
			f.Errorf("change %d of another run is %s", c.Ord, c.State)
		}
	}
}
