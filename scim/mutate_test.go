package scim_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/scim"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/storetest"
)

// FuzzMutations sends what identity providers send with something about it changed that keeps it JSON: values taken from
// elsewhere or of another kind, members lost, doubled or wrapped, parts of paths and filters swapped. The same seed does
// the same.
func FuzzMutations(f *testing.F) {
	m := newMutations(f, storetest.SQLite(f))
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		m.t = t
		m.send(seed)
	})
}

// The same on each database, with the same requests each time.
func TestMutations(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		m := newMutations(t, s)
		for seed := range uint64(60) {
			m.send(seed)
		}
	})
}

// mutations is an endpoint for changed requests.
type mutations struct {
	*stage
	owner *keyOwner
	words *vocabulary
}

func newMutations(t testing.TB, s *store.Store) *mutations {
	owner := &keyOwner{}
	e := serve(t, s, func(o *scim.Options) { o.Auth, o.Extensions = owner, []schema.Schema{extension()} })
	return &mutations{&stage{endpoint: e}, owner, newVocabulary(slices.Concat(handSeeds(), conversationSeeds(t)))}
}

func (m *mutations) send(seed uint64) {
	m.t.Helper()
	mutator := &mutator{rand.New(rand.NewPCG(seed, 0)), m.words}
	for range 20 {
		ids := m.set()
		m.owner.user = m.user
		m.log.Reset()
		method, target, headers, body := mutator.request()
		req := offTheWire(method, ids.Replace(target), ids.Replace(headers), ids.Replace(body))
		if req == nil {
			continue
		}
		m.putBack(req, m.any(req.WithContext(m.t.Context())))
		if m.t.Failed() {
			return
		}
	}
}

// vocabulary is what requests are made of.
type vocabulary struct {
	seeds  [][4]string
	values []any    // of all bodies
	names  []string // of members, and paths
}

func newVocabulary(seeds [][4]string) *vocabulary {
	w := &vocabulary{seeds: seeds}
	for _, s := range seeds {
		if body, ok := parsed(s[3]); ok {
			w.gather(body)
		}
	}
	odd := []any{
		nil, true, false, "", " ", "True", "\u0000", "é", strings.Repeat("x", 900), json.Number("0"), json.Number("-1.5e3"), json.Number("1e400"),
		[]any{},
		map[string]any{},
		[]any{nil},
		[]any{[]any{}},
		map[string]any{"value": nil},
		aUser, aGroup, "2020-01-02T03:04:05Z", "AA==",
	}
	for len(odd) < len(w.values)/2 { // or they would seldom be chosen
		odd = append(odd, odd...)
	}
	w.values = append(w.values, odd...)
	return w
}

// mutator changes requests.
type mutator struct {
	*rand.Rand
	*vocabulary
}

func parsed(body string) (v any, ok bool) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	err := d.Decode(&v)
	return v, err == nil
}

func (w *vocabulary) gather(v any) {
	w.values = append(w.values, v)
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			w.gather(element)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.names = append(w.names, key)
			if path, ok := v[key].(string); ok && key == "path" {
				w.names = append(w.names, path)
			}
			w.gather(v[key])
		}
	}
}

func pick[T any](m *mutator, from []T) T { return from[m.IntN(len(from))] }

// request returns a seed with a few things changed.
func (m *mutator) request() (method, target, headers, body string) {
	seed := pick(m, m.seeds)
	method, target, headers, body = seed[0], seed[1], seed[2], seed[3]
	if m.IntN(8) == 0 {
		method = pick(m, []string{"GET", "POST", "PUT", "PATCH", "DELETE"})
	}
	switch m.IntN(6) {
	case 0:
		target = pick(m, m.seeds)[1]
	case 1:
		target = m.query(target)
	}
	if m.IntN(6) == 0 {
		headers += pick(m, []string{
			"If-Match: W/\"1\"", "If-None-Match: W/\"2\"", "If-Match: *", "Content-Type: text/plain", "Prefer: return=minimal", "Accept: x/y",
		})
	}
	if v, ok := parsed(body); ok {
		for range m.IntN(4) {
			v = m.value(v)
		}
		if changed, err := json.Marshal(v); err == nil {
			body = string(changed)
		}
	}
	return method, target, headers, body
}

// query gives a target a parameter from another, or one of its own changed.
func (m *mutator) query(target string) string {
	path, _, _ := strings.Cut(target, "?")
	name := pick(m, []string{"filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count", "cursor", "id"})
	value := pick(m, []string{"", "0", "-1", "1", "999999999999999999999", "x", "descending", m.name(), m.name() + "," + m.name(), m.filter(), m.filter()})
	return path + "?" + name + "=" + url.QueryEscape(value)
}

func (m *mutator) name() string {
	if m.IntN(8) == 0 {
		return pick(m, m.names) + "." + pick(m, m.names)
	}
	return pick(m, m.names)
}

func (m *mutator) filter() string {
	literal, _ := json.Marshal(pick(m, m.values))
	f := m.name() + " " + pick(m, []string{"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"}) + " " + string(literal)
	switch m.IntN(6) {
	case 0:
		f = m.name() + " pr"
	case 1:
		f = m.name() + "[" + f + "]"
	case 2:
		f = "not (" + f + ")"
	case 3:
		f += pick(m, []string{" and ", " or "}) + m.name() + " pr"
	}
	return f
}

// value returns a value with one thing in it changed.
func (m *mutator) value(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) > 0 && m.IntN(8) > 0 {
			return m.object(v)
		}
	case []any:
		if len(v) > 0 && m.IntN(8) > 0 {
			return m.list(v)
		}
	case string:
		if m.IntN(3) == 0 {
			return m.text(v)
		}
	}
	switch m.IntN(4) {
	case 0:
		return []any{v}
	case 1:
		return map[string]any{m.name(): v}
	}
	return pick(m, m.values)
}

func (m *mutator) object(v map[string]any) any {
	v = maps.Clone(v)
	key := pick(m, slices.Sorted(maps.Keys(v)))
	switch m.IntN(8) {
	case 0:
		delete(v, key)
	case 1:
		v[m.name()] = v[key]
		delete(v, key)
	case 2:
		v[m.name()] = pick(m, m.values)
	case 3:
		v[strings.ToUpper(key)] = v[key] // the same name to some
	default:
		v[key] = m.value(v[key])
	}
	return v
}

func (m *mutator) list(v []any) any {
	v = slices.Clone(v)
	i := m.IntN(len(v))
	switch m.IntN(6) {
	case 0:
		return slices.Delete(v, i, i+1)
	case 1:
		return append(v, v[i])
	case 2:
		return append(v, pick(m, m.values))
	}
	v[i] = m.value(v[i])
	return v
}

func (m *mutator) text(s string) any {
	switch m.IntN(6) {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return s + "." + m.name()
	case 2:
		return m.name() + "[" + m.filter() + "]"
	case 3:
		return m.name() + "[" + m.filter() + "]." + m.name()
	case 4:
		return s[:m.IntN(len(s)+1)]
	}
	return m.name()
}
