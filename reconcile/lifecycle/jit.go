package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// SignInStatement is what an identity provider says of somebody who signs in.
type SignInStatement struct {
	Method          string // MethodSAML or MethodOIDC
	Issuer, Subject string // who says it, and its own id of the person
	Lasting         bool   // whether Subject means the same person at the next sign-in
	UserName        string // the e-mail address

	GivenName, FamilyName, DisplayName string

	Groups       []string // names or ids
	GroupsStated bool     // false: nothing was said of groups

	Provision bool // who is unknown may be made; it is so while SCIM is off only
}

// SignInStated opens a session for whom an identity provider vouches for. The person is found by the identity provider's
// id from the first sign-in on, else by userName or e-mail address. While SCIM is off and the statement lets it, somebody
// unknown is made, and whom no source states gets the stated names and what the stated groups grant; anybody else is
// left as the source says. Nobody inactive is revived. It is refused with a *SignInError.
func (a *Applier) SignInStated(ctx context.Context, by identity.Actor, st SignInStatement, entry Entry) (identity.User, error) {
	setting, err := a.SCIM(ctx)
	if err != nil {
		return identity.User{}, err
	}
	st.Provision = st.Provision && setting.JITProvisioning()
	try := func() (identity.User, error) {
		return a.enter(ctx, by, entry, func(c *change) (*identity.User, SignInReason, error) { return c.stated(ctx, &st) })
	}
	u, err := try()
	var duplicate *store.DuplicateError
	if errors.As(err, &duplicate) || errors.Is(err, store.ErrStale) {
		u, err = try() // of two first sign-ins at once, the second finds what the first made
	}
	return u, err
}

// stated finds or makes whom a statement is about.
func (c *change) stated(ctx context.Context, st *SignInStatement) (*identity.User, SignInReason, error) {
	held, reason, err := c.vouchedFor(ctx, st)
	if err != nil || reason != "" {
		return held, reason, err
	}
	if held == nil {
		if !st.Provision {
			return nil, SignInUnknown, nil
		}
		if !canBeName(st.UserName) {
			return nil, SignInBadName, nil
		}
		made, err := c.provision(ctx, st)
		if err != nil {
			return nil, "", err
		}
		held = &made
	}
	if reason := MaySignIn(held, st.Method, true); reason != "" {
		return held, reason, nil
	}
	if reason, err := c.bind(ctx, st, held); err != nil || reason != "" {
		return held, reason, err
	}
	if !st.Provision || held.Source != "" {
		return held, "", nil
	}
	after, err := c.refresh(ctx, st, held)
	return &after, "", err
}

// canBeName tells whether a stated name can be somebody's userName.
func canBeName(name string) bool {
	return name != "" && len(name) <= 320 && name == strings.TrimSpace(name) && !strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar
	})
}

// vouchedFor returns who is meant by a statement, locked, or nil for nobody held.
func (c *change) vouchedFor(ctx context.Context, st *SignInStatement) (*identity.User, SignInReason, error) {
	named, reason, err := c.named(ctx, st.UserName)
	if err != nil || reason != "" {
		return nil, reason, err
	}
	id := ""
	if st.Lasting {
		id, err = c.tx.SubjectUser(ctx, store.Subject{Provider: st.Method, Issuer: st.Issuer, Subject: st.Subject})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, "", err
		}
	}
	switch {
	case id == "" && named == nil:
		return nil, "", nil
	case id == "":
		id = named.ID
	case named != nil && named.ID != id:
		// Somebody's address was given to somebody else, or two were swapped: who is meant is not for us to guess.
		return named, SignInSubjectTaken, nil
	}
	u, err := c.tx.LockUser(ctx, id)
	return &u, "", err
}

// named returns who has a name: as userName, or else alone as primary e-mail address.
func (c *change) named(ctx context.Context, name string) (*identity.User, SignInReason, error) {
	candidates, err := c.tx.Candidates(ctx, nil, []string{name})
	if err != nil {
		return nil, "", err
	}
	u, several := NamedBy(candidates, name)
	if several {
		return nil, SignInAmbiguous, nil
	}
	return u, "", nil
}

// NamedBy returns who of the candidates has a name, without case: as userName, or else as primary e-mail address if it
// is one account that is not deleted. several tells that it is more than one.
func NamedBy(candidates []identity.User, name string) (u *identity.User, several bool) {
	for i := range candidates {
		switch c := &candidates[i]; {
		case identity.Normalize(c.UserName) == identity.Normalize(name):
			return c, false
		case c.Deleted() || identity.Normalize(c.Email()) != identity.Normalize(name):
		case u != nil:
			several = true
		default:
			u = c
		}
	}
	if several {
		// A userName further on decides, whoever else has the address.
		for i := range candidates {
			if identity.Normalize(candidates[i].UserName) == identity.Normalize(name) {
				return &candidates[i], false
			}
		}
		u = nil
	}
	return u, several
}

// bind holds the identity provider's id of a person against the one that was bound at the first sign-in, or binds it.
func (c *change) bind(ctx context.Context, st *SignInStatement, u *identity.User) (SignInReason, error) {
	if !st.Lasting {
		return "", nil
	}
	bound, err := c.tx.SubjectOf(ctx, u.ID, st.Method, st.Issuer)
	switch {
	case err == nil && bound == st.Subject:
		return "", nil
	case err == nil:
		return SignInSubjectChanged, nil
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	return "", c.tx.BindSubject(ctx, store.Subject{Provider: st.Method, Issuer: st.Issuer, Subject: st.Subject, UserID: u.ID}, c.now)
}

// provision makes the account of somebody who signs in for the first time. It is nobody's, so that whichever source
// states the person later adopts it.
func (c *change) provision(ctx context.Context, st *SignInStatement) (identity.User, error) {
	u := identity.User{ID: c.newID(), UserName: st.UserName, Origin: identity.OriginSSO, Attributes: identity.Attributes{
		"emails": []any{map[string]any{"value": st.UserName, "type": "work", "primary": true}},
	}}
	setNames(&u, st)
	return c.writeUser(ctx, nil, u, Decision{Op: identity.OpCreate, Active: true, Reason: "first sign-in by " + st.Method})
}

// refresh gives somebody whom no source states the stated names and groups.
func (c *change) refresh(ctx context.Context, st *SignInStatement, held *identity.User) (identity.User, error) {
	after := held.Clone()
	setNames(&after, st)
	after, err := c.writeUser(ctx, held, after, Decision{Op: identity.OpUpdate, Active: true, Reason: "stated at sign-in by " + st.Method})
	if err != nil || !st.GroupsStated {
		return after, err
	}
	if err := c.tx.PutStatedGroups(ctx, after.ID, trimmed(st.Groups)); err != nil {
		return after, err
	}
	return after, c.syncJIT(ctx, after.ID)
}

// setNames sets the names that are stated; what is not stated stays.
func setNames(u *identity.User, st *SignInStatement) {
	for path, name := range map[identity.Path]string{
		identity.PathGivenName: st.GivenName, identity.PathFamilyName: st.FamilyName, identity.PathDisplayName: st.DisplayName,
	} {
		if name = strings.TrimSpace(name); name != "" && canBeText(name) {
			u.Set(path, name)
		}
	}
}

// canBeText tells whether a database holds a name: a NUL it does not.
func canBeText(name string) bool { return !strings.ContainsFunc(name, unicode.IsControl) }

func trimmed(names []string) []string {
	list := make([]string, 0, len(names))
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" && canBeText(name) {
			list = append(list, name)
		}
	}
	return list
}

// syncJIT makes what somebody's stated groups grant what the role mapping says, each with the name as stated for its
// reason. Other reasons for the same roles stand.
func (c *change) syncJIT(ctx context.Context, userID string) error {
	u, err := c.tx.User(ctx, userID)
	if err != nil {
		return err
	}
	names, err := c.tx.StatedGroups(ctx, userID)
	if err != nil {
		return err
	}
	held, err := c.tx.GrantsOfKind(ctx, userID, identity.GrantJIT)
	if err != nil {
		return err
	}
	want, err := c.statedGrants(ctx, userID, names)
	if err != nil {
		return err
	}
	for _, g := range want {
		added, err := c.tx.PutGrant(ctx, g, c.now)
		if err != nil {
			return err
		}
		if added {
			c.granted(g, u.UserName, g.Role+" on "+g.TeamName+", for the group "+g.SourceID+" stated at sign-in")
		}
	}
	gone := slices.DeleteFunc(held, func(h identity.Grant) bool {
		return slices.ContainsFunc(want, func(w identity.Grant) bool {
			return w.TeamID == h.TeamID && w.Role == h.Role && w.SourceID == h.SourceID
		})
	})
	return c.takeJIT(ctx, &u, gone, "no longer stated at sign-in, or mapped")
}

// takeJIT removes grants that sign-ins gave.
func (c *change) takeJIT(ctx context.Context, u *identity.User, gone []identity.Grant, reason string) error {
	if len(gone) == 0 {
		return nil
	}
	return c.guarded(ctx, func() error {
		for _, g := range gone {
			if _, err := c.tx.DeleteGrant(ctx, g); err != nil {
				return err
			}
			c.revoked(g, u.UserName, g.Role+" on "+g.TeamName+", for the group "+g.SourceID+": "+reason)
			if _, err := c.tx.DeleteTeamIfUnused(ctx, g.TeamID); err != nil {
				return err
			}
		}
		return nil
	})
}

// statedGrants returns what the role mapping gives for stated groups: what the rules say of a name or id as it is
// stated, and where a group of that name or id is held, what that group grants.
func (c *change) statedGrants(ctx context.Context, userID string, names []string) ([]identity.Grant, error) {
	if len(names) == 0 {
		return nil, nil
	}
	mapping, err := c.mappingNow(ctx)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = identity.Normalize(name)
	}
	groups, err := c.tx.MappedGroups(ctx, keys)
	if err != nil {
		return nil, err
	}
	var grants []identity.Grant
	for i, name := range names {
		roles := mapping.Grants(&identity.Group{DisplayName: name}, "")
		for k := range groups {
			g := &groups[k]
			if !slices.Contains(namesOf(g), keys[i]) {
				continue
			}
			own, err := c.tx.Team(ctx, g.TeamID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			roles = append(roles, mapping.Grants(g, own.Name)...)
		}
		for _, role := range roles {
			team, err := c.team(ctx, role.Team)
			if err != nil {
				return nil, err
			}
			grants = append(grants, identity.Grant{
				UserID: userID, TeamID: team.ID, TeamName: team.Name, Role: role.Role, Kind: identity.GrantJIT, SourceID: name,
			})
		}
	}
	return grants, nil
}

// namesOf returns by what a group may be stated, normalized.
func namesOf(g *identity.Group) []string {
	return []string{identity.Normalize(g.DisplayName), identity.Normalize(g.ExternalID), identity.Normalize(g.ID)}
}

// syncStating brings the grants of everybody in line whose last sign-in stated one of these groups, by any of its names
// and ids: what is mapped for it has changed.
func (c *change) syncStating(ctx context.Context, references []string) error {
	if len(references) == 0 {
		return nil
	}
	keys := make([]string, len(references))
	for i, reference := range references {
		keys[i] = identity.Normalize(reference)
	}
	groups, err := c.tx.MappedGroups(ctx, keys)
	if err != nil {
		return err
	}
	for i := range groups {
		keys = append(keys, namesOf(&groups[i])...)
	}
	users, err := c.tx.UsersStating(ctx, keys)
	if err != nil {
		return err
	}
	for _, id := range users {
		if err := c.syncJIT(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// dropSignInGrants removes what sign-ins gave to people whom a source states from now on.
func (c *change) dropSignInGrants(ctx context.Context, userIDs []string) error {
	for _, id := range userIDs {
		held, err := c.tx.GrantsOfKind(ctx, id, identity.GrantJIT)
		if err != nil {
			return err
		}
		if err := c.tx.PutStatedGroups(ctx, id, nil); err != nil {
			return err
		}
		if len(held) == 0 {
			continue
		}
		u, err := c.tx.User(ctx, id)
		if err != nil {
			return err
		}
		if err := c.takeJIT(ctx, &u, held, "a source says what groups there are from now on"); err != nil {
			return err
		}
	}
	return nil
}
