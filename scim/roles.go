package scim

import (
	"slices"
	"strings"

	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store/identity"
)

// allowedRoles lists the roles that a push may give directly: the built-in ones except scim_provisioner, which would
// let a key make more keys, and the configured ones.
func allowedRoles(configured []string) []string {
	allowed := append([]string{identity.RoleAdmin, identity.RoleViewer, identity.RoleOperator}, configured...)
	slices.Sort(allowed)
	allowed = slices.Compact(allowed)
	return slices.DeleteFunc(allowed, func(role string) bool { return role == identity.RoleSCIMProvisioner })
}

// directRoles returns the roles that a "roles" attribute gives, sorted, each once.
func (h *Handler) directRoles(attribute any) ([]string, error) {
	names, err := schema.RoleNames(attribute)
	if err != nil {
		return nil, err
	}
	var given []string
	for _, name := range names {
		i := slices.IndexFunc(h.allowed, func(role string) bool { return strings.EqualFold(role, name) })
		switch {
		case i >= 0:
			given = append(given, h.allowed[i])
		case h.opt.UnknownRoles == Reject:
			return nil, badValue("roles: %.100q is not a role here; allowed are %s", name, strings.Join(h.allowed, ", "))
		}
	}
	slices.Sort(given)
	return slices.Compact(given), nil
}
