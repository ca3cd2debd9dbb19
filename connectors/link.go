package connectors

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Links reads the Link headers (RFC 8288) by relation, whether they come as lines or folded into one. Whatever is
// not written as a link is an error: a list must not end because its next link could not be read.
func Links(h http.Header) (map[string]string, error) {
	links := map[string]string{}
	for _, rest := range h.Values("Link") {
		for {
			rest = strings.TrimLeft(rest, " \t,")
			if rest == "" {
				break
			}
			target, relation, after, err := parseLink(rest)
			if err != nil {
				return nil, fmt.Errorf("link header: %w", err)
			}
			if _, twice := links[relation]; twice {
				return nil, fmt.Errorf("link header: two links for %q", relation)
			}
			links[relation] = target
			rest = after
		}
	}
	return links, nil
}

// parseLink reads one link-value off the front of s.
func parseLink(s string) (target, relation, rest string, err error) {
	s, ok := strings.CutPrefix(s, "<")
	if !ok {
		return "", "", "", errors.New("want '<'")
	}
	target, s, ok = strings.Cut(s, ">")
	if !ok || target == "" {
		return "", "", "", errors.New("want an address in '<>'")
	}
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "" || s[0] == ',' {
			break
		}
		if s, ok = strings.CutPrefix(s, ";"); !ok {
			return "", "", "", errors.New("want ';' between parameters")
		}
		var name, value string
		end := strings.IndexAny(s, "=;,")
		if end < 0 || s[end] != '=' {
			return "", "", "", errors.New("want name=value")
		}
		name, s = strings.TrimSpace(s[:end]), strings.TrimLeft(s[end+1:], " \t")
		if quoted, found := strings.CutPrefix(s, `"`); found {
			if value, s, ok = strings.Cut(quoted, `"`); !ok {
				return "", "", "", errors.New("want a closing quote")
			}
		} else {
			end := strings.IndexAny(s, ";, \t")
			if end < 0 {
				end = len(s)
			}
			value, s = s[:end], s[end:]
		}
		if strings.EqualFold(name, "rel") && relation == "" {
			relation = strings.ToLower(value)
		}
	}
	if relation == "" {
		return "", "", "", errors.New("want a rel parameter")
	}
	return target, relation, s, nil
}

// Trail follows the pages of one listing: it refuses a next link to another place and a page that was read before,
// on which a listing would go round for ever.
type Trail struct {
	base *url.URL
	seen map[string]struct{}
}

// NewTrail returns the trail of a listing at base (scheme and host count) that begins with the given link.
func NewTrail(base *url.URL, first string) *Trail {
	t := &Trail{base: base, seen: map[string]struct{}{}}
	if u, err := base.Parse(first); err == nil {
		t.seen[pageKey(u)] = struct{}{}
	}
	return t
}

// Next checks a next link and returns its path and query.
func (t *Trail) Next(link string) (string, error) {
	u, err := t.base.Parse(link)
	if err != nil {
		return "", errors.New("the next link is no address")
	}
	if u.Scheme != t.base.Scheme || !strings.EqualFold(u.Host, t.base.Host) || u.User != nil {
		return "", fmt.Errorf("the next link leads to another host, %q", u.Host)
	}
	key := pageKey(u)
	if _, again := t.seen[key]; again {
		return "", errors.New("the next link leads to a page that was read before")
	}
	t.seen[key] = struct{}{}
	return u.RequestURI(), nil
}

// pageKey tells pages apart by path and query, the page size left out: the same cursor with another size is the same
// place.
func pageKey(u *url.URL) string {
	query := u.Query()
	query.Del("limit")
	query.Del("$top")
	return u.Path + "?" + query.Encode()
}
