package filter

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Expr is a filter: Compare, ValuePath, And, Or or Not. String prints it so that it parses to the same tree.
type Expr interface {
	String() string
	expr()
}

// Op is a comparison operator.
type Op uint8

// Operators of RFC 7644, table 3.
const (
	Eq Op = iota + 1
	Ne
	Co
	Sw
	Ew
	Gt
	Ge
	Lt
	Le
	Pr // present; the only one without a value
)

var opNames = [...]string{Eq: "eq", Ne: "ne", Co: "co", Sw: "sw", Ew: "ew", Gt: "gt", Ge: "ge", Lt: "lt", Le: "le", Pr: "pr"}

// String returns the operator in lower case.
func (o Op) String() string { return opNames[o] }

// Attr names an attribute as the client wrote it: Schema is the URN in front of it, Sub the sub-attribute, both may be
// empty. A URN standing alone is split at its last colon; schema.Resource.Lookup puts it together again.
type Attr struct {
	Schema, Name, Sub string
}

// String prints the name.
func (a Attr) String() string {
	s := a.Name
	if a.Schema != "" {
		s = a.Schema + ":" + s
	}
	if a.Sub != "" {
		s += "." + a.Sub
	}
	return s
}

// Kind is the kind of a literal.
type Kind uint8

// Kinds of literal.
const (
	Null Kind = iota
	Bool
	Number
	Text
)

// Value is a literal. Text holds a string's value without its quotes, a number as it was written, "true" or "false",
// and "null" for null.
type Value struct {
	Kind Kind
	Text string
}

// String prints the literal as JSON.
func (v Value) String() string {
	if v.Kind != Text {
		return v.Text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v.Text) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

// Compare tests one attribute.
type Compare struct {
	Attr  Attr
	Op    Op
	Value Value // Value{} when Op is Pr
}

// ValuePath tests whether one element of a multi-valued attribute passes Filter, in which names are sub-attributes.
// `emails[type eq "work"].value co "@x"` is read as `emails[type eq "work" and value co "@x"]`.
type ValuePath struct {
	Attr   Attr
	Filter Expr
}

// And holds when all of its two or more terms do.
type And []Expr

// Or holds when one of its two or more terms does.
type Or []Expr

// Not holds when Expr does not.
type Not struct{ Expr Expr }

func (Compare) expr()   {}
func (ValuePath) expr() {}
func (And) expr()       {}
func (Or) expr()        {}
func (Not) expr()       {}

func (c Compare) String() string {
	if c.Op == Pr {
		return c.Attr.String() + " pr"
	}
	return c.Attr.String() + " " + c.Op.String() + " " + c.Value.String()
}

func (p ValuePath) String() string { return p.Attr.String() + "[" + p.Filter.String() + "]" }

func (n Not) String() string { return "not (" + n.Expr.String() + ")" }

func (a And) String() string {
	return join(a, " and ", func(e Expr) bool {
		switch e.(type) {
		case And, Or:
			return true
		}
		return false
	})
}

func (o Or) String() string {
	return join(o, " or ", func(e Expr) bool {
		_, nested := e.(Or)
		return nested
	})
}

func join(terms []Expr, word string, parentheses func(Expr) bool) string {
	var b strings.Builder
	for i, e := range terms {
		if i > 0 {
			b.WriteString(word)
		}
		if parentheses(e) {
			b.WriteByte('(')
			b.WriteString(e.String())
			b.WriteByte(')')
			continue
		}
		b.WriteString(e.String())
	}
	return b.String()
}

// Path is the target of a PATCH operation: an attribute, or with Filter those elements of a multi-valued attribute
// that pass it; Attr.Sub is then the sub-attribute of these elements.
type Path struct {
	Attr   Attr
	Filter Expr
}

// String prints the path so that it parses to the same one.
func (p Path) String() string {
	if p.Filter == nil {
		return p.Attr.String()
	}
	s := Attr{Schema: p.Attr.Schema, Name: p.Attr.Name}.String() + "[" + p.Filter.String() + "]"
	if p.Attr.Sub != "" {
		s += "." + p.Attr.Sub
	}
	return s
}
