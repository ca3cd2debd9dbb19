package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

// Expr is a predicate over users or groups: And, Or, Not or Compare. A nil Expr is true.
type Expr interface{ isExpr() }

type (
	// And is true when all of its parts are; empty, it is true.
	And []Expr
	// Or is true when one of its parts is; empty, it is false.
	Or []Expr
	// Not is the negation.
	Not struct{ Expr Expr }
	// Compare compares a field with a value: string, bool or time.Time, as the field has it.
	Compare struct {
		Field Field
		Op    CompareOp
		Value any
	}
)

func (And) isExpr()     {}
func (Or) isExpr()      {}
func (Not) isExpr()     {}
func (Compare) isExpr() {}

// Field is something to compare by.
type Field string

// Fields. Names and e-mail addresses are compared without case, ids exactly.
const (
	FieldID           Field = "id"
	FieldUserName     Field = "userName" // users
	FieldExternalID   Field = "externalId"
	FieldDisplayName  Field = "displayName"
	FieldEmail        Field = "email"  // users: the primary e-mail address
	FieldActive       Field = "active" // users
	FieldCreated      Field = "created"
	FieldLastModified Field = "lastModified"
	FieldMember       Field = "member" // groups: id of a user who is a member; users: id of a group
	FieldSource       Field = "source" // the owning connector or key
)

// CompareOp is a SCIM comparison operator (RFC 7644, section 3.4.2.2).
type CompareOp string

// Operators.
const (
	OpEq CompareOp = "eq"
	OpNe CompareOp = "ne"
	OpCo CompareOp = "co"
	OpSw CompareOp = "sw"
	OpEw CompareOp = "ew"
	OpGt CompareOp = "gt"
	OpGe CompareOp = "ge"
	OpLt CompareOp = "lt"
	OpLe CompareOp = "le"
	OpPr CompareOp = "pr" // has a value; Value is ignored
)

// column is where a field lives.
type column struct {
	sql  string
	kind string // "name" (compared without case), "text", "uuid", "bool", "time"
}

var userColumns = map[Field]column{
	FieldID:           {"id", "uuid"},
	FieldUserName:     {"user_name_key", "name"},
	FieldExternalID:   {"external_id", "text"},
	FieldDisplayName:  {"display_name_key", "name"},
	FieldEmail:        {"email_key", "name"},
	FieldActive:       {"active", "bool"},
	FieldCreated:      {"created_at", "time"},
	FieldLastModified: {"updated_at", "time"},
	FieldSource:       {"source", "text"},
}

var groupColumns = map[Field]column{
	FieldID:           {"id", "uuid"},
	FieldExternalID:   {"external_id", "text"},
	FieldDisplayName:  {"display_name_key", "name"},
	FieldCreated:      {"created_at", "time"},
	FieldLastModified: {"updated_at", "time"},
	FieldSource:       {"source", "text"},
}

// where compiles a predicate to SQL with its arguments.
func (d dialect) where(e Expr, columns map[Field]column, member string) (string, []any, error) {
	switch e := e.(type) {
	case nil:
		return "TRUE", nil, nil
	case And:
		return d.join(e, " AND ", "TRUE", columns, member)
	case Or:
		return d.join(e, " OR ", "FALSE", columns, member)
	case Not:
		s, args, err := d.where(e.Expr, columns, member)
		return "NOT (" + s + ")", args, err
	case Compare:
		if e.Field == FieldMember {
			return d.compareMember(e, member)
		}
		c, ok := columns[e.Field]
		if !ok {
			return "", nil, fmt.Errorf("compare: no field %q", e.Field)
		}
		return d.compare(c, e)
	}
	return "", nil, fmt.Errorf("compare: %T is no predicate", e)
}

func (d dialect) join(parts []Expr, operator, empty string, columns map[Field]column, member string) (string, []any, error) {
	if len(parts) == 0 {
		return empty, nil, nil
	}
	var (
		texts []string
		all   []any
	)
	for _, part := range parts {
		s, args, err := d.where(part, columns, member)
		if err != nil {
			return "", nil, err
		}
		texts = append(texts, "("+s+")")
		all = append(all, args...)
	}
	return strings.Join(texts, operator), all, nil
}

func (d dialect) compareMember(c Compare, member string) (string, []any, error) {
	id, _ := c.Value.(string)
	if c.Op != OpEq {
		return "", nil, fmt.Errorf("compare member: operator %q, want eq", c.Op)
	}
	if !isID(id) {
		return "FALSE", nil, nil
	}
	return member, []any{id}, nil
}

var sqlOperators = map[CompareOp]string{OpEq: "=", OpNe: "<>", OpGt: ">", OpGe: ">=", OpLt: "<", OpLe: "<="}

func (d dialect) compare(c column, e Compare) (string, []any, error) {
	if e.Op == OpPr {
		switch c.kind {
		case "name", "text":
			return c.sql + " <> ''", nil, nil
		}
		return c.sql + " IS NOT NULL", nil, nil
	}
	bad := fmt.Errorf("compare %s: value %v of type %T with operator %q", e.Field, e.Value, e.Value, e.Op)
	operator, ordered := sqlOperators[e.Op]
	switch c.kind {
	case "bool":
		b, ok := e.Value.(bool)
		if !ok || e.Op != OpEq && e.Op != OpNe {
			return "", nil, bad
		}
		if b == (e.Op == OpEq) {
			return c.sql, nil, nil
		}
		return "NOT " + c.sql, nil, nil
	case "time":
		t, ok := e.Value.(time.Time)
		if !ok || !ordered {
			return "", nil, bad
		}
		return c.sql + " " + operator + " ?", []any{stamp(t)}, nil
	case "uuid":
		id, ok := e.Value.(string)
		if !ok || e.Op != OpEq && e.Op != OpNe {
			return "", nil, bad
		}
		if !isID(id) {
			return map[CompareOp]string{OpEq: "FALSE", OpNe: "TRUE"}[e.Op], nil, nil
		}
		return c.sql + " " + operator + " ?", []any{id}, nil
	}
	text, ok := e.Value.(string)
	if !ok {
		return "", nil, bad
	}
	if !holdable(text) {
		return map[bool]string{false: "FALSE", true: "TRUE"}[e.Op == OpNe], nil, nil
	}
	if ordered {
		if c.kind == "name" {
			text = identity.Normalize(text)
		}
		predicate := c.sql + " " + operator + " ?"
		if e.Op == OpEq && e.Field == FieldExternalID && text != "" {
			predicate += " AND external_id <> ''" // the partial index
		}
		if e.Op == OpEq && e.Field == FieldEmail && text != "" {
			predicate += " AND email_key <> ''"
		}
		return predicate, []any{text}, nil
	}
	if c.kind == "name" {
		text = strings.ToLower(text)
	}
	predicate, ok := d.partly(c.sql, e.Op)
	if !ok {
		return "", nil, bad
	}
	if text == "" {
		return "TRUE", nil, nil
	}
	if !d.postgres() && e.Op != OpCo {
		return predicate, []any{text, text}, nil
	}
	if d.postgres() {
		text = likePattern(text, e.Op)
	}
	return predicate, []any{text}, nil
}

// partly returns the predicate that a column contains, begins or ends with a text. SQLite's LIKE takes ASCII letters
// for equal whatever their case.
func (d dialect) partly(column string, op CompareOp) (string, bool) {
	if op != OpCo && op != OpSw && op != OpEw {
		return "", false
	}
	if d.postgres() {
		return column + ` LIKE ? ESCAPE '\'`, true
	}
	return map[CompareOp]string{
		OpCo: "instr(" + column + ", ?) > 0",
		OpSw: "substr(" + column + ", 1, length(?)) = ?",
		OpEw: "substr(" + column + ", -length(?)) = ?",
	}[op], true
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
