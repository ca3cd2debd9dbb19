package scim

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func (h *Handler) getUser(r *request, id string) (answer, error) {
	u, err := h.userAhead(r, id)
	if err != nil {
		return answer{}, err
	}
	if r.unchanged(u.Version) {
		return answer{status: http.StatusNotModified, version: u.Version}, nil
	}
	return h.userAnswer(r, http.StatusOK, &u)
}

// user reads a user; one that was deleted over SCIM is not there.
func (h *Handler) user(ctx context.Context, id string) (identity.User, error) {
	u, err := h.opt.Store.User(ctx, id)
	if err == nil && u.Deleted() {
		err = store.ErrNotFound
	}
	return u, err
}

func (h *Handler) createUser(r *request, _ string) (answer, error) {
	u, err := h.postedUser(r)
	if err != nil {
		return answer{}, err
	}
	u, err = h.opt.Applier.CreateUser(r.Context(), r.actor(), r.principal.Source, u)
	if err != nil {
		return answer{}, err
	}
	return h.userAnswer(r, http.StatusCreated, &u)
}

// postedUser reads the user that a request is to create.
func (h *Handler) postedUser(r *request) (identity.User, error) {
	doc, err := r.body()
	if err != nil {
		return identity.User{}, err
	}
	u, active, err := h.readUser(doc)
	if err != nil {
		return identity.User{}, err
	}
	u.Active = active == nil || *active
	if err := h.checkUser(r, nil, &u); err != nil {
		return u, err
	}
	return u, h.checkPosted(&u)
}

// readUser reads a whole user; active is nil where it is not stated.
func (h *Handler) readUser(doc map[string]any) (u identity.User, active *bool, err error) {
	if h.opt.StrictReadOnly && stated(schema.Member(doc, "groups")) {
		return u, nil, &Error{Status: http.StatusBadRequest, Type: mutability, Detail: "groups is read-only: change the groups' members instead"}
	}
	canonical, err := h.users.Canonical(doc)
	if err != nil {
		return u, nil, err
	}
	u.UserName, _ = canonical["userName"].(string)
	u.ExternalID, _ = canonical["externalId"].(string)
	if v, ok := canonical["active"].(bool); ok {
		active = &v
	}
	u.Roles, err = h.directRoles(canonical["roles"])
	for _, name := range []string{"userName", "externalId", "active", "password"} {
		delete(canonical, name)
	}
	u.Attributes = canonical
	return u, active, err
}

// stated tells whether a value says anything.
func stated(v any) bool {
	if list, ok := v.([]any); ok {
		return len(list) > 0
	}
	return v != nil
}

func (h *Handler) replaceUser(r *request, id string) (answer, error) {
	version, err := r.ifMatch(func() (int64, error) {
		u, err := h.user(r.Context(), id)
		return u.Version, err
	})
	if err != nil {
		return answer{}, err
	}
	doc, err := r.body()
	if err != nil {
		return answer{}, err
	}
	whole, active, err := h.readUser(doc)
	if err != nil {
		return answer{}, err
	}
	password := schema.Member(doc, "password") != nil
	if err := h.refusePassword(password); err != nil {
		return answer{}, err
	}
	if err := h.checkUser(r, nil, &whole); err != nil {
		return answer{}, err
	}
	u, err := h.opt.Applier.ChangeUser(r.Context(), r.actor(), r.principal.Source, id, version, func(u *identity.User) error {
		before := u.Clone()
		u.UserName, u.ExternalID = whole.UserName, whole.ExternalID
		u.Attributes, u.Roles = whole.Attributes.Clone(), slices.Clone(whole.Roles)
		if active != nil {
			u.Active = *active
		}
		return h.settleReplaced(&before, u)
	})
	if err != nil {
		return answer{}, err
	}
	if password {
		if err := h.recordPassword(r, &u); err != nil {
			return answer{}, err
		}
	}
	return h.userAnswer(r, http.StatusOK, &u)
}

func (h *Handler) patchUser(r *request, id string) (answer, error) {
	version, err := r.ifMatch(func() (int64, error) {
		u, err := h.user(r.Context(), id)
		return u.Version, err
	})
	if err != nil {
		return answer{}, err
	}
	doc, err := r.body()
	if err != nil {
		return answer{}, err
	}
	ops, err := patch.Parse(doc)
	if err != nil {
		return answer{}, err
	}
	var ignored patch.Ignored
	u, err := h.opt.Applier.ChangeUser(r.Context(), r.actor(), r.principal.Source, id, version, func(u *identity.User) error {
		before := u.Clone()
		var err error
		if ignored, err = patch.User(u, h.users, ops); err != nil {
			return err
		}
		if err := h.refuseIgnored(ignored); err != nil {
			return err
		}
		if !sameValue(before.Attributes["roles"], u.Attributes["roles"]) {
			if u.Roles, err = h.directRoles(u.Attributes["roles"]); err != nil {
				return err
			}
		}
		if err := h.checkUser(r, &before, u); err != nil {
			return err
		}
		return h.checkPatched(&before, u)
	})
	if err != nil {
		return answer{}, err
	}
	if ignored.Password {
		if err := h.recordPassword(r, &u); err != nil {
			return answer{}, err
		}
	}
	return h.userAnswer(r, http.StatusOK, &u)
}

func sameValue(a, b any) bool {
	return identity.Attributes{"v": a}.Equal(identity.Attributes{"v": b})
}

func (h *Handler) refuseIgnored(ignored patch.Ignored) error {
	if h.opt.StrictReadOnly && ignored.Groups {
		return &Error{Status: http.StatusBadRequest, Type: mutability, Detail: "groups is read-only: change the groups' members instead"}
	}
	return h.refusePassword(ignored.Password)
}

func (h *Handler) refusePassword(stated bool) error {
	if h.opt.StrictReadOnly && stated {
		return &Error{Status: http.StatusBadRequest, Type: mutability, Detail: "a password cannot be changed here: users sign in at their identity provider"}
	}
	return nil
}

// recordPassword leaves a line in the audit log that a password was stated and not taken.
func (h *Handler) recordPassword(r *request, u *identity.User) error {
	return h.opt.Store.InTx(r.Context(), func(tx *store.Tx) error {
		return tx.Record(r.Context(), []identity.Event{{
			At: h.opt.Now(), Type: identity.EventRefused, Actor: r.actor(), Object: identity.ObjectUser,
			ObjectID: u.ID, Name: u.UserName, Reason: "a password was pushed and ignored: users sign in at their identity provider",
		}})
	})
}

func (h *Handler) deleteUser(r *request, id string) (answer, error) {
	version, err := r.ifMatch(func() (int64, error) {
		u, err := h.user(r.Context(), id)
		return u.Version, err
	})
	if err != nil {
		return answer{}, err
	}
	err = h.opt.Applier.DeleteUser(r.Context(), r.actor(), r.principal.Source, id, version)
	return answer{status: http.StatusNoContent}, err
}

// userAnswer answers with one user, its groups read only where they are wanted.
func (h *Handler) userAnswer(r *request, status int, u *identity.User) (answer, error) {
	docs, err := h.userDocs(r, []identity.User{*u})
	if err != nil {
		return answer{}, err
	}
	a := answer{status: status, body: docs[0], version: u.Version}
	if status == http.StatusCreated {
		a.location = r.location(h.users, u.ID)
	}
	return a, nil
}

func (r *request) location(resource *schema.Resource, id string) string {
	return r.base + resource.Endpoint + "/" + id
}

// userDocs returns users as resources, the selected part of each, their groups read in one statement.
func (h *Handler) userDocs(r *request, users []identity.User) ([]any, error) {
	selected := r.selected(h.users)
	var groups map[string][]store.GroupRef
	if selected.wants("groups") && len(users) > 0 {
		ids := make([]string, len(users))
		for i := range users {
			ids[i] = users[i].ID
		}
		var err error
		if groups, err = h.groupsOf(r, ids); err != nil {
			return nil, err
		}
	}
	docs := make([]any, len(users))
	for i := range users {
		doc := h.userDoc(r, &users[i])
		list := make([]any, 0, len(groups[users[i].ID]))
		for _, g := range groups[users[i].ID] {
			kind := "direct"
			if g.Indirect {
				kind = "indirect" // RFC 7643, section 4.1.2
			}
			list = append(list, map[string]any{
				"value": g.ID, "display": g.DisplayName, "type": kind, "$ref": r.location(h.groups, g.ID),
			})
		}
		doc["groups"] = list
		docs[i] = selected.apply(doc)
	}
	return docs, nil
}

// userDoc returns a user as a resource, without its groups.
func (h *Handler) userDoc(r *request, u *identity.User) map[string]any {
	doc := make(map[string]any, len(u.Attributes)+7)
	maps.Copy(doc, u.Attributes)
	h.dropUndeclared(doc)
	urns := []string{schema.UserURN}
	for _, s := range h.users.Extensions {
		if _, ok := doc[s.ID]; ok {
			urns = append(urns, s.ID)
		}
	}
	doc["schemas"], doc["id"], doc["userName"], doc["active"] = urns, u.ID, u.UserName, u.Active
	if u.ExternalID != "" {
		doc["externalId"] = u.ExternalID
	}
	doc["meta"] = map[string]any{
		"resourceType": h.users.Name, "location": r.location(h.users, u.ID), "version": etag(u.Version),
		"created": timestamp(u.Created), "lastModified": timestamp(u.LastModified),
	}
	return doc
}
