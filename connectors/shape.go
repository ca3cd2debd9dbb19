package connectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Shape tells whether a body, trimmed and not empty, is of the kind that a request expects. It looks at the outside
// only; the decoder sees to the inside.
type Shape func(body []byte) error

// ShapeArray accepts a JSON array.
func ShapeArray(body []byte) error { return enclosed(body, '[', ']', "an array") }

// ShapeObject accepts a JSON object.
func ShapeObject(body []byte) error { return enclosed(body, '{', '}', "an object") }

// ShapeValue accepts a JSON object with an array named "value", as OData lists are.
func ShapeValue(body []byte) error {
	if err := ShapeObject(body); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		if key != "value" {
			var other json.RawMessage
			if err := decoder.Decode(&other); err != nil {
				return err
			}
			continue
		}
		if open, err := decoder.Token(); err != nil || open != json.Delim('[') {
			return errors.New(`"value" is no array`)
		}
		return nil
	}
	return errors.New(`the object has no "value"`)
}

func enclosed(body []byte, first, last byte, what string) error {
	switch {
	case body[0] != first:
		return fmt.Errorf("the body is not %s", what)
	case body[len(body)-1] != last:
		return fmt.Errorf("the body ends before %s does", what)
	}
	return nil
}

func checkShape(shape Shape, body []byte) error {
	switch {
	case len(body) == 0:
		return errors.New("the body is empty")
	case string(body) == "null":
		return errors.New("the body is null")
	case shape == nil:
		return nil
	}
	return shape(body)
}
