// Package scimtest replays what identity providers say to a SCIM server, and compares what it answers. The conversations
// are text files, one for each way in which a provider works: see All. They can be replayed against any SCIM 2.0 server
// over HTTP.
//
// # The format
//
// A file begins with lines that hold for the whole conversation; lines that start with # are comments.
//
//	# What the conversation is, in a sentence or two.
//	setting user_name_is_email off
//	send User-Agent: Okta SCIM Client 1.0.0
//	send body Content-Type: application/scim+json; charset=utf-8
//	answer Content-Type: application/scim+json
//	finally active ann
//	finally members staff ann bob
//
// A setting is one that the server needs, beyond its defaults. A header after "send" goes with every request, one after
// "send body" with those that carry a body, and one after "answer" is wanted of every answer that has a body.
// What follows "finally" is not asked over SCIM; it is there for those who can look into the server when all has been
// said: users who are active, inactive or deleted, groups that are gone, and the members of a group, the group first.
//
// Then come the steps. Each is a title, a request as in HTTP, and after an arrow the answer that is wanted:
//
//	== Create Ann
//	POST /Users
//	X-Header: of this request alone
//
//	{"userName": "ann.{{run}}@example.com"}
//
//	-> 201
//	Location: {{base}}/Users/{{ann}}
//
//	{"id": "{{ann = any uuid}}", "active": true, "password": "{{absent}}"}
//
// The target is sent as it is written, below the base address. A header without a value is not sent, whatever "send"
// says; the Authorization header carries the bearer token unless a step has its own. A step whose title begins with ||
// instead of == is sent at the same time as the one before it.
//
// # Values
//
// {{name}} stands for a value that is known: one that an earlier answer gave; {{base}}, the base address; {{run}}, eight
// digits that are others in each replay, so that names are new on a server that is in use.
//
// # What is wanted
//
// An answer may have headers and members of objects beyond those that are written; "-> 200 exactly" allows no other
// members. Numbers are compared as they are spelled: 1 is neither "1" nor 1.0. Lists have the elements that are written,
// in that order. An answer without a body in the file is not looked at, but for 204, which has none. In place of a value
// may stand, in quotes:
//
//	{{any}}              anything but null
//	{{any string}}       a text that is not empty
//	{{any uuid}}         a UUID
//	{{any timestamp}}    a dateTime with its zone (RFC 3339)
//	{{any integer}}      a number without a fraction or an exponent, not in quotes
//	{{any boolean}}      true or false
//	{{any list}}         a list, of whatever
//	{{ann = any uuid}}   the same, and from then on {{ann}} is that value; a string only
//	{{absent}}           no such member, not even null
//	{{unassigned}}       no such member, null or an empty list, which are the same (RFC 7643, section 2.5)
//
// The first element of a list may say how the others are compared:
//
//	{{in any order}}     the elements that follow and no others, in whatever order
//	{{among others}}     at least the elements that follow, in whatever order
package scimtest
