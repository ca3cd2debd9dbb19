package store

// What a database computes as Go does.
var (
	ParseTimeKey   = parseTimeKey
	ParseNumberKey = parseNumberKey
)
