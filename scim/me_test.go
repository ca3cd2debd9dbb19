package scim_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ownedBy returns an endpoint whose key belongs to a user.
func (e *endpoint) ownedBy(user string) *endpoint {
	e.t.Helper()
	return serve(e.t, e.store, func(o *scim.Options) {
		o.Auth = keys{"good": {KeyID: "k1", KeyName: "push", UserID: user, Source: "scim:k1", Provisioner: true}}
	})
}

// localOwner makes a local admin who owns a key in use, and of whom nothing is known but the name to sign in by.
func (e *endpoint) localOwner() string {
	e.t.Helper()
	ctx, now := e.t.Context(), time.Now()
	u := identity.User{ID: uuid.NewString(), UserName: "root", Active: true, Origin: identity.OriginLocal, Version: 1, Created: now, LastModified: now}
	err := e.store.InTx(ctx, func(tx *store.Tx) error {
		if err := tx.InsertUsers(ctx, []identity.User{u}); err != nil {
			return err
		}
		for _, role := range []identity.Role{identity.RoleAdmin, identity.RoleSCIMProvisioner} {
			grant := identity.Grant{UserID: u.ID, TeamID: identity.RootTeamID, Role: role, Kind: identity.GrantManual}
			if _, err := tx.PutGrant(ctx, grant, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = e.applier.CreateKey(ctx, identity.Actor{Kind: "cli"}, store.Key{ID: "k1", UserID: u.ID, Name: "push", Source: "scim:k1", Hash: []byte("k1"), Created: now})
	}
	if err == nil {
		err = e.store.TouchKey(ctx, "k1", now)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return u.ID
}

func TestRule15_MeIsTheOwnerOfTheKey(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		ann := e.newUser("ann")
		e = e.ownedBy(ann)
		place := location + "/Users/" + ann
		wantPlace := func(r *reply) *reply {
			t.Helper()
			if got := r.header.Get("Location"); got != place {
				t.Errorf("%s: Location %q, want %q", r.call, got, place)
			}
			return r
		}
		r := wantPlace(e.do("GET", "/Me", "").want(200).has("id", ann, "userName", "ann@x.example", "meta/location", place, "meta/resourceType", "User"))
		wantPlace(e.do("GET", "/Me", "", "If-None-Match", r.header.Get("ETag")).want(304))
		r = e.do("GET", "/Me?attributes=userName", "").want(200).has("userName", "ann@x.example", "name", nil)
		if r.header.Get("ETag") != `W/"1"` {
			t.Errorf("ETag %s", r.header.Get("ETag"))
		}
		wantPlace(e.do("PUT", "/Me", person("ann", `,"title":"Boss"`)).want(200).has("id", ann, "title", "Boss", "meta/location", place))
		wantPlace(e.patch("/Me", `{"op":"replace","path":"title","value":"Chief"}`, "If-Match", `W/"1"`).want(412))
		wantPlace(e.patch("/Me", `{"op":"replace","path":"title","value":"Chief"}`, "If-Match", `W/"2"`).want(200).has("title", "Chief"))
		wantPlace(e.patch("/Me", `{"op":"replace","path":"nope","value":"x"}`).want(400, "invalidPath"))
		wantPlace(e.do("POST", "/Me", person("bob")).want(501))
		e.do("GET", "/Users/"+ann, "").want(200).has("title", "Chief")
		e.do("OPTIONS", "/Me", "").want(405)
		e.do("GET", "/Me/x", "").want(404)
	})
}

// Nobody takes herself away with her own key, and the attempt is recorded.
func TestRule15_MeCannotBeDeleted(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		for _, owner := range []string{e.newUser("ann"), e.localOwner()} {
			e = e.ownedBy(owner)
			e.do("DELETE", "/Me", "").want(403).has("detail", "this account owns the SCIM key in use, and cannot be deleted with it")
			e.do("GET", "/Me", "").want(200).has("id", owner, "active", true, "meta/version", `W/"1"`)
			events, err := e.store.Audit(t.Context(), store.AuditQuery{Limit: 1})
			if err != nil || len(events) != 1 || events[0].Type != identity.EventRefused || events[0].ObjectID != owner || events[0].Actor.ID != "k1" {
				t.Errorf("audited %+v, %v; want the refusal", events, err)
			}
		}
	})
}

// A local account may lack all that a pushed one must have, and may not become an identity provider's while its key is in use: it can be read.
func TestRule15_MeOfALocalAccount(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		owner := e.localOwner()
		e = e.ownedBy(owner)
		e.do("GET", "/Me", "").want(200).has("id", owner, "userName", "root", "emails", nil, "name", nil)
		for _, r := range []*reply{
			e.do("PUT", "/Me", person("root")),
			e.patch("/Me", `{"op":"add","path":"title","value":"Boss"}`),
			e.patch("/Me", `{"op":"replace","path":"active","value":false}`),
			e.do("DELETE", "/Users/"+owner, ""),
		} {
			r.want(403)
		}
		e.do("GET", "/Me", "").want(200).has("meta/version", `W/"1"`, "active", true, "title", nil)
	})
}

// A key may outlive what is known of its owner for a moment.
func TestRule15_MeOfNobody(t *testing.T) {
	each(t, func(t *testing.T, e *endpoint) {
		for _, owner := range []string{"u1", ""} {
			e = e.ownedBy(owner)
			e.do("GET", "/Me", "").want(404)
			e.do("PUT", "/Me", person("x")).want(404)
			e.patch("/Me", `{"op":"add","path":"title","value":"x"}`).want(404)
			e.do("DELETE", "/Me", "").want(404)
		}
	})
}
