package scimtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A placeholder is {{...}}. What is in it is a name, or in a wanted body a matcher.
var (
	placeholder = regexp.MustCompile(`\{\{([^{}]*)\}\}`)
	name        = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
	capture     = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*) = (any|any .+)$`)
)

// Parse reads a conversation. What is wrong with it is told with the line.
func Parse(name, text string) (*Conversation, error) {
	p := &parser{lines: strings.Split(text, "\n"), known: map[string]bool{"base": true, "run": true}}
	c := &Conversation{Name: name, Settings: map[string]string{}, End: End{Members: map[string][]string{}}}
	if err := p.conversation(c); err != nil {
		return nil, fmt.Errorf("conversation %s, line %d: %w", name, p.at, err)
	}
	return c, nil
}

type parser struct {
	lines []string
	at    int // number of the line read last, from 1

	send, sendBody []Field
	known          map[string]bool // values that are known before the step
	learned        []string        // values that the step and those sent with it give
	own            map[string]bool // values that the step gives
	named          []string        // values that the end names
}

func (p *parser) more() bool { return p.at < len(p.lines) }

func (p *parser) peek() string { return p.lines[p.at] }

func (p *parser) next() string {
	p.at++
	return strings.TrimRight(p.lines[p.at-1], " \r")
}

func isTitle(line string) bool {
	return strings.HasPrefix(line, "== ") || strings.HasPrefix(line, "|| ")
}

func isArrow(line string) bool { return strings.HasPrefix(line, "-> ") }

func (p *parser) conversation(c *Conversation) error {
	if err := p.preamble(c); err != nil {
		return err
	}
	for p.more() {
		step, err := p.step()
		if err != nil {
			return err
		}
		if step.Joins && len(c.Steps) == 0 {
			return errors.New("the first step joins none")
		}
		c.Steps = append(c.Steps, step)
	}
	if len(c.Steps) == 0 {
		return errors.New("no steps: a title begins with ==")
	}
	for _, name := range p.named {
		if !p.known[name] && !slices.Contains(p.learned, name) {
			return fmt.Errorf("finally names %s, which no answer gives", name)
		}
	}
	return nil
}

// preamble reads what comes before the first title.
func (p *parser) preamble(c *Conversation) error {
	var about []string
	for p.more() && !isTitle(p.peek()) {
		line := p.next()
		verb, rest, _ := strings.Cut(line, " ")
		var err error
		switch verb {
		case "":
		case "#":
			about = append(about, rest)
		case "setting":
			key, value, ok := strings.Cut(rest, " ")
			if !ok {
				return fmt.Errorf("%q: want setting NAME VALUE", line)
			}
			c.Settings[key] = value
		case "send":
			if body, ok := strings.CutPrefix(rest, "body "); ok {
				p.sendBody, err = p.field(p.sendBody, body)
			} else {
				p.send, err = p.field(p.send, rest)
			}
		case "answer":
			c.answer, err = p.field(c.answer, rest)
		case "finally":
			err = p.end(&c.End, rest)
		default:
			return fmt.Errorf("%q: want setting, send, answer, finally, a comment or a title", line)
		}
		if err != nil {
			return err
		}
	}
	c.About = strings.Join(about, " ")
	return nil
}

// end reads what holds when all has been said.
func (p *parser) end(e *End, line string) error {
	words := strings.Fields(line)
	if len(words) < 2 {
		return fmt.Errorf("%q: want finally active, inactive, deleted, gone or members, and names", line)
	}
	names := words[1:]
	p.named = append(p.named, names...)
	switch words[0] {
	case "active":
		e.Active = append(e.Active, names...)
	case "inactive":
		e.Inactive = append(e.Inactive, names...)
	case "deleted":
		e.Deleted = append(e.Deleted, names...)
	case "gone":
		e.Gone = append(e.Gone, names...)
	case "members":
		e.Members[names[0]] = slices.Sorted(slices.Values(names[1:]))
	default:
		return fmt.Errorf("%q: want finally active, inactive, deleted, gone or members", line)
	}
	return nil
}

// field reads a header into a list, in place of one of that name.
func (p *parser) field(fields []Field, line string) ([]Field, error) {
	key, value, ok := strings.Cut(line, ":")
	if !ok || key == "" || strings.ContainsAny(key, " \t") {
		return nil, fmt.Errorf("%q: want NAME: VALUE", line)
	}
	f := Field{http.CanonicalHeaderKey(key), strings.TrimSpace(value)}
	if i := slices.IndexFunc(fields, func(g Field) bool { return g.Name == f.Name }); i >= 0 {
		fields[i] = f
		return fields, nil
	}
	return append(fields, f), nil
}

func (p *parser) step() (Step, error) {
	title := p.next()
	s := Step{Title: title[3:], Line: p.at, Joins: strings.HasPrefix(title, "||")}
	if !s.Joins {
		for _, learned := range p.learned {
			p.known[learned] = true
		}
		p.learned = nil
	}
	p.own = map[string]bool{}
	if err := p.request(&s); err != nil {
		return Step{}, err
	}
	if err := p.answer(&s.Want); err != nil {
		return Step{}, err
	}
	if err := p.check(&s); err != nil {
		p.at = s.Line // what is wrong is somewhere in the step
		return Step{}, fmt.Errorf("%q: %w", s.Title, err)
	}
	return s, nil
}

func (p *parser) request(s *Step) error {
	line := ""
	for p.more() && (line == "" || strings.HasPrefix(line, "#")) {
		line = p.next()
	}
	var ok bool
	if s.Method, s.Target, ok = strings.Cut(line, " "); !ok || strings.ContainsAny(s.Target, " \"") || !strings.HasPrefix(s.Target, "/") {
		return fmt.Errorf("%q: want METHOD /TARGET, as on the wire", line)
	}
	own, body, err := p.message()
	if err != nil {
		return err
	}
	s.Body = body
	headers := slices.Clone(p.send)
	if body != "" {
		headers = append(headers, p.sendBody...)
	}
	for _, f := range own {
		headers = slices.DeleteFunc(headers, func(h Field) bool { return h.Name == f.Name })
		headers = append(headers, f)
	}
	s.Header = headers
	return nil
}

// message reads headers, and a body after an empty line.
func (p *parser) message() (headers []Field, body string, err error) {
	for p.more() && !isTitle(p.peek()) && !isArrow(p.peek()) {
		line := p.next()
		if line == "" {
			break
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if headers, err = p.field(headers, line); err != nil {
			return nil, "", err
		}
	}
	var lines []string
	for p.more() && !isTitle(p.peek()) && !isArrow(p.peek()) {
		lines = append(lines, p.next())
	}
	return headers, strings.TrimSpace(strings.Join(lines, "\n")), nil
}

func (p *parser) answer(a *Answer) error {
	if !p.more() || !isArrow(p.peek()) {
		return errors.New("no answer: it begins with ->")
	}
	line := p.next()
	status, exactly, found := strings.Cut(line[3:], " ")
	var err error
	if a.Status, err = strconv.Atoi(status); err != nil || a.Status < 100 || a.Status > 599 || found && exactly != "exactly" {
		return fmt.Errorf("%q: want -> STATUS or -> STATUS exactly", line)
	}
	a.Exact = found
	a.Header, a.Body, err = p.message()
	return err
}

// check decodes the wanted body, and finds placeholders that stand for nothing.
func (p *parser) check(s *Step) error {
	if s.Want.Body != "" {
		var err error
		if s.Want.body, err = decode([]byte(s.Want.Body)); err != nil {
			return fmt.Errorf("the wanted body: %w", err)
		}
		if err := p.checkWanted(s.Want.body); err != nil {
			return err
		}
	}
	texts := []string{s.Target, s.Body}
	for _, f := range s.Header {
		texts = append(texts, f.Value)
	}
	for _, text := range texts {
		for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
			if !p.known[m[1]] {
				return fmt.Errorf("it sends %s, which no answer before it gives", m[0])
			}
		}
	}
	for _, f := range s.Want.Header {
		if err := p.checkText(f.Value); err != nil {
			return err
		}
	}
	return nil
}

// checkWanted finds matchers that mean nothing, and notes the values that a body gives.
func (p *parser) checkWanted(want any) error {
	switch want := want.(type) {
	case string:
		return p.checkText(want)
	case []any:
		for i, element := range want {
			if text, ok := element.(string); i == 0 && ok && (text == inAnyOrder || text == amongOthers) {
				continue
			}
			if err := p.checkWanted(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range sortedKeys(want) {
			if err := p.checkWanted(want[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) checkText(text string) error {
	if m := placeholder.FindStringSubmatch(text); m != nil && m[0] == text {
		inner := m[1]
		if c := capture.FindStringSubmatch(inner); c != nil {
			p.learned, p.own[c[1]] = append(p.learned, c[1]), true
			inner = c[2]
		}
		if _, ok := kinds[inner]; ok || text == absent || text == unassigned {
			return nil
		}
	}
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if !name.MatchString(m[1]) {
			return fmt.Errorf("%s: no such matcher", m[0])
		}
		if !p.known[m[1]] && !p.own[m[1]] {
			return fmt.Errorf("%s: no answer up to this one gives it", m[0])
		}
	}
	return nil
}

// decode reads one JSON value, with numbers as they are spelled.
func decode(data []byte) (any, error) {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: something follows the value")
	}
	return v, nil
}
