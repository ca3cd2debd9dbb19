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
	if err := e.check(); err != nil {
		return err
	}
	v, err := s.value(e.Attribute)
	if err != nil {
		return err
	}
	sub := e.Attribute.Sub
	switch e.Op {
	case OpPr:
		w.anyOf(v, sub, leaf{write: func(v value) { w.put(w.d.present(v)) }})
	case OpNe: // another value, or none at all
		e.Op = OpEq
		passes := w.passes(e)
		w.put("(")
		w.anyOf(v, sub, leaf{write: func(v value) {
			w.put(w.d.there(v) + " AND NOT ")
			w.typed(v, passes)
		}})
		w.put(" OR NOT ")
		w.anyOf(v, sub, leaf{write: func(v value) { w.put(w.d.there(v)) }})
		w.put(")")
	default:
		w.anyOf(v, sub, w.passes(e))
	}
	return nil
}

// check tells whether the value and the operator suit the attribute's kind.
func (e Test) check() error {
	ordered, ok := sqlOperators[e.Op] != "", e.Op == OpPr
	switch v := e.Value.(type) {
	case string:
		ok = ok || e.Attribute.Kind <= TextExact && (ordered || e.Op == OpCo || e.Op == OpSw || e.Op == OpEw)
	case bool:
		ok = ok || e.Attribute.Kind == Bool && (e.Op == OpEq || e.Op == OpNe)
	case json.Number:
		ok = ok || e.Attribute.Kind == Number && ordered && isNumber(v.String())
	case time.Time:
		ok = ok || e.Attribute.Kind == Time && ordered
	}
	if !ok {
		return fmt.Errorf("test %+v: value %v of type %T with operator %q", e.Attribute, e.Value, e.Value, e.Op)
	}
	return nil
}

// leaf is what is asked of one value: it is false of every value that is missing, or of another JSON type than its own,
// if it has one.
type leaf struct {
	json  string // "" for any
	write func(value)
}

// typed writes a leaf of a value of any type.
func (w *writer) typed(v value, l leaf) {
	if l.json == "" {
		l.write(v)
		return
	}
	w.put("CASE WHEN " + w.d.is(v, l.json) + " THEN ")
	l.write(v)
	w.put(" ELSE FALSE END")
}

// anyOf writes that one of the values of an attribute, or of its sub-attribute, is as a leaf asks: one of the elements
// of an array, or the lone value.
func (w *writer) anyOf(v value, sub string, l leaf) {
	each := w.d.elements(v, w.alias())
	w.put("CASE " + v.kind + " WHEN 'array' THEN EXISTS (SELECT 1 FROM " + each.from + " WHERE ")
	w.one(each.value, sub, l)
	w.put(")")
	if sub == "" && l.json == "string" { // the type is looked at once: most of what is filtered by is text
		w.put(" WHEN " + w.d.kinds("string") + " THEN ")
		l.write(v)
		w.put(" ELSE FALSE END")
		return
	}
	w.put(" ELSE ")
	w.one(v, sub, l)
	w.put(" END")
}

// one writes a leaf of a value, or of its sub-attribute. A bare value is its own "value".
func (w *writer) one(v value, sub string, l leaf) {
	switch {
	case sub == "":
		w.typed(v, l)
	case sub != "value" && v.loose:
		w.typed(v.member(sub), l)
	default:
		w.put("CASE WHEN " + w.d.is(v, "object") + " THEN ")
		w.typed(v.member(sub), l)
		w.put(" ELSE ")
		if sub == "value" {
			w.typed(v, l)
		} else {
			w.put("FALSE")
		}
		w.put(" END")
	}
}

// there returns the condition that a value is neither missing nor null.
func (d dialect) there(v value) string { return "coalesce(" + v.kind + ", 'null') <> 'null'" }

// passes returns the comparison of a test, which is not OpNe.
func (w *writer) passes(e Test) leaf {
	switch want := e.Value.(type) {
	case string:
		return leaf{"string", func(v value) {
			if e.Attribute.Kind == TextFold && holdable(want) {
				w.compareText(w.d.collated("fold_case("+v.text+")"), e.Op, strings.ToLower(want), false)
				return
			}
			w.compareText(w.d.collated(v.text), e.Op, want, false)
		}}
	case time.Time:
		return leaf{"string", func(v value) {
			w.put("coalesce("+w.d.collated("time_key("+v.text+")")+" "+sqlOperators[e.Op]+" ?, FALSE)", timeKey(want))
		}}
	case json.Number:
		return leaf{"number", func(v value) {
			if w.d.postgres() {
				w.put("CAST("+v.text+" AS numeric) "+sqlOperators[e.Op]+" CAST(? AS numeric)", want.String())
				return
			}
			key, _ := parseNumberKey(want.String())
			w.put("coalesce(number_key("+v.raw+") "+sqlOperators[e.Op]+" ?, FALSE)", key)
		}}
	}
	want := e.Value == true
	return leaf{write: func(v value) { w.put(w.d.boolean(v, want)) }}
}

// boolean returns the condition that a value is a boolean, or its name in any letter case.
func (d dialect) boolean(v value, want bool) string {
	name := "'" + strconv.FormatBool(want) + "'"
	if d.postgres() {
		return "CASE WHEN " + v.kind + " IN ('boolean', 'string') THEN fold_case(" + v.text + ") = " + name + " ELSE FALSE END"
	}
	return "CASE " + v.kind + " WHEN 'text' THEN fold_case(" + v.text + ") = " + name + " WHEN " + name + " THEN TRUE ELSE FALSE END"
}

// present returns the condition that a value is not empty. Most are text, which needs no function.
func (d dialect) present(v value) string {
	return "CASE WHEN " + d.is(v, "string") + " THEN " + v.text + " <> '' ELSE coalesce(json_present(" + v.raw + "), FALSE) END"
}

// someElement writes that one element of an attribute meets a predicate.
func (w *writer) someElement(a Attribute, where Expr, s *scope) error {
	v, err := s.value(a)
	if err != nil {
		return err
	}
	each := w.d.elements(w.d.asList(v), w.alias())
	w.put("EXISTS (SELECT 1 FROM " + each.from + " WHERE ")
	err = w.where(where, &scope{root: w.d.asObject(each.value)})
	w.put(")")
	return err
}

// has writes that a document has an extension's object.
func (w *writer) has(e Has, s *scope) error {
	v, err := s.value(Attribute{Name: e.Extension})
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
