package entra

import (
	"encoding/base64"
	"errors"
	"maps"
	"slices"
)

// nesting is which groups are in which groups. The zero value has none.
type nesting struct {
	children, parents map[guid]map[guid]bool

	// asleep are softly deleted groups: they hold nobody, and when they are restored Graph does not tell that they are in
	// others again.
	asleep map[guid]bool
}

// sleep notes that a group in a nest was softly deleted.
func (n *nesting) sleep(group guid) {
	if len(n.children[group])+len(n.parents[group]) == 0 {
		return
	}
	if n.asleep == nil {
		n.asleep = map[guid]bool{}
	}
	n.asleep[group] = true
}

// sleepers returns the ids of the groups that are asleep, in order.
func (n *nesting) sleepers() []string { return sortedTexts(slices.Collect(maps.Keys(n.asleep))) }

// wake notes that a group is there, and tells whether it was asleep.
func (n *nesting) wake(group guid) bool {
	was := n.asleep[group]
	delete(n.asleep, group)
	return was
}

func (n *nesting) add(parent, child guid) {
	if n.children == nil {
		n.children, n.parents = map[guid]map[guid]bool{}, map[guid]map[guid]bool{}
	}
	put(n.children, parent, child)
	put(n.parents, child, parent)
}

func put(m map[guid]map[guid]bool, key, value guid) {
	if m[key] == nil {
		m[key] = map[guid]bool{}
	}
	m[key][value] = true
}

func (n *nesting) remove(parent, child guid) {
	take(n.children, parent, child)
	take(n.parents, child, parent)
}

func take(m map[guid]map[guid]bool, key, value guid) {
	delete(m[key], value)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// drop takes a group out of all nesting.
func (n *nesting) drop(group guid) {
	for child := range n.children[group] {
		take(n.parents, child, group)
	}
	for parent := range n.parents[group] {
		take(n.children, parent, group)
	}
	delete(n.children, group)
	delete(n.parents, group)
	delete(n.asleep, group)
}

func (n *nesting) empty() bool { return len(n.children) == 0 }

// ancestors adds to all the groups that the group is in, at any depth, itself included.
func (n *nesting) ancestors(group guid, all map[guid]bool) {
	if all[group] {
		return
	}
	all[group] = true
	for parent := range n.parents[group] {
		if !n.asleep[parent] {
			n.ancestors(parent, all)
		}
	}
}

// String writes the pairs of parent and child, 32 bytes each, in order.
func (n *nesting) String() string {
	var pairs [][2]guid
	for parent, children := range n.children {
		for child := range children {
			pairs = append(pairs, [2]guid{parent, child})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]guid) int {
		if c := a[0].compare(b[0]); c != 0 {
			return c
		}
		return a[1].compare(b[1])
	})
	b := make([]byte, 0, 32*len(pairs))
	for _, pair := range pairs {
		b = append(append(b, pair[0][:]...), pair[1][:]...)
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

func parseNesting(s string) (n nesting, err error) {
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err == nil && len(b)%32 != 0 {
		err = errors.New("half a pair")
	}
	if err != nil {
		return n, err
	}
	for pair := range slices.Chunk(b, 32) {
		n.add(guid(pair[:16]), guid(pair[16:]))
	}
	return n, nil
}

func (n *nesting) clone() nesting {
	var c nesting
	for parent, children := range n.children {
		for child := range children {
			c.add(parent, child)
		}
	}
	c.asleep = maps.Clone(n.asleep)
	return c
}
