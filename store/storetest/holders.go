package storetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

var holderCases = []namedCase{
	{"everybody with every reason, in order", func(f *fixture) {
		h := f.operators()
		f.equal("active holders", f.holders(h.query), []string{
			"ada: group Crew, group Outer through Inner, Other, manual " + h.cleo,
			"bo: group Crew",
			"dan: direct",
			"eve: group Outer",
		})
		h.query.Inactive = true
		f.equal("all holders", f.holders(h.query), []string{
			"ada: group Crew, group Outer through Inner, Other, manual " + h.cleo,
			"bo: group Crew",
			"cleo (inactive: gone): group Crew",
			"dan: direct",
			"eve: group Outer",
			"fay (deleted): group Crew",
		})
	}},
	{"nobody", func(f *fixture) {
		h := f.operators()
		for _, q := range []store.HolderQuery{{TeamID: h.query.TeamID, Role: "viewer"}, {TeamID: uuid.NewString(), Role: "operator"}} {
			f.equal("holders", f.holders(q), []string(nil))
		}
	}},
	{"stops when told", func(f *fixture) {
		h, stop, n := f.operators(), errors.New("stop"), 0
		f.isErr("RoleHolders", f.s.RoleHolders(f.ctx, h.query, func(*store.RoleHolder) error { n++; return stop }), stop)
		if n != 1 {
			f.Errorf("%d holders after the error, want none", n-1)
		}
		f.user() // the connection is free, and nothing is locked
	}},
	{"who is listed holds it", func(f *fixture) {
		h := f.operators()
		h.query.Inactive = true
		f.check(f.s.RoleHolders(f.ctx, h.query, func(r *store.RoleHolder) error {
			u, grants, err := f.s.Access(f.ctx, r.User.UserName)
			if err != nil {
				return err
			}
			var same []identity.Grant
			for _, g := range grants {
				if g.TeamID == h.query.TeamID && g.Role == h.query.Role {
					g.TeamName = ""
					same = append(same, g)
				}
			}
			f.equal("user "+u.UserName, r.User, u)
			f.equal("reasons of "+u.UserName, r.Grants, same)
			return nil
		}))
	}},
}

// operators are people who are operators of a team in different ways.
type operators struct {
	query store.HolderQuery
	cleo  string // her id
}

func (f *fixture) operators() operators {
	f.Helper()
	ids := map[string]string{}
	for _, name := range []string{"Eve", "ada", "Bo", "cleo", "Dan", "fay"} {
		ids[strings.ToLower(name)] = f.user(named(name), func(u *identity.User) {
			switch name {
			case "cleo":
				u.Active, u.Reason = false, "gone"
			case "fay":
				u.Active, u.DeletedAt = false, epoch
			}
		}).ID
	}
	groups := map[string]string{}
	for _, name := range []string{"Outer", "Crew", "Other", "Inner", "Middle"} {
		groups[name] = f.group(func(g *identity.Group) { g.DisplayName = name }).ID
	}
	team := identity.Team{ID: uuid.NewString(), Name: "Payments", Created: epoch}
	f.tx(func(tx *store.Tx) error {
		f.check(tx.PutTeam(f.ctx, team))
		for _, name := range []string{"Outer", "Crew"} {
			f.check(tx.AddGroupGrant(f.ctx, store.GroupGrant{GroupID: groups[name], TeamID: team.ID, Role: "operator"}))
		}
		for outer, inner := range map[string]string{"Outer": "Middle", "Middle": "Inner"} {
			_, _, err := tx.AddNested(f.ctx, store.GroupRef{ID: groups[outer]}, []string{groups[inner]})
			f.check(err)
		}
		_, _, err := tx.AddNested(f.ctx, store.GroupRef{ID: groups["Outer"]}, []string{groups["Other"]})
		f.check(err)
		for _, g := range []identity.Grant{
			{UserID: ids["dan"], TeamID: team.ID, Role: "operator", Kind: identity.GrantDirect},
			{UserID: ids["dan"], TeamID: team.ID, Role: "admin", Kind: identity.GrantManual},
			{UserID: ids["ada"], TeamID: team.ID, Role: "operator", Kind: identity.GrantManual, SourceID: ids["cleo"]},
			{UserID: ids["bo"], TeamID: identity.RootTeamID, Role: "operator", Kind: identity.GrantManual},
		} {
			_, err := tx.PutGrant(f.ctx, g, epoch)
			f.check(err)
		}
		return nil
	})
	f.addMembers(groups["Crew"], ids["ada"], ids["bo"], ids["cleo"], ids["fay"])
	f.addMembers(groups["Inner"], ids["ada"], ids["eve"])
	f.addMembers(groups["Other"], ids["ada"])
	f.addMembers(groups["Outer"], ids["eve"])
	return operators{store.HolderQuery{TeamID: team.ID, Role: "operator"}, ids["cleo"]}
}

// holders lists who holds a role, and why.
func (f *fixture) holders(q store.HolderQuery) (lines []string) {
	f.Helper()
	f.check(f.s.RoleHolders(f.ctx, q, func(h *store.RoleHolder) error {
		line := strings.ToLower(h.User.UserName)
		switch {
		case h.User.Deleted():
			line += " (deleted)"
		case !h.User.Active:
			line += " (inactive: " + h.User.Reason + ")"
		}
		var via []string
		for _, g := range h.Grants {
			reason := strings.TrimSpace(fmt.Sprint(g.Kind, " ", g.SourceName))
			if g.Kind == identity.GrantManual {
				reason += " " + g.SourceID
			}
			if g.Through != "" {
				reason += " through " + g.Through
			}
			via = append(via, reason)
		}
		lines = append(lines, line+": "+strings.Join(via, ", "))
		return nil
	}))
	return lines
}
