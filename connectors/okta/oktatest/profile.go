package oktatest

import (
	"maps"
	"slices"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// profile is a user's profile in the order in which it is rendered.
type profile []attribute

type attribute struct {
	name  string
	value any // string, bool, number, or nil
}

// always are the attributes that every profile shows, as null when empty; others show only when they are set.
var always = [...]string{"firstName", "lastName", "mobilePhone", "secondEmail", "login", "email"}

func (p profile) get(name string) any {
	for i := range p {
		if p[i].name == name {
			return p[i].value
		}
	}
	return nil
}

func (p profile) text(name string) string {
	s, _ := p.get(name).(string)
	return s
}

func (p *profile) set(name string, value any) {
	if value == "" {
		value = nil
	}
	for i := range *p {
		if (*p)[i].name == name {
			(*p)[i].value = value
			return
		}
	}
	*p = append(*p, attribute{name, value})
}

func (p *profile) update(values map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		p.set(name, values[name])
	}
}

// complete adds what every profile shows, and drops what shows only when set.
func (p *profile) complete() {
	*p = slices.DeleteFunc(*p, func(a attribute) bool {
		return a.value == nil && !slices.Contains(always[:], a.name)
	})
	for _, name := range always {
		if !slices.ContainsFunc(*p, func(a attribute) bool { return a.name == name }) {
			*p = append(*p, attribute{name, nil})
		}
	}
}

func (p profile) toMap() map[string]any {
	m := make(map[string]any, len(p))
	for _, a := range p {
		m[a.name] = a.value
	}
	return m
}

func (p profile) append(b []byte) []byte {
	b = append(b, '{')
	for i, a := range p {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, a.name), ':')
		b = appendValue(b, a.value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte { return idptest.AppendValue(b, v) }

func appendString(b []byte, s string) []byte { return idptest.AppendString(b, s) }
