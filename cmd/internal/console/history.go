package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// entry is one line of the history of a person, group or team.
type entry struct {
	At        time.Time
	What      string // what happened, in words
	Thing     named  // what else it is about: the group that a person came into
	Fields    []field
	Members   []named // of a membership event of a group: some of those who came or left
	More      int     // and how many others
	Reason    string
	Actor     api.Actor
	RunID     string
	RequestID string
	Type      string
}

// named is something with a page.
type named struct{ Name, Href string }

// field is one value before and after, as texts.
type field struct {
	Path          string
	Before, After string
	Had, Has      bool
}

// whatOf says what events are in words; of the others the type is shown.
var whatOf = map[string]string{
	"user.created": "Created", "user.updated": "Changed", "user.deactivated": "Deactivated", "user.reactivated": "Reactivated",
	"user.converted": "Became an account of the identity provider", "user.deleted": "Deleted over SCIM", "user.unlinked": "Sign-in at the identity provider unlinked",
	"group.created": "Created", "group.updated": "Changed", "group.deleted": "Deleted",
	"team.created": "Created", "team.updated": "Changed", "team.deleted": "Deleted",
	"key.created": "API key made", "key.revoked": "API key revoked", "key.disabled": "API key disabled", "key.rotated": "API key rotated", "key.enabled": "API key let in again",
	"change.refused": "A change was refused", "signin.succeeded": "Signed in", "signin.failed": "Sign-in failed", "signin.blocked": "Sign-in blocked after failures",
	"signin.unblocked": "Sign-in let in again", "session.ended": "Session ended", "password.changed": "Password changed",
	"drift.found": "Drift found", "drift.repaired": "Drift repaired", "conflict.linked": "Linked to a record of a conflict",
}

// entriesOf tells events about one person, group or team. q names the members of the few that have some.
func entriesOf(q *request, events []api.Event, about string) []entry {
	names := nameFinder{q: q, known: map[string]named{}}
	out := make([]entry, len(events))
	for i := range events {
		e := &events[i]
		out[i] = entry{At: e.At, What: whatOf[e.Type], Reason: e.Reason, Actor: e.Actor, RunID: e.RunID, RequestID: e.RequestID, Type: e.Type}
		if out[i].What == "" {
			out[i].What = e.Type
		}
		switch {
		case e.Type == "grant.added" || e.Type == "grant.revoked":
			if out[i].What = grantText(e); len(e.Fields) > 0 {
				out[i].Reason = "" // it says the same
			}
		case e.Type == "membership.added" || e.Type == "membership.removed":
			if e.ObjectID != about {
				out[i].What = map[bool]string{true: "Came into group", false: "Left group"}[e.Type == "membership.added"]
				out[i].Thing = named{e.Name, "/groups/" + url.PathEscape(e.ObjectID)}
				continue
			}
			out[i].What = plural(len(e.Members), "member") + map[bool]string{true: " came", false: " left"}[e.Type == "membership.added"]
			out[i].Members = names.some(e.Members)
			out[i].More = len(e.Members) - len(out[i].Members)
		default:
			out[i].Fields = fieldsShown(e.Fields)
		}
	}
	return out
}

// grantText says which role was given or taken, on what and why.
func grantText(e *api.Event) string {
	values := map[string]string{}
	for _, f := range e.Fields {
		for _, v := range []any{f.Before, f.After} {
			if text, ok := v.(string); ok {
				values[f.Path] = text
			}
		}
	}
	if values["role"] == "" { // recorded before events had fields
		return map[bool]string{true: "Role given", false: "Role taken away"}[e.Type == "grant.added"]
	}
	how := map[string]string{"manual": " by hand", "direct": " by the identity provider", "jit": " at a sign-in"}[values["kind"]]
	verb := map[bool]string{true: "given", false: "taken away"}[e.Type == "grant.added"]
	if e.Object == "group" {
		verb = map[bool]string{true: "given to the members", false: "no longer given to the members"}[e.Type == "grant.added"]
	}
	return fmt.Sprintf("Role %s on %s %s%s", values["role"], values["team"], verb, how)
}

func fieldsShown(fields []api.FieldChange) []field {
	out := make([]field, len(fields))
	for i, f := range fields {
		before, had := valueText(f.Before)
		after, has := valueText(f.After)
		out[i] = field{f.Path, before, after, had, has}
	}
	return out
}

// longestValue bounds what is shown of one value, in bytes.
const longestValue = 600

// valueText writes a value for people, and tells whether there is one.
func valueText(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return bounded(v), v != ""
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v], true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	if text := elementText(v); text != "" {
		return bounded(text), true
	}
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(v); err != nil {
		return "", false // nothing that came as JSON
	}
	return bounded(strings.TrimSpace(text.String())), true
}

// elementText writes the usual list of values with types, such as e-mail addresses; "" for anything else.
func elementText(v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var parts []string
	for _, element := range list {
		if text, ok := element.(string); ok {
			parts = append(parts, text)
			continue
		}
		m, ok := element.(map[string]any)
		text := partsText(m)
		if !ok || text == "" {
			return ""
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// partsText writes one of such values: what it is, and in brackets what it is for; "" where it holds more than texts.
func partsText(m map[string]any) string {
	var values, notes []string
	if value, ok := m["value"].(string); ok {
		values = append(values, value)
	}
	for _, name := range slices.Sorted(keysOf(m)) {
		switch sub := m[name].(type) {
		case string:
			switch {
			case name == "type":
				notes = append(notes, sub)
			case name == "value":
			case len(values) > 0 && m["value"] != nil:
				notes = append(notes, name+" "+sub)
			default:
				values = append(values, name+" "+sub)
			}
		case bool:
			if sub {
				notes = append(notes, name)
			}
		default:
			return ""
		}
	}
	if len(notes) > 0 && len(values) > 0 {
		return strings.Join(values, ", ") + " (" + strings.Join(notes, ", ") + ")"
	}
	return strings.Join(values, ", ")
}

func keysOf(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

func bounded(text string) string {
	if len(text) <= longestValue {
		return text
	}
	end := longestValue
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}

// nameFinder looks up who ids are, each once, and not many of them: a page of history names some, and counts the rest.
type nameFinder struct {
	q     *request
	known map[string]named
}

const (
	namesEach = 3  // of one event
	namesMost = 60 // of a page
)

func (f *nameFinder) some(ids []string) []named {
	var out []named
	for _, id := range ids[:min(len(ids), namesEach)] {
		n, ok := f.known[id]
		if !ok {
			if len(f.known) >= namesMost {
				break
			}
			n = f.find(id)
			f.known[id] = n
		}
		out = append(out, n)
	}
	return out
}

// find returns what is behind a member's id: a person, a group, or what is gone.
func (f *nameFinder) find(id string) named {
	if u, err := fetch[api.UserDetail](f.q, "/users/"+url.PathEscape(id), nil); err == nil {
		return named{u.UserName, "/people/" + url.PathEscape(id)}
	}
	if g, err := fetch[api.GroupDetail](f.q, "/groups/"+url.PathEscape(id), nil); err == nil {
		return named{"group " + g.DisplayName, "/groups/" + url.PathEscape(id)}
	}
	return named{Name: id}
}
