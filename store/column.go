package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/store/identity"
)

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
