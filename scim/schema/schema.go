package schema

import (
	"fmt"
	"slices"
	"strings"
)

// URNs of the schemas of RFC 7643.
const (
	UserURN                  = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN                 = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseURN            = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	ServiceProviderConfigURN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
	ResourceTypeURN          = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
	SchemaURN                = "urn:ietf:params:scim:schemas:core:2.0:Schema"
)

// Type is the data type of an attribute (RFC 7643, section 2.3).
type Type string

// Data types.
const (
	String    Type = "string"
	Boolean   Type = "boolean"
	Decimal   Type = "decimal"
	Integer   Type = "integer"
	DateTime  Type = "dateTime"
	Binary    Type = "binary"
	Reference Type = "reference"
	Complex   Type = "complex"
)

// Mutability tells when a client may write an attribute (RFC 7643, section 7).
type Mutability string

// Mutabilities.
const (
	ReadOnly  Mutability = "readOnly"
	ReadWrite Mutability = "readWrite"
	Immutable Mutability = "immutable"
	WriteOnly Mutability = "writeOnly"
)

// Returned tells when an attribute is part of an answer (RFC 7643, section 7).
type Returned string

// When an attribute is returned.
const (
	Always    Returned = "always"
	Never     Returned = "never"
	Default   Returned = "default"
	OnRequest Returned = "request"
)

// Uniqueness tells within which bounds a value is unique (RFC 7643, section 7).
type Uniqueness string

// Uniquenesses.
const (
	None   Uniqueness = "none"
	Server Uniqueness = "server"
	Global Uniqueness = "global"
)

// Attribute describes one attribute or sub-attribute, in the form in which /Schemas serves it.
type Attribute struct {
	Name            string      `json:"name"`
	Type            Type        `json:"type"`
	SubAttributes   []Attribute `json:"subAttributes,omitempty"`
	MultiValued     bool        `json:"multiValued"`
	Description     string      `json:"description"`
	Required        bool        `json:"required"`
	CanonicalValues []string    `json:"canonicalValues,omitempty"`
	CaseExact       bool        `json:"caseExact"`
	Mutability      Mutability  `json:"mutability"`
	Returned        Returned    `json:"returned"`
	Uniqueness      Uniqueness  `json:"uniqueness"`
	ReferenceTypes  []string    `json:"referenceTypes,omitempty"`

	// AsSent says that the value is kept in whatever shape it was sent: identity providers send roles as a string,
	// as strings, as objects and as JSON inside a string, and want them back like that.
	AsSent bool `json:"-"`
}

// Sub returns the sub-attribute of that name in any letter case, or nil.
func (a *Attribute) Sub(name string) *Attribute { return find(a.SubAttributes, name) }

// Schema is a set of attributes under a URN.
type Schema struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Attributes  []Attribute `json:"attributes"`

	// Required says, of an extension, that every resource has it. The resource type tells of it, not the schema.
	Required bool `json:"-"`
}

// Attribute returns the attribute of that name in any letter case, or nil.
func (s *Schema) Attribute(name string) *Attribute { return find(s.Attributes, name) }

func find(attributes []Attribute, name string) *Attribute {
	for i := range attributes {
		if strings.EqualFold(attributes[i].Name, name) {
			return &attributes[i]
		}
	}
	return nil
}

// complete sets what a site's own schema leaves out to the defaults of RFC 7643, section 2.2, and checks the rest.
func (s *Schema) complete() error {
	if !strings.HasPrefix(strings.ToLower(s.ID), "urn:") || strings.ContainsAny(s.ID, " \t[]\"") {
		return fmt.Errorf("schema %q: the id must be a URN", s.ID)
	}
	if len(s.Attributes) == 0 {
		return fmt.Errorf("schema %s: no attributes", s.ID)
	}
	s.ID = "urn" + s.ID[len("urn"):] // the one part in which case means nothing to anybody
	return completeAll("schema "+s.ID, s.Attributes, true)
}

func completeAll(where string, attributes []Attribute, nesting bool) error {
	for i := range attributes {
		a := &attributes[i]
		at := where + ", attribute " + a.Name
		if !validName(a.Name) {
			return fmt.Errorf("%s: attribute %q: a name is a letter followed by letters, digits, '-' or '_'", where, a.Name)
		}
		if find(attributes[:i], a.Name) != nil {
			return fmt.Errorf("%s: defined twice", at)
		}
		setDefault(&a.Type, String)
		setDefault(&a.Mutability, ReadWrite)
		if a.Mutability == WriteOnly {
			setDefault(&a.Returned, Never)
		}
		setDefault(&a.Returned, Default)
		setDefault(&a.Uniqueness, None)
		switch {
		case !slices.Contains([]Type{String, Boolean, Decimal, Integer, DateTime, Binary, Reference, Complex}, a.Type):
			return fmt.Errorf("%s: unknown type %q", at, a.Type)
		case !slices.Contains([]Mutability{ReadOnly, ReadWrite, Immutable, WriteOnly}, a.Mutability):
			return fmt.Errorf("%s: unknown mutability %q", at, a.Mutability)
		case !slices.Contains([]Returned{Always, Never, Default, OnRequest}, a.Returned):
			return fmt.Errorf("%s: unknown returned %q", at, a.Returned)
		case !slices.Contains([]Uniqueness{None, Server, Global}, a.Uniqueness):
			return fmt.Errorf("%s: unknown uniqueness %q", at, a.Uniqueness)
		case a.Mutability == WriteOnly && a.Returned != Never:
			return fmt.Errorf("%s: what is writeOnly is never returned", at)
		case a.Mutability == ReadOnly && a.Required:
			return fmt.Errorf("%s: no client can state what is readOnly", at)
		case a.Type == Complex && !nesting:
			return fmt.Errorf("%s: a sub-attribute is never complex", at)
		case (a.Type == Complex) != (len(a.SubAttributes) > 0):
			return fmt.Errorf("%s: complex attributes, and only they, have sub-attributes", at)
		}
		a.CaseExact = a.CaseExact || a.Type == Reference || a.Type == Binary // sections 2.3.6 and 2.3.7
		if err := completeAll(at, a.SubAttributes, false); err != nil {
			return err
		}
	}
	return nil
}

func setDefault[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

func validName(name string) bool {
	name = strings.TrimPrefix(name, "$") // $ref
	for i := range len(name) {
		c := name[i] | 0x20
		letter := c >= 'a' && c <= 'z'
		other := name[i] >= '0' && name[i] <= '9' || name[i] == '-' || name[i] == '_'
		if !letter && (i == 0 || !other) {
			return false
		}
	}
	return name != ""
}
