package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
)

// CheckItem is one thing that `idpsync check` tried.
type CheckItem struct {
	Of     string `json:"of"` // "config", "database", "scim", a connector's name, "sign_in.saml" or "sign_in.oidc"
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Check tries everything that can be wrong with an installation: role mapping, database, schema, clocks, break glass,
// connectors, identity providers to sign in at. What is wrong with one keeps it from trying nothing but what depends on it.
func Check(ctx context.Context, config *configs.Config, logger *slog.Logger) []CheckItem {
	_, err := mapping(config)
	items := []CheckItem{item("config", "role mapping", err, "understood", "correct `role_mapping` in the configuration")}
	items = append(items, checkDatabase(ctx, config, logger)...)
	for i := range config.Connectors {
		items = append(items, checkConnector(ctx, &config.Connectors[i], logger)...)
	}
	return append(items, checkSignIn(ctx, config, logger)...)
}

// item says what came of a try: detail where it went well, else the error and its remedy.
func item(of, name string, err error, detail, remedy string) CheckItem {
	if err == nil {
		return CheckItem{Of: of, Name: name, OK: true, Detail: detail}
	}
	return CheckItem{Of: of, Name: name, Detail: ErrorText(err), Remedy: remedy}
}

// ErrorText returns an error's text for people. PostgreSQL's driver, which tries every address with and without TLS,
// tells each try on a line of its own that begins with a tab: those go on one line, and what repeats goes.
func ErrorText(err error) string {
	return strings.ReplaceAll(strings.Join(slices.Compact(strings.Split(err.Error(), "\n")), "\n"), "\n\t", " ")
}

// mostSkew is how far clocks may be apart.
const mostSkew = 5 * time.Second

func checkDatabase(ctx context.Context, config *configs.Config, logger *slog.Logger) []CheckItem {
	const remedy = "check `database` in the configuration, and that the server runs"
	s, err := store.Open(ctx, config.Database.Reveal())
	if err != nil {
		return []CheckItem{item("database", "reachable", err, "", remedy)}
	}
	defer s.Close()
	items := []CheckItem{item("database", "reachable", s.Ping(ctx), s.Dialect(), remedy)}
	if !items[0].OK {
		return items
	}
	items = append(items, item("database", "schema", prepare(ctx, s, logger), "up to date", "run `idpsync migrate`, with the newest program that uses this database"))
	now, err := s.Now(ctx)
	skew := time.Since(now).Abs()
	if err == nil && skew > mostSkew {
		err = fmt.Errorf("this machine's clock and the database's are %s apart", skew.Round(time.Second))
	}
	items = append(items, item("database", "clock", err, fmt.Sprintf("%s apart", skew.Round(time.Millisecond)), "synchronize both clocks (NTP)"))
	if !items[1].OK {
		return items
	}
	items = append(items, checkSetting(ctx, config, s), checkBreakGlass(ctx, s))
	for i := range config.Connectors {
		items = append(items, checkStanding(ctx, config.Connectors[i].Name, s))
	}
	return items
}

// checkStanding tells how a connector's runs went.
func checkStanding(ctx context.Context, name string, s *store.Store) CheckItem {
	state, err := s.ConnectorState(ctx, name)
	if err != nil {
		return item(name, "runs", err, "", "see the error")
	}
	ago := func(t time.Time) string { return time.Since(t).Round(time.Second).String() + " ago" }
	detail := "none so far"
	if at := reconcile.Watermark(&state); !at.IsZero() {
		detail = "known up to " + ago(at)
		if !state.LastFull.IsZero() {
			detail += ", compared in full " + ago(state.LastFull)
		}
	}
	q := state.Quarantine
	if q.Failures == 0 {
		return item(name, "runs", nil, detail, "")
	}
	what, remedy := fmt.Sprintf("%d failed in a row", q.Failures), "see the items below; a run by hand, `idpsync resync "+name+"`, does not wait"
	if q.Paused {
		what, remedy = "paused: the credential was rejected", "put in a new credential and restart `serve`, or run `idpsync resync "+name+"`"
	}
	return CheckItem{
		Of: name, Name: "runs", Remedy: remedy,
		Detail: fmt.Sprintf("%s since %s, the next scheduled try is at %s: %s; %s", what, q.Since.Format(time.RFC3339), q.NextTry.Format(time.RFC3339), q.Failure, detail),
	}
}

// checkSetting tells whether SCIM is on. Off is as good as on; that it waits for break glass is told by the next item.
func checkSetting(ctx context.Context, config *configs.Config, s *store.Store) CheckItem {
	const name = "setting"
	applier, err := lifecycle.New(lifecycle.Options{Store: s, SCIM: config.SCIM.Enabled})
	if err != nil {
		return item("scim", name, err, "", "see the error")
	}
	a := &App{Config: config, Store: s, Applier: applier}
	status, err := a.SCIMStatus(ctx)
	if err != nil {
		return item("scim", name, err, "", "see the error")
	}
	return item("scim", name, nil, status.String(), "")
}

func checkBreakGlass(ctx context.Context, s *store.Store) CheckItem {
	item := CheckItem{Of: "scim", Name: "break glass", OK: true}
	admins, err := s.CountLocalAdmins(ctx)
	switch {
	case err != nil:
		item.OK, item.Detail, item.Remedy = false, err.Error(), "see the error"
	case admins == 0:
		item.OK, item.Detail, item.Remedy = false, noBreakGlass, makeAdmin
	case admins == 1:
		item.Detail = "1 active local admin on the root team"
	default:
		item.Detail = fmt.Sprintf("%d active local admins on the root team", admins)
	}
	return item
}

func checkConnector(ctx context.Context, c *configs.Connector, logger *slog.Logger) []CheckItem {
	source, err := source(c, logger)
	if err != nil {
		what, remedy, told := strings.Cut(err.Error(), "; ") // as configs' problems do
		if !told {
			remedy = "correct the connector in the configuration"
		}
		return []CheckItem{{Of: c.Name, Name: "configuration", Detail: what, Remedy: remedy}}
	}
	report, err := source.Connector.Check(ctx)
	var items []CheckItem
	for _, i := range report.Items {
		items = append(items, CheckItem{Of: c.Name, Name: i.Name, OK: i.OK, Detail: i.Detail, Remedy: i.Remedy})
	}
	if err != nil {
		items = append(items, item(c.Name, "check", err, "", "see the error"))
	}
	return items
}
