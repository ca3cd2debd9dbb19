package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// conflict notes a conflict of a connector, as a run does.
func (w world) conflict(c identity.Conflict) string {
	w.Helper()
	c.ID, c.Connector, c.Status, c.FirstSeen, c.LastSeen = uuid.NewString(), "okta", identity.ConflictOpen, time.Now(), time.Now()
	if c.Object == "" {
		c.Object = identity.ObjectUser
	}
	w.Must(w.App.Store.InTx(w.Context(), func(tx *store.Tx) error { return tx.NoteConflicts(w.Context(), []identity.Conflict{c}) }))
	return c.ID
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.get("viewer", "/conflicts").want(http.StatusOK, "No conflict is open")
	w.get("viewer", "/conflicts?all=true").want(http.StatusOK, "There never was a conflict")
	ana := w.someone("ana@example.com", map[string]any{"displayName": "Ana Lima"})
	id := w.conflict(identity.Conflict{SourceID: "00u1", Name: "Ana L.", Reason: "two accounts may be meant: a and b", Candidates: []string{ana.ID, uuid.NewString()}})
	group := w.conflict(identity.Conflict{Object: identity.ObjectGroup, SourceID: "00g1", Name: "Sales", Reason: "the name is taken", Candidates: []string{w.group("Sales").ID}})

	w.get("viewer", "/conflicts").want(http.StatusOK, "Ana L.", "00u1", "two accounts may be meant", "Ana Lima", "scim:test", "1 candidate is not there any more", "the name is taken").
		lacks("It is this one", "Ignore")
	w.get("operator", "/conflicts").want(http.StatusOK, "It is this one", "okta's record 00u1 is ana@example.com from now on, and no longer scim:test's", "Ignore Ana L.")
	w.get("viewer", "/conflicts?connector=entra").want(http.StatusOK, "No conflict is open")
	w.get("viewer", "/conflicts?cursor=nonsense").want(http.StatusUnprocessableEntity, "next_cursor")

	w.post("viewer", "/conflicts/"+id+"/link", "user", ana.ID).want(http.StatusForbidden, "operator on the root team")
	w.post("viewer", "/conflicts/"+id+"/ignore").want(http.StatusForbidden)
	w.post("operator", "/conflicts/"+id+"/link", "user", "nobody@example.com").want(http.StatusNotFound, "Ana L.").has(`value="nobody@example.com"`, `aria-invalid="true"`)
	w.post("operator", "/conflicts/"+id+"/link").want(http.StatusUnprocessableEntity, "say which account")
	w.post("operator", "/conflicts/"+uuid.NewString()+"/link", "user", ana.ID).want(http.StatusNotFound, "There is no such conflict")

	w.done("operator", "/conflicts/"+id+"/ignore").want(http.StatusOK, "Ignored: okta leaves Ana L. alone", "Sales").lacks("00u1")
	w.post("operator", "/conflicts/"+id+"/ignore").want(http.StatusConflict, "it is ignored")
	w.get("operator", "/conflicts?all=true").want(http.StatusOK, "Ignored", "Look at it again")
	w.done("operator", "/conflicts/"+id+"/ignore", "undo", "true").want(http.StatusOK, "Looked at again", "00u1")
	w.done("operator", "/conflicts/"+id+"/link", "user", ana.ID).want(http.StatusOK, "Linked: the next run of okta compares Ana L.")
	w.done("operator", "/conflicts/"+group+"/link", "group", "Sales").want(http.StatusOK, "Linked", "No conflict is open")
	w.get("viewer", "/conflicts?all=true").want(http.StatusOK, "Linked", "by operator@acme.test")
	w.get("viewer", "/people/"+ana.ID).want(http.StatusOK, "okta")
}

// What was linked is compared at once where the connector is configured, by a run that one is sent to.
func TestConflicts_CompareLinked(t *testing.T) {
	t.Parallel()
	_, config := tenant(t, "")
	w := newWorld(t, config)
	ana := w.someone("ana@example.com", nil)
	id := w.conflict(identity.Conflict{SourceID: "00u1", Name: "Ana", Reason: "why", Candidates: []string{ana.ID}})
	p := w.done("operator", "/conflicts/"+id+"/link", "user", "ana@example.com").want(http.StatusOK, "Linked: this run compares Ana")
	p.has(`<h1`)
}

func TestConflicts_HostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, name := range hostile {
		u := w.someone(name, map[string]any{"displayName": name})
		w.conflict(identity.Conflict{SourceID: strings.ToValidUTF8(name[:20], ""), Name: name, Reason: name, Candidates: []string{u.ID}})
	}
	w.get("admin", "/conflicts").want(http.StatusOK, hostile[0]).hasNot("<script>alert", "' onmouseover='")
}
