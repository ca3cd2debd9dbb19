// Package filter reads SCIM filters and PATCH paths (RFC 7644, sections 3.4.2.2 and 3.5.2) into a tree, prints them,
// and evaluates filters in memory by the types that a schema gives the attributes. It knows no HTTP.
//
// The parser is our own: real identity providers filter on URN-qualified names, meta.*, and value paths with a
// comparison behind them (emails[type eq "work"].value eq "a"), in any letter case; and what comes from outside is
// bounded in length, depth and size.
package filter
