package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"github.com/idpsync/idpsync/connectors/okta/oktatest"
	"github.com/idpsync/idpsync/store"
)

// What `make chaos` sets: how many episodes, and from which seed they are drawn.
const (
	chaosEpisodes = "IDPSYNC_CHAOS_EPISODES"
	chaosSeed     = "IDPSYNC_CHAOS_SEED"
)

// episodes returns how often to disturb the program: a few times, or as often as the environment says.
func episodes(t *testing.T, few int) int {
	t.Helper()
	if n := number(t, chaosEpisodes); n > 0 {
		return n
	}
	return few
}

func number(t *testing.T, variable string) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%s: want a number", variable, text)
	}
	return n
}

// estate is a house in which people come, change and leave, with what must hold of it whatever happens to the program.
type estate struct {
	*house
	t      *testing.T
	dir    string
	env    []string
	store  *store.Store
	random *rand.Rand
	seed   int
	serial int
	loyal  map[string]bool    // who was active at the tenant at all times
	stays  map[[2]string]bool // group and user: memberships that the tenant had at all times
	broken map[[2]string]bool // memberships that it had, or that were held, with a gap: a run may have seen that
	damage []damage
	done   map[string]int // what was done to the tenant and the database, for the report
}

// damage is what was changed in the database behind the program's back, after which audit event.
type damage struct {
	after  int64
	object string // user, group or member
	id     string
	user   string
	to     bool // active; a member
}

// chaosConfig lets removals pass the guard: tests here take away much in a short time. The tight one holds every one.
func chaosConfig(guard, more string) string {
	return `listen: 127.0.0.1:0
database: ${DATABASE}
scim: {enabled: true}
` + more + `
connectors:
  - name: okta
    type: okta
    url: "${OKTA_URL}"
    api_token: "${OKTA_TOKEN}"
    ca_file: okta-ca.pem
    schedule: "@every 1s"
    guard: {users: ` + guard + `, groups: ` + guard + `, members: ` + guard + `}
`
}

const (
	wideGuard  = "{percent: 100, floor: 1000000, max: 1000000}"
	tightGuard = "{percent: 0, floor: 0}"
)

// newEstate opens a house of some people and groups, and pulls it once.
func newEstate(t *testing.T, dsn string, users, groups int, more string) *estate {
	t.Helper()
	e := &estate{
		house: newHouse(t, dsn), t: t, seed: max(1, number(t, chaosSeed)), loyal: map[string]bool{}, stays: map[[2]string]bool{}, broken: map[[2]string]bool{}, done: map[string]int{},
	}
	e.random = rand.New(rand.NewPCG(uint64(e.seed), uint64(len(t.Name()))))
	e.tenant.Fill(users, groups, 3*users)
	e.dir, e.env = furnished(t, e.house, chaosConfig(wideGuard, more))
	if err := os.WriteFile(e.dir+"/tight.yaml", []byte(chaosConfig(tightGuard, more)), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := e.status("migrate"); status != 0 {
		t.Fatalf("idpsync migrate: exit status %d\n%s", status, out)
	}
	var err error
	if e.store, err = store.Open(t.Context(), e.dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.store.Close() })
	for _, u := range e.tenant.Users() {
		e.loyal[u.ID] = true
	}
	for _, g := range e.tenant.Groups() {
		for _, member := range g.Members {
			e.stays[[2]string{g.ID, member}] = true
		}
	}
	return e
}

// people returns the ids of the tenant's people in some status, "" for any.
func (e *estate) people(status string) []string {
	var ids []string
	for _, u := range e.tenant.Users() {
		if status == "" || u.Status == status {
			ids = append(ids, u.ID)
		}
	}
	return ids
}

func (e *estate) one(of []string) string { return of[e.random.IntN(len(of))] }

func (e *estate) next() string {
	e.serial++
	return strconv.Itoa(e.serial)
}

// leaves notes that somebody is not active at the tenant any more.
func (e *estate) leaves(id string) {
	delete(e.loyal, id)
	for pair := range e.stays {
		if pair[1] == id {
			e.parts(pair)
		}
	}
}

// live changes the tenant a little, as the working day does.
func (e *estate) live() {
	active := e.people("ACTIVE")
	groups := e.tenant.Groups()
	somebody, group := e.one(active), groups[e.random.IntN(len(groups))]
	var what string
	switch n := e.random.IntN(24); {
	case n < 8:
		what = "title"
		e.tenant.UpdateUser(somebody, map[string]any{"title": "Title " + e.next()})
	case n < 10:
		what = "login"
		login := "renamed" + e.next() + "@acme.test"
		e.tenant.UpdateUser(somebody, map[string]any{"login": login, "email": login})
	case n < 12:
		what = "newcomer"
		login := "new" + e.next() + "@acme.test"
		id := e.tenant.AddUser(map[string]any{"login": login, "email": login, "firstName": "New", "lastName": "Comer", "title": "Fresh"})
		e.loyal[id] = true
		e.join(group.ID, id)
	case n < 16:
		what = "member added"
		e.join(group.ID, somebody)
	case n < 19 && len(group.Members) > 0:
		what = "member removed"
		gone := e.one(group.Members)
		e.parts([2]string{group.ID, gone})
		e.tenant.RemoveMember(group.ID, gone)
	case n < 20 && len(active) > 50:
		what = "suspended"
		e.leaves(somebody)
		e.tenant.SetStatus(somebody, "SUSPENDED")
	case n < 21 && len(active) > 50:
		what = "deprovisioned"
		e.leaves(somebody)
		e.tenant.SetStatus(somebody, "DEPROVISIONED")
	case n < 22:
		what = "deleted or back"
		if away := slices.Concat(e.people("SUSPENDED"), e.people("DEPROVISIONED")); len(away) > 2 {
			e.tenant.SetStatus(e.one(away), "ACTIVE")
		} else {
			e.leaves(somebody)
			e.tenant.DeleteUser(somebody)
		}
	case n < 23:
		what = "group renamed"
		e.tenant.RenameGroup(group.ID, "Group "+e.next())
	default:
		what = "group added or deleted"
		if len(groups) > 10 {
			for pair := range e.stays {
				if pair[0] == group.ID {
					e.parts(pair)
				}
			}
			e.tenant.DeleteGroup(group.ID)
		} else {
			id := e.tenant.AddGroup("Group " + e.next())
			for range 5 {
				e.join(id, e.one(active))
			}
		}
	}
	e.done[what]++
}

func (e *estate) join(group, user string) {
	e.tenant.AddMember(group, user)
	if pair := [2]string{group, user}; !e.broken[pair] {
		e.stays[pair] = true
	}
}

func (e *estate) parts(pair [2]string) {
	delete(e.stays, pair)
	e.broken[pair] = true
}

// harm changes the database behind the program's back. No run may be going.
func (e *estate) harm() {
	users := e.rows("SELECT CAST(id AS text), CASE WHEN active THEN 'yes' ELSE 'no' END FROM users WHERE source = 'okta' AND source_id <> '' ORDER BY seq")
	members := e.rows("SELECT CAST(group_id AS text), CAST(user_id AS text) FROM group_members ORDER BY group_id, user_id")
	groups := e.rows("SELECT CAST(id AS text) FROM groups WHERE source = 'okta' ORDER BY seq")
	if len(users) == 0 || len(members) == 0 || len(groups) == 0 {
		return
	}
	somebody, pair, group := users[e.random.IntN(len(users))], members[e.random.IntN(len(members))], groups[e.random.IntN(len(groups))][0]
	d := damage{after: e.lastEvent()}
	var what string
	switch e.random.IntN(6) {
	case 0:
		what = "local: active turned round"
		d.object, d.id, d.to = "user", somebody[0], somebody[1] == "no"
		e.exec("UPDATE users SET active = NOT active WHERE id = '" + d.id + "'")
	case 1:
		what = "local: attributes lost"
		e.exec("UPDATE users SET document = '{}' WHERE id = '" + somebody[0] + "'")
	case 2:
		what = "local: member removed"
		d.object, d.id, d.user = "member", pair[0], pair[1]
		e.exec("DELETE FROM group_members WHERE group_id = '" + d.id + "' AND user_id = '" + d.user + "'")
	case 3:
		what = "local: member added"
		d.object, d.id, d.user, d.to = "member", group, somebody[0], true
		e.broken[[2]string{e.sourceID("groups", group), e.sourceID("users", somebody[0])}] = true
		e.exec("INSERT INTO group_members (group_id, user_id, key_hi, key_lo) SELECT '" + d.id + "', id, key_hi, key_lo FROM users WHERE id = '" + d.user + "' ON CONFLICT DO NOTHING")
	case 4:
		what = "local: group renamed"
		name := "harmed" + e.next()
		e.exec("UPDATE groups SET display_name = '" + name + "', display_name_key = '" + name + "' WHERE id = '" + group + "'")
	default:
		what = "local: grants lost"
		e.exec("DELETE FROM group_grants WHERE group_id = '" + group + "'")
	}
	if d.object != "" {
		e.damage = append(e.damage, d)
	}
	e.done[what]++
}

func (e *estate) sourceID(table, id string) string {
	return e.rows("SELECT source_id FROM " + table + " WHERE id = '" + id + "'")[0][0]
}

func (e *estate) exec(statement string) {
	e.t.Helper()
	if _, err := e.store.DB().ExecContext(e.t.Context(), statement); err != nil {
		e.t.Fatalf("%s: %v", statement, err)
	}
}

// rows returns what a query selects, all of it texts.
func (e *estate) rows(query string) [][]string {
	e.t.Helper()
	rows, err := e.query(query)
	if err != nil {
		e.t.Fatalf("%s: %v", query, err)
	}
	return rows
}

func (e *estate) query(query string) ([][]string, error) {
	rows, err := e.store.DB().QueryContext(e.t.Context(), query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]string
	for rows.Next() {
		values, targets := make([]string, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		all = append(all, values)
	}
	return all, rows.Err()
}

func (e *estate) lastEvent() int64 {
	n, err := strconv.ParseInt(e.rows("SELECT CAST(coalesce(max(seq), 0) AS text) FROM audit_events")[0][0], 10, 64)
	if err != nil {
		e.t.Fatal(err)
	}
	return n
}

// status runs the program to its end and returns its exit status and what it printed.
func (e *estate) status(args ...string) (int, string) {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), "idpsync", args...)
	cmd.Dir, cmd.Env = e.dir, append(os.Environ(), e.env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// lapse lets the time pass for which somebody who died holds the lease.
func (e *estate) lapse() {
	e.t.Helper()
	e.exec("UPDATE leases SET expires_at = '2000-01-01 00:00:00+00:00'")
}

// repair lets the lease of whoever died lapse and runs the program once: after that, all must be well.
func (e *estate) repair(args ...string) {
	e.t.Helper()
	e.tenant.Behave()
	e.lapse()
	if status, out := e.status(args...); status != 0 {
		e.t.Fatalf("idpsync %v after the fault: exit status %d\n%s", args, status, out)
	}
	if status, out := e.status("plan", "--full"); status != 0 {
		e.t.Fatalf("idpsync plan --full after idpsync %v: exit status %d, want no drift\n%s", args, status, out)
	}
	e.check()
}

// check wants the database to hold what the tenant states, and the audit log to tell how it came to that.
func (e *estate) check() {
	e.t.Helper()
	e.checkPeople()
	e.checkGroups()
	e.checkEvents()
	if e.t.Failed() {
		e.t.FailNow()
	}
}

func (e *estate) checkPeople() {
	e.t.Helper()
	type person struct {
		active             bool
		userName, document string
	}
	held := map[string]person{}
	for _, row := range e.rows("SELECT source_id, CASE WHEN active THEN 'yes' ELSE 'no' END, user_name, CAST(document AS text) FROM users WHERE source = 'okta'") {
		held[row[0]] = person{row[1] == "yes", row[2], row[3]}
	}
	stated := map[string]bool{}
	for _, u := range e.tenant.Users() {
		stated[u.ID] = true
		h, known := held[u.ID]
		if want := u.Status == "ACTIVE"; h.active != want {
			e.t.Errorf("%s (%s) is %s at the tenant; held: %t, active: %t", u.ID, u.Login(), u.Status, known, h.active)
		}
		var document struct {
			Title string `json:"title"`
		}
		if known && h.active {
			if err := json.Unmarshal([]byte(h.document), &document); err != nil {
				e.t.Errorf("%s: document: %v", u.ID, err)
			}
			if h.userName != u.Login() || document.Title != u.Profile["title"] {
				e.t.Errorf("%s is held as %q, %q, want %q, %q", u.ID, h.userName, document.Title, u.Login(), u.Profile["title"])
			}
		}
	}
	for id, h := range held {
		if h.active && !stated[id] {
			e.t.Errorf("%s (%s) is held, active, and not at the tenant", id, h.userName)
		}
	}
}

func (e *estate) checkGroups() {
	e.t.Helper()
	active, names := map[string]bool{}, map[string]string{}
	for _, id := range e.people("ACTIVE") {
		active[id] = true
	}
	want := map[[2]string]bool{}
	for _, g := range e.tenant.Groups() {
		names[g.ID] = g.Name
		for _, member := range g.Members {
			if active[member] {
				want[[2]string{g.ID, member}] = true
			}
		}
	}
	held := map[string]string{}
	for _, row := range e.rows("SELECT source_id, display_name FROM groups WHERE source = 'okta'") {
		held[row[0]] = row[1]
	}
	if !maps.Equal(held, names) {
		e.t.Errorf("held groups %v, want %v", held, names)
	}
	got := map[[2]string]bool{}
	for _, row := range e.rows("SELECT g.source_id, u.source_id FROM group_members m JOIN groups g ON g.id = m.group_id JOIN users u ON u.id = m.user_id WHERE u.active") {
		got[[2]string{row[0], row[1]}] = true
	}
	for pair := range want {
		if !got[pair] {
			e.t.Errorf("%s is no member of %s, want it to be", pair[1], pair[0])
		}
	}
	for pair := range got {
		if !want[pair] {
			e.t.Errorf("%s is a member of %s, want it not to be", pair[1], pair[0])
		}
	}
}

// ledger is the audit log, replayed.
type ledger struct {
	t       *testing.T
	active  map[string]bool
	members map[[2]string]bool // group and user
	groups  map[string]bool
}

// checkEvents replays the audit log from nothing, together with the damage that was done: every event must make a
// difference, and all of them together what is held. Nobody loyal may have lost anything by it, and each event is in the
// outbox once.
func (e *estate) checkEvents() {
	e.t.Helper()
	l := &ledger{e.t, map[string]bool{}, map[[2]string]bool{}, map[string]bool{}}
	sourceIDs := map[string]string{}
	for _, row := range e.rows("SELECT CAST(id AS text), source_id FROM users WHERE source = 'okta' UNION ALL SELECT CAST(id AS text), source_id FROM groups WHERE source = 'okta'") {
		sourceIDs[row[0]] = row[1]
	}
	left := e.damage
	for _, row := range e.rows("SELECT CAST(seq AS text), type, CAST(object_id AS text), CAST(fields AS text), CAST(members AS text) FROM audit_events ORDER BY audit_events.seq") {
		seq, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			e.t.Fatal(err)
		}
		for ; len(left) > 0 && left[0].after < seq; left = left[1:] {
			l.suffer(left[0])
		}
		kind, id := row[1], row[2]
		if (kind == "user.deactivated" || kind == "user.deleted") && e.loyal[sourceIDs[id]] {
			e.t.Errorf("event %d: %s, who was active at the tenant at all times, was deactivated", seq, sourceIDs[id])
		}
		var members []string
		if err := json.Unmarshal([]byte(row[4]), &members); err != nil {
			e.t.Fatal(err)
		}
		for _, member := range members {
			if kind == "membership.removed" && e.stays[[2]string{sourceIDs[id], sourceIDs[member]}] {
				e.t.Errorf("event %d: %s lost the membership in %s, which the tenant had at all times", seq, sourceIDs[member], sourceIDs[id])
			}
		}
		l.event(seq, kind, id, row[3], members)
	}
	for _, d := range left {
		l.suffer(d)
	}
	l.agree(e)
	for what, query := range map[string]string{
		"events without an outbox entry": "SELECT CAST(a.id AS text) FROM audit_events a WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = a.id)",
		"outbox entries without event":   "SELECT CAST(o.event_id AS text) FROM outbox o WHERE NOT EXISTS (SELECT 1 FROM audit_events a WHERE a.id = o.event_id)",
		"outbox entries twice":           "SELECT CAST(event_id AS text) FROM outbox GROUP BY event_id HAVING count(*) > 1",
		"events twice":                   "SELECT CAST(id AS text) FROM audit_events GROUP BY id HAVING count(*) > 1",
	} {
		if found := e.rows(query); len(found) > 0 {
			e.t.Errorf("%s: %v", what, found)
		}
	}
}

func (l *ledger) suffer(d damage) {
	switch d.object {
	case "user":
		l.active[d.id] = d.to
	case "member":
		if d.to {
			l.members[[2]string{d.id, d.user}] = true
		} else {
			delete(l.members, [2]string{d.id, d.user})
		}
	}
}

func (l *ledger) event(seq int64, kind, id, fields string, members []string) {
	l.t.Helper()
	was, known := l.active[id]
	wrong := func(why string) { l.t.Errorf("event %d: %s of %s, %s", seq, kind, id, why) }
	switch kind {
	case "user.created":
		var changed []struct {
			Path  string
			After any
		}
		if err := json.Unmarshal([]byte(fields), &changed); err != nil {
			l.t.Fatal(err)
		}
		if known {
			wrong("who is known")
		}
		l.active[id] = false
		for _, c := range changed {
			if c.Path == "active" && c.After == true {
				l.active[id] = true
			}
		}
	case "user.deactivated", "user.deleted":
		if !was {
			wrong("who is not active")
		}
		l.active[id] = false
	case "user.reactivated":
		if !known || was {
			wrong("who is not inactive")
		}
		l.active[id] = true
	case "user.updated":
		if !known {
			wrong("who is unknown")
		}
	case "group.created":
		if l.groups[id] {
			wrong("which is known")
		}
		l.groups[id] = true
	case "group.deleted":
		if !l.groups[id] {
			wrong("which is not there")
		}
		delete(l.groups, id)
		maps.DeleteFunc(l.members, func(pair [2]string, _ bool) bool { return pair[0] == id })
	case "membership.added", "membership.removed":
		for _, member := range members {
			pair := [2]string{id, member}
			if l.members[pair] == (kind == "membership.added") {
				wrong(fmt.Sprintf("which changes nothing for %s", member))
			}
			if kind == "membership.added" {
				l.members[pair] = true
			} else {
				delete(l.members, pair)
			}
		}
	}
}

// agree wants the replayed state to be the one that is held.
func (l *ledger) agree(e *estate) {
	e.t.Helper()
	active, members, groups := map[string]bool{}, map[[2]string]bool{}, map[string]bool{}
	for _, row := range e.rows("SELECT CAST(id AS text), CASE WHEN active THEN 'yes' ELSE 'no' END FROM users") {
		active[row[0]] = row[1] == "yes"
	}
	for _, row := range e.rows("SELECT CAST(group_id AS text), CAST(user_id AS text) FROM group_members") {
		members[[2]string{row[0], row[1]}] = true
	}
	for _, row := range e.rows("SELECT CAST(id AS text) FROM groups") {
		groups[row[0]] = true
	}
	if !maps.Equal(active, l.active) {
		e.t.Errorf("the audit log tells of %d people, %d are held, or their states differ", len(l.active), len(active))
	}
	if !maps.Equal(members, l.members) {
		e.t.Errorf("the audit log tells of %d memberships, %d are held, or they are others", len(l.members), len(members))
	}
	if !maps.Equal(groups, l.groups) {
		e.t.Errorf("the audit log tells of %d groups, %d are held, or they are others", len(l.groups), len(groups))
	}
}

// slowly has the tenant answer slowly enough that a run can be met in any of its phases.
func (e *estate) slowly() {
	for _, f := range []oktatest.Fault{
		{Kind: oktatest.Slow, Endpoint: oktatest.GetUser, Times: -1, Delay: millis(15)},
		{Kind: oktatest.Slow, Times: -1, Delay: millis(3 + e.random.IntN(12))},
	} {
		e.tenant.Inject(f)
	}
}
