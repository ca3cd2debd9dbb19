package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// statement is a read that runs together with others.
type statement struct {
	text *text
	args []any
	scan func(rows) error // called once, with the rows before the first Next
}

// rows are what a statement found, of either database.
type rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
}

// text is a statement in both ways of writing parameters.
type text struct{ questions, dollars string }

func newText(questions string) *text {
	var b strings.Builder
	n := 0
	for part := range strings.SplitAfterSeq(questions, "?") {
		before, parameter := strings.CutSuffix(part, "?")
		b.WriteString(before)
		if parameter {
			n++
			b.WriteString("$" + strconv.Itoa(n))
		}
	}
	return &text{questions, b.String()}
}

// together runs statements in one round trip to PostgreSQL, without gorm: what every request reads costs half of what
// it does one by one through gorm, which is most of what a request costs. SQLite has no round trips to save.
func (s *Store) together(ctx context.Context, statements ...statement) error {
	if s.d.postgres() {
		return s.batch(ctx, statements)
	}
	for _, st := range statements {
		found, err := s.raw(ctx, st.text.questions, st.args...).Rows()
		if err != nil {
			return err
		}
		err = scan(found, st.scan)
		if closed := found.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) batch(ctx context.Context, statements []statement) error {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	defer conn.Close()
	var batch pgx.Batch
	for _, st := range statements {
		if s.watch != nil {
			s.watch(st.text.dollars, st.args)
		}
		batch.Queue(st.text.dollars, st.args...).Query(func(found pgx.Rows) error { return scan(found, st.scan) })
	}
	return conn.Raw(func(driver any) error {
		return driver.(*stdlib.Conn).Conn().SendBatch(ctx, &batch).Close()
	})
}

func scan(found rows, f func(rows) error) error {
	if err := f(found); err != nil {
		return err
	}
	return found.Err()
}
