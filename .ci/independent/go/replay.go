package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// recording is a file in which elimity-com/scim keeps what an identity provider asked and what it was answered.
type recording struct {
	Method, Path string
	Request      json.RawMessage
	Response     object
	StatusCode   int
}

// step is a recording in a story: their answers come from a server that knows whatever is asked of it, so each names
// what has to be there before, and what of the answer follows from the request.
type step struct {
	file     string
	before   []need
	expected []string
}

// need is a resource that has to be there, and the id by which the recording knows it.
type need struct{ kind, theirs string }

// stories are in the order in which the identity provider would send them.
var stories = map[string][]step{
	"okta": {
		{file: "user_exists", expected: []string{"totalResults", "startIndex"}},
		{file: "create_user", expected: []string{"userName", "name", "emails", "displayName", "locale", "externalId", "active"}},
		{file: "retrieve_user", expected: []string{"userName", "name", "active"}},
		{file: "update_user", expected: []string{"userName", "name", "emails", "active"}},
		{file: "update_user_patch", expected: []string{"userName", "emails", "active"}},
		{file: "create_group", expected: []string{"displayName"}},
		{file: "retrieve_group", expected: []string{"displayName"}},
		{file: "update_group_membership", before: []need{{"Users", "89bb1940-b905-4575-9e7f-6f887cfb368e"}}},
		{file: "update_group_name"},
	},
	"azuread": {
		{file: "get_user_query_0", expected: []string{"totalResults", "startIndex"}},
		{file: "create_user", expected: []string{"userName", "name", "emails", "externalId", "active"}},
		{file: "get_user_resp", before: []need{{"Users", "5d48a0a8e9f04aa38008"}}},
		{file: "get_user_query_resp", expected: []string{"startIndex"}},
		{file: "update_user", before: []need{{"Users", "6764549bef60420686bc"}}, expected: []string{"userName", "emails", "active"}},
		{file: "create_group", expected: []string{"displayName", "externalId"}},
		{file: "get_group_dn", expected: []string{"totalResults", "startIndex"}},
		{file: "get_group", before: []need{{"Groups", "40734ae655284ad3abcc"}}},
		{file: "update_group", before: []need{{"Groups", "fa2ce26709934589afc5"}, {"Users", "f648f8d5ea4e4cd38e9c"}}},
	},
}

// replay sends what identity providers were recorded to send, and wants what they were answered.
func replay(c suite, s *server, folder, idp string) {
	ids := map[string]string{} // by their id
	for _, step := range stories[idp] {
		c.check(idp+" "+step.file, func() error {
			data, err := os.ReadFile(filepath.Join(folder, idp, step.file+".json"))
			if err != nil {
				return err
			}
			var r recording
			if err := json.Unmarshal(data, &r); err != nil {
				return err
			}
			for _, n := range step.before {
				if ids[n.theirs], err = s.make(n); err != nil {
					return err
				}
			}
			return s.play(r, step.expected, ids)
		})
	}
	c.check(idp+" has no recording that is not replayed", func() error {
		files, err := filepath.Glob(filepath.Join(folder, idp, "*.json"))
		if err != nil {
			return err
		}
		return equal("files", len(files), len(stories[idp]))
	})
}

// play sends one request with their ids replaced by ours.
func (s *server) play(r recording, expected []string, ids map[string]string) error {
	path, request := r.Path, string(r.Request)
	for theirs, ours := range ids {
		path, request = strings.ReplaceAll(path, theirs, ours), strings.ReplaceAll(request, theirs, ours)
	}
	status, answer, err := s.send(r.Method, path, request)
	if err != nil {
		return err
	}
	// RFC 7644, section 3.5.2 allows 204, which Entra ID and Okta take for a group.
	if status != r.StatusCode && !(r.Method == http.MethodPatch && status == http.StatusNoContent) {
		return fmt.Errorf("status %d, want %d: %v", status, r.StatusCode, answer)
	}
	if r.Method == http.MethodPost {
		ids[fmt.Sprint(r.Response["id"])] = fmt.Sprint(answer["id"])
	}
	for _, name := range expected {
		if err := equal(name, text(answer[name]), text(r.Response[name])); err != nil {
			return err
		}
	}
	return nil
}

// make creates a resource that a recording takes for granted.
func (s *server) make(n need) (id string, err error) {
	userName := n.theirs + "@recorded.example"
	body := text(object{
		"userName": userName, "displayName": n.theirs, "name": object{"givenName": "G", "familyName": "F"},
		"emails": []object{{"value": userName, "type": "work", "primary": true}},
	})
	status, answer, err := s.send(http.MethodPost, "/"+n.kind, body)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("make %s: status %d: %v", n.theirs, status, answer)
	}
	return fmt.Sprint(answer["id"]), err
}
