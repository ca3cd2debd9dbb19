package scim

import (
	"slices"
	"strings"
	"time"

	"github.com/idpsync/idpsync/scim/filter"
	"github.com/idpsync/idpsync/scim/schema"
	"github.com/idpsync/idpsync/store/identity"
)

// maxName bounds in bytes what the database keeps in indexes: names, e-mail addresses, external ids.
const maxName = 800

// checkUser refuses a user that breaks a rule on the whole (SCIM.md, rule 17). What was so before the change, and is
// not of its making, does not stand in its way: somebody whom another source stated without a family name can still
// be deactivated. before is nil for a user that is stated in full.
func (h *Handler) checkUser(r *request, before, after *identity.User) error {
	wrong := h.violations(after)
	if before != nil && len(wrong) > 0 {
		held := h.violations(before)
		wrong = slices.DeleteFunc(wrong, func(w string) bool { return slices.Contains(held, w) })
	}
	if len(wrong) > 0 {
		return badValue("%s", wrong[0])
	}
	if h.opt.UserNameIsEmail == Warn && differs(after) {
		h.opt.Logger.WarnContext(r.Context(), "userName is not the primary email", "request_id", r.id, "user_id", after.ID)
	}
	return nil
}

// violations lists what is wrong with a user, each with the values that make it so.
func (h *Handler) violations(u *identity.User) []string {
	var wrong []string
	if strings.TrimSpace(u.UserName) == "" {
		wrong = append(wrong, "userName is required")
	}
	for _, p := range []identity.Path{identity.PathGivenName, identity.PathFamilyName} {
		if strings.TrimSpace(u.Attributes.Text(p)) == "" {
			wrong = append(wrong, p.String()+" is required")
		}
	}
	primaries := 0
	emails := filter.Elements(u.Attributes["emails"])
	for _, e := range emails {
		if primary, _ := schema.AsBool(e["primary"]); primary {
			primaries++
			if value, _ := e["value"].(string); strings.TrimSpace(value) == "" {
				wrong = append(wrong, "The primary email has no value")
			}
		}
	}
	switch {
	case primaries == 0:
		wrong = append(wrong, "Email must be marked as primary")
	case primaries > 1:
		wrong = append(wrong, "Only one email may be marked as primary")
	case h.opt.UserNameIsEmail == Strict && differs(u):
		wrong = append(wrong, "userName must be the primary email: "+u.UserName+" is not "+u.Email())
	}
	return append(wrong, tooLong(u, emails)...)
}

func differs(u *identity.User) bool {
	return identity.Normalize(u.UserName) != identity.Normalize(u.Email())
}

func tooLong(u *identity.User, emails []map[string]any) []string {
	texts := map[string]string{
		"userName": u.UserName, "externalId": u.ExternalID,
		"displayName":     u.Attributes.Text(identity.PathDisplayName),
		"name.givenName":  u.Attributes.Text(identity.PathGivenName),
		"name.familyName": u.Attributes.Text(identity.PathFamilyName),
	}
	for _, e := range emails {
		if value, _ := e["value"].(string); len(value) > maxName {
			texts["emails.value"] = value
		}
	}
	var wrong []string
	for name, text := range texts {
		if len(text) > maxName {
			wrong = append(wrong, name+" is too long")
		}
	}
	slices.Sort(wrong)
	return wrong
}

// timestamp prints a time as a dateTime value.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
