// Command independent runs Go software that was not written here against the server at SCIM_URL with the key
// SCIM_KEY: GitHub's client, and a SCIM server library whose schemas and filters are compared with ours.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "idp" {
		t := &tally{}
		okta(t.suite("Okta's OpenAPI description"), oktaEnvironment{
			url: os.Getenv("OKTA_URL"), token: os.Getenv("OKTA_TOKEN"), app: os.Getenv("OKTA_APP"), ca: os.Getenv("OKTA_CA"),
			idpsync: os.Getenv("IDPSYNC"), spec: os.Getenv("OKTA_OPENAPI"),
		})
		t.finish("go, identity providers")
		return
	}
	e, err := fromEnvironment()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	t := &tally{}
	enterprise(t.suite("google/go-github"), e.scim)
	organization(t.suite("google/go-github (organizations)"), e.scim)
	schemas(t.suite("elimity-com/scim"), e.scim)
	filters(t.suite("elimity-com/scim filter"), e)
	replay(t.suite("elimity-com/scim recordings"), e.scim, e.recordings, "okta")
	replay(t.suite("elimity-com/scim recordings"), e.entra, e.recordings, "azuread")
	t.finish("go")
}

// finish prints the sums, and ends the program where something failed.
func (t *tally) finish(name string) {
	fmt.Printf("SUM   %s: %d passed, %d known differences, %d failed\n", name, t.passed, t.known, t.failed)
	if t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

// tally counts what was found.
type tally struct{ passed, known, failed int }

// suite is the checks of one library.
type suite struct {
	tally *tally
	name  string
}

func (t *tally) suite(name string) suite { return suite{t, name} }

func (c suite) print(verdict, what string, why any) {
	line := fmt.Sprintf("%-5s %s: %s", verdict, c.name, what)
	if why != nil {
		line += ": " + strings.Join(strings.Fields(fmt.Sprint(why)), " ")
	}
	fmt.Println(line[:min(len(line), 900)])
}

// check runs one check; a library that panics has failed it.
func (c suite) check(what string, body func() error) {
	if err := guarded(body); err != nil {
		c.tally.failed++
		c.print("FAIL", what, err)
		return
	}
	c.tally.passed++
	c.print("PASS", what, nil)
}

func guarded(body func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return body()
}

// agree compares what we say with what the library says. Where known says why the two differ, they have to: a
// difference that is gone fails as well, so that the list stays true.
func (c suite) agree(what, ours, theirs, known string) {
	switch {
	case ours == theirs && known == "":
		c.check(what, func() error { return nil })
	case ours != theirs && known != "":
		c.tally.known++
		c.print("KNOWN", what, known)
	default:
		c.check(what, func() error {
			if known != "" {
				return fmt.Errorf("agrees, but is listed as a difference: %s", known)
			}
			return fmt.Errorf("idpsync %s, %s %s", ours, c.name, theirs)
		})
	}
}

// equal compares what was got with what was wanted, as they print.
func equal(what string, got, want any) error {
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		return fmt.Errorf("%s is %s, want %s", what, g, w)
	}
	return nil
}
