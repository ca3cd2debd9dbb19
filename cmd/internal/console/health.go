package console

import "github.com/idpsync/idpsync/cmd/internal/api"

// How a connector fares, in one word.
const (
	healthSynced      = "synced"      // the last run left no drift
	healthDrifted     = "drifted"     // it did, or only looks (mode report) and found some
	healthHeld        = "held"        // removals wait for an operator
	healthFailing     = "failing"     // runs fail, and are tried again ever later
	healthQuarantined = "quarantined" // the credential was rejected: a person has to mend it
	healthNew         = "new"
)

// healthOf returns how a connector fares. last is its last run that ended and looked at everything that it should, newest
// first; nil for none.
func healthOf(c *api.Connector, last *api.Run) string {
	switch {
	case c.Status == "paused":
		return healthQuarantined
	case c.Status == "failing":
		return healthFailing
	case c.Held != "":
		return healthHeld
	case c.Conflicts > 0:
		return healthDrifted
	case c.Status == "new" || last == nil:
		return healthNew
	case leftOf(last) > 0 || last.Status == "partial":
		return healthDrifted
	}
	return healthSynced
}

// foundOf returns how many differences a run found.
func foundOf(run *api.Run) int {
	n := 0
	for _, count := range run.Counts.Changes {
		n += count
	}
	return n - run.Counts.Kept
}

// leftOf returns how many of the differences that a run found are still there after it.
func leftOf(run *api.Run) int { return max(foundOf(run)-run.Counts.Applied, 0) }
