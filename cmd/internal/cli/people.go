package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// userJSON is a user as `--output json` prints it.
type userJSON struct {
	ID           string              `json:"id"`
	UserName     string              `json:"user_name"`
	ExternalID   string              `json:"external_id,omitempty"`
	DisplayName  string              `json:"display_name"`
	Email        string              `json:"email,omitempty"`
	Active       bool                `json:"active"`
	Reason       string              `json:"reason,omitempty"`
	Origin       identity.Origin     `json:"origin"`
	Source       string              `json:"source,omitempty"`
	SourceID     string              `json:"source_id,omitempty"`
	Deleted      bool                `json:"deleted,omitempty"`
	Version      int64               `json:"version"`
	Created      time.Time           `json:"created"`
	LastModified time.Time           `json:"last_modified"`
	Attributes   identity.Attributes `json:"attributes,omitempty"`
	Groups       []string            `json:"groups,omitempty"`
}

func asUserJSON(u *identity.User) userJSON {
	return userJSON{
		ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, DisplayName: u.DisplayName(), Email: u.Email(), Active: u.Active,
		Reason: u.Reason, Origin: u.Origin, Source: u.Source, SourceID: u.SourceID, Deleted: u.Deleted(), Version: u.Version,
		Created: u.Created, LastModified: u.LastModified,
	}
}

func (e *env) usersCommand() *cobra.Command {
	c := &cobra.Command{Use: "users", Short: "Look at people; deactivate local accounts", Example: "  idpsync users list --inactive\n  idpsync users show ana@acme.test"}
	var search, source string
	var active, inactive bool
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List people, in the order in which they came",
		Example: "  idpsync users list --search ana\n  idpsync users list --inactive --source okta --output json",
		RunE: func(c *cobra.Command, _ []string) error {
			if active && inactive {
				return usageError{errors.New("--active and --inactive exclude each other")}
			}
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			a, err := e.open(c.Context(), true)
			if err != nil {
				return err
			}
			defer a.Close()
			var where store.And
			if search != "" {
				where = append(where, store.Or{
					store.Compare{Field: store.FieldUserName, Op: store.OpCo, Value: search},
					store.Compare{Field: store.FieldDisplayName, Op: store.OpCo, Value: search},
					store.Compare{Field: store.FieldEmail, Op: store.OpCo, Value: search},
				})
			}
			if source != "" {
				where = append(where, store.Compare{Field: store.FieldSource, Op: store.OpEq, Value: source})
			}
			if active || inactive {
				where = append(where, store.Compare{Field: store.FieldActive, Op: store.OpEq, Value: active})
			}
			users, total, err := a.Store.Users(c.Context(), store.UserQuery{Where: where, Limit: limit, Deleted: true})
			if err != nil {
				return err
			}
			head := []string{"USER", "NAME", "STATE", "ORIGIN", "SOURCE", "CHANGED"}
			object := func(u *identity.User) any { return asUserJSON(u) }
			err = printList(e, head, users, object, func(u *identity.User) []string {
				return []string{u.UserName, u.DisplayName(), stateText(u), string(u.Origin), dash(u.Source), u.LastModified.Format(time.RFC3339)}
			})
			e.sayOf(len(users), total)
			return err
		},
	}
	list.Flags().StringVar(&search, "search", "", "only people whose userName, name or e-mail address contains `TEXT`")
	list.Flags().StringVar(&source, "source", "", "only people whom the connector or key `NAME` owns")
	list.Flags().BoolVar(&active, "active", false, "only active people")
	list.Flags().BoolVar(&inactive, "inactive", false, "only deactivated people")
	list.Flags().IntVar(&limit, "limit", 100, "list at most `N` people")
	show := &cobra.Command{
		Use: "show USER", Short: "Show a person (by userName, id or externalId)", Args: oneArg("USER"),
		Example: "  idpsync users show ana@acme.test\n  idpsync users show 00u1a2b3c4d5e6f7g8h9 --output json",
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			u, err := a.FindUser(ctx, args[0])
			if err != nil {
				return err
			}
			groups, err := a.Store.GroupsOfUsers(ctx, []string{u.ID})
			if err != nil {
				return err
			}
			out := asUserJSON(&u)
			out.Attributes = u.Attributes
			for _, g := range groups[u.ID] {
				out.Groups = append(out.Groups, g.DisplayName)
			}
			if e.json() {
				return e.print(out)
			}
			rows := [][]string{
				{"id", u.ID},
				{"userName", u.UserName},
				{"externalId", dash(u.ExternalID)},
				{"state", stateText(&u)},
				{"origin", string(u.Origin)},
				{"source", strings.TrimSpace(dash(u.Source) + " " + u.SourceID)},
				{"groups", dash(strings.Join(out.Groups, ", "))},
				{"version", fmt.Sprint(u.Version)},
				{"created", u.Created.Format(time.RFC3339)},
				{"changed", u.LastModified.Format(time.RFC3339)},
			}
			for _, key := range slices.Sorted(maps.Keys(u.Attributes)) {
				rows = append(rows, []string{key, valueText(u.Attributes[key])})
			}
			return e.table(rows)
		}),
	}
	c.AddCommand(list, show, e.usersDeactivate(), e.usersReactivate(), e.usersUnlink())
	return c
}

func stateText(u *identity.User) string {
	switch {
	case u.Deleted():
		return "deleted over SCIM"
	case u.Active:
		return "active"
	case u.Reason != "":
		return "inactive (" + u.Reason + ")"
	}
	return "inactive"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// groupJSON is a group as `--output json` prints it.
type groupJSON struct {
	ID           string              `json:"id"`
	DisplayName  string              `json:"display_name"`
	ExternalID   string              `json:"external_id,omitempty"`
	Source       string              `json:"source,omitempty"`
	SourceID     string              `json:"source_id,omitempty"`
	Members      int                 `json:"members"`
	Version      int64               `json:"version"`
	Created      time.Time           `json:"created"`
	LastModified time.Time           `json:"last_modified"`
	Grants       []identity.TeamRole `json:"grants,omitempty"`
	MemberNames  []string            `json:"member_names,omitempty"`
}

func asGroupJSON(g *identity.Group) groupJSON {
	return groupJSON{
		ID: g.ID, DisplayName: g.DisplayName, ExternalID: g.ExternalID, Source: g.Source, SourceID: g.SourceID,
		Members: g.MemberCount, Version: g.Version, Created: g.Created, LastModified: g.LastModified,
	}
}

func (e *env) groupsCommand() *cobra.Command {
	c := &cobra.Command{Use: "groups", Short: "Look at groups", Example: "  idpsync groups list\n  idpsync groups show Engineering"}
	var search, source string
	var limit int
	list := &cobra.Command{
		Use: "list", Short: "List groups, in the order in which they came", Example: "  idpsync groups list --search sales",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			a, err := e.open(c.Context(), true)
			if err != nil {
				return err
			}
			defer a.Close()
			var where store.And
			if search != "" {
				where = append(where, store.Compare{Field: store.FieldDisplayName, Op: store.OpCo, Value: search})
			}
			if source != "" {
				where = append(where, store.Compare{Field: store.FieldSource, Op: store.OpEq, Value: source})
			}
			groups, total, err := a.Store.Groups(c.Context(), store.GroupQuery{Where: where, Limit: limit})
			if err != nil {
				return err
			}
			head := []string{"GROUP", "MEMBERS", "SOURCE", "ID", "CHANGED"}
			object := func(g *identity.Group) any { return asGroupJSON(g) }
			err = printList(e, head, groups, object, func(g *identity.Group) []string {
				return []string{g.DisplayName, fmt.Sprint(g.MemberCount), dash(g.Source), g.ID, g.LastModified.Format(time.RFC3339)}
			})
			e.sayOf(len(groups), total)
			return err
		},
	}
	list.Flags().StringVar(&search, "search", "", "only groups whose name contains `TEXT`")
	list.Flags().StringVar(&source, "source", "", "only groups that the connector or key `NAME` owns")
	list.Flags().IntVar(&limit, "limit", 100, "list at most `N` groups")
	show := &cobra.Command{
		Use: "show GROUP", Short: "Show a group (by displayName, id or externalId) with members and what it grants", Args: oneArg("GROUP"),
		Example: "  idpsync groups show Engineering",
		RunE: e.with(func(ctx context.Context, a *app.App, args []string) error {
			g, err := a.FindGroup(ctx, args[0])
			if err != nil {
				return err
			}
			grants, err := a.Store.GroupGrants(ctx, []string{g.ID})
			if err != nil {
				return err
			}
			members, err := a.Store.MembersOfGroups(ctx, []string{g.ID})
			if err != nil {
				return err
			}
			out := asGroupJSON(&g)
			var gives []string
			for _, grant := range grants[g.ID] {
				out.Grants = append(out.Grants, identity.TeamRole{Team: grant.TeamName, Role: grant.Role})
				gives = append(gives, grant.TeamName+":"+grant.Role)
			}
			for _, m := range members[g.ID] {
				name := m.UserName
				if m.Group {
					name = "group " + m.DisplayName
				}
				out.MemberNames = append(out.MemberNames, name)
			}
			if e.json() {
				return e.print(out)
			}
			return e.table([][]string{
				{"id", g.ID},
				{"displayName", g.DisplayName},
				{"externalId", dash(g.ExternalID)},
				{"source", strings.TrimSpace(dash(g.Source) + " " + g.SourceID)},
				{"grants", dash(strings.Join(gives, ", "))},
				{"members", fmt.Sprintf("%d: %s", g.MemberCount, strings.Join(out.MemberNames, ", "))},
				{"changed", g.LastModified.Format(time.RFC3339)},
			})
		}),
	}
	c.AddCommand(list, show)
	return c
}
