package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// EnterpriseURN is the schema of the enterprise user extension (RFC 7643, section 4.3).
const EnterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// Attributes is a SCIM document without its hot attributes (id, userName, externalId, active, groups, meta): JSON
// values under canonical names, an extension's attributes under the extension's URN. A nil map reads as empty.
type Attributes map[string]any

// Path names one leaf of Attributes: `title`, `name.givenName`, `emails[type eq "work"].value`, or any of them
// behind a schema URN. The paths userName, externalId and active name the hot attributes of a User.
type Path struct {
	Schema string // URN of an extension, or ""
	Attr   string // attribute name in canonical spelling
	Type   string // canonical type of the element of a multi-valued attribute, or ""
	Sub    string // sub-attribute, or ""
}

// String prints the path as RFC 7644, section 3.5.2 writes it.
func (p Path) String() string {
	var b strings.Builder
	if p.Schema != "" {
		b.WriteString(p.Schema)
		b.WriteByte(':')
	}
	b.WriteString(p.Attr)
	if p.Type != "" {
		b.WriteString(`[type eq "`)
		b.WriteString(escapeType.Replace(p.Type))
		b.WriteString(`"]`)
	}
	if p.Sub != "" {
		b.WriteByte('.')
		b.WriteString(p.Sub)
	}
	return b.String()
}

var escapeType = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// ParsePath reads what Path.String prints. It is for journals and configuration; the protocol's own paths are
// richer and belong to scim/filter.
func ParsePath(s string) (Path, error) {
	var p Path
	rest, selector, selected := strings.Cut(s, "[")
	if strings.HasPrefix(strings.ToLower(rest), "urn:") {
		colon := strings.LastIndexByte(rest, ':')
		p.Schema, rest = rest[:colon], rest[colon+1:]
	}
	p.Attr = rest
	sub, dotted := "", false
	if selected {
		kind, after, ok := cutType(selector)
		if !ok {
			return Path{}, fmt.Errorf(`path %q: want [type eq "..."]`, s)
		}
		p.Type = kind
		if sub, dotted = strings.CutPrefix(after, "."); !dotted && after != "" {
			return Path{}, fmt.Errorf("path %q: want .name after ']'", s)
		}
	} else {
		p.Attr, sub, dotted = strings.Cut(rest, ".")
	}
	p.Sub = sub
	if p.Attr == "" || strings.ContainsAny(p.Attr, `]".`) {
		return Path{}, fmt.Errorf("path %q: no attribute", s)
	}
	if dotted && (sub == "" || strings.ContainsAny(sub, `[]".:`)) {
		return Path{}, fmt.Errorf("path %q: want one name after '.'", s)
	}
	return p, nil
}

// cutType reads `type eq "..."]` and returns the type and what follows.
func cutType(s string) (kind, after string, ok bool) {
	s, ok = strings.CutPrefix(s, `type eq "`)
	if !ok {
		return "", "", false
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		case '"':
			after, ok = strings.CutPrefix(s[i+1:], "]")
			return b.String(), after, ok && b.Len() > 0
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// Get returns the value at p, or nil when there is none.
func (a Attributes) Get(p Path) any {
	m := map[string]any(a)
	if p.Schema != "" {
		m, _ = a[p.Schema].(map[string]any)
	}
	v := m[p.Attr]
	if p.Type != "" {
		element := elementOfType(v, p.Type)
		if element == nil {
			return nil
		}
		if p.Sub == "" {
			return element
		}
		return element[p.Sub]
	}
	if p.Sub != "" {
		sub, _ := v.(map[string]any)
		return sub[p.Sub]
	}
	return v
}

// Set puts v at p, making the objects on the way; nil clears p and whatever it leaves empty. At an element as a whole
// (Type without Sub) an object replaces the element, and anything else is its "value". The first element of a
// multi-valued attribute becomes its primary one. Set changes a in place and never its nested values' former owners:
// call Clone first when a is shared.
func (a Attributes) Set(p Path, v any) {
	m := map[string]any(a)
	if p.Schema != "" {
		ext, _ := a[p.Schema].(map[string]any)
		if ext == nil {
			if v == nil {
				return
			}
			ext = map[string]any{}
			a[p.Schema] = ext
		}
		m = ext
		defer func() {
			if len(ext) == 0 {
				delete(a, p.Schema)
			}
		}()
	}
	switch {
	case p.Type != "":
		setElement(m, p, v)
	case p.Sub != "":
		sub, _ := m[p.Attr].(map[string]any)
		if sub == nil {
			if v == nil {
				return
			}
			sub = map[string]any{}
			m[p.Attr] = sub
		}
		putOrDelete(sub, p.Sub, v)
		if len(sub) == 0 {
			delete(m, p.Attr)
		}
	default:
		putOrDelete(m, p.Attr, v)
	}
}

func putOrDelete(m map[string]any, key string, v any) {
	if v == nil {
		delete(m, key)
		return
	}
	m[key] = v
}

func elementOfType(v any, kind string) map[string]any {
	list, _ := v.([]any)
	for _, e := range list {
		element, _ := e.(map[string]any)
		if t, _ := element["type"].(string); strings.EqualFold(t, kind) {
			return element
		}
	}
	return nil
}

// setElement sets one sub-attribute of the element of type p.Type, or the element itself.
func setElement(m map[string]any, p Path, v any) {
	list, _ := m[p.Attr].([]any)
	element := elementOfType(list, p.Type)
	if element == nil {
		if v == nil {
			return
		}
		element = map[string]any{"type": p.Type}
		if len(list) == 0 {
			element["primary"] = true
		}
		m[p.Attr] = append(slices.Clip(list), element)
	}
	switch object, whole := v.(map[string]any); {
	case p.Sub != "":
		putOrDelete(element, p.Sub, v)
	case v == nil || whole:
		clear(element)
		maps.Copy(element, object)
		element["type"] = p.Type
	default:
		element["value"] = v
	}
	for key := range element {
		if key != "type" && key != "primary" {
			return
		}
	}
	list, _ = m[p.Attr].([]any)
	list = slices.DeleteFunc(slices.Clone(list), func(e any) bool {
		left, _ := e.(map[string]any)
		return left != nil && reflect.ValueOf(left).Pointer() == reflect.ValueOf(element).Pointer()
	})
	if len(list) == 0 {
		delete(m, p.Attr)
		return
	}
	m[p.Attr] = list
}

// Clone returns a deep copy.
func (a Attributes) Clone() Attributes {
	if a == nil {
		return nil
	}
	return Attributes(cloneValue(map[string]any(a)).(map[string]any))
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = cloneValue(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = cloneValue(value)
		}
		return out
	default:
		return v
	}
}

// Equal tells whether both documents would be written alike: the same values with the same types, an empty
// document equal to nil.
func (a Attributes) Equal(b Attributes) bool {
	return len(a) == len(b) && (len(a) == 0 || equalValue(map[string]any(a), map[string]any(b)))
}

func equalValue(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equalValue)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalValue)
	case json.Number:
		n, ok := number(b)
		return ok && a.String() == n
	case float64, int, int64:
		x, _ := number(a)
		y, ok := number(b)
		return ok && x == y
	default:
		return reflect.DeepEqual(a, b)
	}
}

func number(v any) (string, bool) {
	switch v := v.(type) {
	case json.Number:
		return v.String(), true
	case float64, int, int64:
		b, err := json.Marshal(v)
		return string(b), err == nil
	}
	return "", false
}

// Strings of the attributes that have columns of their own, derived from the document.

// PrimaryEmail returns the value of the e-mail marked primary, else of the first one, else "".
func (a Attributes) PrimaryEmail() string {
	list, _ := a["emails"].([]any)
	first := ""
	for _, e := range list {
		element, _ := e.(map[string]any)
		value, _ := element["value"].(string)
		if isTrue(element["primary"]) && value != "" {
			return value
		}
		if first == "" {
			first = value
		}
	}
	return first
}

func isTrue(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return strings.EqualFold(v, "true")
	}
	return false
}

// Text returns the string at p, or "" when there is none or it is no string.
func (a Attributes) Text(p Path) string {
	s, _ := a.Get(p).(string)
	return s
}
