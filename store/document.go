package store

import (
	"fmt"
	"strings"
)

// value is a JSON value inside a document, in SQL: its JSON type, the text of a string, and the value itself.
type value struct{ kind, text, raw string }

// JSON types as the databases name them.
var (
	postgresKinds = map[string]string{"string": "'string'", "number": "'number'", "boolean": "'boolean'", "null": "'null'", "array": "'array'", "object": "'object'"}
	sqliteKinds   = map[string]string{"string": "'text'", "number": "'integer', 'real'", "boolean": "'true', 'false'", "null": "'null'", "array": "'array'", "object": "'object'"}
)

// is returns the condition that a value has a JSON type. It is unknown for a value that is not there.
func (d dialect) is(v value, kind string) string {
	kinds := sqliteKinds
	if d.postgres() {
		kinds = postgresKinds
	}
	return v.kind + " IN (" + kinds[kind] + ")"
}

// at returns the value at a path of names inside a JSON document.
func (d dialect) at(document string, path ...string) value {
	if d.postgres() {
		for _, name := range path {
			document += " -> '" + name + "'"
		}
		return postgresValue("(" + document + ")")
	}
	p := "'$"
	for _, name := range path {
		p += `."` + name + `"`
	}
	p += "'"
	return value{
		kind: "json_type(" + document + ", " + p + ")",
		text: "(" + document + " ->> " + p + ")",
		raw:  "(" + document + " -> " + p + ")",
	}
}

func postgresValue(v string) value {
	return value{kind: "jsonb_typeof(" + v + ")", text: "(" + v + " #>> '{}')", raw: v}
}

// attribute returns the value of an attribute in a document, without its sub-attribute. The names become part of a
// statement: they must be of the characters that names and URNs in filters have.
func (d dialect) attribute(document string, a Attribute) (value, error) {
	for _, name := range []string{a.Extension, a.Name, a.Sub} {
		if strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
			return value{}, fmt.Errorf("attribute %q: a character that no name has", name)
		}
	}
	if a.Name == "" {
		return value{}, fmt.Errorf("attribute %+v has no name", a)
	}
	if a.Extension != "" {
		return d.at(document, a.Extension, a.Name), nil
	}
	return d.at(document, a.Name), nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(":.-_$", r)
}

// element is one row of a list in a document: its place, its value, and the value as an object, which a bare one stands
// for with its "value".
type element struct {
	from   string
	place  string
	value  value
	object string
}

// elements returns the rows of a JSON array. Other values are no array: ask first, where they may come.
func (d dialect) elements(list value, alias string) element {
	if d.postgres() {
		v := alias + ".value"
		return element{
			from:   "jsonb_array_elements(" + list.raw + ") WITH ORDINALITY AS " + alias + " (value, place)",
			place:  alias + ".place",
			value:  postgresValue(v),
			object: "CASE jsonb_typeof(" + v + ") WHEN 'object' THEN " + v + " ELSE jsonb_build_object('value', " + v + ") END",
		}
	}
	raw := "(" + list.raw + " -> " + alias + ".key)"
	return element{
		from:   "json_each(" + list.raw + ") AS " + alias,
		place:  alias + ".key",
		value:  value{kind: alias + ".type", text: alias + ".value", raw: raw},
		object: "CASE " + alias + ".type WHEN 'object' THEN " + alias + ".value ELSE json_object('value', json" + raw + ") END",
	}
}

// list returns a value as an array: of one when it is none, of nothing when it is not there.
func (d dialect) asList(v value) value {
	if d.postgres() {
		return postgresValue("CASE WHEN " + v.kind + " = 'array' THEN " + v.raw +
			" WHEN " + v.kind + " <> 'null' THEN jsonb_build_array(" + v.raw + ") ELSE '[]' END")
	}
	return value{raw: "CASE WHEN " + v.kind + " = 'array' THEN " + v.raw +
		" WHEN " + v.kind + " <> 'null' THEN '[' || " + v.raw + " || ']' ELSE '[]' END"}
}

// member returns the value of a sub-attribute of an element.
func (d dialect) member(e element, sub string) value {
	return d.at("("+e.object+")", sub)
}

// comparable returns the value as what its kind compares, NULL when it is of another type.
func (d dialect) comparable(v value, kind ValueKind) string {
	when := func(json, then string) string { return "CASE WHEN " + d.is(v, json) + " THEN " + then + " END" }
	switch kind {
	case TextFold:
		return d.collated(when("string", "fold_case("+v.text+")"))
	case TextExact:
		return d.collated(when("string", v.text))
	case Time:
		return d.collated(when("string", "time_key("+v.text+")"))
	case Number:
		if d.postgres() {
			return when("number", "CAST("+v.text+" AS numeric)")
		}
		return when("number", "number_key("+v.raw+")")
	}
	if d.postgres() {
		return "CASE WHEN " + v.kind + " IN ('boolean', 'string') THEN CASE fold_case(" + v.text + ") WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END END"
	}
	return "CASE " + v.kind + " WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE WHEN 'text' THEN " +
		"CASE fold_case(" + v.text + ") WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE END END"
}

// collated makes a text compare by its bytes, as in Go.
func (d dialect) collated(text string) string {
	if d.postgres() {
		return "(" + text + `) COLLATE "C"`
	}
	return "(" + text + ")"
}

// present returns the condition that a value is there and not empty.
func (d dialect) present(v value) string {
	return "coalesce(json_present(" + v.raw + "), FALSE)"
}

// sortValue returns the value that rows are ordered by: of several, the first that there is, the primary one before.
func (d dialect) sortValue(document string, a Attribute) (string, error) {
	v, err := d.attribute(document, a)
	if err != nil {
		return "", err
	}
	e := d.elements(d.asList(v), "o")
	key := d.comparable(d.leaf(e, a.Sub), a.Kind)
	if a.Kind == TextFold || a.Kind == TextExact {
		key = "NULLIF(" + key + ", '')"
	}
	primary := d.comparable(d.member(e, "primary"), Bool)
	return "(SELECT " + key + " FROM " + e.from + " WHERE " + key + " IS NOT NULL ORDER BY coalesce(" + primary + ", FALSE) DESC, " +
		e.place + " LIMIT 1)", nil
}

func (d dialect) leaf(e element, sub string) value {
	if sub == "" {
		return e.value
	}
	return d.member(e, sub)
}
