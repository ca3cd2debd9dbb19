package identity

import "time"

// Conflict is a record of a connector that may mean more than one account, or one that it must not take over: an operator
// decides what it means.
type Conflict struct {
	ID         string // UUID
	Connector  string
	Object     Object // ObjectUser or ObjectGroup
	SourceID   string // immutable id of the record
	Name       string // its userName or displayName
	Reason     string // why it was not matched
	Candidates []string
	FirstSeen  time.Time
	LastSeen   time.Time
	LastRunID  string // the run that saw it last
	Status     ConflictStatus
	DecidedBy  string    // who linked or ignored it, "" for nobody
	DecidedAt  time.Time // when; of a resolved one, when it was found to be none any more
}

// ConflictStatus is where a conflict stands.
type ConflictStatus string

// Statuses of a conflict.
const (
	ConflictOpen     ConflictStatus = "open"     // waits for an operator
	ConflictLinked   ConflictStatus = "linked"   // an operator said which account the record means
	ConflictIgnored  ConflictStatus = "ignored"  // an operator wants the record left alone
	ConflictResolved ConflictStatus = "resolved" // a later run did not find it any more
)
