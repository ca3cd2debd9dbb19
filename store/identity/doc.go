// Package identity holds the nouns of idpsync: users, groups, teams, roles and grants as they are held, records as
// a source states them, and the changes, runs and events between the two. It imports the standard library only,
// does no I/O, and reads no clock.
//
// Words: a source (an identity provider, by pull or push) *states* records; the store *holds* users and groups. A
// record says nothing about what it leaves out, clears what it states as null, and sets what it states as a value.
package identity
