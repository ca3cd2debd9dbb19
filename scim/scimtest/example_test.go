package scimtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/idpsync/idpsync/scim/scimtest"
)

func ExampleReplay() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"totalResults": "0", "Resources": []}`) // a text, where a number belongs
	}))
	defer server.Close()
	c, err := scimtest.Parse("example", `
== Is anybody there?
GET /Users?count=1

-> 200

{"totalResults": "{{any integer}}", "Resources": "{{any list}}"}
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = scimtest.Replay(context.Background(), server.Client(), server.URL+"/scim/v2", "token", c)
	var failure *scimtest.Failure
	if errors.As(err, &failure) {
		fmt.Println(failure.Differences)
	}
	// Output: [totalResults: want any integer, got "0"]
}
