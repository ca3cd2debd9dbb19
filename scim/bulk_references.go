package scim

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// bulkIDPrefix is before a bulkId that stands for the id of what the operation with this bulkId makes.
const bulkIDPrefix = "bulkId:"

// quotedReference finds references in the filter of a PATCH path: members[value eq "bulkId:x"].
var quotedReference = regexp.MustCompile(`"` + bulkIDPrefix + `([^"\\]+)"`)

// pathRef returns the bulkId that an operation's path refers to, or "".
func (op *operation) pathRef() string {
	if len(op.segments) != 2 {
		return ""
	}
	name, ok := strings.CutPrefix(op.segments[1], bulkIDPrefix)
	if !ok {
		return ""
	}
	return name
}

// refer finds out which operations need what others make.
func (b *bulk) refer() {
	b.declare()
	for _, op := range b.operations {
		if op.err != nil {
			continue
		}
		found := map[string]bool{}
		if name := op.pathRef(); name != "" {
			found[name] = true
		}
		walk(op.references(), "", func(name string, _ bool) string {
			found[name] = true
			return name
		})
		op.refs = slices.Sorted(maps.Keys(found))
		for _, name := range op.refs {
			if other := b.declared[name]; other != nil && other.err == nil {
				op.needs = append(op.needs, other)
			}
		}
	}
	b.refuseNestedCircles()
}

// declare finds the operations whose bulkIds can be referred to. Of a bulkId that is stated twice nobody knows what it
// stands for, so that neither operation is run.
func (b *bulk) declare() {
	b.declared = map[string]*operation{}
	for _, op := range b.operations {
		if op.method != http.MethodPost || op.bulkID == "" {
			continue
		}
		if other := b.declared[op.bulkID]; other != nil {
			op.err = badValue("bulkId %.100q is not unique", op.bulkID)
			other.err = op.err
			continue
		}
		b.declared[op.bulkID] = op
	}
}

// references returns the part of an operation's data whose references count: groups of a user are read-only, and may
// well refer to a group that has the user as a member.
func (op *operation) references() map[string]any {
	if op.segments[0] != "Users" || op.method == http.MethodPatch {
		return op.data
	}
	counting := maps.Clone(op.data)
	maps.DeleteFunc(counting, func(key string, _ any) bool { return strings.EqualFold(key, "groups") })
	return counting
}

// refuseNestedCircles refuses groups that are in each other: no group may contain itself.
func (b *bulk) refuseNestedCircles() {
	isGroup := func(op *operation) bool { return op.err == nil && op.segments[0] == "Groups" }
	for _, circle := range circles(b.operations, func(op *operation) []*operation {
		if !isGroup(op) {
			return nil
		}
		return slices.DeleteFunc(slices.Clone(op.needs), func(other *operation) bool { return !isGroup(other) })
	}) {
		if len(circle) > 1 || isGroup(circle[0]) && slices.Contains(circle[0].needs, circle[0]) {
			for _, op := range circle {
				op.err = conflict("a group cannot contain itself, as the groups that these references make do")
			}
		}
	}
}

// order returns the operations as they are to be run, those together that need each other in a circle. An operation
// whose result is needed is run just before the first one that needs it; otherwise the stated order holds.
func (b *bulk) order() [][]*operation {
	return circles(b.operations, func(op *operation) []*operation {
		return slices.DeleteFunc(slices.Clone(op.needs), func(other *operation) bool { return op.err != nil || other.err != nil })
	})
}

// circles returns the strongly connected components, each in stated order, those that are needed first (Tarjan).
func circles(operations []*operation, needs func(*operation) []*operation) [][]*operation {
	var (
		out   [][]*operation
		stack []*operation
		at    = map[*operation]int{} // when it was found, from 1
		low   = map[*operation]int{} // the earliest that it leads back to
		done  = map[*operation]bool{}
		index = map[*operation]int{}
		visit func(op *operation)
	)
	for i, op := range operations {
		index[op] = i
	}
	visit = func(op *operation) {
		at[op] = len(at) + 1
		low[op] = at[op]
		stack = append(stack, op)
		next := needs(op)
		slices.SortFunc(next, func(a, b *operation) int { return index[a] - index[b] })
		for _, other := range next {
			if at[other] == 0 {
				visit(other)
			}
			if !done[other] {
				low[op] = min(low[op], low[other])
			}
		}
		if low[op] != at[op] {
			return
		}
		i := slices.Index(stack, op)
		circle := slices.Clone(stack[i:])
		stack = stack[:i]
		for _, member := range circle {
			done[member] = true
		}
		slices.SortFunc(circle, func(a, b *operation) int { return index[a] - index[b] })
		out = append(out, circle)
	}
	for _, op := range operations {
		if at[op] == 0 {
			visit(op)
		}
	}
	return out
}

// unresolved says which of an operation's references stand for nothing, those to the others of its circle aside
// (RFC 7644, section 3.7.2, and 409 as in section 3.7.1).
func (b *bulk) unresolved(op *operation, circle []*operation) error {
	for _, name := range op.refs {
		other := b.declared[name]
		switch {
		case other == nil:
			return conflict("no operation has the bulkId %.100q that this refers to", name)
		case slices.Contains(circle, other):
		case b.made[name] == "":
			return conflict("the operation with the bulkId %.100q that this refers to failed", name)
		}
	}
	return nil
}

// resolve puts ids in the place of an operation's references.
func (b *bulk) resolve(op *operation) {
	if name := op.pathRef(); name != "" {
		op.segments = []string{op.segments[0], b.made[name]}
	}
	if len(op.refs) > 0 {
		op.data = b.replace(op.data, b.made)
	}
}

// replace returns data with ids in the place of references, in "$ref" the location of the resource.
func (b *bulk) replace(data map[string]any, ids map[string]string) map[string]any {
	out, _ := walk(data, "", func(name string, asURL bool) string {
		id, ok := ids[name]
		switch {
		case !ok:
			return bulkIDPrefix + name
		case asURL:
			return b.r.base + "/" + b.declared[name].segments[0] + "/" + id
		}
		return id
	}).(map[string]any)
	return out
}

// walk returns a copy of data with what f returns in the place of each reference. key is the name of the member that
// data is the value of. f is told whether a URL is wanted rather than an id.
func walk(data any, key string, f func(name string, asURL bool) string) any {
	switch v := data.(type) {
	case string:
		return walkText(v, key, f)
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = walk(element, key, f)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = walk(member, name, f)
		}
		return out
	}
	return data
}

func walkText(text, key string, f func(name string, asURL bool) string) string {
	asURL := strings.EqualFold(key, "$ref")
	if name, ok := strings.CutPrefix(text, bulkIDPrefix); ok {
		return f(name, asURL)
	}
	if asURL {
		if before, name, ok := strings.Cut(text, "/"+bulkIDPrefix); ok {
			return before + "/" + f(name, false)
		}
	}
	if strings.EqualFold(key, "path") && strings.Contains(text, bulkIDPrefix) {
		return quotedReference.ReplaceAllStringFunc(text, func(quoted string) string {
			name := quotedReference.FindStringSubmatch(quoted)[1]
			return `"` + f(name, false) + `"`
		})
	}
	return text
}
