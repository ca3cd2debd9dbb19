package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/elimity-com/scim/filter"
	"github.com/elimity-com/scim/schema"
)

// filterTable is ../filters.json, which the libraries of npm answer as well.
type filterTable struct {
	Reasons                            map[string]string
	Users, Groups, Malformed, Unsuited []filterRow
}

type filterRow struct {
	Filter string
	Known  map[string]string // by library, the reason why it differs
}

// filters asks the library which of the resources that we serve pass a filter, by the schemas that we serve.
func filters(c suite, e environment) {
	var table filterTable
	c.check("reads the table of filters", func() error {
		data, err := os.ReadFile(filepath.Join(e.tables, "filters.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &table)
	})
	people, err := newDirectory(e.scim, "/Users", userURN, enterpriseURN)
	if err != nil {
		c.check("reads users", func() error { return err })
		return
	}
	groups, err := newDirectory(e.scim, "/Groups", groupURN)
	if err != nil {
		c.check("reads groups", func() error { return err })
		return
	}
	ids := people.ids()
	for name, id := range groups.ids() {
		ids[name] = id
	}
	placeholder := regexp.MustCompile(`\{[^}]*\}`)
	for _, on := range []struct {
		*directory
		rows []filterRow
	}{{people, table.Users}, {groups, table.Groups}} {
		for _, row := range on.rows {
			f := placeholder.ReplaceAllStringFunc(row.Filter, func(who string) string { return ids[strings.Trim(who, "{}")] })
			c.agree(row.Filter, on.ours(e.scim, f), on.theirs(f), table.Reasons[row.Known[c.name]])
		}
	}
	for _, row := range slices.Concat(table.Malformed, table.Unsuited) {
		c.agree(row.Filter+" is refused", people.ours(e.scim, row.Filter), people.theirs(row.Filter), table.Reasons[row.Known[c.name]])
	}
}

// directory is all resources of one type, with the schemas by which the library looks at them.
type directory struct {
	path       string
	resources  []object
	core       schema.Schema
	extensions []schema.Schema
}

func newDirectory(s *server, path, core string, extensions ...string) (*directory, error) {
	d := &directory{path: path}
	var page struct{ Resources []object }
	if err := s.get(path+"?count=200", &page); err != nil {
		return nil, err
	}
	d.resources = page.Resources
	if err := s.get("/Schemas/"+core, &d.core); err != nil {
		return nil, err
	}
	d.core.Attributes = append(d.core.Attributes, schema.CommonAttributes()...)
	for _, urn := range extensions {
		var one schema.Schema
		if err := s.get("/Schemas/"+urn, &one); err != nil {
			return nil, err
		}
		d.extensions = append(d.extensions, one)
	}
	return d, nil
}

// name is what a resource is called in the table.
func name(resource object) string {
	if userName, ok := resource["userName"].(string); ok {
		return userName
	}
	return fmt.Sprint(resource["displayName"])
}

func (d *directory) ids() map[string]string {
	ids := map[string]string{}
	for _, r := range d.resources {
		short, _, _ := strings.Cut(name(r), "@")
		ids[short] = fmt.Sprint(r["id"])
	}
	return ids
}

const refusal = "400 invalidFilter"

func (d *directory) ours(s *server, f string) string {
	status, answer, err := s.send("GET", d.path+"?count=200&filter="+url.QueryEscape(f), "")
	switch {
	case err != nil:
		return err.Error()
	case status != 200:
		return fmt.Sprint(status, " ", answer["scimType"])
	}
	return names(objects(answer["Resources"]))
}

func names(resources []object) string {
	var out []string
	for _, r := range resources {
		out = append(out, name(r))
	}
	slices.Sort(out)
	return fmt.Sprintf("%q", out)
}

func (d *directory) theirs(f string) string {
	validator, err := filter.NewValidator(f, d.core, d.extensions...)
	if err == nil {
		err = validator.Validate()
	}
	if err != nil {
		return refusal
	}
	var passing []object
	for _, r := range d.resources {
		err := guarded(func() error { return validator.PassesFilter(flat(r)) })
		if err != nil && strings.HasPrefix(err.Error(), "panic") {
			return err.Error()
		}
		if err == nil {
			passing = append(passing, r)
		}
	}
	return names(passing)
}

// flat puts the attributes of extensions where the library looks for them: beside those of the core schema, under
// their full names.
func flat(resource object) object {
	out := object{}
	for key, value := range resource {
		extension, ok := value.(object)
		if !ok || !strings.HasPrefix(key, "urn:") {
			out[key] = value
			continue
		}
		for name, inner := range extension {
			out[key+":"+name] = inner
		}
	}
	return out
}
