package store

import (
	"fmt"
	"strings"
)

// value is a JSON value inside a document, in SQL: its JSON type, the text of a string, the value itself, and those
// inside it. Of a loose value that is no object they are missing; of another one they may be asked only of an object.
type value struct {
	kind, text, raw string
	member          func(name string) value
	loose           bool
}

// kinds returns a JSON type as the database names it, which may be several.
func (d dialect) kinds(json string) string {
	switch {
	case d.postgres():
		return "'" + json + "'"
	case json == "string":
		return "'text'"
	case json == "number":
		return "'integer', 'real'"
	}
	return "'" + json + "'"
}

// is returns the condition that a value has a JSON type, but for boolean. It is unknown for a value that is not there.
func (d dialect) is(v value, json string) string { return v.kind + " IN (" + d.kinds(json) + ")" }

// at returns the value at a path of names inside a JSON document.
func (d dialect) at(document string, path ...string) value {
	member := func(name string) value { return d.at(document, append(path[:len(path):len(path)], name)...) }
	if d.postgres() {
		owner, last := document, len(path)-1
		for _, name := range path[:last] {
			owner += " -> '" + name + "'"
		}
		raw := "(" + owner + " -> '" + path[last] + "')"
		return value{kind: "jsonb_typeof" + raw, text: "(" + owner + " ->> '" + path[last] + "')", raw: raw, member: member, loose: true}
	}
	p := "'$"
	for _, name := range path {
		p += `."` + name + `"`
	}
	p += "'"
	return value{
		kind:   "json_type(" + document + ", " + p + ")",
		text:   "(" + document + " ->> " + p + ")",
		raw:    "(" + document + " -> " + p + ")",
		member: member, loose: true,
	}
}

// asObject is a value as an object, which a bare one stands for with its "value".
func (d dialect) asObject(v value) value {
	is := "CASE WHEN " + d.is(v, "object") + " THEN "
	return value{loose: true, member: func(name string) value {
		m := v.member(name)
		bare := value{kind: "NULL", text: "NULL", raw: "NULL"}
		switch {
		case name == "value":
			bare = v
		case v.loose:
			return m
		}
		either := func(member, bare string) string { return "(" + is + member + " ELSE " + bare + " END)" }
		return value{kind: either(m.kind, bare.kind), text: either(m.text, bare.text), raw: either(m.raw, bare.raw)}
	}}
}

// value returns the value of an attribute, without its sub-attribute. The names become part of a statement: they must be
// of the characters that names and URNs in filters have.
func (s *scope) value(a Attribute) (value, error) {
	for _, name := range []string{a.Extension, a.Name, a.Sub} {
		if strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
			return value{}, fmt.Errorf("attribute %q: a character that no name has", name)
		}
	}
	switch {
	case a.Name == "" || s.root.member == nil:
		return value{}, fmt.Errorf("attribute %+v: there is no such thing", a)
	case a.Extension != "":
		return s.root.member(a.Extension).member(a.Name), nil
	}
	return s.root.member(a.Name), nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(":.-_$", r)
}

// element is one row of a list in a document: its place, and its value.
type element struct {
	from  string
	place string
	value value
}

// elements returns the rows of a JSON array. Other values are no array: ask first, where they may come.
func (d dialect) elements(list value, alias string) element {
	if d.postgres() {
		v := alias + ".value"
		return element{
			from:  "jsonb_array_elements(" + list.raw + ") WITH ORDINALITY AS " + alias + " (value, place)",
			place: alias + ".place",
			value: value{
				kind: "jsonb_typeof(" + v + ")", text: "(" + v + " #>> '{}')", raw: v,
				member: func(name string) value { return d.at(v, name) }, loose: true,
			},
		}
	}
	raw := "(" + list.raw + " -> " + alias + ".key)"
	return element{
		from:  "json_each(" + list.raw + ") AS " + alias,
		place: alias + ".key",
		value: value{
			kind: alias + ".type", text: alias + ".value", raw: raw,
			member: func(name string) value { return d.at(alias+".value", name) },
		},
	}
}

// asList returns a value as an array: of one when it is none, of nothing when it is not there.
func (d dialect) asList(v value) value {
	alone := "jsonb_build_array(" + v.raw + ")"
	if !d.postgres() {
		alone = "'[' || " + v.raw + " || ']'"
	}
	return value{raw: "CASE WHEN " + v.kind + " = 'array' THEN " + v.raw + " WHEN " + v.kind + " <> 'null' THEN " + alone + " ELSE '[]' END"}
}

// comparable returns a value as what its kind is ordered by, NULL when it is of another type.
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
	return "CASE WHEN " + d.boolean(v, true) + " THEN TRUE WHEN " + d.boolean(v, false) + " THEN FALSE END"
}

// collated makes a text compare by its bytes, as in Go.
func (d dialect) collated(text string) string {
	if d.postgres() {
		return "(" + text + `) COLLATE "C"`
	}
	return "(" + text + ")"
}

// sortValue returns the value that rows are ordered by: of several, the first that there is, the primary one before.
func (d dialect) sortValue(s *scope, a Attribute) (string, error) {
	v, err := s.value(a)
	if err != nil {
		return "", err
	}
	each := d.elements(d.asList(v), "o")
	object, leaf := d.asObject(each.value), each.value
	if a.Sub != "" {
		leaf = object.member(a.Sub)
	}
	key := d.comparable(leaf, a.Kind)
	if a.Kind == TextFold || a.Kind == TextExact {
		key = "NULLIF(" + key + ", '')"
	}
	return "(SELECT " + key + " FROM " + each.from + " WHERE " + key + " IS NOT NULL ORDER BY " + d.boolean(object.member("primary"), true) + " DESC, " +
		each.place + " LIMIT 1)", nil
}
