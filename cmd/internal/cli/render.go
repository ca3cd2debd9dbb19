package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/store/identity"
)

// palette colours text for a terminal; the zero value does not.
type palette struct{ on bool }

func (p palette) paint(code, text string) string {
	if !p.on {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green  = "32"
	yellow = "33"
	red    = "31"
	dim    = "2"
	bold   = "1"
)

// sign is the mark and colour of an operation, as Terraform's readers know them.
func sign(c *identity.Change) (mark, colour string) {
	switch {
	case c.Op == identity.OpConflict || c.State == identity.StateStaged:
		return "!", yellow
	case c.State == identity.StateFailed:
		return "x", red
	case c.State == identity.StateSkipped:
		return ".", dim
	case c.Op.Removal():
		return "-", red
	case c.Op == identity.OpCreate || c.Op == identity.OpAdd:
		return "+", green
	}
	return "~", yellow
}

// changeLine is one line of the diff.
func changeLine(p palette, c *identity.Change) string {
	mark, colour := sign(c)
	line := fmt.Sprintf("%s %-10s %-6s %s", p.paint(colour, mark), c.Op, c.Object, c.Name)
	if fields := fieldText(c); fields != "" {
		line += "  " + fields
	}
	var notes []string
	if c.Reason != "" {
		notes = append(notes, c.Reason)
	}
	switch c.State {
	case identity.StateStaged:
		notes = append(notes, "held by the guard")
	case identity.StateSkipped, identity.StateFailed:
		notes = append(notes, string(c.State))
	}
	if len(notes) > 0 {
		line += p.paint(dim, "  ("+strings.Join(notes, "; ")+")")
	}
	return line
}

func fieldText(c *identity.Change) string {
	switch {
	case c.Object == identity.ObjectMember, c.Object == identity.ObjectGrant:
		if len(c.Fields) == 0 {
			return ""
		}
		if after := c.Fields[0].After; after != nil {
			return fmt.Sprint(after)
		}
		return fmt.Sprint(c.Fields[0].Before)
	case c.Op == identity.OpCreate, c.Op.Removal():
		return ""
	}
	var parts []string
	for _, f := range c.Fields {
		parts = append(parts, fmt.Sprintf("%s %s -> %s", f.Path, valueText(f.Before), valueText(f.After)))
	}
	return strings.Join(parts, ", ")
}

func valueText(v any) string {
	if v == nil {
		return "null"
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func durationText(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// summary is the last line of a run's diff.
func summary(p palette, run *identity.Run) string {
	var created, updated, removed, conflicts int
	for key, n := range run.Counts.Changes {
		_, op, _ := strings.Cut(key, ".")
		switch o := identity.Op(op); {
		case o == identity.OpConflict:
			conflicts += n
		case o.Removal():
			removed += n
		case o == identity.OpCreate || o == identity.OpAdd:
			created += n
		default:
			updated += n
		}
	}
	var b strings.Builder
	head := "Plan"
	if !run.DryRun {
		head = "Run"
	}
	switch {
	case created+updated+removed > 0:
		fmt.Fprintf(&b, "%s", p.paint(bold, fmt.Sprintf("%s: %d to add, %d to change, %d to remove.", head, created, updated, removed)))
	case conflicts > 0 || run.Incomplete != "":
		fmt.Fprintf(&b, "%s", p.paint(bold, head+": nothing to change."))
	default:
		fmt.Fprintf(&b, "%s", p.paint(bold, "No drift: what "+run.Connector+" states is what is held."))
	}
	if !run.DryRun && created+updated+removed > 0 {
		fmt.Fprintf(&b, " %d applied", run.Counts.Applied)
		if n := run.Counts.Held; n > 0 {
			fmt.Fprintf(&b, ", %d held", n)
		}
		if n := run.Counts.Skipped - conflicts; n > 0 {
			fmt.Fprintf(&b, ", %d skipped", n)
		}
		if n := run.Counts.Failed; n > 0 {
			fmt.Fprintf(&b, ", %d failed", n)
		}
		b.WriteByte('.')
	} else if n := run.Counts.Skipped - conflicts; n > 0 {
		fmt.Fprintf(&b, " %d skipped.", n)
	}
	switch conflicts {
	case 0:
	case 1:
		b.WriteString(" 1 conflict needs an operator.")
	default:
		fmt.Fprintf(&b, " %d conflicts need an operator.", conflicts)
	}
	if n := run.Counts.Kept; n > 0 {
		fmt.Fprintf(&b, " %d kept, because reading by id did not confirm the absence.", n)
	}
	what := ""
	if run.Kind == identity.KindIncremental {
		what = "what changed: "
	}
	fmt.Fprintf(&b, " Read %s%s, %s, %s in %s, %s.", what,
		plural(run.Counts.Users, "user"), plural(run.Counts.Groups, "group"), plural(run.Counts.Members, "membership"),
		plural(int(run.Requests), "request"), durationText(run.Finished.Sub(run.Started)))
	return b.String()
}

// printRun prints how a run ended, after its changes. Why one failed is an error, which others print.
func printRun(w io.Writer, p palette, run *identity.Run) {
	switch {
	case run.Decision.Kind != "":
		fmt.Fprintln(w, p.paint(yellow, fmt.Sprintf("! held (%s), %s by %s at %s", run.Guard, run.Decision.Kind, run.Decision.By, run.Decision.At.Format(time.RFC3339))))
	case run.Guard != "":
		fmt.Fprintln(w, p.paint(yellow, fmt.Sprintf("! held (%s)", run.Guard)))
	}
	if run.Status == identity.RunHeld {
		fmt.Fprintf(w, "  to apply what is held: idpsync runs approve %s --plan %s\n", run.ID, run.PlanHash)
	}
	if run.Incomplete != "" {
		fmt.Fprintln(w, p.paint(yellow, fmt.Sprintf("! partial (%s)", run.Incomplete)))
	}
	if run.Error == "" {
		fmt.Fprintln(w, summary(p, run))
	}
	if !run.DryRun && run.Counts.Conflicts() > 0 {
		fmt.Fprintf(w, "  to decide about conflicts: idpsync conflicts list --connector %s\n", run.Connector)
	}
}

// changeJSON is a change as `--output json` prints it.
type changeJSON struct {
	Type           string                 `json:"type"`
	RunID          string                 `json:"run_id"`
	Op             identity.Op            `json:"op"`
	Object         identity.Object        `json:"object"`
	SourceID       string                 `json:"source_id"`
	ID             string                 `json:"id"`
	Name           string                 `json:"name"`
	MemberSourceID string                 `json:"member_source_id,omitempty"`
	MemberID       string                 `json:"member_id,omitempty"`
	Fields         []identity.FieldChange `json:"fields"`
	Reason         string                 `json:"reason"`
	State          identity.ChangeState   `json:"state"`
}

func asChangeJSON(c *identity.Change) changeJSON {
	fields := c.Fields
	if fields == nil {
		fields = []identity.FieldChange{}
	}
	return changeJSON{
		"change", c.RunID, c.Op, c.Object, c.SourceID, c.ID, c.Name, c.MemberSourceID, c.MemberID, fields, c.Reason, c.State,
	}
}

// runJSON is a run as `--output json` prints it.
type runJSON struct {
	Type       string             `json:"type"`
	RunID      string             `json:"run_id"`
	Connector  string             `json:"connector"`
	Kind       string             `json:"kind"`
	Trigger    string             `json:"trigger"`
	DryRun     bool               `json:"dry_run"`
	Status     identity.RunStatus `json:"status"`
	PlanHash   string             `json:"plan_hash"`
	Counts     identity.Counts    `json:"counts"`
	Guard      string             `json:"guard,omitempty"`
	Decision   *decisionJSON      `json:"decision,omitempty"`
	Incomplete string             `json:"incomplete,omitempty"`
	Error      string             `json:"error,omitempty"`
	Requests   int64              `json:"requests"`
	DurationMS int64              `json:"duration_ms"`
	Started    time.Time          `json:"started"`
	Finished   *time.Time         `json:"finished"`
}

// decisionJSON is what became of removals that a run held.
type decisionJSON struct {
	Kind identity.DecisionKind `json:"kind"`
	By   string                `json:"by"`
	At   time.Time             `json:"at"`
}

func runJSONOf(told *api.Run) runJSON {
	run := runFrom(told)
	return asRunJSON(&run)
}

func asRunJSON(run *identity.Run) runJSON {
	out := runJSON{
		Type: "run", RunID: run.ID, Connector: run.Connector, Kind: run.Kind, Trigger: run.Trigger, DryRun: run.DryRun,
		Status: run.Status, PlanHash: run.PlanHash, Counts: run.Counts, Guard: run.Guard, Incomplete: run.Incomplete,
		Error: run.Error, Requests: run.Requests, Started: run.Started,
	}
	if d := run.Decision; d.Kind != "" {
		out.Decision = &decisionJSON{d.Kind, d.By, d.At}
	}
	if !run.Finished.IsZero() {
		out.Finished, out.DurationMS = &run.Finished, run.Finished.Sub(run.Started).Milliseconds()
	}
	return out
}

// optional is a time, or nil for none.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
