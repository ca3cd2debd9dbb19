// Package api is the administration API, /api/v1: the same verbs as the command line, over HTTP and JSON. It has no
// rules of its own. Who calls is told by a personal API key or a session, and what they may do by the roles that they
// hold on the root team. The OpenAPI document is generated from the operations as they are registered.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/idpsync/idpsync/reconcile"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/reconcile/roles"
	"github.com/idpsync/idpsync/scim/limit"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// Prefix is the path below which the API is served.
const Prefix = "/api/v1"

// Options are what an API is made of. Those without a remark are required.
type Options struct {
	Store   *store.Store
	Applier *lifecycle.Applier
	Engine  *reconcile.Engine

	// Key tells who holds an API key; ErrUnauthenticated for nobody.
	Key func(ctx context.Context, bearer string) (store.Caller, error)
	// Session tells who is signed in with a request; ErrUnauthenticated for nobody. Nil: sessions are not accepted.
	Session func(r *http.Request) (Session, error)
	// Origin is the scheme and host by which browsers know the service, where that may differ from the request's; or "".
	Origin string

	// Sources returns the configured connectors with these names, or all.
	Sources func(names ...string) ([]reconcile.Source, error)
	// NextSlot tells when the scheduler runs a connector next; zero for never. Nil: not known.
	NextSlot func(connector string, after time.Time) time.Time
	// Describe returns what the configuration says of a connector, nil for none. Nil: not told.
	Describe func(connector string) *ConnectorConfig
	// Remap changes the role mapping, SyncMapping puts in force what the configuration declares of it.
	Remap       func(ctx context.Context, by identity.Actor, edit roles.Edit, dryRun bool, approve string) (lifecycle.MappingPlan, error)
	SyncMapping func(ctx context.Context, by identity.Actor, dryRun bool, approve string) (lifecycle.MappingPlan, error)
	// SCIM tells how the push endpoint is set.
	SCIM func(ctx context.Context) (SCIMSetting, error)
	// DeclaredBy says where SCIM is declared, and what to do to have it decided elsewhere.
	DeclaredBy func() (where, remedy string)
	// Check tries a connector, CheckAll everything that the installation needs; without CheckAll, nothing is needed.
	Check    func(ctx context.Context, connector string) []CheckItem
	CheckAll func(ctx context.Context) []Check
	Webhooks Webhooks // optional

	RequestsPerMinute int      // of each key and each person; 0 means DefaultRequestsPerMinute, below 0 no limit
	Metrics           *Metrics // nil counts nothing
	Logger            *slog.Logger
	Now               func() time.Time // nil is time.Now
	Version           string           // of the API, for the document
	Program           Program
	// Frank answers errors that the API does not know with their text: whoever calls runs the program.
	Frank bool
}

// Program says which program serves.
type Program struct {
	Version  string
	Revision string // of the source; "" where that is not known
}

// DefaultRequestsPerMinute is enough for an application that asks at every sign-in.
const DefaultRequestsPerMinute = 6000

// Session is somebody who is signed in.
type Session struct {
	UserID, UserName string
	RootRoles        []identity.Role
}

// ErrUnauthenticated: nobody is signed in, or a key lets nobody in.
var ErrUnauthenticated = errors.New("not authenticated")

// API serves the administration API. Run must run for runs to be started.
type API struct {
	o           Options
	now         func() time.Time
	logger      *slog.Logger
	mux         *http.ServeMux
	huma        huma.API
	limits      *limit.Limiter
	runner      *runner
	crossOrigin *http.CrossOriginProtection
	document    []byte
	needs       map[string]need // of each operation, by its id
}

// New returns an API.
func New(o Options) (*API, error) {
	if o.Store == nil || o.Applier == nil || o.Engine == nil || o.Key == nil || o.Sources == nil || o.Remap == nil || o.SyncMapping == nil ||
		o.SCIM == nil || o.DeclaredBy == nil || o.Check == nil || o.Logger == nil {
		return nil, errors.New("api: a required option is missing")
	}
	if o.RequestsPerMinute == 0 {
		o.RequestsPerMinute = DefaultRequestsPerMinute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "1"
	}
	a := &API{
		o: o, now: o.Now, logger: o.Logger, mux: http.NewServeMux(), limits: limit.New(o.RequestsPerMinute), runner: newRunner(),
		crossOrigin: http.NewCrossOriginProtection(), needs: map[string]need{},
	}
	if o.Origin != "" {
		if err := a.crossOrigin.AddTrustedOrigin(o.Origin); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
	}
	a.huma = humago.NewWithPrefix(a.mux, Prefix, a.config())
	a.huma.UseMiddleware(a.authenticate)
	a.register()
	a.mux.HandleFunc("GET "+Prefix+"/openapi.json", a.serveDocument)
	a.mux.HandleFunc("/", a.nothing)
	if o.Frank {
		return a, nil // nobody reads the document there
	}
	var err error
	a.document, err = json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	return a, err
}

// config has everything that huma would serve of itself switched off.
func (a *API) config() huma.Config {
	config := huma.DefaultConfig("idpsync administration API", a.o.Version)
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Formats = map[string]huma.Format{"application/json": {Marshal: writeJSON, Unmarshal: json.Unmarshal}}
	config.Formats["json"] = config.Formats["application/json"]
	config.Transformers = []huma.Transformer{a.transform}
	config.Info.Description = "Who may do what and why, and everything that `idpsync` does on the command line. " +
		"Times are RFC 3339 in UTC; errors are problem details (RFC 9457)."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key": {
			Type: "http", Scheme: "bearer", BearerFormat: "idps_...",
			Description: "A personal API key. Its owner's roles on the root team decide what it may do.",
		},
	}
	config.Security = []map[string][]string{{"key": {}}}
	if a.o.Session != nil {
		config.Components.SecuritySchemes["session"] = &huma.SecurityScheme{
			Type: "apiKey", In: "cookie", Name: "__Host-idpsync", Description: "A console session. Writes are accepted from pages of the same origin only.",
		}
		config.Security = append(config.Security, map[string][]string{"session": {}})
	}
	problem := huma.SchemaFromType(config.Components.Schemas, problemType)
	config.Components.Schemas.Map()["Problem"] = problem
	config.Components.Responses = map[string]*huma.Response{"Problem": {
		Description: "What is wrong, and the remedy.",
		Content:     map[string]*huma.MediaType{problemJSON: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
	}}
	return config
}

// writeJSON writes a value at once. That a client is gone is no error of ours.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, _ = w.Write(b.Bytes())
	return nil
}

// Document returns the OpenAPI document; nil with Options.Frank.
func (a *API) Document() []byte { return a.document }

// Run runs what was started until ctx ends, then waits for it.
func (a *API) Run(ctx context.Context) error { return a.runner.run(ctx) }

// An operation is registered with what it takes to call it.
type operation struct {
	id, method, path string
	summary          string
	description      string
	tag              string
	need             need
	whom             string         // who may, where need does not say it
	status           int            // of success; 0 is 200, or 204 where nothing is answered
	answers          *huma.Response // where the type of the answer does not say it
}

// add registers an operation. Errors that its handler returns are answered by one function.
func add[I, O any](a *API, op operation, handler func(context.Context, *I) (*O, error)) {
	a.needs[op.id] = op.need
	codes := []string{"401", "403", "422", "429", "500"}
	if op.method != http.MethodGet {
		codes = append(codes, "409")
	}
	described := huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Tags: []string{op.tag}, DefaultStatus: op.status,
		Description: op.description, MaxBodyBytes: -1, BodyReadTimeout: -1, Responses: map[string]*huma.Response{},
	}
	if described.Description != "" {
		described.Description += "\n\n"
	}
	if op.whom == "" {
		op.whom = op.need.describe(op.method)
	}
	described.Description += op.whom
	if op.answers != nil {
		described.Responses["200"] = op.answers
	}
	for _, code := range append(codes, "404") {
		described.Responses[code] = &huma.Response{Ref: "#/components/responses/Problem"}
	}
	huma.Register(a.huma, described, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, a.answer(ctx, err)
		}
		return out, nil
	})
}

func (a *API) register() {
	a.registerAccess()
	a.registerKeys()
	a.registerMapping()
	a.registerTeams()
	a.registerRoles()
	a.registerSettings()
	a.registerUsers()
	a.registerGroups()
	a.registerRuns()
	a.registerConflicts()
	a.registerConnectors()
	a.registerAudit()
	a.registerSessions()
	a.registerAdmins()
	a.registerWebhooks()
	a.registerServer()
	// Types of huma's own that nothing refers to.
	delete(a.huma.OpenAPI().Components.Schemas.Map(), "ErrorModel")
	delete(a.huma.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
}
