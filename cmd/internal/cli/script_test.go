package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
	"github.com/idpsync/idpsync/store/storetest/pgtest"
)

// noDatabase names the scripts in which the database does not matter.
var noDatabase = []string{"completion", "config", "demo", "help", "usage", "version"}

// raced names the scripts that are run where tests are to be short: those in which much goes on at once. The others run one
// command after the other, and tell the race detector little for the time that it takes.
var raced = []string{"approve", "busy", "drift", "one", "partial", "resync", "scim", "signin", "webhooks"}

// long leaves a test out where tests are to be short: under the race detector, which looks into one process, starting many
// takes longer than it tells.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts processes by the dozen")
	}
}

// TestScripts runs the program as operators do, on each database; where tests are to be short, a few on SQLite only. What
// scripts can say beyond testscript's own commands is in house.commands.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if testing.Short() && !slices.Contains(raced, name) {
			continue
		}
		run := func(t *testing.T, dsn string) {
			h := newHouse(t, dsn)
			testscript.Run(t, testscript.Params{
				Files: []string{file}, Setup: h.setup, Cmds: h.commands(),
				RequireExplicitExec: true, RequireUniqueNames: true,
			})
		}
		t.Run("sqlite/"+name, func(t *testing.T) {
			t.Parallel()
			run(t, "")
		})
		if !slices.Contains(noDatabase, name) && !testing.Short() {
			t.Run("postgres/"+name, func(t *testing.T) {
				t.Parallel()
				run(t, pgtest.DSN(t))
			})
		}
	}
}

// house is an empty tenant, a database and a configuration that leads from one to the other.
type house struct {
	tenant *oktatest.Tenant
	server *oktatest.Server
	dsn    string
}

// configuration is written as idpsync.yaml where a script brings none.
const configuration = `database: ${DATABASE}
connectors:
  - {name: okta, type: okta, url: "${OKTA_URL}", api_token: "${OKTA_TOKEN}", ca_file: okta-ca.pem}
`

// newHouse opens a house that closes when the test ends. With dsn "", its database is SQLite.
func newHouse(t testing.TB, dsn string) *house {
	t.Helper()
	h := &house{tenant: &oktatest.Tenant{Seed: 1}, dsn: dsn}
	h.server = h.tenant.StartTLS()
	t.Cleanup(h.server.Close)
	return h
}

// furnish writes what a configuration needs into a folder and returns the environment that it refers to.
func (h *house) furnish(dir string) ([]string, error) {
	if h.dsn == "" {
		h.dsn = "sqlite://" + filepath.Join(dir, "idpsync.db")
	}
	if err := h.server.WriteCA(filepath.Join(dir, "okta-ca.pem")); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "idpsync.yaml")
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
			return nil, err
		}
	}
	return []string{"DATABASE=" + h.dsn, "OKTA_URL=" + h.server.URL, "OKTA_TOKEN=" + oktatest.DefaultToken, "USER=operator"}, nil
}

func (h *house) setup(env *testscript.Env) error {
	vars, err := h.furnish(env.WorkDir)
	env.Vars = append(env.Vars, vars...)
	return err
}

// commands are what scripts can say:
//
//	exits STATUS PROGRAM [ARG...]      run it and want this exit status
//	okta VERB [ARG...]                 change the tenant, see house.okta
//	json COUNT KEY=VALUE...            want COUNT lines of JSON on stdout (+: one or more) with these values; KEY may be a path
//	fields TYPE KEY...                 want every line of JSON of a type to have these keys and no others
//	save VARIABLE KEY KEY=VALUE...     set a variable from the first line of JSON that has these values
//	sql STATEMENT                      change the database behind the program's back
//	tamper STATEMENT                   the same with the audit log, whose protection is taken away for good
//	[!] holds TEXT                     want text somewhere in the database
//	lease hold|release CONNECTOR       hold the lease of a connector, as a run of another process does
func (h *house) commands() map[string]func(*testscript.TestScript, bool, []string) {
	var lease store.Lease
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits":  exits,
		"okta":   h.okta,
		"json":   jsonLines,
		"fields": jsonFields,
		"save":   jsonSave,
		"sql": func(ts *testscript.TestScript, _ bool, args []string) {
			h.withStore(ts, func(s *store.Store) error {
				_, err := s.DB().Exec(args[0])
				return err
			})
		},
		"tamper": func(ts *testscript.TestScript, _ bool, args []string) {
			h.withStore(ts, func(s *store.Store) error {
				err := storetest.UnprotectAudit(context.Background(), s)
				if err == nil {
					_, err = s.DB().Exec(args[0])
				}
				return err
			})
		},
		"holds": func(ts *testscript.TestScript, neg bool, args []string) {
			h.withStore(ts, func(s *store.Store) error {
				where, err := findText(s, args[0])
				if err == nil && (where == "") != neg {
					err = fmt.Errorf("%q is in table %q", args[0], where)
				}
				return err
			})
		},
		"lease": func(ts *testscript.TestScript, _ bool, args []string) {
			h.withStore(ts, func(s *store.Store) (err error) {
				if args[0] == "release" {
					return s.ReleaseLease(context.Background(), lease)
				}
				lease, err = s.AcquireLease(context.Background(), "connector/"+args[1], "another process", time.Minute)
				return err
			})
		},
	}
}

func (h *house) withStore(ts *testscript.TestScript, f func(*store.Store) error) {
	s, err := store.Open(context.Background(), h.dsn)
	ts.Check(err)
	defer s.Close()
	ts.Check(f(s))
}

// findText returns the table that has a text in one of its rows, or "".
func findText(s *store.Store, text string) (string, error) {
	tables := "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	if s.Dialect() == "sqlite" {
		tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
	}
	names, err := texts(s, tables)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		rows, err := texts(s, `SELECT * FROM "`+name+`"`)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, text) }) {
			return name, nil
		}
	}
	return "", nil
}

// texts returns each row of a query as text.
func texts(s *store.Store, query string) ([]string, error) {
	rows, err := s.DB().Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values := make([][]byte, len(columns))
	targets := make([]any, len(columns))
	for i := range values {
		targets[i] = &values[i]
	}
	var out []string
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		out = append(out, string(bytes.Join(values, []byte(" "))))
	}
	return out, rows.Err()
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// okta changes the tenant:
//
//	fill USERS GROUPS MEMBERSHIPS      people and groups by the dozen
//	user LOGIN FIRST LAST              group NAME [LOGIN...]
//	login LOGIN NEW                    name GROUP NEW
//	set LOGIN ATTRIBUTE VALUE          status LOGIN STATUS
//	join GROUP LOGIN...                leave GROUP LOGIN...
//	delete-user LOGIN                  delete-group NAME
//	app LABEL [GROUP...]               sets APP_ID
//	fault KIND ENDPOINT [TIMES]        behave
//	drop GROUP N                       the first N members leave the company
func (h *house) okta(ts *testscript.TestScript, _ bool, args []string) {
	verb, args := args[0], args[1:]
	user := func(login string) string {
		u, ok := h.tenant.User(login)
		if !ok {
			ts.Fatalf("no user %s in the tenant", login)
		}
		return u.ID
	}
	group := func(name string) oktatest.Group {
		g, ok := h.tenant.Group(name)
		if !ok {
			ts.Fatalf("no group %s in the tenant", name)
		}
		return g
	}
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		ts.Check(err)
		return n
	}
	switch verb {
	case "fill":
		h.tenant.Fill(number(0), number(1), number(2))
	case "user":
		h.tenant.AddUser(map[string]any{"login": args[0], "email": args[0], "firstName": args[1], "lastName": args[2]})
	case "group":
		id := h.tenant.AddGroup(args[0])
		for _, login := range args[1:] {
			h.tenant.AddMember(id, user(login))
		}
	case "login":
		h.tenant.UpdateUser(user(args[0]), map[string]any{"login": args[1], "email": args[1]})
	case "set":
		h.tenant.UpdateUser(user(args[0]), map[string]any{args[1]: args[2]})
	case "status":
		h.tenant.SetStatus(user(args[0]), args[1])
	case "name":
		h.tenant.RenameGroup(group(args[0]).ID, args[1])
	case "join":
		for _, login := range args[1:] {
			h.tenant.AddMember(group(args[0]).ID, user(login))
		}
	case "leave":
		for _, login := range args[1:] {
			h.tenant.RemoveMember(group(args[0]).ID, user(login))
		}
	case "drop":
		for _, id := range group(args[0]).Members[:number(1)] {
			h.tenant.SetStatus(id, "DEPROVISIONED")
		}
	case "delete-user":
		h.tenant.DeleteUser(user(args[0]))
	case "delete-group":
		h.tenant.DeleteGroup(group(args[0]).ID)
	case "app":
		id := h.tenant.AddApp(args[0])
		for _, name := range args[1:] {
			h.tenant.AssignGroup(id, group(name).ID)
		}
		ts.Setenv("APP_ID", id)
	case "fault":
		f := oktatest.Fault{Kind: oktatest.FaultKind(args[0]), Endpoint: args[1]}
		if len(args) > 2 {
			f.Times = number(2)
		}
		h.tenant.Inject(f)
	case "behave":
		h.tenant.Behave()
	default:
		ts.Fatalf("okta does not %s", verb)
	}
}

// decoded returns the lines of JSON on stdout that have all the values. A line that is no object fails the script.
func decoded(ts *testscript.TestScript, wanted []string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			ts.Fatalf("no JSON: %q: %v", line, err)
		}
		fits := func(want string) bool {
			key, value, ok := strings.Cut(want, "=")
			if !ok {
				ts.Fatalf("%q: want KEY=VALUE", want)
			}
			return text(at(object, key)) == value
		}
		if !slices.ContainsFunc(wanted, func(w string) bool { return !fits(w) }) {
			found = append(found, object)
		}
	}
	return found
}

// at follows a path of keys; a key may have dots itself.
func at(v any, path string) any {
	switch v := v.(type) {
	case map[string]any:
		if value, ok := v[path]; ok || path == "" {
			return value
		}
		for i, c := range path {
			if c == '.' {
				if inner, ok := v[path[:i]]; ok {
					return at(inner, path[i+1:])
				}
			}
		}
	case []any:
		first, rest, _ := strings.Cut(path, ".")
		if i, err := strconv.Atoi(first); err == nil && i < len(v) {
			if rest == "" {
				return v[i]
			}
			return at(v[i], rest)
		}
	}
	return nil
}

// text is a value as scripts write it: strings without quotes, all else as JSON.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(encoded)
}

func jsonLines(ts *testscript.TestScript, _ bool, args []string) {
	found := len(decoded(ts, args[1:]))
	if args[0] == "+" && found > 0 || args[0] == strconv.Itoa(found) {
		return
	}
	ts.Fatalf("%d lines with %v, want %s", found, args[1:], args[0])
}

func jsonFields(ts *testscript.TestScript, _ bool, args []string) {
	want := slices.Sorted(slices.Values(args[1:]))
	lines := decoded(ts, []string{"type=" + args[0]})
	if args[0] == "-" {
		lines = decoded(ts, nil)
	}
	if len(lines) == 0 {
		ts.Fatalf("no lines of type %s", args[0])
	}
	for _, line := range lines {
		var keys []string
		for key := range line {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, want) {
			ts.Fatalf("keys %v, want %v", keys, want)
		}
	}
}

func jsonSave(ts *testscript.TestScript, _ bool, args []string) {
	found := decoded(ts, args[2:])
	if len(found) == 0 {
		ts.Fatalf("no line with %v", args[2:])
	}
	ts.Setenv(args[0], text(at(found[0], args[1])))
}
