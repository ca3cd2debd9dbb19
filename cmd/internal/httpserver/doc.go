// Package httpserver is the listener around the program's handlers: TLS with certificates that are read again when
// they change, bounded reads and writes, request ids, one log line for each request, a recovery from panics, /healthz
// and /readyz, and a shutdown that lets requests finish. What is served, and to whom, it leaves to the handlers.
package httpserver
