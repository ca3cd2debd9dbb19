package console

// badge is a state in a word, with a colour and a drawing that say the same.
type badge struct {
	Text string
	Tone string // good, info, warn, bad or quiet
	Icon string
}

// badges are the states that pages show: of connectors, runs, changes, people and others.
var badges = map[string]badge{
	// Connectors.
	healthSynced:      {"Synced", "good", "check"},
	healthDrifted:     {"Drifted", "warn", "change"},
	healthHeld:        {"Held", "warn", "pause"},
	healthFailing:     {"Failing", "bad", "cross"},
	healthQuarantined: {"Quarantined", "bad", "cross"},
	healthNew:         {"No run yet", "quiet", "dot"},
	"running":         {"Running", "info", "run"},

	// Runs.
	"done":    {"Done", "good", "check"},
	"planned": {"Planned", "info", "dot"},
	"partial": {"Partial", "warn", "warning"},
	"failed":  {"Failed", "bad", "cross"},
	"joined":  {"Joined", "quiet", "dot"},

	// Changes in a run.
	"staged":  {"Held", "warn", "pause"},
	"applied": {"Applied", "good", "check"},
	"skipped": {"Skipped", "quiet", "dot"},

	// People, keys, conflicts.
	"active":   {"Active", "good", "check"},
	"inactive": {"Deactivated", "quiet", "pause"},
	"deleted":  {"Deleted", "quiet", "cross"},
	"live":     {"Live", "good", "check"},
	"enabled":  {"On", "good", "check"},
	"disabled": {"Off", "quiet", "pause"},
	"revoked":  {"Revoked", "bad", "cross"},
	"expired":  {"Expired", "warn", "clock"},
	"open":     {"Open", "warn", "warning"},
	"linked":   {"Linked", "good", "check"},
	"ignored":  {"Ignored", "quiet", "dot"},
	"resolved": {"Resolved", "good", "check"},

	// Settings, and the audit log.
	"sealed":    {"Sealed", "good", "check"},
	"sealing":   {"Being sealed", "quiet", "clock"},
	"works":     {"Works", "good", "check"},
	"starting":  {"Starts", "quiet", "clock"},
	"never ran": {"No server ran with it", "quiet", "dot"},
	"waiting":   {"Waiting", "quiet", "clock"},
	"delivered": {"Delivered", "good", "check"},
}

// badgeOf returns the badge of a state; what is not known is shown as it is called.
func badgeOf(state string) badge {
	if b, ok := badges[state]; ok {
		return b
	}
	return badge{state, "quiet", "dot"}
}
