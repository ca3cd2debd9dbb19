// Package signin holds how people sign in. Here are the passwords of local accounts: how they are made, hashed and
// checked. Everybody else signs in at the identity provider.
package signin
