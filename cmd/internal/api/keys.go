package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/apikey"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
)

// Key is an API key, without its secret.
type Key struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	User      string     `json:"user" doc:"The owner's userName."`
	UserID    string     `json:"user_id"`
	Connector string     `json:"connector,omitempty" doc:"The connector whose people it pushes."`
	State     string     `json:"state" enum:"live,expired,disabled,revoked"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires" doc:"Null: never."`
	LastUsed  *time.Time `json:"last_used" doc:"Null: never; kept to the minute."`
}

// NewKey is a key that was just made, with its secret: it is shown this once.
type NewKey struct {
	Key
	Secret     string     `json:"key" doc:"The key itself. It is shown this once."`
	OldID      string     `json:"old_id,omitempty" doc:"The key that this one follows, which still lets in."`
	OldExpires *time.Time `json:"old_expires,omitempty" doc:"When that one ends."`
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func keyOf(k *store.Key, now time.Time) Key {
	out := Key{
		ID: k.ID, Name: k.Name, User: k.UserName, UserID: k.UserID, Connector: k.Connector, State: "live",
		Created: k.Created, Expires: orNil(k.Expires), LastUsed: orNil(k.LastUsed),
	}
	switch {
	case !k.Revoked.IsZero():
		out.State = "revoked"
	case !k.Disabled.IsZero():
		out.State = "disabled"
	case !k.Live(now):
		out.State = "expired"
	}
	return out
}

const tagKeys = "keys"

// lifetime is how long a key lives, as requests say it.
type lifetime string

// read returns the lifetime, 0 for none.
func (l lifetime) read(location string) (time.Duration, error) {
	if l == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(string(l))
	if err != nil || d <= 0 || d > 100*365*24*time.Hour {
		return 0, invalid(location, "want a positive duration such as 2160h")
	}
	return d, nil
}

func (a *API) registerKeys() {
	add(a, operation{
		id: "list-keys", method: http.MethodGet, path: "/keys", tag: tagKeys, summary: "List API keys, the oldest first",
		description: "Whoever is no viewer sees their own.",
	}, a.listKeys)
	add(a, operation{
		id: "show-key", method: http.MethodGet, path: "/keys/{id}", tag: tagKeys, summary: "Show an API key, without its secret",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Key], error) {
		c := callerOf(ctx)
		k, err := a.o.Store.KeyByID(ctx, strings.TrimPrefix(in.ID, "idps_"))
		if err == nil && c.level < needViewer && k.UserID != c.userID {
			err = store.ErrNotFound // and not whose it is
		}
		if err != nil {
			return nil, noKey(err)
		}
		return &bodyOf[Key]{keyOf(&k, a.now())}, nil
	})
	add(a, operation{
		id: "create-key", method: http.MethodPost, path: "/keys", tag: tagKeys, status: http.StatusCreated, summary: "Make an API key; its secret is in this answer only",
		description: "An admin makes keys for everybody. Somebody with a session makes keys of their own, without a connector.",
	}, a.createKey)
	add(a, operation{
		id: "revoke-key", method: http.MethodDelete, path: "/keys/{id}", tag: tagKeys, summary: "Revoke an API key for good",
		description: "An admin revokes any, somebody with a session their own.",
	}, func(ctx context.Context, in *ByID) (*struct{}, error) {
		k, err := a.ownKey(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return nil, a.o.Applier.RevokeKey(ctx, callerOf(ctx).actor, k.ID)
	})
	add(a, operation{
		id: "rotate-key", method: http.MethodPost, path: "/keys/{id}/rotate", tag: tagKeys, status: http.StatusCreated,
		summary:     "Make a second key beside another, of the same owner and people",
		description: "Both let in until the old one is revoked, or expire_in has passed. An admin rotates any, somebody with a session their own.",
	}, a.rotateKey)
	add(a, operation{
		id: "enable-key", method: http.MethodPost, path: "/keys/{id}/enable", tag: tagKeys, need: needAdmin,
		summary: "Let in again with a key that was disabled with its owner",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Key], error) {
		id := strings.TrimPrefix(in.ID, "idps_")
		if callerOf(ctx).keyID == id {
			return nil, problem(http.StatusForbidden, kindBlank, "a key does not enable itself")
		}
		if _, err := a.o.Applier.EnableKey(ctx, callerOf(ctx).actor, id); err != nil {
			return nil, noKey(err)
		}
		k, err := a.o.Store.KeyByID(ctx, id)
		if err != nil {
			return nil, noKey(err)
		}
		return &bodyOf[Key]{keyOf(&k, a.now())}, nil
	})
}

func noKey(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("there is no such key")
	}
	return err
}

func (a *API) listKeys(ctx context.Context, in *struct {
	User string `query:"user" maxLength:"1000" doc:"Only keys of this owner, by userName or id."`
	Paging
},
) (*bodyOf[Page[Key]], error) {
	keys, err := a.o.Store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	c, now := callerOf(ctx), a.now()
	owner := in.User
	if c.level < needViewer {
		owner = c.userID
	}
	var list []Key
	for i := range keys {
		k := &keys[i]
		if owner == "" || k.UserID == owner || strings.EqualFold(k.UserName, owner) {
			list = append(list, keyOf(k, now))
		}
	}
	total, id := len(list), func(k *Key) string { return k.ID }
	if list, err = behind(list, in.Paging, "key", id); err != nil {
		return nil, err
	}
	page := pageOf(list, in.Limit, "key", id)
	page.Total = &total
	return &bodyOf[Page[Key]]{page}, nil
}

// ownKey returns a key that the caller may change: an admin any, somebody with a session their own.
func (a *API) ownKey(ctx context.Context, id string) (store.Key, error) {
	c := callerOf(ctx)
	if err := c.may(needAdmin); err != nil && !c.session() {
		return store.Key{}, err
	}
	k, err := a.o.Store.KeyByID(ctx, strings.TrimPrefix(id, "idps_"))
	if err != nil {
		return k, noKey(err)
	}
	if c.level < needAdmin && k.UserID != c.userID {
		return k, noKey(store.ErrNotFound) // and not whose it is
	}
	return k, nil
}

func (a *API) createKey(ctx context.Context, in *struct {
	Body struct {
		User      string   `json:"user,omitempty" maxLength:"1000" doc:"The owner, by userName or id; absent for the caller."`
		Name      string   `json:"name" minLength:"1" maxLength:"200" doc:"What the key is for."`
		Connector string   `json:"connector,omitempty" maxLength:"200" doc:"Bind the key to the people of this connector."`
		Expires   lifetime `json:"expires,omitempty" maxLength:"40" doc:"Lifetime, such as 2160h; absent for no end."`
	}
},
) (*bodyOf[NewKey], error) {
	c, body := callerOf(ctx), &in.Body
	owner := body.User
	if owner == "" {
		owner = c.userID
	}
	u, err := a.findUser(ctx, owner)
	own := err == nil && u.ID == c.userID && c.session() && body.Connector == ""
	if !own {
		if err := c.may(needAdmin); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(body.Name) == "" {
		return nil, invalid("body.name", "it is blank")
	}
	if !u.Active {
		return nil, problem(http.StatusConflict, kindState, u.UserName+" is not active: keys would be of no use")
	}
	if body.Connector != "" {
		if _, err := a.o.Sources(body.Connector); err != nil {
			return nil, invalid("body.connector", "the configuration has no such connector")
		}
	}
	lives, err := body.Expires.read("body.expires")
	if err != nil {
		return nil, err
	}
	key := apikey.Generate()
	held := store.Key{
		ID: key.ID(), UserID: u.ID, UserName: u.UserName, Name: strings.TrimSpace(body.Name), Connector: body.Connector, Source: body.Connector,
		Hash: key.Hash(), Created: a.now().UTC(),
	}
	if body.Connector == "" {
		held.Source = "scim:" + key.ID()
	}
	if lives > 0 {
		held.Expires = held.Created.Add(lives)
	}
	if err := a.o.Applier.CreateKey(ctx, c.actor, held); err != nil {
		return nil, nobody(err)
	}
	return &bodyOf[NewKey]{NewKey{Key: keyOf(&held, a.now()), Secret: key.Reveal()}}, nil
}

func (a *API) rotateKey(ctx context.Context, in *struct {
	ByID
	Body *struct {
		Expires  lifetime `json:"expires,omitempty" maxLength:"40" doc:"Lifetime of the new key; absent for that of the old one."`
		ExpireIn lifetime `json:"expire_in,omitempty" maxLength:"40" doc:"When the old key ends, such as 24h; absent for when it is revoked."`
	}
},
) (*bodyOf[NewKey], error) {
	body := orZero(in.Body)
	k, err := a.ownKey(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	lives, err := body.Expires.read("body.expires")
	if err != nil {
		return nil, err
	}
	expireIn, err := body.ExpireIn.read("body.expire_in")
	if err != nil {
		return nil, err
	}
	key := apikey.Generate()
	next := store.Key{ID: key.ID(), Hash: key.Hash(), Created: a.now().UTC()}
	if lives > 0 {
		next.Expires = next.Created.Add(lives)
	}
	old, next, err := a.o.Applier.RotateKey(ctx, callerOf(ctx).actor, k.ID, next, expireIn)
	if errors.Is(err, lifecycle.ErrKeyEnded) {
		return nil, problem(http.StatusConflict, kindState, "key "+k.ID+": "+err.Error()+": create a new one")
	}
	if err != nil {
		return nil, noKey(err)
	}
	return &bodyOf[NewKey]{NewKey{Key: keyOf(&next, a.now()), Secret: key.Reveal(), OldID: old.ID, OldExpires: orNil(old.Expires)}}, nil
}
