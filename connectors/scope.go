package connectors

import (
	"fmt"

	"github.com/gobwas/glob"

	"github.com/idpsync/idpsync/store/identity"
)

// Scope tells which groups the globs of a configuration let in. The zero value lets all in. It is safe for concurrent
// use.
type Scope struct {
	include, exclude []pattern
}

// pattern matches a display name without case, or an id as it is. A name that holds a glob's own characters matches
// itself too.
type pattern struct {
	literal  string
	name, id *glob.Pattern
}

// NewScope compiles globs over display names, without case, and over ids: what include matches, everything where it is
// empty, without what exclude matches.
func NewScope(include, exclude []string) (*Scope, error) {
	var s Scope
	var err error
	if s.include, err = compile(include); err != nil {
		return nil, fmt.Errorf("groups to include: %w", err)
	}
	if s.exclude, err = compile(exclude); err != nil {
		return nil, fmt.Errorf("groups to exclude: %w", err)
	}
	return &s, nil
}

func compile(globs []string) ([]pattern, error) {
	patterns := make([]pattern, len(globs))
	for i, g := range globs {
		if identity.Normalize(g) == "" {
			return nil, fmt.Errorf("glob %d is empty", i+1)
		}
		var err error
		patterns[i].literal = identity.Normalize(g)
		if patterns[i].name, err = glob.Compile(identity.Normalize(g)); err != nil {
			return nil, fmt.Errorf("glob %q: %w", g, err)
		}
		if patterns[i].id, err = glob.Compile(g); err != nil {
			return nil, fmt.Errorf("glob %q: %w", g, err)
		}
	}
	return patterns, nil
}

// Narrow tells whether any glob is set.
func (s *Scope) Narrow() bool { return len(s.include)+len(s.exclude) > 0 }

// Selects tells whether any group is named to be let in.
func (s *Scope) Selects() bool { return len(s.include) > 0 }

// Includes tells whether the globs let the group in; what no glob speaks of is in.
func (s *Scope) Includes(g *identity.GroupRecord) bool {
	return (len(s.include) == 0 || matches(s.include, g)) && !matches(s.exclude, g)
}

func matches(patterns []pattern, g *identity.GroupRecord) bool {
	name := identity.Normalize(g.DisplayName)
	for _, p := range patterns {
		if p.literal == name || p.name.Match(name) || p.id.Match(g.SourceID) {
			return true
		}
	}
	return false
}
