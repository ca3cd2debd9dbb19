package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

//go:embed all:page
var pageFiles embed.FS

// view is what a page shows: a name, which is its template's, a title, and what the page is about.
type view struct {
	Page    string // "run": page/run.html
	Title   string
	Section string       // of the navigation: its path, for example /runs
	Status  int          // 0 is 200
	Notice  string       // what came of something
	Problem *api.Problem // what is wrong, above the content
	Refresh bool         // something is going on: without scripts, the browser is to load the page again
	Data    any
}

func (v *view) statusOr(status int) int {
	if v.Status != 0 {
		return v.Status
	}
	return status
}

// shown is what templates are given: the view, and what is the same on every page.
type shown struct {
	*view
	UserName    string
	MayOperate  bool
	MayChange   bool
	Theme       string
	Here        string // the address of this page
	RequestID   string
	Version     string
	SignedIn    bool
	Sections    []section
	StyleURL    string
	ScriptURL   string
	HTMXURL     string
	IconURL     string
	IsPart      bool
	CurrentPath string
}

// section is an entry of the navigation.
type section struct {
	Path, Name, Icon string
}

var sections = []section{
	{"/", "Overview", "overview"},
	{"/runs", "Runs", "run"},
	{"/people", "People", "person"},
	{"/groups", "Groups & teams", "group"},
	{"/mapping", "Role mapping", "mapping"},
	{"/conflicts", "Conflicts", "conflict"},
	{"/audit", "Audit", "audit"},
	{"/settings", "Settings", "settings"},
}

// parsePages reads every template in page/ together with those whose names begin with an underscore, which all share.
func (c *Console) parsePages() (map[string]*template.Template, error) {
	shared, err := template.New("").Funcs(c.funcs()).ParseFS(pageFiles, "page/_*.html")
	if err != nil {
		return nil, fmt.Errorf("read the pages: %w", err)
	}
	names, err := fs.Glob(pageFiles, "page/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if strings.HasPrefix(base, "_") {
			continue
		}
		page, err := template.Must(shared.Clone()).ParseFS(pageFiles, name)
		if err != nil {
			return nil, fmt.Errorf("read the pages: %w", err)
		}
		pages[base] = page
	}
	return pages, nil
}

// show answers with a view: the whole page, or the part that htmx asks for.
func (c *Console) show(q *request, status int, v *view) {
	page, ok := c.pages[v.Page]
	if !ok {
		c.internal(q, "show a page", fmt.Errorf("there is no page %q", v.Page))
		return
	}
	s := shown{
		view: v, Theme: c.theme(q.Request), Here: q.URL.RequestURI(), RequestID: requestID(q.Context()), Version: c.o.Version,
		Sections: sections, StyleURL: c.assets.url("style.css"), ScriptURL: c.assets.url("console.js"), HTMXURL: c.assets.url("htmx.min.js"), IconURL: c.assets.url("icon.svg"),
		IsPart: isPart(q.Request), CurrentPath: q.URL.Path,
	}
	if q.Method != http.MethodGet {
		s.Here = max(v.Section, "/") // what a form was answered has no address of its own
	}
	if q.Session != nil {
		s.SignedIn, s.UserName = true, q.Session.UserName
		if q.Level < levelViewer {
			s.Sections = nil
		}
		s.MayOperate, s.MayChange = q.Level >= levelOperator, q.Level >= levelAdmin
	}
	block := part(q.Request)
	if block == "" {
		block = "page"
		if flash := q.takeFlash(); v.Notice == "" {
			v.Notice = flash
		}
	} else if page.Lookup(block) == nil {
		c.internal(q, "show a part of a page", fmt.Errorf("page %q has no block %q", v.Page, block))
		return
	}
	var text bytes.Buffer
	if err := page.ExecuteTemplate(&text, block, s); err != nil {
		c.internal(q, "show page "+v.Page, err)
		return
	}
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", "HX-Request, HX-Target")
	q.w.WriteHeader(status)
	_, _ = text.WriteTo(q.w) // the browser may be gone
}

// internal answers for a mistake of ours in a page itself, where no page can be shown.
func (c *Console) internal(q *request, doing string, err error) {
	id := requestID(q.Context())
	c.logger.ErrorContext(q.Context(), doing, "error", err, "request_id", id)
	http.Error(q.w, "internal error, request "+id, http.StatusInternalServerError)
}
