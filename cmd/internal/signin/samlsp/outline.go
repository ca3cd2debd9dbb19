package samlsp

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/crewjam/saml"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// Bounds of an answer. Somebody in two thousand groups needs a third of them.
const (
	maxForm     = 700 << 10 // bytes, as posted
	maxDepth    = 50        // of elements in elements
	maxElements = 6_000
)

// readForm returns the posted document, and the RelayState.
func readForm(w http.ResponseWriter, r *http.Request) (document []byte, relayState string, err error) {
	if r.Method != http.MethodPost {
		return nil, "", refuse(assertion.ReasonMalformed, "the answer came with %s, not POST", short(r.Method))
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, "", refuse(assertion.ReasonMalformed, "the answer has more than %d bytes", large.Limit)
		}
		return nil, "", refuse(assertion.ReasonMalformed, "the answer is no form")
	}
	responses := r.PostForm["SAMLResponse"]
	if len(responses) != 1 {
		return nil, "", refuse(assertion.ReasonMalformed, "the form has %d SAMLResponse, want one", len(responses))
	}
	// Some identity providers break the lines.
	encoded := strings.NewReplacer("\r", "", "\n", "").Replace(responses[0])
	document, err = base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, "", refuse(assertion.ReasonMalformed, "the SAMLResponse is not base64")
	}
	return document, r.PostForm.Get("RelayState"), nil
}

// outline is what a first reading of a response finds. Nothing of it is proven.
type outline struct {
	inResponseTo string
	encrypted    bool
	signatures   int
	status       []string // codes, the outer one first
	message      string   // StatusMessage
}

const (
	protocolSpace  = "urn:oasis:names:tc:SAML:2.0:protocol"
	signatureSpace = "http://www.w3.org/2000/09/xmldsig#"
)

// readOutline reads the document and refuses shapes that no identity provider sends: document types (and with them
// entities), processing instructions, more than one root, more than one assertion wherever it stands, and an id that two
// elements have. Wrapping a signed assertion so that another one is read takes one of the last two.
func readOutline(document []byte) (*outline, error) {
	decoder := xml.NewDecoder(bytes.NewReader(document))
	var (
		read       outline
		depth      int
		elements   int
		roots      int
		assertions int
		ids        = map[string]bool{}
		inMessage  bool
	)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refuse(assertion.ReasonMalformed, "the response is no XML: %s", short(err.Error()))
		}
		switch token := token.(type) {
		case xml.Directive:
			return nil, refuse(assertion.ReasonMalformed, "the response has a document type")
		case xml.ProcInst:
			if token.Target != "xml" || roots > 0 {
				return nil, refuse(assertion.ReasonMalformed, "the response has a processing instruction")
			}
		case xml.CharData:
			switch {
			case depth == 0 && len(bytes.TrimSpace(token)) > 0:
				return nil, refuse(assertion.ReasonMalformed, "the response has text outside its element")
			case inMessage && len(read.message) < 1000:
				read.message += string(token)
			}
		case xml.EndElement:
			depth--
			inMessage = false
		case xml.StartElement:
			if depth == 0 {
				if roots++; roots > 1 || token.Name.Space != protocolSpace || token.Name.Local != "Response" {
					return nil, refuse(assertion.ReasonMalformed, "the document is no SAML 2.0 response, but %q", short(token.Name.Local))
				}
			}
			depth++
			if elements++; depth > maxDepth || elements > maxElements {
				return nil, refuse(assertion.ReasonMalformed, "the response has more than %d elements, or more than %d in each other", maxElements, maxDepth)
			}
			if id := idOf(token); id != "" {
				if ids[id] {
					return nil, refuse(assertion.ReasonSeveral, "two elements of the response have the id %q", short(id))
				}
				ids[id] = true
			}
			switch token.Name.Local {
			case "Assertion", "EncryptedAssertion":
				assertions++
				read.encrypted = read.encrypted || token.Name.Local == "EncryptedAssertion"
			case "Signature":
				if token.Name.Space == signatureSpace {
					read.signatures++
				}
			case "StatusCode":
				read.status = append(read.status, attribute(token, "Value"))
			case "StatusMessage":
				inMessage = true
			}
			if depth == 1 {
				read.inResponseTo = attribute(token, "InResponseTo")
			}
		}
	}
	switch {
	case roots == 0:
		return nil, refuse(assertion.ReasonMalformed, "the response is empty")
	case assertions > 1:
		return nil, refuse(assertion.ReasonSeveral, "the response has %d assertions, want one", assertions)
	}
	return &read, nil
}

// idOf returns what a reference of a signature may call the element.
func idOf(element xml.StartElement) string {
	for _, a := range element.Attr {
		if a.Name.Space != "xmlns" && strings.EqualFold(a.Name.Local, "id") {
			return a.Value
		}
	}
	return ""
}

func attribute(element xml.StartElement, name string) string {
	for _, a := range element.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// refused tells whether the identity provider refused the sign-in, and how it said so.
func (o *outline) refused() (string, bool) {
	if len(o.status) == 0 || o.status[0] == saml.StatusSuccess {
		return "", false
	}
	const prefix = "urn:oasis:names:tc:SAML:2.0:status:"
	codes := make([]string, 0, len(o.status))
	for _, code := range o.status[:min(len(o.status), 3)] {
		codes = append(codes, short(strings.TrimPrefix(code, prefix)))
	}
	text := strings.Join(codes, ", ")
	if message := strings.TrimSpace(o.message); message != "" {
		text += ": " + short(message)
	}
	return text, true
}
