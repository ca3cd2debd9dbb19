package filter

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/idpsync/idpsync/scim/schema"
)

// Matcher tells whether a resource, or an element of a multi-valued attribute, passes a filter. Names in it are in
// canonical spelling. A Matcher is safe for concurrent use.
type Matcher func(object map[string]any) bool

// UnsupportedError says that a filter is well formed but does not fit the schema.
type UnsupportedError struct{ Msg string }

func (e *UnsupportedError) Error() string { return e.Msg }

func unsupported(format string, args ...any) error {
	return &UnsupportedError{Msg: fmt.Sprintf(format, args...)}
}

// Compile binds a filter to the attributes of a resource. Values are compared by the attribute's type: strings
// without regard to case unless the schema says so, times as times, numbers exactly, and booleans also where they were
// written as strings. On a multi-valued attribute a comparison holds when it does for one of the values; "ne" also holds where
// there is no value. An *UnsupportedError tells what the schema does not allow.
func Compile(e Expr, r *schema.Resource) (Matcher, error) {
	return compile(e, func(a Attr) (field, error) {
		ref, ok := r.Lookup(a.Schema, a.Name, a.Sub)
		if !ok || ref.Attr == nil {
			return field{}, unsupported("%s has no attribute %s", r.Name, a)
		}
		f := field{attr: ref.Attr, sub: ref.Sub}
		if ref.Extension != nil {
			f.extension = ref.Extension.ID
		}
		return f, nil
	})
}

// CompileElement binds the filter of a value path to the sub-attributes of attr.
func CompileElement(e Expr, attr *schema.Attribute) (Matcher, error) {
	return compile(e, func(a Attr) (field, error) {
		sub := attr.Sub(a.Name)
		if sub == nil || a.Sub != "" || a.Schema != "" {
			return field{}, unsupported("%s has no sub-attribute %s", attr.Name, a)
		}
		return field{attr: sub}, nil
	})
}

// Elements returns the elements of a multi-valued attribute's value as objects. An element that was sent bare stands
// for an object with that value.
func Elements(v any) []map[string]any {
	list, ok := v.([]any)
	if !ok && v != nil {
		list = []any{v}
	}
	out := make([]map[string]any, 0, len(list))
	for _, element := range list {
		object, ok := element.(map[string]any)
		if !ok {
			object = map[string]any{"value": element}
		}
		out = append(out, object)
	}
	return out
}

// field is where a name leads to in an object.
type field struct {
	extension string
	attr      *schema.Attribute
	sub       *schema.Attribute
}

func (f field) value(object map[string]any) any {
	if f.extension != "" {
		object, _ = object[f.extension].(map[string]any)
	}
	return object[f.attr.Name]
}

type resolver func(Attr) (field, error)

func compile(e Expr, resolve resolver) (Matcher, error) {
	switch e := e.(type) {
	case And:
		terms, err := compileAll(e, resolve)
		return func(object map[string]any) bool {
			for _, m := range terms {
				if !m(object) {
					return false
				}
			}
			return true
		}, err
	case Or:
		terms, err := compileAll(e, resolve)
		return func(object map[string]any) bool {
			for _, m := range terms {
				if m(object) {
					return true
				}
			}
			return false
		}, err
	case Not:
		m, err := compile(e.Expr, resolve)
		return func(object map[string]any) bool { return !m(object) }, err
	case ValuePath:
		return compileValuePath(e, resolve)
	case Compare:
		return compileCompare(e, resolve)
	}
	return nil, unsupported("unknown filter %T", e)
}

func compileAll(terms []Expr, resolve resolver) ([]Matcher, error) {
	out := make([]Matcher, len(terms))
	for i, e := range terms {
		m, err := compile(e, resolve)
		if err != nil {
			return nil, err
		}
		out[i] = m
	}
	return out, nil
}

func compileValuePath(e ValuePath, resolve resolver) (Matcher, error) {
	f, err := resolve(e.Attr)
	if err != nil {
		return nil, err
	}
	if f.attr.Type != schema.Complex || f.sub != nil {
		return nil, unsupported("%s has no sub-attributes to filter on", e.Attr)
	}
	element, err := CompileElement(e.Filter, f.attr)
	return func(object map[string]any) bool {
		for _, o := range Elements(f.value(object)) {
			if element(o) {
				return true
			}
		}
		return false
	}, err
}

func compileCompare(e Compare, resolve resolver) (Matcher, error) {
	f, err := resolve(e.Attr)
	if err != nil {
		return nil, err
	}
	if e.Op == Pr || e.Value.Kind == Null && (e.Op == Eq || e.Op == Ne) {
		wanted := e.Op != Eq // "eq null" asks for absence
		return func(object map[string]any) bool { return f.present(object) == wanted }, nil
	}
	// A comparison on a complex attribute is one on its value: emails co "@x", manager eq "1".
	if f.attr.Type == schema.Complex && f.sub == nil {
		if f.sub = f.attr.Sub("value"); f.sub == nil {
			return nil, unsupported("%s is complex, compare one of its sub-attributes", e.Attr)
		}
	}
	leaf := f.attr
	if f.sub != nil {
		leaf = f.sub
	}
	op, negated := e.Op, false
	if op == Ne {
		op, negated = Eq, true
	}
	test, err := comparison(leaf, op, e.Value)
	if err != nil {
		return nil, unsupported("%s: %v", e, err)
	}
	return func(object map[string]any) bool {
		found, some := false, false
		f.each(object, func(v any) bool {
			some = true
			found = test(v) != negated
			return !found
		})
		return found || negated && !some
	}, nil
}

// each calls yield with every value of the field that is not null, until it returns false.
func (f field) each(object map[string]any, yield func(any) bool) {
	v := f.value(object)
	if v == nil {
		return
	}
	if f.sub == nil {
		if list, ok := v.([]any); ok {
			for _, element := range list {
				if element != nil && !yield(element) {
					return
				}
			}
			return
		}
		yield(v)
		return
	}
	for _, element := range Elements(v) {
		if sub := element[f.sub.Name]; sub != nil && !yield(sub) {
			return
		}
	}
}

func (f field) present(object map[string]any) bool {
	found := false
	f.each(object, func(v any) bool {
		found = !empty(v)
		return !found
	})
	return found
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, sub := range v {
			if !empty(sub) {
				return false
			}
		}
		return true
	}
	return false
}

// comparison returns the test of one value of an attribute. A value of another type than the attribute's passes none.
func comparison(a *schema.Attribute, op Op, v Value) (func(any) bool, error) {
	if v.Kind == Null {
		return nil, fmt.Errorf("null is compared by eq and ne")
	}
	switch a.Type {
	case schema.Boolean:
		want, ok := schema.AsBool(v.Text)
		if !ok || op != Eq {
			return nil, fmt.Errorf("a boolean is compared by eq or ne with true or false")
		}
		return func(x any) bool {
			got, ok := boolean(x)
			return ok && got == want
		}, nil
	case schema.DateTime:
		return timeComparison(op, v)
	case schema.Integer, schema.Decimal:
		return numberComparison(op, v)
	case schema.Binary:
		if op == Gt || op == Ge || op == Lt || op == Le {
			return nil, fmt.Errorf("binary values have no order")
		}
	}
	return textComparison(op, v, a), nil
}

// boolean reads a boolean, also one that was written as a string.
func boolean(v any) (value, ok bool) {
	if s, is := v.(string); is {
		v = strings.ToLower(s)
	}
	return schema.AsBool(v)
}

func timeComparison(op Op, v Value) (func(any) bool, error) {
	want, err := schema.AsTime(v.Text)
	if err != nil || v.Kind != Text {
		return nil, fmt.Errorf("want a time as in \"2011-05-13T04:42:34Z\"")
	}
	accept, err := order(op)
	if err != nil {
		return nil, err
	}
	return func(x any) bool {
		text, ok := x.(string)
		if !ok || !timeForm.MatchString(text) {
			return false
		}
		got, err := schema.AsTime(text)
		return err == nil && accept(got.Compare(want))
	}, nil
}

// timeForm is the form of RFC 7643, section 2.3.5. Go's reads a little more, which no database does.
var timeForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$`)

func numberComparison(op Op, v Value) (func(any) bool, error) {
	want, ok := number(json.Number(v.Text))
	if !ok {
		return nil, fmt.Errorf("want a number, of at most %d characters and an exponent of at most %d", maxDigits, maxExponent)
	}
	accept, err := order(op)
	if err != nil {
		return nil, err
	}
	return func(x any) bool {
		got, ok := number(x)
		return ok && accept(got.Cmp(want))
	}, nil
}

// Bounds of the numbers that are compared, which are compared exactly. Those that are stored are shorter, also where a
// database writes them out.
const (
	maxDigits   = 1000
	maxExponent = 1000
)

func number(v any) (*big.Rat, bool) {
	switch v := v.(type) {
	case float64:
		return new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
	case json.Number:
		text := v.String()
		if len(text) > maxDigits || !json.Valid([]byte(text)) || !strings.ContainsAny(text[:1], "-0123456789") {
			return nil, false
		}
		if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
			if e, err := strconv.Atoi(exponent); err != nil || e > maxExponent || e < -maxExponent {
				return nil, false
			}
		}
		return new(big.Rat).SetString(text)
	}
	return nil, false
}

// order returns which results of a three-way comparison satisfy the operator.
func order(op Op) (func(int) bool, error) {
	switch op {
	case Eq:
		return func(c int) bool { return c == 0 }, nil
	case Gt:
		return func(c int) bool { return c > 0 }, nil
	case Ge:
		return func(c int) bool { return c >= 0 }, nil
	case Lt:
		return func(c int) bool { return c < 0 }, nil
	case Le:
		return func(c int) bool { return c <= 0 }, nil
	}
	return nil, fmt.Errorf("%s compares text only", op)
}

// textComparison compares without regard to case unless the attribute is case-exact. What is unique without regard to
// case, a user's or a group's name, is so without the space around it, too, and is compared so: whoever is told that
// nobody has a name can take it.
func textComparison(op Op, v Value, a *schema.Attribute) func(any) bool {
	fold, want := strings.ToLower, strings.ToLower(v.Text)
	partly := op == Co || op == Sw || op == Ew
	switch {
	case a.CaseExact:
		fold, want = func(s string) string { return s }, v.Text
	case a.Uniqueness == schema.Server:
		fold = func(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
		if !partly {
			want = fold(v.Text)
		}
	}
	var test func(string) bool
	switch op {
	case Co:
		test = func(s string) bool { return strings.Contains(s, want) }
	case Sw:
		test = func(s string) bool { return strings.HasPrefix(s, want) }
	case Ew:
		test = func(s string) bool { return strings.HasSuffix(s, want) }
	default:
		accept, _ := order(op) // the operators left are those that order knows
		test = func(s string) bool { return accept(strings.Compare(s, want)) }
	}
	return func(x any) bool {
		text, ok := x.(string)
		return ok && test(fold(text))
	}
}
