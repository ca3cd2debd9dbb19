package store

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Order says how a result is ordered; the zero value is by Seq. Rows without a value come last ascending and first
// descending (RFC 7644, section 3.4.2.3); ties are broken by Seq. Descending is the reverse of ascending in all of it. Of
// a multi-valued attribute the primary value counts, else the first.
type Order struct {
	By         Operand
	Descending bool
}

// Position is the place behind a row in an ordered result.
type Position struct {
	Seq  int64
	Key  string // the value that the order is by, as text; "" when it is by Seq
	None bool   // the row has no value
}

// ErrPosition says that a Position is no place in the order that it is used with.
var ErrPosition = errors.New("no position in this order")

func (w *writer) orderBy(key sortKey, sel selection) {
	direction := ""
	if sel.order.Descending {
		direction = " DESC"
	}
	w.put(" ORDER BY ")
	if key.sql != "" {
		w.put(key.sql + direction)
		switch {
		case !key.optional:
		case sel.order.Descending:
			w.put(" NULLS FIRST")
		default:
			w.put(" NULLS LAST")
		}
		w.put(", ")
	}
	if key.sql == "" && w.d.narrow(sel.where) {
		w.put("+")
	}
	w.put(sel.seq + direction)
}

// narrow tells whether a predicate names the few rows that it means. The order is then kept from being read off an
// index: a planner that expects some more of them would go through everybody in order until it has met enough. What
// changed since a time is mostly little; PostgreSQL knows by its statistics, SQLite has none.
func (d dialect) narrow(e Expr) bool {
	switch e := e.(type) {
	case And:
		return slices.ContainsFunc(e, d.narrow)
	case Or:
		return len(e) > 0 && !slices.ContainsFunc(e, func(part Expr) bool { return !d.narrow(part) })
	case Compare:
		switch e.Field {
		case FieldID, FieldUserName, FieldExternalID, FieldDisplayName, FieldEmail, FieldEmails:
			return e.Op == OpEq
		case FieldLastModified:
			return !d.postgres() && (e.Op == OpGt || e.Op == OpGe)
		}
	}
	return false
}

// behind writes the condition that a row comes behind a position.
func (w *writer) behind(key sortKey, sel selection) error {
	than := " > "
	if sel.order.Descending {
		than = " < "
	}
	if key.sql == "" {
		w.put(sel.seq+than+"?", sel.after.Seq)
		return nil
	}
	if sel.after.None {
		if !key.optional {
			return ErrPosition
		}
		w.put(key.sql+" IS NULL AND "+sel.seq+than+"?", sel.after.Seq)
		if sel.order.Descending {
			w.put(" OR " + key.sql + " IS NOT NULL")
		}
		return nil
	}
	value, ok := key.read(sel.after.Key, w.d)
	if !ok {
		return ErrPosition
	}
	w.put("("+key.sql+", "+sel.seq+")"+than+"(?, ?)", value, sel.after.Seq)
	if key.optional && !sel.order.Descending {
		w.put(" OR " + key.sql + " IS NULL")
	}
	return nil
}

// sortKey is the value that a result is ordered by.
type sortKey struct {
	sql      string // "" by Seq
	kind     keyKind
	optional bool // NULL says that there is none
}

type keyKind uint8

const (
	keyText keyKind = iota
	keyID
	keyBool
	keyTime
	keyInt
	keyNumber
)

// sortKey returns what to order by.
func (d dialect) sortKey(by Operand, s *scope) (sortKey, error) {
	switch by := by.(type) {
	case nil:
		return sortKey{}, nil
	case Field:
		c, ok := s.columns[by]
		if !ok {
			return sortKey{}, fmt.Errorf("order by %q: no such field", by)
		}
		kinds := map[columnKind]keyKind{uuidKind: keyID, boolKind: keyBool, timeKind: keyTime, intKind: keyInt}
		key := sortKey{sql: c.sql, kind: kinds[c.kind], optional: c.optional}
		if c.optional {
			key.sql = "NULLIF(" + c.sql + ", '')"
		}
		return key, nil
	case Attribute:
		sql, err := d.sortValue(s, by)
		kinds := map[ValueKind]keyKind{Bool: keyBool, Number: keyNumber}
		return sortKey{sql: sql, kind: kinds[by.Kind], optional: true}, err
	}
	return sortKey{}, fmt.Errorf("order by %v: no such thing", by)
}

// How the databases write times.
const (
	sqliteTime   = "2006-01-02 15:04:05.999999999-07:00"
	postgresTime = "2006-01-02 15:04:05.999999999-07"
)

// position returns the place behind a row.
func (o Order) position(seq int64, key *string, s *scope) Position {
	p := Position{Seq: seq}
	if o.By == nil {
		return p
	}
	if key == nil {
		p.None = true
		return p
	}
	p.Key = *key
	if by, ok := o.By.(Field); ok && s.columns[by].kind == timeKind {
		for _, layout := range []string{sqliteTime, postgresTime} {
			if t, err := time.Parse(layout, p.Key); err == nil {
				p.Key = t.UTC().Format(time.RFC3339Nano)
			}
		}
	}
	return p
}

// read returns a position's key as a parameter, unless it is no value of its kind.
func (key sortKey) read(text string, d dialect) (any, bool) {
	switch key.kind {
	case keyID:
		return text, isID(text)
	case keyBool:
		b, err := strconv.ParseBool(text)
		return b, err == nil
	case keyTime:
		t, err := time.Parse(time.RFC3339Nano, text)
		return stamp(t), err == nil && t.UTC().Year() > 0 && t.UTC().Year() <= 9999
	case keyInt:
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil
	case keyNumber:
		if d.postgres() {
			return text, isNumber(text)
		}
		return text, strings.Trim(text, "0123456789~") == ""
	}
	return text, holdable(text)
}
