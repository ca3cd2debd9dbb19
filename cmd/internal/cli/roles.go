package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store/identity"
)

func (e *env) rolesCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "roles", Short: "Say which groups and people get which roles on which teams",
		Long: "Say which groups and people get which roles on which teams.\n\n" +
			"The role mapping gives the members of a group roles on teams. It is kept in the database, unless the configuration\n" +
			"declares role_mapping: then it is changed there. A change is a plan that says who gains and who loses what; one by\n" +
			"which too many people lose a role (role_guard) is held until it is approved by its hash.",
		Example: "  idpsync roles list\n  idpsync roles map Engineering Payments:operator --dry-run\n  idpsync roles who root:admin",
	}
	c.AddCommand(e.rolesList(), e.rolesMap(), e.rolesUnmap(), e.rolesApply(), e.rolesGrant(), e.rolesRevoke(), newRolesWho(e))
	return c
}

// teamRole reads TEAM:ROLE; the team may have colons in its name.
func teamRole(text string) (identity.TeamRole, error) {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 || i == len(text)-1 {
		return identity.TeamRole{}, usageError{fmt.Errorf("%q: want TEAM:ROLE, for example Payments:operator", text)}
	}
	return identity.TeamRole{Team: strings.TrimSpace(text[:i]), Role: text[i+1:]}, nil
}

func teamRoles(texts []string) ([]identity.TeamRole, error) {
	var list []identity.TeamRole
	for _, text := range texts {
		one, err := teamRole(text)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, nil
}

// mappedJSON is a rule of the role mapping as `--output json` prints it.
type mappedJSON struct {
	Group    string         `json:"group"`
	GroupID  string         `json:"group_id"`
	Members  int            `json:"members"`
	Grants   []api.TeamRole `json:"grants"`
	Declared bool           `json:"declared"`
}

func (e *env) rolesList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the role mapping that is in force", Example: "  idpsync roles list --output json",
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			mapping, err := get[api.Mapping](ctx, d, "/role-mappings")
			if err != nil {
				return err
			}
			object := func(rule *api.Rule) any {
				m := mappedJSON{Group: rule.Group, GroupID: rule.GroupID, Grants: rule.Grants, Declared: mapping.Declared}
				if rule.Members != nil {
					m.Members = *rule.Members
				}
				return m
			}
			err = printList(e, []string{"GROUP", "GIVES", "MEMBERS"}, mapping.Items, object, func(rule *api.Rule) []string {
				members := "no such group yet"
				if rule.Members != nil {
					members = strconv.Itoa(*rule.Members)
				}
				return []string{rule.Group, grantsText(rule.Grants), members}
			})
			if err != nil || e.json() {
				return err
			}
			if role := mapping.DefaultRole; role != "" {
				e.say("Every group gives its members %s on its own team (default_role).", role)
			}
			if !mapping.Declared {
				return nil
			}
			e.say("The configuration declares the role mapping: change role_mapping there.")
			switch {
			case mapping.Problem != "":
				e.say("It is not in force: %s", mapping.Problem)
			case mapping.Waiting != nil:
				e.say("It says something else than what is in force: idpsync roles apply --dry-run shows what, idpsync roles apply does it.")
			}
			return nil
		}),
	}
}

func grantsText(grants []api.TeamRole) string {
	texts := make([]string, len(grants))
	for i, g := range grants {
		texts[i] = g.Team + ":" + g.Role
	}
	return strings.Join(texts, ", ")
}

// remapFlags are what all commands that change the mapping take.
type remapFlags struct {
	dryRun bool
	hash   string
	lines  int
}

func (f *remapFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "say who would gain and lose what, and change nothing")
	c.Flags().StringVar(&f.hash, "plan", "", "approve the plan with this `HASH`, which the guard held")
	c.Flags().IntVar(&f.lines, "lines", defaultLines, "print at most `N` people as text, 0 for all")
}

const remapStatus = "\n\nExit status: 0 done, 1 error or refused, 2 changes present (--dry-run), 3 held by the guard."

func (e *env) rolesMap() *cobra.Command {
	var f remapFlags
	c := &cobra.Command{
		Use:   "map GROUP TEAM:ROLE...",
		Short: "Let a group give its members roles on teams",
		Long: "Let a group give its members roles on teams, beside what it gives already. GROUP is a displayName, an externalId or\n" +
			"an id; it need not be there yet. A team that is not there is made." + remapStatus,
		Example: "  idpsync roles map Engineering Payments:operator --dry-run\n  idpsync roles map \"Platform Admins\" root:admin Payments:operator",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{errors.New("idpsync roles map GROUP TEAM:ROLE... wants a group and what it gives")}
			}
			grants, err := teamRoles(args[1:])
			if err != nil {
				return err
			}
			return e.remap(c.Context(), http.MethodPost, "/role-mappings", object{"group": args[0], "grants": grants, "add": true}, f)
		},
	}
	f.add(c)
	return c
}

func (e *env) rolesUnmap() *cobra.Command {
	var f remapFlags
	c := &cobra.Command{
		Use:     "unmap GROUP [TEAM:ROLE...]",
		Short:   "Let a group no longer give roles, or these roles",
		Long:    "Let a group no longer give its members these roles, or any. What people hold for another reason they keep." + remapStatus,
		Example: "  idpsync roles unmap Engineering --dry-run\n  idpsync roles unmap \"Platform Admins\" root:admin",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("GROUP is missing: idpsync roles unmap GROUP [TEAM:ROLE...]")}
			}
			grants, err := teamRoles(args[1:])
			if err != nil {
				return err
			}
			body := object{"group": args[0]}
			if len(grants) > 0 {
				body["grants"] = grants
			}
			return e.remap(c.Context(), http.MethodPost, "/role-mappings/unmap", body, f)
		},
	}
	f.add(c)
	return c
}

func (e *env) rolesApply() *cobra.Command {
	var f remapFlags
	var file string
	c := &cobra.Command{
		Use:   "apply [-f FILE]",
		Short: "Make the role mapping exactly what a file says",
		Long: "Make the role mapping exactly what a file says: a YAML list, as role_mapping in a configuration. Groups that the\n" +
			"file does not name give nothing but the default role any more. `-f -` reads standard input.\n\n" +
			"Without -f, put in force what the configuration declares: a server does that when it starts, unless the guard\n" +
			"holds it." + remapStatus,
		Example: "  idpsync roles apply -f mapping.yaml --dry-run\n  idpsync roles apply -f mapping.yaml --plan sha256:5f2c...",
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return e.remap(c.Context(), http.MethodPost, "/role-mappings/apply", object{}, f)
			}
			rules, err := e.readMapping(file)
			if err != nil {
				return err
			}
			return e.remap(c.Context(), http.MethodPut, "/role-mappings", object{"items": rules}, f)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "read the role mapping from `FILE`, - for standard input")
	f.add(c)
	return c
}

// mostMapping bounds what is read of a role mapping.
const mostMapping = 8 << 20

func (e *env) readMapping(file string) ([]api.RuleIn, error) {
	in := e.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, mostMapping))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	list, err := configs.ParseRoleMapping(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	rules := []api.RuleIn{}
	for i, m := range list {
		rule := api.RuleIn{Group: m.Group}
		for _, g := range m.Grants {
			rule.Grants = append(rule.Grants, api.TeamRole{Team: g.Team, Role: g.Role})
		}
		if identity.Normalize(m.Group) == "" || len(rule.Grants) == 0 {
			return nil, fmt.Errorf("%s: entry %d: want a group and what it grants", file, i+1)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// remap changes the role mapping by an operation of the API, and prints what that came to, or would.
func (e *env) remap(ctx context.Context, method, path string, body object, f remapFlags) error {
	if err := atLeast("lines", f.lines, 0); err != nil {
		return err
	}
	if f.dryRun {
		body["dry_run"] = true
	}
	if f.hash != "" {
		body["plan_hash"] = f.hash
	}
	ctx, d, err := e.desk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	p, err := client.Do[*api.MappingPlan](ctx, d.Client, method, path, nil, body)
	if changed := answered(err, problemChanged); changed != nil && changed.Plan != nil {
		return fmt.Errorf("%w: it is %s now; look at it with --dry-run", lifecycle.ErrPlanChanged, changed.Plan.PlanHash)
	}
	if held := answered(err, problemHeld); held != nil && held.Plan != nil {
		p, err = held.Plan, nil
	}
	if err != nil {
		return err
	}
	if err := e.printRemap(p, f.lines); err != nil {
		return err
	}
	switch {
	case p.Empty():
		return nil
	case p.Status == "held":
		return asStatus(exitHeld)
	case !p.Applied:
		return asStatus(exitChanges)
	}
	return nil
}

func (e *env) printRemap(p *api.MappingPlan, lines int) error {
	if e.json() {
		return e.printRemapJSON(p)
	}
	if p.Empty() {
		e.say("Nothing to change: the role mapping is so.")
		return nil
	}
	color, n := e.palette(), 0
	for _, r := range p.Rules {
		for _, g := range r.Added {
			fmt.Fprintln(e.out, color.paint(green, fmt.Sprintf("+ group %s gives %s:%s", r.Group, g.Team, g.Role)))
		}
		for _, g := range r.Removed {
			fmt.Fprintln(e.out, color.paint(red, fmt.Sprintf("- group %s gives %s:%s", r.Group, g.Team, g.Role)))
		}
	}
	if role := p.Default; role != nil {
		fmt.Fprintln(e.out, color.paint(yellow, fmt.Sprintf("~ default_role %q -> %q", role.Before, role.After)))
	}
	for _, part := range []struct {
		list       []api.RoleEffect
		sign, verb string
		color      string
	}{{p.Gains, "+", "gains", green}, {p.Losses, "-", "loses", red}} {
		for _, r := range part.list {
			if n++; lines == 0 || n <= lines {
				fmt.Fprintln(e.out, color.paint(part.color, fmt.Sprintf("%s %s %s %s:%s", part.sign, r.UserName, part.verb, r.Team, r.Role)))
			}
		}
	}
	if lines > 0 && n > lines {
		fmt.Fprintln(e.out, color.paint(dim, fmt.Sprintf("  ... and %d more", n-lines)))
	}
	if p.Guard != "" && !p.Applied {
		fmt.Fprintln(e.out, color.paint(yellow, "! held ("+p.Guard+")"))
		e.say("Nothing was changed. To do it all the same: the same command with --plan %s", p.PlanHash)
	}
	fmt.Fprintf(e.out, "Role mapping %s: %d gained, %d lost, by %d groups.\n", p.Status, len(p.Gains), len(p.Losses), len(p.Groups))
	return nil
}

func (e *env) printRemapJSON(p *api.MappingPlan) error {
	for _, r := range p.Rules {
		if err := e.print(map[string]any{"type": "rule", "group": r.Group, "added": r.Added, "removed": r.Removed}); err != nil {
			return err
		}
	}
	for _, g := range p.Groups {
		if err := e.print(map[string]any{"type": "group", "id": g.ID, "name": g.Name, "members": g.Members, "added": g.Added, "removed": g.Removed}); err != nil {
			return err
		}
	}
	for i, list := range [][]api.RoleEffect{p.Gains, p.Losses} {
		for _, r := range list {
			if err := e.print(map[string]any{"type": []string{"gain", "loss"}[i], "user_id": r.UserID, "user_name": r.UserName, "team": r.Team, "role": r.Role}); err != nil {
				return err
			}
		}
	}
	return e.print(map[string]any{
		"type": "mapping", "status": p.Status, "plan_hash": p.PlanHash, "guard": p.Guard, "gains": len(p.Gains), "losses": len(p.Losses), "losing": p.Losing,
	})
}

func (e *env) rolesGrant() *cobra.Command {
	return &cobra.Command{
		Use: "grant USER TEAM:ROLE...", Short: "Give a person roles by hand",
		Long: "Give a person roles on teams by hand. They stand beside what groups and the identity provider give, until they are\n" +
			"taken away by hand.",
		Example: "  idpsync roles grant ana@acme.test Payments:operator",
		Args:    cobra.ArbitraryArgs,
		RunE:    e.byHand("grant", "%s has %s:%s by hand already.", "Gave %s %s:%s."),
	}
}

func (e *env) rolesRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke USER TEAM:ROLE...", Short: "Take away roles that were given by hand",
		Long: "Take away roles that were given to a person by hand. What groups and the identity provider give stays: end that\n" +
			"there, or with `roles unmap`.",
		Example: "  idpsync roles revoke ana@acme.test Payments:operator",
		Args:    cobra.ArbitraryArgs,
		RunE:    e.byHand("revoke", "", "Took %[2]s:%[3]s from %[1]s."),
	}
}

// byHand makes the body of a command that gives or takes roles. already is what is said where nothing changes.
func (e *env) byHand(name, already, done string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usageError{fmt.Errorf("idpsync roles %s USER TEAM:ROLE... wants a person and what role", name)}
		}
		grants, err := teamRoles(args[1:])
		if err != nil {
			return err
		}
		return e.with(func(ctx context.Context, d *desk, _ []string) error {
			u, err := d.findUser(ctx, args[0])
			if err != nil {
				return err
			}
			for _, g := range grants {
				changed, err := d.grant(ctx, name == "grant", &u, g)
				switch {
				case err != nil:
					return err
				case changed:
					e.say(done, u.UserName, g.Team, g.Role)
				default:
					e.say(already, u.UserName, g.Team, g.Role)
				}
			}
			return nil
		})(c, args)
	}
}

// grant gives a person a role by hand, or takes it, and tells whether that changed something.
func (d *desk) grant(ctx context.Context, give bool, u *api.User, role identity.TeamRole) (bool, error) {
	if u.Deleted {
		return false, fmt.Errorf("%s is deleted", u.UserName)
	}
	var g api.Grant
	var err error
	if give {
		g, err = post[api.Grant](ctx, d, "/grants", object{"user": u.ID, "team": role.Team, "role": role.Role})
	} else {
		g, err = remove[api.Grant](ctx, d, "/grants", "user", u.ID, "team", role.Team, "role", role.Role)
	}
	return g.Changed, err
}
