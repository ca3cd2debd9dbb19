package filter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	independent "github.com/scim2/filter-parser/v2"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/scim/filter"
)

// These tests hold the parser against another one of the same grammar (RFC 7644, section 3.4.2.2).

// ours prints a filter so that its structure shows, joining terms two by two from the left.
func ours(e filter.Expr) string {
	switch e := e.(type) {
	case filter.And:
		return oursJoined(e, "and")
	case filter.Or:
		return oursJoined(e, "or")
	case filter.Not:
		return "not(" + ours(e.Expr) + ")"
	case filter.ValuePath:
		return e.Attr.String() + "[" + ours(e.Filter) + "]"
	case filter.Compare:
		if e.Value.Kind == filter.Number { // theirs forgets the letter case
			e.Value.Text = strings.ToLower(e.Value.Text)
		}
		return e.String()
	}
	return e.String()
}

func oursJoined(terms []filter.Expr, word string) string {
	s := ours(terms[0])
	for _, e := range terms[1:] {
		s = "(" + s + " " + word + " " + ours(e) + ")"
	}
	return s
}

// theirs does the same for the other parser's.
func theirs(t interface{ Fatalf(string, ...any) }, e independent.Expression) string {
	switch e := e.(type) {
	case *independent.LogicalExpression:
		return "(" + theirs(t, e.Left) + " " + string(e.Operator) + " " + theirs(t, e.Right) + ")"
	case *independent.NotExpression:
		return "not(" + theirs(t, e.Expression) + ")"
	case *independent.ValuePath:
		return e.AttributePath.String() + "[" + theirs(t, e.ValueFilter) + "]"
	case *independent.AttributeExpression:
		s := e.AttributePath.String() + " " + string(e.Operator)
		switch v := e.CompareValue.(type) {
		case string: // as it was written
			var text string
			if err := json.Unmarshal([]byte(`"`+v+`"`), &text); err != nil {
				t.Fatalf("%q: %v", v, err)
			}
			return s + " " + filter.Value{Kind: filter.Text, Text: text}.String()
		case nil:
			if e.Operator == independent.PR {
				return s
			}
			return s + " null"
		default:
			return s + " " + fmt.Sprint(v)
		}
	}
	t.Fatalf("%T", e)
	return ""
}

// agree fails unless both read a filter alike.
func agree(t interface{ Fatalf(string, ...any) }, text string) {
	e, err := filter.Parse(text)
	if err != nil {
		t.Fatalf("we refuse %s: %v", text, err)
	}
	other, err := independent.ParseFilterNumber([]byte(text))
	if err != nil {
		t.Fatalf("they refuse %s: %v", text, err)
	}
	if a, b := ours(e), theirs(t, other); a != b {
		t.Fatalf("%s\nwe read     %s\nthey read   %s", text, a, b)
	}
}

func TestRule9_AnotherParserAgrees(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		// The examples of RFC 7644, section 3.4.2.2.
		`userName eq "bjensen"`,
		`name.familyName co "O'Malley"`,
		`userName sw "J"`,
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`,
		`title pr`,
		`meta.lastModified gt "2011-05-13T04:42:34Z"`,
		`meta.lastModified ge "2011-05-13T04:42:34Z"`,
		`meta.lastModified lt "2011-05-13T04:42:34Z"`,
		`meta.lastModified le "2011-05-13T04:42:34Z"`,
		`title pr and userType eq "Employee"`,
		`title pr or userType eq "Intern"`,
		`schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"`,
		`userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")`,
		`userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")`,
		`userType eq "Employee" and (emails.type eq "work")`,
		`userType eq "Employee" and emails[type eq "work" and value co "@example.com"]`,
		`emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp" and value co "@foo.com"]`,
		// And others.
		`a pr and b pr or c pr and d pr`, `a pr or b pr and c pr or d pr`, `a pr and b pr and c pr`, `((a pr))`, `not(a pr)`, `NOT (a PR AND b Pr)`,
		`a EQ True`, `a eq FALSE`, `a eq Null`, `a ne null`, `a eq -1.50e+3`, `a ge 0`, `a lt 1E-3`, `a eq ""`, `a eq "q\"\\\/\b\f\n\r\t\u00E9"`,
		`a eq "日本 😀"`, `emails[not (type eq "work")]`, `emails[ type eq "work" or primary eq true ]`, `manager.$ref pr`, `a-b_c9 pr`, `not pr`, `and pr and or pr`,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value ew "1"`, `urn:acme.example:v1.2:ext:door eq 7`,
	} {
		agree(t, text)
	}
}

// What one of us reads and the other does not, and why.
func TestRule9_WhereAnotherParserDiffers(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		`emails[type eq "work"].value eq "a"`:                     "what Entra ID sends",
		`emails[type eq "work" and value pr and primary eq true]`: "the RFC's valFilter has any number of terms",
		`emails[(type eq "work")]`:                                "valFilter may be in parentheses",
		`emails[not (type eq "work") and value pr]`:               "and not may be any of its terms",
		`(a pr)and(b pr)`:                                         "a parenthesis ends a word as well as a space",
		"a\teq\t1":                                                "a tab is a space",
		`  a pr `:                                                 "space around a filter does no harm",
		`a eq "\u00e9"`:                                           "JSON has hexadecimal digits in lower case, too",
	} {
		if _, err := filter.Parse(text); err != nil {
			t.Errorf("%s (%s): %v", text, why, err)
		}
		if _, err := independent.ParseFilterNumber([]byte(text)); err == nil {
			t.Errorf("%s: they read it by now; expect it to be read alike", text)
		}
	}
	for text, why := range map[string]string{
		`http:a pr`:     "a schema's name is a URN",
		`a[b.c pr]`:     "there is nothing inside a sub-attribute",
		`a[urn:x:b pr]`: "and it has no URN",
		`a.b[c pr]`:     "nor elements",
		`a eq "\u0000"`: "no database holds a NUL",
		strings.Repeat("(", 33) + `a pr` + strings.Repeat(")", 33): "depth is bounded",
		`a pr` + strings.Repeat(` or a pr`, 250):                   "and so is length",
	} {
		if _, err := filter.Parse(text); err == nil {
			t.Errorf("%.60s: we read it, although %s", text, why)
		}
		if _, err := independent.ParseFilterNumber([]byte(text)); err != nil {
			t.Errorf("%.60s: they refuse it, too: %v", text, err)
		}
	}
}

// genName draws a name, with a URN and a sub-attribute or without.
func genName(t *rapid.T) filter.Attr {
	name := rapid.SampledFrom([]string{"a", "userName", "emails", "$ref", "x-y_z", "not", "or", "true", "eq", "pr"})
	a := filter.Attr{Name: name.Draw(t, "name")}
	if rapid.Bool().Draw(t, "dotted") {
		a.Sub = name.Draw(t, "sub")
	}
	if rapid.IntRange(0, 3).Draw(t, "urn") == 0 {
		a.Schema = rapid.SampledFrom([]string{"urn:x:y", "urn:ietf:params:scim:schemas:core:2.0:User", "URN:acme.example:1.2"}).Draw(t, "schema")
	}
	return a
}

func genCompare(t *rapid.T, attr filter.Attr) filter.Expr {
	c := filter.Compare{Attr: attr, Op: filter.Op(rapid.IntRange(int(filter.Eq), int(filter.Pr)).Draw(t, "operator"))}
	if c.Op == filter.Pr {
		return c
	}
	switch rapid.IntRange(0, 3).Draw(t, "literal") {
	case 0:
		c.Value = filter.Value{Kind: filter.Bool, Text: rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")}
	case 1:
		c.Value = filter.Value{Kind: filter.Number, Text: rapid.SampledFrom([]string{"0", "-1", "1.50", "12e3", "1e-4", "9007199254740993"}).Draw(t, "number")}
	case 2:
		c.Value = filter.Value{Kind: filter.Null, Text: "null"}
	default:
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aZ9 \"\\/éß日😀()[]$.,-\n\t")), 0, 8, -1).Draw(t, "text")
		c.Value = filter.Value{Kind: filter.Text, Text: text}
	}
	return c
}

// genFilter draws a filter that both parsers read.
func genFilter(t *rapid.T, depth int) filter.Expr {
	kinds := []string{"compare", "path", "and", "or", "not"}
	if depth == 0 {
		kinds = kinds[:2]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "path":
		attr := genName(t)
		attr.Sub = ""
		sub := func() filter.Expr {
			return genCompare(t, filter.Attr{Name: rapid.SampledFrom([]string{"type", "value", "$ref"}).Draw(t, "sub")})
		}
		inner := []filter.Expr{sub(), filter.And{sub(), sub()}, filter.Or{sub(), sub()}, filter.Not{Expr: sub()}}
		return filter.ValuePath{Attr: attr, Filter: rapid.SampledFrom(inner).Draw(t, "inner")}
	case "and", "or":
		var terms []filter.Expr
		for range rapid.IntRange(2, 4).Draw(t, "terms") {
			terms = append(terms, genFilter(t, depth-1))
		}
		if kind == "and" {
			return filter.And(terms)
		}
		return filter.Or(terms)
	case "not":
		return filter.Not{Expr: genFilter(t, depth-1)}
	}
	return genCompare(t, genName(t))
}

// Whatever we print, they read as what it was.
func TestRule9_AnotherParserReadsWhatIsPrinted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := genFilter(t, 3).String()
		if e, err := filter.Parse(text); len(text) <= filter.MaxLength && err == nil {
			if e.String() != text {
				t.Fatalf("%s is printed as %s", text, e)
			}
			agree(t, text)
		}
	})
}

// Whatever they make of any words, we read alike, if they read it at all.
func TestRule9_WhatAnotherParserReads(t *testing.T) {
	t.Parallel()
	words := rapid.SampledFrom([]string{
		"a", "b.c", "emails[", "type", "]", "(", ")", "not", "not (", "and", "or", "eq", "Pr", "co", `"x"`, `"`, "1", "-1.5e3", "01", "true", "null", "urn:x:y:z", ".value", "a pr", `a eq "b"`,
	})
	// Few heaps of words are filters, so the joined forms also get whole comparisons.
	terms := rapid.SampledFrom([]string{"a pr", `b.c eq "x"`, "type co 1", "(a pr)", `emails[type eq "x"]`, "not (a pr)", "urn:x:y:z pr", "a gt -1.5e3", "a eq null"})
	forms := func(parts []string) []string {
		return []string{strings.Join(parts, " "), strings.Join(parts, " and "), strings.Join(parts, " or not ("), "(" + strings.Join(parts, " ") + ")"}
	}
	rapid.Check(t, func(t *rapid.T) {
		texts := append(forms(rapid.SliceOfN(words, 1, 8).Draw(t, "words")), forms(rapid.SliceOfN(terms, 1, 4).Draw(t, "terms"))...)
		for _, text := range texts {
			if _, err := independent.ParseFilterNumber([]byte(text)); err == nil {
				agree(t, text)
			}
		}
	})

	// The loop above must not be idle: these they read, each by itself and joined.
	for _, text := range []string{"a pr", `a eq "b"`, `a eq "b" and a pr`, "a pr or not (b.c pr)"} {
		if _, err := independent.ParseFilterNumber([]byte(text)); err != nil {
			t.Errorf("they do not read %s: %v", text, err)
		}
		agree(t, text)
	}
}
