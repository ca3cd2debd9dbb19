package configs

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds that keep a hostile or broken file from costing more than an error message.
const (
	maxNesting = 64    // levels of values within values
	maxValues  = 20000 // after aliases are followed
)

// decoder puts a YAML document into a Config. The library's own decoder stops at the first problem; this one goes on,
// so that all are reported, and remembers where each field stands.
type decoder struct {
	*problems
	lookup  func(string) (string, bool)
	anchors map[string]ast.Node
	values  int
	spent   bool // the bounds are reached, which is reported: go no further
}

func decode(data []byte, c *Config, lookup func(string) (string, bool)) *problems {
	c.where = places{}
	d := &decoder{problems: &problems{where: c.where}, lookup: lookup, anchors: map[string]ast.Node{}}
	if body := d.parse(data); body != nil {
		d.value("", body, reflect.ValueOf(c).Elem(), 0)
	}
	return d.problems
}

// parse returns the document's body, nil when it is empty or no YAML.
func (d *decoder) parse(data []byte) (body ast.Node) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case len(data) > maxFile:
		d.add("", "the file is larger than 1 MiB")
		return nil
	case !utf8.Valid(data):
		d.add("", "the file is not UTF-8; save it as UTF-8")
		return nil
	case deepest(data) > maxNesting:
		d.add("", "values are nested deeper than %d levels; the configuration needs ten", maxNesting)
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			body = nil
			d.add("", "the YAML cannot be read; see that brackets, quotes and indentation match")
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			// Not err's own text: that quotes the file, and with it its secrets.
			d.addAt(placeOf(syntax.GetToken()), "", "%s; correct the YAML", syntax.GetMessage())
		} else {
			d.add("", "the YAML cannot be read; see that brackets, quotes and indentation match")
		}
		return nil
	}
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.addAt(placeOf(doc.Body.GetToken()), "", "a second document begins here; keep one, without ---")
			return nil
		}
		body = doc.Body
	}
	return body
}

// deepest returns how deep values are nested at most, quotes and comments disregarded: brackets, or dashes and columns
// of indentation at the beginning of a line. The parser recurses, and its memory grows by the square.
func deepest(data []byte) int {
	brackets, most := 0, 0
	for line := range bytes.Lines(data) {
		text := bytes.TrimLeft(line, " ")
		most = max(most, (len(line)-len(text))/4)
		for dashes := 1; bytes.HasPrefix(text, []byte("- ")) || bytes.HasPrefix(text, []byte("? ")); dashes++ {
			most = max(most, dashes)
			text = bytes.TrimLeft(text[2:], " ")
		}
		for _, b := range text {
			switch b {
			case '[', '{':
				brackets++
				most = max(most, brackets)
			case ']', '}':
				brackets = max(brackets-1, 0)
			}
		}
	}
	return most
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{line: max(t.Position.Line, 1), column: max(t.Position.Column, 1)}
}

// unwrap follows anchors, aliases and tags to the value itself; nil when there is none, which is reported.
func (d *decoder) unwrap(path string, n ast.Node) ast.Node {
	for range maxNesting {
		switch x := n.(type) {
		case *ast.AnchorNode:
			d.anchors[x.Name.GetToken().Value] = x.Value
			n = x.Value
		case *ast.AliasNode:
			name := x.Value.GetToken().Value
			target, ok := d.anchors[name]
			if !ok {
				d.addAt(placeOf(n.GetToken()), path, "there is no anchor &%s above; correct the alias's name", name)
				return nil
			}
			n = target
		case *ast.TagNode:
			n = x.Value
		default:
			return n
		}
		if n == nil {
			return nil
		}
	}
	d.tooLarge()
	return nil
}

// spend counts one more value and tells whether the bounds allow it.
func (d *decoder) spend(depth int) bool {
	d.values++
	if d.values > maxValues || depth > maxNesting {
		d.tooLarge()
	}
	return !d.spent
}

func (d *decoder) tooLarge() {
	if !d.spent {
		d.spent = true
		d.add("", "aliases make this configuration larger than %d values; write out what differs and use fewer of them", maxValues)
	}
}

// value decodes n into v, whose present value is the default.
func (d *decoder) value(path string, n ast.Node, v reflect.Value, depth int) {
	if !d.spend(depth) {
		return
	}
	n = d.unwrap(path, n)
	if n == nil || n.Type() == ast.NullType {
		return // a key without a value keeps the default
	}
	switch {
	case v.Kind() == reflect.Map:
		d.byPath(path, n, v, depth)
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		before := len(d.list)
		d.value(path, n, p.Elem(), depth)
		if len(d.list) == before {
			v.Set(p)
		}
	case v.Kind() == reflect.Struct:
		d.mapping(path, n, v, depth)
	case v.Kind() == reflect.Slice:
		d.sequence(path, n, v, depth)
	default:
		d.scalar(path, n, v)
	}
}

func (d *decoder) sequence(path string, n ast.Node, v reflect.Value, depth int) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.add(path, "expected a list, found %s; write each entry on a line of its own that begins with \"- \"", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(seq.Values)))
	for i, element := range seq.Values {
		field := fmt.Sprintf("%s[%d]", path, i)
		d.where[field] = placeOf(start(element))
		e := reflect.New(v.Type().Elem()).Elem()
		if c, ok := e.Addr().Interface().(*Connector); ok {
			*c = DefaultConnector()
		}
		before := len(d.list)
		d.value(field, element, e, depth+1)
		if d.spent {
			return
		}
		if e.IsZero() && len(d.list) == before {
			d.add(field, "the entry is empty; fill it in or remove it")
		}
		v.Set(reflect.Append(v, e))
	}
}

// start returns the token that a reader would point at for n.
func start(n ast.Node) *token.Token {
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return x.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return x.Key.GetToken()
	}
	if n == nil {
		return nil
	}
	return n.GetToken()
}

func (d *decoder) mapping(path string, n ast.Node, v reflect.Value, depth int) {
	keys, fields := keysOf(v)
	for _, pair := range d.pairs(path, n, depth) {
		key := pair.Key.GetToken().Value
		i := slices.Index(keys, key)
		field := join(path, key)
		if i < 0 {
			d.addAt(placeOf(pair.Key.GetToken()), field, "unknown key; %s", remedyForKey(key, keys))
			continue
		}
		if d.where.has(field) {
			d.addAt(placeOf(pair.Key.GetToken()), field, "the key appears twice; keep one")
			continue
		}
		d.where[field] = placeOf(pair.Key.GetToken())
		d.value(field, pair.Value, v.Field(fields[i]), depth+1)
	}
}

// pairs returns the mapping's own pairs, then those that `<<` merges into it and that it does not have itself.
func (d *decoder) pairs(path string, n ast.Node, depth int) []*ast.MappingValueNode {
	if !d.spend(depth) {
		return nil
	}
	var own, merged []*ast.MappingValueNode
	switch x := n.(type) {
	case *ast.MappingNode:
		own = x.Values
	case *ast.MappingValueNode:
		own = []*ast.MappingValueNode{x}
	default:
		d.add(path, "expected keys with values, found %s; write \"key: value\" lines", kindOf(n))
		return nil
	}
	var pairs []*ast.MappingValueNode
	for _, pair := range own {
		if !pair.Key.IsMergeKey() {
			pairs = append(pairs, pair)
			continue
		}
		source := d.unwrap(path, pair.Value)
		if source == nil {
			continue
		}
		sources := []ast.Node{source}
		if seq, ok := source.(*ast.SequenceNode); ok {
			sources = seq.Values
		}
		for _, source := range sources {
			if source = d.unwrap(path, source); source != nil {
				merged = append(merged, d.pairs(path, source, depth+1)...) // a merge that names itself ends with spend
			}
		}
	}
	for _, pair := range merged {
		key := pair.Key.GetToken().Value
		if !slices.ContainsFunc(pairs, func(p *ast.MappingValueNode) bool { return p.Key.GetToken().Value == key }) {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

// keysOf returns the keys of v's fields and their indexes.
func keysOf(v reflect.Value) (keys []string, fields []int) {
	for i := range v.NumField() {
		if key := v.Type().Field(i).Tag.Get("yaml"); key != "" {
			keys, fields = append(keys, key), append(fields, i)
		}
	}
	return keys, fields
}

func remedyForKey(key string, known []string) string {
	best, distance := "", 3 // two typing errors at most
	for _, k := range known {
		if n := editDistance(strings.ToLower(key), k); n < distance {
			best, distance = k, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// editDistance counts the letters to add, drop or replace between a and b (Levenshtein).
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

// scalar decodes one value from its text, `${NAME}` expanded first, so that numbers and switches may come from the
// environment too.
func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	text, ok := textOf(n)
	if !ok {
		d.add(path, "expected %s, found %s", expected(v.Type()), kindOf(n))
		return
	}
	text, err := expand(text, d.lookup)
	if err != nil {
		d.add(path, "%v", err)
		return
	}
	bad := func(format string, args ...any) {
		d.add(path, "%q is no %s", text, fmt.Sprintf(format, args...))
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		duration, err := time.ParseDuration(text)
		if err != nil {
			bad("duration; write a number with a unit, for example 30s, 5m or 24h")
			return
		}
		v.SetInt(int64(duration))
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			bad("switch; write true or false")
		}
	case v.Kind() == reflect.Int:
		i, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			bad("whole number; write digits only, for example 200")
			return
		}
		v.SetInt(i)
	case v.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			bad("number; write for example 10 or 2.5, without %%")
			return
		}
		v.SetFloat(f)
	}
}

// textOf returns the scalar as it was written, quotes and escapes resolved.
func textOf(n ast.Node) (string, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func expected(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Float64:
		return "a number"
	}
	return "text"
}
