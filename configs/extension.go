package configs

import (
	"fmt"
	"regexp"
	"strings"
)

// Extension is a schema of the site's own for users (RFC 7643, section 3.3).
type Extension struct {
	ID          string      `yaml:"id"` // a URN
	Name        string      `yaml:"name"`
	Description string      `yaml:"description"`
	Required    bool        `yaml:"required"` // every user has it
	Attributes  []Attribute `yaml:"attributes"`
}

// Attribute defines an attribute of an Extension, by the characteristics of RFC 7643, section 7. What is left empty has
// the default of section 2.2: a string that clients read and write.
type Attribute struct {
	Name            string         `yaml:"name"`
	Type            string         `yaml:"type"`
	Description     string         `yaml:"description"`
	MultiValued     bool           `yaml:"multi_valued"`
	Required        bool           `yaml:"required"` // where the extension is stated
	CaseExact       bool           `yaml:"case_exact"`
	Mutability      string         `yaml:"mutability"`
	Returned        string         `yaml:"returned"`
	Uniqueness      string         `yaml:"uniqueness"`
	CanonicalValues []string       `yaml:"canonical_values"`
	ReferenceTypes  []string       `yaml:"reference_types"`
	SubAttributes   []SubAttribute `yaml:"sub_attributes"`
}

// SubAttribute defines a part of a complex Attribute. It has no parts of its own.
type SubAttribute struct {
	Name            string   `yaml:"name"`
	Type            string   `yaml:"type"`
	Description     string   `yaml:"description"`
	MultiValued     bool     `yaml:"multi_valued"` // refused: a list of lists
	Required        bool     `yaml:"required"`     // where the attribute is stated
	CaseExact       bool     `yaml:"case_exact"`
	Mutability      string   `yaml:"mutability"`
	Returned        string   `yaml:"returned"`
	Uniqueness      string   `yaml:"uniqueness"`
	CanonicalValues []string `yaml:"canonical_values"`
	ReferenceTypes  []string `yaml:"reference_types"`
}

// Attribute returns the definition as one without parts.
func (s SubAttribute) Attribute() Attribute {
	return Attribute{
		Name: s.Name, Type: s.Type, Description: s.Description, MultiValued: s.MultiValued, Required: s.Required,
		CaseExact: s.CaseExact, Mutability: s.Mutability, Returned: s.Returned, Uniqueness: s.Uniqueness,
		CanonicalValues: s.CanonicalValues, ReferenceTypes: s.ReferenceTypes,
	}
}

var (
	urn = regexp.MustCompile(`(?i)^urn:[a-z0-9][a-z0-9-]{0,31}(:[a-z0-9._-]*[a-z0-9_-])+$`)
	// SCIM's own schemas and messages.
	ownURN = regexp.MustCompile(`(?i)^urn:ietf:params:scim:(api:.*|schemas:core:.*|schemas:extension:enterprise:2\.0:user)$`)

	attributeName = regexp.MustCompile(`^\$?[A-Za-z][A-Za-z0-9_-]*$`)
)

func (ch checker) extensions(list []Extension) {
	ids := map[string]int{}
	for i := range list {
		e := &list[i]
		field := fmt.Sprintf("scim.extensions[%d]", i)
		key := strings.ToLower(e.ID)
		switch first, taken := ids[key]; {
		case e.ID == "":
			ch.bad(field+".id", "it is missing; write a URN of your own, for example urn:ietf:params:scim:schemas:extension:acme:2.0:User")
		case !urn.MatchString(e.ID):
			ch.bad(field+".id", "%q is no URN that paths can name; write for example urn:ietf:params:scim:schemas:extension:acme:2.0:User", e.ID)
		case ownURN.MatchString(e.ID):
			ch.bad(field+".id", "%s belongs to SCIM itself; choose a URN of your own", e.ID)
		case taken:
			ch.bad(field+".id", "%s is the id of scim.extensions[%d] already; put the attributes together there", e.ID, first)
		default:
			ids[key] = i
		}
		if len(e.Attributes) == 0 {
			ch.bad(field+".attributes", "there are none; write for example attributes: [{name: badge}]")
		}
		names := map[string]bool{}
		for j := range e.Attributes {
			a := &e.Attributes[j]
			field := fmt.Sprintf("%s.attributes[%d]", field, j)
			ch.attribute(field, a, names)
			ch.subAttributes(field, a)
		}
	}
}

func (ch checker) subAttributes(field string, a *Attribute) {
	switch {
	case a.Type == "complex" && len(a.SubAttributes) == 0:
		ch.bad(field+".sub_attributes", "a complex attribute needs them; write for example sub_attributes: [{name: value}]")
	case a.Type != "complex" && len(a.SubAttributes) > 0:
		ch.bad(field+".sub_attributes", "only a complex attribute has them; write type: complex, or remove them")
	}
	names := map[string]bool{}
	for i, sub := range a.SubAttributes {
		field := fmt.Sprintf("%s.sub_attributes[%d]", field, i)
		if sub.Type == "complex" {
			ch.bad(field+".type", "a sub-attribute is never complex; write a simple type")
		}
		if sub.MultiValued {
			ch.bad(field+".multi_valued", "a sub-attribute has one value here; remove it, or make this an attribute of its own")
		}
		definition := sub.Attribute()
		ch.attribute(field, &definition, names)
	}
}

// attribute checks what attributes and their parts have alike. names are those of the ones before it.
func (ch checker) attribute(field string, a *Attribute, names map[string]bool) {
	key := strings.ToLower(a.Name)
	switch {
	case a.Name == "":
		ch.bad(field+".name", "it is missing; write the attribute's name")
	case !attributeName.MatchString(a.Name):
		ch.bad(field+".name", "%q is no name of an attribute; use letters, digits, _ and -, a letter first", a.Name)
	case names[key]:
		ch.bad(field+".name", "%q stands above already, and case does not tell names apart; choose another", a.Name)
	}
	names[key] = true
	ch.characteristic(field+".type", a.Type, "string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex")
	ch.characteristic(field+".mutability", a.Mutability, "readWrite", "readOnly", "immutable", "writeOnly")
	ch.characteristic(field+".returned", a.Returned, "default", "always", "request", "never")
	if a.Uniqueness == "server" || a.Uniqueness == "global" {
		ch.bad(field+".uniqueness", "%s: this version does not see to it that values of extensions are unique; write none, or leave it out", a.Uniqueness)
	}
	ch.characteristic(field+".uniqueness", a.Uniqueness, "none")
	if a.Mutability == "writeOnly" && a.Returned != "" && a.Returned != "never" {
		ch.bad(field+".returned", "what is writeOnly is never returned; write never, or leave it out")
	}
	if a.Mutability == "readOnly" && a.Required {
		ch.bad(field+".required", "no client can state what is readOnly; remove one of the two")
	}
	ch.referenceTypes(field+".reference_types", a)
	if len(a.CanonicalValues) > 0 && a.Type != "" && a.Type != "string" {
		ch.bad(field+".canonical_values", "only a string has them; remove them, or write type: string")
	}
}

func (ch checker) referenceTypes(field string, a *Attribute) {
	switch {
	case a.Type == "reference" && len(a.ReferenceTypes) == 0:
		ch.bad(field, "a reference needs them; write external for an address anywhere, uri for a URN, or User or Group")
	case a.Type != "reference" && len(a.ReferenceTypes) > 0:
		ch.bad(field, "only a reference has them; remove them, or write type: reference")
	}
	for i, kind := range a.ReferenceTypes {
		ch.oneOf(fmt.Sprintf("%s[%d]", field, i), kind, "external", "uri", "User", "Group")
	}
}

// characteristic is oneOf for what has a default.
func (ch checker) characteristic(field, value string, allowed ...string) {
	if value != "" {
		ch.oneOf(field, value, allowed...)
	}
}
