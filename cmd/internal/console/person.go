package console

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// personPage is one person: what they may do and why, and what is known of them.
type personPage struct {
	personHead
	Asked      string // the moment that is asked about, as typed
	AtProblem  string // what is wrong with it, or why nothing is known of it
	Access     *access
	Groups     []membership
	Attributes []attributeSet
	Recent     []entry
	Form       *giveForm // for whoever may give roles
	Sessions   int
	Keys       int // that let in
}

// access is what somebody may do, or might at a moment.
type access struct {
	Active bool
	Reason string // why nothing is in force
	At     *time.Time
	Teams  []teamRoles
}

type teamRoles struct {
	Team  string
	Scope []string
	Roles []heldRole
}

// heldRole is a role with every reason for it.
type heldRole struct {
	Team, Role string
	Reasons    []reason
	ByHand     bool // and so can be taken away
	Stays      bool // for another reason, when that is done
}

// reason is why a role is held.
type reason struct {
	Text    string // up to the thing
	Thing   named
	Through string // the nested groups
}

// membership is a group that a person is in.
type membership struct {
	named
	Indirect bool
	Through  string
	Since    *time.Time
	By       *entry // how it began
}

// attributeSet is the attributes of the core, or of an extension.
type attributeSet struct {
	Extension string
	Rows      []attribute
}

// attribute is one value with where it came from.
type attribute struct {
	Path, Name string
	Value      string
	Owner      string // whose word counts: a connector, a SCIM key or "local"
	Kept       bool   // the configuration keeps the connector from it
	Changed    *entry
}

// recent is how many events a person's first page shows, and looked through how many it finds where values came from.
const (
	recent        = 8
	lookedThrough = 500
)

func (c *Console) person(q *request) (*view, error) {
	head, err := c.head(q, "overview")
	if err != nil {
		return nil, err
	}
	return c.personView(q, head)
}

func (c *Console) personView(q *request, head personHead) (*view, error) {
	page := personPage{personHead: head, Asked: q.Query("at")}
	if err := page.readAccess(q); err != nil {
		return nil, err
	}
	history, err := fetch[api.Page[api.Event]](q, q.personPath()+"/history", url.Values{"limit": {strconv.Itoa(lookedThrough)}})
	if err != nil {
		return nil, err
	}
	page.Groups = membershipsOf(&head.User, page.Access, history.Items)
	page.Attributes = attributesOf(&head.User, history.Items, history.NextCursor == "")
	page.Recent = entriesOf(q, history.Items[:min(len(history.Items), recent)], head.User.ID)
	if q.Level >= levelAdmin {
		if page.Form, err = readGiveForm(q); err != nil {
			return nil, err
		}
		if err := page.countSignIn(q); err != nil {
			return nil, err
		}
	}
	return head.view("person", page), nil
}

// countSignIn counts what ends when the account is deactivated.
func (p *personPage) countSignIn(q *request) error {
	keys, sessions, err := readSignIn(q, p.User.ID)
	for i := range keys {
		if keys[i].State == "live" {
			p.Keys++
		}
	}
	p.Sessions = len(sessions)
	return err
}

// readAccess reads what the person may do, or might at the moment that is asked about.
func (p *personPage) readAccess(q *request) error {
	query := url.Values{}
	if p.Asked != "" {
		at, err := readMoment(p.Asked)
		if err != nil {
			p.AtProblem = "Want a date and a time, UTC, such as 2026-03-01T12:00."
		} else {
			query.Set("at", at.Format(time.RFC3339))
		}
	}
	got, err := fetch[api.Access](q, q.personPath()+"/access", query)
	if problem := asProblem(err); problem != nil && query.Has("at") {
		p.AtProblem = problem.Detail
		return nil
	}
	if err != nil {
		return err
	}
	if p.AtProblem == "" {
		p.Access = accessOf(q, &got)
	}
	return nil
}

// readMoment reads a moment as browsers send it, or as people type it.
func readMoment(text string) (time.Time, error) {
	var at time.Time
	var err error
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05", time.RFC3339, time.DateOnly} {
		if at, err = time.Parse(layout, text); err == nil {
			return at.UTC(), nil
		}
	}
	return at, err
}

func accessOf(q *request, got *api.Access) *access {
	names := nameFinder{q: q, known: map[string]named{}}
	out := &access{Active: got.Active, Reason: got.Reason, At: got.At}
	for _, team := range got.Teams {
		out.Teams = append(out.Teams, teamRoles{Team: team.Team, Scope: team.Scope, Roles: heldRoles(&names, team.Team, team.Roles)})
	}
	return out
}

// heldRoles returns roles on a team with the reasons in words.
func heldRoles(names *nameFinder, team string, list []api.RoleAccess) []heldRole {
	out := make([]heldRole, len(list))
	for i, role := range list {
		held := heldRole{Team: team, Role: role.Role}
		for _, via := range role.Via {
			held.Reasons = append(held.Reasons, reasonOf(names, via))
			if via.Kind == "manual" {
				held.ByHand = true
			} else {
				held.Stays = true
			}
		}
		out[i] = held
	}
	return out
}

func reasonOf(names *nameFinder, via api.Via) reason {
	switch via.Kind {
	case "group":
		return reason{Text: "because of group", Thing: named{cmp.Or(via.Name, via.ID), "/groups/" + url.PathEscape(via.ID)}, Through: via.Through}
	case "direct":
		return reason{Text: "stated by the identity provider, in roles"}
	case "jit":
		return reason{Text: "given at a sign-in by group", Thing: named{Name: cmp.Or(via.Name, via.ID)}}
	}
	if via.ID == "" {
		return reason{Text: "given by hand, on the command line"}
	}
	if by := names.some([]string{via.ID}); len(by) > 0 {
		return reason{Text: "given by hand by", Thing: by[0]}
	}
	return reason{Text: "given by hand"}
}

// membershipsOf returns the groups that a person is in, with since when, as far as the events tell.
func membershipsOf(u *api.UserDetail, held *access, events []api.Event) []membership {
	through := map[string]string{}
	if held != nil {
		for _, team := range held.Teams {
			for _, role := range team.Roles {
				for _, r := range role.Reasons {
					if r.Through != "" {
						through[r.Thing.Href] = r.Through
					}
				}
			}
		}
	}
	began := map[string]*api.Event{}
	for i := range events {
		e := &events[i]
		if (e.Type == "membership.added" || e.Type == "membership.removed") && e.ObjectID != u.ID && began[e.ObjectID] == nil {
			began[e.ObjectID] = e
		}
	}
	var out []membership
	for _, g := range u.Groups {
		m := membership{named: named{g.DisplayName, "/groups/" + url.PathEscape(g.ID)}, Indirect: g.Indirect}
		m.Through = through[m.Href]
		if e := began[g.ID]; e != nil && !g.Indirect && e.Type == "membership.added" {
			m.Since = &e.At
			m.By = &entry{At: e.At, Actor: e.Actor, RunID: e.RunID, RequestID: e.RequestID}
		}
		out = append(out, m)
	}
	return out
}

// attributesOf returns what is held of a person, value by value, with whose word counts and what changed it last. whole
// tells that the events go back to the beginning.
func attributesOf(u *api.UserDetail, events []api.Event, whole bool) []attributeSet {
	account := cmp.Or(u.Source, "local")
	sets := []attributeSet{{}}
	add := func(path, name, owner string, value any) {
		if text, ok := valueText(value); ok {
			set := &sets[len(sets)-1]
			set.Rows = append(set.Rows, attribute{path, name, text, owner, owner == "local" && u.Source != "", lastChange(path, events, whole)})
		}
	}
	add("userName", "userName", account, u.UserName)
	add("externalId", "externalId", account, u.ExternalID)
	for _, name := range slices.SortedFunc(keysOf(u.Attributes), byAttribute) {
		owner := cmp.Or(u.Owners[name], account)
		parts, isMap := u.Attributes[name].(map[string]any)
		if !isMap {
			add(name, name, owner, u.Attributes[name])
			continue
		}
		prefix, separator := name+".", "."
		if isExtension(name) {
			sets = append(sets, attributeSet{Extension: name})
			prefix, separator = "", ":"
		}
		for _, sub := range slices.Sorted(keysOf(parts)) {
			add(name+separator+sub, prefix+sub, owner, parts[sub])
		}
	}
	return sets
}

func isExtension(name string) bool { return strings.HasPrefix(strings.ToLower(name), "urn:") }

// byAttribute puts extensions behind the core attributes.
func byAttribute(a, b string) int {
	if isExtension(a) != isExtension(b) {
		return map[bool]int{true: 1, false: -1}[isExtension(a)]
	}
	return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
}

// lastChange returns what changed an attribute last; nil where the events do not tell.
func lastChange(path string, events []api.Event, whole bool) *entry {
	told := func(e *api.Event) *entry {
		return &entry{At: e.At, Actor: e.Actor, RunID: e.RunID, RequestID: e.RequestID, Reason: e.Reason, Type: e.Type}
	}
	var created *api.Event
	for i := range events {
		e := &events[i]
		if !strings.HasPrefix(e.Type, "user.") {
			continue
		}
		if slices.ContainsFunc(e.Fields, func(f api.FieldChange) bool { return samePath(f.Path, path) }) {
			return told(e)
		}
		if e.Type == "user.created" {
			created = e
		}
	}
	if whole && created != nil {
		return told(created)
	}
	return nil
}

// samePath tells whether a change at one path is one of the other: of it, of a part of it, or of what it is part of.
func samePath(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, begins := strings.CutPrefix(b, a)
	return begins && (rest == "" || strings.ContainsRune(".:[", rune(rest[0])))
}

// historyPage is all that happened to somebody or something, page by page.
type historyPage struct {
	personHead
	Entries []entry
	Pages   listPages
}

func (c *Console) personHistory(q *request) (*view, error) {
	head, err := c.head(q, "history")
	if err != nil {
		return nil, err
	}
	query := q.given("cursor")
	query.Set("limit", strconv.Itoa(listed))
	events, err := fetch[api.Page[api.Event]](q, q.personPath()+"/history", query)
	if err != nil {
		return nil, err
	}
	return head.view("person_history", historyPage{head, entriesOf(q, events.Items, head.User.ID), cursorPages(q, events.NextCursor)}), nil
}

// signInPage is by what a person gets in.
type signInPage struct {
	personHead
	Keys     []api.Key
	Sessions []api.SignedIn
}

func (c *Console) personSignIn(q *request) (*view, error) {
	head, err := c.head(q, "sign-in")
	if err != nil {
		return nil, err
	}
	keys, sessions, err := readSignIn(q, head.User.ID)
	if err != nil {
		return nil, err
	}
	return head.view("person_signin", signInPage{head, keys, sessions}), nil
}

func readSignIn(q *request, id string) ([]api.Key, []api.SignedIn, error) {
	query := url.Values{"user": {id}, "limit": {"500"}}
	keys, err := fetch[api.Page[api.Key]](q, "/keys", query)
	if err != nil {
		return nil, nil, err
	}
	sessions, err := fetch[api.Page[api.SignedIn]](q, "/sessions", query)
	return keys.Items, sessions.Items, err
}
