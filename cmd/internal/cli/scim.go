package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/idpsync/idpsync/cmd/internal/api"
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
		RunE:    e.with(func(ctx context.Context, d *desk, _ []string) error { return e.setSCIM(ctx, d, true) }),
	}
	disable := &cobra.Command{
		Use: "disable", Short: "Answer every push with 403",
		Long:    "Answer every SCIM request with 403, on every server within two seconds. Keys stay as they are.",
		Example: "  idpsync scim disable",
		RunE:    e.with(func(ctx context.Context, d *desk, _ []string) error { return e.setSCIM(ctx, d, false) }),
	}
	status := &cobra.Command{
		Use: "status", Short: "Tell whether identity providers may push, since when, and what is missing",
		Example: "  idpsync scim status\n  idpsync scim status --output json",
		RunE: e.with(func(ctx context.Context, d *desk, _ []string) error {
			s, err := get[api.SCIMSetting](ctx, d, "/settings/scim")
			if err != nil {
				return err
			}
			if e.json() {
				return e.print(asSCIMJSON(&s))
			}
			return e.table(scimRows(&s))
		}),
	}
	c.AddCommand(enable, disable, status)
	return c
}

// setSCIM switches SCIM and says what came of it. With --output json it prints the setting.
func (e *env) setSCIM(ctx context.Context, d *desk, on bool) error {
	word := "disabled"
	if on {
		word = "enabled"
	}
	s, err := post[api.SCIMSetting](ctx, d, "/settings/scim", object{"enabled": on})
	if err != nil {
		return err
	}
	switch changed := s.Changed != nil && *s.Changed; {
	case !changed && s.Since != nil:
		e.say("SCIM is %s already, since %s.", word, instant(*s.Since))
	case !changed:
		e.say("SCIM is %s already.", word)
	case on:
		e.say("SCIM is enabled. It answers from %s on.", instantOf(s.AnswersFrom))
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

func asSCIMJSON(s *api.SCIMSetting) scimJSON {
	return scimJSON{
		s.Enabled, s.Declared, s.Since, s.ChangedBy, s.AnswersFrom, s.Answering, s.BreakGlass, s.LocalAdmins, s.LiveKeys, s.JITProvisioning,
	}
}

func scimRows(s *api.SCIMSetting) [][]string {
	state, decided := onOff(s.Enabled), "the stored setting (idpsync scim enable, disable)"
	switch {
	case s.Waiting:
		state = "off, until there is break glass"
	case s.Enabled && !s.Answering:
		state = "on, not answering yet"
	}
	if s.Declared {
		decided = s.DeclaredBy
	}
	glass := plural(s.LocalAdmins, "active local admin") + " on the root team"
	if s.LocalAdmins == 0 {
		glass = "missing: no active local admin on the root team; run idpsync admin create EMAIL"
	}
	return [][]string{
		{"state", state},
		{"decided by", decided},
		{"since", instantOf(s.Since)},
		{"answers from", instantOf(s.AnswersFrom)},
		{"changed by", dash(s.ChangedBy)},
		{"break glass", glass},
		{"live keys", fmt.Sprint(s.LiveKeys)},
		{"sign-in", "just-in-time provisioning is " + onOff(s.JITProvisioning)},
	}
}
