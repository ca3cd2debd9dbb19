package scim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store/identity"
)

// The characteristics of a site's own attributes that are about a user as a whole: required, immutable and never
// returned (RFC 7643, section 7). What is about one value, the schema and the patch see to.

// checkPatched refuses a user as a PATCH leaves it. What was missing before is not of its making.
func (h *Handler) checkPatched(before, after *identity.User) error {
	if err := h.heedImmutable(before, after); err != nil {
		return err
	}
	held := h.missing(before, before.Attributes)
	wrong := slices.DeleteFunc(h.missing(after, after.Attributes), func(w string) bool { return slices.Contains(held, w) })
	return firstOf400(wrong)
}

// settleReplaced completes what a PUT states by what the client could not state or may not change: values that are never
// returned, and immutable ones that are left out. It refuses others in the place of immutable ones.
func (h *Handler) settleReplaced(before, after *identity.User) error {
	stated := after.Attributes.Clone()
	for _, s := range h.users.Extensions {
		held, _ := before.Attributes[s.ID].(map[string]any)
		next, ok := after.Attributes[s.ID].(map[string]any)
		if !ok {
			next = map[string]any{}
		}
		keepUnstated(s.Attributes, held, next)
		if len(next) > 0 && after.Attributes == nil {
			after.Attributes = identity.Attributes{}
		}
		if len(next) > 0 {
			after.Attributes[s.ID] = next
		}
	}
	if err := h.heedImmutable(before, after); err != nil {
		return err
	}
	return firstOf400(h.missing(after, stated))
}

// checkPosted refuses a user that lacks what is required.
func (h *Handler) checkPosted(u *identity.User) error {
	return firstOf400(h.missing(u, u.Attributes))
}

func firstOf400(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return badValue("%s", wrong[0])
}

// dropUndeclared takes out of a resource what is held of extensions that are declared no longer: nothing says any more
// whether it may be returned.
func (h *Handler) dropUndeclared(doc map[string]any) {
	for key, v := range doc {
		if !strings.Contains(key, ":") {
			continue
		}
		i := slices.IndexFunc(h.users.Extensions, func(s *schema.Schema) bool { return s.ID == key })
		if i < 0 {
			delete(doc, key)
		} else if object, ok := v.(map[string]any); ok {
			doc[key] = onlyDeclared(h.users.Extensions[i].Attributes, object)
		}
	}
}

// onlyDeclared returns an object without what the attributes do not name; what it takes out of is a copy.
func onlyDeclared(attributes []schema.Attribute, object map[string]any) map[string]any {
	out := make(map[string]any, len(object))
	for i := range attributes {
		a := &attributes[i]
		v, ok := object[a.Name]
		if !ok {
			continue
		}
		if a.Type == schema.Complex {
			v = onlyDeclaredParts(a, v)
		}
		out[a.Name] = v
	}
	return out
}

func onlyDeclaredParts(a *schema.Attribute, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return onlyDeclared(a.SubAttributes, v)
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = onlyDeclaredParts(a, element)
		}
		return out
	}
	return v
}

// missing lists what is required of a user and not there, in the extensions that are stated.
func (h *Handler) missing(u *identity.User, stated identity.Attributes) []string {
	var wrong []string
	for _, s := range h.users.Extensions {
		if stated[s.ID] == nil {
			if s.Required {
				wrong = append(wrong, s.ID+" is required")
			}
			continue
		}
		object, _ := u.Attributes[s.ID].(map[string]any)
		wrong = append(wrong, missingIn(s.Attributes, s.ID+":", object)...)
	}
	return wrong
}

func missingIn(attributes []schema.Attribute, prefix string, object map[string]any) []string {
	var wrong []string
	for i := range attributes {
		a := &attributes[i]
		v, stated := object[a.Name]
		switch {
		case a.Required && !stated:
			wrong = append(wrong, prefix+a.Name+" is required")
		case a.Type == schema.Complex && stated:
			for _, element := range filter.Elements(v) {
				wrong = append(wrong, missingIn(a.SubAttributes, prefix+a.Name+".", element)...)
			}
		}
	}
	return wrong
}

// keepUnstated puts into next what held has and a client that states a whole object leaves out without meaning it.
func keepUnstated(attributes []schema.Attribute, held, next map[string]any) {
	for i := range attributes {
		a := &attributes[i]
		v, had := held[a.Name]
		stated, states := next[a.Name]
		switch {
		case !had:
		case !states && (a.Mutability == schema.Immutable || a.Returned == schema.Never):
			next[a.Name] = v
		case states && a.Type == schema.Complex:
			for _, pair := range counterparts(a, v, stated) {
				keepUnstated(a.SubAttributes, pair.held, pair.next)
			}
		}
	}
}

// pair is a complex value before and after a change.
type pair struct{ held, next map[string]any }

// counterparts finds for each complex value the one that it was before. The elements of a list are known by their value.
func counterparts(a *schema.Attribute, held, next any) []pair {
	if !a.MultiValued {
		before, _ := held.(map[string]any)
		after, ok := next.(map[string]any)
		if !ok {
			return nil
		}
		return []pair{{before, after}}
	}
	var pairs []pair
	was := filter.Elements(held)
	for _, after := range filter.Elements(next) {
		if after["value"] == nil {
			continue
		}
		i := slices.IndexFunc(was, func(before map[string]any) bool { return sameValue(before["value"], after["value"]) })
		if i >= 0 {
			pairs = append(pairs, pair{was[i], after})
		}
	}
	return pairs
}

// heedImmutable refuses a change of what is set once.
func (h *Handler) heedImmutable(before, after *identity.User) error {
	for _, s := range h.users.Extensions {
		held, _ := before.Attributes[s.ID].(map[string]any)
		next, _ := after.Attributes[s.ID].(map[string]any)
		if err := immutableIn(s.Attributes, s.ID+":", held, next); err != nil {
			return err
		}
	}
	return nil
}

func immutableIn(attributes []schema.Attribute, prefix string, held, next map[string]any) error {
	for i := range attributes {
		a := &attributes[i]
		v, had := held[a.Name]
		if !had {
			continue
		}
		if a.Mutability == schema.Immutable && !matches(a, v, next[a.Name]) {
			return &Error{
				Status: http.StatusBadRequest, Type: mutability,
				Detail: fmt.Sprintf("%s%s is immutable: it is set already", prefix, a.Name),
			}
		}
		if a.Type != schema.Complex {
			continue
		}
		for _, pair := range counterparts(a, v, next[a.Name]) {
			if err := immutableIn(a.SubAttributes, prefix+a.Name+".", pair.held, pair.next); err != nil {
				return err
			}
		}
	}
	return nil
}

// matches tells whether a value is the held one as the attribute compares them.
func matches(a *schema.Attribute, held, next any) bool {
	x, isText := held.(string)
	y, areTexts := next.(string)
	if isText && areTexts && !a.CaseExact {
		return strings.EqualFold(x, y)
	}
	return sameValue(held, next)
}
