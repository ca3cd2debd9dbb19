package console

import (
	"context"
	"errors"
	"net/http"

	"github.com/idpsync/idpsync/cmd/internal/api"
)

// fail answers with what is wrong. What it does not know is our own: it is logged, and told to nobody.
func (c *Console) fail(q *request, err error) {
	p := c.problemOf(q.Context(), err)
	if q.Context().Err() != nil {
		return // nobody is there to read it
	}
	if part(q.Request) != "" {
		// A part of a page is left as it is; the page's script says that it is not up to date.
		q.w.WriteHeader(p.Status)
		return
	}
	title := p.Title
	if p.Status == http.StatusNotFound {
		title = "Not found"
	}
	c.show(q, p.Status, &view{Page: "problem", Title: title, Problem: p})
}

// problemOf returns what is wrong as the API says it.
func (c *Console) problemOf(ctx context.Context, err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) {
		return p
	}
	if ctx.Err() == nil {
		c.logger.ErrorContext(ctx, "console", "error", err, "request_id", requestID(ctx))
	}
	return &api.Problem{
		Status: http.StatusInternalServerError, Title: "Something went wrong on our side",
		Detail: "Try again in a while. The log has the rest under the request's id.", RequestID: requestID(ctx),
	}
}

// asProblem returns what the API refused of a form, to be shown beside it; nil for an error that is no answer to the form.
func asProblem(err error) *api.Problem {
	var p *api.Problem
	if errors.As(err, &p) && p.Status < http.StatusInternalServerError && p.Status != http.StatusUnauthorized {
		return p
	}
	return nil
}

// isNotFound tells whether the API answered that there is no such thing.
func isNotFound(err error) bool {
	p := asProblem(err)
	return p != nil && p.Status == http.StatusNotFound
}
