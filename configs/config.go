package configs

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// Config is the whole configuration. Get one from Default, Load or Parse: the zero value lacks every default.
type Config struct {
	Listen       string        `yaml:"listen"`        // host:port
	BaseURL      string        `yaml:"base_url"`      // as clients see it, without a slash at the end; "" derives it from the request
	TrustProxy   bool          `yaml:"trust_proxy"`   // a proxy in front ends TLS, and its X-Forwarded-* are believed
	TLS          TLS           `yaml:"tls"`           //
	Database     Secret        `yaml:"database"`      // sqlite://FILE or postgres://...; a secret because it may hold a password
	DatabaseFile string        `yaml:"database_file"` // where Database was read from, or ""
	SCIM         SCIM          `yaml:"scim"`
	API          API           `yaml:"api"`
	DefaultRole  string        `yaml:"default_role"` // what a group gives its members on its own team; "" for nothing
	Roles        []string      `yaml:"roles"`        // beyond BuiltInRoles
	RunLease     time.Duration `yaml:"run_lease"`    // how long the runs of a process that died keep its connectors
	Connectors   []Connector   `yaml:"connectors"`
	Protected    []string      `yaml:"protected_roles"` // TEAM:ROLE: see ProtectedRoles
	RoleMapping  []Mapping     `yaml:"role_mapping"`
	RoleGuard    Limit         `yaml:"role_guard"` // holds a change of the role mapping by which too many lose a role
	Webhooks     []Webhook     `yaml:"webhooks"`
	SignIn       SignIn        `yaml:"sign_in"`
	Log          Log           `yaml:"log"`
	Telemetry    Telemetry     `yaml:"telemetry"`

	where places // of the fields in the file that this was read from
}

// FromFile tells whether the configuration was read from a file.
func (c *Config) FromFile() bool { return c.where != nil }

// TLS names the server's certificate. Both or neither are set.
type TLS struct {
	CertFile string `yaml:"cert_file"` // PEM, the chain included
	KeyFile  string `yaml:"key_file"`  // PEM
}

// Enabled tells whether the server speaks TLS itself.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// SCIM configures the push endpoint.
type SCIM struct {
	Enabled           *bool         `yaml:"enabled"`          // declared on or off; nil: the stored setting decides
	ActivationDelay   time.Duration `yaml:"activation_delay"` // from enabling the stored setting until every replica serves
	RequestsPerMinute int           `yaml:"requests_per_minute"`
	MaxResults        int           `yaml:"max_results"` // of a page
	UserNameIsEmail   string        `yaml:"user_name_is_email"`
	UnknownRoles      string        `yaml:"unknown_roles"`
	StrictReadOnly    bool          `yaml:"strict_read_only"` // a read-only attribute or a password that is stated is an error
	Extensions        []Extension   `yaml:"extensions"`
}

// API configures the administration API.
type API struct {
	RequestsPerMinute int `yaml:"requests_per_minute"` // of each key and each person
}

// Values of SCIM.UserNameIsEmail: what happens when userName is not the primary e-mail address.
const (
	UserNameStrict = "strict" // refused
	UserNameWarn   = "warn"   // accepted and logged
	UserNameOff    = "off"    // accepted
)

// Values of SCIM.UnknownRoles: what happens to a role that is not configured.
const (
	UnknownRolesReject = "reject" // the request is refused
	UnknownRolesIgnore = "ignore" // kept as an attribute, grants nothing
)

// Types of connector.
const (
	TypeOkta  = "okta"
	TypeEntra = "entra"
)

// Modes of a connector.
const (
	ModeEnforce = "enforce" // drift is repaired
	ModeReport  = "report"  // drift is recorded, nothing changes
)

// Connector configures one identity provider to pull from.
type Connector struct {
	Name string `yaml:"name"`
	Type string `yaml:"type"`

	// Okta.
	URL            string `yaml:"url"`
	APIToken       Secret `yaml:"api_token"`
	APITokenFile   string `yaml:"api_token_file"` // where APIToken was read from, or ""
	PrivateKeyFile string `yaml:"private_key_file"`
	KeyID          string `yaml:"key_id"`
	AppID          string `yaml:"app_id"`

	// Okta with a private key, and Entra.
	ClientID string `yaml:"client_id"`

	// Entra.
	TenantID           string `yaml:"tenant_id"`
	ClientSecret       Secret `yaml:"client_secret"`
	ClientSecretFile   string `yaml:"client_secret_file"` // where ClientSecret was read from, or ""
	CertificateFile    string `yaml:"certificate_file"`
	ServicePrincipalID string `yaml:"service_principal_id"`
	GraphURL           string `yaml:"graph_url"`
	Authority          string `yaml:"authority"`

	// Both.
	CAFile       string        `yaml:"ca_file"` // PEM, trusted besides the system's
	Groups       Globs         `yaml:"groups"`
	RequireGroup *bool         `yaml:"require_group"` // nil: see RequiresGroup
	Guests       bool          `yaml:"guests"`
	Schedule     string        `yaml:"schedule"`      // of incremental runs: cron, UTC
	FullSchedule string        `yaml:"full_schedule"` // of full runs: cron, UTC
	Jitter       time.Duration `yaml:"jitter"`        // a scheduled run begins up to so much after its slot
	Windows      []Window      `yaml:"windows"`
	Mode         string        `yaml:"mode"`
	Guard        Guard         `yaml:"guard"`

	// Attributes says by path who has the say about an attribute of those who are held: AuthorityIDP or AuthorityLocal.
	Attributes map[string]string `yaml:"attributes"`
}

// Window is a time in which scheduled runs may or may not begin.
type Window struct {
	Kind     string        `yaml:"kind"`     // WindowAllow or WindowDeny
	Schedule string        `yaml:"schedule"` // when it opens: cron, UTC
	Duration time.Duration `yaml:"duration"`
}

// Kinds of window.
const (
	WindowAllow = "allow" // runs begin in windows of this kind only, where there is one
	WindowDeny  = "deny"  // no run begins
)

// RequiresGroup tells whether only members of a group in scope are provisioned. Where the file does not say, it is so
// as soon as a scope is configured: an application or a selection of groups.
func (c *Connector) RequiresGroup() bool {
	if c.RequireGroup != nil {
		return *c.RequireGroup
	}
	return c.AppID != "" || c.ServicePrincipalID != "" || len(c.Groups.Include) > 0 || len(c.Groups.Exclude) > 0
}

// Globs selects groups by display name or id: what Include matches (everything, where it is empty) without what
// Exclude matches.
type Globs struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// Guard limits what one run may take away.
type Guard struct {
	Users   Limit `yaml:"users"`
	Groups  Limit `yaml:"groups"`
	Members Limit `yaml:"members"`
}

// Limit holds removals that are more than Floor and also more than Percent of what is held, or more than Max.
type Limit struct {
	Percent float64 `yaml:"percent"`
	Floor   int     `yaml:"floor"`
	Max     int     `yaml:"max"` // 0: no limit by number
}

// Mapping gives the members of a group roles on teams.
type Mapping struct {
	Group  string  `yaml:"group"` // externalId, id or displayName
	Grants []Grant `yaml:"grants"`
}

// Grant is a role on a team.
type Grant struct {
	Team string `yaml:"team"`
	Role string `yaml:"role"`
}

// Webhook is a subscriber to events.
type Webhook struct {
	Name         string   `yaml:"name"` // what it is called by; "" is the URL without its query
	URL          string   `yaml:"url"`
	Secret       Secret   `yaml:"secret"`
	SecretFile   string   `yaml:"secret_file"` // where Secret was read from, or ""; it may hold several, one a line
	Secrets      []Secret `yaml:"secrets"`     // that messages are signed with besides, while receivers change over
	Events       []string `yaml:"events"`      // globs over event types; empty: all
	AllowPrivate bool     `yaml:"allow_private"`
	CAFile       string   `yaml:"ca_file"` // PEM, trusted besides the system's
}

// Called returns what the subscriber is called by: its name, or the URL without a query, which may be a secret.
func (w *Webhook) Called() string {
	if w.Name != "" {
		return w.Name
	}
	u, err := url.Parse(w.URL)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}

// Signing returns all secrets that messages are signed with.
func (w *Webhook) Signing() []Secret {
	var secrets []Secret
	for _, text := range strings.Fields(w.Secret.Reveal()) {
		secrets = append(secrets, Secret(text))
	}
	return append(secrets, w.Secrets...)
}

// Log configures the log on standard error.
type Log struct {
	Level    string `yaml:"level"`
	Format   string `yaml:"format"`
	Requests string `yaml:"requests"` // RequestsInfo, RequestsDebug or RequestsOff
}

// Values of Log.Format.
const (
	FormatAuto = "auto" // coloured on a terminal, JSON elsewhere
	FormatText = "text"
	FormatJSON = "json"
)

// BuiltInRoles lists the roles that need no configuration.
func BuiltInRoles() []string { return []string{"admin", "viewer", "operator", "scim_provisioner"} }

// Default returns the configuration of an installation without a file: SQLite in the working directory, loopback,
// SCIM declared on, no connectors. A file starts from the same values, but leaves SCIM to the stored setting until it
// says otherwise.
func Default() *Config {
	return &Config{
		Listen:   "127.0.0.1:8080",
		Database: "sqlite://idpsync.db",
		SCIM: SCIM{
			Enabled:           new(true),
			ActivationDelay:   30 * time.Second,
			RequestsPerMinute: 200,
			MaxResults:        200,
			UserNameIsEmail:   UserNameStrict,
			UnknownRoles:      UnknownRolesReject,
		},
		API:         API{RequestsPerMinute: 6000},
		DefaultRole: "viewer",
		Protected:   []string{"root:admin"},
		RoleGuard:   Limit{Percent: 10, Floor: 10, Max: 500},
		RunLease:    30 * time.Second,
		SignIn:      defaultSignIn(),
		Log:         Log{Level: "info", Format: FormatAuto, Requests: RequestsInfo},
		Telemetry:   Telemetry{Traces: Traces{SampleRatio: 1}},
	}
}

// DefaultConnector returns a connector with everything set that has a default.
func DefaultConnector() Connector {
	return Connector{
		GraphURL:     "https://graph.microsoft.com/v1.0",
		Authority:    "https://login.microsoftonline.com",
		Schedule:     "*/15 * * * *",
		FullSchedule: "@daily",
		Mode:         ModeEnforce,
		Guard: Guard{
			Users:   Limit{Percent: 10, Floor: 10, Max: 500},
			Groups:  Limit{Percent: 10, Floor: 5},
			Members: Limit{Percent: 20, Floor: 50},
		},
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
