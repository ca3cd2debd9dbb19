package connectortest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/connectors/connectortest"
	"github.com/idpsync/idpsync/store/identity"
)

// mutantVariable names the mistake that the example's connector makes in a process of its own, where the suite has to
// fail.
const mutantVariable = "CONNECTORTEST_MUTANT"

// mutant is a connector with a mistake.
type mutant struct {
	connectors.Connector
	mistake mistake
}

// mistake changes what a connector says. A nil field leaves it as it is.
type mistake struct {
	page    func(*connectors.Page)                                                    // of Full
	change  func(*connectors.Page)                                                    // of Changes
	pages   func(iter.Seq2[connectors.Page, error]) iter.Seq2[connectors.Page, error] // of Full
	read    func(identity.Record, error) (identity.Record, error)                     // of User
	context func(context.Context) context.Context
	check   func(connectors.Report) connectors.Report
	deaf    bool // counts no request
	lenient bool // continues any checkpoint
}

// mistakes are what the suite has to find, and where.
var mistakes = map[string]struct {
	subject string // that finds it, a pattern for -run
	mistake
}{
	"an error is the end": {"a_full_pull/is_not_complete/status_500$", mistake{pages: func(pages iter.Seq2[connectors.Page, error]) iter.Seq2[connectors.Page, error] {
		return func(yield func(connectors.Page, error) bool) {
			for page, err := range pages {
				if err != nil {
					yield(connectors.Page{Phase: connectors.PhaseUsers, Complete: true}, nil)
					return
				}
				if !yield(page, nil) {
					return
				}
			}
		}
	}}},
	"something comes after the error": {"a_full_pull/is_not_complete/status_500$", mistake{pages: func(pages iter.Seq2[connectors.Page, error]) iter.Seq2[connectors.Page, error] {
		return func(yield func(connectors.Page, error) bool) {
			for page, err := range pages {
				if !yield(page, err) {
					return
				}
				if err != nil {
					yield(page, err)
				}
			}
		}
	}}},
	"the receiver's page is kept": {"a_full_pull/lists_everything", mistake{pages: func(pages iter.Seq2[connectors.Page, error]) iter.Seq2[connectors.Page, error] {
		return func(yield func(connectors.Page, error) bool) {
			var kept []identity.Record
			for page, err := range pages {
				kept = append(kept, page.Records...)
				page.Records = kept[len(kept)-len(page.Records):]
				if page.Checkpoint != "" {
					page.Records = kept
				}
				if !yield(page, err) {
					return
				}
			}
		}
	}}},
	"a goroutine outlives the pull": {"stopping/after", mistake{pages: func(pages iter.Seq2[connectors.Page, error]) iter.Seq2[connectors.Page, error] {
		return func(yield func(connectors.Page, error) bool) {
			go time.Sleep(time.Hour)
			pages(yield)
		}
	}}},
	"a person is lost":          {"a_full_pull/lists", mistake{page: func(p *connectors.Page) { p.Records = p.Records[:max(len(p.Records)-1, 0)] }}},
	"members have no last part": {"a_full_pull/lists", mistake{page: func(p *connectors.Page) { eachMember(p, func(m *identity.MemberRecord) { m.Last = false }) }}},
	"checkpoints come early":    {"a_full_pull/lists", mistake{page: func(p *connectors.Page) { p.Checkpoint = "early" }}},
	"every page is the last":    {"a_full_pull/lists", mistake{page: func(p *connectors.Page) { p.Complete = true }}},
	"no request is counted":     {"a_full_pull/counts", mistake{deaf: true}},
	"an error means not found": {"a_person/is_neither/status_400$", mistake{read: func(r identity.Record, err error) (identity.Record, error) {
		if err != nil {
			err = connectors.ErrNotFound
		}
		return r, err
	}}},
	"an error tells the token": {"a_person/is_neither/status_400$", mistake{read: func(r identity.Record, err error) (identity.Record, error) {
		if err != nil {
			err = fmt.Errorf("with %s: %w", staffToken, err)
		}
		return r, err
	}}},
	"one person reads otherwise than all": {"a_person/states", mistake{read: func(r identity.Record, err error) (identity.Record, error) {
		r.ExternalID = ""
		return r, err
	}}},
	"who was deleted is not told": {"changes/of_each_kind/somebody_in_no_group_is_deleted$", mistake{change: func(p *connectors.Page) { p.Doubtful = nil }}},
	"which team went is not told": {"changes/of_each_kind/an_empty_group_is_deleted$", mistake{change: func(p *connectors.Page) { dropGone(p) }}},
	"all are said to be in scope": {"changes/of_each_kind/somebody_comes$", mistake{change: func(p *connectors.Page) { p.Unscoped = false }}},
	"members left are not told":   {"changes/of_each_kind/a_member_goes$", mistake{change: func(p *connectors.Page) { eachMember(p, func(m *identity.MemberRecord) { m.Delta = true }) }}},
	"names are not told":          {"changes/of_each_kind/somebody_gets_another_name$", mistake{change: func(p *connectors.Page) { p.Records = withoutNames(p.Records) }}},
	"any checkpoint is continued": {"changes/are_not_told", mistake{lenient: true}},
	"the context is not obeyed":   {"stopping/nothing_is_sent", mistake{context: context.WithoutCancel}},
	"a check is content with all": {"a_check/names/status_401$", mistake{check: func(connectors.Report) connectors.Report {
		return connectors.Report{Items: []connectors.Item{{Name: "all", OK: true}}}
	}}},
}

func eachMember(p *connectors.Page, change func(*identity.MemberRecord)) {
	for i := range p.Members {
		change(&p.Members[i])
	}
}

func dropGone(p *connectors.Page) {
	var kept []identity.GroupRecord
	for _, g := range p.Groups {
		if !g.Gone {
			kept = append(kept, g)
		}
	}
	p.Groups = kept
}

func withoutNames(records []identity.Record) []identity.Record {
	for i := range records {
		records[i].UserName = "" // which says that it is as it was
	}
	return records
}

func (m *mutant) ctx(ctx context.Context) context.Context {
	if m.mistake.context != nil {
		return m.mistake.context(ctx)
	}
	return ctx
}

func through(pages iter.Seq2[connectors.Page, error], change func(*connectors.Page)) iter.Seq2[connectors.Page, error] {
	return func(yield func(connectors.Page, error) bool) {
		for page, err := range pages {
			if change != nil {
				change(&page)
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

func (m *mutant) Full(ctx context.Context, resume string) iter.Seq2[connectors.Page, error] {
	pages := through(m.Connector.Full(m.ctx(ctx), resume), m.mistake.page)
	if m.mistake.pages != nil {
		return m.mistake.pages(pages)
	}
	return pages
}

func (m *mutant) Changes(ctx context.Context, checkpoint string) iter.Seq2[connectors.Page, error] {
	pages := m.Connector.Changes(m.ctx(ctx), checkpoint)
	if !m.mistake.lenient {
		return through(pages, m.mistake.change)
	}
	return func(yield func(connectors.Page, error) bool) {
		for page, err := range pages {
			if errors.Is(err, connectors.ErrResync) {
				page, err = connectors.Page{Phase: connectors.PhaseUsers, Checkpoint: checkpoint + " "}, nil
			}
			if !yield(page, err) {
				return
			}
		}
	}
}

func (m *mutant) User(ctx context.Context, id string) (identity.Record, error) {
	r, err := m.Connector.User(m.ctx(ctx), id)
	if m.mistake.read != nil {
		return m.mistake.read(r, err)
	}
	return r, err
}

func (m *mutant) Check(ctx context.Context) (connectors.Report, error) {
	r, err := m.Connector.Check(ctx)
	if m.mistake.check != nil {
		return m.mistake.check(r), nil
	}
	return r, err
}

func (m *mutant) Requests() int64 {
	if m.mistake.deaf {
		return 0
	}
	return m.Connector.Requests()
}

// mutated returns the connector with the mistake that the environment asks for.
func mutated(c connectors.Connector) connectors.Connector {
	if m, ok := mistakes[os.Getenv(mutantVariable)]; ok {
		return &mutant{c, m.mistake}
	}
	return c
}

func TestSuiteFindsMistakes(t *testing.T) {
	t.Parallel()
	if os.Getenv(mutantVariable) != "" {
		t.Skip("this is a process that makes one")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range mistakes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestConformance$/"+m.subject, "-test.timeout=2m", "-rapid.nofailfile", "-rapid.shrinktime=1ms")
			cmd.Env = append(os.Environ(), mutantVariable+"="+name)
			cmd.Dir = t.TempDir()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestConformance/") || strings.Contains(string(out), "panic:") {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}

var _ connectortest.Source = (*staffDirectory)(nil)
