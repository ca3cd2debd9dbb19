package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// copyFrom is the number of rows from which COPY beats INSERT, which needs fewer round trips.
const copyFrom = 16

// liteVariables bounds the parameters of one SQLite statement.
const liteVariables = 900

// insertRows writes rows into a table: by COPY on PostgreSQL where they are many, else by INSERTs of several rows.
func (tx *Tx) insertRows(ctx context.Context, table string, columns []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if tx.d.postgres() && len(rows) >= copyFrom {
		return tx.copyRows(ctx, table, columns, rows)
	}
	for chunk := range slices.Chunk(rows, max(1, liteVariables/len(columns))) {
		insert, args := insertOf(table, columns, chunk)
		if _, err := tx.exec(ctx, insert, args...); err != nil {
			return fmt.Errorf("insert into %s: %w", table, err)
		}
	}
	return nil
}

// insertOf returns the statement that inserts rows, with its arguments.
func insertOf(table string, columns []string, rows [][]any) (string, []any) {
	tuple := ",(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	args := make([]any, 0, len(rows)*len(columns))
	for _, row := range rows {
		args = append(args, row...)
	}
	return "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") VALUES " + strings.Repeat(tuple, len(rows))[1:], args
}

func (tx *Tx) copyRows(ctx context.Context, table string, columns []string, rows [][]any) error {
	for _, row := range rows {
		for _, value := range row {
			if s, ok := value.(string); ok && !holdable(s) {
				return fmt.Errorf("copy into %s: %w", table, ErrText)
			}
		}
	}
	err := tx.conn.Raw(func(driverConn any) error {
		conn := driverConn.(*stdlib.Conn).Conn()
		_, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows))
		return err
	})
	if err != nil {
		return fmt.Errorf("copy into %s: %w", table, translate(err))
	}
	return nil
}
