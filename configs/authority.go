package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/idpsync/idpsync/store/identity"
)

// Values of Connector.Attributes.
const (
	AuthorityIDP   = "idp"   // the identity provider: a pull makes the attribute what it states
	AuthorityLocal = "local" // whoever changes it here: a pull sets it once
)

// LocalAttributes returns the attributes that a pull sets once and leaves alone.
func (c *Connector) LocalAttributes() []identity.Path {
	var local []identity.Path
	for _, text := range slices.Sorted(maps.Keys(c.Attributes)) {
		if p, err := attributePath(text); err == nil && c.Attributes[text] == AuthorityLocal {
			local = append(local, p)
		}
	}
	return local
}

const coreUser = "urn:ietf:params:scim:schemas:core:2.0:User"

// attributePath reads a path; the schema of users may be named, as SCIM allows it.
func attributePath(text string) (identity.Path, error) {
	p, err := identity.ParsePath(text)
	if strings.EqualFold(p.Schema, coreUser) {
		p.Schema = ""
	}
	return p, err
}

// ProtectedRoles returns the roles on teams whose last active holder no pull takes away.
func (c *Config) ProtectedRoles() []Grant {
	grants := make([]Grant, len(c.Protected))
	for i, text := range c.Protected {
		grants[i] = teamRole(text)
	}
	return grants
}

// teamRole reads TEAM:ROLE. A team's name may have a colon, a role's has none.
func teamRole(text string) Grant {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return Grant{Role: text}
	}
	return Grant{Team: strings.TrimSpace(text[:colon]), Role: strings.TrimSpace(text[colon+1:])}
}

// byPath decodes a mapping whose keys are paths.
func (d *decoder) byPath(path string, n ast.Node, v reflect.Value, depth int) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, pair := range d.pairs(path, n, depth) {
		key := pair.Key.GetToken().Value
		field := join(path, key)
		if d.where.has(field) {
			d.addAt(placeOf(pair.Key.GetToken()), field, "the key appears twice; keep one")
			continue
		}
		d.where[field] = placeOf(pair.Key.GetToken())
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(field, pair.Value, value, depth+1)
		v.SetMapIndex(reflect.ValueOf(key), value)
	}
}

func (ch checker) authorities(path string, list map[string]string) {
	seen := map[string]string{}
	for _, text := range slices.Sorted(maps.Keys(list)) {
		field := join(path, text)
		ch.oneOf(field, list[text], AuthorityIDP, AuthorityLocal)
		p, err := attributePath(text)
		if err != nil {
			ch.bad(field, "%v; write for example title, name.givenName or phoneNumbers", err)
			continue
		}
		same := strings.ToLower(p.String())
		if first, twice := seen[same]; twice {
			ch.bad(field, "%s is the same attribute; keep one", first)
		}
		seen[same] = text
		if list[text] == AuthorityLocal {
			ch.localAttribute(field, p)
		}
	}
	ch.within(path, list)
}

// localAttribute reports an attribute that a pull has to keep, and what is none.
func (ch checker) localAttribute(field string, p identity.Path) {
	hot := []string{"userName", "externalId", "active"}
	is := func(name string) bool { return p.Schema == "" && strings.EqualFold(p.Attr, name) }
	switch {
	case slices.ContainsFunc(hot, is):
		ch.bad(field, "people are known by it, or let in by it, and it cannot be local; remove the entry")
	case is("emails") && (p.Type == "" || strings.EqualFold(p.Type, "work")):
		ch.bad(field, `the primary address is among these, and it cannot be local; name others, for example 'emails[type eq "home"]'`)
	case strings.EqualFold(p.Schema+":"+p.Attr, identity.EnterpriseURN), strings.EqualFold(p.Schema+":"+p.Attr, coreUser):
		ch.bad(field, "this is a schema; name its attributes one by one, for example %s:department", identity.EnterpriseURN)
	}
}

// within reports attributes that are the identity provider's and below local ones.
func (ch checker) within(path string, list map[string]string) {
	for inner, who := range list {
		p, err := attributePath(inner)
		if err != nil || who != AuthorityIDP {
			continue
		}
		for _, outer := range slices.Sorted(maps.Keys(list)) {
			whole, err := attributePath(outer)
			if err != nil || list[outer] != AuthorityLocal || whole.Type != "" || whole.Sub != "" || p == whole {
				continue
			}
			if strings.EqualFold(whole.Schema, p.Schema) && strings.EqualFold(whole.Attr, p.Attr) {
				ch.bad(join(path, inner), "it is a part of %s, which is local as a whole; make the other parts local one by one", outer)
			}
		}
	}
}

func (ch checker) protected(list, roles []string) {
	seen := map[Grant]bool{}
	for i, text := range list {
		field := fmt.Sprintf("protected_roles[%d]", i)
		g := teamRole(text)
		if text == "" {
			continue // reported as an empty entry
		}
		if g.Team == "" {
			ch.bad(field, "%q names no team; write TEAM:ROLE, for example root:admin", text)
			continue
		}
		ch.role(field, g.Role, roles)
		g.Team = strings.ToLower(g.Team)
		if seen[g] {
			ch.bad(field, "the same team and role stand above; remove one")
		}
		seen[g] = true
	}
}
