package filter_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

func text(s string) filter.Value { return filter.Value{Kind: filter.Text, Text: s} }

func cmpr(name string, op filter.Op, v filter.Value) filter.Compare {
	name, sub, _ := strings.Cut(name, ".")
	return filter.Compare{Attr: filter.Attr{Name: name, Sub: sub}, Op: op, Value: v}
}

func TestRule9_Parse(t *testing.T) {
	t.Parallel()
	a, b, c := cmpr("a", filter.Pr, filter.Value{}), cmpr("b", filter.Pr, filter.Value{}), cmpr("c", filter.Pr, filter.Value{})
	work := cmpr("type", filter.Eq, text("work"))
	emails := filter.Attr{Name: "emails"}
	tests := []struct {
		in    string
		want  filter.Expr
		print string // "" for in
	}{
		{`userName eq "bjensen"`, cmpr("userName", filter.Eq, text("bjensen")), ""},
		{`userName Eq "bjensen"`, cmpr("userName", filter.Eq, text("bjensen")), `userName eq "bjensen"`},
		{`name.familyName CO "O'Malley"`, cmpr("name.familyName", filter.Co, text("O'Malley")), `name.familyName co "O'Malley"`},
		{`title pr`, cmpr("title", filter.Pr, filter.Value{}), ""},
		{`active eq true`, cmpr("active", filter.Eq, filter.Value{Kind: filter.Bool, Text: "true"}), ""},
		{`active eq False`, cmpr("active", filter.Eq, filter.Value{Kind: filter.Bool, Text: "false"}), `active eq false`},
		{`x eq null`, cmpr("x", filter.Eq, filter.Value{Kind: filter.Null, Text: "null"}), ""},
		{`x gt -1.5e3`, cmpr("x", filter.Gt, filter.Value{Kind: filter.Number, Text: "-1.5e3"}), ""},
		{`meta.lastModified ge "2011-05-13T04:42:34Z"`, cmpr("meta.lastModified", filter.Ge, text("2011-05-13T04:42:34Z")), ""},
		{`a eq "q\"\\\u00e9\n<"`, cmpr("a", filter.Eq, text("q\"\\é\n<")), `a eq "q\"\\é\n<"`},
		{
			`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`,
			filter.Compare{Attr: filter.Attr{Schema: schema.UserURN, Name: "userName"}, Op: filter.Sw, Value: text("J")},
			"",
		},
		{
			`URN:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value ew "1"`,
			filter.Compare{Attr: filter.Attr{Schema: "URN" + schema.EnterpriseURN[3:], Name: "manager", Sub: "value"}, Op: filter.Ew, Value: text("1")},
			"",
		},
		{`a pr and b pr and c pr`, filter.And{a, b, c}, ""},
		{`a pr and b pr or c pr`, filter.Or{filter.And{a, b}, c}, ""},
		{`a pr or b pr and c pr`, filter.Or{a, filter.And{b, c}}, ""},
		{`(a pr or b pr) AND c pr`, filter.And{filter.Or{a, b}, c}, `(a pr or b pr) and c pr`},
		{`a pr and (b pr and c pr)`, filter.And{a, filter.And{b, c}}, ""},
		{`((a pr))`, a, `a pr`},
		{`(a pr)and(b pr)or not(c pr)`, filter.Or{filter.And{a, b}, filter.Not{Expr: c}}, `a pr and b pr or not (c pr)`},
		{`not (a pr and b pr)`, filter.Not{Expr: filter.And{a, b}}, ""},
		{`not pr`, cmpr("not", filter.Pr, filter.Value{}), ""},
		{`and pr and or pr`, filter.And{cmpr("and", filter.Pr, filter.Value{}), cmpr("or", filter.Pr, filter.Value{})}, ""},
		{`emails[type eq "work"]`, filter.ValuePath{Attr: emails, Filter: work}, ""},
		{
			`emails[type eq "work" and value co "@x"]`,
			filter.ValuePath{Attr: emails, Filter: filter.And{work, cmpr("value", filter.Co, text("@x"))}},
			"",
		},
		{
			`emails[type eq "work"].value eq "a"`,
			filter.ValuePath{Attr: emails, Filter: filter.And{work, cmpr("value", filter.Eq, text("a"))}},
			`emails[type eq "work" and value eq "a"]`,
		},
		{
			`emails[not (type eq "work" or primary eq true)].value pr`,
			filter.ValuePath{Attr: emails, Filter: filter.And{
				filter.Not{Expr: filter.Or{work, cmpr("primary", filter.Eq, filter.Value{Kind: filter.Bool, Text: "true"})}},
				cmpr("value", filter.Pr, filter.Value{}),
			}},
			`emails[not (type eq "work" or primary eq true) and value pr]`,
		},
		{"  a\tpr  ", a, "a pr"},
	}
	for _, test := range tests {
		got, err := filter.Parse(test.in)
		if err != nil {
			t.Errorf("Parse(%s): %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Parse(%s):\n%s", test.in, diff)
		}
		want := test.print
		if want == "" {
			want = test.in
		}
		if got.String() != want {
			t.Errorf("Parse(%s).String() = %s, want %s", test.in, got, want)
		}
	}
}

func TestRule9_WrongFiltersNameThePosition(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in  string
		pos int
	}{
		{``, 1},
		{`userName`, 9},
		{`userName eq`, 12},
		{`userName eq "a`, 13},
		{`userName eq bjensen`, 13},
		{`userName eq 'a'`, 13},
		{`userName is "a"`, 10},
		{`userName eq "a" userName`, 17},
		{`userName eq "a" and`, 20},
		{`(a pr`, 6},
		{`a pr)`, 5},
		{`not a pr`, 5},
		{`a.b.c pr`, 1},
		{`1a pr`, 1},
		{`a: pr`, 1},
		{`http://x:a pr`, 1},
		{`a[b pr`, 7},
		{`a[b[c pr]]`, 4},
		{`a.b[c pr]`, 4},
		{`a[b.c pr]`, 3},
		{`a[urn:b:c pr]`, 3},
		{`a[b pr].c.d pr`, 9},
		{`a[b pr].c`, 10},
		{`a eq 01`, 6},
		{`a eq "\x"`, 6},
		{`a eq "\u0000"`, 6},
		{"a eq \"\n\"", 7},
		{"a eq \"\x00\"", 7},
		{"a eq \"\xff\"", 7},
		{`a co "b" or (c pr and d xx "e")`, 25},
		{strings.Repeat("(", 33) + "a pr" + strings.Repeat(")", 33), 33},
		{strings.Repeat("not (", 33) + "a pr" + strings.Repeat(")", 33), 165},
		{"a pr" + strings.Repeat(" or a pr", 199), 4 + 198*8 + 4 + 2},
		{"a eq \"" + strings.Repeat("x", 4096) + "\"", 4097},
	}
	for _, test := range tests {
		got, err := filter.Parse(test.in)
		var syntax *filter.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("Parse(%.60q) = %v, %v, want a SyntaxError", test.in, got, err)
			continue
		}
		if syntax.Pos != test.pos {
			t.Errorf("Parse(%.60q): %v, want position %d", test.in, err, test.pos)
		}
	}
	for _, fits := range []string{
		strings.Repeat("(", 32) + "a pr" + strings.Repeat(")", 32),
		"a pr" + strings.Repeat(" or a pr", 198),
		"a eq \"" + strings.Repeat("x", 4096-7) + "\"",
	} {
		if _, err := filter.Parse(fits); err != nil {
			t.Errorf("Parse(%.60q): %v", fits, err)
		}
	}
}

func TestRule30_ParsePath(t *testing.T) {
	t.Parallel()
	work := cmpr("type", filter.Eq, text("work"))
	tests := []struct {
		in   string
		want filter.Path
	}{
		{"members", filter.Path{Attr: filter.Attr{Name: "members"}}},
		{"name.familyName", filter.Path{Attr: filter.Attr{Name: "name", Sub: "familyName"}}},
		{`emails[type eq "work"].Value`, filter.Path{Attr: filter.Attr{Name: "emails", Sub: "Value"}, Filter: work}},
		{`emails[type eq "work"]`, filter.Path{Attr: filter.Attr{Name: "emails"}, Filter: work}},
		{
			schema.UserURN + `:emails[type eq "work"].value`,
			filter.Path{Attr: filter.Attr{Schema: schema.UserURN, Name: "emails", Sub: "value"}, Filter: work},
		},
		{schema.EnterpriseURN + ":manager.value", filter.Path{Attr: filter.Attr{Schema: schema.EnterpriseURN, Name: "manager", Sub: "value"}}},
		{"urn:acme.example:v1.2:ext:door", filter.Path{Attr: filter.Attr{Schema: "urn:acme.example:v1.2:ext", Name: "door"}}},
		{"urn:acme:2.0", filter.Path{Attr: filter.Attr{Schema: "urn:acme", Name: "2", Sub: "0"}}},
		{"manager.$ref", filter.Path{Attr: filter.Attr{Name: "manager", Sub: "$ref"}}},
	}
	for _, test := range tests {
		got, err := filter.ParsePath(test.in)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("ParsePath(%s): %v\n%s", test.in, err, diff)
		}
		if got.String() != test.in {
			t.Errorf("ParsePath(%s).String() = %s", test.in, got)
		}
	}
	for _, in := range []string{"", "a b", "a[", `a[b eq "c"`, `a[b eq "c"].`, `a[b eq "c"]d`, `a[b eq "c"].d.e`, "a.", ".a", "a pr", "/a"} {
		if got, err := filter.ParsePath(in); err == nil {
			t.Errorf("ParsePath(%q) = %v, want an error", in, got)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(`{
		"id": "Abc", "externalId": "E1", "userName": "Ann@X.example", "active": true, "title": "", "nickName": "N",
		"name": {"givenName": "Ann", "familyName": "Läufer"},
		"emails": [{"value": "ann@x.example", "type": "work", "primary": true}, {"value": "ann@home.example", "type": "home"}],
		"roles": "admin",
		"meta": {"lastModified": "2026-01-02T03:04:05.5Z"},
		"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"employeeNumber": "701", "manager": {"value": "m1"}},
		"urn:acme:2.0:Badge": {"door": 7}
	}`))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	users, err := schema.Users(schema.Schema{ID: "urn:acme:2.0:Badge", Attributes: []schema.Attribute{{Name: "door", Type: schema.Integer}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{
		`userName eq "ANN@x.EXAMPLE"`:                          true,
		`userName ne "ann@x.example"`:                          false,
		`USERNAME co "@X"`:                                     true,
		`userName sw "ann"`:                                    true,
		`userName ew ".example"`:                               true,
		`userName sw "bob"`:                                    false,
		`userName gt "amy"`:                                    true,
		`userName le "amy"`:                                    false,
		`name.familyName eq "LÄUFER"`:                          true,
		`id eq "abc"`:                                          false,
		`id eq "Abc"`:                                          true,
		`externalId eq "e1"`:                                   false,
		`active eq "True"`:                                     true,
		`active eq true`:                                       true,
		`active ne false`:                                      true,
		`active eq false`:                                      false,
		`title pr`:                                             false,
		`nickName pr`:                                          true,
		`name pr`:                                              true,
		`title eq null`:                                        true,
		`nickName ne null`:                                     true,
		`displayName eq "x"`:                                   false,
		`displayName ne "x"`:                                   true,
		`not (displayName pr)`:                                 true,
		`emails eq "ANN@home.example"`:                         true,
		`emails.value eq "ann@x.example"`:                      true,
		`emails.type ne "work"`:                                true,
		`phoneNumbers.value ne "1"`:                            true,
		`emails.primary eq true`:                               true,
		`emails[type eq "work"].value co "x.example"`:          true,
		`emails[type eq "home" and value co "@x"]`:             false,
		`emails[type eq "WORK" and not (value co "home")]`:     true,
		`emails[primary eq "True"].type eq "work"`:             true,
		`emails[primary eq true and type eq "home"]`:           false,
		`roles eq "admin"`:                                     true,
		`roles[value eq "admin"]`:                              true,
		`meta.lastModified gt "2026-01-02T03:04:05Z"`:          true,
		`meta.lastModified eq "2026-01-02T04:04:05.500+01:00"`: true,
		`meta.lastModified lt "2026-01-02T03:04:05.4Z"`:        false,
		`meta.lastModified le "2027-01-01T00:00:00"`:           true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:user:employeeNumber eq "701"`: true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "m1"`:         true,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "M1"`:   false,
		`urn:acme:2.0:Badge:door ge 7.0`:                           true,
		`urn:acme:2.0:Badge:door lt 7`:                             false,
		`userName eq "nobody" or active eq true and title eq null`: true,
		`(userName eq "nobody" or active eq true) and title pr`:    false,
	}
	for in, want := range tests {
		e, err := filter.Parse(in)
		if err != nil {
			t.Errorf("Parse(%s): %v", in, err)
			continue
		}
		match, err := filter.Compile(e, users)
		if err != nil {
			t.Errorf("Compile(%s): %v", in, err)
			continue
		}
		if got := match(doc); got != want {
			t.Errorf("%s = %v, want %v", in, got, want)
		}
	}
	for _, in := range []string{
		`shoeSize eq 9`, `name eq "x"`, `active gt true`, `active eq "maybe"`, `meta.lastModified eq "yesterday"`,
		`meta.lastModified co "2026"`, `userName[value eq "x"]`, `emails[shoe eq "x"]`, `emails.shoe pr`,
		`x509Certificates gt "a"`, `urn:acme:2.0:Badge:door eq "x"`, `urn:acme:2.0:Badge:door co 7`,
		`urn:acme:2.0:Badge pr`, `title pr and not (shoe pr)`, `title pr or shoe pr`,
	} {
		e, err := filter.Parse(in)
		if err != nil {
			t.Errorf("Parse(%s): %v", in, err)
			continue
		}
		var unsupported *filter.UnsupportedError
		if _, err := filter.Compile(e, users); !errors.As(err, &unsupported) {
			t.Errorf("Compile(%s): %v, want an UnsupportedError", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`userName eq "bjensen"`, `a pr and (b co "c" or not (d gt 1.5))`, `emails[type eq "work" and value co "@x"].value sw "a"`,
		`urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value eq "\u00e9"`, `((((a pr`, `a eq null`,
	} {
		f.Add(s)
	}
	users, err := schema.Users()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := filter.Parse(s); err == nil {
			printed := e.String()
			again, err := filter.Parse(printed)
			if err != nil && len(printed) <= filter.MaxLength {
				t.Fatalf("Parse(%q) prints %q: %v", s, printed, err)
			}
			if err == nil && !reflect.DeepEqual(e, again) {
				t.Fatalf("Parse(%q) prints %q, which is another filter: %v", s, printed, again)
			}
			if match, err := filter.Compile(e, users); err == nil {
				match(map[string]any{"userName": "a", "emails": []any{map[string]any{"type": "work"}}, "roles": 5.0})
			}
		}
		if p, err := filter.ParsePath(s); err == nil {
			again, err := filter.ParsePath(p.String())
			if (err != nil || !reflect.DeepEqual(p, again)) && len(p.String()) <= filter.MaxLength {
				t.Fatalf("ParsePath(%q) prints %q: %v, %v", s, p, again, err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for name, s := range map[string]string{
		"simple": `userName eq "bjensen@example.com"`,
		"path":   `emails[type eq "work"].value eq "bjensen@example.com"`,
		"long":   `title pr and (userName sw "a" or not (emails[type eq "work" and value co "@example.com"])) and meta.lastModified gt "2011-05-13T04:42:34Z"`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := filter.Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
