package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// server is the one under test.
type server struct{ base, key, tables string }

func fromEnvironment() (*server, error) {
	s := &server{os.Getenv("SCIM_URL"), os.Getenv("SCIM_KEY"), os.Getenv("SCIM_TABLES")}
	if s.base == "" || s.key == "" || s.tables == "" {
		return nil, errors.New("SCIM_URL, SCIM_KEY and SCIM_TABLES are not set; see ../run")
	}
	return s, nil
}

// get reads one document without any client library.
func (s *server) get(path string, into any) (status int, err error) {
	req, err := http.NewRequest(http.MethodGet, s.base+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return res.StatusCode, fmt.Errorf("GET %s: %d: %w", path, res.StatusCode, err)
	}
	return res.StatusCode, nil
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
