package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// test writes a comparison of an attribute's values with one.
func (w *writer) test(e Test, s *scope) error {
	if s.document == "" {
		return fmt.Errorf("test %v: there is no document", e.Attribute)
	}
	v, err := w.d.attribute(s.document, e.Attribute)
	if err != nil {
		return err
	}
	if e.Op != OpNe {
		return w.anyValue(v, e)
	}
	// One that has no value, or another one.
	e.Op = OpEq
	other := e
	other.Op = OpNe
	w.put("(")
	if err := w.anyValue(v, other); err != nil {
		return err
	}
	w.put(" OR NOT ")
	w.anyAtAll(v, e.Attribute.Sub)
	w.put(")")
	return nil
}

// anyValue writes that one of the values passes.
func (w *writer) anyValue(v value, e Test) error {
	each := w.d.elements(v, w.alias())
	leaf := each.value
	if e.Attribute.Sub != "" {
		leaf = w.d.member(each, e.Attribute.Sub)
	}
	w.put("CASE WHEN " + w.d.is(v, "array") + " THEN EXISTS (SELECT 1 FROM " + each.from + " WHERE ")
	if err := w.passes(leaf, e); err != nil {
		return err
	}
	w.put(")")
	lone := v
	switch e.Attribute.Sub {
	case "":
	case "value":
		w.put(" WHEN NOT (" + w.d.is(v, "object") + ") THEN ")
		if err := w.passes(v, e); err != nil {
			return err
		}
		lone = w.d.at(v.raw, "value")
	default:
		lone = w.d.at(v.raw, e.Attribute.Sub)
	}
	w.put(" ELSE ")
	if err := w.passes(lone, e); err != nil {
		return err
	}
	w.put(" END")
	return nil
}

// anyAtAll writes that there is a value that is not null.
func (w *writer) anyAtAll(v value, sub string) {
	each := w.d.elements(v, w.alias())
	leaf := each.value
	if sub != "" {
		leaf = w.d.member(each, sub)
	}
	w.put("CASE WHEN " + w.d.is(v, "array") + " THEN EXISTS (SELECT 1 FROM " + each.from + " WHERE " + w.d.there(leaf) + ")")
	lone := v
	switch sub {
	case "":
	case "value":
		w.put(" WHEN NOT (" + w.d.is(v, "object") + ") THEN " + w.d.there(v))
		lone = w.d.at(v.raw, "value")
	default:
		lone = w.d.at(v.raw, sub)
	}
	w.put(" ELSE " + w.d.there(lone) + " END")
}

// there returns the condition that a value is neither missing nor null.
func (d dialect) there(v value) string { return "coalesce(" + v.kind + ", 'null') <> 'null'" }

// passes writes the comparison of one value, which is false where the value is missing or of another type.
func (w *writer) passes(v value, e Test) error {
	if e.Op == OpPr {
		w.put(w.d.present(v))
		return nil
	}
	other := e.Op == OpNe
	if other { // of any type, but there
		e.Op = OpEq
		w.put("(" + w.d.there(v) + " AND NOT ")
	}
	w.put("coalesce(")
	if !w.compareValue(w.d.comparable(v, e.Attribute.Kind), e) {
		return fmt.Errorf("test %+v: value %v of type %T with operator %q", e.Attribute, e.Value, e.Value, e.Op)
	}
	w.put(", FALSE)")
	if other {
		w.put(")")
	}
	return nil
}

// compareValue writes a comparison with what dialect.comparable gave.
func (w *writer) compareValue(sql string, e Test) bool {
	operator, ordered := sqlOperators[e.Op]
	switch v := e.Value.(type) {
	case string:
		switch e.Attribute.Kind {
		case TextFold:
			return w.compareText(sql, e.Op, strings.ToLower(v), false)
		case TextExact:
			return w.compareText(sql, e.Op, v, false)
		}
	case bool:
		if e.Attribute.Kind == Bool && (e.Op == OpEq || e.Op == OpNe) {
			w.put(sql + " = " + strings.ToUpper(strconv.FormatBool(v == (e.Op == OpEq))))
			return true
		}
	case json.Number:
		if e.Attribute.Kind == Number && ordered {
			return w.compareNumber(sql, operator, v)
		}
	case time.Time:
		if e.Attribute.Kind == Time && ordered {
			w.put(sql+" "+operator+" ?", timeKey(v))
			return true
		}
	}
	return false
}

func (w *writer) compareNumber(sql, operator string, n json.Number) bool {
	if !isNumber(n.String()) {
		return false
	}
	if w.d.postgres() {
		w.put(sql+" "+operator+" CAST(? AS numeric)", n.String())
		return true
	}
	key, _ := parseNumberKey(n.String())
	w.put(sql+" "+operator+" ?", key)
	return true
}

// someElement writes that one element of an attribute meets a predicate.
func (w *writer) someElement(a Attribute, where Expr, document string) error {
	v, err := w.d.attribute(document, a)
	if err != nil {
		return err
	}
	each := w.d.elements(w.d.asList(v), w.alias())
	w.put("EXISTS (SELECT 1 FROM " + each.from + " WHERE ")
	err = w.where(where, &scope{document: "(" + each.object + ")"})
	w.put(")")
	return err
}

// has writes that a document has an extension's object.
func (w *writer) has(e Has, s *scope) error {
	v, err := w.d.attribute(s.document, Attribute{Name: e.Extension})
	if err != nil {
		return err
	}
	w.put(v.kind + " IS NOT NULL")
	return nil
}

func (w *writer) alias() string {
	w.n++
	return "j" + strconv.Itoa(w.n)
}
