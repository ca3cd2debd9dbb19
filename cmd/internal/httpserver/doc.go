// Package httpserver is the listener around the program's handlers: TLS with certificates that are read again when
// they change, bounds on what clients take of time, memory and connections, request ids, one log line for each
// request, a recovery from panics, /healthz and /readyz, and a shutdown that lets requests finish. What is served, and
// to whom, it leaves to the handlers.
package httpserver
