package console

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/configs"
)

// startPage is the guide to a connector. Nothing of it is kept: what is typed stands in the page's address, and secrets
// are never asked for.
type startPage struct {
	Kind     string // okta, entra or push
	Kinds    []option
	Asked    bool // the form was sent
	Fields   []startField
	Checks   []choice
	YAML     string
	Env      string // the variable that the secret is read from, "" for a file
	File     string // the file that it is read from, "" for a variable
	Names    []string
	SCIM     api.SCIMSetting
	Endpoint string // of the push, as the browser reaches this service
}

// startField is a text that the form asks for.
type startField struct {
	Name, Label, Value, Example, Hint string
	Required, Wrong                   bool
}

// choice is a list that the form offers.
type choice struct {
	Name, Label, Chosen string
	Options             []option
}

var startKinds = []option{{"okta", "Pull Okta"}, {"entra", "Pull Entra ID"}, {"push", "Let it push (SCIM)"}}

// connectorKind is what the guide knows about a kind of connector.
type connectorKind struct {
	fields  []startField // in the order of the configuration's keys
	secrets []option     // ways to give the credential
}

var startFields = map[string]connectorKind{
	"okta": {
		[]startField{
			{Name: "name", Label: "Name of the connector", Example: "okta", Required: true, Hint: "People and groups belong to their connector by this name: it is not changed later."},
			{Name: "url", Label: "Address of the organization", Example: "https://acme.okta.com", Required: true, Hint: "Its own, without a path and without -admin."},
			{Name: "client_id", Label: "Client id", Example: "0oa1b2c3d4e5f6g7h8i9", Hint: "Of a service application; with an API token, leave it empty."},
			{Name: "key_id", Label: "Key id (kid)", Example: "SVzP5xQ7Yb1tq2n8yX0d9w", Hint: "Of the service application's public key; with an API token, leave it empty."},
			{Name: "app_id", Label: "Only who is assigned to this application", Example: "0oa9i8h7g6f5e4d3c2b1", Hint: "It stands in the application's address in the admin console. Empty: everybody in scope."},
		},
		[]option{{"env", "API token, in an environment variable"}, {"file", "API token, in a file"}, {"key", "Private key of a service application, in a file"}},
	},
	"entra": {
		[]startField{
			{Name: "name", Label: "Name of the connector", Example: "entra", Required: true, Hint: "People and groups belong to their connector by this name: it is not changed later."},
			{Name: "tenant_id", Label: "Directory (tenant) id, or domain", Example: "8f1d2c3b-4a59-4687-9a0b-1c2d3e4f5a6b", Required: true},
			{Name: "client_id", Label: "Application (client) id", Example: "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", Required: true},
			{Name: "service_principal_id", Label: "Only who is assigned to this enterprise application", Example: "5e6f7a8b-9c0d-4e1f-a2b3-c4d5e6f7a8b9", Hint: "Its object id, not its application id. Empty: everybody in scope."},
		},
		[]option{{"env", "Client secret, in an environment variable"}, {"file", "Client secret, in a file"}, {"key", "Certificate with its key, in a file"}},
	},
}

var startModes = []option{{"report", "Report: find the drift, change nothing"}, {"enforce", "Enforce: repair the drift"}}

func (c *Console) start(q *request) (*view, error) {
	page := startPage{Kind: q.Query("type"), Kinds: startKinds, Endpoint: c.origin(q) + "/scim/v2"}
	v := &view{Page: "start", Title: "Set up a connector", Section: "/"}
	var err error
	if page.Names, err = connectorNames(q); err != nil {
		return nil, err
	}
	if len(page.Names) == 0 {
		v.Title = "Set up the first connector"
	}
	if page.SCIM, err = fetch[api.SCIMSetting](q, "/settings/scim", nil); err != nil {
		return nil, err
	}
	known, isPull := startFields[page.Kind]
	if !isPull {
		if page.Kind != "push" {
			page.Kind = ""
		}
		v.Data = page
		return v, nil
	}
	page.Asked = q.URL.Query().Has("name")
	values := q.given("groups", "secret", "mode")
	for _, field := range known.fields {
		field.Value = q.Query(field.Name)
		values.Set(field.Name, field.Value)
		page.Fields = append(page.Fields, field)
	}
	page.Fields = append(page.Fields, startField{Name: "groups", Label: "Only these groups", Value: q.Query("groups"), Example: "app-*, Engineering", Hint: "Names with * and ?, commas between them; only people in one of them are taken. Empty: all groups."})
	page.Checks = []choice{{"secret", "Credential", values.Get("secret"), known.secrets}, {"mode", "Begin with", values.Get("mode"), startModes}}
	if page.Asked {
		page.YAML, page.Env, page.File = connectorYAML(page.Kind, known.fields, values)
		if v.Problem = problemsOf(page.YAML, values.Get("name"), page.Names); v.Problem != nil {
			for i := range page.Fields {
				page.Fields[i].Wrong = wrongField(v.Problem, page.Fields[i].Name)
			}
		}
	}
	v.Data = page
	return v, nil
}

// origin returns where a browser reaches this service.
func (c *Console) origin(q *request) string {
	if c.o.Secure {
		return "https://" + q.Host
	}
	return "http://" + q.Host
}

// connectorYAML returns what a configuration says of a connector, and where that reads the credential: a variable of the
// environment or a file.
func connectorYAML(kind string, fields []startField, values url.Values) (text, env, file string) {
	name := fileName(values.Get("name"), kind)
	var b strings.Builder
	line := func(key, value string) {
		if value != "" {
			b.WriteString("    " + key + ": " + value + "\n")
		}
	}
	b.WriteString("connectors:\n  - name: " + quoted(values.Get("name")) + "\n")
	line("type", kind)
	way := values.Get("secret")
	for _, field := range fields {
		isKey := kind == "okta" && (field.Name == "client_id" || field.Name == "key_id")
		if field.Name != "name" && (!isKey || way == "key") {
			line(field.Name, quotedUnlessEmpty(values.Get(field.Name)))
		}
	}
	secret, key := "api_token", "private_key_file"
	if kind == "entra" {
		secret, key = "client_secret", "certificate_file"
	}
	switch way {
	case "file":
		file = "/run/secrets/" + name + "-" + strings.ReplaceAll(secret, "_", "-")
		line(secret+"_file", file)
	case "key":
		file = "/run/secrets/" + name + ".pem"
		line(key, file)
	default:
		env = strings.ToUpper(strings.ReplaceAll(name+"_"+secret, "-", "_"))
		if env[0] >= '0' && env[0] <= '9' {
			env = "IDP_" + env
		}
		line(secret, "${"+env+"}")
	}
	var groups []string
	for _, group := range strings.Split(values.Get("groups"), ",") {
		if group = strings.TrimSpace(group); group != "" {
			groups = append(groups, inQuotes(group))
		}
	}
	if len(groups) > 0 {
		line("groups", "{include: ["+strings.Join(groups, ", ")+"]}")
	}
	if values.Get("mode") != "enforce" {
		line("mode", "report  # finds drift and changes nothing; take this line out to repair it")
	}
	return b.String(), env, file
}

var (
	plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]*(://[A-Za-z0-9._/-]+)?$`)
	nameText  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
)

// fileName returns a name as it can stand in the names of a file and a variable.
func fileName(name, otherwise string) string {
	if nameText.MatchString(name) {
		return name
	}
	return otherwise
}

func quotedUnlessEmpty(value string) string {
	if value == "" {
		return ""
	}
	return quoted(value)
}

// quoted returns a text as YAML has it, in quotes unless it is plain.
func quoted(value string) string {
	word := slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "y", "n"}, strings.ToLower(value))
	if plainText.MatchString(value) && !word {
		return value
	}
	return inQuotes(value)
}

// inQuotes returns a text in double quotes, which YAML reads as JSON does. A dollar sign would name a variable.
func inQuotes(value string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(strings.ReplaceAll(value, "$", "$$")); err != nil {
		return `""` // a text can always be written
	}
	return strings.TrimSpace(b.String())
}

// problemsOf returns what the program itself would say against a configuration, nil for nothing. The credential counts
// as given.
func problemsOf(yaml, name string, taken []string) *api.Problem {
	given := configs.Loader{
		LookupEnv: func(string) (string, bool) { return "given", true },
		ReadFile:  func(string) ([]byte, error) { return []byte("given"), nil },
	}
	p := &api.Problem{Title: "The connector is not ready yet"}
	add := func(field, text string) {
		p.Errors = append(p.Errors, api.ProblemField{Location: field, Message: text})
	}
	if slices.Contains(taken, name) {
		add("name", "there is a connector of this name already; choose another")
	}
	_, err := given.Parse("idpsync.yaml", []byte(yaml))
	var wrong *configs.Error
	switch {
	case errors.As(err, &wrong):
		for _, w := range wrong.Problems {
			_, field, _ := strings.Cut(w.Field, "].")
			add(field, w.Text)
		}
	case err != nil:
		add("", err.Error())
	}
	if len(p.Errors) == 0 {
		return nil
	}
	if len(p.Errors) == 1 {
		p.Detail = p.Errors[0].Location + ": " + p.Errors[0].Message
	}
	return p
}
