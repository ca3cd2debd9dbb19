package store

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// scope is what the names in an expression stand for: those of a table, or of what one row of it leads to.
type scope struct {
	columns  map[Field]column
	document string // the column with the JSON document, "" for none
	root     value  // of that, or of an element of a list in one
	id       string // of the row
	members  []relation
}

// relation leads from rows to others: those whose id is one of owner are related to what the columns say.
type relation struct {
	owner   string
	from    string
	columns map[Field]column
}

var userScope = scope{
	document: "users.document",
	columns: map[Field]column{
		FieldID:           {sql: "users.id", kind: uuidKind},
		FieldUserName:     {sql: "users.user_name_key", kind: normalized},
		FieldExternalID:   {sql: "users.external_id", kind: exact, optional: true},
		FieldDisplayName:  {sql: "users.display_name_key", kind: normalized},
		FieldEmail:        {sql: "users.email_key", kind: normalized, optional: true},
		FieldActive:       {sql: "users.active", kind: boolKind},
		FieldCreated:      {sql: "users.created_at", kind: timeKind},
		FieldLastModified: {sql: "users.updated_at", kind: timeKind},
		FieldVersion:      {sql: "users.version", kind: intKind},
		FieldSource:       {sql: "users.source", kind: exact},
		FieldOrigin:       {sql: "users.origin", kind: exact},
	},
	id: "users.id",
	members: []relation{
		related("m.user_id", "m.group_id", false, "group_members m JOIN groups e ON e.id = m.group_id WHERE "),
		related("m.user_id", "e.id", true, "group_members m JOIN group_closure c ON c.member_id = m.group_id JOIN groups e ON e.id = c.ancestor_id "+
			"WHERE NOT EXISTS (SELECT 1 FROM group_members o WHERE o.group_id = e.id AND o.user_id = m.user_id) AND "),
	},
}

var groupScope = scope{
	document: "g.document",
	columns: map[Field]column{
		FieldID:           {sql: "g.id", kind: uuidKind},
		FieldExternalID:   {sql: "g.external_id", kind: exact, optional: true},
		FieldDisplayName:  {sql: "g.display_name_key", kind: normalized},
		FieldCreated:      {sql: "g.created_at", kind: timeKind},
		FieldLastModified: {sql: "g.updated_at", kind: timeKind},
		FieldVersion:      {sql: "g.version", kind: intKind},
		FieldSource:       {sql: "g.source", kind: exact},
	},
	id: "g.id",
	members: []relation{
		related("m.group_id", "m.user_id", false, "group_members m JOIN users e ON e.id = m.user_id WHERE e.deleted_at IS NULL AND "),
		related("m.group_id", "m.member_id", true, "group_nested m JOIN groups e ON e.id = m.member_id WHERE "),
	},
}

// scope makes a table's names mean something to a dialect.
func (d dialect) scope(s scope) *scope {
	document := s.document
	s.root = value{loose: true, member: func(name string) value { return d.at(document, name) }}
	return &s
}

func related(owner, id string, nested bool, from string) relation {
	return relation{owner: owner, from: from, columns: map[Field]column{
		FieldID:          {sql: id, kind: uuidKind},
		FieldDisplayName: {sql: "e.display_name", kind: folded, key: "e.display_name_key"},
		FieldNested:      {sql: strings.ToUpper(strconv.FormatBool(nested)), kind: boolKind},
	}}
}

// writer writes the predicate of a statement, with its arguments in the order of their places.
type writer struct {
	d    dialect
	sql  strings.Builder
	args []any
	n    int // numbers aliases
}

func (w *writer) put(sql string, args ...any) {
	w.sql.WriteString(sql)
	w.args = append(w.args, args...)
}

func (w *writer) constant(truth bool) {
	if truth {
		w.put("TRUE")
		return
	}
	w.put("FALSE")
}

// where writes a predicate.
func (w *writer) where(e Expr, s *scope) error {
	switch e := e.(type) {
	case nil:
		w.put("TRUE")
		return nil
	case And:
		return w.join(e, " AND ", true, s)
	case Or:
		return w.join(e, " OR ", false, s)
	case Not:
		w.put("NOT (")
		err := w.where(e.Expr, s)
		w.put(")")
		return err
	case Compare:
		return w.compare(e, s)
	case Test:
		return w.test(e, s)
	case Some:
		return w.some(e, s)
	case Has:
		return w.has(e, s)
	}
	return fmt.Errorf("%T is no predicate", e)
}

func (w *writer) join(parts []Expr, operator string, empty bool, s *scope) error {
	if len(parts) == 0 {
		w.constant(empty)
		return nil
	}
	for i, part := range parts {
		if i > 0 {
			w.put(operator)
		}
		w.put("(")
		if err := w.where(part, s); err != nil {
			return err
		}
		w.put(")")
	}
	return nil
}

// isMember is the common question of a relation: whether one row leads to the row with an id.
func (w *writer) isMember(e Compare, s *scope) error {
	id, ok := e.Value.(string)
	if e.Op != OpEq || !ok {
		return fmt.Errorf("compare member: operator %q, want eq", e.Op)
	}
	return w.some(Some{Of: FieldMember, Where: Compare{Field: FieldID, Op: OpEq, Value: id}}, s)
}

func (w *writer) some(e Some, s *scope) error {
	if e.Of == Operand(FieldMember) && len(s.members) > 0 {
		return w.someMember(e.Where, s)
	}
	a, ok := e.Of.(Attribute)
	if !ok || a.Sub != "" {
		return fmt.Errorf("some of %v: no list to look in", e.Of)
	}
	return w.someElement(a, e.Where, s)
}

// someMember writes that a row leads to one that meets a predicate, by any of its relations.
func (w *writer) someMember(where Expr, s *scope) error {
	w.put(s.id + " IN (")
	for i, r := range s.members {
		if i > 0 {
			w.put(" UNION ALL ")
		}
		w.put("SELECT " + r.owner + " FROM " + r.from + "(")
		if err := w.where(where, &scope{columns: r.columns}); err != nil {
			return err
		}
		w.put(")")
	}
	w.put(")")
	return nil
}

// anyEmail writes that one of a user's addresses is a text: the primary one, or one of the others.
func (w *writer) anyEmail(e Compare, s *scope) error {
	text, ok := e.Value.(string)
	if e.Op != OpEq || !ok || s.columns[FieldEmail].sql == "" {
		return fmt.Errorf("compare e-mail addresses: operator %q, want eq", e.Op)
	}
	key := identity.Normalize(text)
	if !holdable(text) || key == "" {
		w.put("FALSE")
		return nil
	}
	found := "SELECT p.id FROM users p WHERE p.email_key <> '' AND p.email_key = ? UNION ALL SELECT user_id FROM user_emails WHERE email_key = ?"
	if w.d.postgres() { // as an array it is looked up in the index, whatever the planner expects to find
		w.put(s.id+" = ANY(ARRAY("+found+"))", key, key)
		return nil
	}
	w.put(s.id+" IN ("+found+")", key, key)
	return nil
}
