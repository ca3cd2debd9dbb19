package scimtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Failure says how an answer differs from the one that was wanted, with both and the request. It holds no bearer token.
type Failure struct {
	Conversation string
	Step         string
	Line         int    // of the step, in the conversation's file
	Request      string // as it was sent
	Want         string
	Got          string // "" where there was no answer
	Differences  []string
	Err          error // why there was no answer
}

var _ error = (*Failure)(nil)

// Error tells all of it, in lines.
func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, line %d, %q:\n", f.Conversation, f.Line, f.Step)
	for _, d := range f.Differences {
		fmt.Fprintf(&b, "  %s\n", d)
	}
	if f.Err != nil {
		fmt.Fprintf(&b, "  %v\n", f.Err)
	}
	for _, part := range []struct{ title, text string }{{"sent", f.Request}, {"wanted", f.Want}, {"came", f.Got}} {
		if part.text != "" {
			fmt.Fprintf(&b, "%s:\n    %s\n", part.title, strings.ReplaceAll(part.text, "\n", "\n    "))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// Unwrap returns why there was no answer.
func (f *Failure) Unwrap() error { return f.Err }

// sent prints a request without its token.
func (c *call) sent(req *http.Request) string {
	var headers []string
	for name, values := range req.Header {
		value := strings.Join(values, ", ")
		if name == "Authorization" && c.bearer != "" {
			value = strings.ReplaceAll(value, c.bearer, "[redacted]")
		}
		if value != "" {
			headers = append(headers, name+": "+value)
		}
	}
	return message(req.Method+" "+req.URL.RequestURI(), headers, c.body())
}

func (c *call) wanted() string {
	var headers []string
	for _, f := range c.step.Want.Header {
		headers = append(headers, f.Name+": "+f.Value)
	}
	return message(fmt.Sprint(c.step.Want.Status), headers, c.step.Want.Body)
}

// came prints an answer.
func came(res *http.Response, body []byte) string {
	var headers []string
	for name, values := range res.Header {
		headers = append(headers, name+": "+strings.Join(values, ", "))
	}
	return message(fmt.Sprint(res.StatusCode), headers, string(body))
}

func message(first string, headers []string, body string) string {
	slices.Sort(headers)
	text := strings.Join(append([]string{first}, headers...), "\n")
	if body = strings.TrimSpace(body); body != "" {
		text += "\n\n" + clip(body)
	}
	return text
}

// clip bounds what is shown of a body.
func clip(text string) string {
	const most = 4000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + fmt.Sprintf("... (%d bytes)", len(text))
}
