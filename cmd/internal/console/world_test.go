package console_test

import (
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
	"github.com/idpsync/idpsync/store/storetest"
)

// world is a serving program whose console is asked as a browser without scripts does.
type world struct{ *apptest.World }

// newWorld serves on SQLite with more configuration.
func newWorld(t testing.TB, yaml string) world {
	t.Helper()
	return world{apptest.New(t, storetest.MigratedSQLiteDSN(t), yaml)}
}

// page is what a browser was answered, redirections not followed.
type page struct {
	testing.TB
	what   string
	status int
	header http.Header
	body   string
	cookie string // the session's and what the answer set
}

// get asks for a page as somebody of a rank; "" is nobody. headers are names and values in turn.
func (w world) get(as, path string, headers ...string) *page {
	w.Helper()
	return w.send(as, http.MethodGet, path, nil, headers...)
}

// part asks for a part of a page as htmx does.
func (w world) part(as, path, target string) *page {
	w.Helper()
	return w.get(as, path, "HX-Request", "true", "HX-Target", target, "HX-Current-URL", w.URL+path)
}

// post sends a form as somebody of a rank: names and values in turn.
func (w world) post(as, path string, fields ...string) *page {
	w.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return w.send(as, http.MethodPost, path, form, "Sec-Fetch-Site", "same-origin")
}

// done posts a form that is to succeed, and returns the page to which it leads.
func (w world) done(as, path string, fields ...string) *page {
	w.Helper()
	p := w.post(as, path, fields...)
	if p.status != http.StatusSeeOther {
		w.Fatalf("%s = %d, want a redirection:\n%s", p.what, p.status, p.text())
	}
	return w.send(as, http.MethodGet, p.header.Get("Location"), nil, "Cookie", p.cookie)
}

func (w world) send(as, method, path string, form url.Values, headers ...string) *page {
	w.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(w.Context(), method, w.URL+path, body)
	w.Must(err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token := w.Cookies[as]; token != "" {
		r.Header.Set("Cookie", "idpsync="+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	w.Must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	w.Must(err)
	p := &page{TB: w, what: method + " " + path + " as " + as, status: answer.StatusCode, header: answer.Header, body: string(text), cookie: r.Header.Get("Cookie")}
	for _, c := range answer.Cookies() {
		p.cookie += "; " + c.Name + "=" + c.Value
	}
	return p
}

// want fails the test where the answer has another status, or lacks one of the texts. Texts are compared as a reader sees
// them: without markup, and with blanks for any space.
func (p *page) want(status int, texts ...string) *page {
	p.Helper()
	if p.status != status {
		p.Fatalf("%s = %d, want %d:\n%s", p.what, p.status, status, p.text())
	}
	seen := p.text()
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			p.Errorf("%s lacks %q:\n%s", p.what, text, seen)
		}
	}
	return p
}

// lacks fails the test where the page shows one of the texts.
func (p *page) lacks(texts ...string) *page {
	p.Helper()
	seen := p.text()
	for _, text := range texts {
		if strings.Contains(seen, text) {
			p.Errorf("%s shows %q:\n%s", p.what, text, seen)
		}
	}
	return p
}

// has fails the test where the markup lacks one of the texts, and hasNot where it has one.
func (p *page) has(texts ...string) *page {
	p.Helper()
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			p.Errorf("%s lacks the markup %q:\n%s", p.what, text, p.body)
		}
	}
	return p
}

func (p *page) hasNot(texts ...string) *page {
	p.Helper()
	for _, text := range texts {
		if strings.Contains(p.body, text) {
			p.Errorf("%s has the markup %q", p.what, text)
		}
	}
	return p
}

// text returns what a reader sees of a page.
func (p *page) text() string {
	var b strings.Builder
	rest := p.body
	for {
		before, after, found := strings.Cut(rest, "<")
		b.WriteString(before)
		if !found {
			break
		}
		b.WriteByte(' ')
		_, rest, _ = strings.Cut(after, ">")
	}
	return strings.Join(strings.Fields(html.UnescapeString(b.String())), " ")
}
