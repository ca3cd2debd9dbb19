package configs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const (
	alertsFile = "prometheus/alerts.yaml"
	alertTests = "prometheus/alerts_test.yaml"
	guide      = "../docs/operations.md"
)

type alert struct {
	Alert       string
	Expr, For   string
	Labels      map[string]string
	Annotations map[string]string
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, alertsFile, &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d alerts only", len(all))
	}
	return all
}

// TestAlerts sees that each rule says how bad it is, what it means and what to do, and that the guide has its section.
func TestAlerts(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")] = true
	}
	named := map[string]bool{}
	for _, a := range alerts(t) {
		if named[a.Alert] {
			t.Errorf("%s is there twice", a.Alert)
		}
		named[a.Alert] = true
		if severity := a.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s: severity %q, want critical or warning", a.Alert, severity)
		}
		if a.Annotations["summary"] == "" || len(a.Annotations["description"]) < 50 {
			t.Errorf("%s: no summary, or no description that names a remedy: %v", a.Alert, a.Annotations)
		}
		url, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(url, strings.TrimPrefix(guide, "..")) || anchor != strings.ToLower(a.Alert) || !anchors[anchor] {
			t.Errorf("%s: runbook_url %q names no section of %s", a.Alert, a.Annotations["runbook_url"], guide)
		}
	}
	for anchor := range anchors {
		if strings.HasPrefix(anchor, "idpsync") && !slices.ContainsFunc(alerts(t), func(a alert) bool { return strings.ToLower(a.Alert) == anchor }) {
			t.Errorf("%s has a section %s, and there is no such alert", guide, anchor)
		}
	}
}

// TestEveryAlertIsTestedBothWays sees that each rule is made to fire by one test, and kept from it by another.
func TestEveryAlertIsTestedBothWays(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Name  string
			Cases []struct {
				Expr    string
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, alertTests, &file)
	seen := map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			name := regexp.MustCompile(`^ALERTS\{alertname="(\w+)", alertstate="firing"\}$`).FindStringSubmatch(c.Expr)
			if name == nil {
				t.Errorf("%s: %q does not ask whether an alert fires", test.Name, c.Expr)
				continue
			}
			seen[fmt.Sprintf("%s %t", name[1], len(c.Samples) > 0)] = true
		}
	}
	for _, a := range alerts(t) {
		for _, fires := range []bool{true, false} {
			if !seen[fmt.Sprintf("%s %t", a.Alert, fires)] {
				t.Errorf("%s: no test in %s where fires=%t", a.Alert, alertTests, fires)
			}
		}
	}
}

// dashboard returns what the dashboard's panels ask.
func dashboard(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("grafana/idpsync.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var all []string
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d asks nothing", p.ID)
		}
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	if len(all) < 30 {
		t.Fatalf("the dashboard asks %d times only", len(all))
	}
	return all
}

// TestAlertRules runs Prometheus' own tests of the rules.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it takes some seconds, and has no Go of ours in it")
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		promtool, err = filepath.Abs("../bin/promtool")
		if _, missing := os.Stat(promtool); err == nil && errors.Is(missing, os.ErrNotExist) {
			const remedy = "there is no promtool: run .ci/promtool, which puts it into bin/"
			if os.Getenv("CI") == "true" {
				t.Fatal(remedy)
			}
			t.Skip(remedy)
		}
	}
	// What the dashboard asks is looked at as rules.
	var asked strings.Builder
	asked.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for i, expr := range dashboard(t) {
		fmt.Fprintf(&asked, "      - {record: panel%d, expr: %q}\n", i, strings.ReplaceAll(expr, "$__rate_interval", "5m"))
	}
	panels := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(panels, []byte(asked.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", alertsFile}, {"check", "rules", panels}, {"test", "rules", alertTests}} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
