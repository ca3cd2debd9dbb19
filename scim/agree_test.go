package scim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

const doorURN = "urn:acme:2.0:Door"

// doorSchema is a site's own extension, with attributes of every type.
func doorSchema() schema.Schema {
	simple := func(name string, kind schema.Type) schema.Attribute { return schema.Attribute{Name: name, Type: kind} }
	exact := schema.Attribute{Name: "code", Type: schema.String, CaseExact: true}
	floors := schema.Attribute{Name: "floors", Type: schema.Integer, MultiValued: true}
	colours := schema.Attribute{Name: "colours", Type: schema.String, MultiValued: true}
	keys := schema.Attribute{Name: "keys", Type: schema.Complex, MultiValued: true, SubAttributes: []schema.Attribute{
		simple("value", schema.Integer), simple("type", schema.String), simple("since", schema.DateTime), simple("lost", schema.Boolean),
		{Name: "doors", Type: schema.String, MultiValued: true},
	}}
	return schema.Schema{ID: doorURN, Attributes: []schema.Attribute{
		simple("colour", schema.String), exact, simple("door", schema.Integer), simple("weight", schema.Decimal), simple("valid", schema.Boolean),
		simple("since", schema.DateTime), simple("photo", schema.Binary), simple("home", schema.Reference), floors, colours, keys,
		{Name: "pin", Type: schema.String, Returned: schema.Never},
	}}
}

// parse reads JSON as the endpoint does.
func parse(t testing.TB, text string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var doc map[string]any
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return doc
}

// oddDocuments are what users may have: what clients send, what pulls write, and what neither should have written.
var oddDocuments = []string{
	`{}`,
	`{"displayName":"Ann Lee","title":"Boss","name":{"givenName":"Ann","familyName":"Lee"},"emails":[{"value":"ann@x.example","type":"work","primary":true}]}`,
	`{"displayName":" Ann Lee ","title":"boss","nickName":"","emails":[{"value":"Ann@X.example","type":"home","primary":"True"},{"value":"second@x.example","type":"work"}]}`,
	`{"displayName":"","title":"BOSS%","name":{"givenName":"Ann","familyName":"O'Malley_"},"emails":[{"value":"a","type":"other"},{"value":"second@X.example","type":"home","primary":false,"display":"Second"}]}`,
	`{"title":"b\\oss","name":{"familyName":"İstanbul"},"displayName":"ΌΔΟΣ ΣΑΣ","emails":[{"value":"İ@x.example","primary":true},{"value":"ΣΑΣ@x.example"},{"value":" ann@x.example "}]}`,
	`{"title":"ẞtraße","displayName":"日本","locale":"de-DE","timezone":"Europe/Berlin","userType":"😀","profileUrl":"https://x.example/Ann","preferredLanguage":"de"}`,
	`{"title":5,"name":"Ann","displayName":7,"emails":"ann@x.example","nickName":true,"roles":"admin"}`,
	`{"title":["boss","Chief"],"name":[{"familyName":"Lee"},{"givenName":"Ann"}],"emails":["ann@x.example",null,{"value":"b@x.example"}],"roles":["admin","viewer"]}`,
	`{"title":{"value":"boss"},"name":{"familyName":["Lee"]},"emails":{"value":"ann@x.example","type":"work"},"roles":[{"value":"admin","primary":"True","display":"Admin"}]}`,
	`{"title":[],"name":{},"emails":[],"roles":[{"value":"{\"id\":\"1\",\"value\":\"admin\"}","primary":true}]}`,
	`{"title":[null,""],"name":{"givenName":"","familyName":null},"emails":[{"type":"work"},{"value":""}],"roles":{"value":"admin"}}`,
	`{"title":[[]],"name":{"formatted":"Dr. Ann \"the\" Lee"},"emails":[[],{"value":["x"]},5,{"value":5,"type":"work"}],"roles":[null]}`,
	`{"phoneNumbers":[{"value":"+49 228 555","type":"mobile"},{"value":"555","type":"work","primary":true}],"addresses":[{"type":"work","locality":"Bonn","postalCode":"00053","country":"DE"},{"type":"home","locality":"Köln"}]}`,
	`{"ims":[{"value":"a","type":"xmpp"}],"photos":[{"value":"https://x.example/p","type":"photo"}],"entitlements":[{"value":"E","display":"e"}],"x509Certificates":[{"value":"AAAA"}]}`,
	`{"` + enterpriseURN + `":{"employeeNumber":"701984","department":"Tour","costCenter":"4130","organization":"Universal","division":"Park","manager":{"value":"M1","$ref":"../Users/M1","displayName":"John"}}}`,
	`{"` + enterpriseURN + `":{"employeeNumber":"","department":"TOUR ","manager":"M1"}}`,
	`{"` + enterpriseURN + `":{"employeeNumber":701984,"manager":[{"value":"m1"}]},"` + doorURN + `":{}}`,
	`{"` + enterpriseURN + `":"x","` + doorURN + `":null}`,
	`{"` + doorURN + `":{"colour":"Red","code":"aB","door":7,"weight":1.50,"valid":true,"since":"2026-01-02T03:04:05Z","photo":"AAAA","home":"https://x/","floors":[1,2,30],"colours":["red","Blue"]}}`,
	`{"` + doorURN + `":{"colour":"","code":"Ab","door":-7,"weight":1e2,"valid":"False","since":"2026-01-02T05:04:05.000000001+02:00","floors":[],"colours":"blue","pin":"1234"}}`,
	`{"` + doorURN + `":{"door":"7","weight":"1.5","valid":"yes","since":"yesterday","floors":["1",2.0],"colours":[""]}}`,
	`{"` + doorURN + `":{"door":9007199254740993,"weight":100.00000000000000000001,"valid":0,"since":"2026-02-30T00:00:00Z","floors":7}}`,
	`{"` + doorURN + `":{"door":0,"weight":-0.0,"since":"2026-01-02T3:04:05Z","keys":[{"value":1,"type":"Main","since":"2026-01-02T03:04:05","lost":"TRUE","doors":["A","b"]},{"value":2,"lost":false}]}}`,
	`{"` + doorURN + `":{"door":{},"weight":[1.5,2],"since":20260102,"keys":{"value":1,"type":"main","doors":"a"}}}`,
	`{"` + doorURN + `":{"since":"0000-02-29T00:00:00Z","weight":1E-300,"keys":[1,"2",null,{"value":"1","since":"9999-12-31T23:59:59.999999999-23:59"}]}}`,
	`{"` + doorURN + `":{"since":"2024-02-29T23:59:59.123456789123Z","weight":123456789012345678901234567890.5,"keys":[]},"schemas":["x"],"nickName":"a\tb\n\u2028c"}`,
}

// population is what the filters of a test run on.
type population struct {
	e         *endpoint
	users     *schema.Resource
	groups    *schema.Resource
	userDocs  []map[string]any
	groupDocs []map[string]any
}

func populate(t *testing.T, e *endpoint) *population {
	t.Helper()
	p := &population{e: e, groups: schema.Groups()}
	var err error
	if p.users, err = schema.Users(doorSchema()); err != nil {
		t.Fatal(err)
	}
	ctx, at := t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	var users []identity.User
	for i, document := range oddDocuments {
		users = append(users, identity.User{
			ID: uuid.NewString(), UserName: []string{"ann", "Bob", "ÉVA", "İlker", "σας"}[i%5] + fmt.Sprint(i) + []string{"@x.example", "@Y.example", "%", "_\\", ""}[i%4],
			Active: i%3 != 0, Attributes: parse(t, document), Origin: identity.OriginSSO, Version: int64(1 + i%12),
			Created: at.Add(time.Duration(i%5) * time.Microsecond), LastModified: at.Truncate(time.Second).Add(time.Duration(i%4) * 500 * time.Millisecond),
		})
		if i%4 == 1 {
			users[i].ExternalID, users[i].Source = []string{"00U1", "00u1", "é", "00u"}[i%4]+fmt.Sprint(i/8), fmt.Sprint("s", i)
		}
	}
	users[0].UserName = " Space\u00a0"
	users[20].DeletedAt, users[20].Active = at, false
	err = e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertUsers(ctx, users); err != nil {
			return err
		}
		var ids []string
		for i, name := range []string{"Staff", "ALL STAFF", "Éire", " Space ", "Empty", "Inner"} {
			g := identity.Group{ID: uuid.NewString(), DisplayName: name, Version: int64(i + 1), Created: at, LastModified: at.Add(time.Duration(i) * time.Hour)}
			if i%2 == 0 {
				g.ExternalID, g.Source = fmt.Sprint("00g", i), "okta"
			}
			if err := tx.InsertGroup(ctx, &g); err != nil {
				return err
			}
			var members []string
			for j := range users {
				if i < 4 && j%(i+2) == 0 || i == 5 && j == 3 {
					members = append(members, users[j].ID)
				}
			}
			if _, err := tx.AddMembers(ctx, g.ID, members); err != nil {
				return err
			}
			ids = append(ids, g.ID)
		}
		// Inner is in Staff, and Staff in Empty.
		if _, _, err := tx.AddNested(ctx, store.GroupRef{ID: ids[0], DisplayName: "Staff"}, ids[5:]); err != nil {
			return err
		}
		_, _, err := tx.AddNested(ctx, store.GroupRef{ID: ids[4], DisplayName: "Empty"}, ids[:1])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p.userDocs, p.groupDocs = p.list(t, "/Users", ""), p.list(t, "/Groups", "")
	if len(p.userDocs) != len(users)-1 || len(p.groupDocs) != 6 {
		t.Fatalf("%d users and %d groups are served", len(p.userDocs), len(p.groupDocs))
	}
	return p
}

// list returns the resources that a filter selects, as they are served.
func (p *population) list(t testing.TB, endpoint, filter string) []map[string]any {
	t.Helper()
	r := p.e.do("GET", endpoint+"?filter="+url.QueryEscape(filter), "").want(200)
	list, _ := parse(t, r.text)["Resources"].([]any)
	docs := make([]map[string]any, len(list))
	for i := range list {
		docs[i] = list[i].(map[string]any)
	}
	if r.at("totalResults") != float64(len(docs)) {
		t.Errorf("%s: totalResults %v of %d resources", filter, r.at("totalResults"), len(docs))
	}
	return docs
}

func names(docs []map[string]any) []string {
	var out []string
	for _, doc := range docs {
		name, _ := doc["userName"].(string)
		if name == "" {
			name, _ = doc["displayName"].(string)
		}
		out = append(out, name)
	}
	return out
}

// check compares what the database answers to a filter with what the evaluator makes of the served resources.
func (p *population) check(t interface {
	testing.TB
}, endpoint, text string,
) (found int) {
	t.Helper()
	resource, docs := p.users, p.userDocs
	if endpoint == "/Groups" {
		resource, docs = p.groups, p.groupDocs
	}
	e, err := filter.Parse(text)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	match, err := filter.Compile(e, resource)
	var unsupported *filter.UnsupportedError
	if errors.As(err, &unsupported) {
		p.e.do("GET", endpoint+"?filter="+url.QueryEscape(text), "").want(400, "invalidFilter")
		return 0
	}
	if err != nil {
		t.Fatalf("Compile(%s): %v", text, err)
	}
	var want []map[string]any
	for _, doc := range docs {
		if match(doc) {
			want = append(want, doc)
		}
	}
	if got := names(p.list(t, endpoint, text)); !slices.Equal(got, names(want)) {
		t.Errorf("%s: the database finds\n%q, the evaluator\n%q", text, got, names(want))
	}
	return len(want)
}

// Every attribute, with every operator and some literals.
var (
	operators    = []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}
	textLiterals = []string{`"boss"`, `"ANN"`, `""`, `"a"`, `"%"`, `"\\"`, `" "`, `"lee"`}
	textNames    = []string{
		"title", "nickName", "displayName", "userType", "name.familyName", "name.givenName", "name.formatted", "locale",
		"roles", "roles.value", "roles.display", "emails.display", "addresses.locality", "phoneNumbers.type", "photos.value", "ims",
		enterpriseURN + ":department", enterpriseURN + ":manager.displayName", doorURN + ":colour", doorURN + ":colours", doorURN + ":keys.type", doorURN + ":keys.doors",
	}
	otherNames = map[string][]string{
		"userName":       {`"ann1@x.example"`, `"BOB"`, `"éva"`, `"İlker"`, `"ΣΑΣ"`, `" space"`, `"space"`, `"_\\"`, `""`},
		"externalId":     {`"00U1"`, `"00u10"`, `"00"`, `"é1"`, `""`, `"00u12"`},
		"emails.value":   {`"ann@x.example"`, `"SECOND@x.example"`, `"İ@X.example"`, `"σας@x.example"`, `" ann@x.example "`, `"x"`, `""`, `" "`, `"a"`},
		"emails":         {`"ann@x.example"`, `"b@x.example"`, `"second@x.example"`},
		"emails.type":    {`"work"`, `"HOME"`, `"o"`},
		"displayName":    {`"ann lee"`, `" Ann"`, `"ΌΔΟΣ"`, `"日"`, `"7"`, `"boss"`, `"lee "`},
		"active":         {`true`, `false`, `"True"`, `"FALSE"`, `"maybe"`, `1`},
		"emails.primary": {`true`, `"false"`}, "roles.primary": {`true`, `"FALSE"`}, doorURN + ":valid": {`true`, `false`},
		doorURN + ":keys.lost": {`true`, `false`}, "meta.resourceType": {`"User"`, `"user"`, `"Us"`}, "schemas": {`"` + enterpriseURN + `"`, `"` + userURN + `"`, `"urn:acme"`, `"x"`},
		"meta.version":                    {`"W/\"1\""`, `"W/\"10\""`, `"W/"`, `"W/\"01\""`, `"1"`, `"\""`},
		"meta.created":                    {`"2026-01-02T03:04:05.123456Z"`, `"2026-01-02T03:04:05.1234565Z"`, `"2026-01-02T04:04:05.123458+01:00"`, `"0000-01-01T00:00:00+23:00"`, `"9999-12-31T23:59:59-23:00"`, `"then"`, `5`},
		"meta.lastModified":               {`"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05.5"`},
		doorURN + ":since":                {`"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05.000000001Z"`, `"0000-02-29T00:00:00"`, `"2024-02-29T23:59:59.123456789Z"`, `"9999-12-31T23:59:59Z"`},
		doorURN + ":keys.since":           {`"2026-01-02T03:04:05Z"`},
		doorURN + ":door":                 {`7`, `7.0`, `-7`, `9007199254740992`, `0`, `"7"`, `"x"`, `1e400`, `1e300`},
		doorURN + ":weight":               {`1.5`, `100`, `100.00000000000000000001`, `-0`, `1e-300`, `123456789012345678901234567890.5`},
		doorURN + ":floors":               {`2`, `30`, `7`},
		doorURN + ":keys":                 {`1`, `2`},
		doorURN + ":code":                 {`"aB"`, `"ab"`, `"A"`},
		doorURN + ":photo":                {`"AAAA"`, `"AA"`},
		doorURN + ":home":                 {`"https://x/"`},
		"x509Certificates.value":          {`"AAAA"`},
		"profileUrl":                      {`"https://x.example/Ann"`, `"https://x.example/ann"`},
		enterpriseURN + ":manager":        {`"M1"`, `"m1"`},
		enterpriseURN + ":manager.$ref":   {`"../Users/M1"`},
		enterpriseURN + ":employeeNumber": {`"701984"`, `701984`, `"7"`},
		userURN + ":userName":             {`"ann"`},
		userURN + ":emails.value":         {`"ann@x.example"`},
		"groups.display":                  {`"staff"`, `" space "`, `"space"`, `"É"`},
		"groups.type":                     {`"direct"`, `"INDIRECT"`, `"x"`},
		"groups":                          {`"x"`},
		"name":                            {`"x"`},
		"meta":                            {`"x"`},
		"addresses":                       {`"x"`},
		"shoeSize":                        {`9`},
	}
	groupNames = map[string][]string{
		"displayName":  {`"staff"`, `"ALL"`, `"éire"`, `"space"`, `" space "`, `""`, `"s"`},
		"externalId":   {`"00g0"`, `"00G0"`, `"00g"`, `""`},
		"meta.created": {`"2026-01-02T03:04:05.123456Z"`}, "meta.lastModified": {`"2026-01-02T04:04:05.123456Z"`},
		"meta.resourceType": {`"Group"`, `"User"`}, "meta.version": {`"W/\"2\""`, `"W"`}, "schemas": {`"` + groupURN + `"`, `"x"`},
		"members.type": {`"User"`, `"group"`, `"x"`}, "members.display": {`"ann lee"`, `"inner"`, `"A"`}, "members": {`"x"`},
	}
)

const groupURN = "urn:ietf:params:scim:schemas:core:2.0:Group"

// filters returns the table of filters for users and for groups.
func (p *population) filters() map[string][]string {
	users, groups := map[string][]string{}, map[string][]string{}
	for _, name := range textNames {
		users[name] = textLiterals
	}
	for name, literals := range otherNames {
		users[name] = append(literals[:len(literals):len(literals)], users[name]...)
	}
	for name, literals := range groupNames {
		groups[name] = literals
	}
	quoted := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	for i := range 3 {
		user, group := p.userDocs[i*2], p.groupDocs[i]
		id := user["id"].(string)
		location := user["meta"].(map[string]any)["location"]
		users["id"] = append(users["id"], quoted(id), quoted(strings.ToUpper(id)), quoted(id[:9]), quoted(id[30:]))
		users["meta.location"] = append(users["meta.location"], quoted(location), quoted(location.(string)[:60]), `"https://elsewhere.example/Users/"`)
		for _, g := range []map[string]any{group, p.groupDocs[4]} {
			users["groups.value"] = append(users["groups.value"], quoted(g["id"]), quoted(g["id"].(string)[:2]))
			users["groups.$ref"] = append(users["groups.$ref"], quoted(g["meta"].(map[string]any)["location"]))
			users["groups"] = append(users["groups"], quoted(g["id"]))
		}
		groups["id"] = append(groups["id"], quoted(group["id"]), `"x"`)
		groups["meta.location"] = append(groups["meta.location"], quoted(group["meta"].(map[string]any)["location"]))
		groups["members"] = append(groups["members"], quoted(id), quoted(group["id"]), quoted(p.groupDocs[5]["id"]))
		groups["members.value"] = append(groups["members.value"], quoted(id), quoted(id[:3]))
		groups["members.$ref"] = append(groups["members.$ref"], quoted(location), quoted(p.groupDocs[5]["meta"].(map[string]any)["location"]))
	}
	out := map[string][]string{}
	for endpoint, names := range map[string]map[string][]string{"/Users": users, "/Groups": groups} {
		for name, literals := range names {
			out[endpoint] = append(out[endpoint], name+" pr", name+" eq null", name+" ne null", name+" gt null")
			for _, literal := range literals {
				for _, operator := range operators {
					out[endpoint] = append(out[endpoint], name+" "+operator+" "+literal)
				}
			}
		}
		slices.Sort(out[endpoint])
	}
	out["/Users"] = append(out["/Users"], oddFilters...)
	for _, name := range []string{p.groupDocs[0]["id"].(string), p.groupDocs[4]["id"].(string)} {
		out["/Users"] = append(out["/Users"], `groups[value eq "`+name+`" and type eq "indirect"]`, `groups[not (value eq "`+name+`") and display co "s"]`)
		out["/Groups"] = append(out["/Groups"], `members[value eq "`+name+`" and type eq "Group"]`, `members[not (value eq "`+name+`") and type eq "Group" or display sw "a"]`)
	}
	return out
}

var oddFilters = []string{
	`emails[type eq "work"].value eq "ann@x.example"`, `emails[type eq "work" and value eq "second@x.example"]`, `emails[type eq "WORK" and value co "@"]`,
	`emails[value eq "SECOND@X.EXAMPLE" and type eq "home"]`, `emails[value eq "second@x.example" or type eq "work"]`, `emails[not (type eq "work")]`,
	`emails[not (value pr)]`, `emails[value eq null]`, `emails[value ne null and type eq null]`, `emails[primary eq true]`, `emails[primary eq "TRUE" and value sw "a"]`,
	`emails[type ne "work"]`, `emails[value eq ""]`, `emails[value eq " ann@x.example "]`, `emails[value eq "ann@x.example"].type pr`, `not (emails[value eq "ann@x.example"])`,
	`emails[value eq "ann@x.example" and value eq "second@x.example"]`, `emails[type eq "work"].display pr`,
	`roles[value eq "admin"]`, `roles[value eq "ADMIN" and primary eq true]`, `roles[not (primary pr)]`, `roles[value co "\"value\":\"admin\""]`, `roles[primary eq "True"].value eq "admin"`,
	`name[familyName eq "lee"]`, `name[givenName eq "Ann" and familyName sw "o'"]`, `name[not (familyName pr)]`, `addresses[type eq "work" and country eq "de"]`,
	`addresses[type eq "home"].country pr`, `phoneNumbers[primary eq true].value eq "555"`, `meta[resourceType eq "User" and version sw "W"]`,
	`meta[not (created gt "2026-01-02T03:04:05.123457Z")]`, enterpriseURN + `:manager[value eq "M1"]`, enterpriseURN + `:manager[value eq "m1" or displayName pr]`,
	doorURN + `:keys[value eq 1 and type eq "main"]`, doorURN + `:keys[value ge 1 and not (lost eq true)]`, doorURN + `:keys[since gt "2025-01-01T00:00:00Z"]`,
	doorURN + `:keys[doors eq "B"]`, doorURN + `:keys[doors ne "a"]`, doorURN + `:keys[value pr]`, doorURN + `:keys[not (value pr)]`, doorURN + `:keys[value lt 2].lost eq false`,
	`groups[display eq "staff"]`, `groups[display eq "staff" and type eq "indirect"]`, `groups[not (type eq "direct")]`, `groups[value pr and display co "e"]`, `not (groups pr)`,
	`groups[value eq null]`, `groups[display sw "S" or type eq "indirect"]`,
	`userName sw "ann" and not (title pr)`, `not (not (title eq "boss"))`, `not (title eq "boss" and title ne "boss")`, `title eq "boss" or title ne "boss"`,
	`title eq "x" or userName eq "bob1@y.example" or emails eq "second@x.example" or displayName eq "ann lee"`,
	`not (emails.value ne "ann@x.example")`, `not (` + doorURN + `:door gt 0 or ` + doorURN + `:door le 0)`, `schemas eq "` + doorURN + `" and not (` + doorURN + `:door pr)`,
	`active eq true and (title co "o" or name.familyName co "L") and not (emails[type eq "work" and primary eq true])`,
	strings.Repeat("(", 32) + `title eq "boss"` + strings.Repeat(")", 32), strings.Repeat("not (", 31) + `title eq "boss"` + strings.Repeat(")", 31),
	strings.Repeat(`title eq "q" or `, 99) + `title sw "b"`, strings.Repeat(`emails.type ne "work" and `, 24) + `emails.type pr`,
	strings.Repeat(`userName eq "q" or `, 197) + `userName eq "ann5@Y.example"`, strings.Repeat(`emails eq "q" or `, 150) + `emails eq "second@x.example"`,
	`userName eq "bob1@Y.example" and (` + strings.Repeat(`title pr or `, 190) + `title eq "boss")`,
}

func withDoors(o *scim.Options) { o.Extensions = []schema.Schema{doorSchema()} }

func TestRule9_TheDatabaseAgreesWithTheEvaluator(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		p := populate(t, e)
		total, telling := 0, 0
		for endpoint, filters := range p.filters() {
			for _, text := range filters {
				total++
				if p.check(t, endpoint, text) > 0 {
					telling++
				}
			}
		}
		t.Logf("%d filters, %d of which find somebody", total, telling)
		if telling < 250 {
			t.Errorf("only %d of %d filters find anybody", telling, total)
		}
	}, withDoors)
}

// treeDepth is how deep the trees of the next test are: each has at most eight leaves.
const treeDepth = 3

// fitsTree reports whether any tree stays within every bound of a filter that has this one, or others that fit, for leaves:
// ten of it, each as deep as a leaf can be, are accepted.
func (p *population) fitsTree(t *testing.T, endpoint, text string) bool {
	t.Helper()
	leaf := strings.Repeat("(", treeDepth) + text + strings.Repeat(")", treeDepth)
	wide := strings.Repeat(leaf+" or ", 9) + leaf
	parsed, err := filter.Parse(wide)
	if err != nil {
		return false
	}
	resource := p.users
	if endpoint == "/Groups" {
		resource = p.groups
	}
	if _, err := filter.Compile(parsed, resource); err != nil {
		return false
	}
	return p.e.do("GET", endpoint+"?count=0&filter="+url.QueryEscape(wide), "").status == http.StatusOK
}

// Any filters, of any shape.
func TestRule9_TheDatabaseAgreesWithTheEvaluatorOnAnyTree(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		p := populate(t, e)
		leaves := p.filters()
		for endpoint, all := range leaves {
			all = slices.DeleteFunc(all, func(text string) bool { return !p.fitsTree(t, endpoint, text) })
			leaf := rapid.SampledFrom(all)
			rapid.Check(t, func(rt *rapid.T) {
				var tree func(depth int) string
				tree = func(depth int) string {
					kind := "leaf"
					if depth > 0 {
						kind = rapid.SampledFrom([]string{"leaf", "and", "or", "not", "and", "or"}).Draw(rt, "node")
					}
					switch kind {
					case "not":
						return "not (" + tree(depth-1) + ")"
					case "and", "or":
						return "(" + tree(depth-1) + ") " + kind + " (" + tree(depth-1) + ")"
					}
					return leaf.Draw(rt, "leaf")
				}
				p.check(t, endpoint, tree(treeDepth))
			})
		}
	}, withDoors)
}
