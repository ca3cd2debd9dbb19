package scim

import (
	"net/http"

	"github.com/idpsync/idpsync/reconcile/lifecycle"
	"github.com/idpsync/idpsync/store"
	"github.com/idpsync/idpsync/store/identity"
)

// me makes an action on a user one on the owner of the key (RFC 7644, section 3.11). Location is the real place,
// whatever the answer is.
func (h *Handler) me(act action) action {
	return func(r *request, _ string) (answer, error) {
		r.header.Set("Location", r.location(h.users, r.principal.UserID))
		return act(r, r.principal.UserID)
	}
}

// postMe answers a POST, which would create the resource of whoever asks: the owner of a key is always there already.
// 501 is what section 3.11 has for what is not supported of /Me; 405 would deny that the method belongs to it.
func (h *Handler) postMe(*request, string) (answer, error) {
	return answer{}, &Error{Status: http.StatusNotImplemented, Detail: "the owner of an API key cannot be created with it"}
}

// deleteMe refuses, and records that it did. An owner who is a local account is protected in any case (package
// lifecycle). Another one an identity provider may take away, under its id; but a key that asks for "me" to go would
// cut off the very provisioning that it is for.
func (h *Handler) deleteMe(r *request, id string) (answer, error) {
	u, err := h.user(r.Context(), id)
	if err != nil {
		return answer{}, err
	}
	refused := &lifecycle.RefusedError{
		Reason: "this account owns the SCIM key in use, and cannot be deleted with it", UserID: u.ID, UserName: u.UserName,
	}
	err = h.opt.Store.InTx(r.Context(), func(tx *store.Tx) error {
		return tx.Record(r.Context(), []identity.Event{{
			At: h.opt.Now(), Type: identity.EventRefused, Actor: r.actor(), Object: identity.ObjectUser,
			ObjectID: u.ID, Name: u.UserName, Reason: refused.Reason,
		}})
	})
	if err != nil {
		return answer{}, err
	}
	return answer{}, refused
}
