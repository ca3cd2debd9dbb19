package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/idpsync/idpsync"

// packages lists every package and what it may import of ours; `*` is anything. Imports point the way the data goes,
// down to the store.
const packages = `
store/identity                    :
store/chain                       : store/identity
store                             : store/identity store/chain
store/storetest                   : store store/identity store/chain store/storetest/pgtest
store/storetest/pgtest            :
store/storetest/pgtest/run        : store/storetest/pgtest

reconcile/roles                   : store/identity
reconcile/lifecycle               : store/identity reconcile/roles store
reconcile/plan                    : store/identity reconcile/lifecycle
reconcile                         : store/identity store reconcile/roles reconcile/lifecycle reconcile/plan connectors

connectors                        : store/identity
connectors/connectortest          : connectors store/identity
connectors/okta                   : connectors store/identity
connectors/okta/oktatest          : connectors/idptest
connectors/entra                  : connectors store/identity
connectors/entra/entratest        : connectors/idptest
connectors/idptest                :
connectors/webhook                : connectors store store/identity

scim/scimtest                     :
scim/schema                       :
scim/filter                       : scim/schema
scim/patch                        : scim/schema scim/filter store/identity
scim/limit                        :
scim                              : scim/schema scim/filter scim/patch scim/limit store/identity store reconcile/lifecycle

configs                           : store/identity

cmd/idpsync                       : cmd/internal/cli
cmd/fakeidp                       : connectors/okta/oktatest connectors/entra/entratest cmd/internal/signin/idptest
cmd/internal/cli                  : *
cmd/internal/app                  : *
cmd/internal/app/apptest          : *
cmd/internal/httpserver           : cmd/internal/telemetry
cmd/internal/apikey               : scim store store/identity
cmd/internal/api                  : cmd/internal/apikey cmd/internal/httpserver cmd/internal/signin connectors/webhook reconcile reconcile/lifecycle reconcile/roles scim/limit store store/chain store/identity
cmd/internal/api/client           : cmd/internal/api
cmd/internal/api/apitest          : cmd/internal/api cmd/internal/apikey reconcile reconcile/lifecycle reconcile/roles scim store store/identity
cmd/internal/console              : cmd/internal/api cmd/internal/api/client cmd/internal/console/chart cmd/internal/httpserver cmd/internal/signin configs store/identity
cmd/internal/console/chart        :
cmd/internal/console/browsertest  :
cmd/internal/signin               : cmd/internal/httpserver cmd/internal/signin/assertion reconcile/lifecycle reconcile/roles store store/identity
cmd/internal/signin/assertion     :
cmd/internal/signin/fetch         : connectors
cmd/internal/signin/oidcrp        : cmd/internal/signin/assertion cmd/internal/signin/fetch
cmd/internal/signin/samlsp        : cmd/internal/signin/assertion cmd/internal/signin/fetch
cmd/internal/signin/idptest       : cmd/internal/signin/assertion
cmd/internal/telemetry            :
cmd/internal/telemetry/otlptest   :
cmd/internal/archtest             :
`

// pure lists the packages that decide: values in, values out. Their code, tests aside, has no clock, network, file,
// database or log.
var pure = []string{"store/identity", "store/chain", "reconcile/plan", "reconcile/roles", "scim/schema", "scim/filter", "scim/patch"}

// impure lists what a pure package does not import, of the standard library.
var impure = []string{"database/sql", "io/fs", "log", "log/slog", "net", "net/http", "os", "os/exec", "syscall"}

// A dependency names who may import it, and why nobody else. "..." at the end of a package means those below it too.
type dependency struct {
	prefix string // of import paths
	users  string // packages, or "..." for all
	tests  bool   // test files of any package may, too
	reason string
}

var dependencies = []dependency{
	{"gorm.io/", "store", false, "gorm's types never leave the store"},
	{"modernc.org/sqlite", "store", false, "the dialects are one code path to everybody else"},
	{"github.com/pressly/goose/v3", "store", false, "migrations are the store's"},
	{"github.com/jackc/pgx/v5", "store store/storetest/...", true, "the dialects are one code path to everybody else; tests may look into a database"},
	{"github.com/okta/okta-sdk-golang/v2", "connectors/okta", false, "it can turn a bad answer into nobody: one package knows how to keep it from that"},
	{"github.com/microsoftgraph/msgraph-sdk-go", "connectors/entra", false, "its models cannot tell null from absent, and it takes minutes to compile: one package knows how to live with it"},
	{"github.com/microsoft", "connectors/entra", false, "kiota carries that SDK's requests, and nobody else's"},
	{"github.com/Azure/azure-sdk-for-go/sdk", "connectors/entra", false, "tokens for Entra ID are fetched in one place"},
	{"github.com/gobwas/glob", "configs connectors", false, "scopes are matched by the connector, and checked by the configuration"},
	{"github.com/goccy/go-yaml", "configs", false, "nothing else is YAML"},
	{"github.com/goccy/go-json", "connectors connectors/okta", false, "the pull path only: it matches names otherwise than the push endpoint needs"},
	{"github.com/robfig/cron/v3", "configs reconcile", false, "one scheduler"},
	{"github.com/spf13/cobra", "cmd/internal/cli", false, "commands are parsed in one place"},
	{"github.com/spf13/pflag", "cmd/internal/cli", false, "commands are parsed in one place"},
	{"github.com/schollz/progressbar/v3", "cmd/internal/cli", false, "only a person at a terminal wants it"},
	{"github.com/mattn/go-isatty", "cmd/internal/cli cmd/internal/telemetry", false, "only a person at a terminal wants colours"},
	{"golang.org/x/term", "cmd/internal/cli cmd/internal/telemetry", false, "only a person at a terminal wants colours"},
	{"github.com/lmittmann/tint", "cmd/internal/telemetry", false, "loggers are handed in"},
	{"github.com/prometheus/client_golang", "reconcile connectors connectors/webhook scim cmd/internal/...", true, "decisions are not measured, those who act on them are"},
	{"go.opentelemetry.io/otel/sdk", "cmd/internal/telemetry", true, "traces leave the program in one place"},
	{"go.opentelemetry.io/proto", "cmd/internal/telemetry/...", true, "traces leave the program in one place"},
	{"google.golang.org/protobuf", "cmd/internal/telemetry/...", true, "traces leave the program in one place"},
	{"go.opentelemetry.io/otel", "store connectors connectors/webhook reconcile cmd/internal/...", true, "decisions are not traced, those who act on them are"},
	{"github.com/google/uuid", "store store/storetest connectors/webhook reconcile reconcile/lifecycle scim cmd/...", true, "pure packages are given their ids"},
	{"github.com/danielgtaylor/huma/v2", "cmd/internal/api", false, "one API is described by its code; SCIM describes itself"},
	{"github.com/coreos/go-oidc/v3", "cmd/internal/signin/oidcrp", false, "one relying party; everybody else is told what was said"},
	{"golang.org/x/oauth2", "cmd/internal/signin/oidcrp", false, "one relying party; everybody else is told what was said"},
	{"github.com/crewjam/saml", "cmd/internal/signin/samlsp cmd/internal/signin/idptest", true, "one service provider; everybody else is told what was said"},
	{"github.com/russellhaering/goxmldsig", "cmd/internal/signin/samlsp cmd/internal/signin/idptest", true, "signatures are checked in one place"},
	{"github.com/beevik/etree", "cmd/internal/signin/idptest", true, "for tests: what others sent is read once, by the library that checks it"},
	{"github.com/oauth2-proxy/mockoidc", "cmd/internal/signin/idptest", false, "for tests: a provider that we did not write"},
	{"github.com/go-jose/go-jose/v4", "cmd/internal/signin/idptest", false, "for tests: tokens are verified by go-oidc"},
	{"github.com/golang-jwt/jwt/v5", "cmd/internal/signin/idptest", false, "for tests: tokens are verified by go-oidc"},
	{"golang.org/x/crypto/argon2", "cmd/internal/signin", false, "passwords are checked in one place"},
	{"golang.org/x/sync", "store reconcile connectors/... scim cmd/...", true, "pure packages start no goroutines"},
	{"golang.org/x/time/rate", "connectors scim/limit cmd/internal/...", false, "limits belong to the edges"},
	{"golang.org/x/text", "store/storetest scim/schema scim/filter", false, "names are compared by store/identity, with the standard library"},
	{"github.com/standard-webhooks/standard-webhooks", "", true, "for tests: the reading of our signatures by those who specified them"},
	{"github.com/scim2/filter-parser/v2", "", true, "for tests: another reading of the grammar, to hold ours against"},
	{"github.com/chromedp/", "cmd/internal/console/browsertest", true, "for tests: pages are looked at by one browser"},
	{"github.com/google/go-cmp", "store/storetest connectors/connectortest", true, "for tests: it panics on what it does not know"},
	{"pgregory.net/rapid", "store/storetest connectors/connectortest", true, "for tests"},
	{"github.com/rogpeppe/go-internal", "", true, "for tests"},
}

// file is one Go file's imports.
type file struct {
	name    string // relative to the repository
	pkg     string // its directory, relative to the repository
	test    bool
	imports map[string]token.Position
	inits   []token.Position
}

func TestImports(t *testing.T) {
	t.Parallel()
	files := readAll(t)
	for _, complaint := range check(files, readTable(t, packages), dependencies) {
		t.Error(complaint)
	}
}

// check compares the files with the tables and returns what does not fit, sorted.
func check(files []file, allowed map[string][]string, deps []dependency) []string {
	var complaints []string
	complain := func(format string, args ...any) { complaints = append(complaints, fmt.Sprintf(format, args...)) }
	present := map[string]bool{}
	for _, f := range files {
		if !f.test {
			present[f.pkg] = true
		}
		list, listed := allowed[f.pkg]
		if !listed {
			complain("%s: the package %q is not in the table; say there what it may import", f.name, f.pkg)
			continue
		}
		for _, at := range f.inits {
			complain("%s: an init function; build it in a constructor and pass it in", at)
		}
		for imported, at := range f.imports {
			if own, ours := strings.CutPrefix(imported, module+"/"); ours {
				if reason := refuseOurs(f, own, list); reason != "" {
					complain("%s: %s may not import %s: %s", at, f.pkg, own, reason)
				}
				continue
			}
			if reason := refuseTheirs(f, imported, deps); reason != "" {
				complain("%s: %s may not import %s: %s", at, f.pkg, imported, reason)
			}
		}
	}
	for pkg, list := range allowed {
		if !present[pkg] {
			complain("the table lists the package %q, which does not exist; remove its line", pkg)
		}
		for _, imported := range list {
			if _, ok := allowed[imported]; !ok && imported != "*" {
				complain("the table lets %q import %q, which it does not list", pkg, imported)
			}
		}
	}
	slices.Sort(complaints)
	return complaints
}

// refuseOurs tells why f may not import the package imported, or returns "". A test may import its own package, and
// reach for fakes and for neighbours to set a stage with, but not for the shell around everything.
func refuseOurs(f file, imported string, allowed []string) string {
	switch {
	case slices.Contains(allowed, "*"), slices.Contains(allowed, imported):
		return ""
	case !f.test:
		return "the table does not let it"
	case imported == f.pkg:
		return ""
	case f.pkg == "store/identity":
		return "what is at the bottom is tested by itself"
	case isCommand(imported) && !isCommand(f.pkg):
		return "the shell is around the house, not in it"
	}
	return ""
}

func isCommand(pkg string) bool { return strings.HasPrefix(pkg, "cmd/") }

// refuseTheirs tells why f may not import the standard library's or somebody else's package, or returns "".
func refuseTheirs(f file, imported string, deps []dependency) string {
	if imported == "C" || imported == "unsafe" {
		return "the build has no cgo and no tricks with memory"
	}
	if imported == "testing" && !f.test && !strings.Contains(path.Base(f.pkg), "test") && !strings.HasPrefix(f.pkg, "store/storetest") {
		return "it belongs in test files, and it adds its flags to the program"
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") { // the standard library
		if !f.test && slices.Contains(pure, f.pkg) && slices.Contains(impure, imported) {
			return "it decides, and does not act: pass in what it needs as values"
		}
		return ""
	}
	for _, dep := range deps {
		if imported != dep.prefix && !strings.HasPrefix(imported, strings.TrimSuffix(dep.prefix, "/")+"/") {
			continue
		}
		if dep.tests && f.test {
			return ""
		}
		for user := range strings.FieldsSeq(dep.users) {
			if below, tree := strings.CutSuffix(user, "/..."); user == f.pkg || tree && (f.pkg == below || strings.HasPrefix(f.pkg, below+"/")) {
				return ""
			}
		}
		return dep.reason
	}
	return "the dependency is not in the table; say there who may use it, and why"
}

func readTable(t *testing.T, text string) map[string][]string {
	t.Helper()
	table := map[string][]string{}
	for line := range strings.Lines(text) {
		pkg, imports, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		pkg = strings.TrimSpace(pkg)
		if _, twice := table[pkg]; twice {
			t.Errorf("the table lists %q twice", pkg)
		}
		table[pkg] = strings.Fields(imports)
	}
	return table
}

// readAll parses every Go file of the repository, whatever its build constraints.
func readAll(t *testing.T) []file {
	t.Helper()
	root := repository(t)
	var files []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			if name != root && (base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		f, err := parse(filepath.ToSlash(relative), source)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parse(name string, source []byte) (file, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{name: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), imports: map[string]token.Position{}}
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports[imported] = set.Position(spec.Pos())
	}
	for _, decl := range parsed.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			f.inits = append(f.inits, set.Position(fn.Pos()))
		}
	}
	return f, nil
}

// repository returns the directory of go.mod.
func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
}

// TestCheckFindsEachKindOfMistake keeps the checks themselves from passing everything.
func TestCheckFindsEachKindOfMistake(t *testing.T) {
	t.Parallel()
	table := "store/identity:\nstore: store/identity\nreconcile/plan: store/identity\ncmd/x: *\n"
	deps := []dependency{{"gorm.io/", "store", false, "why"}, {"example.com/cmp", "", true, "tests"}, {"example.com/tree", "store/... cmd/...", false, "tree"}}
	sources := func(extra map[string]string) map[string]string {
		all := map[string]string{
			"store/identity/a.go": "", "store/a.go": `import _ "gorm.io/gorm"`, "reconcile/plan/a.go": "", "cmd/x/a.go": `import _ "` + module + `/store"`,
		}
		maps.Copy(all, extra)
		return all
	}
	for _, tc := range []struct {
		name  string
		extra map[string]string
		want  string // "" for none
	}{
		{"nothing wrong", nil, ""},
		{"an unlisted import", map[string]string{"store/identity/b.go": `import _ "` + module + `/store"`}, "store/identity may not import store: the table does not let it"},
		{"an unlisted package", map[string]string{"util/a.go": ""}, `the package "util" is not in the table`},
		{"an unlisted package in a directory of its own build", map[string]string{"util/a.go": "//go:build never\n\n"}, `the package "util" is not in the table`},
		{"gorm outside", map[string]string{"cmd/x/b.go": `import _ "gorm.io/gorm/clause"`}, "may not import gorm.io/gorm/clause: why"},
		{"gorm in a test outside", map[string]string{"cmd/x/b_test.go": `import _ "gorm.io/gorm"`}, "why"},
		{"an unknown dependency", map[string]string{"store/b.go": `import _ "example.org/new"`}, "not in the table"},
		{"a test library in code", map[string]string{"store/b.go": `import _ "example.com/cmp/opts"`}, "tests"},
		{"a test library in a test", map[string]string{"store/b_test.go": `import _ "example.com/cmp/opts"`}, ""},
		{"a prefix of a name is no match", map[string]string{"store/b_test.go": `import _ "example.com/cmpx"`}, "not in the table"},
		{"a tree of users", map[string]string{"cmd/x/b.go": `import _ "example.com/tree"`, "store/identity/b.go": `import _ "example.com/tree"`}, ""},
		{"not in the tree", map[string]string{"reconcile/plan/b.go": `import _ "example.com/tree"`}, "tree"},
		{"input in a pure package", map[string]string{"reconcile/plan/b.go": `import _ "os"`}, "it decides, and does not act"},
		{"input in a pure package's test", map[string]string{"reconcile/plan/b_test.go": `import _ "os"`}, ""},
		{"a test of a neighbour", map[string]string{"reconcile/plan/b_test.go": `import _ "` + module + `/store"`}, ""},
		{"a test of the shell", map[string]string{"store/b_test.go": `import _ "` + module + `/cmd/x"`}, "the shell is around the house"},
		{"a test at the bottom", map[string]string{"store/identity/b_test.go": `import _ "` + module + `/store"`}, "tested by itself"},
		{"cgo", map[string]string{"store/b.go": `import "C"`}, "no cgo"},
		{"testing in code", map[string]string{"store/b.go": `import _ "testing"`}, "belongs in test files"},
		{"init", map[string]string{"store/b.go": `func init() {}`}, "an init function"},
		{"a method named init", map[string]string{"store/b.go": "type t struct{}\n\nfunc (t) init() {}"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expect(t, sources(tc.extra), table, deps, tc.want)
		})
	}
	t.Run("a listed package gone", func(t *testing.T) {
		t.Parallel()
		expect(t, sources(nil), table+"scim: store\n", deps, `lists the package "scim", which does not exist`)
	})
	t.Run("a package with nothing but tests is gone", func(t *testing.T) {
		t.Parallel()
		expect(t, sources(map[string]string{"scim/a_test.go": ""}), table+"scim: store\n", deps, "does not exist")
	})
	t.Run("an import that is no package", func(t *testing.T) {
		t.Parallel()
		expect(t, sources(map[string]string{"scim/a.go": ""}), table+"scim: stor\n", deps, `import "stor", which it does not list`)
	})
}

func expect(t *testing.T, sources map[string]string, table string, deps []dependency, want string) {
	t.Helper()
	var files []file
	for name, body := range sources {
		constraint := ""
		if strings.HasPrefix(body, "//go:build") {
			constraint, body = body, ""
		}
		f, err := parse(name, []byte(constraint+"package p\n\n"+body+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	got := check(files, readTable(t, table), deps)
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("check complains: %q", got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("check = %q, want one complaint with %q", got, want)
	}
}
