package samlsp

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
)

// BenchmarkFinish believes an assertion of somebody in so many groups: all that a sign-in costs here.
func BenchmarkFinish(b *testing.B) {
	for _, groups := range []int{5, 150, 2_000} {
		b.Run(fmt.Sprintf("%d groups", groups), func(b *testing.B) {
			p, idp, browser := alone(b, Options{AllowInitiated: true, Attributes: Attributes{Groups: "groups"}})
			person := idptest.Ana()
			person.Groups = nil
			for i := range groups {
				person.Groups = append(person.Groups, fmt.Sprintf("Group %d of the engineering department", i))
			}
			idp.SignIn(person)
			form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString(answer(b, p, idp, browser))}}.Encode()
			for b.Loop() {
				p.options.Memory = &idptest.Memory{} // it would be a replay
				r := httptest.NewRequest(http.MethodPost, assertion.PathSAMLAnswer, strings.NewReader(form))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				person, err := p.Finish(httptest.NewRecorder(), r)
				if err != nil || len(person.Groups) != groups {
					b.Fatalf("Finish = %v, %v", person, err)
				}
			}
		})
	}
}
