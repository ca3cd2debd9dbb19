package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what is parsed.
const (
	MaxLength = 4096 // bytes
	MaxDepth  = 32   // parentheses, brackets and nots within each other
	MaxNodes  = 200  // comparisons, value paths, ands, ors and nots
)

// SyntaxError says what is wrong with a filter or path, and where.
type SyntaxError struct {
	Pos int // the position in bytes, from 1
	Msg string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("position %d: %s", e.Pos, e.Msg) }

// Parse reads a filter. A *SyntaxError tells what is wrong with it.
//
//	filter  = term-list *( "or" term-list )
//	terms   = term *( "and" term )
//	term    = ["not"] "(" filter ")" / name "[" filter "]" [ "." sub test ] / name test
//	test    = "pr" / op literal
func Parse(s string) (Expr, error) {
	p := parser{s: s}
	if err := p.begin(); err != nil {
		return nil, err
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.end() {
		return nil, p.errorf("want \"and\", \"or\" or the end, found %s", p.found())
	}
	return e, nil
}

// ParsePath reads the path of a PATCH operation. A *SyntaxError tells what is wrong with it.
func ParsePath(s string) (Path, error) {
	p := parser{s: s}
	if err := p.begin(); err != nil {
		return Path{}, err
	}
	attr, err := p.name()
	if err != nil {
		return Path{}, err
	}
	path := Path{Attr: attr}
	if p.peek() == '[' {
		if path.Filter, err = p.brackets(attr); err != nil {
			return Path{}, err
		}
		if p.peek() == '.' {
			if path.Attr.Sub, err = p.sub(); err != nil {
				return Path{}, err
			}
		}
	}
	if !p.end() {
		return Path{}, p.errorf("want the end of the path, found %s", p.found())
	}
	return path, nil
}

// parser is a recursive descent over the bytes of s.
type parser struct {
	s       string
	pos     int
	depth   int
	nodes   int
	element bool // inside brackets, where names are sub-attributes
}

func (p *parser) begin() error {
	if len(p.s) > MaxLength {
		return &SyntaxError{Pos: MaxLength + 1, Msg: fmt.Sprintf("longer than %d bytes", MaxLength)}
	}
	for i, r := range p.s {
		if r == 0 {
			return &SyntaxError{Pos: i + 1, Msg: "a NUL character"}
		}
		if r == utf8.RuneError && !strings.HasPrefix(p.s[i:], "\uFFFD") {
			return &SyntaxError{Pos: i + 1, Msg: "invalid UTF-8"}
		}
	}
	return nil
}

func (p *parser) or() (Expr, error) { return p.chain("or", p.and, orOf) }

func (p *parser) and() (Expr, error) { return p.chain("and", p.term, andOf) }

func orOf(terms []Expr) Expr  { return Or(terms) }
func andOf(terms []Expr) Expr { return And(terms) }

func (p *parser) chain(word string, next func() (Expr, error), join func([]Expr) Expr) (Expr, error) {
	first, err := next()
	if err != nil || !p.keyword(word) {
		return first, err
	}
	if err := p.node(); err != nil {
		return nil, err
	}
	terms := []Expr{first}
	for {
		e, err := next()
		if err != nil {
			return nil, err
		}
		terms = append(terms, e)
		if !p.keyword(word) {
			return join(terms), nil
		}
	}
}

func (p *parser) term() (Expr, error) {
	p.space()
	if p.peek() == '(' {
		return p.parentheses()
	}
	if start := p.pos; p.keyword("not") {
		p.space()
		if p.peek() == '(' {
			if err := p.node(); err != nil {
				return nil, err
			}
			e, err := p.parentheses()
			return Not{Expr: e}, err
		}
		p.pos = start
	}
	attr, err := p.name()
	if err != nil {
		return nil, err
	}
	if p.peek() == '[' {
		return p.valuePath(attr)
	}
	return p.test(attr)
}

func (p *parser) parentheses() (Expr, error) {
	return p.nested(')')
}

func (p *parser) brackets(attr Attr) (Expr, error) {
	switch {
	case p.element:
		return nil, p.errorf("brackets within brackets")
	case attr.Sub != "":
		return nil, p.errorf("brackets behind a sub-attribute")
	}
	p.element = true
	defer func() { p.element = false }()
	return p.nested(']')
}

// nested reads a filter up to the closing character, the opening one being next.
func (p *parser) nested(closing byte) (Expr, error) {
	open := p.pos
	if p.depth++; p.depth > MaxDepth {
		return nil, p.errorf("nested deeper than %d", MaxDepth)
	}
	p.pos++
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	p.space()
	if p.peek() != closing {
		return nil, p.errorf("want '%c' to match position %d, found %s", closing, open+1, p.found())
	}
	p.pos++
	p.depth--
	return e, nil
}

func (p *parser) valuePath(attr Attr) (Expr, error) {
	if err := p.node(); err != nil {
		return nil, err
	}
	inner, err := p.brackets(attr)
	if err != nil {
		return nil, err
	}
	if p.peek() != '.' {
		return ValuePath{Attr: attr, Filter: inner}, nil
	}
	sub, err := p.sub()
	if err != nil {
		return nil, err
	}
	test, err := p.test(Attr{Name: sub})
	if err != nil {
		return nil, err
	}
	terms, ok := inner.(And)
	if !ok {
		terms = And{inner}
	}
	return ValuePath{Attr: attr, Filter: append(terms, test)}, nil
}

// sub reads ".name" behind a closing bracket.
func (p *parser) sub() (string, error) {
	p.pos++
	start := p.pos
	attr, err := p.name()
	if err != nil {
		return "", err
	}
	if attr.Schema != "" || attr.Sub != "" {
		p.pos = start
		return "", p.errorf("want the name of a sub-attribute")
	}
	return attr.Name, nil
}

func (p *parser) test(attr Attr) (Expr, error) {
	if err := p.node(); err != nil {
		return nil, err
	}
	p.space()
	start := p.pos
	op, ok := operator(p.word())
	if !ok {
		p.pos = start
		return nil, p.errorf("want an operator (eq ne co sw ew gt ge lt le pr), found %s", p.found())
	}
	c := Compare{Attr: attr, Op: op}
	if op == Pr {
		return c, nil
	}
	var err error
	c.Value, err = p.literal()
	return c, err
}

func operator(word string) (Op, bool) {
	if len(word) == 2 {
		for op := Eq; op <= Pr; op++ {
			if strings.EqualFold(word, opNames[op]) {
				return op, true
			}
		}
	}
	return 0, false
}

func (p *parser) literal() (Value, error) {
	p.space()
	if p.peek() == '"' {
		return p.text()
	}
	start := p.pos
	for p.pos < len(p.s) && !strings.ContainsRune(" \t()[]\"", rune(p.s[p.pos])) {
		p.pos++
	}
	word := p.s[start:p.pos]
	switch {
	case strings.EqualFold(word, "true"):
		return Value{Kind: Bool, Text: "true"}, nil
	case strings.EqualFold(word, "false"):
		return Value{Kind: Bool, Text: "false"}, nil
	case strings.EqualFold(word, "null"):
		return Value{Kind: Null, Text: "null"}, nil
	case word != "" && (word[0] == '-' || word[0] >= '0' && word[0] <= '9') && json.Valid([]byte(word)):
		return Value{Kind: Number, Text: word}, nil
	}
	p.pos = start
	return Value{}, p.errorf("want a string in double quotes, a number, true, false or null, found %s", p.found())
}

// text reads a JSON string.
func (p *parser) text() (Value, error) {
	start := p.pos
	escaped := false
	for i := start + 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			p.pos = i + 1
			if !escaped {
				return Value{Kind: Text, Text: p.s[start+1 : i]}, nil
			}
			var s string
			if err := json.Unmarshal([]byte(p.s[start:p.pos]), &s); err != nil || strings.ContainsRune(s, 0) {
				p.pos = start
				return Value{}, p.errorf("a string with an escape that JSON does not allow, or with NUL")
			}
			return Value{Kind: Text, Text: s}, nil
		case c == '\\':
			escaped = true
			i++
		case c < 0x20:
			p.pos = i
			return Value{}, p.errorf("a control character in a string")
		}
	}
	return Value{}, p.errorf("a string without its closing quote")
}

// name reads an attribute's name, with a URN in front or a sub-attribute behind it.
func (p *parser) name() (Attr, error) {
	p.space()
	start := p.pos
	word := p.word()
	if word == "" {
		return Attr{}, p.errorf("want an attribute, found %s", p.found())
	}
	var attr Attr
	if colon := strings.LastIndexByte(word, ':'); colon >= 0 {
		attr.Schema, word = word[:colon], word[colon+1:]
	}
	sub := ""
	dotted := false
	attr.Name, sub, dotted = strings.Cut(word, ".")
	attr.Sub = sub
	switch {
	case attr.Schema != "" && (len(attr.Schema) < 5 || !strings.EqualFold(attr.Schema[:4], "urn:")),
		!validName(attr.Name, attr.Schema != ""),
		dotted && !validName(sub, attr.Schema != ""):
		p.pos = start
		return Attr{}, p.errorf("%q is not the name of an attribute", p.s[start:start+len(p.wordAt(start))])
	case p.element && (attr.Schema != "" || dotted):
		p.pos = start
		return Attr{}, p.errorf("inside brackets only names of sub-attributes are possible")
	}
	return attr, nil
}

// validName follows ATTRNAME of RFC 7643, section 2.1. Behind a URN a name may begin with a digit, because a schema's
// own URN may end in a version.
func validName(name string, digitFirst bool) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '$' && i == 0 && len(name) > 1:
		case c >= '0' && c <= '9':
			if i == 0 && !digitFirst {
				return false
			}
		case (c == '-' || c == '_') && i > 0:
		default:
			return false
		}
	}
	return true
}

// word reads the longest run of characters that a name, a URN or an operator may have.
func (p *parser) word() string {
	w := p.wordAt(p.pos)
	p.pos += len(w)
	return w
}

func (p *parser) wordAt(start int) string {
	end := start
	for end < len(p.s) && wordByte(p.s[end]) {
		end++
	}
	return p.s[start:end]
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == ':' || c == '.' || c == '-' || c == '_' || c == '$'
}

// keyword takes the word when it is next, in any letter case, and not the beginning of a longer one.
func (p *parser) keyword(word string) bool {
	start := p.pos
	p.space()
	if next := p.wordAt(p.pos); strings.EqualFold(next, word) {
		p.pos += len(word)
		return true
	}
	p.pos = start
	return false
}

func (p *parser) node() error {
	if p.nodes++; p.nodes > MaxNodes {
		return p.errorf("more than %d parts", MaxNodes)
	}
	return nil
}

func (p *parser) space() {
	for p.pos < len(p.s) && (p.s[p.pos] == ' ' || p.s[p.pos] == '\t') {
		p.pos++
	}
}

func (p *parser) end() bool {
	p.space()
	return p.pos == len(p.s)
}

func (p *parser) peek() byte {
	if p.pos < len(p.s) {
		return p.s[p.pos]
	}
	return 0
}

// found describes what is next, for messages.
func (p *parser) found() string {
	if p.pos >= len(p.s) {
		return "the end"
	}
	if w := p.wordAt(p.pos); w != "" {
		return fmt.Sprintf("%.40q", w)
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.pos:])
	return fmt.Sprintf("%q", r)
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{Pos: p.pos + 1, Msg: fmt.Sprintf(format, args...)}
}
