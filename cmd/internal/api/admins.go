package api

import (
	"context"
	"errors"
	"net/http"
	"net/mail"

	"github.com/idpsync/idpsync/cmd/internal/signin"
	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
)

// NewAdmin is a local admin who was just made, with the password: it is shown this once.
type NewAdmin struct {
	ID          string `json:"id"`
	UserName    string `json:"user_name"`
	Password    string `json:"password" doc:"It is shown this once."`
	Provisioner bool   `json:"scim_provisioner" doc:"May own the key with which an identity provider pushes."`
}

// NewPassword is what came of giving an account another password.
type NewPassword struct {
	ID            string `json:"id"`
	UserName      string `json:"user_name"`
	Active        bool   `json:"active" doc:"Where this is false, nobody signs in with it."`
	SessionsEnded int    `json:"sessions_ended"`
	Password      string `json:"password,omitempty" doc:"Where the request had none. It is shown this once."`
}

// Unlocked tells whether failed sign-ins were forgotten.
type Unlocked struct {
	ID       string `json:"id"`
	UserName string `json:"user_name"`
	Unlocked bool   `json:"unlocked" doc:"False: none had failed of late."`
}

// Unlinked tells whether the id was forgotten by which the identity provider means somebody at sign-in.
type Unlinked struct {
	ID       string `json:"id"`
	UserName string `json:"user_name"`
	Unlinked bool   `json:"unlinked" doc:"False: there was none."`
}

const tagAdmins = "local accounts"

func (a *API) registerAdmins() {
	add(a, operation{
		id: "create-admin", method: http.MethodPost, path: "/admins", tag: tagAdmins, need: needAdmin, status: http.StatusCreated,
		summary: "Make a local admin on the root team; the password is in this answer only", description: "Break glass, for the day the identity provider is down.",
	}, a.createAdmin)
	add(a, operation{
		id: "set-password", method: http.MethodPut, path: "/users/{id}/password", tag: tagAdmins, need: needAdmin,
		summary: "Give a local account another password and end its sessions", description: "Accounts of the identity provider have no password here.",
	}, a.setPassword)
	add(a, operation{
		id: "unlock-user", method: http.MethodPost, path: "/users/{id}/unlock", tag: tagAdmins, need: needAdmin,
		summary: "Let an account sign in again without waiting for what failed before",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Unlocked], error) {
		u, err := a.o.Store.User(ctx, in.ID)
		if err != nil {
			return nil, nobody(err)
		}
		forgotten, err := a.o.Applier.UnblockSignIn(ctx, callerOf(ctx).actor, u.ID)
		if err != nil {
			return nil, nobody(err)
		}
		return &bodyOf[Unlocked]{Unlocked{u.ID, u.UserName, forgotten}}, nil
	})
	add(a, operation{
		id: "unlink-user", method: http.MethodPost, path: "/users/{id}/unlink", tag: tagAdmins, need: needAdmin,
		summary:     "Forget by which id the identity provider means a person at sign-in",
		description: "The next sign-in with the name is taken for theirs. Do it when an account at the provider was made anew for the same person.",
	}, func(ctx context.Context, in *ByID) (*bodyOf[Unlinked], error) {
		u, err := a.o.Store.User(ctx, in.ID)
		if err != nil {
			return nil, nobody(err)
		}
		unlinked, err := a.o.Applier.Unlink(ctx, callerOf(ctx).actor, u.ID)
		if err != nil {
			return nil, nobody(err)
		}
		return &bodyOf[Unlinked]{Unlinked{u.ID, u.UserName, unlinked}}, nil
	})
}

func (a *API) createAdmin(ctx context.Context, in *struct {
	Body struct {
		UserName    string `json:"user_name" minLength:"1" maxLength:"320" doc:"An e-mail address."`
		Provisioner bool   `json:"scim_provisioner,omitempty" doc:"Also give scim_provisioner, to own SCIM keys."`
	}
},
) (*bodyOf[NewAdmin], error) {
	name := in.Body.UserName
	if address, err := mail.ParseAddress(name); err != nil || address.Address != name {
		return nil, invalid("body.user_name", "it is not an e-mail address")
	}
	password := signin.NewPassword()
	hash, err := signin.HashPassword(password)
	if err != nil {
		return nil, err
	}
	u, err := a.o.Applier.CreateAdmin(ctx, callerOf(ctx).actor, name, hash, in.Body.Provisioner)
	var taken *store.DuplicateError
	if errors.As(err, &taken) {
		return nil, problem(http.StatusConflict, kindTaken, name+" exists already ("+taken.ID+"): choose another e-mail address for the local admin")
	}
	if err != nil {
		return nil, err
	}
	return &bodyOf[NewAdmin]{NewAdmin{u.ID, u.UserName, password, in.Body.Provisioner}}, nil
}

func (a *API) setPassword(ctx context.Context, in *struct {
	ByID
	Body *struct {
		Password string `json:"password,omitempty" maxLength:"1024" doc:"Absent: a random one is made, and answered this once."`
	}
},
) (*bodyOf[NewPassword], error) {
	u, err := a.o.Store.User(ctx, in.ID)
	if err != nil {
		return nil, nobody(err)
	}
	out := NewPassword{ID: u.ID, UserName: u.UserName, Active: u.Active}
	chosen := orZero(in.Body).Password
	if chosen == "" {
		chosen = signin.NewPassword()
		out.Password = chosen
	} else if err := signin.CheckChosen(chosen, u.UserName); err != nil {
		return nil, invalid("body.password", err.Error())
	}
	hash, err := signin.HashPassword(chosen)
	if err != nil {
		return nil, err
	}
	out.SessionsEnded, err = a.o.Applier.SetPassword(ctx, callerOf(ctx).actor, u.ID, hash)
	var notLocal *lifecycle.NotLocalError
	if errors.As(err, &notLocal) {
		return nil, problem(http.StatusConflict, kindOwned, notLocal.Error()+": change it there")
	}
	if err != nil {
		return nil, nobody(err)
	}
	return &bodyOf[NewPassword]{out}, nil
}
