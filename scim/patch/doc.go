// Package patch reads and applies SCIM PATCH requests (RFC 7644, section 3.5.2), in the RFC's form and in the forms
// that Okta and Entra send. It knows no HTTP and no store: for users it changes an identity.User, for groups it
// compiles the operations into an ordered list of member deltas, so that no member is ever loaded.
//
// Beyond the RFC: "op" in any letter case; objects without a path whose keys are paths; values wrapped in an array or
// an object; booleans as strings; value paths that create the element which they name.
package patch
