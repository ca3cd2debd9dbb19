package schema

import (
	"encoding/json"
	"strings"
)

// RoleNames reads the names in a "roles" attribute in every shape that identity providers send: "admin", ["admin"],
// [{"value":"admin"}], a single object, and an object as JSON inside a string, which is how Entra states an app
// role: [{"value":"{\"id\":\"...\",\"value\":\"admin\"}"}]. Empty values name nothing.
func RoleNames(v any) ([]string, error) {
	var names []string
	elements, ok := v.([]any)
	if !ok {
		elements = []any{v}
	}
	for _, element := range elements {
		if object, ok := element.(map[string]any); ok {
			element = Member(object, "value")
		}
		switch element := element.(type) {
		case nil:
		case string:
			if name := roleName(element); name != "" {
				names = append(names, name)
			}
		default:
			return nil, &ValueError{Path: "roles", Want: `must be role names, as in [{"value":"viewer"}]`}
		}
	}
	return names, nil
}

func roleName(s string) string {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") {
		var object map[string]any
		if err := json.Unmarshal([]byte(s), &object); err == nil {
			name, _ := Member(object, "value").(string)
			return strings.TrimSpace(name)
		}
	}
	return s
}
