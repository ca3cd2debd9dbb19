package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
)

func (e *env) scimCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "scim", Short: "Switch the push endpoint on and off",
		Long: "Switch the SCIM endpoint on and off while servers run. The setting is kept in the database, and every server follows\n" +
			"it. Where the configuration declares scim.enabled, or there is no configuration file, it is decided there.",
		Example: "  idpsync scim status\n  idpsync scim enable",
	}
	enable := &cobra.Command{
		Use: "enable", Short: "Let identity providers push, from scim.activation_delay on",
		Long: "Let identity providers push. All servers begin to answer at the same instant, scim.activation_delay (30s) from now;\n" +
			"until then they answer 503 with Retry-After. From now on a sign-in makes no accounts: the identity provider says who\n" +
			"there is. There must be an active local admin on the root team, for the day that the identity provider is down.",
		Example: "  idpsync scim enable\n  idpsync scim enable --output json",
		RunE:    e.with(func(ctx context.Context, a *app.App, _ []string) error { return e.setSCIM(ctx, a, true) }),
	}
	disable := &cobra.Command{
		Use: "disable", Short: "Answer every push with 403",
		Long:    "Answer every SCIM request with 403, on every server within two seconds. Keys stay as they are.",
		Example: "  idpsync scim disable",
		RunE:    e.with(func(ctx context.Context, a *app.App, _ []string) error { return e.setSCIM(ctx, a, false) }),
	}
	status := &cobra.Command{
		Use: "status", Short: "Tell whether identity providers may push, since when, and what is missing",
		Example: "  idpsync scim status\n  idpsync scim status --output json",
		RunE: e.with(func(ctx context.Context, a *app.App, _ []string) error {
			s, err := a.SCIMStatus(ctx)
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(asSCIMJSON(&s))
			}
			return e.table(scimRows(a, &s))
		}),
	}
	c.AddCommand(enable, disable, status)
	return c
}

// setSCIM switches SCIM and says what came of it. With --output json it prints the setting.
func (e *env) setSCIM(ctx context.Context, a *app.App, on bool) error {
	set, word := a.Applier.DisableSCIM, "disabled"
	if on {
		set, word = a.Applier.EnableSCIM, "enabled"
	}
	changed, err := set(ctx, e.actor())
	var declared *lifecycle.DeclaredError
	switch {
	case errors.As(err, &declared):
		where, remedy := a.DeclaredBy()
		return fmt.Errorf("SCIM is declared %s by %s: %s", onOff(declared.On), where, remedy)
	case errors.Is(err, lifecycle.ErrNoBreakGlass):
		return fmt.Errorf("SCIM is not enabled: %w: run `idpsync admin create EMAIL` first, and keep its password where it is found when the identity provider is down", err)
	case err != nil:
		return err
	}
	s, err := a.SCIMStatus(ctx)
	if err != nil {
		return err
	}
	switch {
	case !changed && !s.Since.IsZero():
		e.say("SCIM is %s already, since %s.", word, instant(s.Since))
	case !changed:
		e.say("SCIM is %s already.", word)
	case on:
		e.say("SCIM is enabled. It answers from %s on.", instant(s.AnswersFrom))
	default:
		e.say("SCIM is disabled. Every server answers 403 within two seconds.")
	}
	if e.json() {
		return e.print(asSCIMJSON(&s))
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// scimJSON is the setting as `--output json` prints it.
type scimJSON struct {
	Enabled         bool       `json:"enabled"`
	Declared        bool       `json:"declared"`
	Since           *time.Time `json:"since"`
	ChangedBy       string     `json:"changed_by"`
	AnswersFrom     *time.Time `json:"answers_from"`
	Answering       bool       `json:"answering"`
	BreakGlass      bool       `json:"break_glass"`
	LocalAdmins     int        `json:"local_admins"`
	LiveKeys        int        `json:"live_keys"`
	JITProvisioning bool       `json:"jit_provisioning"`
}

func asSCIMJSON(s *app.SCIMStatus) scimJSON {
	return scimJSON{
		s.On, s.Declared, orNil(s.Since), changedBy(s), orNil(s.AnswersFrom), s.Answering, s.LocalAdmins > 0, s.LocalAdmins,
		s.LiveKeys, s.JITProvisioning(),
	}
}

// changedBy names who decided: the kind of actor and its name.
func changedBy(s *app.SCIMStatus) string {
	if s.By.Kind == "system" {
		return s.By.Name
	}
	return strings.TrimSpace(s.By.Kind + " " + s.By.Name)
}

func scimRows(a *app.App, s *app.SCIMStatus) [][]string {
	state, decided := onOff(s.On), "the stored setting (idpsync scim enable, disable)"
	switch {
	case s.Waiting:
		state = "off, until there is break glass"
	case s.On && !s.Answering:
		state = "on, not answering yet"
	}
	if s.Declared {
		decided, _ = a.DeclaredBy()
	}
	rows := [][]string{{"state", state}, {"decided by", decided}}
	for _, row := range []struct {
		name string
		at   time.Time
	}{{"since", s.Since}, {"answers from", s.AnswersFrom}} {
		text := "-"
		if !row.at.IsZero() {
			text = instant(row.at)
		}
		rows = append(rows, []string{row.name, text})
	}
	glass := plural(s.LocalAdmins, "active local admin") + " on the root team"
	if s.LocalAdmins == 0 {
		glass = "missing: no active local admin on the root team; run idpsync admin create EMAIL"
	}
	return append(rows,
		[]string{"changed by", dash(changedBy(s))},
		[]string{"break glass", glass},
		[]string{"live keys", fmt.Sprint(s.LiveKeys)},
		[]string{"sign-in", "just-in-time provisioning is " + onOff(s.JITProvisioning())},
	)
}
