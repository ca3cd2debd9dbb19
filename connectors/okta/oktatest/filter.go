package oktatest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// property reads one attribute of an object for a filter: a string, several, or a time.Time.
type property[T any] func(T) any

// properties finds an attribute by name, nil where the parameter does not know it.
type properties[T any] struct {
	find func(name string) property[T]
	ops  []string
}

var filterable = properties[*user]{ops: []string{"eq", "gt", "ge", "lt", "le"}, find: func(name string) property[*user] {
	switch name {
	case "id":
		return func(u *user) any { return u.id }
	case "status":
		return func(u *user) any { return u.status }
	case "lastUpdated":
		return func(u *user) any { return u.lastUpdated }
	case "profile.login", "profile.email", "profile.firstName", "profile.lastName":
		name := strings.TrimPrefix(name, "profile.")
		return func(u *user) any { return u.profile.text(name) }
	}
	return nil
}}

var searchable = properties[*user]{ops: []string{"eq", "gt", "ge", "lt", "le", "sw", "co", "pr"}, find: func(name string) property[*user] {
	switch name {
	case "created":
		return func(u *user) any { return u.created }
	case "statusChanged":
		return func(u *user) any { return u.statusChanged }
	case "activated":
		return func(u *user) any { return u.activated }
	}
	if attribute, ok := strings.CutPrefix(name, "profile."); ok {
		return func(u *user) any { return u.profile.text(attribute) }
	}
	return filterable.find(name)
}}

var groupFilterable = properties[*group]{ops: []string{"eq", "gt", "ge", "lt", "le", "sw"}, find: func(name string) property[*group] {
	switch name {
	case "id":
		return func(g *group) any { return g.id }
	case "type":
		return func(g *group) any { return g.kind }
	case "lastUpdated":
		return func(g *group) any { return g.lastUpdated }
	case "lastMembershipUpdated":
		return func(g *group) any { return g.lastMembershipUpdated }
	case "profile.name":
		return func(g *group) any { return g.name }
	}
	return nil
}}

var errFilter = errors.New("invalid search criteria")

// parseFilter reads comparisons joined by "and" and "or", with brackets.
func parseFilter[T any](s string, known properties[T]) (func(T) bool, error) {
	p := &filterParser[T]{known: known}
	if err := p.scan(s); err != nil {
		return nil, err
	}
	match, err := p.or()
	if err == nil && len(p.tokens) > 0 {
		err = errFilter
	}
	return match, err
}

type filterParser[T any] struct {
	known  properties[T]
	tokens []string // strings keep their opening quote
}

func (p *filterParser[T]) scan(s string) error {
	for {
		s = strings.TrimLeft(s, " ")
		switch {
		case s == "":
			return nil
		case s[0] == '(' || s[0] == ')':
			p.tokens, s = append(p.tokens, s[:1]), s[1:]
		case s[0] == '"':
			var b strings.Builder
			b.WriteByte('"')
			i := 1
			for ; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' && i+1 < len(s) {
					i++
				}
				b.WriteByte(s[i])
			}
			if i >= len(s) {
				return errFilter
			}
			p.tokens, s = append(p.tokens, b.String()), s[i+1:]
		default:
			end := strings.IndexAny(s, ` ()"`)
			if end < 0 {
				end = len(s)
			}
			p.tokens, s = append(p.tokens, s[:end]), s[end:]
		}
	}
}

func (p *filterParser[T]) take() string {
	if len(p.tokens) == 0 {
		return ""
	}
	token := p.tokens[0]
	p.tokens = p.tokens[1:]
	return token
}

func (p *filterParser[T]) accept(word string) bool {
	if len(p.tokens) > 0 && strings.EqualFold(p.tokens[0], word) {
		p.take()
		return true
	}
	return false
}

func (p *filterParser[T]) or() (func(T) bool, error) {
	left, err := p.and()
	for err == nil && p.accept("or") {
		var right func(T) bool
		first := left
		right, err = p.and()
		left = func(item T) bool { return first(item) || right(item) }
	}
	return left, err
}

func (p *filterParser[T]) and() (func(T) bool, error) {
	left, err := p.comparison()
	for err == nil && p.accept("and") {
		var right func(T) bool
		first := left
		right, err = p.comparison()
		left = func(item T) bool { return first(item) && right(item) }
	}
	return left, err
}

func (p *filterParser[T]) comparison() (func(T) bool, error) {
	if p.accept("(") {
		match, err := p.or()
		if err == nil && !p.accept(")") {
			err = errFilter
		}
		return match, err
	}
	read := p.known.find(p.take())
	op := strings.ToLower(p.take())
	if read == nil || !slices.Contains(p.known.ops, op) {
		return nil, fmt.Errorf("%w: %s", errFilter, op)
	}
	if op == "pr" {
		return func(item T) bool { return read(item) != "" }, nil
	}
	value, ok := strings.CutPrefix(p.take(), `"`)
	if !ok {
		return nil, errFilter
	}
	at, timeErr := time.Parse(time.RFC3339, value)
	return func(item T) bool {
		switch actual := read(item).(type) {
		case time.Time:
			return timeErr == nil && holds(op, actual.Compare(at))
		case string:
			return reads(op, actual, value)
		case []string:
			return slices.ContainsFunc(actual, func(s string) bool { return reads(op, s, value) })
		}
		return false
	}, nil
}

// reads compares text without case.
func reads(op, actual, want string) bool {
	actual, want = strings.ToLower(actual), strings.ToLower(want)
	switch op {
	case "sw":
		return strings.HasPrefix(actual, want)
	case "co":
		return strings.Contains(actual, want)
	}
	return holds(op, strings.Compare(actual, want))
}

func holds(op string, order int) bool {
	switch op {
	case "eq":
		return order == 0
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	case "le":
		return order <= 0
	}
	return false
}
