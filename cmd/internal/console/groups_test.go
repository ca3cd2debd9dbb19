package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", map[string]any{"displayName": "Ana Lima"})
	sales := w.group("Sales", ana.ID)
	all := w.group("Everybody", sales.ID)
	w.get("viewer", "/groups").want(http.StatusOK, "2 groups", "Sales 1 viewer on Sales", "Everybody")
	w.get("viewer", "/groups?search=SAL").want(http.StatusOK, "1 group matches", "Sales").lacks("Everybody")
	w.get("viewer", "/groups?search=nothing").want(http.StatusOK, "No group is like this")
	w.part("viewer", "/groups?search=sal", "part-groups").want(http.StatusOK, "1 group matches").hasNot("<h1", "<form")

	w.get("viewer", "/groups/"+sales.ID).want(http.StatusOK, "1 member", "Ana Lima", "viewer on Sales", "It is in Everybody", "In it no group", "See the role mapping")
	w.get("admin", "/groups/"+all.ID).want(http.StatusOK, "0 members", "In it Sales", "Change the role mapping")
	w.get("viewer", "/groups/"+sales.ID+"/history").want(http.StatusOK, "1 member came : ana@example.com", "Role viewer on Sales given to the members", "Created")
	w.get("viewer", "/groups/"+all.ID+"/history").want(http.StatusOK, "1 member came : group Sales")
	w.get("viewer", "/groups/"+sales.ID+"/resync").want(http.StatusOK, "No connector to ask")
	w.post("operator", "/groups/"+sales.ID+"/resync").want(http.StatusConflict)
	for _, rest := range []string{"", "/history", "/resync"} {
		w.get("viewer", "/groups/"+uuid.NewString()+rest).want(http.StatusNotFound, "There is no such group")
		w.get("viewer", "/groups/nonsense"+rest).want(http.StatusNotFound, "There is no such group")
	}
}

func TestGroup_MembersPageByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	var ids []string
	for i := range 60 {
		ids = append(ids, w.someone(strings.Repeat("x", i+1)+"@example.com", nil).ID)
	}
	g := w.group("Large", ids...)
	first := w.get("viewer", "/groups/"+g.ID).want(http.StatusOK, "60 members", "Next page")
	second := w.get("viewer", link(first, "Next page")).want(http.StatusOK, "60 members", "First page").lacks("Next page")
	for i, p := range []*page{first, second} {
		if got, want := strings.Count(p.body, `data-label="userName"`), []int{50, 10}[i]; got != want {
			t.Errorf("page %d lists %d members, want %d", i+1, got, want)
		}
	}
	w.get("viewer", "/groups/"+g.ID+"/history").want(http.StatusOK, "60 members came", "and 57 others")
}

func TestGroup_Resync(t *testing.T) {
	t.Parallel()
	o, config := tenant(t, "")
	w := newWorld(t, config)
	ana := o.AddUser(map[string]any{"login": "ana@example.com", "email": "ana@example.com", "firstName": "Ana", "lastName": "Lima"})
	sales := o.AddGroup("Sales")
	w.pull()
	g, err := w.App.Store.GroupByName(w.Context(), "Sales")
	w.Must(err)
	w.get("operator", "/groups/"+g.ID).want(http.StatusOK, "Resync this group now", sales)
	o.AddMember(sales, ana)
	w.followed("operator", "/groups/"+g.ID+"/resync").want(http.StatusOK, "okta states group Sales", "add to group ana@example.com : Sales", "1 change applied")
	w.get("viewer", "/groups/"+g.ID).want(http.StatusOK, "1 member", "Ana Lima")
}

func TestTeams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("viewer", "/teams").want(http.StatusOK, "root", "this installation", "Nobodies").lacks("Make a local team")
	w.post("operator", "/teams", "name", "Payments").want(http.StatusForbidden)
	w.post("admin", "/teams", "name", " ", "scope", "a\nb").want(http.StatusUnprocessableEntity).has(`aria-invalid="true"`, "a\nb</textarea>")
	w.post("admin", "/teams", "name", "ROOT").want(http.StatusConflict, "taken").has(`value="ROOT"`)
	made := w.done("admin", "/teams", "name", "Payments", "scope", " aws-prod \n\naws-test").want(http.StatusOK, "Team Payments is made", "aws-prod", "aws-test", "Nobody holds a role on this team")
	at := strings.Fields(made.what)[1]
	w.get("viewer", at).want(http.StatusOK, "aws-prod").lacks("Rename", "Delete this team")
	w.get("viewer", "/teams?team=payments").want(http.StatusOK, "1 team of this name", "aws-prod")
	w.get("viewer", "/teams?team=none").want(http.StatusOK, "No team has this name")
	w.get("viewer", "/teams/Payments").want(http.StatusOK, "Team Payments")
	w.get("viewer", "/teams/none").want(http.StatusNotFound, "There is no such team")
	w.get("viewer", "/teams/"+uuid.NewString()+"/history").want(http.StatusNotFound)

	w.done("admin", "/people/"+w.Users["viewer"].ID+"/give", "team", "Payments", "role", "operator")
	w.get("viewer", at).want(http.StatusOK, "viewer@acme.test", "operator given by hand by admin@acme.test")
	w.post("admin", at+"/delete").want(http.StatusConflict, "Payments")
	w.done("admin", at+"/name", "name", "Billing").want(http.StatusOK, "The team is called Billing now")
	w.post("admin", at+"/name", "name", "root").want(http.StatusConflict).has(`value="root"`)
	w.done("admin", at+"/scope", "scope", "").want(http.StatusOK, "Its roles are for everything")
	w.post("viewer", at+"/scope", "scope", "x").want(http.StatusForbidden)
	w.get("viewer", at+"/history").want(http.StatusOK, "Created", "Changed", "by admin@acme.test")
	w.done("admin", "/people/"+w.Users["viewer"].ID+"/take", "team", "Billing", "role", "operator")
	w.done("admin", at+"/delete").want(http.StatusOK, "The team is deleted").lacks("Billing")
	w.get("admin", at).want(http.StatusNotFound)
}

// Whoever is deactivated holds nothing, and is listed only where somebody asks.
func TestTeam_Inactive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	bo, err := w.App.Applier.CreateAdmin(w.Context(), by, "bo@acme.test", "no password", false)
	w.Must(err)
	w.done("admin", "/people/"+bo.ID+"/deactivate")
	w.get("viewer", "/teams/root").want(http.StatusOK, "admin@acme.test").lacks("bo@acme.test")
	w.get("viewer", "/teams/root?inactive=true").want(http.StatusOK, "bo@acme.test", "Deactivated").has("checked")
}
