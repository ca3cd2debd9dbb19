package identity_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/store/identity"
)

var (
	names   = rapid.StringMatching(`[a-zA-Z$][a-zA-Z0-9_$-]{0,8}`)
	schemas = rapid.SampledFrom([]string{"", "", "", identity.EnterpriseURN, "urn:x", "urn:acme:2.0.1:User"})
	kinds   = rapid.OneOf(rapid.Just(""), rapid.StringN(1, 8, -1), rapid.SampledFrom([]string{"work", `"`, `\`, "]", `a"].b`, ":", "[", " "}))
)

// paths draws any path that can be printed.
var paths = rapid.Custom(func(t *rapid.T) identity.Path {
	p := identity.Path{Schema: schemas.Draw(t, "schema"), Attr: names.Draw(t, "attr"), Type: kinds.Draw(t, "type")}
	if rapid.Bool().Draw(t, "has sub") {
		p.Sub = names.Draw(t, "sub")
	}
	return p
})

func TestParsePathReadsWhatStringPrints(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := paths.Draw(t, "path")
		got, err := identity.ParsePath(p.String())
		if err != nil || got != p {
			t.Fatalf("ParsePath(%q) = %#v, %v, want %#v", p.String(), got, err, p)
		}
	})
}

func TestParsePath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]identity.Path{
		"title":                                {Attr: "title"},
		"name.givenName":                       {Attr: "name", Sub: "givenName"},
		`emails[type eq "work"].value`:         {Attr: "emails", Type: "work", Sub: "value"},
		`emails[type eq "work"]`:               {Attr: "emails", Type: "work"},
		identity.EnterpriseURN + ":department": {Schema: identity.EnterpriseURN, Attr: "department"},
		"URN:x:manager.value":                  {Schema: "URN:x", Attr: "manager", Sub: "value"},
		`urn:x:y[type eq "urn:a:b"].z`:         {Schema: "urn:x", Attr: "y", Type: "urn:a:b", Sub: "z"},
		`ims[type eq "a\"b\\c]"].value`:        {Attr: "ims", Type: `a"b\c]`, Sub: "value"},
		"":                                     {}, ".x": {}, "x.": {}, "a.b.c": {}, "urn:": {}, "urn:x:": {}, "[": {}, "x[": {}, "x[]": {}, `x[type eq ""]`: {}, `x[type eq "a"`: {},
		`x[type eq "a]`: {}, `x[type ne "a"]`: {}, `x[type eq "a"]b`: {}, `x[type eq "a"].`: {}, `[type eq "a"]`: {}, `x[type eq "a\`: {},
		`x.y[type eq "a"]`: {}, "x]": {},
	} {
		got, err := identity.ParsePath(text)
		if want == (identity.Path{}) {
			if err == nil {
				t.Errorf("ParsePath(%q) = %#v, want an error", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("ParsePath(%q) = %#v, %v, want %#v", text, got, err, want)
		}
	}
}

// leafPaths are what a connector maps to: none is above another.
var leafPaths = []identity.Path{
	{Attr: "title"},
	{Attr: "displayName"},
	{Attr: "name", Sub: "givenName"},
	{Attr: "name", Sub: "familyName"},
	{Attr: "emails", Type: "work", Sub: "value"},
	{Attr: "emails", Type: "home", Sub: "value"},
	{Attr: "phoneNumbers", Type: "mobile", Sub: "value"},
	{Attr: "addresses", Type: "work", Sub: "locality"},
	{Attr: "addresses", Type: "work", Sub: "country"},
	{Schema: identity.EnterpriseURN, Attr: "department"},
	{Schema: identity.EnterpriseURN, Attr: "manager", Sub: "value"},
	{Schema: "urn:x", Attr: "codes", Type: "A", Sub: "value"},
}

var leafValues = rapid.OneOf(
	rapid.Just[any](nil), rapid.Just[any](""), rapid.Map(rapid.StringN(1, 6, -1), func(s string) any { return s }),
	rapid.Map(rapid.Bool(), func(b bool) any { return b }),
)

// documents draws a document by setting leaves in it.
var documents = rapid.Custom(func(t *rapid.T) identity.Attributes {
	a := identity.Attributes{}
	for _, p := range rapid.SliceOfDistinct(rapid.SampledFrom(leafPaths), rapid.ID).Draw(t, "paths") {
		a.Set(p, leafValues.Draw(t, p.String()))
	}
	return a
})

func TestAttributesSetGetAndClear(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := documents.Draw(t, "document")
		before := a.Clone()
		p := rapid.SampledFrom(leafPaths).Draw(t, "path")
		v := leafValues.Draw(t, "value")
		a.Set(p, v)
		if got := a.Get(p); got != v {
			t.Fatalf("Get(%s) = %v after Set of %v", p, got, v)
		}
		for _, other := range leafPaths {
			if other != p && a.Get(other) != before.Get(other) {
				t.Fatalf("Set(%s) changed %s from %v to %v", p, other, before.Get(other), a.Get(other))
			}
		}
		if before.Get(p) == nil && v != nil {
			a.Set(p, nil)
			if !a.Equal(before) {
				t.Fatalf("Set and clear of %s left %v of %v", p, a, before)
			}
		}
		for _, leaf := range leafPaths {
			a.Set(leaf, nil)
		}
		if len(a) != 0 {
			t.Fatalf("clearing every leaf left %v", a)
		}
	})
}

func TestAttributesSet(t *testing.T) {
	t.Parallel()
	work := identity.Path{Attr: "emails", Type: "work"}
	for name, c := range map[string]struct {
		before, want identity.Attributes
		path         identity.Path
		value        any
	}{
		"first element is primary": {
			identity.Attributes{},
			identity.Attributes{"emails": []any{map[string]any{"type": "work", "value": "a", "primary": true}}},
			identity.Path{Attr: "emails", Type: "work", Sub: "value"},
			"a",
		},
		"type without case": {
			identity.Attributes{"emails": []any{map[string]any{"type": "Work", "value": "a"}}},
			identity.Attributes{"emails": []any{map[string]any{"type": "Work", "value": "b"}}},
			identity.Path{Attr: "emails", Type: "work", Sub: "value"},
			"b",
		},
		"whole element": {
			identity.Attributes{"emails": []any{map[string]any{"type": "work", "value": "a", "display": "x"}}},
			identity.Attributes{"emails": []any{map[string]any{"type": "work", "value": "b"}}},
			work,
			map[string]any{"value": "b"},
		},
		"value of an element": {
			identity.Attributes{}, identity.Attributes{"emails": []any{map[string]any{"type": "work", "value": "a", "primary": true}}}, work, "a",
		},
		"clear an element": {
			identity.Attributes{"emails": []any{map[string]any{"type": "work", "value": "a"}, "stray"}},
			identity.Attributes{"emails": []any{"stray"}},
			work, nil,
		},
		"replace what has another shape": {
			identity.Attributes{"name": "Jo"},
			identity.Attributes{"name": map[string]any{"givenName": "Jo"}},
			identity.Path{Attr: "name", Sub: "givenName"},
			"Jo",
		},
		"clear nothing": {identity.Attributes{}, identity.Attributes{}, identity.Path{Schema: "urn:x", Attr: "a", Sub: "b"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := c.before.Clone()
			got.Set(c.path, c.value)
			if diff := cmp.Diff(map[string]any(c.want), map[string]any(got)); diff != "" {
				t.Errorf("Set(%s, %v) (-want +got):\n%s", c.path, c.value, diff)
			}
		})
	}
}

// jsonValues draws any JSON value.
func jsonValues(depth int) *rapid.Generator[any] {
	leaves := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.SampledFrom([]string{"0", "1", "1.0", "-0.5", "12345678901234567890"}), func(s string) any { return json.Number(s) }),
	)
	if depth == 0 {
		return leaves
	}
	deeper := rapid.Deferred(func() *rapid.Generator[any] { return jsonValues(depth - 1) })
	return rapid.OneOf(
		leaves,
		rapid.Map(rapid.SliceOfN(deeper, 0, 3), func(list []any) any { return list }),
		rapid.Map(rapid.MapOfN(rapid.StringN(0, 3, -1), deeper, 0, 3), func(m map[string]any) any { return m }),
	)
}

func TestAttributesEqualAndClone(t *testing.T) {
	t.Parallel()
	objects := rapid.MapOfN(rapid.StringN(0, 2, -1), jsonValues(2), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		a, b := identity.Attributes(objects.Draw(t, "a")), identity.Attributes(objects.Draw(t, "b"))
		text := func(a identity.Attributes) string {
			j, err := json.Marshal(a)
			if err != nil {
				t.Fatal(err)
			}
			return string(j)
		}
		if got, want := a.Equal(b), text(a) == text(b); got != want {
			t.Fatalf("Equal(%s, %s) = %v", text(a), text(b), got)
		}
		before := text(a)
		c := a.Clone()
		if !c.Equal(a) || !a.Equal(c) {
			t.Fatalf("a clone of %s is %s", text(a), text(c))
		}
		scramble(map[string]any(c))
		if text(a) != before {
			t.Fatalf("changing a clone changed its original from %s to %s", before, text(a))
		}
	})
	var none identity.Attributes
	if !none.Equal(identity.Attributes{}) || !(identity.Attributes{}).Equal(none) || none.Clone() != nil {
		t.Error("a nil document is not like an empty one")
	}
	if !(identity.Attributes{"n": 1.5}).Equal(identity.Attributes{"n": json.Number("1.5")}) {
		t.Error("1.5 differs from 1.5")
	}
}

// scramble changes everything in a value that can be changed in place.
func scramble(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			scramble(v[key])
			delete(v, key)
		}
		v["scrambled"] = true
	case []any:
		for i := range v {
			scramble(v[i])
			v[i] = "scrambled"
		}
	}
}

func TestPrimaryEmail(t *testing.T) {
	t.Parallel()
	mail := func(value, primary any) any { return map[string]any{"value": value, "primary": primary} }
	for name, c := range map[string]struct {
		emails any
		want   string
	}{
		"none":              {nil, ""},
		"no list":           {"a@x", ""},
		"primary":           {[]any{mail("a@x", false), mail("b@x", true)}, "b@x"},
		"primary as a text": {[]any{mail("a@x", nil), mail("b@x", "True")}, "b@x"},
		"first":             {[]any{mail("", nil), mail("a@x", nil), mail("b@x", nil)}, "a@x"},
		"empty primary":     {[]any{mail("", true), mail("a@x", nil)}, "a@x"},
		"strays":            {[]any{"x", nil, mail(7, true), mail("a@x", nil)}, "a@x"},
	} {
		if got := (identity.Attributes{"emails": c.emails}).PrimaryEmail(); got != c.want {
			t.Errorf("%s: PrimaryEmail = %q, want %q", name, got, c.want)
		}
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{" Jo@X ": "jo@x", "ÉA": "éa", "": "", "\t": "", "İ": "i"} {
		if got := identity.Normalize(name); got != want {
			t.Errorf("Normalize(%q) = %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		once := identity.Normalize(rapid.String().Draw(t, "name"))
		if twice := identity.Normalize(once); twice != once || strings.TrimSpace(once) != once {
			t.Fatalf("Normalize again = %q, want %q", twice, once)
		}
	})
}
