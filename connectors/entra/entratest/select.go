package entratest

import (
	"net/http"
	"net/url"
	"strings"
)

// selection reads $select. Names of relations are let through, as the service does. It returns the context's suffix.
func (t *Tenant) selection(r *request, s *schema, preset set) (selected set, context string, bad *answer) {
	text := r.query.Get("$select")
	if text == "" {
		return preset, "", nil
	}
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		switch n, ok := s.number(name); {
		case ok:
			selected |= 1 << n
			names = append(names, s.names[n])
		case strings.EqualFold(name, "id"):
			selected |= bitID
			names = append(names, "id")
		case name != "" && strings.EqualFold(name, s.relation):
			selected |= bitRelation
			names = append(names, s.relation)
		case strings.EqualFold(name, "owners"), strings.EqualFold(name, "memberOf"), name == "":
		default:
			a := failure(http.StatusBadRequest, "BadRequest", "Could not find a property named '"+name+"' on type 'microsoft.graph."+r.typeOf+"'.")
			return 0, "", &a
		}
	}
	return selected | bitID, "(" + strings.Join(names, ",") + ")", nil
}

// link returns a link of the answer, as the fault has it.
func (r *request) link(name, address string) string {
	if name != "@odata.nextLink" {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	switch r.faultKind() {
	case RepeatCursor:
		return r.base + r.URL.RequestURI()
	case NextToStart:
		query := r.URL.Query()
		query.Del("$skiptoken")
		query.Del("$deltatoken")
		return r.base + r.URL.Path + "?" + query.Encode()
	case ForeignNext:
		u.Host = "graph.attacker.test"
	case PlainNext:
		u.Scheme = "http"
	case MalformedNext:
		return "https://[::1]:namedport/%zz"
	default:
		return address
	}
	return u.String()
}
