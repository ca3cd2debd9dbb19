// Package idptest holds identity providers to sign in at, as processes of their own would be: they listen on loopback
// over TLS, with an authority of their own, and answer a browser. Each can be told who signs in next, and how to
// misbehave: what an attacker, or a provider that is set up wrongly, would answer.
//
// What they are made of is not what they check: the protocol is spoken by libraries, mockoidc and crewjam's identity
// provider.
package idptest

// Person is who signs in.
type Person struct {
	ID            string // the subject; the NameID, if it is not the e-mail address
	Email         string
	EmailVerified any    // the claim email_verified; nil leaves it out
	UserName      string // the claim preferred_username
	GivenName     string
	FamilyName    string
	DisplayName   string
	Groups        []string // nil leaves them out; an empty list is one
}

// Ana is a person to sign in with.
func Ana() Person {
	return Person{
		ID: "00u1ana", Email: "ana@example.com", EmailVerified: true, UserName: "ana", GivenName: "Ana", FamilyName: "Ito", DisplayName: "Ana Ito",
		Groups: []string{"Engineering", "On call"},
	}
}
