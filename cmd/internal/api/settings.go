package api

import (
	"context"
	"net/http"
	"time"
)

// SCIMSetting is how the push endpoint is set, and what it takes.
type SCIMSetting struct {
	Enabled         bool       `json:"enabled"`
	Declared        bool       `json:"declared" doc:"The configuration says so: it is changed there."`
	DeclaredBy      string     `json:"declared_by,omitempty" doc:"Where it says so."`
	Waiting         bool       `json:"waiting" doc:"Declared on, and off until there is break glass."`
	Since           *time.Time `json:"since"`
	ChangedBy       string     `json:"changed_by"`
	AnswersFrom     *time.Time `json:"answers_from" doc:"When all servers begin to answer."`
	Answering       bool       `json:"answering"`
	BreakGlass      bool       `json:"break_glass" doc:"Somebody can get in without the identity provider."`
	LocalAdmins     int        `json:"local_admins"`
	LiveKeys        int        `json:"live_keys" doc:"Keys that the endpoint lets in."`
	JITProvisioning bool       `json:"jit_provisioning" doc:"A sign-in may make an account."`
	Changed         *bool      `json:"changed,omitempty" doc:"Of a request to switch it: whether it was not so before."`
}

const tagSettings = "settings"

func (a *API) registerSettings() {
	show := func(ctx context.Context, changed *bool) (*bodyOf[SCIMSetting], error) {
		s, err := a.o.SCIM(ctx)
		s.Changed = changed
		return &bodyOf[SCIMSetting]{s}, err
	}
	add(a, operation{
		id: "show-scim", method: http.MethodGet, path: "/settings/scim", tag: tagSettings, need: needViewer, summary: "Tell whether identity providers may push",
	}, func(ctx context.Context, _ *struct{}) (*bodyOf[SCIMSetting], error) { return show(ctx, nil) })
	add(a, operation{
		id: "set-scim", method: http.MethodPost, path: "/settings/scim", tag: tagSettings, need: needAdmin, summary: "Switch the push endpoint on or off",
		description: "Refused where the configuration declares it, and on without break glass.",
	}, func(ctx context.Context, in *struct {
		Body struct {
			Enabled bool `json:"enabled"`
		}
	},
	) (*bodyOf[SCIMSetting], error) {
		set := a.o.Applier.DisableSCIM
		if in.Body.Enabled {
			set = a.o.Applier.EnableSCIM
		}
		changed, err := set(ctx, callerOf(ctx).actor)
		if err != nil {
			return nil, err
		}
		return show(ctx, &changed)
	})
}
