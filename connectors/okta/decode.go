package okta

import (
	"errors"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// user is what is read of one user object or app user object; its texts point into the body.
type user struct {
	id       text
	status   text
	login    text                // profile.login
	userName text                // credentials.userName, of an app user
	values   [attributes]text    // texts of the profile; raw is nil for absent and null
	odd      [attributes]bool    // values that are neither text, number, truth value nor null: not stated
	inner    *user               // _embedded.user of an app user
	buffer   []byte              // scratch of record
	ends     [attributes + 1]int // scratch of record
}

func (u *user) reset() {
	inner, buffer := u.inner, u.buffer
	*u = user{inner: inner, buffer: buffer}
}

// decodeUsers reads a list of user objects (app users with app set) into records.
func decodeUsers(body []byte, app bool, readAt time.Time, keep func(id string) bool) (records []identity.Record, items int, err error) {
	s := &scanner{data: body}
	u := &user{}
	// One user object takes about a kilobyte; the slab holds the attributes of all records of the page.
	slab := make([]identity.Stated, 0, attributes*min(len(body)/700+1, 512))
	records = make([]identity.Record, 0, cap(slab)/attributes)
	err = s.array(func() error {
		u.reset()
		if err := s.user(u, app); err != nil {
			return err
		}
		items++
		source, err := u.source(app)
		if err != nil {
			return err
		}
		if keep != nil && !keep(string(source.id.raw)) {
			return nil
		}
		if cap(slab)-len(slab) < attributes {
			slab = make([]identity.Stated, 0, attributes*128)
		}
		var r identity.Record
		r, slab = u.record(source, slab)
		r.ReadAt = readAt
		records = append(records, r)
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, 0, err
	}
	return records, items, nil
}

// decodeUser reads one user object or app user object.
func decodeUser(body []byte, readAt time.Time) (identity.Record, error) {
	s := &scanner{data: body}
	u := &user{}
	if err := s.user(u, false); err != nil {
		return identity.Record{}, err
	}
	if err := s.end(); err != nil {
		return identity.Record{}, err
	}
	source, err := u.source(false)
	if err != nil {
		return identity.Record{}, err
	}
	r, _ := u.record(source, make([]identity.Stated, 0, attributes))
	r.ReadAt = readAt
	return r, nil
}

// source returns the user object that the record is made of, once it is seen to be one.
func (u *user) source(app bool) (*user, error) {
	source := u
	if app {
		source = u.inner
		if source == nil || source.id.raw == nil {
			return nil, errors.New("an app user has no _embedded.user")
		}
		if string(source.id.raw) != string(u.id.raw) {
			return nil, errors.New("an app user and its _embedded.user have different ids")
		}
	}
	switch {
	case !validID(source.id.raw):
		return nil, errors.New("a user has no id")
	case source.status.raw == nil:
		return nil, errors.New("a user has no status")
	case len(source.login.raw) == 0:
		return nil, errors.New("a user has no profile.login")
	}
	return source, nil
}

// user reads one user object; with app set the user object under _embedded too.
func (s *scanner) user(u *user, app bool) error {
	return s.object(func(name text) (err error) {
		if !name.plain {
			return s.skip()
		}
		switch string(name.raw) {
		case "id":
			u.id, err = s.stringOrNull()
		case "status":
			u.status, err = s.stringOrNull()
		case "profile":
			err = s.profile(u)
		case "credentials":
			err = s.credentials(u)
		case "_embedded":
			if !app {
				return s.skip()
			}
			err = s.embedded(u)
		default:
			err = s.skip()
		}
		return err
	})
}

func (s *scanner) profile(u *user) error {
	return s.object(func(name text) (err error) {
		if string(name.raw) == "login" {
			u.login, err = s.stringOrNull()
			return err
		}
		i := slot(name.raw)
		if i < 0 {
			return s.skip()
		}
		u.values[i], u.odd[i], err = s.scalar()
		return err
	})
}

func (s *scanner) credentials(u *user) error {
	if s.peek() != '{' {
		return s.skip()
	}
	return s.object(func(name text) (err error) {
		if !name.is("userName") {
			return s.skip()
		}
		u.userName, err = s.stringOrNull()
		return err
	})
}

func (s *scanner) embedded(u *user) error {
	if s.peek() != '{' {
		return s.skip()
	}
	return s.object(func(name text) error {
		if !name.is("user") {
			return s.skip()
		}
		if u.inner == nil {
			u.inner = &user{}
		}
		u.inner.reset()
		return s.user(u.inner, false)
	})
}

func (s *scanner) stringOrNull() (text, error) {
	if s.peek() == 'n' {
		return text{}, s.literal("null")
	}
	return s.text()
}

// scalar reads an attribute's value as text. Okta's base attributes are strings; what an organization's own schema
// makes a number or a truth value is taken as it is written.
func (s *scanner) scalar() (value text, odd bool, err error) {
	switch s.peek() {
	case '"':
		value, err = s.text()
	case 'n':
		err = s.literal("null")
	case '{', '[':
		odd, err = true, s.skip()
	default:
		start := s.pos
		err = s.skip()
		value = text{raw: s.data[start:s.pos], plain: true}
	}
	return value, odd, err
}

// record states the user. Its texts share one string, which nothing but the record keeps alive.
func (u *user) record(source *user, slab []identity.Stated) (identity.Record, []identity.Stated) {
	b := u.buffer[:0]
	for i, value := range source.values {
		if i == displayName && len(value.raw) == 0 && !source.odd[i] {
			b = source.fullName(b)
		} else {
			b = value.append(b)
		}
		u.ends[i] = len(b)
	}
	b = source.id.append(b)
	u.ends[attributes] = len(b)
	if len(u.userName.raw) > 0 {
		b = u.userName.append(b)
	} else {
		b = source.login.append(b)
	}
	u.buffer = b
	all, first, start := string(b), len(slab), 0
	for i, end := range u.ends[:attributes] {
		if !source.odd[i] {
			stated := identity.Stated{Path: paths[i]}
			if end > start {
				stated.Value = all[start:end]
			}
			slab = append(slab, stated)
		}
		start = end
	}
	id := all[start:u.ends[attributes]]
	meaning, raw := status(source.status)
	return identity.Record{
		SourceID: id, ExternalID: id, UserName: all[u.ends[attributes]:], Status: meaning, RawStatus: raw,
		Attributes: slab[first:len(slab):len(slab)],
	}, slab
}

// fullName appends first and last name, for a profile without displayName.
func (u *user) fullName(b []byte) []byte {
	first, last := u.values[firstName], u.values[lastName]
	b = first.append(b)
	if len(first.raw) > 0 && len(last.raw) > 0 {
		b = append(b, ' ')
	}
	return last.append(b)
}

// decodeGroups reads a list of group objects.
func decodeGroups(body []byte, readAt time.Time) ([]identity.GroupRecord, error) {
	s := &scanner{data: body}
	var groups []identity.GroupRecord
	err := s.array(func() error {
		g, err := s.group()
		g.ReadAt = readAt
		groups = append(groups, g)
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	return groups, nil
}

// decodeGroup reads one group object.
func decodeGroup(body []byte, readAt time.Time) (identity.GroupRecord, error) {
	s := &scanner{data: body}
	g, err := s.group()
	if err == nil {
		err = s.end()
	}
	g.ReadAt = readAt
	return g, err
}

func (s *scanner) group() (identity.GroupRecord, error) {
	var id, label text
	err := s.object(func(name text) (err error) {
		switch {
		case name.is("id"):
			id, err = s.stringOrNull()
		case name.is("profile"):
			err = s.object(func(name text) (err error) {
				if !name.is("name") {
					return s.skip()
				}
				label, err = s.stringOrNull()
				return err
			})
		default:
			err = s.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return identity.GroupRecord{}, err
	case !validID(id.raw):
		return identity.GroupRecord{}, errors.New("a group has no id")
	case len(label.raw) == 0:
		return identity.GroupRecord{}, errors.New("a group has no profile.name")
	}
	source := id.String()
	return identity.GroupRecord{SourceID: source, ExternalID: source, DisplayName: label.String()}, nil
}

// decodeIDs reads the ids, and nothing else, of a list of objects; gone tells that the object is a deprovisioned
// user. The ids share one string.
func decodeIDs(body []byte) (ids []string, gone []bool, err error) {
	s := &scanner{data: body}
	var all []byte
	var ends []int
	err = s.array(func() error {
		var id, state text
		err := s.object(func(name text) (err error) {
			switch string(name.raw) {
			case "id":
				id, err = s.stringOrNull()
			case "status":
				state, err = s.stringOrNull()
			default:
				err = s.skip()
			}
			return err
		})
		if err != nil {
			return err
		}
		if !validID(id.raw) {
			return errors.New("an object has no id")
		}
		all = append(all, id.raw...)
		ends = append(ends, len(all))
		gone = append(gone, state.is(deprovisioned))
		return nil
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, nil, err
	}
	joined, start := string(all), 0
	ids = make([]string, len(ends))
	for i, end := range ends {
		ids[i] = joined[start:end]
		start = end
	}
	return ids, gone, nil
}

// decodeAppUser reads the id and the user name of one app user object.
func decodeAppUser(body []byte) (id, userName string, err error) {
	s := &scanner{data: body}
	u := &user{}
	if err := s.user(u, false); err != nil {
		return "", "", err
	}
	if err := s.end(); err != nil {
		return "", "", err
	}
	return u.id.String(), u.userName.String(), nil
}
