package identity

import "slices"

// FieldChange is one attribute's change. Before and After are JSON values, nil where there is none.
type FieldChange struct {
	Path   string `json:"path"`
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// Diff lists what stating r changes in u, in the record's order; status is not part of it, lifecycle decides that.
// What r does not state is left alone.
func Diff(u *User, r *Record) []FieldChange {
	var changes []FieldChange
	add := func(p Path, after any) {
		before := u.Get(p)
		if s, ok := before.(string); ok && s == "" {
			before = nil
		}
		if s, ok := after.(string); ok && s == "" {
			after = nil
		}
		if !equalValue(before, after) {
			changes = append(changes, FieldChange{Path: p.String(), Before: before, After: after})
		}
	}
	if r.UserName != "" {
		add(PathUserName, r.UserName)
	}
	if r.ExternalID != "" {
		add(PathExternalID, r.ExternalID)
	}
	for i := range r.Attributes {
		add(r.Attributes[i].Path, r.Attributes[i].Value)
	}
	return changes
}

// Compare lists the leaves in which two states of one user differ, for audit events: userName, externalId, active,
// roles and top-level attributes (an extension's attributes one by one).
func Compare(before, after *User) []FieldChange {
	var changes []FieldChange
	add := func(path string, a, b any) {
		if !equalValue(a, b) {
			changes = append(changes, FieldChange{Path: path, Before: a, After: b})
		}
	}
	for _, p := range []Path{PathUserName, PathExternalID, PathActive} {
		add(p.String(), before.Get(p), after.Get(p))
	}
	compareMaps("", before.Attributes, after.Attributes, add)
	return changes
}

func compareMaps(prefix string, a, b map[string]any, add func(string, any, any)) {
	for _, key := range unionKeys(a, b) {
		x, y := a[key], b[key]
		xm, xok := x.(map[string]any)
		ym, yok := y.(map[string]any)
		if (xok || x == nil) && (yok || y == nil) && (xok || yok) && prefix == "" {
			separator := "."
			if len(key) > 4 && key[:4] == "urn:" {
				separator = ":"
			}
			compareMaps(key+separator, xm, ym, add)
			continue
		}
		add(prefix+key, x, y)
	}
}

func unionKeys(a, b map[string]any) []string {
	keys := make([]string, 0, len(a)+len(b))
	for key := range a {
		keys = append(keys, key)
	}
	for key := range b {
		if _, both := a[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
