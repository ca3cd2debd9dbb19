package okta

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/goccy/go-json"

	"github.com/idpsync/idpsync/store/identity"
)

// userOf is what is read of a user object, or of an app user object, which has a user name of its own and the user
// object embedded. T is string for what Okta sends, and loose for an organization whose own schema differs.
type userOf[T any] struct {
	ID          string       `json:"id"`
	Status      string       `json:"status"`
	Profile     profileOf[T] `json:"profile"`
	Credentials struct {
		UserName string `json:"userName"`
	} `json:"credentials"`
	Embedded struct {
		User *userOf[T] `json:"user"`
	} `json:"_embedded"`
}

// plainUser is a user object that is not read for an application.
type plainUser[T any] struct {
	ID      string       `json:"id"`
	Status  string       `json:"status"`
	Profile profileOf[T] `json:"profile"`
}

// loose is a profile attribute that an organization may have made a number or a truth value: it is taken as it is
// written. Lists and objects are not stated.
type loose struct {
	text string
	odd  bool
}

// UnmarshalJSON reads any value.
func (l *loose) UnmarshalJSON(b []byte) error {
	switch b = bytes.TrimSpace(b); {
	case len(b) == 0 || string(b) == "null":
		*l = loose{}
	case b[0] == '"':
		return json.Unmarshal(b, &l.text)
	case b[0] == '{' || b[0] == '[':
		l.odd = true
	default:
		l.text = string(b)
	}
	return nil
}

// decodeUsers reads a list of user objects, or of app user objects, into records, those that keep leaves out left
// out. items is the number of objects.
func decodeUsers(body []byte, app bool, readAt time.Time, keep func(id string) bool) (records []identity.Record, items int, err error) {
	records, items, err = decodeList(body, app, readAt, keep, func(s string) (string, bool) { return s, false })
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) {
		records, items, err = decodeList(body, app, readAt, keep, func(l loose) (string, bool) { return l.text, l.odd })
	}
	return records, items, err
}

func decodeList[T any](body []byte, app bool, readAt time.Time, keep func(id string) bool, read func(T) (string, bool)) ([]identity.Record, int, error) {
	m := mapper[T]{read: read, readAt: readAt}
	if app {
		users, err := decode[[]userOf[T]](body)
		if err != nil {
			return nil, 0, err
		}
		return records(users, keep, m.appUser)
	}
	users, err := decode[[]plainUser[T]](body)
	if err != nil {
		return nil, 0, err
	}
	return records(users, keep, m.user)
}

// records turns the objects into records. All are looked at before the first is kept: a page is good or bad as a
// whole.
func records[U any](users []U, keep func(id string) bool, turn func(*U) (identity.Record, error)) ([]identity.Record, int, error) {
	out := make([]identity.Record, 0, len(users))
	for i := range users {
		r, err := turn(&users[i])
		if err != nil {
			return nil, 0, err
		}
		out = append(out, r)
	}
	n := 0
	for i := range out {
		if keep(out[i].SourceID) {
			out[n] = out[i]
			n++
		}
	}
	clear(out[n:])
	return out[:n], len(users), nil
}

// decodeUser reads one user object.
func decodeUser(body []byte, readAt time.Time) (identity.Record, error) {
	list := append(append([]byte{'['}, body...), ']')
	records, items, err := decodeUsers(list, false, readAt, func(string) bool { return true })
	if err == nil && items != 1 {
		err = errors.New("want one user")
	}
	if err != nil {
		return identity.Record{}, err
	}
	return records[0], nil
}

// decode reads the whole body. goccy/go-json keeps to the grammar of encoding/json at five times its speed: a page
// of group members is a megabyte.
func decode[T any](body []byte) (T, error) {
	var v T
	err := json.Unmarshal(body, &v)
	return v, err
}

// mapper makes records of user objects.
type mapper[T any] struct {
	read   func(T) (text string, odd bool)
	readAt time.Time
	slab   []identity.Stated // a few dozen records' attributes at a time
}

func (m *mapper[T]) user(u *plainUser[T]) (identity.Record, error) {
	login, _ := m.read(u.Profile.Login)
	return m.record(u.ID, u.Status, login, &u.Profile)
}

// appUser takes the user name from the assignment and everything else from the user itself.
func (m *mapper[T]) appUser(u *userOf[T]) (identity.Record, error) {
	inner := u.Embedded.User
	if inner == nil {
		return identity.Record{}, errors.New("an app user has no _embedded.user")
	}
	if inner.ID != u.ID {
		return identity.Record{}, errors.New("an app user and its _embedded.user have different ids")
	}
	name := u.Credentials.UserName
	if name == "" {
		name, _ = m.read(inner.Profile.Login)
	}
	return m.record(inner.ID, inner.Status, name, &inner.Profile)
}

func (m *mapper[T]) record(id, status, userName string, p *profileOf[T]) (identity.Record, error) {
	switch {
	case !validID(id):
		return identity.Record{}, errors.New("a user has no id")
	case status == "":
		return identity.Record{}, errors.New("a user has no status")
	case userName == "":
		return identity.Record{}, errors.New("a user has no profile.login")
	}
	values := p.values()
	const slabRecords = 20
	if cap(m.slab)-len(m.slab) < attributes {
		m.slab = make([]identity.Stated, 0, attributes*slabRecords)
	}
	first := len(m.slab)
	for i, value := range values {
		text, odd := m.read(*value)
		if odd {
			continue
		}
		if i == displayName && text == "" {
			given, _ := m.read(p.FirstName)
			family, _ := m.read(p.LastName)
			text = strings.Trim(given+" "+family, " ")
		}
		stated := identity.Stated{Path: paths[i]}
		if text != "" {
			stated.Value = text
		}
		m.slab = append(m.slab, stated)
	}
	return identity.Record{
		SourceID: id, ExternalID: id, UserName: userName, Status: statusOf(status), RawStatus: status,
		Attributes: m.slab[first:len(m.slab):len(m.slab)], ReadAt: m.readAt,
	}, nil
}

// decodeAppUser reads the id and the user name of one app user object.
func decodeAppUser(body []byte) (id, userName string, err error) {
	type appUser struct {
		ID          string `json:"id"`
		Credentials struct {
			UserName string `json:"userName"`
		} `json:"credentials"`
	}
	u, err := decode[appUser](body)
	return u.ID, u.Credentials.UserName, err
}

type group struct {
	ID      string `json:"id"`
	Profile struct {
		Name string `json:"name"`
	} `json:"profile"`
	LastMembershipUpdated string `json:"lastMembershipUpdated"`
}

// joinedSince tells whether the group's membership changed after the given time, or may have.
func (g *group) joinedSince(since time.Time) bool {
	at, err := time.Parse(time.RFC3339, g.LastMembershipUpdated)
	return err != nil || at.After(since)
}

func (g *group) record(readAt time.Time) (identity.GroupRecord, error) {
	switch {
	case !validID(g.ID):
		return identity.GroupRecord{}, errors.New("a group has no id")
	case g.Profile.Name == "":
		return identity.GroupRecord{}, errors.New("a group has no profile.name")
	}
	return identity.GroupRecord{SourceID: g.ID, ExternalID: g.ID, DisplayName: g.Profile.Name, ReadAt: readAt}, nil
}

// decodeGroups reads a list of group objects.
func decodeGroups(body []byte, readAt time.Time) ([]identity.GroupRecord, error) {
	out, _, err := decodeChanged(body, readAt, time.Time{})
	return out, err
}

// decodeChanged reads a list of group objects; joined tells of each whether its membership changed since the given time.
func decodeChanged(body []byte, readAt, since time.Time) (records []identity.GroupRecord, joined []bool, err error) {
	groups, err := decode[[]group](body)
	if err != nil {
		return nil, nil, err
	}
	records, joined = make([]identity.GroupRecord, len(groups)), make([]bool, len(groups))
	for i := range groups {
		if records[i], err = groups[i].record(readAt); err != nil {
			return nil, nil, err
		}
		joined[i] = groups[i].joinedSince(since)
	}
	return records, joined, nil
}

// decodeGroup reads one group object.
func decodeGroup(body []byte, readAt time.Time) (identity.GroupRecord, error) {
	g, err := decode[group](body)
	if err != nil {
		return identity.GroupRecord{}, err
	}
	return g.record(readAt)
}

// decodeIDs reads the ids, and nothing else, of a list of objects; gone tells that the object is a deprovisioned
// user.
func decodeIDs(body []byte) (ids []string, gone []bool, err error) {
	type object struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	objects, err := decode[[]object](body)
	if err != nil {
		return nil, nil, err
	}
	ids, gone = make([]string, len(objects)), make([]bool, len(objects))
	for i := range objects {
		if !validID(objects[i].ID) {
			return nil, nil, errors.New("an object has no id")
		}
		ids[i], gone[i] = objects[i].ID, objects[i].Status == deprovisioned
	}
	return ids, gone, nil
}
