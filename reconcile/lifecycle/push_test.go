package lifecycle_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func TestCreateUser_New(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		got := h.create("scim:k1", "ana", withRoles("operator"))
		want := person("ana", withRoles("operator"))
		want.ID, want.Seq, want.Origin, want.Source, want.Version = got.ID, got.Seq, identity.OriginSSO, "scim:k1", 1
		want.Created, want.LastModified, want.LastPushAt = h.now, h.now, h.now
		if diff := cmp.Diff(want, got); diff != "" {
			h.Errorf("CreateUser() (-want +got):\n%s", diff)
		}
		h.same(want)
		h.wantAccess(got.ID, "root:operator via direct attribute roles")
		h.wantEvents("user.created ana", "grant.added ana (direct role operator on root)")
	})
}

func TestCreateUser_TakenNamesAreRefused(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana, ben := h.create("scim:k1", "ana"), h.create("scim:k1", "ben")
		gone := h.create("scim:k1", "cleo", inactive)
		h.skipEvents()
		for _, c := range []struct {
			name, attribute, id string
			source              string
			u                   identity.User
		}{
			{"userName in another case", "userName", ana.ID, "scim:k1", identity.User{UserName: "ANA@Acme.test", Active: true}},
			{"userName at another source", "userName", ana.ID, "scim:k2", identity.User{UserName: "ana@acme.test", Active: true}},
			{"externalId", "externalId", ben.ID, "scim:k1", identity.User{UserName: "new@acme.test", ExternalID: "ben", Active: true}},
			{"name and externalId of two", "userName", ana.ID, "scim:k1", identity.User{UserName: "ana@acme.test", ExternalID: "ben", Active: true}},
			{"name of one, externalId of somebody inactive", "userName", ana.ID, "scim:k1", identity.User{UserName: "ana@acme.test", ExternalID: gone.ExternalID, Active: true}},
		} {
			_, err := h.CreateUser(h.Context(), pusher, c.source, c.u)
			h.Log(c.name)
			h.wantDuplicate(err, c.attribute, c.id)
		}
		h.same(h.held(ana.ID))
		h.wantEvents()
		if _, err := h.CreateUser(h.Context(), pusher, "scim:k2", identity.User{UserName: "new@acme.test", ExternalID: "ben", Active: true}); err != nil {
			h.Errorf("the same externalId at another source: %v", err)
		}
	})
}

func TestCreateUser_Revives(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		for _, c := range []struct {
			name   string
			end    func(identity.User) error
			posted identity.User
			op     string
			reason string
		}{
			{
				"deactivated, by name", func(u identity.User) error { _, err := h.change(u.ID, inactive); return err },
				person("ana", func(u *identity.User) { u.UserName, u.ExternalID = "Ana@acme.test", "other" }), "user.reactivated Ana", "stated active",
			},
			{
				"deactivated, by externalId", func(u identity.User) error { _, err := h.change(u.ID, inactive); return err },
				person("ana", func(u *identity.User) { u.UserName = "renamed@acme.test" }), "user.reactivated renamed", "stated active",
			},
			{
				"deleted", func(u identity.User) error { return h.DeleteUser(h.Context(), pusher, "scim:k1", u.ID, 0) },
				person("ana"), "user.reactivated ana", "stated again after it was deleted",
			},
			{
				"deleted, posted inactive", func(u identity.User) error { return h.DeleteUser(h.Context(), pusher, "scim:k1", u.ID, 0) },
				person("ana", inactive), "user.updated ana", "stated again after it was deleted",
			},
			{
				"inactive and deleted, posted as it was", func(u identity.User) error {
					if _, err := h.change(u.ID, inactive); err != nil {
						return err
					}
					return h.DeleteUser(h.Context(), pusher, "scim:k1", u.ID, 0)
				},
				person("ana", inactive), "user.updated ana", "stated again after it was deleted",
			},
			{
				"local, deleted, posted inactive", func(u identity.User) error {
					_, err := h.s.DB().ExecContext(h.Context(), "UPDATE users SET origin = 'local' WHERE user_name = 'ana@acme.test'")
					h.must(err)
					return h.DeleteUser(h.Context(), pusher, "scim:k1", u.ID, 0)
				},
				person("ana", inactive), "user.converted ana", "local account is stated by scim:k1; stated again after it was deleted",
			},
		} {
			first := h.create("scim:k1", "ana")
			h.must(c.end(first))
			h.skipEvents()
			got, err := h.CreateUser(h.Context(), pusher, "scim:k1", c.posted)
			h.must(err)
			if got.ID != first.ID || got.Active != c.posted.Active || got.Deleted() || got.Origin != identity.OriginSSO {
				h.Errorf("%s: id %s active %v deleted %v, want the id %s, active %v, not deleted", c.name, got.ID, got.Active, got.Deleted(), first.ID, c.posted.Active)
			}
			h.same(got)
			h.wantEvents(c.op + " (" + c.reason + ")")
			// Out of the way of the next case.
			_, err = h.change(got.ID, func(u *identity.User) { u.UserName, u.ExternalID = got.ID, "" })
			h.must(err)
		}
	})
}

func TestCreateUser_AdoptsLocalAccounts(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		h.admin("root") // somebody has to stay
		plain, privileged := h.local("ana"), h.admin("ben")
		h.key("unused", privileged.ID, false)
		h.skipEvents()
		for _, u := range []identity.User{plain, privileged} {
			got, err := h.CreateUser(h.Context(), pusher, "okta", identity.User{UserName: u.UserName, ExternalID: "00u" + u.ID, Active: true})
			h.must(err)
			if got.ID != u.ID || got.Origin != identity.OriginSSO || got.Source != "okta" || got.SourceID != "00u"+u.ID {
				h.Errorf("adopted %+v, want an SSO account of okta with the id %s", got, u.ID)
			}
			if _, err := h.s.PasswordHash(h.Context(), u.ID); !errors.Is(err, store.ErrNotFound) {
				h.Errorf("password of a converted account: %v, want %v", err, store.ErrNotFound)
			}
		}
		h.wantAccess(privileged.ID, "root:admin via manual")
		h.wantEvents("user.converted ana (local account is stated by okta)", "user.converted ben (local account is stated by okta)")
	})
}

func TestBreakGlass_RefusedOverPush(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		root := h.admin("root")
		ops := map[string]func(u identity.User) error{
			"post": func(u identity.User) error {
				_, err := h.CreateUser(h.Context(), pusher, "okta", identity.User{UserName: u.UserName, Active: true})
				return err
			},
			"post inactive": func(u identity.User) error {
				_, err := h.CreateUser(h.Context(), pusher, "okta", identity.User{UserName: u.UserName})
				return err
			},
			"change":     func(u identity.User) error { _, err := h.change(u.ID, func(*identity.User) {}); return err },
			"deactivate": func(u identity.User) error { _, err := h.change(u.ID, inactive); return err },
			"delete":     func(u identity.User) error { return h.DeleteUser(h.Context(), pusher, "okta", u.ID, 0) },
		}
		h.skipEvents()
		refused := func(u identity.User, reason string) {
			h.Helper()
			before := h.held(u.ID)
			for name, op := range ops {
				h.Log(name)
				h.wantRefused(op(u), reason)
				h.same(before)
				if _, err := h.s.PasswordHash(h.Context(), u.ID); err != nil {
					h.Errorf("password: %v", err)
				}
				h.wantEvents("change.refused " + u.UserName[:len(u.UserName)-len("@acme.test")] + " (break glass: " + reason + ")")
			}
		}
		refused(root, lastAdmin)

		owner := h.admin("owner", true)
		h.key("k1", owner.ID, true)
		h.skipEvents()
		refused(owner, keyOwner)

		// Whose key is revoked, or was never used, is protected no more.
		h.must(h.RevokeKey(h.Context(), pusher, "k1"))
		h.key("k2", owner.ID, false)
		if _, err := h.change(owner.ID, inactive); err != nil {
			h.Errorf("the owner of no key in use: %v", err)
		}
		refusedAgain := h.DeleteUser(h.Context(), pusher, "okta", root.ID, 0)
		h.wantRefused(refusedAgain, lastAdmin)
	})
}

func TestBreakGlass_TwoAdminsCannotBothGo(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		var errs [2]error
		var wait sync.WaitGroup
		a, b := h.admin("a"), h.admin("b")
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s})
		h.must(err)
		for i, id := range []string{a.ID, b.ID} {
			wait.Go(func() { errs[i] = applier.DeleteUser(h.Context(), pusher, "okta", id, 0) })
		}
		wait.Wait()
		if n, err := h.s.CountLocalAdmins(h.Context()); err != nil || n != 1 {
			h.Errorf("%d local admins are left (%v), want 1; %v", n, err, errs)
		}
		for _, err := range errs {
			if err != nil {
				h.wantRefused(err, lastAdmin)
			}
		}
	})
}

func TestChangeUser(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		h.skipEvents()

		got, err := h.ChangeUser(h.Context(), pusher, "scim:k1", ana.ID, 1, func(u *identity.User) error {
			u.Attributes["title"] = "CEO"
			u.ID, u.Version, u.Origin, u.Source = "x", 77, identity.OriginLocal, "x" // not the client's to change
			return nil
		})
		h.must(err)
		if got.Version != 2 || got.Attributes["title"] != "CEO" || got.ID != ana.ID || got.Origin != identity.OriginSSO || got.Source != "scim:k1" {
			h.Errorf("ChangeUser() = %+v", got)
		}
		h.same(got)
		h.wantEvents("user.updated ana")

		_, err = h.ChangeUser(h.Context(), pusher, "scim:k1", ana.ID, 1, func(*identity.User) error { return nil })
		if !errors.Is(err, store.ErrStale) {
			h.Errorf("an old version: %v, want %v", err, store.ErrStale)
		}
		bad := errors.New("no such path")
		if _, err = h.ChangeUser(h.Context(), pusher, "scim:k1", ana.ID, 0, func(*identity.User) error { return bad }); !errors.Is(err, bad) {
			h.Errorf("an edit that fails: %v, want %v", err, bad)
		}
		ben := h.create("scim:k1", "ben")
		h.skipEvents()
		_, err = h.change(ben.ID, func(u *identity.User) { u.UserName = "ANA@acme.test" })
		h.wantDuplicate(err, "userName", "")
		_, err = h.change(ben.ID, func(u *identity.User) { u.ExternalID = "ana" })
		h.wantDuplicate(err, "externalId", "")
		h.same(h.held(ben.ID))

		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", ben.ID, 0))
		for _, id := range []string{ben.ID, uuid.NewString(), "nonsense"} {
			if _, err := h.change(id, inactive); !errors.Is(err, store.ErrNotFound) {
				h.Errorf("ChangeUser(%s): %v, want %v", id, err, store.ErrNotFound)
			}
		}
		h.wantEvents("user.deleted ben (deleted over SCIM)")
	})
}

func TestChangeUser_WithoutAChangeKeepsTheVersionAndNotesThePush(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana", withRoles("operator"))
		h.skipEvents()
		got, err := h.change(ana.ID, func(u *identity.User) { u.Attributes["title"] = "Engineer" })
		h.must(err)
		if got.Version != ana.Version || !got.LastModified.Equal(ana.LastModified) || !got.LastPushAt.After(ana.LastPushAt) {
			h.Errorf("version %d modified %v pushed %v, want the version and time of before and a later push", got.Version, got.LastModified, got.LastPushAt)
		}
		h.same(got)
		h.wantEvents()
	})
}

func TestChangeUser_ConvertsALocalAccount(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.local("ana")
		h.must(errorOf(h.change(ana.ID, func(u *identity.User) { u.Attributes["title"] = "CEO" })))
		if got := h.held(ana.ID); got.Origin != identity.OriginSSO || got.Source != "scim:k1" || !got.Active {
			h.Errorf("converted to %+v", got)
		}
		if _, err := h.s.PasswordHash(h.Context(), ana.ID); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("the password of a converted account: %v, want %v", err, store.ErrNotFound)
		}
		h.wantEvents("user.converted ana (local account is stated by scim:k1)")
	})
}

func errorOf[T any](_ T, err error) error { return err }

func TestDeactivation_SuspendsAndReactivationRestores(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana", withRoles("operator"))
		eng := h.group("Engineers", ana.ID)
		h.key("k7", ana.ID, true)
		h.skipEvents()
		granted := []string{"Engineers:viewer via group Engineers", "root:operator via direct attribute roles"}
		h.wantAccess(ana.ID, granted...)

		h.must(errorOf(h.change(ana.ID, inactive)))
		h.wantEvents("user.deactivated ana (stated inactive)", "key.disabled k7 (its owner ana@acme.test was deactivated)")
		h.wantAccess(ana.ID, append([]string{"suspended"}, granted...)...)
		h.wantMembers(eng.ID, "ana")
		if k, err := h.s.KeyByID(h.Context(), "k7"); err != nil || k.Live(h.now) || k.Disabled.IsZero() {
			h.Errorf("the key of a deactivated user: %+v (%v)", k, err)
		}
		if got := h.held(ana.ID); got.Reason != "stated inactive" {
			h.Errorf("reason %q", got.Reason)
		}
		// What else is said of somebody inactive does not hide why.
		h.must(errorOf(h.change(ana.ID, func(u *identity.User) { u.Attributes["title"] = "CEO" })))
		if got := h.held(ana.ID); got.Reason != "stated inactive" || got.Active {
			h.Errorf("reason %q active %v after an update", got.Reason, got.Active)
		}
		h.skipEvents()

		h.must(errorOf(h.change(ana.ID, func(u *identity.User) { u.Active = true })))
		h.wantEvents("user.reactivated ana (stated active)")
		h.wantAccess(ana.ID, granted...)
		if k, err := h.s.KeyByID(h.Context(), "k7"); err != nil || k.Live(h.now) {
			h.Errorf("the key of a reactivated user: %+v (%v), want it disabled", k, err)
		}
		if got := h.held(ana.ID); got.ID != ana.ID || got.Reason != "" {
			h.Errorf("reactivated %+v", got)
		}
	})
}

func TestDeleteUser(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		eng := h.group("Engineers", ana.ID)
		h.key("k7", ana.ID, true)
		h.skipEvents()
		if err := h.DeleteUser(h.Context(), pusher, "scim:k1", ana.ID, 9); !errors.Is(err, store.ErrStale) {
			h.Errorf("an old version: %v, want %v", err, store.ErrStale)
		}
		h.wantEvents()
		h.must(h.DeleteUser(h.Context(), pusher, "scim:k1", ana.ID, 1))
		got := h.held(ana.ID)
		if got.Active || !got.DeletedAt.Equal(h.now) || got.Reason != "deleted over SCIM" || got.Version != 2 {
			h.Errorf("deleted: %+v", got)
		}
		h.wantMembers(eng.ID, "ana")
		h.wantEvents("user.deleted ana (deleted over SCIM)", "key.disabled k7 (its owner ana@acme.test was deactivated)")
		for _, id := range []string{ana.ID, uuid.NewString()} {
			if err := h.DeleteUser(h.Context(), pusher, "scim:k1", id, 0); !errors.Is(err, store.ErrNotFound) {
				h.Errorf("DeleteUser(%s) again: %v, want %v", id, err, store.ErrNotFound)
			}
		}
		h.wantEvents()
	})
}

func TestDirectRoles(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		ana := h.create("scim:k1", "ana")
		h.group("Ops", ana.ID)
		h.skipEvents()
		byGroup := []string{"Ops:viewer via group Ops", "root:operator via group Ops"}
		set := func(roles ...string) { h.must(errorOf(h.change(ana.ID, withRoles(roles...)))) }

		set("operator", "viewer")
		h.wantEvents("user.updated ana", "grant.added ana (direct role operator on root)", "grant.added ana (direct role viewer on root)")
		h.wantAccess(ana.ID, "Ops:viewer via group Ops", "root:operator via direct attribute roles", "root:operator via group Ops", "root:viewer via direct attribute roles")

		set("viewer", "admin")
		h.wantEvents("user.updated ana", "grant.revoked ana (direct role operator on root)", "grant.added ana (direct role admin on root)")

		set("viewer", "admin")
		h.wantEvents()

		// The role that a group gives, too, persists.
		set("operator")
		h.skipEvents()
		set()
		h.wantEvents("user.updated ana", "grant.revoked ana (direct role operator on root)")
		h.wantAccess(ana.ID, byGroup...)
	}, rule("Ops", "root:operator"))
}

func TestOwnership(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		owner := func(id string) [2]string {
			u := h.held(id)
			return [2]string{u.Source, u.SourceID}
		}
		want := func(what, id, source, sourceID string) {
			h.Helper()
			if got := owner(id); got != [2]string{source, sourceID} {
				h.Errorf("%s is owned by %q, want %s %q", what, got, source, sourceID)
			}
		}
		touch := func(source, id, externalID string) {
			h.Helper()
			h.must(errorOf(h.ChangeUser(h.Context(), pusher, source, id, 0, func(u *identity.User) error {
				u.ExternalID = externalID
				return nil
			})))
		}
		unbound, bound := h.create("scim:k1", "ana"), h.create("okta", "ben")
		want("pushed by an unbound key", unbound.ID, "scim:k1", "")
		want("pushed by a bound key", bound.ID, "okta", "ben")

		touch("scim:k2", unbound.ID, "ana")
		want("pushed by another unbound key", unbound.ID, "scim:k2", "")
		touch("okta", unbound.ID, "00u1")
		want("then by a bound key", unbound.ID, "okta", "00u1")
		touch("scim:k1", unbound.ID, "00u9")
		want("then by an unbound key again", unbound.ID, "okta", "00u1")
		touch("okta", bound.ID, "00u2")
		want("whose external id changed", bound.ID, "okta", "00u2")
		touch("entra", bound.ID, "e1")
		want("pushed by another connector's key", bound.ID, "okta", "00u2")

		g, err := h.CreateGroup(h.Context(), pusher, "scim:k1", identity.Group{DisplayName: "G", ExternalID: "00g1"}, nil)
		h.must(err)
		if g.Source != "scim:k1" || g.SourceID != "" {
			h.Errorf("a group pushed by an unbound key is owned by %q %q", g.Source, g.SourceID)
		}
		g, err = h.ChangeGroup(h.Context(), pusher, "okta", g.ID, 0, lifecycle.GroupChange{})
		h.must(err)
		if g.Source != "okta" || g.SourceID != "00g1" {
			h.Errorf("a group pushed by a bound key is owned by %q %q", g.Source, g.SourceID)
		}
	})
}

func TestParallelPosts_MakeOnePerson(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		applier, err := lifecycle.New(lifecycle.Options{Store: h.s})
		h.must(err)
		post := func() (ids []string) {
			var mu sync.Mutex
			var wait sync.WaitGroup
			for range 8 {
				wait.Go(func() {
					u, err := applier.CreateUser(h.Context(), pusher, "scim:k1", person("ana"))
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						ids = append(ids, u.ID)
					} else {
						h.wantDuplicate(err, errAttribute(err), "")
					}
				})
			}
			wait.Wait()
			return ids
		}
		created := post()
		if len(created) != 1 {
			h.Fatalf("eight posts of one person made %q, want one", created)
		}
		h.must(applier.DeleteUser(h.Context(), pusher, "scim:k1", created[0], 0))
		if revived := post(); len(revived) != 1 || revived[0] != created[0] {
			h.Errorf("eight posts of one deleted person revived %q, want %s once", revived, created[0])
		}
	})
}

func errAttribute(err error) string {
	var duplicate *store.DuplicateError
	if errors.As(err, &duplicate) {
		return duplicate.Attribute
	}
	return ""
}

func TestKeys(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		root := h.admin("root", true)
		h.skipEvents()
		h.key("k1", root.ID, false)
		h.must(h.RevokeKey(h.Context(), pusher, "k1"))
		h.must(h.RevokeKey(h.Context(), pusher, "k1"))
		if err := h.RevokeKey(h.Context(), pusher, "nobody's"); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("RevokeKey(nobody's) = %v, want %v", err, store.ErrNotFound)
		}
		if err := h.CreateKey(h.Context(), pusher, store.Key{ID: "k2", UserID: uuid.NewString()}); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("a key of nobody: %v, want %v", err, store.ErrNotFound)
		}
		h.wantEvents("key.created k1 (owner root@acme.test)", "key.revoked k1 (owner root@acme.test)")
	})
}

func TestCreateAdmin(t *testing.T) {
	t.Parallel()
	each(t, func(h *house) {
		u := h.admin("root", true)
		if u.Origin != identity.OriginLocal || !u.Active || u.Source != "" {
			h.Errorf("CreateAdmin() = %+v", u)
		}
		for _, required := range []identity.Path{identity.PathGivenName, identity.PathFamilyName} {
			if u.Attributes.Text(required) == "" {
				h.Errorf("CreateAdmin() has no %s, which a user must have", required)
			}
		}
		h.wantAccess(u.ID, "root:admin via manual", "root:scim_provisioner via manual")
		if hash, err := h.s.PasswordHash(h.Context(), u.ID); err != nil || hash != "hash" {
			h.Errorf("password %q (%v)", hash, err)
		}
		h.wantEvents("user.created root (local administrator)", "grant.added root (manual role admin on root)", "grant.added root (manual role scim_provisioner on root)")
		_, err := h.CreateAdmin(h.Context(), pusher, "ROOT@acme.test", "x", false)
		h.wantDuplicate(err, "userName", u.ID)
		h.wantEvents()
	})
}

func TestNew_WantsAStore(t *testing.T) {
	t.Parallel()
	if _, err := lifecycle.New(lifecycle.Options{Now: time.Now}); err == nil {
		t.Error("New() without a store is no error")
	}
}
