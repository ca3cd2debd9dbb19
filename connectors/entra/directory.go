package entra

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"

	"github.com/idpsync/idpsync/connectors"
	"github.com/idpsync/idpsync/store/identity"
)

// directory holds what a full pull has to know at once: who was listed, and who is a member of what. An object is a number,
// its place in a table of ids: an id takes 16 bytes once, and each membership 4. A million people with five million
// memberships take some 80 MB.
type directory struct {
	mu     sync.Mutex
	ids    []guid
	slots  []uint32 // open addressing; 1 + the object's number, 0 is empty
	seed   uint64
	marks  []mark // by number
	groups []node
	places map[uint32]int32 // of groups, by number
}

type mark uint8

const (
	listed   mark = 1 << iota // seen in the user list
	stated                    // and stated, because in scope
	gone                      // seen in the user list as removed
	assigned                  // to the application, itself or as a direct member of an assigned group
	inGroup                   // a member, at any depth, of a group in scope
)

// node is a group: its direct members, and the groups in it.
type node struct {
	number   uint32
	name     string
	gone     bool
	inScope  bool
	hidden   bool // its members may be kept from us
	users    []uint32
	children []uint32
}

func newDirectory() *directory {
	return &directory{slots: make([]uint32, 1<<10), seed: rand.Uint64() | 1, places: map[uint32]int32{}}
}

// number returns the object's number, giving it one where it has none.
func (d *directory) number(id guid) uint32 {
	i := d.slot(id)
	if d.slots[i] == 0 {
		d.ids, d.marks = append(d.ids, id), append(d.marks, 0)
		d.slots[i] = uint32(len(d.ids))
		if len(d.ids) > len(d.slots)/4*3 {
			d.grow()
		}
		return uint32(len(d.ids) - 1)
	}
	return d.slots[i] - 1
}

func (d *directory) slot(id guid) int {
	most := uint64(len(d.slots) - 1)
	high, low := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	for i := bits.RotateLeft64((high^bits.RotateLeft64(low, 29))*d.seed, 32) & most; ; i = (i + 1) & most {
		if n := d.slots[i]; n == 0 || d.ids[n-1] == id {
			return int(i)
		}
	}
}

func (d *directory) grow() {
	d.slots = make([]uint32, 2*len(d.slots))
	for n, id := range d.ids {
		d.slots[d.slot(id)] = uint32(n + 1)
	}
}

// group returns the group's place, making one where it has none.
func (d *directory) group(id guid) *node {
	n := d.number(id)
	place, known := d.places[n]
	if !known {
		place = int32(len(d.groups))
		d.groups = append(d.groups, node{number: n})
		d.places[n] = place
	}
	return &d.groups[place]
}

// addGroup takes in a group as a page of the first round states it; the same group may come again with other members.
func (d *directory) addGroup(g *group) error {
	n := d.group(g.key)
	if n.gone = g.Removed != nil; n.gone {
		n.users, n.children = nil, nil
		return nil
	}
	if g.Name.value != "" {
		n.name = g.Name.value
	}
	n.hidden = n.hidden || g.hidesMembers()
	for i := range g.Members {
		m := &g.Members[i]
		id, ok := parseGUID(m.ID)
		if !ok {
			return errNoMemberID
		}
		list := &n.users
		switch {
		case m.Type == typeGroup:
			list = &n.children
		case !isUser(m.Type):
			continue
		}
		number := d.number(id)
		if m.Removed == nil {
			*list = append(*list, number)
			continue
		}
		kept := (*list)[:0]
		for _, other := range *list {
			if other != number {
				kept = append(kept, other)
			}
		}
		*list = kept
	}
	return nil
}

// chooseGroups settles which groups are in scope. only, unless nil, are the ids that may be.
func (d *directory) chooseGroups(scope *connectors.Scope, only map[guid]bool) {
	for i := range d.groups {
		n := &d.groups[i]
		id := d.ids[n.number]
		r := identity.GroupRecord{SourceID: id.String(), DisplayName: n.name}
		n.inScope = !n.gone && n.name != "" && (only == nil || only[id]) && scope.Includes(&r)
	}
}

// walker goes through closures. It is reused from group to group: a mark is the number of the walk that set it.
type walker struct {
	d     *directory
	walk  uint32
	users []uint32 // by number
	nodes []uint32 // by place
	stack []int32
}

func (d *directory) walker() *walker {
	return &walker{d: d, users: make([]uint32, len(d.ids)), nodes: make([]uint32, len(d.groups))}
}

// members calls use for everybody in the group or below it, once each, whatever cycles there are.
func (w *walker) members(place int32, use func(number uint32)) {
	w.walk++
	w.visit(place, use)
}

// visit calls use for everybody in the group or below it whom this walk did not meet yet.
func (w *walker) visit(place int32, use func(number uint32)) {
	if w.nodes[place] == w.walk {
		return
	}
	w.stack = append(w.stack[:0], place)
	w.nodes[place] = w.walk
	for len(w.stack) > 0 {
		n := &w.d.groups[w.stack[len(w.stack)-1]]
		w.stack = w.stack[:len(w.stack)-1]
		for _, user := range n.users {
			if w.users[user] != w.walk {
				w.users[user] = w.walk
				use(user)
			}
		}
		for _, child := range n.children {
			if place, known := w.d.places[child]; known && w.nodes[place] != w.walk {
				w.nodes[place] = w.walk
				w.stack = append(w.stack, place)
			}
		}
	}
}

// markMembers marks everybody who is a member of a group in scope.
func (d *directory) markMembers() {
	w := d.walker()
	w.walk++
	for place := range d.groups {
		if d.groups[place].inScope {
			w.visit(int32(place), func(number uint32) { d.marks[number] |= inGroup })
		}
	}
}

// withheld returns the groups, in scope or below one that is, of which no members were told and that may have some.
func (d *directory) withheld() []guid {
	var ids []guid
	w := d.walker()
	w.walk++
	for place := range d.groups {
		if d.groups[place].inScope {
			w.visit(int32(place), func(uint32) {})
		}
	}
	for place := range d.groups {
		if n := &d.groups[place]; n.hidden && !n.gone && w.nodes[place] == w.walk && len(n.users)+len(n.children) == 0 {
			ids = append(ids, d.ids[n.number])
		}
	}
	return ids
}

// markAssigned marks who is assigned to the application, by themselves or as a direct member of an assigned group.
func (d *directory) markAssigned(a *assignments) {
	for id := range a.users {
		d.marks[d.number(id)] |= assigned
	}
	for id := range a.groups {
		place, known := d.places[d.number(id)]
		if !known {
			continue
		}
		for _, user := range d.groups[place].users {
			d.marks[user] |= assigned
		}
	}
}

// unknownChildren returns the groups that are in others and were not listed.
func (d *directory) unknownChildren() []guid {
	seen := map[uint32]bool{}
	var ids []guid
	for i := range d.groups {
		for _, child := range d.groups[i].children {
			if _, known := d.places[child]; !known && !seen[child] {
				seen[child] = true
				ids = append(ids, d.ids[child])
			}
		}
	}
	return ids
}

// unnamed returns how many groups were listed without a name.
func (d *directory) unnamed() int {
	count := 0
	for i := range d.groups {
		if n := &d.groups[i]; n.name == "" && !n.gone {
			count++
		}
	}
	return count
}

// edges returns which groups are in which.
func (d *directory) edges() nesting {
	var e nesting
	for i := range d.groups {
		n := &d.groups[i]
		for _, child := range n.children {
			if place, known := d.places[child]; known && !d.groups[place].gone {
				e.add(d.ids[n.number], d.ids[child])
			}
		}
	}
	return e
}
