// Package console is what operators see in a browser: pages that the server renders, with live parts that htmx fetches
// anew while something is going on. Every page works without scripts.
//
// The console has no rules and no rights of its own. It reads and changes everything through the administration API,
// called inside the process as whoever is signed in: what the API refuses, the console shows as refused, and every change
// is in the audit log with the person and the request's id.
//
// A page is a function from a request to a view, and a template of the view's name in page/. A template has a block
// "main"; further blocks whose names begin with "live-" or "part-" can be asked for alone by htmx, which names the element
// that it replaces (HX-Target): element id and block name are the same.
package console
