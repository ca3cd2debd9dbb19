package lifecycle_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
	"github.com/idpsync/idpsync/store/storetest"
)

// TestAccessAt_IsWhatAccessWas lets a house live through a random history, notes after each step what some may do and
// why, and wants the audit log to tell the same of each of these moments when all is over.
func TestAccessAt_IsWhatAccessWas(t *testing.T) {
	t.Parallel()
	seeds := map[string]int{"sqlite": 4, "postgres": 2}
	if testing.Short() {
		seeds = map[string]int{"sqlite": 2, "postgres": 1}
	}
	for name, open := range map[string]func(testing.TB) *store.Store{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		for i := range seeds[name] {
			seed := rand.Uint64()
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				t.Parallel()
				h := openPast(t, open(t), seed)
				for range 80 {
					h.step()
					h.note()
				}
				h.compare()
			})
		}
	}
}

// past is a house with a random history.
type past struct {
	*house
	random *rand.Rand
	notes  []moment
	done   map[string]int // what happened how often
}

// moment is what somebody might do at a time.
type moment struct {
	at   time.Time
	step string
	want roles.Access
}

func openPast(t *testing.T, s *store.Store, seed uint64) *past {
	t.Logf("seed %d", seed)
	h := &past{house: open(t, s), random: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}}
	h.admin("root", true) // so that nobody who comes later is the last
	_, err := h.DisableSCIM(t.Context(), byOperator)
	h.must(err) // so that sign-ins make people
	return h
}

// one picks one of these, or the zero value of none.
func one[T any](h *past, list []T) (picked T) {
	if len(list) > 0 {
		picked = list[h.random.IntN(len(list))]
	}
	return picked
}

func (h *past) users() []identity.User {
	users, _, err := h.s.Users(h.Context(), store.UserQuery{Limit: 1000, Deleted: true})
	h.must(err)
	return users
}

func (h *past) groups() []identity.Group {
	groups, _, err := h.s.Groups(h.Context(), store.GroupQuery{Limit: 1000})
	h.must(err)
	return groups
}

// name is one of a few, so that names are taken, come free, and mean other groups and teams later.
func (h *past) name() string {
	return one(h, []string{"Crew", "Payments", "Sales", "crew", "Root", "Ops", "Support"})
}

// someone is a user or, now and then, a group.
func (h *past) someone() string {
	if h.random.IntN(4) == 0 {
		return one(h, h.groups()).ID
	}
	return one(h, h.users()).ID
}

// step does one thing. What is refused, because a name is taken or a group would be in itself, changes nothing.
func (h *past) step() {
	h.Helper()
	steps := []struct {
		name string
		do   func() error
	}{
		{"create", h.create1},
		{"create", h.create1},
		{"profile", h.profile},
		{"deactivate", h.deactivate},
		{"delete", h.deleteUser},
		{"group", h.createGroup},
		{"group", h.createGroup},
		{"rename", h.renameGroup},
		{"delete group", h.deleteGroup},
		{"members", h.changeMembers},
		{"members", h.changeMembers},
		{"members", h.changeMembers},
		{"members", h.changeMembers},
		{"mapping", h.changeMapping},
		{"stored mapping", h.changeStored},
		{"give", h.give},
		{"give", h.give},
		{"take", h.take},
		{"team", h.createTeam},
		{"rename team", h.renameTeam},
		{"set active", h.setActive},
		{"sign in", h.signIn},
		{"sign in", h.signIn},
		{"pull", h.pull},
		{"pull", h.pull},
		{"link", h.link},
	}
	s := one(h, steps)
	if err := s.do(); err == nil {
		h.done[s.name]++
	} else if !forgivable(err) {
		h.Fatalf("%s: %v", s.name, err)
	}
}

func forgivable(err error) bool {
	var (
		duplicate *store.DuplicateError
		cycle     *store.CycleError
		unknown   *lifecycle.UnknownMemberError
		refused   *lifecycle.RefusedError
		conflict  *lifecycle.ConflictError
		team      *lifecycle.TeamError
		owned     *lifecycle.OwnedError
		declared  *lifecycle.MappingDeclaredError
		signIn    *lifecycle.SignInError
	)
	return errors.Is(err, store.ErrNotFound) || errors.As(err, &duplicate) || errors.As(err, &cycle) || errors.As(err, &unknown) ||
		errors.As(err, &refused) || errors.As(err, &conflict) || errors.As(err, &team) || errors.As(err, &owned) ||
		errors.As(err, &declared) || errors.As(err, &signIn)
}

func (h *past) create1() error {
	u := person(one(h, []string{"ana", "ben", "cleo", "dan", "eve"}), withRoles(one(h, [][]string{nil, nil, {"operator"}, {"admin", "viewer"}})...))
	u.Active = h.random.IntN(5) > 0
	_, err := h.CreateUser(h.Context(), pusher, one(h, []string{"scim:k1", "okta"}), u)
	return err
}

func (h *past) profile() error {
	_, err := h.change(one(h, h.users()).ID, func(u *identity.User) {
		switch h.random.IntN(3) {
		case 0:
			u.UserName = fmt.Sprintf("%s%d@acme.test", strings.Split(u.UserName, "@")[0], h.random.IntN(3))
		case 1:
			withRoles(one(h, [][]string{nil, {"viewer"}, {"operator", "viewer"}})...)(u)
		default:
			u.Active = true
		}
	})
	return err
}

func (h *past) deactivate() error {
	_, err := h.change(one(h, h.users()).ID, func(u *identity.User) { u.Active = !u.Active })
	return err
}

func (h *past) deleteUser() error {
	return h.DeleteUser(h.Context(), pusher, "scim:k1", one(h, h.users()).ID, 0)
}

func (h *past) createGroup() error {
	g := identity.Group{DisplayName: h.name()}
	_, err := h.CreateGroup(h.Context(), pusher, one(h, []string{"scim:k1", "okta"}), g, []string{one(h, h.users()).ID})
	return err
}

func (h *past) renameGroup() error {
	name := h.name()
	_, err := h.ChangeGroup(h.Context(), pusher, "scim:k1", one(h, h.groups()).ID, 0, lifecycle.GroupChange{DisplayName: &name})
	return err
}

func (h *past) deleteGroup() error {
	return h.DeleteGroup(h.Context(), pusher, "scim:k1", one(h, h.groups()).ID, 0)
}

func (h *past) changeMembers() error {
	op := lifecycle.MemberOp{Op: one(h, []lifecycle.MemberOpKind{lifecycle.MembersAdd, lifecycle.MembersAdd, lifecycle.MembersRemove, lifecycle.MembersSet})}
	for range 1 + h.random.IntN(4) {
		if id := h.someone(); !slices.Contains(op.IDs, id) {
			op.IDs = append(op.IDs, id)
		}
	}
	_, err := h.members(one(h, h.groups()).ID, op)
	return err
}

// changeMapping puts other rules in force, for groups that are there already too.
func (h *past) changeMapping() error {
	var rules []roles.Rule
	for range h.random.IntN(3) {
		rules = append(rules, rule(h.name(), h.name()+":operator", one(h, []string{"root:viewer", "Local:admin", h.name() + ":viewer"})))
	}
	h.remap(rules...)
	if _, err := h.SyncMapping(h.Context(), puller, lifecycle.Remap{}); err != nil {
		return err
	}
	_, err := h.SyncGroups(h.Context(), puller, nil)
	return err
}

// changeStored edits the stored mapping, where the configuration declares none.
func (h *past) changeStored() error {
	edit := roles.Edit{Map: []roles.Rule{rule(h.name(), h.name()+":viewer", "Local:operator")}}
	if h.random.IntN(2) == 0 {
		edit = roles.Edit{Unmap: []roles.Rule{{Group: h.name()}}}
	}
	_, err := h.Remap(h.Context(), byOperator, lifecycle.Remap{Edit: edit})
	return err
}

func (h *past) team() identity.Team {
	teams, err := h.s.Teams(h.Context())
	h.must(err)
	return one(h, teams)
}

func (h *past) give() error {
	_, err := h.GiveRole(h.Context(), h.giver(), one(h, h.users()).ID, identity.TeamRole{Team: h.team().Name, Role: h.role()})
	return err
}

func (h *past) take() error {
	_, err := h.TakeRole(h.Context(), h.giver(), one(h, h.users()).ID, identity.TeamRole{Team: h.team().Name, Role: h.role()})
	return err
}

func (h *past) role() identity.Role { return one(h, []identity.Role{"operator", "viewer"}) }

// giver is an operator at the command line, or one of the people.
func (h *past) giver() identity.Actor {
	if h.random.IntN(2) == 0 {
		return byOperator
	}
	u := one(h, h.users())
	return identity.Actor{Kind: "user", ID: u.ID, Name: u.UserName}
}

var byOperator = identity.Actor{Kind: "cli", ID: "operator", Name: "operator"}

func (h *past) createTeam() error {
	_, err := h.CreateTeam(h.Context(), byOperator, one(h, []string{h.name(), "Local", "Auditors"}), nil)
	return err
}

func (h *past) renameTeam() error {
	_, err := h.RenameTeam(h.Context(), byOperator, h.team().ID, one(h, []string{h.name(), "Local", "Auditors", "Reviewers"}))
	return err
}

func (h *past) setActive() error {
	_, err := h.SetActive(h.Context(), byOperator, one(h, h.users()).ID, h.random.IntN(2) == 0, "by hand")
	return err
}

// signIn has an identity provider vouch for somebody, who may be new.
func (h *past) signIn() error {
	name := one(h, []string{"ana", "gil", "hal", "ida"}) + "@acme.test"
	_, err := h.SignInStated(h.Context(), signer, lifecycle.SignInStatement{
		Method: lifecycle.MethodSAML, Issuer: "idp", Subject: name, UserName: name, DisplayName: name, Groups: []string{h.name(), h.name()},
		GroupsStated: true, Provision: true,
	}, h.entry(lifecycle.MethodSAML))
	return err
}

// pull applies what a run might have found.
func (h *past) pull() error {
	var changes []identity.Change
	u, g := one(h, h.users()), one(h, h.groups())
	switch h.random.IntN(5) {
	case 0:
		changes = append(changes, createdAs(uuid.NewString(), fmt.Sprint("pulled", len(h.notes))))
	case 1:
		changes = append(changes, absent(u))
	case 2:
		changes = append(changes, stated(identity.OpReactivate, identity.StatusActive, u, uuid.NewString()))
	case 3:
		changes = append(changes, groupCreated(uuid.NewString(), h.name()))
	default:
		for _, op := range []identity.Op{identity.OpAdd, identity.OpRemove} {
			changes = append(changes, identity.Change{
				Object: identity.ObjectMember, Op: op, SourceID: g.SourceID, ID: g.ID, MemberID: one(h, h.users()).ID,
			})
		}
		changes = append(changes, identity.Change{Object: identity.ObjectGrant, Op: identity.OpAdd, SourceID: g.SourceID, ID: g.ID})
	}
	h.tick() // what is read now was read after the last push
	_, err := h.tryApply(h.Context(), h.begin(), store.Lease{}, changes...)
	return err
}

// link has an operator say whose record somebody is, deleted or not.
func (h *past) link() error {
	conflict := identity.Conflict{
		ID: uuid.NewString(), Connector: "okta", Object: identity.ObjectUser, SourceID: uuid.NewString(), Name: "x", Status: identity.ConflictOpen,
		FirstSeen: h.now, LastSeen: h.now,
	}
	err := h.s.InTx(h.Context(), func(tx *store.Tx) error { return tx.NoteConflicts(h.Context(), []identity.Conflict{conflict}) })
	h.must(err)
	_, err = h.LinkConflict(h.Context(), pusher, conflict.ID, one(h, h.users()).ID)
	return err
}

// note writes down what some people may do now, and lets a second pass.
func (h *past) note() {
	h.Helper()
	users := h.users()
	h.random.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] })
	for _, u := range users[:min(3, len(users))] {
		grants, err := h.s.EffectiveGrants(h.Context(), u.ID)
		h.must(err)
		h.notes = append(h.notes, moment{h.now, fmt.Sprint(len(h.notes)), roles.Explain(&u, identity.SortGrants(grants))})
	}
	h.tick()
}

func (h *past) compare() {
	h.Helper()
	held, through := 0, 0
	for _, m := range h.notes {
		got, err := lifecycle.AccessAt(h.Context(), h.s, m.want.UserID, m.at)
		if err != nil {
			h.Fatalf("AccessAt(%s, %s): %v", m.want.UserName, m.at, err)
		}
		if diff := cmp.Diff(m.want, got.Access); diff != "" || !got.At.Equal(m.at) {
			h.Fatalf("access of %s at %s (-was +told):\n%s", m.want.UserName, m.at, diff)
		}
		for _, team := range m.want.Teams {
			for _, role := range team.Roles {
				held++
				if slices.ContainsFunc(role.Via, func(v roles.Via) bool { return v.Through != "" }) {
					through++
				}
			}
		}
	}
	h.Logf("%d moments, %d roles held, %d through nested groups; %v", len(h.notes), held, through, h.done)
	if held == 0 {
		h.Error("nobody ever held a role")
	}
}
