package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// User is a person as held.
type User struct {
	ID           string     `json:"id"`
	UserName     string     `json:"user_name"`
	ExternalID   string     `json:"external_id,omitempty"`
	DisplayName  string     `json:"display_name"`
	Email        string     `json:"email,omitempty"`
	Active       bool       `json:"active"`
	Reason       string     `json:"reason,omitempty" doc:"Why they are inactive."`
	Origin       string     `json:"origin" enum:"local,sso"`
	Source       string     `json:"source,omitempty" doc:"The connector or SCIM key that owns the account; absent for nobody."`
	SourceID     string     `json:"source_id,omitempty"`
	Deleted      bool       `json:"deleted,omitempty" doc:"Deleted over SCIM."`
	Version      int64      `json:"version"`
	Created      time.Time  `json:"created"`
	LastModified time.Time  `json:"last_modified"`
	LastPush     *time.Time `json:"last_push,omitempty"`
	LastPull     *time.Time `json:"last_pull,omitempty" doc:"When the read began that last stated the account."`
}

// UserDetail is a person with everything that is held.
type UserDetail struct {
	User
	Attributes map[string]any    `json:"attributes" nullable:"false" doc:"As they were stated, by SCIM name."`
	Owners     map[string]string `json:"owners" nullable:"false" doc:"By attribute, whose word counts: a connector, a SCIM key, or local where the configuration keeps a connector from it."`
	Groups     []GroupRef        `json:"groups" nullable:"false"`
}

// GroupRef names a group.
type GroupRef struct {
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	Indirect    bool   `json:"indirect,omitempty" doc:"By a group that is nested in it."`
}

func userOf(u *identity.User) User {
	return User{
		ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, DisplayName: u.DisplayName(), Email: u.Email(), Active: u.Active,
		Reason: u.Reason, Origin: string(u.Origin), Source: u.Source, SourceID: u.SourceID, Deleted: u.Deleted(), Version: u.Version,
		Created: u.Created, LastModified: u.LastModified, LastPush: orNil(u.LastPushAt), LastPull: orNil(u.ObservedAt),
	}
}

const tagUsers = "users"

func (a *API) registerUsers() {
	add(a, operation{
		id: "list-users", method: http.MethodGet, path: "/users", tag: tagUsers, need: needViewer, summary: "List people, in the order in which they came",
	}, a.listUsers)
	add(a, operation{
		id: "show-user", method: http.MethodGet, path: "/users/{id}", tag: tagUsers, summary: "Show a person with attributes and groups",
	}, a.showUser)
	add(a, operation{
		id: "user-history", method: http.MethodGet, path: "/users/{id}/history", tag: tagUsers, need: needViewer,
		summary:     "List what happened to a person, the newest first",
		description: "Events of the account, and those by which it came into groups and left them; of who came and left with the person, nobody is named.",
	}, func(ctx context.Context, in *struct {
		ByID
		Paging
	},
	) (*bodyOf[Page[Event]], error) {
		if _, err := a.o.Store.User(ctx, in.ID); err != nil {
			return nil, nobody(err)
		}
		page, err := a.events(ctx, store.AuditQuery{UserID: in.ID}, in.Paging)
		if err != nil {
			return nil, err
		}
		for i := range page.Body.Items {
			if e := &page.Body.Items[i]; e.ObjectID != in.ID {
				e.Members = []string{in.ID}
			}
		}
		return page, nil
	})
	for _, way := range []struct {
		active           bool
		id, verb, detail string
	}{
		{false, "deactivate-user", "deactivate", "Sessions end, API keys are disabled, roles are not in force. An account that a source owns is deactivated there. Break glass keeps the last local admin."},
		{true, "reactivate-user", "reactivate", "API keys stay disabled."},
	} {
		add(a, operation{
			id: way.id, method: http.MethodPost, path: "/users/{id}/" + way.verb, tag: tagUsers, need: needAdmin,
			summary: "An account that no source owns: " + way.verb + " it", description: way.detail,
		}, func(ctx context.Context, in *ByID) (*bodyOf[User], error) {
			u, err := a.o.Applier.SetActive(ctx, callerOf(ctx).actor, in.ID, way.active, "by an administrator")
			if err != nil {
				return nil, nobody(err)
			}
			return &bodyOf[User]{userOf(&u)}, nil
		})
	}
}

func (a *API) listUsers(ctx context.Context, in *struct {
	User   string `query:"user" maxLength:"1000" doc:"Only the person with this id, userName or externalId; other filters do not count then."`
	Search string `query:"search" maxLength:"200" doc:"userName, name or e-mail address contains this. More than a page of them are not counted."`
	Source string `query:"source" maxLength:"200" doc:"Owned by this connector or SCIM key."`
	Active string `query:"active" enum:"true,false" doc:"Only active, or only inactive people."`
	Origin string `query:"origin" enum:"local,sso" doc:"Only accounts made here, or only those of an identity provider."`
	Paging
},
) (*bodyOf[Page[User]], error) {
	if in.User != "" {
		users, err := a.named(ctx, in.User)
		n := len(users)
		return &bodyOf[Page[User]]{Page[User]{Items: each(users, userOf), Total: &n}}, err
	}
	var where store.And
	if in.Search != "" {
		where = append(where, store.Or{
			store.Compare{Field: store.FieldUserName, Op: store.OpCo, Value: in.Search},
			store.Compare{Field: store.FieldDisplayName, Op: store.OpCo, Value: in.Search},
			store.Compare{Field: store.FieldEmail, Op: store.OpCo, Value: in.Search},
		})
	}
	if in.Source != "" {
		where = append(where, store.Compare{Field: store.FieldSource, Op: store.OpEq, Value: in.Source})
	}
	if in.Active != "" {
		where = append(where, store.Compare{Field: store.FieldActive, Op: store.OpEq, Value: in.Active == "true"})
	}
	if in.Origin != "" {
		where = append(where, store.Compare{Field: store.FieldOrigin, Op: store.OpEq, Value: in.Origin})
	}
	after, err := in.number("user")
	if err != nil {
		return nil, err
	}
	// To count who is searched for, everybody is read: that many are not counted who fill more than a page.
	q := store.UserQuery{Where: where, Limit: in.Limit + 1, Deleted: true, NoTotal: in.Search != ""}
	if after > 0 {
		q.After, q.NoTotal = &store.Position{Seq: after}, true
	}
	found, err := a.o.Store.UserPage(ctx, q)
	if err != nil {
		return nil, err
	}
	page := pageOf(each(found.Users, userOf), in.Limit, "user", func(*User) string {
		return strconv.FormatInt(found.Users[in.Limit-1].Seq, 10)
	})
	switch {
	case !q.NoTotal:
		page.Total = &found.Total
	case after == 0 && page.NextCursor == "":
		n := len(page.Items)
		page.Total = &n
	}
	return &bodyOf[Page[User]]{page}, nil
}

// named returns the people whom an id, a userName or an externalId means: one, none, or several with the same externalId.
func (a *API) named(ctx context.Context, name string) ([]identity.User, error) {
	u, err := a.o.Store.User(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		u, err = a.o.Store.UserByName(ctx, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return []identity.User{u}, err
	}
	users, _, err := a.o.Store.Users(ctx, store.UserQuery{
		Where: store.Compare{Field: store.FieldExternalID, Op: store.OpEq, Value: name}, Limit: severalNamed, Deleted: true,
	})
	return users, err
}

// severalNamed bounds how many of the same externalId are told of.
const severalNamed = 100

func (a *API) showUser(ctx context.Context, in *ByID) (*bodyOf[UserDetail], error) {
	if err := callerOf(ctx).maySee(in.ID); err != nil {
		return nil, err
	}
	u, err := a.o.Store.User(ctx, in.ID)
	if err != nil {
		return nil, nobody(err)
	}
	groups, err := a.o.Store.GroupsOfUsers(ctx, []string{u.ID})
	if err != nil {
		return nil, err
	}
	out := UserDetail{User: userOf(&u), Attributes: u.Attributes, Owners: a.owners(&u), Groups: []GroupRef{}}
	if out.Attributes == nil {
		out.Attributes = map[string]any{}
	}
	for _, g := range groups[u.ID] {
		out.Groups = append(out.Groups, GroupRef{g.ID, g.DisplayName, g.Indirect})
	}
	return &bodyOf[UserDetail]{out}, nil
}

// owners tells of each attribute whose word counts, as far as that is known: the owner's of the account, but for what
// the configuration keeps from a connector.
func (a *API) owners(u *identity.User) map[string]string {
	owners := map[string]string{}
	sources, err := a.o.Sources(u.Source)
	pulled := u.Source != "" && err == nil && len(sources) == 1
	for name := range u.Attributes {
		switch {
		case u.Source == "", pulled && sources[0].Local.Covers(identity.Path{Attr: name}):
			owners[name] = "local"
		default:
			owners[name] = u.Source
		}
	}
	return owners
}
