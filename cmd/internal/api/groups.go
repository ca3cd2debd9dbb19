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

// Group is a group as held.
type Group struct {
	ID           string    `json:"id"`
	DisplayName  string    `json:"display_name"`
	ExternalID   string    `json:"external_id,omitempty"`
	Source       string    `json:"source,omitempty" doc:"The connector or SCIM key that owns it."`
	SourceID     string    `json:"source_id,omitempty"`
	TeamID       string    `json:"team_id,omitempty"`
	Members      int       `json:"members"`
	Version      int64     `json:"version"`
	Created      time.Time `json:"created"`
	LastModified time.Time `json:"last_modified"`

	Grants []TeamRole `json:"grants" nullable:"false" doc:"What it gives its members."`
}

// GroupDetail is a group with the groups in it and around it.
type GroupDetail struct {
	Group
	Nested []GroupRef `json:"nested" nullable:"false" doc:"Groups that are members of it."`
	Around []GroupRef `json:"around" nullable:"false" doc:"Groups that it is in; indirect are those that it is in only by others."`
}

// Member is a person who is a member of a group.
type Member struct {
	ID          string `json:"id"`
	UserName    string `json:"user_name"`
	DisplayName string `json:"display_name"`
	Active      bool   `json:"active"`
}

func groupOf(g *identity.Group) Group {
	return Group{
		ID: g.ID, DisplayName: g.DisplayName, ExternalID: g.ExternalID, Source: g.Source, SourceID: g.SourceID, TeamID: g.TeamID,
		Members: g.MemberCount, Version: g.Version, Created: g.Created, LastModified: g.LastModified, Grants: []TeamRole{},
	}
}

func groupRefs(groups []store.GroupRef) []GroupRef {
	return each(groups, func(g *store.GroupRef) GroupRef { return GroupRef{g.ID, g.DisplayName, g.Indirect} })
}

// told returns groups as the API tells them, with what they give.
func (a *API) told(ctx context.Context, groups []identity.Group) ([]Group, error) {
	grants, err := a.o.Store.GroupGrants(ctx, each(groups, func(g *identity.Group) string { return g.ID }))
	if err != nil {
		return nil, err
	}
	return each(groups, func(g *identity.Group) Group {
		out := groupOf(g)
		for _, grant := range grants[g.ID] {
			out.Grants = append(out.Grants, TeamRole{grant.TeamName, grant.Role})
		}
		return out
	}), nil
}

const tagGroups = "groups"

func (a *API) registerGroups() {
	add(a, operation{
		id: "list-groups", method: http.MethodGet, path: "/groups", tag: tagGroups, need: needViewer, summary: "List groups, in the order in which they came",
	}, a.listGroups)
	add(a, operation{
		id: "show-group", method: http.MethodGet, path: "/groups/{id}", tag: tagGroups, need: needViewer, summary: "Show a group with what it gives its members",
	}, func(ctx context.Context, in *ByID) (*bodyOf[GroupDetail], error) {
		g, err := a.o.Store.Group(ctx, in.ID)
		if err != nil {
			return nil, noGroup(err)
		}
		out, err := a.told(ctx, []identity.Group{g})
		if err != nil {
			return nil, err
		}
		nested, err := a.o.Store.NestedIn(ctx, g.ID)
		if err != nil {
			return nil, err
		}
		around, err := a.o.Store.GroupsAround(ctx, g.ID)
		if err != nil {
			return nil, err
		}
		return &bodyOf[GroupDetail]{GroupDetail{Group: out[0], Nested: groupRefs(nested), Around: groupRefs(around)}}, nil
	})
	add(a, operation{
		id: "list-group-members", method: http.MethodGet, path: "/groups/{id}/members", tag: tagGroups, need: needViewer,
		summary: "List the people who are members of a group themselves",
	}, a.listMembers)
}

func noGroup(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return notFound("there is no such group")
	}
	return err
}

func (a *API) listGroups(ctx context.Context, in *struct {
	Group  string `query:"group" maxLength:"1000" doc:"Only the group with this id, displayName or externalId; other filters do not count then."`
	Search string `query:"search" maxLength:"200" doc:"The name contains this."`
	Source string `query:"source" maxLength:"200" doc:"Owned by this connector or SCIM key."`
	Paging
},
) (*bodyOf[Page[Group]], error) {
	if in.Group != "" {
		groups, err := a.groupsNamed(ctx, in.Group)
		if err != nil {
			return nil, err
		}
		n := len(groups)
		items, err := a.told(ctx, groups)
		return &bodyOf[Page[Group]]{Page[Group]{Items: items, Total: &n}}, err
	}
	var where store.And
	if in.Search != "" {
		where = append(where, store.Compare{Field: store.FieldDisplayName, Op: store.OpCo, Value: in.Search})
	}
	if in.Source != "" {
		where = append(where, store.Compare{Field: store.FieldSource, Op: store.OpEq, Value: in.Source})
	}
	after, err := in.number("group")
	if err != nil {
		return nil, err
	}
	q := store.GroupQuery{Where: where, Limit: in.Limit + 1}
	if after > 0 {
		q.After, q.NoTotal = &store.Position{Seq: after}, true
	}
	found, err := a.o.Store.GroupPage(ctx, q)
	if err != nil {
		return nil, err
	}
	items, err := a.told(ctx, found.Groups)
	if err != nil {
		return nil, err
	}
	page := pageOf(items, in.Limit, "group", func(*Group) string {
		return strconv.FormatInt(found.Groups[in.Limit-1].Seq, 10)
	})
	if after == 0 {
		page.Total = &found.Total
	}
	return &bodyOf[Page[Group]]{page}, nil
}

// groupsNamed returns the groups that an id, a displayName or an externalId means.
func (a *API) groupsNamed(ctx context.Context, name string) ([]identity.Group, error) {
	g, err := a.o.Store.Group(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		g, err = a.o.Store.GroupByName(ctx, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return []identity.Group{g}, err
	}
	groups, _, err := a.o.Store.Groups(ctx, store.GroupQuery{Where: store.Compare{Field: store.FieldExternalID, Op: store.OpEq, Value: name}, Limit: severalNamed})
	return groups, err
}

func (a *API) listMembers(ctx context.Context, in *struct {
	ByID
	Paging
},
) (*bodyOf[Page[Member]], error) {
	after, err := in.position("member")
	if err != nil {
		return nil, err
	}
	g, err := a.o.Store.Group(ctx, in.ID)
	if err != nil {
		return nil, noGroup(err)
	}
	if after != "" {
		if _, err := a.o.Store.User(ctx, after); errors.Is(err, store.ErrNotFound) {
			return nil, errCursor()
		}
	}
	ids, err := a.o.Store.MemberIDs(ctx, g.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	users, err := a.o.Store.UsersByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	page := pageOf(each(ids, func(id *string) Member {
		u := users[*id]
		return Member{*id, u.UserName, u.DisplayName(), u.Active}
	}), in.Limit, "member", func(m *Member) string { return m.ID })
	page.Total = &g.MemberCount
	return &bodyOf[Page[Member]]{page}, nil
}
