package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/chain"
)

// sealedHead waits until the server has sealed what there is, and returns the head.
func (w *world) sealedHead() (api.AuditHead, chain.Head) {
	w.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var head api.AuditHead
		w.must(json.Unmarshal([]byte(w.want(http.StatusOK, "viewer", "GET", "/audit/head", nil).text), &head))
		if head.Unsealed == 0 && head.UnsealedSince == nil {
			parsed, err := chain.ParseHead(head.Head)
			w.must(err)
			return head, parsed
		}
		if time.Now().After(deadline) {
			w.Fatalf("after a minute %+v", head)
		}
	}
}

func TestAudit_Chain(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		head, parsed := w.sealedHead()
		if head.Count == 0 || head.Count != parsed.Count || head.Hash != parsed.Hash.String() || head.SealedAt == nil || time.Since(*head.SealedAt) > time.Hour {
			t.Errorf("GET /audit/head = %+v", head)
		}
		sealed := w.want(http.StatusOK, "viewer", "GET", "/audit?order=sealed", nil, "Accept", "application/x-ndjson").text
		got, err := chain.VerifyFile(strings.NewReader(sealed), &parsed, false)
		if err != nil || got.Head != parsed {
			t.Errorf("an export in the order of the chain: %+v, error %v, want head %s", got, err, head.Head)
		}
		part := w.want(http.StatusOK, "viewer", "GET", "/audit?order=sealed&type=key.*", nil, "Accept", "application/x-ndjson").text
		if got, err := chain.VerifyFile(strings.NewReader(part), nil, true); err != nil || got.Events != int64(len(apptest.Ranks)) || got.Gaps == 0 {
			t.Errorf("an export of some events: %+v, error %v, want %d events", got, err, len(apptest.Ranks))
		}
		// What a page says of an event is what was sealed: each item is a line.
		page := w.want(http.StatusOK, "viewer", "GET", "/audit?limit=500", nil)
		list := items(page)
		newest := w.want(http.StatusOK, "viewer", "GET", "/audit", nil, "Accept", "application/x-ndjson").text
		lines := strings.SplitAfter(strings.TrimSuffix(newest, "\n"), "\n")
		if int64(len(list)) != head.Count || len(lines) != len(list) {
			t.Fatalf("a page has %d events, an export %d lines, want %d", len(list), len(lines), head.Count)
		}
		for i, item := range list {
			text, err := json.Marshal(item)
			w.must(err)
			for what, line := range map[string]string{"a page": string(text), "an export": lines[i]} {
				if got, err := chain.VerifyFile(strings.NewReader(line), nil, true); err != nil || got.Events != 1 {
					t.Errorf("an event of %s: %+v, error %v: %s", what, got, err, line)
				}
			}
		}
		w.want(http.StatusUnprocessableEntity, "viewer", "GET", "/audit?order=sealed", nil)
		w.want(http.StatusForbidden, "none", "GET", "/audit/head", nil)
	})
}
