package idptest

import (
	"github.com/beevik/etree"
)

// Intruder is whom wrapped and altered answers name.
const Intruder = "root@example.com"

// Wrap returns the classic ways to wrap a signature, 1 to 8, as edits of a signed response: what was signed is kept
// somewhere, so that the signature over it is good, and what is read is another's. Ways 1 and 2 take a signed response,
// the others a signed assertion.
func Wrap(way int) func(response *etree.Element) {
	switch way {
	case 1, 2:
		return func(response *etree.Element) { wrapResponse(response, way) }
	default:
		return func(response *etree.Element) { wrapAssertion(response, way) }
	}
}

// wrapResponse makes another response of it, with the signature of the first, which is put behind the signature (1) or
// before it (2).
func wrapResponse(response *etree.Element, way int) {
	signature := response.SelectElement("Signature")
	original := response.Copy()
	original.RemoveChild(original.SelectElement("Signature"))
	forge(response)
	response.CreateAttr("ID", "id-forged-response")
	response.SelectElement("Assertion").CreateAttr("ID", "id-forged")
	at := signature.Index()
	if way == 1 {
		at++
	}
	response.InsertChildAt(at, original)
}

func wrapAssertion(response *etree.Element, way int) {
	assertion := response.SelectElement("Assertion")
	at := assertion.Index()
	forged := assertion.Copy()
	forged.CreateAttr("ID", "id-forged")
	forge(forged)
	unsigned := func(e *etree.Element) *etree.Element {
		e.RemoveChild(e.SelectElement("Signature"))
		return e
	}
	switch way {
	case 3: // before the one that is signed
		response.InsertChildAt(at, unsigned(forged))
	case 4: // around the one that is signed
		response.RemoveChild(assertion)
		unsigned(forged).AddChild(assertion)
		response.AddChild(forged)
	case 5: // with the signature; the one that was signed follows
		response.RemoveChild(assertion)
		response.AddChild(forged)
		response.AddChild(unsigned(assertion))
	case 6: // with the signature, and in it the one that was signed
		response.RemoveChild(assertion)
		response.AddChild(forged)
		forged.SelectElement("Signature").AddChild(unsigned(assertion))
	case 7: // in an extension, before the one that is signed
		extensions := etree.NewElement("samlp:Extensions")
		extensions.AddChild(unsigned(forged))
		response.InsertChildAt(response.SelectElement("Issuer").Index()+1, extensions)
	case 8: // with the signature, and in an object of it the one that was signed
		response.RemoveChild(assertion)
		response.AddChild(forged)
		object := forged.SelectElement("Signature").CreateElement("ds:Object")
		object.AddChild(unsigned(assertion))
	}
}

// forge has whatever names somebody name the intruder.
func forge(element *etree.Element) {
	for _, e := range element.FindElements(".//NameID") {
		e.SetText(Intruder)
	}
	for _, e := range element.FindElements(".//Attribute[@Name='email']/AttributeValue") {
		e.SetText(Intruder)
	}
}

// Forge edits a signed response to name the intruder.
func Forge(response *etree.Element) { forge(response) }

// Comment puts a comment into the NameID of a signed response and into its attribute email, after the first n bytes. It
// does not break the signature, and readers that stop at it read another name.
func Comment(n int) func(response *etree.Element) {
	return func(response *etree.Element) {
		for _, path := range []string{".//NameID", ".//Attribute[@Name='email']/AttributeValue"} {
			for _, e := range response.FindElements(path) {
				text := e.Text()
				e.SetText(text[:n])
				e.CreateComment(" ")
				e.CreateText(text[n:])
			}
		}
	}
}
