package configs

import (
	"fmt"

	"github.com/goccy/go-yaml"
)

// ParseRoleMapping reads a role mapping by itself: a list, as it stands under role_mapping in a configuration, or a
// document with that one key. Unknown keys are an error, with line and column.
func ParseRoleMapping(text []byte) ([]Mapping, error) {
	var document struct {
		RoleMapping []Mapping `yaml:"role_mapping"`
	}
	var list []Mapping
	listErr := yaml.UnmarshalWithOptions(text, &list, yaml.Strict())
	if listErr == nil {
		return list, nil
	}
	if err := yaml.UnmarshalWithOptions(text, &document, yaml.Strict()); err == nil {
		return document.RoleMapping, nil
	}
	return nil, fmt.Errorf("role mapping: want a list of {group: NAME, grants: [{team: NAME, role: NAME}]}: %s", yaml.FormatError(listErr, false, true))
}
