package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/reconcile/plan"
	"github.com/idpsync/idpsync/store/identity"
)

func TestGuard_Check(t *testing.T) {
	t.Parallel()
	users, groups, members := identity.ObjectUser, identity.ObjectGroup, identity.ObjectMember
	count := func(held, stated, removals int) plan.Count {
		return plan.Count{Held: held, Stated: stated, Removals: removals}
	}
	for _, c := range []struct {
		name  string
		tally plan.Tally
		want  plan.Verdict
	}{
		{"nothing", plan.Tally{}, plan.Verdict{}},
		{"no removals", plan.Tally{Users: count(100, 200, 0)}, plan.Verdict{}},
		{"users at the floor, whatever the share", plan.Tally{Users: count(10, 1, 10)}, plan.Verdict{}},
		{"users at the percentage", plan.Tally{Users: count(110, 99, 11)}, plan.Verdict{}},
		{"users above both", plan.Tally{Users: count(100, 89, 11)}, plan.Verdict{users: "users 11 % > 10 % (11 of 100)"}},
		{"a share with a fraction", plan.Tally{Users: count(300, 269, 31)}, plan.Verdict{users: "users 10.3 % > 10 % (31 of 300)"}},
		{"users at the most", plan.Tally{Users: count(100_000, 99_500, 500)}, plan.Verdict{}},
		{"users above the most", plan.Tally{Users: count(100_000, 99_499, 501)}, plan.Verdict{users: "users 501 > 500"}},
		{"more removals than held", plan.Tally{Users: count(0, 1, 11)}, plan.Verdict{users: "users 1.1e+03 % > 10 % (11 of 0)"}},
		{"no users stated", plan.Tally{Users: count(3, 0, 3)}, plan.Verdict{users: "users: the source states none, 3 are held"}},
		{"no groups stated", plan.Tally{Groups: count(1, 0, 1)}, plan.Verdict{groups: "groups: the source states none, 1 are held"}},
		{"none stated, nothing taken away", plan.Tally{Users: count(3, 0, 0)}, plan.Verdict{}},
		{"groups at the floor", plan.Tally{Groups: count(6, 1, 5)}, plan.Verdict{}},
		{"groups above", plan.Tally{Groups: count(20, 14, 6)}, plan.Verdict{groups: "groups 30 % > 10 % (6 of 20)"}},
		{"groups have no most", plan.Tally{Groups: count(100_000, 90_000, 10_000)}, plan.Verdict{}},
		{"members at the floor", plan.Tally{Members: count(60, 10, 50)}, plan.Verdict{}},
		{"members above", plan.Tally{Members: count(200, 149, 51)}, plan.Verdict{members: "members 25.5 % > 20 % (51 of 200)"}},
		{"no members stated is no sign by itself", plan.Tally{Members: count(10, 0, 10)}, plan.Verdict{}},
		{
			"mapped groups left empty",
			plan.Tally{Members: count(100, 98, 2), Emptied: []string{"Admins", "Ops"}},
			plan.Verdict{members: "members: Admins, Ops with a role mapping would be left empty"},
		},
		{
			"mapped groups left empty, and too many removals",
			plan.Tally{Members: count(100, 40, 60), Emptied: []string{"Admins"}},
			plan.Verdict{members: "members 60 % > 20 % (60 of 100)"},
		},
		{"mapped groups whose removals were withdrawn", plan.Tally{Emptied: []string{"Admins"}, Gone: []string{"Ops"}}, plan.Verdict{}},
		{
			"a mapped group that goes",
			plan.Tally{Groups: count(100, 99, 1), Gone: []string{"Admins"}},
			plan.Verdict{groups: "groups: Admins with a role mapping would be deleted"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := plan.DefaultGuard().Check(c.tally)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Check() (-want +got):\n%s", diff)
			}
			if got.Held() != (len(c.want) > 0) {
				t.Errorf("Held() = %v", got.Held())
			}
		})
	}
}

func TestVerdict_StringListsUsersFirst(t *testing.T) {
	t.Parallel()
	v := plan.Verdict{identity.ObjectMember: "m", identity.ObjectGroup: "g", identity.ObjectUser: "u"}
	if got := v.String(); got != "u; g; m" {
		t.Errorf("String() = %q, want %q", got, "u; g; m")
	}
	if got := (plan.Verdict{}).String(); got != "" {
		t.Errorf("String() of nothing held = %q", got)
	}
}

// More removals are never let through where fewer are held, and removals up to the floor are never held by a share.
func TestGuard_IsMonotonic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := plan.Limits{
			Percent: rapid.Float64Range(0, 100).Draw(t, "percent"), Floor: rapid.IntRange(0, 50).Draw(t, "floor"), Max: rapid.IntRange(0, 500).Draw(t, "max"),
		}
		guard := plan.Guard{Users: limits, Groups: limits, Members: limits}
		c := plan.Count{Held: rapid.IntRange(0, 1000).Draw(t, "held"), Stated: rapid.IntRange(1, 1000).Draw(t, "stated"), Removals: rapid.IntRange(0, 1000).Draw(t, "removals")}
		held := guard.Check(plan.Tally{Users: c}).Held()
		if held && c.Removals <= limits.Floor {
			t.Fatalf("%+v holds %+v", limits, c)
		}
		c.Removals++
		if held && !guard.Check(plan.Tally{Users: c}).Held() {
			t.Fatalf("%+v lets %+v through, and not one fewer", limits, c)
		}
	})
}

func ExampleGuard_Check() {
	verdict := plan.DefaultGuard().Check(plan.Tally{Users: plan.Count{Held: 120, Stated: 80, Removals: 40}})
	fmt.Println(verdict.Held(), verdict)
	// Output: true users 33.3 % > 10 % (40 of 120)
}
