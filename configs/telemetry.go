package configs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Telemetry configures what is told of the program's work besides the log and /metrics.
type Telemetry struct {
	Traces Traces `yaml:"traces"`
}

// Traces configures where traces go.
type Traces struct {
	Endpoint    string            `yaml:"endpoint"`     // of OTLP over HTTP; "" traces nothing
	Headers     map[string]Secret `yaml:"headers"`      // sent with each request
	SampleRatio float64           `yaml:"sample_ratio"` // part of the traces that begin here that is kept
	CAFile      string            `yaml:"ca_file"`      // PEM, trusted besides the system's
}

// Values of Log.Requests: how the line of each request is logged.
const (
	RequestsInfo  = "info"
	RequestsDebug = "debug"
	RequestsOff   = "off" // only those that end in an internal error
)

var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (ch checker) telemetry(t *Traces) {
	const field = "telemetry.traces"
	if t.Endpoint != "" {
		ch.url(field+".endpoint", t.Endpoint, true)
	} else if len(t.Headers) > 0 || t.CAFile != "" {
		ch.bad(field+".endpoint", "it is missing, and without it nothing is traced; write https://HOST:4318")
	}
	if t.SampleRatio < 0 || t.SampleRatio > 1 {
		ch.bad(field+".sample_ratio", "%v is not between 0 and 1; 1 keeps every trace, 0.1 every tenth", t.SampleRatio)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		switch {
		case !headerName.MatchString(name):
			ch.bad(join(field+".headers", name), "this is no name of a header; write for example Authorization")
		case strings.ContainsFunc(t.Headers[name].Reveal(), func(r rune) bool { return r < ' ' || r > '~' }):
			ch.bad(join(field+".headers", name), "the value has line breaks or letters that no header has; copy it again")
		}
	}
}
