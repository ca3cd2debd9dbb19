package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Resource is a type of resource: a core schema, its extensions and the attributes that every resource has.
type Resource struct {
	Name        string // "User"
	Endpoint    string // "/Users"
	Description string
	Core        *Schema
	Extensions  []*Schema

	common Schema
}

// Ref is what the name of an attribute refers to.
type Ref struct {
	Extension *Schema    // the extension that holds the attribute, or nil for core and common attributes
	Attr      *Attribute // nil when the name was an extension's, or the core schema's, URN
	Sub       *Attribute // nil when the name had no sub-attribute
}

// Leaf returns the definition of the innermost thing named.
func (r Ref) Leaf() *Attribute {
	if r.Sub != nil {
		return r.Sub
	}
	return r.Attr
}

// String names the attribute in canonical spelling.
func (r Ref) String() string {
	var parts []string
	if r.Extension != nil {
		parts = append(parts, r.Extension.ID)
	}
	if r.Attr != nil {
		name := r.Attr.Name
		if r.Sub != nil {
			name += "." + r.Sub.Name
		}
		parts = append(parts, name)
	}
	return strings.Join(parts, ":")
}

// Lookup finds what urn, name and sub refer to, in any letter case; urn and sub may be empty. The parts are those of
// a name split at its last colon and the first dot behind it, so a schema's own URN comes in as urn and name.
func (r *Resource) Lookup(urn, name, sub string) (Ref, bool) {
	if urn == "" {
		for _, s := range []*Schema{r.Core, &r.common} {
			if a := s.Attribute(name); a != nil {
				return withSub(Ref{Attr: a}, sub)
			}
		}
		return Ref{}, false
	}
	for _, s := range r.schemas() {
		ref := Ref{Extension: s}
		if s == r.Core {
			ref.Extension = nil
		}
		switch {
		case strings.EqualFold(s.ID, urn):
			ref.Attr = s.Attribute(name)
			if ref.Attr == nil && s == r.Core {
				ref.Attr = r.common.Attribute(name)
			}
			if ref.Attr == nil {
				return Ref{}, false
			}
			return withSub(ref, sub)
		case strings.EqualFold(s.ID, urn+":"+name):
			if sub == "" {
				return ref, true
			}
			// "urn:...:2.0:User.department", a dot where the colon belongs.
			ref.Attr = s.Attribute(sub)
			return ref, ref.Attr != nil
		case sub != "" && strings.EqualFold(s.ID, urn+":"+name+"."+sub):
			return ref, true
		}
	}
	return Ref{}, false
}

func withSub(ref Ref, sub string) (Ref, bool) {
	if sub == "" {
		return ref, true
	}
	ref.Sub = ref.Attr.Sub(sub)
	return ref, ref.Sub != nil
}

// Extension returns the extension of that URN in any letter case, or nil.
func (r *Resource) Extension(urn string) *Schema {
	for _, s := range r.Extensions {
		if strings.EqualFold(s.ID, urn) {
			return s
		}
	}
	return nil
}

func (r *Resource) schemas() []*Schema {
	return append([]*Schema{r.Core}, r.Extensions...)
}

// Users returns the User resource: the core schema, the enterprise extension, and a site's own extensions.
func Users(extensions ...Schema) (*Resource, error) {
	enterprise := enterpriseUser()
	r := &Resource{
		Name: "User", Endpoint: "/Users", Description: "User accounts",
		Core: user(), Extensions: []*Schema{enterprise}, common: common(),
	}
	for _, s := range extensions {
		s.Attributes = cloneAll(s.Attributes)
		if err := s.complete(); err != nil {
			return nil, err
		}
		if name, ok := unique(s.Attributes); ok {
			return nil, fmt.Errorf("schema %s, attribute %s: nothing sees to it that values of extensions are unique", s.ID, name)
		}
		if strings.EqualFold(s.ID, UserURN) || r.Extension(s.ID) != nil {
			return nil, fmt.Errorf("schema %s: defined already", s.ID)
		}
		r.Extensions = append(r.Extensions, &s)
	}
	return r, nil
}

// Groups returns the Group resource.
func Groups() *Resource {
	return &Resource{
		Name: "Group", Endpoint: "/Groups", Description: "Groups of users; each becomes a team",
		Core: group(), common: common(),
	}
}

// unique returns the first attribute that promises unique values.
func unique(attributes []Attribute) (name string, ok bool) {
	for _, a := range attributes {
		if a.Uniqueness != None {
			return a.Name, true
		}
		if sub, ok := unique(a.SubAttributes); ok {
			return a.Name + "." + sub, true
		}
	}
	return "", false
}

func cloneAll(attributes []Attribute) []Attribute {
	attributes = slices.Clone(attributes)
	for i := range attributes {
		attributes[i].SubAttributes = cloneAll(attributes[i].SubAttributes)
	}
	return attributes
}
