package scim

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/scim/patch"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

func (h *Handler) getGroup(r *request, id string) (answer, error) {
	g, err := h.opt.Store.Group(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	if r.unchanged(g.Version) {
		return answer{status: http.StatusNotModified, version: g.Version}, nil
	}
	return h.groupAnswer(r, http.StatusOK, &g)
}

// groupBody is a whole group as a client states it.
type groupBody struct {
	displayName, externalID string
	members                 []string
}

func (h *Handler) readGroup(r *request) (groupBody, error) {
	doc, err := r.body()
	if err != nil {
		return groupBody{}, err
	}
	if stated(schema.Member(doc, "roles")) {
		return groupBody{}, badValue("roles can be given to users only; map the group to roles instead")
	}
	// Members may be many; they are read as ids alone.
	members, err := patch.MemberIDs(schema.Member(doc, "members"))
	if err != nil {
		return groupBody{}, err
	}
	maps.DeleteFunc(doc, func(key string, _ any) bool { return strings.EqualFold(key, "members") })
	canonical, err := h.groups.Canonical(doc)
	if err != nil {
		return groupBody{}, err
	}
	g := groupBody{members: members}
	g.displayName, _ = canonical["displayName"].(string)
	g.externalID, _ = canonical["externalId"].(string)
	if strings.TrimSpace(g.displayName) == "" {
		return groupBody{}, badValue("displayName is required")
	}
	return g, checkGroupNames(&g.displayName, &g.externalID)
}

func checkGroupNames(displayName, externalID *string) error {
	switch {
	case displayName != nil && len(*displayName) > maxName:
		return badValue("displayName is too long")
	case externalID != nil && len(*externalID) > maxName:
		return badValue("externalId is too long")
	}
	return nil
}

func (h *Handler) createGroup(r *request, _ string) (answer, error) {
	body, err := h.readGroup(r)
	if err != nil {
		return answer{}, err
	}
	g, err := h.opt.Applier.CreateGroup(r.Context(), r.actor(), r.principal.Source,
		identity.Group{DisplayName: body.displayName, ExternalID: body.externalID}, body.members)
	if err != nil {
		return answer{}, err
	}
	return h.groupAnswer(r, http.StatusCreated, &g)
}

func (h *Handler) replaceGroup(r *request, id string) (answer, error) {
	version, err := h.groupIfMatch(r, id)
	if err != nil {
		return answer{}, err
	}
	body, err := h.readGroup(r)
	if err != nil {
		return answer{}, err
	}
	g, err := h.opt.Applier.ChangeGroup(r.Context(), r.actor(), r.principal.Source, id, version, lifecycle.GroupChange{
		DisplayName: &body.displayName, ExternalID: &body.externalID,
		Members: []lifecycle.MemberOp{{Op: lifecycle.MembersSet, IDs: body.members}},
	})
	if err != nil {
		return answer{}, err
	}
	return h.groupAnswer(r, http.StatusOK, &g)
}

func (h *Handler) patchGroup(r *request, id string) (answer, error) {
	version, err := h.groupIfMatch(r, id)
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
	asked, err := patch.Group(h.groups, ops)
	if err != nil {
		return answer{}, err
	}
	if err := checkGroupNames(asked.DisplayName, asked.ExternalID); err != nil {
		return answer{}, err
	}
	g, err := h.opt.Applier.ChangeGroup(r.Context(), r.actor(), r.principal.Source, id, version, groupChange(asked))
	if err != nil {
		return answer{}, err
	}
	if r.selected(h.groups).asked {
		return h.groupAnswer(r, http.StatusOK, &g)
	}
	return answer{status: http.StatusNoContent, version: g.Version}, nil
}

func groupChange(asked patch.GroupChange) lifecycle.GroupChange {
	change := lifecycle.GroupChange{DisplayName: asked.DisplayName, ExternalID: asked.ExternalID}
	kinds := map[patch.MemberOp]lifecycle.MemberOpKind{
		patch.MembersAdd: lifecycle.MembersAdd, patch.MembersRemove: lifecycle.MembersRemove, patch.MembersSet: lifecycle.MembersSet,
	}
	for _, delta := range asked.Members {
		change.Members = append(change.Members, lifecycle.MemberOp{Op: kinds[delta.Op], IDs: delta.IDs})
	}
	return change
}

func (h *Handler) deleteGroup(r *request, id string) (answer, error) {
	version, err := h.groupIfMatch(r, id)
	if err != nil {
		return answer{}, err
	}
	err = h.opt.Applier.DeleteGroup(r.Context(), r.actor(), r.principal.Source, id, version)
	return answer{status: http.StatusNoContent}, err
}

func (h *Handler) groupIfMatch(r *request, id string) (int64, error) {
	return r.ifMatch(func() (int64, error) {
		g, err := h.opt.Store.Group(r.Context(), id)
		return g.Version, err
	})
}

func (h *Handler) groupAnswer(r *request, status int, g *identity.Group) (answer, error) {
	docs, err := h.groupDocs(r, []identity.Group{*g})
	if err != nil {
		return answer{}, err
	}
	a := answer{status: status, body: docs[0], version: g.Version}
	if status == http.StatusCreated {
		a.location = r.location(h.groups, g.ID)
	}
	return a, nil
}

// groupDocs returns groups as resources, the selected part of each. Members are read in one statement, and not at all
// where they are not wanted.
func (h *Handler) groupDocs(r *request, groups []identity.Group) ([]any, error) {
	selected := r.selected(h.groups)
	var members map[string][]store.MemberRef
	if selected.wants("members") {
		var err error
		if members, err = h.membersOf(r.Context(), groups); err != nil {
			return nil, err
		}
	}
	docs := make([]any, len(groups))
	for i := range groups {
		doc := h.groupDoc(r, &groups[i])
		list := make([]any, 0, len(members[groups[i].ID]))
		for _, m := range members[groups[i].ID] {
			list = append(list, h.memberDoc(r, &m))
		}
		doc["members"] = list
		docs[i] = selected.apply(doc)
	}
	return docs, nil
}

// memberDoc returns a member as it stands in its group: a user, or a group that is nested in it.
func (h *Handler) memberDoc(r *request, m *store.MemberRef) map[string]any {
	resource, display := h.users, m.DisplayName
	if m.Group {
		resource = h.groups
	}
	if display == "" {
		display = m.UserName
	}
	return map[string]any{"value": m.ID, "display": display, "type": resource.Name, "$ref": r.location(resource, m.ID)}
}

func (h *Handler) membersOf(ctx context.Context, groups []identity.Group) (map[string][]store.MemberRef, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	ids := make([]string, len(groups))
	for i := range groups {
		ids[i] = groups[i].ID
	}
	return h.opt.Store.MembersOfGroups(ctx, ids)
}

func (h *Handler) groupDoc(r *request, g *identity.Group) map[string]any {
	doc := make(map[string]any, len(g.Attributes)+6)
	maps.Copy(doc, g.Attributes)
	doc["schemas"], doc["id"], doc["displayName"] = []string{schema.GroupURN}, g.ID, g.DisplayName
	if g.ExternalID != "" {
		doc["externalId"] = g.ExternalID
	}
	doc["meta"] = map[string]any{
		"resourceType": h.groups.Name, "location": r.location(h.groups, g.ID), "version": etag(g.Version),
		"created": timestamp(g.Created), "lastModified": timestamp(g.LastModified),
	}
	return doc
}
