package api

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Paging is what every list takes. The bounds stand in the tags, and so in the document.
type Paging struct {
	Limit  int    `query:"limit" default:"100" minimum:"1" maximum:"500" doc:"How many at most."`
	Cursor string `query:"cursor" maxLength:"1000" doc:"Where to go on: next_cursor of the page before."`
}

// Page is a part of a list.
type Page[T any] struct {
	Items      []T    `json:"items" nullable:"false"`
	NextCursor string `json:"next_cursor,omitempty" doc:"Where the next page begins; absent at the end."`
	Total      *int   `json:"total,omitempty" doc:"How many there are in all, where that is known."`
}

// orZero returns what a body says that may be left out.
func orZero[T any](body *T) T {
	if body == nil {
		return *new(T)
	}
	return *body
}

var pageOfEvents = reflect.TypeFor[Page[Event]]()

// each returns what f makes of each element.
func each[T, U any](list []T, f func(*T) U) []U {
	out := make([]U, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// pageOf returns the answer with what is at most limit of the items, and a cursor behind the last of these where there
// are more. The items are one more than asked for where there are.
func pageOf[T any](items []T, limit int, kind string, position func(*T) string) Page[T] {
	p := Page[T]{Items: items}
	if len(items) > limit {
		p.Items = items[:limit]
		p.NextCursor = cursorOf(kind, position(&p.Items[limit-1]))
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return p
}

func cursorOf(kind, position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(kind + ":" + position))
}

// position returns what a cursor of a kind says, "" for none.
func (p *Paging) position(kind string) (string, error) {
	if p.Cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	position, ok := strings.CutPrefix(string(text), kind+":")
	if err != nil || !ok || position == "" || !utf8.ValidString(position) || strings.IndexByte(position, 0) >= 0 {
		return "", errCursor()
	}
	return position, nil
}

// number returns the number that a cursor of a kind says, 0 for none.
func (p *Paging) number(kind string) (int64, error) {
	position, err := p.position(kind)
	if err != nil || position == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(position, 10, 64)
	if err != nil || n < 1 {
		return 0, errCursor()
	}
	return n, nil
}

func errCursor() error {
	return invalid("query.cursor", "this is no next_cursor of this list, or what it stood behind is gone")
}

// behind returns what comes in a list behind what a cursor of a kind names.
func behind[T any](list []T, p Paging, kind string, name func(*T) string) ([]T, error) {
	after, err := p.position(kind)
	if err != nil || after == "" {
		return list, err
	}
	for i := range list {
		if name(&list[i]) == after {
			return list[i+1:], nil
		}
	}
	return nil, errCursor()
}
