package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

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

// column is where a field lives.
type column struct {
	sql      string
	kind     columnKind
	optional bool   // text: '' is no value
	key      string // folded: a column with its normalized form
}

type columnKind uint8

const (
	normalized columnKind = iota // text in the form that identity.Normalize gives
	folded                       // text that is compared without case
	exact                        // text that is compared as it is
	uuidKind
	boolKind
	timeKind
	intKind
)

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

func (w *writer) compare(e Compare, s *scope) error {
	switch e.Field {
	case FieldMember:
		return w.isMember(e, s)
	case FieldEmails:
		return w.anyEmail(e, s)
	}
	c, ok := s.columns[e.Field]
	if !ok {
		return fmt.Errorf("compare: no field %q", e.Field)
	}
	if e.Before != "" || e.After != "" {
		return w.compareWithin(c, e)
	}
	if e.Op == OpPr {
		w.columnPresent(c)
		return nil
	}
	ok = false
	switch v := e.Value.(type) {
	case bool:
		ok = c.kind == boolKind && w.compareBool(c.sql, e.Op, v)
	case time.Time:
		ok = c.kind == timeKind && w.compareTime(c.sql, e.Op, v)
	case string:
		switch {
		case c.kind == uuidKind:
			ok = w.compareID(c.sql, e.Op, v)
		case c.kind == normalized || c.kind == folded || c.kind == exact:
			ok = w.compareColumn(c, e.Op, v)
		}
	}
	if !ok {
		return fmt.Errorf("compare %s: value %v of type %T with operator %q", e.Field, e.Value, e.Value, e.Op)
	}
	return nil
}

func (w *writer) columnPresent(c column) {
	switch c.kind {
	case normalized, folded, exact:
		w.put(c.sql + " <> ''")
	default:
		w.put("TRUE")
	}
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

func (w *writer) compareBool(sql string, op CompareOp, v bool) bool {
	if op != OpEq && op != OpNe {
		return false
	}
	if v != (op == OpEq) {
		w.put("NOT ")
	}
	w.put(sql)
	return true
}

var sqlOperators = map[CompareOp]string{OpEq: "=", OpNe: "<>", OpGt: ">", OpGe: ">=", OpLt: "<", OpLe: "<="}

// compareTime compares a column that keeps microseconds with any time.
func (w *writer) compareTime(sql string, op CompareOp, t time.Time) bool {
	if sqlOperators[op] == "" {
		return false
	}
	t = t.UTC()
	if year := t.Year(); year < 1 || year > 9999 { // SQLite's times are texts of four-digit years
		after := year > 9999
		w.constant(op == OpNe || after && (op == OpLt || op == OpLe) || !after && (op == OpGt || op == OpGe))
		return true
	}
	if kept := stamp(t); !kept.Equal(t) {
		switch op {
		case OpEq, OpNe:
			w.constant(op == OpNe)
			return true
		case OpGe:
			op = OpGt
		case OpLt:
			op = OpLe
		}
		t = kept
	}
	w.put(sql+" "+sqlOperators[op]+" ?", t)
	return true
}

func (w *writer) compareID(sql string, op CompareOp, id string) bool {
	switch {
	case op != OpEq && op != OpNe:
		text := "CAST(" + sql + " AS text)"
		return w.compareText(w.d.collated(text), op, id, false)
	case isID(id):
		w.put(sql+" "+sqlOperators[op]+" ?", id)
	default:
		w.constant(op == OpNe)
	}
	return true
}

// compareColumn compares a column that holds text.
func (w *writer) compareColumn(c column, op CompareOp, text string) bool {
	switch {
	case !holdable(text) || c.optional && op == OpNe && text == "":
		w.constant(op == OpNe)
		return true
	case c.optional && op != OpNe:
		w.put(c.sql + " <> '' AND ") // the indexes leave those without out
	}
	sql := c.sql
	switch c.kind {
	case normalized:
		if sqlOperators[op] != "" {
			text = strings.TrimSpace(text)
		}
		text = strings.ToLower(text)
	case folded:
		if op == OpEq {
			w.put(c.key+" = ? AND ", identity.Normalize(text))
		}
		sql, text = w.d.collated("fold_case("+sql+")"), strings.ToLower(text)
	}
	return w.compareText(sql, op, text, c.kind != folded)
}

// compareText compares a text, which is not NULL, with a value. Of an indexed one, a prefix is a range. The arguments are
// those in the text.
func (w *writer) compareText(sql string, op CompareOp, text string, indexed bool, args ...any) bool {
	operator := sqlOperators[op]
	switch {
	case !holdable(text):
		w.constant(op == OpNe)
	case operator != "":
		w.put(sql+" "+operator+" ?", append(args, text)...)
	case op != OpCo && op != OpSw && op != OpEw:
		return false
	case text == "":
		w.put(sql+" IS NOT NULL", args...)
	case op == OpSw && indexed:
		w.put(sql+" >= ?", text)
		if next, ok := successor(text); ok {
			w.put(" AND "+sql+" < ?", next)
		}
	case w.d.postgres():
		w.put(sql+` LIKE ? ESCAPE '\'`, append(args, likePattern(text, op))...)
	case op == OpCo:
		w.put("instr("+sql+", ?) > 0", append(args, text)...)
	case op == OpSw:
		w.put("substr("+sql+", 1, length(?)) = ?", append(args, text, text)...)
	default:
		w.put("substr("+sql+", -length(?)) = ?", append(args, text, text)...)
	}
	return true
}

// successor returns the first text behind all that begin with a prefix, in the order of bytes.
func successor(prefix string) (string, bool) {
	runes := []rune(prefix)
	for len(runes) > 0 {
		last := len(runes) - 1
		switch runes[last]++; {
		case runes[last] == 0xD800: // the surrogates are no characters
			runes[last] = 0xE000
			return string(runes), true
		case runes[last] <= 0x10FFFF:
			return string(runes), true
		}
		runes = runes[:last]
	}
	return "", false
}

// likePattern escapes what LIKE would read as a wildcard.
func likePattern(text string, op CompareOp) string {
	text = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
	switch op {
	case OpSw:
		return text + "%"
	case OpEw:
		return "%" + text
	}
	return "%" + text + "%"
}

// compareWithin compares a field's text with something written around it.
func (w *writer) compareWithin(c column, e Compare) error {
	text, ok := e.Value.(string)
	if !ok && e.Op != OpPr || c.kind != uuidKind && c.kind != intKind {
		return fmt.Errorf("compare %s within a text: value %v with operator %q", e.Field, e.Value, e.Op)
	}
	switch e.Op {
	case OpPr:
		w.put("TRUE")
		return nil
	case OpEq, OpNe:
		text, before := strings.CutPrefix(text, e.Before)
		text, after := strings.CutSuffix(text, e.After)
		if !before || !after {
			w.constant(e.Op == OpNe)
			return nil
		}
		if c.kind == uuidKind {
			w.compareID(c.sql, e.Op, text)
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != text {
			w.constant(e.Op == OpNe)
			return nil
		}
		w.put(c.sql+" "+sqlOperators[e.Op]+" ?", n)
		return nil
	}
	whole := w.d.collated("CAST(? AS text) || CAST(" + c.sql + " AS text) || CAST(? AS text)")
	if !w.compareText(whole, e.Op, text, false, e.Before, e.After) {
		return fmt.Errorf("compare %s within a text: operator %q", e.Field, e.Op)
	}
	return nil
}
