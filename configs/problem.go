package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Field  string // for example connectors[0].schedule; "" for the file as a whole
	Line   int    // 0 where the configuration did not come from a file
	Column int
	Text   string // what is wrong, and after a semicolon what to do about it
}

// Error is everything that is wrong with a configuration, in the order of the file.
type Error struct {
	File     string // "" where the configuration did not come from a file
	Problems []Problem
}

// Error prints a line for each problem: file:line:column: field: text.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		var b strings.Builder
		if e.File != "" {
			b.WriteString(e.File + ":")
		}
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if p.Field != "" {
			b.WriteString(p.Field + ": ")
		}
		b.WriteString(p.Text)
		lines[i] = b.String()
	}
	return strings.Join(lines, "\n")
}

// place is a position in the file, from 1.
type place struct{ line, column int }

// places holds where each field stands that the file names, by the field's path.
type places map[string]place

// of returns the place of the field, or of the nearest thing around it that the file names.
func (w places) of(field string) place {
	for {
		if p, ok := w[field]; ok {
			return p
		}
		cut := strings.LastIndexAny(field, ".[")
		if cut < 0 {
			return place{}
		}
		field = field[:cut]
	}
}

// has tells whether the file names the field.
func (w places) has(field string) bool {
	_, ok := w[field]
	return ok
}

// problems collects what is wrong.
type problems struct {
	where places
	list  []Problem
}

func (ps *problems) add(field, format string, args ...any) {
	ps.addAt(ps.where.of(field), field, format, args...)
}

func (ps *problems) addAt(at place, field, format string, args ...any) {
	ps.list = append(ps.list, Problem{Field: field, Line: at.line, Column: at.column, Text: fmt.Sprintf(format, args...)})
}

// covers tells whether something is known to be wrong with the field, or with what it is part of.
func (ps *problems) covers(field string) bool {
	return slices.ContainsFunc(ps.list, func(p Problem) bool {
		return p.Field == field || strings.HasPrefix(field, p.Field+".") || strings.HasPrefix(field, p.Field+"[")
	})
}

func (ps *problems) err(file string) error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: file, Problems: ps.list}
}
