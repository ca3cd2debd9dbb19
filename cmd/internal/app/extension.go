package app

import (
	"github.com/idpsync/idpsync/configs"
	"github.com/idpsync/idpsync/scim/schema"
)

// extensions returns a site's own schemas as the endpoint takes them.
func extensions(list []configs.Extension) []schema.Schema {
	out := make([]schema.Schema, len(list))
	for i, e := range list {
		out[i] = schema.Schema{ID: e.ID, Name: e.Name, Description: e.Description, Required: e.Required}
		for _, a := range e.Attributes {
			definition := attribute(a)
			for _, sub := range a.SubAttributes {
				definition.SubAttributes = append(definition.SubAttributes, attribute(sub.Attribute()))
			}
			out[i].Attributes = append(out[i].Attributes, definition)
		}
	}
	return out
}

func attribute(a configs.Attribute) schema.Attribute {
	return schema.Attribute{
		Name: a.Name, Type: schema.Type(a.Type), MultiValued: a.MultiValued, Description: a.Description, Required: a.Required,
		CanonicalValues: a.CanonicalValues, CaseExact: a.CaseExact, Mutability: schema.Mutability(a.Mutability),
		Returned: schema.Returned(a.Returned), Uniqueness: schema.Uniqueness(a.Uniqueness), ReferenceTypes: a.ReferenceTypes,
	}
}
