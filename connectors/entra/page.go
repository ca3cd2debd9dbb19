package entra

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// mostEmpty bounds the empty pages in a row: one with a next link is legal, and a listing that goes on with them has no end.
const mostEmpty = 1000

// page is one page of a listing, decoded.
type page[T any] struct {
	items []T
	next  string // link to the next page, "" on the last
	delta string // link to what changes after the listing, on the last page of a delta
	began time.Time
	date  time.Time // by Graph's clock; zero where it did not tell
	size  int       // of the body
	id    string    // of the request, at Graph
}

type envelope[T any] struct {
	Value     []T    `json:"value"`
	NextLink  string `json:"@odata.nextLink"`
	DeltaLink string `json:"@odata.deltaLink"`
}

// fetch reads and decodes one page and checks its links.
func fetch[T any](ctx context.Context, c *Connector, l listing, trail *connectors.Trail, make request) (page[T], error) {
	answer, err := c.send(ctx, connectors.Call{Endpoint: l.endpoint, Shape: connectors.ShapeObject}, make)
	if err != nil {
		return page[T]{}, err
	}
	defer answer.Release()
	p := page[T]{began: answer.Began, size: len(answer.Body), id: answer.Header.Get("Request-Id")}
	p.date, _ = http.ParseTime(answer.Header.Get("Date"))
	var e envelope[T]
	if err := json.Unmarshal(answer.Body, &e); err != nil {
		return page[T]{}, refuse(l.endpoint, answer.Header, err)
	}
	switch {
	case e.Value == nil:
		err = errors.New(`the object has no list "value"`)
	case e.NextLink != "" && e.DeltaLink != "":
		err = errors.New("the page has both a next and a delta link")
	case l.delta && e.NextLink == "" && e.DeltaLink == "":
		err = errors.New("the page has neither a next nor a delta link, so it does not prove the end")
	case l.delta && !tokened(e.NextLink+e.DeltaLink):
		err = errors.New("the next link has no token, so it leads to the beginning")
	case e.NextLink != "":
		p.next, err = c.followed(trail, e.NextLink)
	case e.DeltaLink != "":
		p.delta, err = c.followed(connectors.NewTrail(c.base, ""), e.DeltaLink) // it may be the one that was asked
	}
	if err != nil {
		return page[T]{}, refuse(l.endpoint, answer.Header, err)
	}
	p.items = e.Value
	return p, nil
}

// trail returns the trail of a listing from its first page.
func (c *Connector) trail(ctx context.Context, l listing) (*connectors.Trail, error) {
	info, err := l.first(ctx)
	if err != nil {
		return nil, err
	}
	info.PathParameters["baseurl"] = c.base.String()
	first, err := info.GetUri()
	if err != nil {
		return nil, err
	}
	return connectors.NewTrail(c.base, first.String()), nil
}

// tokened tells whether a link carries a token: a delta query without one begins anew, and with other properties.
func tokened(link string) bool {
	u, err := url.Parse(link)
	if err != nil {
		return true // the trail refuses it
	}
	for name := range u.Query() {
		if name = strings.ToLower(name); strings.Contains(name, "skiptoken") || strings.Contains(name, "deltatoken") {
			return true
		}
	}
	return false
}

// followed checks a link of an answer, and returns it in full.
func (c *Connector) followed(trail *connectors.Trail, link string) (string, error) {
	path, err := trail.Next(link)
	if err != nil {
		return "", err
	}
	return c.base.Scheme + "://" + c.base.Host + path, nil
}

// each reads a listing and hands every page to use, in order, while the next one is fetched and decoded. It returns the
// delta link.
func each[T any](ctx context.Context, c *Connector, l listing, use func(page[T]) error) (string, error) {
	trail, err := c.trail(ctx, l)
	if err != nil {
		return "", err
	}
	first, err := fetch[T](ctx, c, l, trail, l.first)
	if err != nil {
		return "", err
	}
	return rest(ctx, c, l, trail, first, use)
}

// rest is each, with the first page read already.
func rest[T any](ctx context.Context, c *Connector, l listing, trail *connectors.Trail, current page[T], use func(page[T]) error) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type fetched struct {
		page page[T]
		err  error
	}
	for empty := 0; ; {
		if empty++; len(current.items) > 0 {
			empty = 0
		}
		if empty > mostEmpty {
			return "", fmt.Errorf("%s: %d empty pages in a row", l.endpoint, empty)
		}
		var ahead chan fetched
		if current.next != "" {
			ahead = make(chan fetched, 1)
			go func(link string) {
				p, err := fetch[T](ctx, c, l, trail, l.follow(link))
				ahead <- fetched{p, err}
			}(current.next)
		}
		if err := use(current); err != nil {
			cancel()
			if ahead != nil {
				<-ahead
			}
			return "", err
		}
		if ahead == nil {
			return current.delta, nil
		}
		f := <-ahead
		if f.err != nil {
			return "", f.err
		}
		current = f.page
	}
}
