package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// server is one that is under test.
type server struct{ base, key string }

// environment is what ../run sets.
type environment struct {
	scim, entra        *server
	tables, recordings string
}

func fromEnvironment() (environment, error) {
	e := environment{
		scim:   &server{os.Getenv("SCIM_URL"), os.Getenv("SCIM_KEY")},
		entra:  &server{os.Getenv("ENTRA_URL"), os.Getenv("ENTRA_KEY")},
		tables: os.Getenv("SCIM_TABLES"), recordings: os.Getenv("IDP_RECORDINGS"),
	}
	if e.scim.base == "" || e.entra.base == "" || e.tables == "" || e.recordings == "" {
		return e, errors.New("SCIM_URL and the others are not set; see ../run")
	}
	return e, nil
}

// get reads one document without any client library.
func (s *server) get(path string, into any) error {
	status, data, err := s.exchange(http.MethodGet, path, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, data)
	}
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// send makes a request and reads the answer, which may be empty.
func (s *server) send(method, path, body string) (status int, answer object, err error) {
	status, data, err := s.exchange(method, path, body)
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &answer)
	}
	return status, answer, err
}

func (s *server) exchange(method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/scim+json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// behind sends requests below a prefix on to the server: clients insist on paths of their own. It touches nothing else.
func (s *server) behind(prefix string) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		rest, ok := strings.CutPrefix(req.URL.Path, prefix)
		if !ok {
			return nil, fmt.Errorf("%s is not below %s", req.URL.Path, prefix)
		}
		target, err := url.Parse(s.base + rest)
		if err != nil {
			return nil, err
		}
		target.RawQuery = req.URL.RawQuery
		req = req.Clone(req.Context())
		req.URL, req.Host = target, target.Host
		return http.DefaultTransport.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
