package scim

import (
	"maps"
	"strings"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
)

// selection is which attributes a client wants (RFC 7644, section 3.9).
type selection struct {
	only   []schema.Ref // nil for the default ones
	except []schema.Ref
	asked  bool // whether "attributes" was stated at all
	hidden []schema.Ref
	always []schema.Ref // of extensions; the core schemas have none but id
}

// selected reads "attributes" and "excludedAttributes". Names that are not known select nothing.
func (r *request) selected(resource *schema.Resource) selection {
	s := selection{asked: r.query.Get("attributes") != "", hidden: hidden(resource), always: always(resource)}
	if s.asked {
		s.only = append([]schema.Ref{}, refs(resource, r.query.Get("attributes"))...)
		return s
	}
	s.except = refs(resource, r.query.Get("excludedAttributes"))
	return s
}

func refs(resource *schema.Resource, names string) []schema.Ref {
	var out []schema.Ref
	for name := range strings.SplitSeq(names, ",") {
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

// hidden lists the attributes that are not returned unless asked for, or never.
func hidden(resource *schema.Resource) []schema.Ref {
	var out []schema.Ref
	for _, s := range append([]*schema.Schema{nil}, resource.Extensions...) {
		attributes := resource.Core.Attributes
		if s != nil {
			attributes = s.Attributes
		}
		for i := range attributes {
			a := &attributes[i]
			if a.Returned == schema.Never || a.Returned == schema.OnRequest {
				out = append(out, schema.Ref{Extension: s, Attr: a})
			}
			for j := range a.SubAttributes {
				if sub := &a.SubAttributes[j]; sub.Returned == schema.Never || sub.Returned == schema.OnRequest {
					out = append(out, schema.Ref{Extension: s, Attr: a, Sub: sub})
				}
			}
		}
	}
	return out
}

// always lists the attributes of extensions that are part of every answer.
func always(resource *schema.Resource) []schema.Ref {
	var out []schema.Ref
	for _, s := range resource.Extensions {
		for i := range s.Attributes {
			if a := &s.Attributes[i]; a.Returned == schema.Always {
				out = append(out, schema.Ref{Extension: s, Attr: a})
			}
		}
	}
	return out
}

// wants tells whether a top-level core attribute is part of the answer, so that what is not need not be read.
func (s selection) wants(name string) bool {
	for _, ref := range s.except {
		if ref.Extension == nil && ref.Attr != nil && ref.Attr.Name == name && ref.Sub == nil {
			return false
		}
	}
	if !s.asked {
		return true
	}
	for _, ref := range s.only {
		if ref.Extension == nil && (ref.Attr == nil || ref.Attr.Name == name) {
			return true
		}
	}
	return false
}

// apply returns the selected part of a resource; id and schemas are part of every answer.
func (s selection) apply(doc map[string]any) map[string]any {
	for _, ref := range s.hidden {
		if ref.Leaf().Returned == schema.Never || !s.names(ref) {
			drop(doc, ref)
		}
	}
	kept := map[string]any{}
	for _, ref := range s.always {
		pick(kept, doc, ref)
	}
	if s.asked {
		kept["id"], kept["schemas"] = doc["id"], doc["schemas"]
		for _, ref := range s.only {
			pick(kept, doc, ref)
		}
		return withoutHollow(kept)
	}
	for _, ref := range s.except {
		if ref.Attr == nil || ref.Leaf().Returned != schema.Always {
			drop(doc, ref)
		}
	}
	for urn, ext := range kept { // of an extension that was dropped as a whole
		if doc[urn] == nil {
			doc[urn] = ext
		}
	}
	return withoutHollow(doc)
}

// withoutHollow drops extensions of which nothing is left.
func withoutHollow(doc map[string]any) map[string]any {
	maps.DeleteFunc(doc, func(key string, v any) bool {
		ext, ok := v.(map[string]any)
		return ok && len(ext) == 0 && strings.HasPrefix(key, "urn:")
	})
	return doc
}

func (s selection) names(ref schema.Ref) bool {
	for _, only := range s.only {
		if only.Extension == ref.Extension && only.Attr == ref.Attr && (only.Sub == nil || only.Sub == ref.Sub) {
			return true
		}
	}
	return false
}

func pick(out, doc map[string]any, ref schema.Ref) {
	if ref.Extension != nil {
		ext, ok := doc[ref.Extension.ID].(map[string]any)
		if !ok {
			return
		}
		if ref.Attr == nil {
			out[ref.Extension.ID] = ext
			return
		}
		picked, _ := out[ref.Extension.ID].(map[string]any)
		if picked == nil {
			picked = map[string]any{}
		}
		pick(picked, ext, schema.Ref{Attr: ref.Attr, Sub: ref.Sub})
		if len(picked) > 0 {
			out[ref.Extension.ID] = picked
		}
		return
	}
	if ref.Attr == nil { // the core schema's URN
		for key, v := range doc {
			if !strings.HasPrefix(key, "urn:") {
				out[key] = v
			}
		}
		return
	}
	v, ok := doc[ref.Attr.Name]
	if !ok {
		return
	}
	if ref.Sub == nil {
		out[ref.Attr.Name] = v
		return
	}
	out[ref.Attr.Name] = pickSub(out[ref.Attr.Name], v, ref.Sub.Name)
}

// pickSub returns one sub-attribute of an object, or of each element of a list, added to what was picked of it before.
func pickSub(picked, v any, name string) any {
	switch v := v.(type) {
	case []any:
		before, _ := picked.([]any)
		out := make([]any, len(v))
		for i, element := range v {
			var held any
			if i < len(before) {
				held = before[i]
			}
			out[i] = pickSub(held, element, name)
		}
		return out
	case map[string]any:
		out, _ := picked.(map[string]any)
		if out == nil {
			out = map[string]any{}
		}
		if sub, ok := v[name]; ok {
			out[name] = sub
		}
		return out
	}
	return v
}

// drop takes an attribute out of a resource without changing the values that it shares with others.
func drop(doc map[string]any, ref schema.Ref) {
	if ref.Extension != nil {
		if ref.Attr == nil {
			delete(doc, ref.Extension.ID)
			return
		}
		if ext, ok := doc[ref.Extension.ID].(map[string]any); ok {
			ext = maps.Clone(ext)
			drop(ext, schema.Ref{Attr: ref.Attr, Sub: ref.Sub})
			doc[ref.Extension.ID] = ext
		}
		return
	}
	if ref.Attr == nil {
		return
	}
	v, ok := doc[ref.Attr.Name]
	if !ok {
		return
	}
	if ref.Sub == nil {
		delete(doc, ref.Attr.Name)
		return
	}
	doc[ref.Attr.Name] = without(v, ref.Sub.Name)
}

func without(v any, name string) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = without(element, name)
		}
		return out
	case map[string]any:
		v = maps.Clone(v)
		delete(v, name)
		return v
	}
	return v
}
