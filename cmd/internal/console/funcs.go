package console

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// funcs are what templates call.
func (c *Console) funcs() template.FuncMap {
	return template.FuncMap{
		"instant":    instant,
		"machine":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"ago":        func(t time.Time) string { return ago(c.now(), t) },
		"when":       c.when,
		"whenSet":    func(t *time.Time) template.HTML { return c.whenSet(t) },
		"num":        number[int],
		"num64":      number[int64],
		"plural":     plural,
		"took":       took,
		"icon":       icon,
		"badge":      func(state string) badge { return badgeOf(state) },
		"sentence":   sentence,
		"short":      short,
		"path":       url.PathEscape,
		"join":       strings.Join,
		"dict":       dict,
		"list":       func(items ...any) []any { return items },
		"found":      found,
		"left":       func(run api.Run) int { return leftOf(&run) },
		"runKind":    runKind,
		"startedBy":  startedBy,
		"wrongField": wrongField,
		"runRef":     runRef,
		"stateOf":    func(u api.User) string { return stateOf(&u) },
		"has":        slices.Contains[[]string],
		"plural64":   func(n int64, one string) string { return plural(int(n), one) },
		"told":       func(v any) bool { return v != nil },
		"tell":       tell,
		"overlaps":   func() []option { return overlaps },
		"standing":   standing,
		"hasValue":   func(v any) bool { return v != nil && v != "" },
	}
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// when returns a moment as an element: how long ago or until then, with the date for those who ask.
func (c *Console) when(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339), instant(t), ago(c.now(), t))) //nolint:gosec // digits and words of ours
}

// whenSet is when for what may be unset.
func (c *Console) whenSet(t *time.Time) template.HTML {
	if t == nil {
		return "never"
	}
	return c.when(*t)
}

// ago says how far a moment is from now, for people.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// span says a duration by its largest unit.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(int(max(d/time.Second, 1)), "second")
	case d < time.Hour:
		return plural(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}

// took says how long something took.
func took(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return strconv.FormatInt(ms, 10) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return d.Round(time.Second).String()
}

// number writes a number with its thousands apart.
func number[T int | int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// plural writes a number with its noun, for example "1 person" or "2 people" of ("person", "people").
func plural(n int, one string, many ...string) string {
	noun := one
	if n != 1 {
		noun = one + "s"
		if len(many) > 0 {
			noun = many[0]
		}
	}
	return number(n) + " " + noun
}

// short returns the beginning of an id or hash, enough to tell it from others.
func short(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), 8)]
}

// mostTold bounds how much of a value is shown, in bytes: profiles hold photos.
const mostTold = 2000

// tell writes a value of an event or a change: texts as they are, everything else as JSON.
func tell(v any) string {
	text, ok := v.(string)
	if !ok {
		written, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		text = string(written)
	} else if text == "" {
		return `""`
	}
	if len(text) > mostTold {
		return strings.ToValidUTF8(text[:mostTold], "") + "... (" + plural(len(text), "byte") + ")"
	}
	return text
}

// dict returns a map for a template that is given more than one thing.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict takes pairs, and was given %d values", len(pairs))
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// found returns how many differences a run found, whether a template has the run or where it is.
func found(run any) (int, error) {
	switch r := run.(type) {
	case api.Run:
		return foundOf(&r), nil
	case *api.Run:
		return foundOf(r), nil
	}
	return 0, fmt.Errorf("found: %T is no run", run)
}

// sentence begins a text with a capital letter, unless it begins with the name of a field or a command.
func sentence(text string) string {
	word, _, _ := strings.Cut(text, " ")
	if text == "" || strings.ContainsAny(word, ".:_`/@[") {
		return text
	}
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(first)) + text[size:]
}
