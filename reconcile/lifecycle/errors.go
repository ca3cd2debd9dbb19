package lifecycle

import (
	"fmt"
	"strings"
)

// RefusedError says that break glass forbids what was asked for. The refusal is recorded.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused: " + e.Reason }

// UnknownMemberError names ids that were to become members and are nobody's.
type UnknownMemberError struct{ IDs []string }

func (e *UnknownMemberError) Error() string {
	shown := e.IDs[:min(len(e.IDs), 5)]
	more := ""
	if len(e.IDs) > len(shown) {
		more = fmt.Sprintf(" and %d more", len(e.IDs)-len(shown))
	}
	return "no such user: " + strings.Join(shown, ", ") + more
}
