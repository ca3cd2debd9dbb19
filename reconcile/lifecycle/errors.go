package lifecycle

import (
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/store/identity"
)

// RefusedError says that break glass, or a protected role, forbids what was asked for. The refusal is recorded. UserID and UserName are of the
// protected person, "" where what was asked is about a group.
type RefusedError struct{ Reason, UserID, UserName string }

func refuse(d Decision, u *identity.User) error {
	return &RefusedError{Reason: d.Reason, UserID: u.ID, UserName: u.UserName}
}

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// UnknownMemberError names ids that were to become members and are neither a user's nor a group's.
type UnknownMemberError struct{ IDs []string }

func (e *UnknownMemberError) Error() string {
	shown := e.IDs[:min(len(e.IDs), 5)]
	more := ""
	if len(e.IDs) > len(shown) {
		more = fmt.Sprintf(" and %d more", len(e.IDs)-len(shown))
	}
	return "no such user or group: " + strings.Join(shown, ", ") + more
}
