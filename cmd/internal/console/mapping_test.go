package console_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
)

// planHash finds the hash of the plan that a preview shows.
var planHash = regexp.MustCompile(`name="plan_hash" value="(sha256:[0-9a-f]{64})"`)

func (p *page) planHash() string {
	p.Helper()
	found := planHash.FindStringSubmatch(p.body)
	if found == nil {
		p.Fatalf("%s shows no plan:\n%s", p.what, p.text())
	}
	return found[1]
}

func TestMapping(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := world{apptest.New(t, dsn, "role_guard: {percent: 0, floor: 0, max: 1}\n")}
		ana, bo := w.someone("ana@example.com", nil), w.someone("bo@example.com", nil)
		w.group("Engineering", ana.ID, bo.ID)
		w.get("admin", "/mapping").want(http.StatusOK, "No rule is in force", "Add the first rule", "viewer on its own team")

		rule := []string{"kind", "set", "group", "engineering", "role", "operator", "team", "Payments", "role", "", "team", ""}
		preview := w.post("admin", "/mapping/preview", rule...).want(http.StatusOK, "People who gain a role 2", "People who lose a role 0", "+ engineering", "ana@example.com operator on Payments", "bo@example.com", "Apply: 2 people gain a role")
		w.get("viewer", "/mapping").lacks("Payments") // it was only asked about
		w.done("admin", "/mapping/apply", append(rule, "plan_hash", preview.planHash())...).
			want(http.StatusOK, "2 people gain a role, 0 lose one", "engineering", "operator on Payments", "by admin@acme.test")
		w.get("viewer", "/mapping?q=PAY").want(http.StatusOK, "operator on Payments").lacks("Edit", "Add a rule")
		w.get("viewer", "/mapping?q=nothing").want(http.StatusOK, "No rule has this")

		// What there is can be edited; the plan says what goes and what comes.
		w.get("admin", "/mapping/edit?group=Engineering").want(http.StatusOK, "What engineering gives").has(`value="Payments"`, `<option selected>operator</option>`)
		other := []string{"kind", "set", "group", "engineering", "known", "true", "role", "viewer", "team", "Payments"}
		w.post("admin", "/mapping/preview", other...).want(http.StatusOK, "no longer operator on Payments", "new: viewer on Payments", "The guard holds this", "2 of")
		w.post("admin", "/mapping/preview", rule...).want(http.StatusOK, "Nothing: the rules are so already").lacks("Apply")

		// To end it, what the guard holds is approved by its hash alone.
		end := []string{"kind", "unmap", "group", "engineering", "known", "true"}
		held := w.post("admin", "/mapping/preview", end...).want(http.StatusOK, "The guard holds this", "2 people lose a role at once", "People who lose a role 2")
		w.post("admin", "/mapping/apply", append(end, "plan_hash", "sha256:other")...).want(http.StatusConflict, "Nothing was changed", "look at it again", "2 people lose")
		w.post("admin", "/mapping/apply", end...).want(http.StatusOK, "2 people lose a role at once") // looked at by nobody yet
		w.done("admin", "/mapping/apply", append(end, "plan_hash", held.planHash())...).want(http.StatusOK, "0 people gain a role, 2 lose one", "No rule is in force")
		w.post("admin", "/mapping/preview", end...).want(http.StatusNotFound, "has no rule for group engineering")
	})
}

func TestMapping_WhoMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	rule := []string{"kind", "set", "group", "g", "role", "viewer", "team", "t"}
	for _, rank := range []string{"viewer", "operator"} {
		w.get(rank, "/mapping").want(http.StatusOK).lacks("Add a rule", "Add the first rule")
		w.get(rank, "/mapping/edit").want(http.StatusForbidden, "admin on the root team")
		w.post(rank, "/mapping/preview", rule...).want(http.StatusForbidden, "admin on the root team")
		w.post(rank, "/mapping/apply", rule...).want(http.StatusForbidden, "admin on the root team")
	}
	w.get("none", "/mapping").want(http.StatusSeeOther)
}

func TestMapping_Form(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.group("Engineering")
	w.part("admin", "/mapping/edit?group=engin", "part-groups").want(http.StatusOK).has(`<option value="Engineering">`).hasNot("<h1")
	w.part("admin", "/mapping/edit?group=other", "part-groups").want(http.StatusOK).hasNot("Engineering")
	for _, tc := range []struct {
		name   string
		fields []string
		status int
		says   string
		has    string
	}{
		{"no group", []string{"group", " ", "role", "viewer", "team", "t"}, http.StatusUnprocessableEntity, "Say which group", `aria-invalid="true"`},
		{"nothing given", []string{"group", "g", "role", "", "team", "t"}, http.StatusUnprocessableEntity, "at least one role on one team", `value="g"`},
		{"no team", []string{"group", "g", "role", "viewer", "team", " "}, http.StatusUnprocessableEntity, "Each role needs a team", `aria-invalid="true"`},
		{"a long team", []string{"group", "g", "role", "viewer", "team", strings.Repeat("t", 201)}, http.StatusUnprocessableEntity, "at most 200 characters", strings.Repeat("t", 201)},
		{"an unknown role", []string{"group", "g", "role", "emperor", "team", "t"}, http.StatusUnprocessableEntity, "emperor", `<option selected>emperor</option>`},
		{"more rows", []string{"group", "g", "role", "viewer", "team", "t", "more", "true"}, http.StatusOK, "of row 7", `value="t"`},
		{"back", []string{"group", "g", "role", "viewer", "team", "t", "back", "true"}, http.StatusOK, "of row 4", `value="g"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.post("admin", "/mapping/preview", tc.fields...).want(tc.status, tc.says).has(tc.has)
		})
	}
	w.get("viewer", "/mapping").want(http.StatusOK, "No rule is in force")
}

func TestMapping_Declared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "role_mapping:\n  - {group: Ops, grants: [{team: root, role: operator}]}\n")
	w.get("admin", "/mapping").want(http.StatusOK, "The configuration declares the role mapping", "operator on root", "there is no such group yet").lacks("Add a rule", "Edit")
	w.get("admin", "/mapping/edit?group=Ops").want(http.StatusConflict, "configuration file")
	w.post("admin", "/mapping/preview", "kind", "set", "group", "Ops", "role", "viewer", "team", "t").want(http.StatusConflict, "configuration declares")
	w.post("admin", "/mapping/preview", "kind", "declared").want(http.StatusOK, "Nothing: the rules are so already")
}

// Whoever changes who is admin, or much at once, is told so and asked again.
func TestMapping_Admins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.group("Bosses", w.someone("ana@example.com", nil).ID)
	w.post("admin", "/mapping/preview", "group", "Bosses", "role", "admin", "team", "Root").
		want(http.StatusOK, "1 person becomes admin on root").has(`<details class="confirm"><summary>Apply it`)
}

// Of many people, a page names some, and goes through the rest.
func TestMapping_ManyPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	var ids []string
	for i := range 60 {
		ids = append(ids, w.someone(fmt.Sprintf("p%02d@example.com", i), nil).ID)
	}
	w.group("Everybody", ids...)
	rule := []string{"group", "Everybody", "role", "viewer", "team", "Payments"}
	seen := map[string]bool{}
	for _, step := range []struct {
		from  string
		names int
		has   string
	}{{"", 25, `name="from" value="25"`}, {"25", 25, `name="from" value="0"`}, {"50", 10, `name="from" value="25"`}} {
		p := w.post("admin", "/mapping/preview", append(slices.Clone(rule), "from", step.from)...).want(http.StatusOK, "People who gain a role 60", "+60").has(step.has)
		names := regexp.MustCompile(`p\d\d@example.com`).FindAllString(p.body, -1)
		if len(names) != step.names {
			t.Errorf("from %q names %d, want %d", step.from, len(names), step.names)
		}
		for _, name := range names {
			seen[name] = true
		}
	}
	if len(seen) != 60 {
		t.Errorf("the pages name %d people, want each of 60", len(seen))
	}
}

func TestMapping_HostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, name := range hostile {
		group, team := name, strings.ToValidUTF8(name[:min(len(name), 200)], "")
		w.group(group, w.Users["viewer"].ID)
		rule := []string{"group", group, "role", "viewer", "team", team}
		seen := strings.Join(strings.Fields(name[:10]), " ")
		p := w.post("admin", "/mapping/preview", rule...).want(http.StatusOK, seen)
		p.hasNot("<script>alert", "' onmouseover='")
		w.done("admin", "/mapping/apply", append(rule, "plan_hash", p.planHash())...).want(http.StatusOK, seen).hasNot("<script>alert", "' onmouseover='")
		w.get("admin", "/mapping/edit").want(http.StatusOK).hasNot("<script>alert", "' onmouseover='")
	}
}
