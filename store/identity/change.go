package identity

import "time"

// Object is the kind of thing that a change is about.
type Object string

// Kinds of object.
const (
	ObjectUser   Object = "user"
	ObjectGroup  Object = "group"
	ObjectMember Object = "member" // one user's membership of one group
	ObjectGrant  Object = "grant"  // one (team, role) that a group gives its members
)

// Op is what a change does to its object.
type Op string

// Operations.
const (
	OpCreate     Op = "create"
	OpUpdate     Op = "update"
	OpDeactivate Op = "deactivate"
	OpReactivate Op = "reactivate"
	OpConvert    Op = "convert" // a local account becomes an SSO account
	OpDelete     Op = "delete"
	OpAdd        Op = "add"      // member, grant
	OpRemove     Op = "remove"   // member, grant
	OpConflict   Op = "conflict" // needs an operator; never applied
)

// Removal tells whether the operation takes something away, which is what the guard counts.
func (o Op) Removal() bool { return o == OpDeactivate || o == OpDelete || o == OpRemove }

// ChangeState is where a change of the journal stands.
type ChangeState string

// States of a change: planned -> applied | skipped | failed; planned -> staged (held by the guard).
const (
	StatePlanned ChangeState = "planned"
	StateStaged  ChangeState = "staged"
	StateApplied ChangeState = "applied"
	StateSkipped ChangeState = "skipped"
	StateFailed  ChangeState = "failed"
)

// Change is one row of a run's journal: a difference between what a source states and what is held.
type Change struct {
	RunID    string
	Ord      int64 // position in the run's journal, from 1
	Object   Object
	Op       Op
	SourceID string // immutable id of the user or group; for a member or a grant, of the group
	ID       string // held id of the user or group, "" before it exists
	Name     string // userName or displayName
	Fields   []FieldChange
	Reason   string
	State    ChangeState

	MemberSourceID string      // ObjectMember: the user's immutable id
	MemberID       string      // ObjectMember: the user's id, where it is held
	Version        int64       // version of the held row that the change was planned with; 0 when there is none
	Absent         bool        // planned because the source no longer lists the object
	Status         Status      // ObjectUser: what the source states of the account
	Fingerprint    Fingerprint // of the record that states the change; zero when absence does
	ReadAt         time.Time   // when the read began that found the change
	Candidates     []string    // OpConflict: ids of the accounts that may be meant; not kept in the journal
}

// RunStatus is where a run stands or how it ended.
type RunStatus string

// Statuses of a run.
const (
	RunRunning RunStatus = "running"
	RunDone    RunStatus = "done"
	RunPlanned RunStatus = "planned"
	RunHeld    RunStatus = "held"
	RunPartial RunStatus = "partial"
	RunFailed  RunStatus = "failed"
	RunJoined  RunStatus = "joined"
)

// Kinds of run.
const (
	KindFull        = "full"
	KindIncremental = "incremental"
	KindObject      = "object"
)

// Run is one comparison of a source with what is held, and its repair.
type Run struct {
	ID         string
	Connector  string
	Kind       string // KindFull, KindIncremental or KindObject
	Trigger    string // "schedule", "cli", "api", "demo"
	DryRun     bool
	Status     RunStatus
	Phase      string // what a running run is doing: pull, plan, guard, verify, apply
	PlanHash   string // "sha256:..." over the planned changes
	HeldHash   string // "sha256:..." over whom and what the guard held, "" for nothing: the same removals have the same one
	Decision   Decision
	Counts     Counts
	Guard      string // the guard's verdict where it held something, else ""
	Incomplete string // why the pull was not proven complete, else ""
	Requests   int64  // requests sent to the identity provider
	Error      string // why it failed, else ""
	LeaseEpoch int64  // fencing token of the lease that it ran under
	Started    time.Time
	Finished   time.Time // zero while running
	Steps      []Step    // of a run of one person or group: what was read and matched
}

// Step is what a run of one person or group tells of itself.
type Step struct {
	Kind   string `json:"step"` // "read" or "match"; what is decided and done stands in the journal
	Text   string `json:"text"`
	Object Object `json:"object,omitempty"` // of what was matched, as is ID
	ID     string `json:"id,omitempty"`     // of the held user or group
}

// Decision is what an operator decided about the removals that the guard held in a run.
type Decision struct {
	Kind DecisionKind // "" for none
	By   string       // who
	At   time.Time
}

// DecisionKind is what was decided.
type DecisionKind string

// Kinds of decision.
const (
	DecisionApproved DecisionKind = "approved"
	DecisionRejected DecisionKind = "rejected"
)

// Counts sums up a run. Keys of Changes are "<object>.<op>", for example "user.create".
type Counts struct {
	Users   int            `json:"users"`   // records read
	Groups  int            `json:"groups"`  // group records read
	Members int            `json:"members"` // memberships read
	Changes map[string]int `json:"changes"` // planned, by "<object>.<op>"
	Applied int            `json:"applied"`
	Held    int            `json:"held"`    // staged by the guard
	Skipped int            `json:"skipped"` // conflicts, refusals, overtaken by a push: drift that is left
	Kept    int            `json:"kept"`    // seemed absent, and were kept when read by id
	Failed  int            `json:"failed"`
}

// Planned returns the number of planned changes, conflicts left out.
func (c Counts) Planned() int {
	n := -c.Conflicts()
	for _, count := range c.Changes {
		n += count
	}
	return n
}

// Conflicts returns the number of conflicts, which need an operator.
func (c Counts) Conflicts() int {
	return c.Changes[string(ObjectUser)+"."+string(OpConflict)] + c.Changes[string(ObjectGroup)+"."+string(OpConflict)]
}
