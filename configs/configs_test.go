package configs_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/idpsync/idpsync/configs"
)

var update = flag.Bool("update", false, "write the golden files")

var webhookSecret = "whsec_" + strings.Repeat("QUJD", 10) // 30 bytes

// loader reads a fixed environment and fixed files.
var loader = configs.Loader{
	LookupEnv: func(name string) (string, bool) {
		value, ok := map[string]string{
			"OKTA_TOKEN":         "okta-token-value",
			"ENTRA_SECRET":       "entra-secret-value",
			"WEBHOOK_SECRET":     webhookSecret,
			"OIDC_SECRET":        "oidc-secret-value",
			"OTLP_AUTHORIZATION": "Bearer otlp-secret-value",
			"DB_PASSWORD":        "db-password-value",
			"MAX":                "77",
			"YES":                "true",
			"EMPTY":              "",
			"NESTED":             "${OKTA_TOKEN}$$",
		}[name]
		return value, ok
	},
	ReadFile: func(path string) ([]byte, error) {
		switch name := filepath.Base(path); {
		case name == "empty":
			return []byte("\n"), nil
		case name == "locked":
			return nil, errors.New("open locked: permission denied")
		case name == "absent":
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		case strings.HasSuffix(name, "database"):
			return []byte("postgres://u:file-secret-value@db/idpsync\n"), nil
		case strings.HasSuffix(name, "webhook"):
			return []byte(webhookSecret + "\n"), nil
		case strings.HasSuffix(path, ".yaml"):
			return os.ReadFile(path)
		}
		return []byte("file-secret-value\r\n"), nil
	},
}

func mustParse(t testing.TB, text string) *configs.Config {
	t.Helper()
	c, err := loader.Parse("idpsync.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return c
}

func TestDefaultIsValid(t *testing.T) {
	t.Parallel()
	if err := configs.Default().Validate(); err != nil {
		t.Errorf("Default().Validate() = %v", err)
	}
}

func TestEmptyFileIsTheDefaultWithoutSCIM(t *testing.T) {
	t.Parallel()
	want := configs.Default()
	if on := want.SCIM.Enabled; on == nil || !*on {
		t.Error("the built-in defaults do not declare SCIM on")
	}
	want.SCIM.Enabled = nil
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "scim:\nlisten:\n", "\ufeff"} {
		if diff := cmp.Diff(want, mustParse(t, text), cmpopts.IgnoreUnexported(configs.Config{})); diff != "" {
			t.Errorf("Parse(%q) differs from the default (-want +got):\n%s", text, diff)
		}
	}
}

func TestExample(t *testing.T) {
	t.Parallel()
	c, err := loader.Load("idpsync.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// What the comments call the default is the default.
	want := configs.Default()
	want.BaseURL = "https://idpsync.example.com"
	want.Roles = []string{"billing_admin"}
	opts := cmp.Options{
		cmpopts.IgnoreUnexported(configs.Config{}),
		cmpopts.IgnoreFields(configs.Config{}, "Connectors", "RoleMapping", "Webhooks"),
		cmpopts.IgnoreFields(configs.SCIM{}, "Extensions"),
		cmpopts.IgnoreFields(configs.SAML{}, "MetadataURL", "EntityID", "GivenName", "FamilyName", "DisplayName"),
		cmpopts.IgnoreFields(configs.OIDC{}, "Issuer", "ClientID", "ClientSecret"),
		cmpopts.IgnoreFields(configs.Traces{}, "Endpoint", "Headers"),
	}
	if diff := cmp.Diff(want, c, opts); diff != "" {
		t.Errorf("the example differs from the defaults that it tells of (-want +got):\n%s", diff)
	}
	defaults := configs.DefaultConnector()
	for _, got := range c.Connectors {
		if diff := cmp.Diff(defaults.Guard, got.Guard); diff != "" {
			t.Errorf("guard of %s (-want +got):\n%s", got.Name, diff)
		}
		if got.Schedule != defaults.Schedule || got.FullSchedule != defaults.FullSchedule || got.Mode != defaults.Mode ||
			got.GraphURL != defaults.GraphURL || got.Authority != defaults.Authority || got.Guests != defaults.Guests {
			t.Errorf("%s differs from the defaults that the example tells of: %+v", got.Name, got)
		}
	}
	if got := c.Connectors[0].APIToken.Reveal(); got != "okta-token-value" {
		t.Errorf("api_token = %q, want the environment variable's value", got)
	}
}

var commentedKey = regexp.MustCompile(`(?m)^#( {3})?([a-z_]+: )`)

// TestExampleIsComplete fails when a key of the configuration is missing from the example, be it active or behind "#".
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("idpsync.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Alternatives stand beside each other, so the whole is no valid configuration; it must be strict YAML for our
	// struct all the same.
	all := commentedKey.ReplaceAllString(string(text), "$1 $2")
	all = strings.NewReplacer("\n database: postgres", "\n#", "\n database", "\ndatabase").Replace(all)
	var c configs.Config
	if err := yaml.UnmarshalWithOptions([]byte(all), &c, yaml.Strict()); err != nil {
		t.Fatalf("the example with every key active: %v", err)
	}
	var tree any
	if err := yaml.Unmarshal([]byte(all), &tree); err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	collect(tree, "", named)
	wanted := map[string]bool{}
	keysOf(reflect.TypeFor[configs.Config](), "", wanted)
	for key := range wanted {
		if !named[key] {
			t.Errorf("idpsync.example.yaml does not show %s", key)
		}
	}
}

func collect(v any, path string, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			out[path+"."+key] = true
			collect(value, path+"."+key, out)
		}
	case []any:
		for _, value := range v {
			collect(value, path, out)
		}
	}
}

func keysOf(typ reflect.Type, path string, out map[string]bool) {
	switch typ.Kind() {
	case reflect.Slice, reflect.Pointer:
		keysOf(typ.Elem(), path, out)
	case reflect.Struct:
		for i := range typ.NumField() {
			key := typ.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			key = path + "." + key
			// The limits are one type in three places; max has no default in two of them.
			if key != ".connectors.guard.groups.max" && key != ".connectors.guard.members.max" {
				out[key] = true
			}
			keysOf(typ.Field(i).Type, key, out)
		}
	}
}

func TestValuesOfEveryKind(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
listen: "[::1]:0"
base_url: https://id.example.com/prefix/
scim: {enabled: "${YES}", max_results: "${MAX}", activation_delay: 1m30s}
default_role: ""
run_lease: 2s
connectors:
  - &base
    name: one
    type: okta
    url: http://127.0.0.1:9999
    api_token: 'a$$b$c${EMPTY}'
    require_group: false
    guard: {users: {percent: 2.5, max: 7}}
  - <<: *base
    name: two
    api_token: 00123
    guard: &guard {groups: {floor: 0}}
  - {name: three, type: okta, url: https://x.example.com/, client_id: c, key_id: k, private_key_file: keys/k.pem, guard: *guard}
  - {name: four, type: entra, tenant_id: acme.onmicrosoft.com, client_id: c, client_secret_file: /abs/secret}
`)
	if c.Listen != "[::1]:0" || c.BaseURL != "https://id.example.com/prefix" || c.DefaultRole != "" {
		t.Errorf("listen, base_url, default_role = %q, %q, %q", c.Listen, c.BaseURL, c.DefaultRole)
	}
	if c.RunLease != 2*time.Second {
		t.Errorf("run_lease = %s, want 2s", c.RunLease)
	}
	if on := c.SCIM.Enabled; on == nil || !*on || c.SCIM.MaxResults != 77 || c.SCIM.ActivationDelay != 90*time.Second {
		t.Errorf("scim = %+v", c.SCIM)
	}
	one, two, three, four := c.Connectors[0], c.Connectors[1], c.Connectors[2], c.Connectors[3]
	if got := one.APIToken.Reveal(); got != "a$b$c" {
		t.Errorf("one's api_token = %q, want a$b$c", got)
	}
	if one.RequiresGroup() || one.RequireGroup == nil {
		t.Errorf("one's require_group = %v, want false", one.RequireGroup)
	}
	wantGuard := configs.DefaultConnector().Guard
	wantGuard.Users.Percent, wantGuard.Users.Max = 2.5, 7
	if one.Guard != wantGuard {
		t.Errorf("one's guard = %+v, want %+v", one.Guard, wantGuard)
	}
	if two.URL != one.URL || two.Name != "two" || two.APIToken.Reveal() != "00123" || two.Guard.Users.Max != 500 || two.Guard.Groups.Floor != 0 {
		t.Errorf("two = %+v, want one's values under its own", two)
	}
	if three.PrivateKeyFile != "keys/k.pem" || three.Guard.Groups.Floor != 0 {
		t.Errorf("three = %+v", three)
	}
	if four.ClientSecret.Reveal() != "file-secret-value" || four.ClientSecretFile != "/abs/secret" {
		t.Errorf("four's client_secret = %q", four.ClientSecret.Reveal())
	}
}

func TestAnEnvironmentVariableIsNotExpandedTwice(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `connectors: [{name: a, type: okta, url: https://a.example.com, api_token: "${NESTED}"}]`)
	if got, want := c.Connectors[0].APIToken.Reveal(), "${OKTA_TOKEN}$$"; got != want {
		t.Errorf("api_token = %q, want %q", got, want)
	}
}

// TestRule1_EnabledIsDeclaredOrNot: on, off, and left to the stored setting are three.
func TestRule1_EnabledIsDeclaredOrNot(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*bool{
		"scim: {enabled: true}":       new(true),
		"scim: {enabled: \"${YES}\"}": new(true),
		"scim: {enabled: false}":      new(false),
		"scim: {enabled: }":           nil,
		"scim: {max_results: 7}":      nil,
		"listen: 127.0.0.1:8080":      nil,
		"# nothing is stated here\n":  nil,
	} {
		c := mustParse(t, text)
		if diff := cmp.Diff(want, c.SCIM.Enabled); diff != "" {
			t.Errorf("%s: enabled (-want +got):\n%s", text, diff)
		}
		if !c.FromFile() {
			t.Errorf("%s: FromFile() = false", text)
		}
	}
	if configs.Default().FromFile() {
		t.Error("the built-in defaults are said to be from a file")
	}
}

func TestRule16_Extensions(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
scim:
  strict_read_only: true
  extensions:
    - id: URN:Acme:hr:2.0
      name: HR
      required: true
      attributes:
        - {name: badge, required: true, case_exact: true, mutability: immutable, uniqueness: none, canonical_values: [a, b]}
        - {name: pin, mutability: writeOnly}
        - {name: tags, multi_valued: true, returned: request}
        - name: desk
          type: complex
          sub_attributes:
            - {name: floor, type: integer, required: true}
            - {name: $ref, type: reference, reference_types: [User, external]}
    - {id: "urn:acme:x", attributes: [{name: a-b_c1, type: dateTime}]}
`)
	if !c.SCIM.StrictReadOnly {
		t.Error("strict_read_only = false")
	}
	want := []configs.Extension{
		{ID: "URN:Acme:hr:2.0", Name: "HR", Required: true, Attributes: []configs.Attribute{
			{Name: "badge", Required: true, CaseExact: true, Mutability: "immutable", Uniqueness: "none", CanonicalValues: []string{"a", "b"}},
			{Name: "pin", Mutability: "writeOnly"},
			{Name: "tags", MultiValued: true, Returned: "request"},
			{Name: "desk", Type: "complex", SubAttributes: []configs.SubAttribute{
				{Name: "floor", Type: "integer", Required: true},
				{Name: "$ref", Type: "reference", ReferenceTypes: []string{"User", "external"}},
			}},
		}},
		{ID: "urn:acme:x", Attributes: []configs.Attribute{{Name: "a-b_c1", Type: "dateTime"}}},
	}
	if diff := cmp.Diff(want, c.SCIM.Extensions); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
}

func TestRequiresGroup(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, tc := range []struct {
		name string
		c    configs.Connector
		want bool
	}{
		{"whole directory", configs.Connector{}, false},
		{"an application", configs.Connector{AppID: "0oa1"}, true},
		{"an enterprise application", configs.Connector{ServicePrincipalID: "x"}, true},
		{"groups included", configs.Connector{Groups: configs.Globs{Include: []string{"a"}}}, true},
		{"groups excluded", configs.Connector{Groups: configs.Globs{Exclude: []string{"a"}}}, true},
		{"said no", configs.Connector{AppID: "0oa1", RequireGroup: &no}, false},
		{"said yes", configs.Connector{RequireGroup: &yes}, true},
	} {
		if got := tc.c.RequiresGroup(); got != tc.want {
			t.Errorf("%s: RequiresGroup() = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestPlainHTTPNeedsLoopbackOrAProxy(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"listen: 127.0.0.1:80":                  true,
		"listen: localhost:80":                  true,
		"listen: '[::1]:80'":                    true,
		"listen: :80":                           false,
		"listen: 0.0.0.0:80":                    false,
		"listen: 10.0.0.1:80":                   false,
		"listen: '[::]:80'":                     false,
		"listen: 0.0.0.0:80\ntrust_proxy: true": true,
		"listen: 0.0.0.0:80\ntls: {cert_file: c.pem, key_file: k.pem}": true,
	} {
		if _, err := loader.Parse("f", []byte(text)); (err == nil) != want {
			t.Errorf("Parse(%q) = %v, want accepted: %v", text, err, want)
		}
	}
}

func TestLoadReadsFilesBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("token", "from-the-file\n")
	write("ca.pem", "pem")
	write("idpsync.yaml", "connectors: [{name: a, type: okta, url: https://a.example.com, api_token_file: token, ca_file: ca.pem}]")
	c, err := configs.Load(filepath.Join(dir, "idpsync.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Connectors[0].APIToken.Reveal(); got != "from-the-file" {
		t.Errorf("api_token = %q, want the file's text", got)
	}
	if got, want := c.Connectors[0].CAFile, filepath.Join(dir, "ca.pem"); got != want {
		t.Errorf("ca_file = %q, want %q", got, want)
	}
	if _, err := configs.Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want fs.ErrNotExist", err)
	}
	write("idpsync.yaml", "database_file: /dev/zero")
	if _, err := configs.Load(filepath.Join(dir, "idpsync.yaml")); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("Load with a device as a secret = %v, want a refusal", err)
	}
}

func TestValidateOfAProgramsConfiguration(t *testing.T) {
	t.Parallel()
	c := configs.Default()
	okta := configs.DefaultConnector()
	okta.Name, okta.Type, okta.URL, okta.APIToken = "okta", configs.TypeOkta, "http://127.0.0.1:1", "t"
	c.Connectors = []configs.Connector{okta}
	if err := c.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
	c.Connectors[0].Schedule = "never"
	err := c.Validate()
	var problems *configs.Error
	if !errors.As(err, &problems) || len(problems.Problems) != 1 || problems.Problems[0].Field != "connectors[0].schedule" {
		t.Errorf("Validate() = %v, want one problem with connectors[0].schedule", err)
	}
	if !strings.HasPrefix(err.Error(), "connectors[0].schedule: ") {
		t.Errorf("Validate() = %q, want no position", err)
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	c := mustParse(t, `
database: postgres://u:hunter2@db/idpsync
connectors: [{name: a, type: okta, url: https://a.example.com, api_token: hunter2}]
webhooks: [{url: https://h.example.com, secret: whsec_hunter2hunter2hunter2hunter2hunter2A, secrets: [whsec_hunter2hunter2hunter2hunter2hunter2B]}]
`)
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "token", c.Connectors[0].APIToken)
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(asYAML) + string(asJSON)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		printed += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, c.Connectors[0].APIToken) + fmt.Sprintf(verb, *c)
	}
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if strings.Contains(printed, leak) {
			t.Errorf("a secret was printed in:\n%s", printed)
		}
	}
	if !strings.Contains(printed, "[redacted]") {
		t.Error("nothing says [redacted]")
	}
}

// TestBad loads each testdata/bad/*.yaml and compares the error with the file beside it.
func TestBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad configurations: %v", err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			_, err := loader.Load(path)
			var problems *configs.Error
			if !errors.As(err, &problems) {
				t.Fatalf("Load = %v, want an *Error", err)
			}
			for _, p := range problems.Problems {
				if strings.Contains(p.Text, "-value") {
					t.Errorf("a secret is in %q", p.Text)
				}
			}
			got := strings.ReplaceAll(err.Error(), "testdata/bad/", "") + "\n"
			golden := strings.TrimSuffix(path, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryMessageHasABadFile reads the package's source for its messages and looks for each in a golden file.
func TestEveryMessageHasABadFile(t *testing.T) {
	t.Parallel()
	var golden strings.Builder
	files, err := filepath.Glob("testdata/bad/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		golden.Write(text)
	}
	elsewhere := []string{"larger than 1 MiB", "the YAML cannot be read"} // see TestHostileFiles
	verb := regexp.MustCompile(`%[a-z]`)
	for position, message := range messages(t) {
		if slices.ContainsFunc(elsewhere, func(s string) bool { return strings.Contains(message, s) }) {
			continue
		}
		var pattern strings.Builder
		for i, part := range verb.Split(message, -1) {
			if i > 0 {
				pattern.WriteString(".*")
			}
			pattern.WriteString(regexp.QuoteMeta(strings.ReplaceAll(part, "%%", "%")))
		}
		if len(message) < 6 { // "%v" and the like: the message is made elsewhere, and found there
			continue
		}
		if !regexp.MustCompile(pattern.String()).MatchString(golden.String()) {
			t.Errorf("%s: no file in testdata/bad shows %q", position, message)
		}
	}
}

// messages returns the text of every problem in the package's source, by position.
func messages(t *testing.T) map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := ""
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				name = fun.Name
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			}
			if !slices.Contains([]string{"add", "addAt", "bad"}, name) {
				return true
			}
			for _, arg := range call.Args {
				if lit, ok := arg.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(text, " ") {
						out[set.Position(lit.Pos()).String()] = text
					}
				}
			}
			return true
		})
	}
	if len(out) < 60 {
		t.Fatalf("found %d messages only", len(out))
	}
	return out
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	laughs := "roles: &a [x]\n"
	for i, prev := range "abcdefghijkl" {
		name := string(rune('b' + i))
		laughs += fmt.Sprintf("k%s: &%s [%s]\n", name, name, strings.TrimSuffix(strings.Repeat("*"+string(prev)+",", 10), ","))
	}
	merges := "connectors:\n  - &a {name: x}\n"
	for i, prev := range "abcdefghijkl" {
		merges += fmt.Sprintf("  - &%c {<<: [%s]}\n", 'b'+i, strings.TrimSuffix(strings.Repeat("*"+string(prev)+",", 10), ","))
	}
	for name, text := range map[string]string{
		"large":            strings.Repeat("#", 1<<20+1),
		"flow depth":       strings.Repeat("[", 500_000),
		"map depth":        strings.Repeat("{a: ", 200_000),
		"sequence depth":   strings.Repeat("- ", 500_000),
		"key depth":        strings.Repeat("? ", 500_000),
		"indent depth":     indented(1000),
		"laughs":           laughs,
		"merges":           merges,
		"self":             "a: &a\n  <<: *a\n",
		"self in sequence": "connectors: &a [*a]\n",
		"anchor depth":     strings.Repeat("&a ", 5_000),
		"tag depth":        strings.Repeat("!a ", 5_000),
		"nul":              "listen: \x00",
		"not UTF-8":        "listen: \xff",
		"a scalar":         "42",
		"a list":           "[1]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			if _, err := loader.Parse("f.yaml", []byte(text)); err == nil {
				t.Error("Parse accepted it")
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("Parse took %s", took)
			}
		})
	}
}

func indented(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"idpsync.example.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	l := configs.Loader{
		LookupEnv: loader.LookupEnv,
		ReadFile:  func(string) ([]byte, error) { return []byte("file-secret-value"), nil },
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := l.Parse("f.yaml", text)
		if err == nil {
			if err := c.Validate(); err != nil && !strings.Contains(string(text), "_file") {
				t.Errorf("Parse accepts what Validate refuses: %v", err)
			}
			return
		}
		var problems *configs.Error
		if !errors.As(err, &problems) {
			t.Fatalf("Parse = %v, want an *Error", err)
		}
		if strings.Contains(err.Error(), "okta-token-value") {
			t.Errorf("a secret is in %v", err)
		}
	})
}

func TestSignInNeedsTheAddressThatBrowsersUse(t *testing.T) {
	t.Parallel()
	const oidc = "\nsign_in: {oidc: {issuer: https://acme.okta.com, client_id: c}}"
	const saml = "\nsign_in: {saml: {metadata_url: 'https://login.microsoftonline.com/t/federationmetadata/2007-06/federationmetadata.xml?appid=1'}}"
	for text, want := range map[string]bool{
		oidc:                                    true,
		saml:                                    true,
		"listen: 0.0.0.0:80\ntrust_proxy: true": true,
		"listen: 0.0.0.0:80\ntrust_proxy: true" + oidc:                                        false,
		"listen: 0.0.0.0:80\ntrust_proxy: true" + saml:                                        false,
		"listen: 0.0.0.0:80\ntrust_proxy: true\nbase_url: https://idpsync.example.com" + oidc: true,
		"sign_in: {oidc: {issuer: https://accounts.google.com, client_id: c, jit: false}}":    true,
	} {
		if _, err := loader.Parse("f", []byte(text)); (err == nil) != want {
			t.Errorf("Parse(%q) = %v, want accepted: %v", text, err, want)
		}
	}
	c := mustParse(t, oidc)
	if !c.SignIn.OIDC.Enabled() || c.SignIn.SAML.Enabled() || !c.SignIn.Passwords {
		t.Errorf("sign_in = %+v, want OpenID Connect and passwords", c.SignIn)
	}
}
