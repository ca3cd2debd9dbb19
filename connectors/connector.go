// Package connectors holds the contract that every identity provider's connector keeps, and what they share: the
// transport (pacing, bounded retries, Retry-After, redaction, request counts), secrets, and classes of errors.
// Connectors are mechanism: they read, check and translate; every rule about people is reconcile/lifecycle's.
package connectors

import (
	"context"
	"iter"

	"github.com/idpsync/idpsync/store/identity"
)

// Phase is one of the listings that a pull consists of.
type Phase string

// Phases of a pull.
const (
	PhaseUsers   Phase = "users"
	PhaseGroups  Phase = "groups"
	PhaseMembers Phase = "members"
)

// Page is the unit of commit: what an answer of the identity provider stated, or several small ones. Complete is set
// on the last page of its phase only, and only when the phase is proven to have been listed to its end; the page may
// carry nothing else. Phases may come in any order and their pages may interleave, but a group comes before its
// members. A page belongs to the receiver.
type Page struct {
	Phase    Phase
	Records  []identity.Record
	Groups   []identity.GroupRecord
	Members  []identity.MemberRecord
	Resume   string // opaque; Full started with it goes on after this page; "" where the connector cannot
	Complete bool

	// Checkpoint is where Changes goes on next time. It stands on the last page of a pull only, and only where every
	// phase was complete; "" where the connector has none.
	Checkpoint string

	// Unscoped, of a page of Changes: whether the people stated are in scope was not looked at. Of those who are held it
	// does not matter; all others have to be read by id, with User, before they are let in.
	Unscoped bool
	// Doubtful, of a page of Changes, are people by immutable id of whom something changed that only reading them by id
	// can tell: they were deleted, say, or lost the application.
	Doubtful []string
}

// Connector reads one identity provider. Its methods obey ctx and are safe for concurrent use. A sequence ends after
// its first error; an error that is an *IncompleteError leaves the other phases usable, any other ends the pull.
type Connector interface {
	// Check tries credentials, scopes and clock.
	Check(ctx context.Context) (Report, error)
	// Full yields every record, group and membership in scope, page by page.
	Full(ctx context.Context, resume string) iter.Seq2[Page, error]
	// Changes yields what changed since the checkpoint, and maybe more; ErrResync, before any page, means that only a full
	// pull will do. What it does not state did not change: nothing is gone because Changes is silent about it.
	//
	// A record may state a part: attributes that it lacks, an empty UserName and an empty Status are as they were. Groups
	// that changed are stated, or said to be Gone; of the members either the whole list is stated, to its Last part, or,
	// with Delta, who came and who left. A group of which nobody knows has to be read with Group. Someone who lost the last
	// group in scope has to be read with User.
	Changes(ctx context.Context, checkpoint string) iter.Seq2[Page, error]
	// User reads one person again, by immutable id or userName. ErrNotFound is positive evidence of absence from the
	// source or from the connector's scope.
	User(ctx context.Context, id string) (identity.Record, error)
	// Group yields one group with its members, by immutable id or display name. ErrNotFound is positive evidence of
	// absence from the source or from the connector's scope.
	Group(ctx context.Context, id string) iter.Seq2[Page, error]
	// Requests returns the number of requests sent since the connector was made.
	Requests() int64
}

// GroupLister is a Connector that can tell the groups of one person. Where somebody becomes known to whom Changes had no
// need to speak, it spares a full pull.
type GroupLister interface {
	// GroupsOf returns the immutable ids of the groups in scope that a person is a member of, nested groups' included, by
	// the person's immutable id. ErrNotFound where there is no such person.
	GroupsOf(ctx context.Context, userID string) ([]string, error)
}

// Report is the outcome of a check: what was tried, in order.
type Report struct {
	Items []Item
}

// Item is one thing that a check tried.
type Item struct {
	Name   string // for example "token", "scope okta.users.read", "clock"
	OK     bool
	Detail string // what was found
	Remedy string // what to do about it; "" when OK
}

// OK tells whether everything that was tried is in order.
func (r Report) OK() bool {
	for _, item := range r.Items {
		if !item.OK {
			return false
		}
	}
	return true
}
