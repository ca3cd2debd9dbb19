package lifecycle_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store/identity"
)

// The states that somebody may be held in, in the order of the columns of Decide's table.
var heldAs = []struct {
	name string
	user *identity.User
}{
	{"nobody held", nil},
	{"held, active", &identity.User{ID: "1", Active: true, Origin: identity.OriginSSO}},
	{"held, inactive", &identity.User{ID: "1", Origin: identity.OriginSSO}},
	{"held, deleted", &identity.User{ID: "1", Origin: identity.OriginSSO, DeletedAt: time.Unix(1, 0)}},
}

// cell is one cell of Decide's table; a cell after "; by POST: " is for statements that revive.
type cell struct {
	op     identity.Op
	active bool
}

// decisions is the table, read by the words of its cells.
var decisions = map[lifecycle.Stated][4]string{
	identity.StatusActive:   {"create", "update", "reactivate", "reactivate"},
	identity.StatusInactive: {"create, inactive", "deactivate", "update", "nothing; by POST: update, inactive"},
	identity.StatusPending:  {"nothing", "deactivate", "nothing", "nothing"},
	identity.StatusGone:     {"nothing", "deactivate", "nothing", "nothing"},
	identity.StatusUnknown:  {"nothing", "nothing", "nothing", "nothing"},
	lifecycle.StatedAbsent:  {"nothing", "deactivate", "nothing", "nothing"},
	lifecycle.StatedDeleted: {"nothing", "delete", "delete", "nothing"},
}

func parseCell(words string, held *identity.User, revive bool) cell {
	normal, byPost, differs := strings.Cut(words, "; by POST: ")
	if differs && revive {
		normal = byPost
	}
	verb, _, inactive := strings.Cut(normal, ", inactive")
	wasActive := held != nil && held.Active
	switch verb {
	case "nothing":
		return cell{"", wasActive}
	case "create":
		return cell{identity.OpCreate, !inactive}
	case "update":
		return cell{identity.OpUpdate, wasActive}
	case "reactivate":
		return cell{identity.OpReactivate, true}
	}
	return cell{identity.Op(verb), false}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for stated, row := range decisions {
		for column, held := range heldAs {
			for _, origin := range []identity.Origin{identity.OriginSSO, identity.OriginLocal} {
				for _, protected := range []string{"", "the last admin"} {
					for _, way := range []lifecycle.Way{lifecycle.Pull, lifecycle.Push} {
						for _, revive := range []bool{false, true} {
							if revive && way == lifecycle.Pull || held.user == nil && (origin == identity.OriginLocal || protected != "") {
								continue
							}
							var user *identity.User
							if held.user != nil {
								u := *held.user
								u.Origin = origin
								user = &u
							}
							facts := lifecycle.Facts{Way: way, Source: "okta", Protected: protected, Revive: revive}
							want := parseCell(row[column], user, revive)
							takesOver := stated == identity.StatusActive || stated == identity.StatusInactive
							if user != nil && origin == identity.OriginLocal && takesOver && want.op != "" {
								want.op = identity.OpConvert
							}
							refused := protected != "" && (want.op == identity.OpConvert || want.op == identity.OpDeactivate || want.op == identity.OpDelete)

							d := lifecycle.Decide(stated, user, facts)
							name := fmt.Sprintf("Decide(%s, %s %s, %+v)", stated, origin, held.name, facts)
							if got := (cell{d.Op, d.Active}); got != want || d.Refused != refused {
								t.Errorf("%s = %+v refused %v, want %+v refused %v", name, got, d.Refused, want, refused)
							}
							if wantProfile := takesOver && want.op != ""; d.Profile != wantProfile {
								t.Errorf("%s takes attributes over: %v, want %v", name, d.Profile, wantProfile)
							}
							if d.Refused && d.Reason != "break glass: the last admin" {
								t.Errorf("%s reason %q", name, d.Reason)
							}
							removes := want.op == identity.OpDeactivate || want.op == identity.OpDelete || want.op == identity.OpReactivate
							if removes && d.Reason == "" {
								t.Errorf("%s gives no reason", name)
							}
						}
					}
				}
			}
		}
	}
}

func TestDecide_StatusOfANewerSourceChangesNothing(t *testing.T) {
	t.Parallel()
	for _, held := range heldAs {
		d := lifecycle.Decide("quarantined", held.user, lifecycle.Facts{Source: "okta"})
		if d.Op != "" || d.Active != (held.user != nil && held.user.Active) {
			t.Errorf("Decide(quarantined, %s) = %+v, want nothing", held.name, d)
		}
	}
}

// The comment is what people read, so it must say what is tested.
func TestDecide_CommentHasTheTable(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("decide.go")
	if err != nil {
		t.Fatal(err)
	}
	got := map[lifecycle.Stated][4]string{}
	inTable := false
	for line := range strings.Lines(string(source)) {
		rest, isTable := strings.CutPrefix(strings.TrimRight(line, "\n"), "//\t")
		if inTable = isTable && (inTable || strings.HasPrefix(rest, "stated ")); !inTable || strings.HasPrefix(rest, "stated ") {
			continue
		}
		var cells []string
		for _, field := range strings.Split(rest, "  ") {
			if field = strings.TrimSpace(field); field != "" {
				cells = append(cells, field)
			}
		}
		if len(cells) != 5 {
			t.Fatalf("the row %q has %d cells, want 5", rest, len(cells))
		}
		got[lifecycle.Stated(cells[0])] = [4]string(cells[1:])
	}
	if diff := cmp.Diff(decisions, got); diff != "" {
		t.Errorf("the table of the comment (-tested +comment):\n%s", diff)
	}
}

func TestCorrelate(t *testing.T) {
	t.Parallel()
	email := func(address string) identity.Attributes {
		return identity.Attributes{"emails": []any{map[string]any{"value": address, "type": "work", "primary": true}}}
	}
	record := identity.Record{
		SourceID: "00u1", UserName: "Ana@acme.test", Status: identity.StatusActive,
		Attributes: []identity.Stated{{Path: identity.Path{Attr: "emails", Type: "work", Sub: "value"}, Value: "ana.lee@acme.test"}},
	}
	for _, c := range []struct {
		name       string
		candidates []identity.User
		privileged string
		gone       string
		id, how    string
		conflict   string
		former     string
	}{
		{name: "nobody"},
		{
			name:       "source id",
			candidates: []identity.User{{ID: "1", Source: "okta", SourceID: "00u1", UserName: "renamed@acme.test"}},
			id:         "1", how: "source id",
		},
		{
			name: "source id before everything else",
			candidates: []identity.User{
				{ID: "2", UserName: "ana@acme.test"}, {ID: "3", ExternalID: "00u1"}, {ID: "1", Source: "okta", SourceID: "00u1"},
			},
			id: "1", how: "source id",
		},
		{
			name:       "the same id at another source is somebody else",
			candidates: []identity.User{{ID: "1", Source: "entra", SourceID: "00u1", UserName: "bob@acme.test"}},
		},
		{
			name:       "external id of nobody's",
			candidates: []identity.User{{ID: "1", ExternalID: "00u1", UserName: "other@acme.test"}},
			id:         "1", how: "external id",
		},
		{
			name:       "external id pushed by an unbound key",
			candidates: []identity.User{{ID: "1", Source: "scim:k1", ExternalID: "00u1"}},
			id:         "1", how: "external id",
		},
		{
			name:       "external id within the source",
			candidates: []identity.User{{ID: "1", Source: "okta", ExternalID: "00u1"}},
			id:         "1", how: "external id",
		},
		{
			name:       "external id of a privileged account is proof enough",
			candidates: []identity.User{{ID: "1", ExternalID: "00u1"}}, privileged: "1",
			id: "1", how: "external id",
		},
		{
			name:       "external id before name",
			candidates: []identity.User{{ID: "2", UserName: "ana@acme.test"}, {ID: "1", ExternalID: "00u1", Source: "scim:k1"}},
			id:         "1", how: "external id",
		},
		{
			name:       "external id owned by another connector",
			candidates: []identity.User{{ID: "1", Source: "entra", ExternalID: "00u1", UserName: "x"}},
			conflict:   "x (1) is owned by entra",
		},
		{
			name:       "two have the external id",
			candidates: []identity.User{{ID: "1", UserName: "x", ExternalID: "00u1"}, {ID: "2", UserName: "y", ExternalID: "00u1", Source: "scim:k"}},
			conflict:   "two accounts may be meant: x (1) and y (2)",
		},
		{
			name:       "userName in another case",
			candidates: []identity.User{{ID: "1", UserName: "ANA@acme.test"}},
			id:         "1", how: "name",
		},
		{
			name:       "stated e-mail is a userName",
			candidates: []identity.User{{ID: "1", UserName: "ana.lee@acme.test"}},
			id:         "1", how: "name",
		},
		{
			name:       "userName is an e-mail",
			candidates: []identity.User{{ID: "1", UserName: "x", Attributes: email("Ana@ACME.test")}},
			id:         "1", how: "name",
		},
		{
			name:       "candidates who are somebody else",
			candidates: []identity.User{{ID: "1", UserName: "bob@acme.test"}, {ID: "2", ExternalID: "00u2"}},
		},
		{
			name:       "two have the names",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test"}, {ID: "2", UserName: "ana.lee@acme.test"}},
			conflict:   "two accounts may be meant: ana@acme.test (1) and ana.lee@acme.test (2)",
		},
		{
			name:       "name owned by another connector",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "entra", SourceID: "e1"}},
			conflict:   "ana@acme.test (1) is owned by entra",
		},
		{
			name:       "name pushed by an unbound key",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "scim:k1"}},
			conflict:   "ana@acme.test (1) is owned by scim:k1",
		},
		{
			name:       "name within the source, without an id",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "okta"}},
			conflict:   "ana@acme.test (1) is owned by okta",
		},
		{
			name:       "name within the source, with another id",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "okta", SourceID: "00u0"}},
			conflict:   "ana@acme.test (1) is known to okta as 00u0", former: "00u0",
		},
		{
			name:       "name within the source, with another id that is gone",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "okta", SourceID: "00u0"}}, gone: "00u0",
			id: "1", how: "rehired",
		},
		{
			name:       "privileged, with another id that is gone",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "okta", SourceID: "00u0"}}, gone: "00u0", privileged: "1",
			conflict: "ana@acme.test (1) is known to okta as 00u0, and a privileged account",
		},
		{
			name:       "gone at another connector",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test", Source: "entra", SourceID: "00u0"}}, gone: "00u0",
			conflict: "ana@acme.test (1) is owned by entra",
		},
		{
			name: "two have the names, one of them is gone",
			candidates: []identity.User{
				{ID: "1", UserName: "ana@acme.test", Source: "okta", SourceID: "00u0"}, {ID: "2", UserName: "ana.lee@acme.test"},
			}, gone: "00u0",
			conflict: "two accounts may be meant: ana@acme.test (1) and ana.lee@acme.test (2)",
		},
		{
			name:       "name of a privileged account",
			candidates: []identity.User{{ID: "1", UserName: "ana@acme.test"}}, privileged: "1",
			conflict: "ana@acme.test (1) is a privileged account",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := lifecycle.Correlate(&record, "okta", c.candidates, map[string]bool{c.privileged: true}, map[string]bool{c.gone: true})
			id := ""
			if m.User != nil {
				id = m.User.ID
			}
			if id != c.id || m.How != c.how || m.Conflict != c.conflict || m.Former != c.former {
				t.Errorf("Correlate() = user %q by %q, conflict %q, want %q by %q, conflict %q", id, m.How, m.Conflict, c.id, c.how, c.conflict)
			}
		})
	}
}
