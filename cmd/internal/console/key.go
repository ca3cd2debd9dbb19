package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// registerKeys registers the pages of API keys: everybody's below /settings/keys, and a person's own, which need no role on
// the root team, below /keys.
func (c *Console) registerKeys(mux *http.ServeMux) {
	for _, book := range []keyBook{{Path: "/settings/keys"}, {Path: "/keys", Own: true}} {
		needed, see := levelAdmin, levelViewer
		if book.Own {
			needed, see = levelNone, levelNone
		}
		c.getAt(mux, book.Path, see, book.list)
		c.post(mux, book.Path, needed, book.create)
		c.post(mux, book.Path+"/{id}/rotate", needed, book.rotate)
		c.post(mux, book.Path+"/{id}/revoke", needed, book.revoke)
		if !book.Own {
			c.post(mux, book.Path+"/{id}/enable", needed, book.enable)
		}
	}
}

// keyBook is the keys of everybody, or of whoever looks.
type keyBook struct {
	Path string
	Own  bool
}

// keysPage lists API keys.
type keysPage struct {
	keyBook
	Items      []api.Key
	Total      int
	User       string
	Pages      listPages
	Form       keyForm
	Open       bool // the form
	Problem    *api.Problem
	Connectors []string
	Lifetimes  []option
	May        bool // make and change keys
}

// keyForm is a key as it is asked for.
type keyForm struct{ User, Name, Connector, Expires string }

const keysOnPage = 50

// lifetimes are how long keys live.
var lifetimes = []option{{"2160h", "90 days"}, {"720h", "30 days"}, {"8760h", "A year"}, {"24h", "A day"}, {"", "Until revoked"}}

// overlaps are how long a key still lets in beside the one that follows it.
var overlaps = []option{{"24h", "in a day"}, {"1h", "in an hour"}, {"168h", "in 7 days"}, {"", "when it is revoked by hand"}}

func (b keyBook) list(q *request) (*view, error) {
	return b.show(q, keyForm{Expires: lifetimes[0].Value}, nil)
}

func (b keyBook) show(q *request, form keyForm, problem *api.Problem) (*view, error) {
	query := q.given("user", "cursor")
	if b.Own {
		query.Set("user", q.Session.UserID)
	}
	query.Set("limit", strconv.Itoa(keysOnPage))
	list, err := fetch[api.Page[api.Key]](q, "/keys", query)
	if err != nil {
		return nil, err
	}
	page := keysPage{
		keyBook: b, Items: list.Items, User: q.Query("user"), Pages: cursorPagesAt(q, b.Path, list.NextCursor), Form: form, Open: problem != nil, Problem: problem,
		Lifetimes: lifetimes, May: b.Own || q.Level >= levelAdmin,
	}
	if list.Total != nil {
		page.Total = *list.Total
	}
	if b.Own {
		v := &view{Page: "keys", Title: "Your API keys", Problem: problem, Data: settingPage{nil, b.Path, page}}
		if problem != nil {
			v.Status = problem.Status
		}
		return v, nil
	}
	if page.May {
		if page.Connectors, err = connectorNames(q); err != nil {
			return nil, err
		}
	}
	return setting("keys", b.Path, "API keys", page, problem), nil
}

// newKeyPage shows a key this once.
type newKeyPage struct {
	keyBook
	api.NewKey
}

func (b keyBook) made(key api.NewKey) *view {
	return &view{Page: "key_made", Title: "The new key", Section: b.section(), Data: newKeyPage{b, key}}
}

func (b keyBook) section() string {
	if b.Own {
		return ""
	}
	return "/settings"
}

func (b keyBook) create(q *request) (string, *view, error) {
	form := keyForm{q.Form("user"), q.Form("name"), q.Form("connector"), q.Form("expires")}
	body := map[string]any{"name": form.Name}
	for name, value := range map[string]string{"user": form.User, "connector": form.Connector, "expires": form.Expires} {
		if value != "" && (!b.Own || name == "expires") {
			body[name] = value
		}
	}
	key, err := call[api.NewKey](q, http.MethodPost, "/keys", nil, body)
	if problem := asProblem(err); problem != nil {
		if wrongField(problem, "body.name") {
			problem = &api.Problem{Status: problem.Status, Title: problem.Title, Detail: "Say what the key is for, in 1 to 200 characters.", Errors: problem.Errors[:1], RequestID: problem.RequestID}
		}
		v, err := b.show(q, form, problem)
		return "", v, err
	}
	if err != nil {
		return "", nil, err
	}
	return "", b.made(key), nil
}

func (b keyBook) rotate(q *request) (string, *view, error) {
	body := map[string]any{}
	if in := q.Form("expire_in"); in != "" {
		body["expire_in"] = in
	}
	key, err := call[api.NewKey](q, http.MethodPost, "/keys/"+url.PathEscape(q.PathValue("id"))+"/rotate", nil, body)
	if err != nil {
		return b.refused(q, err)
	}
	return "", b.made(key), nil
}

func (b keyBook) revoke(q *request) (string, *view, error) {
	if _, err := call[struct{}](q, http.MethodDelete, "/keys/"+url.PathEscape(q.PathValue("id")), nil, nil); err != nil {
		return b.refused(q, err)
	}
	q.Notify("The key is revoked: it lets nobody in from now on.")
	return b.Path, nil, nil
}

func (b keyBook) enable(q *request) (string, *view, error) {
	key, err := call[api.Key](q, http.MethodPost, "/keys/"+url.PathEscape(q.PathValue("id"))+"/enable", nil, nil)
	if err != nil {
		return b.refused(q, err)
	}
	q.Notify("Key " + key.Name + " lets " + key.User + " in again.")
	return b.Path, nil, nil
}

// refused shows the keys with why one was not changed.
func (b keyBook) refused(q *request, err error) (string, *view, error) {
	problem := asProblem(err)
	if problem == nil {
		return "", nil, err
	}
	v, err := b.show(q, keyForm{Expires: lifetimes[0].Value}, problem)
	if err != nil {
		return "", nil, err
	}
	page := v.Data.(settingPage)
	list := page.Of.(keysPage)
	list.Open = false
	page.Of = list
	v.Data = page
	return "", v, nil
}
