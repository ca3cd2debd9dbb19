// Package scim is the push endpoint: SCIM 2.0 (RFC 7643, 7644) over HTTP for identity providers. It authenticates,
// limits, parses and answers; what a change means for people is decided in reconcile/lifecycle, and what is held is
// read from the store. The protocol's parts without HTTP are scim/schema, scim/filter and scim/patch.
//
// A request passes, in this order: the trace id; the administration setting (403, 503); the key (401, 403); the rate
// limit (429); the path and method (404, 405, 501); the resource. Every failure, also of a path that does not exist,
// is answered as a SCIM error, made in one place from what went wrong.
package scim
