package schema

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// MaxValues bounds the elements of one multi-valued attribute of a user.
const MaxValues = 1000

// ValueError says that a value does not fit its attribute.
type ValueError struct {
	Path string // the attribute, in canonical spelling where it is known
	Want string // what is wanted, such as "must be a string"
}

func (e *ValueError) Error() string { return e.Path + " " + e.Want }

// Canonical reads a resource as a client sent it: names in canonical spelling, values of the types that the
// attributes have, an extension's attributes under the extension's URN. What clients echo without meaning it is left
// out: null, empty arrays and objects, unknown attributes and schemas, and read-only attributes. Values are otherwise
// kept as they are, and doc is left alone. A *ValueError tells what does not fit.
func (r *Resource) Canonical(doc map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(doc))
	seen := make(map[string]bool, len(doc))
	for _, key := range slices.Sorted(maps.Keys(doc)) {
		if isURN(key) {
			if err := r.canonicalURN(out, key, doc[key]); err != nil {
				return nil, err
			}
			continue
		}
		ref, ok := r.Lookup("", key, "")
		if !ok || ref.Attr.Mutability == ReadOnly {
			continue
		}
		if seen[ref.Attr.Name] {
			return nil, &ValueError{Path: ref.Attr.Name, Want: "is stated twice"}
		}
		seen[ref.Attr.Name] = true
		if err := put(out, ref.Attr, ref.Attr.Name, doc[key]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// canonicalURN reads an extension's object, or a single attribute named by its full URN.
func (r *Resource) canonicalURN(out map[string]any, key string, value any) error {
	if s := r.Extension(key); s != nil {
		if value == nil {
			return nil
		}
		object, ok := value.(map[string]any)
		if !ok {
			return &ValueError{Path: s.ID, Want: "must be an object"}
		}
		ext, err := canonicalObject(s.Attributes, s.ID+":", object)
		if err != nil || len(ext) == 0 {
			return err
		}
		if held, ok := out[s.ID].(map[string]any); ok {
			maps.Copy(held, ext)
			return nil
		}
		out[s.ID] = ext
		return nil
	}
	colon := strings.LastIndexByte(key, ':')
	ref, ok := r.Lookup(key[:colon], key[colon+1:], "")
	if !ok || ref.Attr == nil || ref.Attr.Mutability == ReadOnly {
		return nil
	}
	target := out
	if ref.Extension != nil {
		target, _ = out[ref.Extension.ID].(map[string]any)
		if target == nil {
			target = map[string]any{}
		}
	}
	if err := put(target, ref.Attr, ref.String(), value); err != nil {
		return err
	}
	if ref.Extension != nil && len(target) > 0 {
		out[ref.Extension.ID] = target
	}
	return nil
}

func isURN(key string) bool {
	return len(key) > 4 && strings.EqualFold(key[:4], "urn:")
}

// Member returns the member of a JSON object by that name in any letter case, or nil.
func Member(object map[string]any, name string) any {
	v, _ := Stated(object, name)
	return v
}

// Stated is Member, and tells whether there is such a member at all. The exact spelling counts before others.
func Stated(object map[string]any, name string) (any, bool) {
	if v, ok := object[name]; ok {
		return v, true
	}
	best, found := "", false
	for key := range object {
		if strings.EqualFold(key, name) && (!found || key < best) {
			best, found = key, true
		}
	}
	return object[best], found
}

func put(out map[string]any, a *Attribute, path string, value any) error {
	read, err := a.read(path, value)
	if err == nil && read != nil {
		out[a.Name] = read
	}
	return err
}

// Read returns v as a value of the attribute, or nil when v says that there is none (null, no elements, an object
// with nothing known in it). A multi-valued attribute is read from an array or from a single element. The result shares nothing with v.
func (a *Attribute) Read(v any) (any, error) { return a.read(a.Name, v) }

// ReadElement returns v as one element of a multi-valued attribute, or as the value of a single-valued one.
func (a *Attribute) ReadElement(v any) (any, error) { return a.readOne(a.Name, v) }

func (a *Attribute) read(path string, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	if a.AsSent {
		if list, ok := v.([]any); ok && (len(list) == 0 || allNull(list)) {
			return nil, nil
		}
		return clone(v), checkCount(path, v)
	}
	if !a.MultiValued {
		return a.readOne(path, v)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if err := checkCount(path, list); err != nil {
		return nil, err
	}
	out := make([]any, 0, len(list))
	for _, element := range list {
		read, err := a.readOne(path, element)
		if err != nil {
			return nil, err
		}
		if read != nil {
			out = append(out, read)
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// clone copies what is kept as sent: a value that is read shares nothing with the one that it was read from.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = clone(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = clone(value)
		}
		return out
	}
	return v
}

func allNull(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool { return v != nil })
}

func checkCount(path string, v any) error {
	if list, ok := v.([]any); ok && len(list) > MaxValues {
		return &ValueError{Path: path, Want: fmt.Sprintf("has more than %d values", MaxValues)}
	}
	return nil
}

func (a *Attribute) readOne(path string, v any) (any, error) {
	switch {
	case v == nil:
		return nil, nil
	case a.AsSent:
		return clone(v), nil
	case a.Type != Complex:
		return a.readSimple(path, v)
	}
	switch v := v.(type) {
	case map[string]any:
		object, err := canonicalObject(a.SubAttributes, path+".", v)
		if err != nil || len(object) == 0 {
			return nil, err
		}
		return object, nil
	case []any:
		// Identity providers wrap a single complex value, such as the manager, in an array.
		if !a.MultiValued && len(v) <= 1 {
			if len(v) == 0 {
				return nil, nil
			}
			return a.readOne(path, v[0])
		}
	case string:
		// A bare string stands for the element's value: emails ["a@b.example"], manager "26118915".
		if value := a.Sub("value"); value != nil {
			if v == "" {
				return nil, nil
			}
			read, err := value.readSimple(path+".value", v)
			return map[string]any{"value": read}, err
		}
	}
	return nil, &ValueError{Path: path, Want: "must be an object"}
}

func canonicalObject(attributes []Attribute, prefix string, object map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(object))
	seen := make(map[string]bool, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		a := find(attributes, key)
		if a == nil {
			continue
		}
		if seen[a.Name] {
			return nil, &ValueError{Path: prefix + a.Name, Want: "is stated twice"}
		}
		seen[a.Name] = true
		if a.Mutability == ReadOnly {
			continue
		}
		if err := put(out, a, prefix+a.Name, object[key]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *Attribute) readSimple(path string, v any) (any, error) {
	want := ""
	switch a.Type {
	case Boolean:
		if b, ok := AsBool(v); ok {
			return b, nil
		}
		want = "must be true or false"
	case Integer:
		if n, ok := v.(json.Number); ok {
			if _, err := n.Int64(); err == nil {
				return n, nil
			}
		}
		if n, ok := v.(float64); ok && n == float64(int64(n)) {
			return n, nil
		}
		want = "must be an integer"
	case Decimal:
		switch v.(type) {
		case json.Number, float64:
			return v, nil
		}
		want = "must be a number"
	case DateTime:
		if s, ok := v.(string); ok {
			if _, err := AsTime(s); err == nil {
				return v, nil
			}
		}
		want = "must be a time as in 2011-05-13T04:42:34Z"
	case Binary:
		if s, ok := v.(string); ok && isBase64(s) {
			return v, nil
		}
		want = "must be base64"
	default:
		if _, ok := v.(string); ok {
			return v, nil
		}
		want = "must be a string"
	}
	return nil, &ValueError{Path: path, Want: want}
}

// AsBool reads a boolean, also one that came as a string in any letter case, as Entra sends "False".
func AsBool(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch {
		case strings.EqualFold(v, "true"):
			return true, true
		case strings.EqualFold(v, "false"):
			return false, true
		}
	}
	return false, false
}

// AsTime reads a dateTime value (RFC 7643, section 2.3.5); one without a zone is taken as UTC.
func AsTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05.999999999", s)
}

func isBase64(s string) bool {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if _, err := encoding.DecodeString(s); err == nil {
			return true
		}
	}
	return false
}
