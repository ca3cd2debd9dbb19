package connectors

import (
	"net/http"
	"regexp"
	"strings"
)

var credentials = regexp.MustCompile(`(?i)\b((?:SSWS|Bearer)\s+|(?:client_assertion|client_secret|access_token|refresh_token|assertion)["']?\s*[=:]\s*["']?)[^\s"'&]+`)

// redact takes every credential out of text that a provider or the network layer wrote.
func (t *Transport) redact(req *http.Request, s string) string {
	for _, secret := range t.options.Secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret.Reveal(), redacted)
		}
	}
	if _, own, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok && own != "" {
		s = strings.ReplaceAll(s, own, redacted)
	}
	return credentials.ReplaceAllString(s, "${1}"+redacted)
}
