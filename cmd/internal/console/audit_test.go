package console_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	ana := w.someone("ana@example.com", map[string]any{"displayName": "Ana"})
	team := w.post("admin", "/mapping/preview", "group", "g", "role", "viewer", "team", "t")
	w.done("admin", "/mapping/apply", "group", "g", "role", "viewer", "team", "t", "plan_hash", team.planHash())

	all := w.get("viewer", "/audit").want(http.StatusOK, "The seal", "Head", "user.created ana@example.com", "mapping.changed g by admin@acme.test", "t:viewer")
	all.has(`href="/people/`+ana.ID+`"`, `href="/audit/export"`)
	w.get("viewer", "/audit?type=mapping.*").want(http.StatusOK, "mapping.changed").lacks("user.created ana", "The seal").has(`href="/audit/export?type=mapping.%2A"`)
	w.get("viewer", "/audit?user=ANA@example.com").want(http.StatusOK, "user.created ana@example.com").lacks("mapping.changed g")
	w.get("viewer", "/audit?actor="+w.Users["admin"].ID).want(http.StatusOK, "mapping.changed g").lacks("user.created ana@")
	w.get("viewer", "/audit?object_id="+ana.ID+"&to="+time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04")).want(http.StatusOK, "user.created ana@example.com")
	w.get("viewer", "/audit?from=2099-01-01T00:00").want(http.StatusOK, "Nothing happened that fits")

	// An event leads to the others of its request.
	_, after, _ := strings.Cut(w.get("viewer", "/audit?type=mapping.changed").body, `href="/audit?request_id=`)
	request, _, _ := strings.Cut(after, `"`)
	w.get("viewer", "/audit?request_id="+request).want(http.StatusOK, "mapping.changed g").lacks("user.created ana@")

	for path, says := range map[string]string{
		"/audit?from=yesterday":                                     "Write it such as 2026-03-01T12:00",
		"/audit?user=nobody@example.com":                            "",
		"/audit?cursor=nonsense":                                    "next_cursor",
		"/audit?actor=" + url.QueryEscape(strings.Repeat("a", 201)): "",
	} {
		if p := w.get("viewer", path); p.status < 400 || p.status > 499 {
			t.Errorf("%s = %d, want what is wrong", path, p.status)
		} else {
			p.want(p.status, says, "Search")
		}
	}
	w.get("none", "/audit").want(http.StatusSeeOther)
}

func TestAudit_PageByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for range 60 {
		w.post("admin", "/settings/keys", "name", "one of many").want(http.StatusOK)
	}
	p := w.get("viewer", "/audit?type=key.created").want(http.StatusOK)
	if got := strings.Count(p.text(), "key.created one of many"); got != 50 {
		t.Errorf("the first page has %d of them, want 50", got)
	}
	_, after, _ := strings.Cut(p.body, `rel="next" href="`)
	next, _, _ := strings.Cut(after, `"`)
	p = w.get("viewer", strings.ReplaceAll(next, "&amp;", "&")).want(http.StatusOK, "First page")
	if got := strings.Count(p.text(), "key.created one of many"); got != 10 {
		t.Errorf("the second page has %d of them, want 10", got)
	}
}

func TestAudit_Export(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.someone("ana@example.com", nil)
	p := w.get("viewer", "/audit/export?type=user.created").want(http.StatusOK)
	if got := p.header.Get("Content-Disposition"); !strings.HasPrefix(got, `attachment; filename="audit-`) || !strings.HasSuffix(got, `.jsonl"`) {
		t.Errorf("Content-Disposition: %q, want a file", got)
	}
	if got := p.header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Errorf("Content-Type: %q, want JSON lines", got)
	}
	lines, found := bufio.NewScanner(strings.NewReader(p.body)), false
	for lines.Scan() {
		var event struct{ Type, Name string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil || event.Type != "user.created" {
			t.Errorf("line %s: %v, want an event of the type", lines.Text(), err)
		}
		found = found || event.Name == "ana@example.com"
	}
	if !found {
		t.Errorf("the export lacks ana@example.com:\n%s", p.body)
	}
	w.get("viewer", "/audit/export?order=sealed").want(http.StatusOK)
	// What is wrong is said on a page, and is no file.
	for path, status := range map[string]int{"/audit/export?from=yesterday": http.StatusUnprocessableEntity, "/audit/export?user=nobody": http.StatusNotFound} {
		if p := w.get("viewer", path).want(status).has("<h1"); p.header.Get("Content-Disposition") != "" {
			t.Errorf("%s is sent as a file", path)
		}
	}
	w.get("none", "/audit/export").want(http.StatusForbidden)
	w.get("", "/audit/export").want(http.StatusSeeOther)
}

func TestAudit_HostileNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	for _, name := range hostile {
		w.someone(name, map[string]any{"displayName": name, "title": name})
	}
	w.get("admin", "/audit?type=user.created").want(http.StatusOK, hostile[0], hostile[3]).hasNot("<script>alert", "' onmouseover='")
	w.get("admin", "/audit?user="+url.QueryEscape(hostile[0])).want(http.StatusOK).hasNot("<script>alert")
}
