package entratest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// cursor is what a skip token or delta token of a delta query stands for. Clients must not read it.
type cursor struct {
	Resource string   `json:"r"`
	Selected set      `json:"s"`
	Context  string   `json:"c,omitempty"`
	IDs      []string `json:"i,omitempty"` // $filter
	Epoch    int      `json:"e,omitempty"`
	Issued   int64    `json:"t"`
	First    bool     `json:"f,omitempty"` // the first round: objects, not the log
	From     int      `json:"a,omitempty"` // entries of the log that this round reads
	To       int      `json:"z,omitempty"`
	At       int      `json:"p,omitempty"` // position among the objects or changed objects
	Link     int      `json:"m,omitempty"` // position among the members there
	Nonce    int      `json:"n,omitempty"`
	Delta    bool     `json:"d,omitempty"` // a delta token
}

func (c cursor) encode() string {
	j, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(j)
}

func decodeCursor(token string) (c cursor, ok bool) {
	j, err := base64.RawURLEncoding.DecodeString(token)
	return c, err == nil && json.Unmarshal(j, &c) == nil
}

// ExpireDeltas makes every delta link and next link given out so far too old: 400 syncStateNotFound.
func (t *Tenant) ExpireDeltas() {
	defer t.lock()()
	t.epoch++
}

// deltaCursor reads where the query goes on.
func (t *Tenant) deltaCursor(r *request, k kind) (c cursor, minimal bool, bad *answer) {
	minimal = preferred(r, "return=minimal")
	token := r.query.Get("$skiptoken")
	if token == "" && r.query.Get("$deltatoken") != "latest" {
		token = r.query.Get("$deltatoken")
	}
	resource := k.name() + "s"
	if token == "" {
		for name := range r.query {
			if slices.Contains([]string{"$top", "$expand", "$orderby", "$search", "$skip"}, name) {
				a := failure(http.StatusBadRequest, "Request_UnsupportedQuery", "The query parameter '"+name+"' is not supported on a delta query.")
				return c, minimal, &a
			}
		}
		selected, context, bad := t.selection(r, k.schema(), everything&^bitRelation)
		if bad != nil {
			return c, minimal, bad
		}
		if !r.query.Has("$select") {
			selected = k.schema().defaults | bitRelation
		}
		c = cursor{Resource: resource, Selected: selected, Context: resource + context, Epoch: t.epoch, Issued: t.Now().Unix(), First: true, To: t.settled()}
		if filter := r.query.Get("$filter"); filter != "" {
			ids, ok := filteredIDs(filter)
			if !ok || len(ids) > 50 {
				a := failure(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified for property 'id' of resource '"+resource+"'.")
				return c, minimal, &a
			}
			c.IDs = ids
		}
		return c, minimal, nil
	}
	c, ok := decodeCursor(token)
	switch {
	case !ok || c.Resource != resource || c.Delta != r.query.Has("$deltatoken"):
		a := failure(http.StatusBadRequest, "Request_BadRequest", "Badly formed token.")
		return c, minimal, &a
	case c.Epoch != t.epoch || t.Now().Sub(time.Unix(c.Issued, 0)) > t.DeltaLifetime:
		a := failure(http.StatusBadRequest, "syncStateNotFound", syncStateGone)
		return c, minimal, &a
	}
	if c.Delta {
		c.To, c.Delta, c.Issued = max(t.settled(), c.From), false, t.Now().Unix()
	}
	return c, minimal, nil
}

// preferred tells whether the request's Prefer header has the preference.
func preferred(r *request, preference string) bool {
	for _, line := range r.Header.Values("Prefer") {
		for one := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(one), preference) {
				return true
			}
		}
	}
	return false
}

// preference returns the value of a preference, "" for none.
func preference(r *request, name string) string {
	for _, line := range r.Header.Values("Prefer") {
		for one := range strings.SplitSeq(line, ",") {
			if key, value, _ := strings.Cut(strings.TrimSpace(one), "="); strings.EqualFold(key, name) {
				return value
			}
		}
	}
	return ""
}
