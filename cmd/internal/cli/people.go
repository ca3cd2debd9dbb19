package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
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

func asUserJSON(u *api.User) userJSON {
	return userJSON{
		ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, DisplayName: u.DisplayName, Email: u.Email, Active: u.Active,
		Reason: u.Reason, Origin: identity.Origin(u.Origin), Source: u.Source, SourceID: u.SourceID, Deleted: u.Deleted, Version: u.Version,
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
			ctx, d, err := e.desk(c.Context())
			if err != nil {
				return err
			}
			defer d.close()
			which := ""
			if active || inactive {
				which = strconv.FormatBool(active)
			}
			users, total, err := listOf[api.User](ctx, d, "/users", limit, "search", search, "source", source, "active", which)
			if err != nil {
				return err
			}
			head := []string{"USER", "NAME", "STATE", "ORIGIN", "SOURCE", "CHANGED"}
			object := func(u *api.User) any { return asUserJSON(u) }
			err = printList(e, head, users, object, func(u *api.User) []string {
				return []string{u.UserName, u.DisplayName, stateText(u), u.Origin, dash(u.Source), u.LastModified.Format(time.RFC3339)}
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
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			found, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			u, err := get[api.UserDetail](ctx, d, "/users"+part(found.ID))
			if err != nil {
				return err
			}
			out := asUserJSON(&u.User)
			out.Attributes = u.Attributes
			for _, g := range u.Groups {
				out.Groups = append(out.Groups, g.DisplayName)
			}
			if e.json() {
				return e.print(out)
			}
			rows := [][]string{
				{"id", u.ID},
				{"userName", u.UserName},
				{"externalId", dash(u.ExternalID)},
				{"state", stateText(&u.User)},
				{"origin", u.Origin},
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

func stateText(u *api.User) string {
	switch {
	case u.Deleted:
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

func asGroupJSON(g *api.Group) groupJSON {
	return groupJSON{
		ID: g.ID, DisplayName: g.DisplayName, ExternalID: g.ExternalID, Source: g.Source, SourceID: g.SourceID,
		Members: g.Members, Version: g.Version, Created: g.Created, LastModified: g.LastModified,
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
			ctx, d, err := e.desk(c.Context())
			if err != nil {
				return err
			}
			defer d.close()
			groups, total, err := listOf[api.Group](ctx, d, "/groups", limit, "search", search, "source", source)
			if err != nil {
				return err
			}
			head := []string{"GROUP", "MEMBERS", "SOURCE", "ID", "CHANGED"}
			object := func(g *api.Group) any { return asGroupJSON(g) }
			err = printList(e, head, groups, object, func(g *api.Group) []string {
				return []string{g.DisplayName, fmt.Sprint(g.Members), dash(g.Source), g.ID, g.LastModified.Format(time.RFC3339)}
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
		RunE: e.with(func(ctx context.Context, d *desk, args []string) error {
			found, err := d.findGroup(ctx, args[0])
			if err != nil {
				return err
			}
			g, err := get[api.GroupDetail](ctx, d, "/groups"+part(found.ID))
			if err != nil {
				return err
			}
			members, _, err := listOf[api.Member](ctx, d, "/groups"+part(g.ID)+"/members", 0)
			if err != nil {
				return err
			}
			out := asGroupJSON(&g.Group)
			var gives []string
			for _, grant := range g.Grants {
				out.Grants = append(out.Grants, identity.TeamRole(grant))
				gives = append(gives, grant.Team+":"+grant.Role)
			}
			for _, m := range members {
				out.MemberNames = append(out.MemberNames, m.UserName)
			}
			slices.Sort(out.MemberNames)
			for _, nested := range g.Nested {
				out.MemberNames = append(out.MemberNames, "group "+nested.DisplayName)
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
				{"members", fmt.Sprintf("%d: %s", g.Members, strings.Join(out.MemberNames, ", "))},
				{"changed", g.LastModified.Format(time.RFC3339)},
			})
		}),
	}
	c.AddCommand(list, show)
	return c
}
