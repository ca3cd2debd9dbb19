package scim

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/idpsync/idpsync/store"
)

// ErrUnauthenticated says that a key is unknown, garbled, revoked, disabled or expired.
var ErrUnauthenticated = errors.New("not authenticated")

// Authenticator knows API keys.
type Authenticator interface {
	// Authenticate returns who holds the key, or ErrUnauthenticated. Any other error is the server's own. It may answer
	// the lookups along the way, where that saves a round trip; those it leaves are not Done.
	Authenticate(ctx context.Context, bearer string, along ...*store.UserLookup) (Principal, error)
}

// Principal is the holder of an API key.
type Principal struct {
	KeyID, KeyName   string
	UserID, UserName string // the key's owner
	Source           string // who owns what this key pushes: the connector that it is bound to, or "scim:<key>"
	Provisioner      bool   // the owner holds scim_provisioner and admin on the root team at this moment
}

// maxKeyLength bounds what is taken for a key.
const maxKeyLength = 1024

func (h *Handler) authenticate(r *request) error {
	scheme, key, _ := strings.Cut(r.Request.Header.Get("Authorization"), " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || key == "" || len(key) > maxKeyLength {
		return &Error{
			Status: http.StatusUnauthorized, Detail: "an API key is needed: Authorization: Bearer <key>",
			Authenticate: `Bearer realm="idpsync"`,
		}
	}
	var along []*store.UserLookup
	if r.lookup = h.ahead(r); r.lookup != nil {
		along = append(along, r.lookup)
	}
	principal, err := h.opt.Auth.Authenticate(r.Context(), key, along...)
	if errors.Is(err, ErrUnauthenticated) {
		// Which of the reasons it is, is for the operator: a mistyped key and a revoked one look the same to the caller.
		h.opt.Logger.InfoContext(r.Context(), "API key refused", "reason", err.Error(), "request_id", r.id)
		return &Error{
			Status: http.StatusUnauthorized, Detail: "the API key is not valid",
			Authenticate: `Bearer realm="idpsync", error="invalid_token"`,
		}
	}
	if err != nil {
		return err
	}
	r.principal = principal
	if !principal.Provisioner {
		return &Error{
			Status: http.StatusForbidden,
			Detail: "the owner of this API key needs the roles scim_provisioner and admin on the root team",
		}
	}
	return nil
}
