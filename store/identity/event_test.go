package identity_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/idpsync/idpsync/store/identity"
)

// TestEventTypes reads which types there are from the source: one that is left out could be neither asked for nor subscribed to.
func TestEventTypes(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []identity.EventType
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "EventType" {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, identity.EventType(text))
		}
		return true
	})
	if len(declared) == 0 {
		t.Fatal("event.go declares no type of event")
	}
	listed := identity.EventTypes()
	slices.Sort(declared)
	slices.Sort(listed)
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Errorf("EventTypes (-declared +listed):\n%s", diff)
	}
	if n := len(slices.Compact(declared)); n != len(listed) {
		t.Errorf("%d types have %d names", len(listed), n)
	}
}
