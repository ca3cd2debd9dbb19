package store

import (
	"database/sql/driver"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// dialect is the little in which the two databases differ. Everything else is one code path.
type dialect struct {
	name string
}

var (
	postgresDialect = dialect{name: "postgres"}
	sqliteDialect   = dialect{name: "sqlite"}
)

func (d dialect) postgres() bool { return d.name == "postgres" }

// in returns the predicate "column is one of these" with the whole list as one parameter. cast is the column's type
// in PostgreSQL.
func (d dialect) in(column, cast string) string {
	if d.postgres() {
		return column + " = ANY(?::" + cast + "[])"
	}
	return column + " IN (SELECT value FROM json_each(?))"
}

// notIn returns the predicate "column is none of these". PostgreSQL makes a hash table of the list, which it does for
// "<> ALL" from version 15 only.
func (d dialect) notIn(column, cast string) string {
	if d.postgres() {
		return "NOT EXISTS (SELECT 1 FROM unnest(?::" + cast + "[]) AS listed (value) WHERE listed.value = " + column + ")"
	}
	return column + " NOT IN (SELECT value FROM json_each(?))"
}

// lookup returns the statement that looks each value of a list up by a column: the columns of the rows of a table that
// meet where, and its arguments. PostgreSQL is made to take one look at an index for each value. Left the choice, without
// statistics it expects a row or two of where, reads them all, and compares each of a hundred thousand with each value.
func (d dialect) lookup(columns, table, where string, args []any, column, cast string, values []string) (string, []any) {
	if !d.postgres() {
		return "SELECT " + columns + " FROM " + table + " WHERE " + where + " AND " + d.in(column, cast), append(args, d.list(values))
	}
	return "SELECT found.* FROM unnest(?::" + cast + "[]) AS wanted (value) CROSS JOIN LATERAL (SELECT " + columns + " FROM " + table +
		" WHERE " + where + " AND " + column + " = wanted.value OFFSET 0) found", append([]any{d.list(values)}, args...)
}

// list wraps a list for the one parameter of in. Texts that no database holds are left out: nothing equals them.
func (d dialect) list(values []string) driver.Valuer {
	for i := range values {
		if !holdable(values[i]) {
			return stringList{d, slices.DeleteFunc(slices.Clone(values), func(s string) bool { return !holdable(s) })}
		}
	}
	return stringList{d, values}
}

// holdable tells whether both databases hold a text: PostgreSQL has no NUL and no text that is not UTF-8.
func holdable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

type stringList struct {
	d      dialect
	values []string
}

// Value renders a PostgreSQL array literal, or a JSON array for SQLite.
func (l stringList) Value() (driver.Value, error) {
	if !l.d.postgres() {
		b, err := json.Marshal(l.values)
		if l.values == nil {
			return "[]", nil
		}
		return string(b), err
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, value := range l.values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for j := 0; j < len(value); j++ {
			if value[j] == '"' || value[j] == '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(value[j])
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String(), nil
}

// uuid makes an id of a text.
func (d dialect) uuid(expr string) string {
	if d.postgres() {
		return "CAST(" + expr + " AS uuid)"
	}
	return expr
}

// holdsNUL tells whether a JSON text has a NUL in one of its strings, which only an escape can write.
func holdsNUL(text string) bool {
	return replaceNUL(text) != text
}

const escapedNUL = `\u0000`

// replaceNUL replaces each NUL in a JSON text's strings. `\\u0000` is a backslash and five letters.
func replaceNUL(text string) string {
	if !strings.Contains(text, escapedNUL) {
		return text
	}
	return strings.NewReplacer(`\\`, `\\`, escapedNUL, `\ufffd`).Replace(text)
}

// legible is a text that is written for people, with a replacement for what no database holds: a record of something
// must not fail because of what it is about.
func legible(s string) string {
	if holdable(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// forUpdate locks the selected rows until the transaction ends; SQLite's transactions hold the whole database.
func (d dialect) forUpdate() string {
	if d.postgres() {
		return " FOR UPDATE"
	}
	return ""
}

// forShare keeps the selected rows from changing until the transaction ends.
func (d dialect) forShare() string {
	if d.postgres() {
		return " FOR SHARE"
	}
	return ""
}

// forNoKeyUpdate is forUpdate for rows that others may refer to in the meantime.
func (d dialect) forNoKeyUpdate() string {
	if d.postgres() {
		return " FOR NO KEY UPDATE"
	}
	return ""
}

// forKeyShare keeps the selected rows from being deleted until the transaction ends.
func (d dialect) forKeyShare() string {
	if d.postgres() {
		return " FOR KEY SHARE"
	}
	return ""
}
