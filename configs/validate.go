package configs

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/glob"
	"github.com/robfig/cron/v3"
)

// Validate checks the configuration, whether it came from a file or was put together by a program. What is wrong
// comes as an *Error. It reads no files.
func (c *Config) Validate() error {
	ps := &problems{where: c.where}
	validate(c, ps)
	return ps.err("")
}

// checker adds to problems, but nothing about a field that has one already: what follows from a first mistake only
// hides it.
type checker struct{ *problems }

func (ch checker) bad(field, format string, args ...any) {
	if !ch.covers(field) {
		ch.add(field, format, args...)
	}
}

func validate(c *Config, ps *problems) {
	ch := checker{ps}
	ch.server(c)
	ch.scim(&c.SCIM)
	if c.API.RequestsPerMinute < 1 {
		ch.bad("api.requests_per_minute", "%d lets nobody in; write 1 or more, 6000 suits an application that asks at every sign-in", c.API.RequestsPerMinute)
	}
	ch.limit("role_guard", c.RoleGuard)
	roles := ch.roles(c)
	ch.connectors(c.Connectors)
	ch.protected(c.Protected, roles)
	ch.mapping(c.RoleMapping, roles)
	for i := range c.Webhooks {
		ch.webhook(fmt.Sprintf("webhooks[%d]", i), &c.Webhooks[i])
	}
	ch.webhookNames(c.Webhooks)
	ch.signIn(c)
	ch.log(&c.Log)
	ch.telemetry(&c.Telemetry.Traces)
}

func (ch checker) server(c *Config) {
	host, port, err := net.SplitHostPort(c.Listen)
	_, numberErr := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || numberErr != nil:
		ch.bad("listen", "%q is no host:port; write for example 127.0.0.1:8080", c.Listen)
	case !isLoopback(host) && !c.TLS.Enabled() && !c.TrustProxy && !ch.covers("tls.cert_file"):
		ch.bad("listen", "%q is reachable from other machines, and without TLS keys and people would travel in the clear; set tls.cert_file and tls.key_file, or trust_proxy: true behind a proxy that ends TLS, or listen on 127.0.0.1", c.Listen)
	}
	switch {
	case c.TLS.CertFile != "" && c.TLS.KeyFile == "":
		ch.bad("tls.key_file", "cert_file needs it; name the file of the certificate's private key")
	case c.TLS.CertFile == "" && c.TLS.KeyFile != "":
		ch.bad("tls.cert_file", "key_file needs it; name the file of the certificate")
	}
	if c.RunLease < time.Second || c.RunLease > time.Hour {
		ch.bad("run_lease", "%s is not between 1s and 1h; 30s suits most: a third of it is how often a run says that it lives", c.RunLease)
	}
	if c.BaseURL != "" {
		ch.url("base_url", c.BaseURL, true)
	}
	ch.database(c.Database.Reveal())
}

// database checks the DSN without ever quoting it.
func (ch checker) database(dsn string) {
	const forms = "write sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE"
	if path, ok := strings.CutPrefix(dsn, "sqlite://"); ok {
		if path == "" || path[0] == '?' {
			ch.bad("database", "no file is named; write for example sqlite://idpsync.db")
		}
		return
	}
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		ch.bad("database", "this is neither an SQLite nor a PostgreSQL database; %s", forms)
		return
	}
	u, err := url.Parse(dsn)
	if err != nil {
		ch.bad("database", "this is no URL (special characters in a password must be written as %%XX); %s", forms)
		return
	}
	query := u.Query()
	if u.Host == "" && query.Get("host") == "" {
		ch.bad("database", "no host is named; %s", forms)
	}
	if strings.Trim(u.Path, "/") == "" && query.Get("dbname") == "" && query.Get("database") == "" {
		ch.bad("database", "no database is named; %s", forms)
	}
}

func (ch checker) scim(s *SCIM) {
	if s.ActivationDelay < 0 || s.ActivationDelay > time.Hour {
		ch.bad("scim.activation_delay", "%s is not between 0s and 1h; 30s suits most, and replicas notice within two seconds", s.ActivationDelay)
	}
	if s.RequestsPerMinute < 1 {
		ch.bad("scim.requests_per_minute", "%d lets nobody in; write 1 or more, 1500 for Entra ID", s.RequestsPerMinute)
	}
	if s.MaxResults < 1 || s.MaxResults > 1000 {
		ch.bad("scim.max_results", "%d is not between 1 and 1000; 200 suits every known client", s.MaxResults)
	}
	ch.oneOf("scim.user_name_is_email", s.UserNameIsEmail, UserNameStrict, UserNameWarn, UserNameOff)
	ch.oneOf("scim.unknown_roles", s.UnknownRoles, UnknownRolesReject, UnknownRolesIgnore)
	ch.extensions(s.Extensions)
}

var roleName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// roles returns all roles that there are.
func (ch checker) roles(c *Config) []string {
	known := BuiltInRoles()
	for i, role := range c.Roles {
		field := fmt.Sprintf("roles[%d]", i)
		switch {
		case !roleName.MatchString(role):
			ch.bad(field, "%q is no name of a role; use lower-case letters, digits, _ . and -, a letter first", role)
		case slices.Contains(BuiltInRoles(), role):
			ch.bad(field, "%s is built in; remove the entry", role)
		case slices.Contains(known, role):
			ch.bad(field, "%s appears twice; remove one", role)
		}
		known = append(known, role)
	}
	if c.DefaultRole != "" {
		ch.role("default_role", c.DefaultRole, known)
	}
	return known
}

func (ch checker) role(field, role string, known []string) {
	if !slices.Contains(known, role) {
		ch.bad(field, "there is no role %q; use one of %s, or add it to roles", role, strings.Join(known, ", "))
	}
}

var connectorName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func (ch checker) connectors(list []Connector) {
	names := map[string]int{}
	for i := range list {
		c := &list[i]
		field := fmt.Sprintf("connectors[%d]", i)
		switch first, taken := names[c.Name]; {
		case c.Name == "":
			ch.bad(field+".name", "every connector needs a name; write for example name: okta")
		case !connectorName.MatchString(c.Name):
			ch.bad(field+".name", "%q is no name of a connector; use lower-case letters, digits, _ and -, at most 63", c.Name)
		case taken:
			ch.bad(field+".name", "%q is connectors[%d]'s name already; choose another (people belong to their connector by this name)", c.Name, first)
		default:
			names[c.Name] = i
		}
		switch c.Type {
		case TypeOkta:
			ch.okta(field, c)
		case TypeEntra:
			ch.entra(field, c)
		default:
			ch.oneOf(field+".type", c.Type, TypeOkta, TypeEntra)
		}
		for j, pattern := range c.Groups.Include {
			ch.glob(fmt.Sprintf("%s.groups.include[%d]", field, j), pattern)
		}
		for j, pattern := range c.Groups.Exclude {
			ch.glob(fmt.Sprintf("%s.groups.exclude[%d]", field, j), pattern)
		}
		ch.cron(field+".schedule", c.Schedule)
		ch.cron(field+".full_schedule", c.FullSchedule)
		ch.pace(field, c)
		ch.oneOf(field+".mode", c.Mode, ModeEnforce, ModeReport)
		ch.authorities(field+".attributes", c.Attributes)
		ch.limit(field+".guard.users", c.Guard.Users)
		ch.limit(field+".guard.groups", c.Guard.Groups)
		ch.limit(field+".guard.members", c.Guard.Members)
	}
}

// Bounds of a window and of jitter.
const (
	longestWindow = 7 * 24 * time.Hour
	longestJitter = time.Hour
)

// pace checks when scheduled runs begin, the schedules themselves left out.
func (ch checker) pace(field string, c *Connector) {
	if c.Jitter < 0 || c.Jitter > longestJitter {
		ch.bad(field+".jitter", "%s is not between 0s and 1h; 30s suits most", c.Jitter)
	}
	for i, w := range c.Windows {
		window := fmt.Sprintf("%s.windows[%d]", field, i)
		ch.oneOf(window+".kind", w.Kind, WindowAllow, WindowDeny)
		ch.required(window+".schedule", w.Schedule, `when the window opens, for example "0 22 * * *" (UTC)`)
		ch.cron(window+".schedule", w.Schedule)
		if w.Duration <= 0 || w.Duration > longestWindow {
			ch.bad(window+".duration", "%s is not more than 0s and at most 168h; write how long the window is open, for example 8h", w.Duration)
		}
	}
}

// An id of Okta's goes into the path of a URL as it is.
var oktaID = regexp.MustCompile(`^[0-9A-Za-z]+$`)

func (ch checker) okta(field string, c *Connector) {
	ch.foreign(field, c, TypeEntra, "tenant_id", "client_secret", "client_secret_file", "certificate_file",
		"service_principal_id", "graph_url", "authority", "guests")
	if c.URL == "" {
		ch.bad(field+".url", "it is missing; write your organisation's address, for example https://acme.okta.com")
	} else {
		ch.url(field+".url", c.URL, false)
		if u, err := url.Parse(c.URL); err == nil && strings.HasSuffix(strings.SplitN(u.Hostname(), ".", 2)[0], "-admin") {
			ch.bad(field+".url", "%s is the admin console; write the organisation's own address, without -admin", c.URL)
		}
	}
	token := c.APIToken != "" || c.APITokenFile != ""
	key := c.ClientID != "" || c.PrivateKeyFile != "" || c.KeyID != ""
	switch {
	case token && key:
		ch.bad(field+".api_token", "there is a client_id, private_key_file or key_id as well; keep the token or the three, not both")
	case !token && !key:
		ch.bad(field+".api_token", "there is no credential; set api_token (or api_token_file), or client_id, private_key_file and key_id")
	case key:
		ch.required(field+".client_id", c.ClientID, "the id of the service application")
		ch.required(field+".private_key_file", c.PrivateKeyFile, "the PEM file of its private key")
		ch.required(field+".key_id", c.KeyID, "the key's id (kid) at Okta")
	}
	ch.token(field+".api_token", c.APIToken)
	if c.AppID != "" && !oktaID.MatchString(c.AppID) {
		ch.bad(field+".app_id", "%q is no id of an application; it looks like 0oa1b2c3d4e5f6g7h8i9 and stands in the application's address", c.AppID)
	}
}

var (
	guid   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	domain = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)
)

func (ch checker) entra(field string, c *Connector) {
	ch.foreign(field, c, TypeOkta, "url", "api_token", "api_token_file", "private_key_file", "key_id", "app_id")
	ch.required(field+".tenant_id", c.TenantID, "the directory's id")
	if c.TenantID != "" && !guid.MatchString(c.TenantID) && !domain.MatchString(c.TenantID) {
		ch.bad(field+".tenant_id", "%q is neither a tenant's id nor its domain; write for example 00000000-0000-0000-0000-000000000000 or acme.onmicrosoft.com", c.TenantID)
	}
	ch.required(field+".client_id", c.ClientID, "the application's id")
	secret := c.ClientSecret != "" || c.ClientSecretFile != ""
	switch {
	case secret && c.CertificateFile != "":
		ch.bad(field+".client_secret", "there is a certificate_file as well; keep one")
	case !secret && c.CertificateFile == "":
		ch.bad(field+".client_secret", "there is no credential; set client_secret (or client_secret_file), or certificate_file")
	}
	ch.token(field+".client_secret", c.ClientSecret)
	if c.ServicePrincipalID != "" && !guid.MatchString(c.ServicePrincipalID) {
		ch.bad(field+".service_principal_id", "%q is no object id; copy it from the enterprise application's properties", c.ServicePrincipalID)
	}
	ch.url(field+".graph_url", c.GraphURL, true)
	ch.url(field+".authority", c.Authority, true)
}

// foreign reports keys in the file that belong to the other type of connector.
func (ch checker) foreign(field string, c *Connector, other string, keys ...string) {
	for _, key := range keys {
		if ch.where.has(field + "." + key) {
			ch.bad(field+"."+key, "this key belongs to connectors of type %s, this one is of type %s; remove it", other, c.Type)
		}
	}
}

func (ch checker) required(field, value, what string) {
	if value == "" {
		ch.bad(field, "it is missing; write %s", what)
	}
}

// token checks a credential that travels in a header.
func (ch checker) token(field string, s Secret) {
	if strings.ContainsFunc(s.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
		ch.bad(field, "the secret has blanks, line breaks or letters that no such secret has; copy it again")
	}
}

// url checks an address that we call or are called by: https, or http on loopback. It quotes the host alone: the rest
// may hold a password or a token.
func (ch checker) url(field, text string, path bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		ch.bad(field, "this is no web address; write https://HOST")
	case u.User != nil:
		ch.bad(field, "it holds a user name or password; remove it")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		ch.bad(field, "http://%s is not encrypted; write https://%s (http:// is for loopback only)", u.Host, u.Host)
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		ch.bad(field, "it goes on after the path; remove what begins with ? or #")
	case !path && strings.Trim(u.Path, "/") != "":
		ch.bad(field, "it has a path; write %s://%s alone", u.Scheme, u.Host)
	}
}

func (ch checker) glob(field, pattern string) {
	if strings.TrimSpace(pattern) == "" {
		ch.bad(field, "the pattern is empty and matches no group; write a name, or * for all")
		return
	}
	if _, err := glob.Compile(pattern); err != nil {
		ch.bad(field, "%q is no pattern; use * ? [abc] {one,two}, and \\ before such a character that is meant as itself", pattern)
	}
}

func (ch checker) cron(field, spec string) {
	const remedy = `write five fields (minute hour day month weekday, UTC), for example "*/15 * * * *", or @hourly, @daily, @every 10m`
	if strings.Contains(spec, "TZ=") {
		// The library panics on some of these, and a slot in a zone with summer time comes twice or never.
		ch.bad(field, "%q names a time zone; schedules are in UTC, remove it", spec)
		return
	}
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		ch.bad(field, "%q is no schedule; %s", spec, remedy)
		return
	}
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		ch.bad(field, "%q never comes; %s", spec, remedy)
	}
}

func (ch checker) limit(field string, l Limit) {
	if l.Percent < 0 || l.Percent > 100 {
		ch.bad(field+".percent", "%g is no percentage; write 0 to 100", l.Percent)
	}
	if l.Floor < 0 {
		ch.bad(field+".floor", "%d is negative; write 0 or more", l.Floor)
	}
	if l.Max < 0 || l.Max == 0 && ch.where.has(field+".max") {
		ch.bad(field+".max", "%d could be read as none or as no limit; write 1 or more, and to have every removal held percent: 0 and floor: 0", l.Max)
	}
}

func (ch checker) mapping(list []Mapping, roles []string) {
	groups := map[string]int{}
	for i, m := range list {
		field := fmt.Sprintf("role_mapping[%d]", i)
		key := strings.ToLower(strings.TrimSpace(m.Group))
		first, taken := groups[key]
		switch {
		case key == "":
			ch.bad(field+".group", "it is missing; write the group's display name or id")
		case taken:
			ch.bad(field+".group", "%q is mapped by role_mapping[%d] already; put the grants together there", m.Group, first)
		default:
			groups[key] = i
		}
		if len(m.Grants) == 0 {
			ch.bad(field+".grants", "the group gets nothing; write for example grants: [{team: root, role: viewer}]")
		}
		seen := map[Grant]bool{}
		for j, g := range m.Grants {
			field := fmt.Sprintf("%s.grants[%d]", field, j)
			if strings.TrimSpace(g.Team) == "" {
				ch.bad(field+".team", "it is missing; write a team's name, or root")
			}
			ch.role(field+".role", g.Role, roles)
			g.Team = strings.ToLower(strings.TrimSpace(g.Team))
			if seen[g] {
				ch.bad(field, "the same team and role stand above; remove one")
			}
			seen[g] = true
		}
	}
}

var eventPattern = regexp.MustCompile(`^([a-z_*]+\.)*[a-z_*]+$`)

func (ch checker) webhook(field string, w *Webhook) {
	switch {
	case w.URL == "":
		ch.bad(field+".url", "it is missing; write the address that receives the events")
	case strings.HasPrefix(w.URL, "http://") && !w.AllowPrivate:
		ch.bad(field+".url", "it is not encrypted; write https://, or allow_private: true for a receiver in the own network")
	case w.AllowPrivate:
		ch.webhookURL(field+".url", strings.Replace(w.URL, "http://", "https://", 1)) // without TLS is as good there
	default:
		ch.webhookURL(field+".url", w.URL)
	}
	if w.Secret == "" && w.SecretFile == "" && len(w.Secrets) == 0 {
		ch.bad(field+".secret", "it is missing; events are signed with it: write whsec_ and the output of: openssl rand -base64 32")
	}
	for _, secret := range strings.Fields(w.Secret.Reveal()) {
		ch.signing(field+".secret", secret)
	}
	for i, secret := range w.Secrets {
		ch.signing(fmt.Sprintf("%s.secrets[%d]", field, i), secret.Reveal())
	}
	for i, pattern := range w.Events {
		if !eventPattern.MatchString(pattern) {
			ch.bad(fmt.Sprintf("%s.events[%d]", field, i), "%q is no pattern of event types; write for example user.created, user.* or *", pattern)
		}
	}
}

// signing checks a secret that messages are signed with.
func (ch checker) signing(field, secret string) {
	encoded, standard := strings.CutPrefix(secret, "whsec_")
	if !standard {
		ch.bad(field, "it does not begin with whsec_; write whsec_ and the output of: openssl rand -base64 32")
		return
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		ch.bad(field, "after whsec_ there must be 24 to 64 bytes in base64; make them with: openssl rand -base64 32")
	}
}

// webhookNames sees that receivers can be told apart.
func (ch checker) webhookNames(webhooks []Webhook) {
	seen := map[string]int{}
	for i := range webhooks {
		called := webhooks[i].Called()
		if first, ok := seen[called]; ok {
			ch.bad(fmt.Sprintf("webhooks[%d].name", i), "webhooks[%d] is called %q too; give each a name of its own", first, called)
			continue
		}
		seen[called] = i
	}
}

// webhookURL is url with a query allowed: receivers are told apart by it.
func (ch checker) webhookURL(field, text string) {
	if u, err := url.Parse(text); err == nil {
		u.RawQuery, u.ForceQuery = "", false
		text = u.String()
	}
	ch.url(field, text, true)
}

func (ch checker) log(l *Log) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		ch.bad("log.level", "%q is no level; write debug, info, warn or error", l.Level)
	}
	ch.oneOf("log.format", l.Format, FormatAuto, FormatText, FormatJSON)
	ch.oneOf("log.requests", l.Requests, RequestsInfo, RequestsDebug, RequestsOff)
}

func (ch checker) oneOf(field, value string, allowed ...string) {
	switch {
	case slices.Contains(allowed, value):
	case value == "":
		ch.bad(field, "it is missing; write %s", strings.Join(allowed, " or "))
	default:
		ch.bad(field, "%q is not known; write %s", value, strings.Join(allowed, " or "))
	}
}
