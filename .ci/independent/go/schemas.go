package main

import (
	"bytes"
	"encoding/json"
	stderrors "errors"
	"fmt"
	"maps"
	"slices"

	"github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/schema"
)

// Why the library, which follows RFC 7643, section 8.7.1, and we differ.
const (
	ids      = `RFC 7643, section 3.1: an "id" is case exact, so what holds one is compared as one`
	stricter = `RFC 7643, section 2.2 leaves to the service provider what is required and unique; here this is`
)

// differences are by schema, attribute and characteristic.
var differences = map[string]string{
	"User name required":                            stricter,
	"User name.familyName required":                 stricter,
	"User name.givenName required":                  stricter,
	"User emails required":                          stricter,
	"User password caseExact":                       `case counts in a password, not that one is ever compared here`,
	"User groups.value caseExact":                   ids,
	"User groups.$ref referenceTypes":               `RFC 7643, section 4.1.2: "The URI of the corresponding "Group" resource"`,
	"Group displayName uniqueness":                  stricter,
	"Group members.value caseExact":                 ids,
	"Group members.display mutability":              `RFC 7643, section 2.4 has "immutable"; it is the member's name here, which nobody states`,
	"EnterpriseUser manager.value caseExact":        ids,
	"EnterpriseUser manager.displayName mutability": `RFC 7643, section 4.3 has it derived; a manager may be unknown here, so what is stated is kept`,
}

const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

var characteristics = []string{
	"type", "multiValued", "required", "caseExact", "mutability", "returned", "uniqueness", "canonicalValues", "referenceTypes",
}

type list struct {
	Total     int               `json:"totalResults"`
	Resources []json.RawMessage `json:"Resources"`
}

type object = map[string]any

// schemas reads our schemas with the library, compares them with its own, and checks what we serve against both.
func schemas(c suite, s *server) {
	theirs := map[string]schema.Schema{}
	for _, t := range []schema.Schema{
		schema.CoreUserSchema(), schema.CoreGroupSchema(), schema.ExtensionEnterpriseUser(),
		schema.Definition(), schema.ResourceTypeSchema(), schema.ServiceProviderConfigSchema(),
	} {
		theirs[t.ID] = t
	}
	ours := map[string]schema.Schema{}
	var page list
	c.check("reads all six schemas", func() error {
		if err := s.get("/Schemas", &page); err != nil {
			return err
		}
		for _, raw := range page.Resources {
			var one schema.Schema
			if err := json.Unmarshal(raw, &one); err != nil {
				return err
			}
			ours[one.ID] = one
		}
		return equal("schemas", slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs)))
	})
	for _, urn := range []string{userURN, groupURN, enterpriseURN} {
		o, ourErr := asObject(ours[urn])
		t, theirErr := asObject(theirs[urn])
		if err := stderrors.Join(ourErr, theirErr); err != nil {
			c.check("writes "+urn, func() error { return err })
			continue
		}
		compare(c, fmt.Sprint(o["name"])+" ", o["attributes"], t["attributes"])
	}
	for _, by := range []struct {
		whose   string
		schemas map[string]schema.Schema
	}{{"our", ours}, {"its", theirs}} {
		served(c, s, by.whose, writable(by.schemas))
	}
}

// writable returns schemas without read-only attributes: the library checks what clients send, and would not look at
// them.
func writable(schemas map[string]schema.Schema) map[string]schema.Schema {
	out := map[string]schema.Schema{}
	for urn, s := range schemas {
		data := bytes.ReplaceAll([]byte(text(s)), []byte(`"readOnly"`), []byte(`"readWrite"`))
		var changed schema.Schema
		if err := json.Unmarshal(data, &changed); err == nil {
			out[urn] = changed
		}
	}
	return out
}

func asObject(v any) (out object, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, json.Unmarshal(data, &out)
}

// compare looks at every attribute that the library knows.
func compare(c suite, path string, ours, theirs any) {
	for _, t := range objects(theirs) {
		name := fmt.Sprint(t["name"])
		i := slices.IndexFunc(objects(ours), func(o object) bool { return o["name"] == name })
		if i < 0 {
			c.check(path+name, func() error { return fmt.Errorf("not among ours") })
			continue
		}
		o := objects(ours)[i]
		var differing []string
		for _, characteristic := range characteristics {
			// What the library leaves out, such as caseExact of a boolean, it says nothing about.
			if t[characteristic] == nil || text(o[characteristic]) == text(t[characteristic]) {
				continue
			}
			differing = append(differing, characteristic)
			key := path + name + " " + characteristic
			c.agree(key, text(o[characteristic]), text(t[characteristic]), differences[key])
		}
		if len(differing) == 0 {
			c.check(path+name+" is defined alike", func() error { return nil })
		}
		compare(c, path+name+".", o["subAttributes"], t["subAttributes"])
	}
}

func objects(v any) (out []object) {
	elements, _ := v.([]any)
	for _, element := range elements {
		if o, ok := element.(object); ok {
			out = append(out, o)
		}
	}
	return out
}

func text(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// served checks every document that the server has against the schemas, and that the schemas know all that is in them.
func served(c suite, s *server, whose string, by map[string]schema.Schema) {
	for _, path := range []string{"/Users?count=200", "/Groups?count=200", "/ResourceTypes"} {
		c.check("GET "+path+" fits "+whose+" schemas", func() error {
			var page struct {
				Resources []object `json:"Resources"`
			}
			if err := s.get(path, &page); err != nil {
				return err
			}
			if len(page.Resources) == 0 {
				return fmt.Errorf("no resources to look at")
			}
			for _, resource := range page.Resources {
				if err := fits(resource, by); err != nil {
					return fmt.Errorf("%v: %w", resource["id"], err)
				}
			}
			return nil
		})
	}
	c.check("GET /ServiceProviderConfig fits "+whose+" schemas", func() error {
		var one object
		if err := s.get("/ServiceProviderConfig", &one); err != nil {
			return err
		}
		// RFC 9865, section 4 came after the library; RFC 7643, section 5 after its table has "primary".
		if whose == "its" {
			delete(one, "pagination")
			for _, scheme := range objects(one["authenticationSchemes"]) {
				delete(scheme, "primary")
			}
		}
		return fits(one, by)
	})
}

// fits validates a resource by all the schemas that it names. The library leaves out what a schema does not define;
// so does the comparison find it.
func fits(resource object, by map[string]schema.Schema) error {
	rest := maps.Clone(resource)
	for _, common := range []string{"schemas", "meta", "externalId"} {
		delete(rest, common)
	}
	urns, _ := resource["schemas"].([]any)
	if len(urns) == 0 {
		return fmt.Errorf("no schemas")
	}
	known := object{}
	for i, urn := range urns {
		s, ok := by[fmt.Sprint(urn)]
		if !ok {
			return fmt.Errorf("unknown schema %v", urn)
		}
		validate, part := s.Validate, any(resource)
		if i > 0 {
			validate, part = s.ValidateExtension, resource[s.ID]
		}
		valid, refusal := validate(numbered(part))
		if refusal != (*errors.ScimError)(nil) {
			return fmt.Errorf("%s: %s", s.ID, refusal.Detail)
		}
		if i > 0 {
			known[s.ID] = valid
		} else {
			maps.Copy(known, valid)
		}
	}
	if _, ok := known["id"]; !ok {
		delete(rest, "id")
	}
	return equal("what the schemas know of it", text(assigned(known)), text(assigned(rest)))
}

// assigned leaves out what is empty, which is the same as not being there (RFC 7643, section 2.5).
func assigned(o object) object {
	out := object{}
	for name, value := range o {
		if list, ok := value.([]any); value != nil && !(ok && len(list) == 0) {
			out[name] = value
		}
	}
	return out
}

// numbered turns numbers into what the library takes for integers and decimals alike.
func numbered(v any) any {
	switch v := v.(type) {
	case float64:
		return json.Number(text(v))
	case object:
		out := object{}
		for name, value := range v {
			out[name] = numbered(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = numbered(value)
		}
		return out
	}
	return v
}
