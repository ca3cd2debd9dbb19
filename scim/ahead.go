package scim

import (
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// ahead tells which user a request is certain to read, if any, so that the database is asked for her together with the
// key. What comes back is used only after the key was found good.
func (h *Handler) ahead(r *request) *store.UserLookup {
	if r.Method != http.MethodGet || r.badQuery || len(r.segments) == 0 || r.segments[0] != "Users" {
		return nil
	}
	if len(r.segments) == 2 && !strings.HasPrefix(r.segments[1], ".") {
		return &store.UserLookup{ID: r.segments[1]}
	}
	if len(r.segments) == 1 {
		return h.aheadOfList(r)
	}
	return nil
}

// aheadOfList looks for the filter by which identity providers ask whether somebody exists: userName eq "...".
func (h *Handler) aheadOfList(r *request) *store.UserLookup {
	for name := range r.query {
		switch name {
		case "filter", "attributes", "excludedAttributes", "startIndex", "count":
		default:
			return nil
		}
	}
	e, err := filter.Parse(r.query.Get("filter"))
	if err != nil {
		return nil
	}
	c, ok := e.(filter.Compare)
	if !ok || c.Op != filter.Eq || c.Value.Kind != filter.Text {
		return nil
	}
	if ref, ok := h.users.Lookup(c.Attr.Schema, c.Attr.Name, c.Attr.Sub); !ok || ref.String() != "userName" {
		return nil
	}
	return &store.UserLookup{UserName: c.Value.Text}
}

// userAhead reads a user, unless that was done together with the key.
func (h *Handler) userAhead(r *request, id string) (identity.User, error) {
	if l := r.lookup; l != nil && l.Done && l.ID == id {
		if !l.Found {
			return identity.User{}, store.ErrNotFound
		}
		return l.User, nil
	}
	return h.user(r.Context(), id)
}

// groupsOf reads the groups of users, unless that was done together with the key.
func (h *Handler) groupsOf(r *request, ids []string) (map[string][]store.GroupRef, error) {
	if l := r.lookup; l != nil && l.Done && len(ids) == 1 && l.Found && l.User.ID == ids[0] {
		return map[string][]store.GroupRef{ids[0]: l.Groups}, nil
	}
	return h.opt.Store.GroupsOfUsers(r.Context(), ids)
}
