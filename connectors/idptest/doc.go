// Package idptest holds what the fake tenants of identity providers share: the TLS server with an authority of its own,
// the count and log of requests, the choice of faults, broken connections, JSON, and people who do not exist. It knows
// no provider.
package idptest
