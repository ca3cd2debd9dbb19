package scimtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	inAnyOrder  = "{{in any order}}"
	amongOthers = "{{among others}}"
	absent      = "{{absent}}"
	unassigned  = "{{unassigned}}"
)

var (
	uuid    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	integer = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
)

// kinds are the matchers for one value.
var kinds = map[string]func(any) bool{
	"any":           func(v any) bool { return v != nil },
	"any string":    func(v any) bool { s, ok := v.(string); return ok && s != "" },
	"any uuid":      func(v any) bool { s, ok := v.(string); return ok && uuid.MatchString(s) },
	"any timestamp": func(v any) bool { s, ok := v.(string); return ok && isTimestamp(s) },
	"any integer":   func(v any) bool { n, ok := v.(json.Number); return ok && integer.MatchString(n.String()) },
	"any boolean":   func(v any) bool { _, ok := v.(bool); return ok },
	"any list":      func(v any) bool { _, ok := v.([]any); return ok },
}

func isTimestamp(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil
}

// comparison is that of one answer with what is wanted of it.
type comparison struct {
	values      map[string]string // those known before, and then those that the answer gives
	exact       bool
	differences []string
}

func (c *comparison) differ(path, format string, args ...any) {
	if path == "" {
		path = "the body"
	}
	c.differences = append(c.differences, path+": "+fmt.Sprintf(format, args...))
}

func (c *comparison) value(path string, want, got any) {
	switch want := want.(type) {
	case string:
		c.text(path, want, got)
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			c.differ(path, "want an object, got %s", show(got))
			return
		}
		c.object(path, want, object)
	case []any:
		list, ok := got.([]any)
		if !ok {
			c.differ(path, "want a list, got %s", show(got))
			return
		}
		c.list(path, want, list)
	default: // a number as it is spelled, a boolean, null
		if want != got {
			c.differ(path, "want %s, got %s", show(want), show(got))
		}
	}
}

// text compares with a text, which may be a matcher.
func (c *comparison) text(path, want string, got any) {
	inner, whole := matcher(want)
	name := ""
	if m := capture.FindStringSubmatch(inner); whole && m != nil {
		name, inner = m[1], m[2]
	}
	is, ok := kinds[inner]
	if !whole || !ok {
		if want = expand(want, c.values, nil); want != got {
			c.differ(path, "want %s, got %s", show(want), show(got))
		}
		return
	}
	if !is(got) {
		c.differ(path, "want %s, got %s", inner, show(got))
		return
	}
	if name != "" {
		text, ok := got.(string)
		if !ok {
			c.differ(path, "want a string to call %s, got %s", name, show(got))
			return
		}
		c.values[name] = text
	}
}

// matcher returns what is inside a text that is one placeholder.
func matcher(text string) (inner string, whole bool) {
	m := placeholder.FindStringSubmatch(text)
	if m == nil || m[0] != text {
		return "", false
	}
	return m[1], true
}

func (c *comparison) object(path string, want, got map[string]any) {
	for _, key := range sortedKeys(want) {
		value, ok := got[key]
		switch {
		case want[key] == absent, want[key] == unassigned && !isEmpty(value):
			if ok {
				c.differ(below(path, key), "want none, got %s", show(value))
			}
		case want[key] == unassigned:
		case !ok:
			c.differ(below(path, key), "want %s, got none", show(want[key]))
		default:
			c.value(below(path, key), want[key], value)
		}
	}
	for _, key := range sortedKeys(got) {
		if _, ok := want[key]; !ok && c.exact {
			c.differ(below(path, key), "want none, got %s", show(got[key]))
		}
	}
}

// isEmpty tells whether a value is like none at all (RFC 7643, section 2.5).
func isEmpty(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

func (c *comparison) list(path string, want, got []any) {
	order := ""
	if len(want) > 0 {
		order, _ = want[0].(string)
	}
	if order == inAnyOrder || order == amongOthers {
		c.bag(path, want[1:], got, order == amongOthers)
		return
	}
	if len(want) != len(got) {
		c.differ(path, "want %d elements, got %d: %s", len(want), len(got), show(got))
		return
	}
	for i := range want {
		c.value(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])
	}
}

// bag compares lists whose order does not matter.
func (c *comparison) bag(path string, want, got []any, more bool) {
	if len(want) > len(got) || !more && len(want) < len(got) {
		c.differ(path, "want %d elements, got %d: %s", len(want), len(got), show(got))
		return
	}
	if unmatched := c.assign(path, want, got, make([]bool, len(got))); unmatched != nil {
		c.differ(path, "want an element %s, got %s", show(*unmatched), show(got))
	}
}

// assign finds an element of its own for each that is wanted, and returns the first that none is left for.
func (c *comparison) assign(path string, want, got []any, taken []bool) (unmatched *any) {
	if len(want) == 0 {
		return nil
	}
	unmatched = &want[0]
	for i := range got {
		if taken[i] {
			continue
		}
		trial := &comparison{values: maps.Clone(c.values), exact: c.exact}
		trial.value(path, want[0], got[i])
		if len(trial.differences) > 0 {
			continue
		}
		taken[i] = true
		rest := trial.assign(path, want[1:], got, taken)
		if rest == nil {
			c.values = trial.values
			return nil
		}
		unmatched, taken[i] = rest, false
	}
	return unmatched
}

// header compares a header. Of a media type, parameters count only where they are written.
func (c *comparison) header(f Field, got string) {
	path := "header " + f.Name
	switch {
	case f.Value == absent && got == "", f.Value == "{{any}}" && got != "":
		return
	case f.Value == absent:
		c.differ(path, "want none, got %q", got)
		return
	case got == "":
		c.differ(path, "want %s, got none", f.Value)
		return
	}
	if media, _, err := mime.ParseMediaType(got); err == nil && f.Name == "Content-Type" && !strings.Contains(f.Value, ";") {
		got = media
	}
	c.text(path, f.Value, got)
}

// expand puts values in place of their names, each made fit for where it goes.
func expand(text string, values map[string]string, escape func(string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		value := values[p[2:len(p)-2]]
		if escape != nil {
			value = escape(value)
		}
		return value
	})
}

func below(path, key string) string {
	if strings.ContainsAny(key, ".:") {
		key = "[" + key + "]"
	} else if path != "" {
		key = "." + key
	}
	return path + key
}

// show prints a value in a line.
func show(v any) string {
	if s, ok := v.(string); ok {
		if inner, whole := matcher(s); whole {
			return inner
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	const most = 300
	if len(b) > most {
		return string(b[:most]) + "..."
	}
	return string(b)
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
