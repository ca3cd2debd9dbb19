package patch

import (
	"fmt"
	"strings"

	"github.com/idpsync/idpsync/scim/schema"
)

// URN is the schema of a PATCH request.
const URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

// Op is what an operation does.
type Op string

// Operations.
const (
	Add     Op = "add"
	Replace Op = "replace"
	Remove  Op = "remove"
)

// Operation is one step of a PATCH request.
type Operation struct {
	Op     Op
	Path   string // "" for none
	Value  any    // as JSON decodes it, with json.Number for numbers
	Stated bool   // whether there was a value at all
}

// ScimType is the detail error keyword of RFC 7644, table 9.
type ScimType string

// Keywords that a PATCH request may earn; all come with status 400.
const (
	InvalidFilter ScimType = "invalidFilter"
	InvalidPath   ScimType = "invalidPath"
	InvalidSyntax ScimType = "invalidSyntax"
	InvalidValue  ScimType = "invalidValue"
	Mutability    ScimType = "mutability"
	NoTarget      ScimType = "noTarget"
)

// Error says why a PATCH request was refused.
type Error struct {
	Type   ScimType
	Detail string
}

func (e *Error) Error() string { return e.Detail }

func refuse(t ScimType, format string, args ...any) error {
	return &Error{Type: t, Detail: fmt.Sprintf(format, args...)}
}

// Parse reads the body of a PATCH request. Names are matched in any letter case. An *Error tells what is wrong.
func Parse(body map[string]any) ([]Operation, error) {
	list, ok := schema.Member(body, "Operations").([]any)
	if !ok || len(list) == 0 {
		return nil, refuse(InvalidSyntax, "Operations must be an array with at least one operation")
	}
	ops := make([]Operation, len(list))
	for i, v := range list {
		op, err := parseOne(v)
		if err != nil {
			return nil, refuse(InvalidSyntax, "Operations[%d]: %v", i, err)
		}
		ops[i] = op
	}
	return ops, nil
}

func parseOne(v any) (Operation, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return Operation{}, fmt.Errorf("an operation must be an object")
	}
	var op Operation
	name, _ := schema.Member(object, "op").(string)
	switch op.Op = Op(strings.ToLower(name)); op.Op {
	case Add, Replace, Remove:
	default:
		return Operation{}, fmt.Errorf(`op must be "add", "replace" or "remove"`)
	}
	switch path := schema.Member(object, "path").(type) {
	case nil:
	case string:
		op.Path = strings.TrimSpace(path)
	default:
		return Operation{}, fmt.Errorf("path must be a string")
	}
	op.Value, op.Stated = schema.Stated(object, "value")
	return op, nil
}

// object returns the value of an operation without a path, whose members are paths and their values.
func (op *Operation) object() (map[string]any, error) {
	if op.Op == Remove {
		return nil, refuse(NoTarget, "remove needs a path")
	}
	object, ok := op.Value.(map[string]any)
	if !ok {
		return nil, refuse(InvalidValue, "%s without a path needs an object as its value", op.Op)
	}
	return object, nil
}
