package oidcrp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/idpsync/idpsync/cmd/internal/signin/assertion"
)

// claims are an ID token's or the userinfo endpoint's, by exact name.
type claims map[string]json.RawMessage

func (c claims) has(name string) bool {
	raw, ok := c[name]
	return ok && string(raw) != "null"
}

func (c claims) text(name string) (string, bool) {
	if !c.has(name) {
		return "", false
	}
	var text string
	if json.Unmarshal(c[name], &text) != nil {
		return "", false
	}
	return text, true
}

// texts returns a claim that is one text or a list of texts.
func (c claims) texts(name string) ([]string, bool) {
	if one, ok := c.text(name); ok {
		return []string{one}, true
	}
	if !c.has(name) {
		return nil, false
	}
	list := []string{}
	if json.Unmarshal(c[name], &list) != nil {
		return nil, false
	}
	return list, true
}

// time returns a claim that is a number of seconds since 1970.
func (c claims) time(name string) (time.Time, bool) {
	if !c.has(name) {
		return time.Time{}, false
	}
	var seconds float64
	if json.Unmarshal(c[name], &seconds) != nil || seconds < 0 || seconds > 1e11 {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(seconds * 1000)), true
}

// person says what the claims say. What the ID token lacks of what was configured is asked for at the userinfo endpoint.
func (p *Provider) person(ctx context.Context, found *discovery, token *tokens, stated claims) (*assertion.Assertion, error) {
	subject, _ := stated.text("sub")
	person := &assertion.Assertion{Provider: assertion.OIDC, Issuer: p.options.Issuer, Subject: subject}
	person.SessionIndex, _ = stated.text("sid")

	if more := (!stated.has(p.options.UserName) || p.lacksGroups(stated)) && found.provider.UserInfoEndpoint() != ""; more {
		info, err := p.userInfo(ctx, found, token, subject)
		var refused *assertion.RefusedError
		switch {
		case err == nil:
			stated = complete(stated, info)
		case errors.As(err, &refused), !stated.has(p.options.UserName):
			return nil, err
		}
		// Otherwise nothing but groups is missing, and nothing was said of them.
	}

	if err := p.checkVerified(stated); err != nil {
		return nil, err
	}
	name, _ := stated.text(p.options.UserName)
	if person.UserName = strings.TrimSpace(name); !usable(person.UserName) {
		return nil, refuse(assertion.ReasonNoUserName, "the claim %s is missing, empty or no text; have the provider send it (scopes, or optional claims), or set sign_in.oidc.user_name", p.options.UserName)
	}
	person.GivenName = stated.line("given_name")
	person.FamilyName = stated.line("family_name")
	person.DisplayName = stated.line("name")
	if p.options.Groups != "" {
		person.Groups, person.GroupsStated = stated.texts(p.options.Groups)
	}
	return person, nil
}

// lacksGroups tells whether groups are configured and nothing is said of them. Entra ID says of those that are too many
// where else to ask, which the userinfo endpoint is not.
func (p *Provider) lacksGroups(stated claims) bool {
	if p.options.Groups == "" || stated.has(p.options.Groups) || stated.has("hasgroups") {
		return false
	}
	elsewhere := claims{}
	if raw, ok := stated["_claim_names"]; ok && json.Unmarshal(raw, &elsewhere) == nil && elsewhere.has(p.options.Groups) {
		return false
	}
	return true
}

func (p *Provider) userInfo(ctx context.Context, found *discovery, token *tokens, subject string) (claims, error) {
	info, err := found.provider.UserInfo(oidc.ClientContext(ctx, p.client), oauth2.StaticTokenSource(token.access))
	if err != nil {
		return nil, unavailable("ask the userinfo endpoint", err)
	}
	stated := claims{}
	if err := info.Claims(&stated); err != nil {
		return nil, refuse(assertion.ReasonMalformed, "the userinfo endpoint's answer is no object")
	}
	// OpenID Connect Core 1.0, section 5.3.2: otherwise it is somebody else's.
	if about, _ := stated.text("sub"); about != subject {
		return nil, refuse(assertion.ReasonSubject, "the userinfo endpoint speaks of %q, the ID token of %q", short(about), short(subject))
	}
	return stated, nil
}

// complete adds to an ID token's claims what it lacks. Whether an address is verified is said by who says the address.
func complete(stated, info claims) claims {
	all := claims{}
	for name, value := range stated {
		all[name] = value
	}
	for name, value := range info {
		if !all.has(name) || name == "email_verified" && !stated.has("email") {
			all[name] = value
		}
	}
	return all
}

func (p *Provider) checkVerified(stated claims) error {
	if !p.options.RequireVerifiedEmail || p.options.UserName != "email" || !stated.has("email_verified") {
		return nil
	}
	// Some providers say it as a text.
	if said := strings.Trim(string(stated["email_verified"]), `"`); said != "true" {
		return refuse(assertion.ReasonEmailUnverified, "email_verified is %q; have the address verified, or set sign_in.oidc.require_verified_email: false if the provider gives addresses out itself", short(said))
	}
	return nil
}

// line returns a text of one line for people to read, or "".
func (c claims) line(name string) string {
	text, _ := c.text(name)
	text = strings.TrimSpace(text)
	if len(text) > 256 || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// usable tells whether the text may name somebody.
func usable(name string) bool {
	return name != "" && len(name) <= 256 && !strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) })
}
