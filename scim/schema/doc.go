// Package schema holds the SCIM schemas that idpsync serves (RFC 7643), finds attributes by the names that clients
// use, and reads values by an attribute's type. It knows no HTTP and keeps no state: a Resource never changes after
// it is made and is safe for concurrent use.
package schema
