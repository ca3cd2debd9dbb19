package scim

import (
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

// selection is which part of a resource is answered (RFC 7644, section 3.9): what is always returned, and of the rest
// what "attributes" names or else the default, without what "excludedAttributes" names. RFC 7644 has a client state one
// of the two; of one that states both, both are honoured.
type selection struct {
	asked  bool     // whether "attributes" was stated at all
	only   []chosen // what then is part of the answer, with what always is
	except []chosen // what is not
}

// chosen is an attribute, or with subs these sub-attributes of it.
type chosen struct {
	extension *schema.Schema // nil for core and common attributes
	attr      *schema.Attribute
	subs      []string // nil for the whole attribute
}

// selected reads "attributes" and "excludedAttributes". Names that are not known select nothing.
func (r *request) selected(resource *schema.Resource) selection {
	asked := strings.Join(r.query["attributes"], ",")
	s := selection{asked: asked != ""}
	named := refs(resource, asked)
	for ref := range everyRef(resource) {
		switch returned := ref.Leaf().Returned; {
		case returned == schema.Never, returned == schema.OnRequest && !names(named, ref) && !r.states(resource, ref):
			s.except = choose(s.except, ref)
		case returned == schema.Always && ref.Sub == nil:
			s.only = choose(s.only, ref)
		}
	}
	for ref := range expand(resource, named) {
		s.only = choose(s.only, ref)
	}
	for i, c := range s.only {
		if c.subs != nil {
			s.only[i].subs = append(c.subs, always(c.attr)...)
		}
	}
	for ref := range expand(resource, refs(resource, strings.Join(r.query["excludedAttributes"], ","))) {
		s.except = exclude(s.except, ref)
	}
	return s
}

// refs looks names up that are separated by commas.
func refs(resource *schema.Resource, list string) []schema.Ref {
	var out []schema.Ref
	for name := range strings.SplitSeq(list, ",") {
		path, err := filter.ParsePath(name)
		if err != nil {
			continue
		}
		if ref, ok := resource.Lookup(path.Attr.Schema, path.Attr.Name, path.Attr.Sub); ok {
			out = append(out, ref)
		}
	}
	return out
}

// everyRef yields each attribute and sub-attribute of the resource's schemas, and the common ones that are always
// returned.
func everyRef(resource *schema.Resource) iter.Seq[schema.Ref] {
	return func(yield func(schema.Ref) bool) {
		for _, name := range []string{"schemas", "id"} {
			if ref, ok := resource.Lookup("", name, ""); ok && !yield(ref) {
				return
			}
		}
		for _, s := range append([]*schema.Schema{resource.Core}, resource.Extensions...) {
			for ref := range refsOf(resource, s) {
				if !yield(ref) {
					return
				}
				for i := range ref.Attr.SubAttributes {
					if !yield(schema.Ref{Extension: ref.Extension, Attr: ref.Attr, Sub: &ref.Attr.SubAttributes[i]}) {
						return
					}
				}
			}
		}
	}
}

// refsOf yields the attributes of one of the resource's schemas.
func refsOf(resource *schema.Resource, s *schema.Schema) iter.Seq[schema.Ref] {
	extension := s
	if s == resource.Core {
		extension = nil
	}
	return func(yield func(schema.Ref) bool) {
		for i := range s.Attributes {
			if !yield(schema.Ref{Extension: extension, Attr: &s.Attributes[i]}) {
				return
			}
		}
	}
}

// expand replaces the URN of a schema by the attributes that are returned by default of it.
func expand(resource *schema.Resource, named []schema.Ref) iter.Seq[schema.Ref] {
	return func(yield func(schema.Ref) bool) {
		for _, ref := range named {
			if ref.Attr != nil {
				if !yield(ref) {
					return
				}
				continue
			}
			s := ref.Extension
			if s == nil {
				s = resource.Core
			}
			for ref := range refsOf(resource, s) {
				if !yield(ref) {
					return
				}
			}
		}
	}
}

// names tells whether an attribute is named itself, or a sub-attribute of it.
func names(named []schema.Ref, ref schema.Ref) bool {
	return slices.ContainsFunc(named, func(n schema.Ref) bool {
		return n.Attr == ref.Attr && (ref.Sub == nil || n.Sub == ref.Sub)
	})
}

func choose(list []chosen, ref schema.Ref) []chosen {
	c := chosen{extension: ref.Extension, attr: ref.Attr}
	if ref.Sub != nil {
		c.subs = []string{ref.Sub.Name}
	}
	i := slices.IndexFunc(list, func(c chosen) bool { return c.attr == ref.Attr })
	switch {
	case i < 0:
		return append(list, c)
	case c.subs == nil:
		list[i].subs = nil
	case list[i].subs != nil:
		list[i].subs = append(list[i].subs, c.subs...)
	}
	return list
}

// exclude adds what a client does not want, which has no effect on what is always returned.
func exclude(list []chosen, ref schema.Ref) []chosen {
	if ref.Leaf().Returned == schema.Always {
		return list
	}
	if ref.Sub != nil || len(always(ref.Attr)) == 0 {
		return choose(list, ref)
	}
	for i := range ref.Attr.SubAttributes {
		list = exclude(list, schema.Ref{Extension: ref.Extension, Attr: ref.Attr, Sub: &ref.Attr.SubAttributes[i]})
	}
	return list
}

// always returns the names of the sub-attributes that are returned wherever their attribute is.
func always(a *schema.Attribute) []string {
	var subs []string
	for i := range a.SubAttributes {
		if a.SubAttributes[i].Returned == schema.Always {
			subs = append(subs, a.SubAttributes[i].Name)
		}
	}
	return subs
}

// states tells whether the request writes an attribute: one that is returned on request is part of the answer to that
// (RFC 7643, section 7).
func (r *request) states(resource *schema.Resource, ref schema.Ref) bool {
	if r.data == nil || !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method) {
		return false
	}
	var written []string
	if ops, ok := schema.Member(r.data, "Operations").([]any); ok && r.Method == http.MethodPatch {
		for _, op := range ops {
			if op, ok := op.(map[string]any); ok {
				path, _ := schema.Member(op, "path").(string)
				written = append(written, path)
				written = appendNames(written, path, schema.Member(op, "value"))
			}
		}
	} else {
		written = appendNames(written, "", r.data)
	}
	return slices.ContainsFunc(written, func(name string) bool { return names(refs(resource, name), schema.Ref{Attr: ref.Attr}) })
}

// appendNames appends the names of an object's members, and of those of the objects in it that are extensions.
func appendNames(list []string, within string, v any) []string {
	object, _ := v.(map[string]any)
	if within != "" {
		within += ":"
	}
	for key, member := range object {
		list = append(list, within+key)
		if strings.HasPrefix(strings.ToLower(key), "urn:") {
			list = appendNames(list, key, member)
		}
	}
	return list
}

// wants tells whether a top-level core attribute is part of the answer, so that what is not need not be read.
func (s selection) wants(name string) bool {
	is := func(c chosen) bool { return c.extension == nil && c.attr.Name == name }
	if slices.ContainsFunc(s.except, func(c chosen) bool { return is(c) && c.subs == nil }) {
		return false
	}
	return !s.asked || slices.ContainsFunc(s.only, is)
}

// apply returns the selected part of a resource. The values in it may be shared with others and are left alone.
func (s selection) apply(doc map[string]any) map[string]any {
	if s.asked {
		out := make(map[string]any, len(s.only))
		for _, c := range s.only {
			pick(out, doc, c)
		}
		doc = out
	}
	for _, c := range s.except {
		drop(doc, c)
	}
	return doc
}

func pick(out, doc map[string]any, c chosen) {
	if c.extension != nil {
		within, _ := doc[c.extension.ID].(map[string]any)
		picked, _ := out[c.extension.ID].(map[string]any)
		if picked == nil {
			picked = map[string]any{}
		}
		if pick(picked, within, chosen{attr: c.attr, subs: c.subs}); len(picked) > 0 {
			out[c.extension.ID] = picked
		}
		return
	}
	v, ok := doc[c.attr.Name]
	if ok && c.subs != nil {
		v = narrow(v, func(sub string) bool { return slices.Contains(c.subs, sub) })
	}
	if ok && v != nil {
		out[c.attr.Name] = v
	}
}

func drop(doc map[string]any, c chosen) {
	if c.extension != nil {
		within, ok := doc[c.extension.ID].(map[string]any)
		if !ok {
			return
		}
		within = maps.Clone(within)
		doc[c.extension.ID] = within
		if drop(within, chosen{attr: c.attr, subs: c.subs}); len(within) == 0 {
			delete(doc, c.extension.ID)
		}
		return
	}
	v, ok := doc[c.attr.Name]
	if !ok {
		return
	}
	if c.subs != nil {
		v = narrow(v, func(sub string) bool { return !slices.Contains(c.subs, sub) })
	}
	if doc[c.attr.Name] = v; c.subs == nil || v == nil {
		delete(doc, c.attr.Name)
	}
}

// narrow returns a complex value, or each element of a list of them, with only the sub-attributes to keep; nil when
// none is left of what there was. A bare element stands for its value.
func narrow(v any, keep func(sub string) bool) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, element := range v {
			if element = narrow(element, keep); element != nil {
				out = append(out, element)
			}
		}
		if len(out) == 0 && len(v) > 0 {
			return nil
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, sub := range v {
			if keep(name) {
				out[name] = sub
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	if keep("value") {
		return v
	}
	return nil
}
