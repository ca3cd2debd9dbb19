package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/idpsync/idpsync/cmd/internal/app"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/chain"
	"github.com/idpsync/idpsync/store/identity"
)

func (e *env) auditCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Read, export and verify the audit log",
		Example: "  idpsync audit list --user ana@example.com\n  idpsync audit export > audit.jsonl\n  idpsync audit verify",
	}
	c.AddCommand(e.auditList(), e.auditExport(), e.auditVerify())
	return c
}

// auditFilter is what flags select of the audit log.
type auditFilter struct {
	user, actor, kind, request, run, since, until string
}

func (f *auditFilter) flags(flags *pflag.FlagSet) {
	flags.StringVar(&f.user, "user", "", "about the person `USER`: the account, and the groups that it came into and left")
	flags.StringVar(&f.actor, "actor", "", "by the user, key or connector of the id `ID`, or by the command of who is named so")
	flags.StringVar(&f.kind, "type", "", "of the type `TYPE`; user.* stands for all that begin so")
	flags.StringVar(&f.request, "request-id", "", "of the request `ID`")
	flags.StringVar(&f.run, "run", "", "of the run `ID`")
	flags.StringVar(&f.since, "since", "", "not before `TIME`: a moment, a date, or how long ago")
	flags.StringVar(&f.until, "until", "", "before `TIME`")
}

// query returns what the flags ask the store for.
func (f *auditFilter) query(ctx context.Context, a *app.App, now time.Time) (store.AuditQuery, error) {
	q := store.AuditQuery{ActorID: f.actor, Type: f.kind, RequestID: f.request, RunID: f.run}
	for _, t := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", f.since, &q.From}, {"until", f.until, &q.To}} {
		if t.text == "" {
			continue
		}
		var err error
		if *t.into, err = pastMoment(t.text, now); err != nil {
			return q, usageError{fmt.Errorf("--%s %w", t.flag, err)}
		}
	}
	if f.user != "" {
		u, err := a.FindUser(ctx, f.user)
		if err != nil {
			return q, err
		}
		q.UserID = u.ID
	}
	return q, nil
}

func (e *env) auditList() *cobra.Command {
	var filter auditFilter
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List what happened, the newest first",
		Example: "  idpsync audit list\n  idpsync audit list --user ana@example.com --since 30d\n  idpsync audit list --type grant.* --output json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := atLeast("limit", limit, 1); err != nil {
				return err
			}
			if e.address() != "" {
				return e.listAway(c.Context(), &filter, limit)
			}
			return e.withApp(func(ctx context.Context, a *app.App, _ []string) error {
				q, err := filter.query(ctx, a, time.Now())
				if err != nil {
					return err
				}
				q.Limit = limit
				events, err := a.Store.Audit(ctx, q)
				if err != nil {
					return err
				}
				return e.printEvents(ctx, a, events)
			})(c, args)
		},
	}
	filter.flags(c.Flags())
	c.Flags().IntVar(&limit, "limit", 50, "list at most `N`")
	return c
}

var auditHead = []string{"SEQ", "TIME", "TYPE", "ABOUT", "BY", "WHAT"}

func eventRow(ev *identity.Event) []string {
	return []string{fmt.Sprint(ev.Seq), instant(ev.At), string(ev.Type), dash(ev.Name), dash(byWhom(ev)), dash(whatHappened(ev))}
}

// printEvents prints events: as JSON the lines of an export, else a table.
func (e *env) printEvents(ctx context.Context, a *app.App, events []identity.Event) error {
	if !e.json() {
		rows := [][]string{auditHead}
		for i := range events {
			rows = append(rows, eventRow(&events[i]))
		}
		return e.table(rows)
	}
	links, err := a.Store.Links(ctx, events)
	if err != nil {
		return err
	}
	for i := range events {
		var link *chain.Link
		if l, ok := links[events[i].Seq]; ok {
			link = &chain.Link{Seq: l.Position, Prev: l.Prev, Hash: l.Hash}
		}
		if err := e.printLine(&events[i], link); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) printLine(ev *identity.Event, link *chain.Link) error {
	line, err := chain.Line(ev, link)
	if err == nil {
		_, err = e.out.Write(line)
	}
	return err
}

// byWhom names who did it.
func byWhom(ev *identity.Event) string {
	name := ev.Actor.Name
	if name == "" {
		name = ev.Actor.ID
	}
	return strings.TrimSpace(ev.Actor.Kind + " " + name)
}

// whatWidth bounds the last column of the table.
const whatWidth = 100

// whatHappened says on one line what changed, and why.
func whatHappened(ev *identity.Event) string {
	var parts []string
	for _, f := range ev.Fields {
		before, _ := json.Marshal(f.Before) // what was read as JSON is written as JSON
		after, _ := json.Marshal(f.After)
		parts = append(parts, fmt.Sprintf("%s %s -> %s", f.Path, before, after))
	}
	if len(ev.Members) > 0 {
		parts = append(parts, fmt.Sprintf("%d members", len(ev.Members)))
	}
	if ev.Reason != "" {
		parts = append(parts, ev.Reason)
	}
	text := []rune(strings.Join(strings.Fields(strings.Join(parts, ", ")), " "))
	if len(text) > whatWidth {
		text = append(text[:whatWidth-3], []rune("...")...)
	}
	return string(text)
}

func (e *env) auditExport() *cobra.Command {
	var filter auditFilter
	c := &cobra.Command{
		Use: "export", Short: "Write the audit log as JSON lines, in the order of its chain",
		Long: "Write the audit log as JSON lines, in the order of its chain of hashes, the oldest first. What is not sealed yet is sealed\n" +
			"before. The file can be verified without the database: idpsync audit verify --from-export. Standard error tells the head,\n" +
			"which stands for all of it; keep it where who owns the database cannot change it.",
		Example: "  idpsync audit export > audit.jsonl\n  idpsync audit export --since 24h --type user.*",
		RunE: func(c *cobra.Command, args []string) error {
			if e.address() != "" {
				return e.exportAway(c.Context(), &filter)
			}
			return e.withApp(func(ctx context.Context, a *app.App, _ []string) error { return e.export(ctx, a, &filter) })(c, args)
		},
	}
	filter.flags(c.Flags())
	return c
}

// export writes the log of the database.
func (e *env) export(ctx context.Context, a *app.App, filter *auditFilter) error {
	q, err := filter.query(ctx, a, time.Now())
	if err != nil {
		return err
	}
	if _, err := a.Store.SealAll(ctx); err != nil && !errors.Is(err, store.ErrBusy) {
		return err
	}
	standing, err := a.Store.AuditStanding(ctx)
	if err != nil {
		return err
	}
	q.Limit = 1000
	n := 0
	for after := int64(0); ; {
		events, err := a.Store.SealedAudit(ctx, q, after)
		if err != nil {
			return err
		}
		for i := range events {
			link := events[i].Link
			if link.Position > standing.Head.Count { // it came while we were writing
				events = events[:i]
				break
			}
			if err := e.printLine(&events[i].Event, &chain.Link{Seq: link.Position, Prev: link.Prev, Hash: link.Hash}); err != nil {
				return err
			}
			after = link.Position
		}
		n += len(events)
		if len(events) < q.Limit {
			break
		}
	}
	e.say("%d events of %d, head %s", n, standing.Head.Count, standing.Head)
	return nil
}

// verdictJSON is what a verification came to.
type verdictJSON struct {
	Status        string     `json:"status"` // intact or broken
	Head          string     `json:"head"`   // up to where the chain holds
	Sealed        int64      `json:"sealed"`
	Unsealed      int64      `json:"unsealed"`
	UnsealedSince *time.Time `json:"unsealed_since"`
	Problem       *problem   `json:"problem"`
}

// problem is what is broken, and where.
type problem struct {
	Detail   string `json:"detail"`
	Position int64  `json:"position,omitempty"`
	Seq      int64  `json:"seq,omitempty"`
	EventID  string `json:"event_id,omitempty"`
	Line     int64  `json:"line,omitempty"`
}

func (e *env) auditVerify() *cobra.Command {
	var file, expect string
	var partial bool
	c := &cobra.Command{
		Use: "verify", Short: "Verify that the audit log is what was written",
		Long: "Verify that nothing in the audit log was altered, deleted, inserted or moved since it was sealed by its chain of hashes.\n" +
			"Who can write to the database can compute the hashes anew: only a head that was kept elsewhere shows that. Heads\n" +
			"are printed here and by idpsync audit export, are in the server's log, and at /api/v1/audit/head.\n\n" +
			"Exit status: 0 the log is intact, 1 it is broken, or an error.",
		Example: "  idpsync audit verify\n  idpsync audit verify --expect 4711:9f86d081...\n  idpsync audit verify --from-export audit.jsonl",
		RunE: func(c *cobra.Command, _ []string) error {
			var head *chain.Head
			if expect != "" {
				parsed, err := chain.ParseHead(expect)
				if err != nil {
					return usageError{fmt.Errorf("--expect: %w", err)}
				}
				head = &parsed
			}
			if file != "" {
				return e.verifyFile(file, head, partial)
			}
			if partial {
				return usageError{errors.New("--partial is for a file: say which one with --from-export")}
			}
			if e.address() != "" {
				return e.verifyAway(c.Context(), head)
			}
			return e.withApp(func(ctx context.Context, a *app.App, _ []string) error {
				verdict, err := a.Store.VerifyAudit(ctx, head, nil)
				return e.printVerdict(verdictJSON{
					Head: verdict.Head.String(), Sealed: verdict.Head.Count, Unsealed: verdict.Unsealed, UnsealedSince: optional(verdict.Oldest),
				}, err)
			})(c, nil)
		},
	}
	c.Flags().StringVar(&file, "from-export", "", "verify the exported `FILE` (- for standard input) instead of the database")
	c.Flags().StringVar(&expect, "expect", "", "want the chain to have passed the head `COUNT:HASH`, which was kept elsewhere")
	c.Flags().BoolVar(&partial, "partial", false, "the file was exported with filters: verify each line, and ask for none between")
	return c
}

func (e *env) verifyFile(name string, expect *chain.Head, partial bool) error {
	in := e.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	got, err := chain.VerifyFile(io.Reader(in), expect, partial)
	if got.Gaps > 0 {
		e.say("Events are left out of the file at %d places: nothing proves that filters did that.", got.Gaps)
	}
	return e.printVerdict(verdictJSON{Head: got.Head.String(), Sealed: got.Events, Unsealed: got.Unsealed}, err)
}

// unsealedFor is how long an event may wait for its seal before that is said.
const unsealedFor = 10 * time.Minute

// printVerdict says what a verification came to. err may say that the log is broken.
func (e *env) printVerdict(v verdictJSON, err error) error {
	var broken *chain.BrokenError
	if err != nil && !errors.As(err, &broken) {
		return err
	}
	v.Status = "intact"
	if broken != nil {
		v.Status = "broken"
		v.Problem = &problem{broken.Problem, broken.Position, broken.Seq, broken.EventID, broken.Line}
	}
	switch {
	case e.json():
		if err := e.print(v); err != nil {
			return err
		}
	case broken == nil:
		fmt.Fprintf(e.out, "intact: %d events, head %s\n", v.Sealed, v.Head)
	default:
		fmt.Fprintf(e.out, "broken: %v\n", broken)
		e.say("Up to %s the chain holds.", v.Head)
	}
	if v.Unsealed > 0 && broken == nil {
		e.say("%d events are not sealed yet: nothing proves these.", v.Unsealed)
		if v.UnsealedSince != nil && time.Since(*v.UnsealedSince) > unsealedFor {
			e.say("They wait since %s: does a server run? idpsync audit export seals, too.", instant(*v.UnsealedSince))
		}
	}
	if broken != nil {
		return exitStatus(exitError)
	}
	return nil
}
