package oidcrp

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// maxAnswer bounds the query of the answer, in bytes: codes of some providers have kilobytes.
const maxAnswer = 16 << 10

// answer is what the browser brings back (RFC 6749, section 4.1.2).
type answer struct {
	state, code          string
	failure, description string
	issuer               string // RFC 9207
	hasIssuer            bool
}

func readAnswer(r *http.Request) (answer, error) {
	if r.Method != http.MethodGet {
		return answer{}, refuse(assertion.ReasonMalformed, "the answer came with %s, not GET", short(r.Method))
	}
	if len(r.URL.RawQuery) > maxAnswer {
		return answer{}, refuse(assertion.ReasonMalformed, "the answer has more than %d bytes", maxAnswer)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, refuse(assertion.ReasonMalformed, "the answer is no query")
	}
	// RFC 6749, section 3.1: no parameter comes more than once.
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(query[name]) > 1 {
			return answer{}, refuse(assertion.ReasonMalformed, "%s is stated %d times", name, len(query[name]))
		}
	}
	a := answer{
		state: query.Get("state"), code: query.Get("code"),
		failure: query.Get("error"), description: query.Get("error_description"),
		issuer: query.Get("iss"), hasIssuer: query.Has("iss"),
	}
	if len(a.state) != len(assertion.Secret()) || strings.Trim(a.state, "0123456789abcdef") != "" {
		return answer{}, refuse(assertion.ReasonState, "the answer has no state of ours")
	}
	return a, nil
}

// checkIssuer keeps an answer of one provider from being taken for another's (mix-up): RFC 9207, section 2.4.
func checkIssuer(a answer, issuer string, announced bool) error {
	switch {
	case a.hasIssuer && a.issuer != issuer:
		return refuse(assertion.ReasonIssuer, "the answer is of %q, want %q", short(a.issuer), issuer)
	case !a.hasIssuer && announced:
		return refuse(assertion.ReasonIssuer, "the answer does not say whose it is, and the provider says that its answers do")
	}
	return nil
}

// short keeps what others wrote from filling the log.
func short(text string) string {
	if len(text) > 200 {
		return strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}

func isHTTPS(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https"
}
