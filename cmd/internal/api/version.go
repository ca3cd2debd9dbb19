package api

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"time"
)

// Version is what a server is, and what it believes the time to be.
type Version struct {
	Version  string    `json:"version" doc:"Of the program."`
	Revision string    `json:"revision" doc:"Of its source; empty where that is not known."`
	Go       string    `json:"go"`
	Platform string    `json:"platform" example:"linux/amd64"`
	Time     time.Time `json:"time" doc:"By the server's clock."`
}

// Check is one thing that an installation needs, and was tried.
type Check struct {
	Of     string `json:"of" doc:"config, database, scim, a connector's name, sign_in.saml or sign_in.oidc."`
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// Checks is what came of trying everything.
type Checks struct {
	OK    bool    `json:"ok"`
	Items []Check `json:"items" nullable:"false"`
}

const tagServer = "server"

func (a *API) registerServer() {
	add(a, operation{
		id: "version", method: http.MethodGet, path: "/version", tag: tagServer, summary: "Tell which program this is, and what time it is here",
		whom: "For everybody who is authenticated.",
	}, func(context.Context, *struct{}) (*bodyOf[Version], error) {
		v := Version{Version: a.o.Program.Version, Revision: a.o.Program.Revision, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Time: a.now().UTC()}
		return &bodyOf[Version]{v}, nil
	})
	add(a, operation{
		id: "check", method: http.MethodPost, path: "/check", tag: tagServer, need: needOperator,
		summary: "Try everything that this installation needs", description: "Configuration, database, clocks, break glass, connectors, and where people sign in.",
	}, func(ctx context.Context, _ *struct{}) (*bodyOf[Checks], error) {
		ctx, cancel := context.WithTimeoutCause(ctx, checkMost, errors.New("the check took too long"))
		defer cancel()
		out := Checks{OK: true, Items: []Check{}}
		if a.o.CheckAll != nil {
			out.Items = append(out.Items, a.o.CheckAll(ctx)...)
		}
		for _, item := range out.Items {
			out.OK = out.OK && item.OK
		}
		return &bodyOf[Checks]{out}, nil
	})
}
