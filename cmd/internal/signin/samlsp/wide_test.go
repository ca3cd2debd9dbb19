package samlsp_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/cmd/internal/signin/idptest"
)

// TestTwoThousandGroups: bounds that the libraries set to what a document may hold leave room for people who are in many
// groups.
func TestTwoThousandGroups(t *testing.T) {
	t.Parallel()
	person := idptest.Ana()
	person.Groups = nil
	for i := range 2_000 {
		person.Groups = append(person.Groups, fmt.Sprintf("Group %d of the engineering department", i))
	}
	for _, signed := range []string{idptest.SignedAssertion, idptest.SignedResponse, idptest.SignedBoth} {
		a := start(t, nil)
		a.idp.SignIn(person)
		a.idp.Misbehave(idptest.SAMLFault{Signed: signed})
		want := ana(a)
		want.Groups = person.Groups
		got := a.signIn(t)
		if diff := cmp.Diff(want, got.Assertion); diff != "" {
			t.Errorf("%s signed, %s (-want +got):\n%.1000s", signed, got.Detail, diff)
		}
	}
}
