package entratest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/idpsync/idpsync/connectors/idptest"
)

// batch answers up to twenty requests in one, each with a status of its own.
func (t *Tenant) batch(r *request) answer {
	if bad := t.authenticate(r); bad != nil {
		return *bad
	}
	if a, done := t.instead(r); done {
		return a
	}
	var ask struct {
		Requests []struct {
			ID      string            `json:"id"`
			Method  string            `json:"method"`
			URL     string            `json:"url"`
			Headers map[string]string `json:"headers"`
			Body    json.RawMessage   `json:"body"`
		} `json:"requests"`
	}
	content, err := r.content()
	if err != nil || json.Unmarshal(content, &ask) != nil || len(ask.Requests) == 0 {
		return failure(http.StatusBadRequest, "BadRequest", "Invalid batch payload format.")
	}
	if len(ask.Requests) > mostInABatch {
		return failure(http.StatusBadRequest, "BadRequest", "Number of batch request steps exceeds the maximum value of 20.")
	}
	type response struct {
		ID      string            `json:"id"`
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body,omitempty"`
	}
	responses := []response{}
	for _, one := range ask.Requests {
		if one.ID == "" || one.Method == "" || one.URL == "" {
			return failure(http.StatusBadRequest, "BadRequest", "Invalid batch payload format.")
		}
		a := t.part(r, one.Method, one.URL, one.Headers, one.Body)
		headers := map[string]string{"Content-Type": contentTypeOfErrors}
		if a.status < 300 {
			headers["Content-Type"] = contentTypeOfValues
		}
		for name, values := range a.header {
			headers[name] = values[0]
		}
		if !json.Valid(a.body) {
			a.body = nil
		}
		responses = append(responses, response{one.ID, a.status, headers, a.body})
	}
	body, _ := json.Marshal(map[string]any{"responses": responses})
	return answer{status: http.StatusOK, body: body}
}

// part answers one request of a batch.
func (t *Tenant) part(outer *request, method, address string, headers map[string]string, body []byte) answer {
	u, err := url.Parse(outer.root + "/" + strings.TrimPrefix(address, "/"))
	if err != nil {
		return failure(http.StatusBadRequest, "BadRequest", "Invalid request URI.")
	}
	plain := &http.Request{
		Method: strings.ToUpper(method), URL: u, Host: outer.Host, TLS: outer.TLS, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(body)), RequestURI: u.RequestURI(),
	}
	for name, value := range headers {
		plain.Header.Set(name, value)
	}
	plain.Header.Set("Authorization", outer.Header.Get("Authorization"))
	r := t.newRequest(plain.WithContext(outer.Context()))
	r.fault = t.traffic.Meet(idptest.Request{Endpoint: r.endpoint, URI: u.RequestURI()}, true)
	a := t.answer(r)
	t.seal(r, &a)
	return a
}
