package oktatest

import (
	"strconv"
	"time"
)

const stamp = "2006-01-02T15:04:05.000Z"

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, stamp)
	return append(b, '"')
}

// appendListed renders the user as lists show it. The bytes are kept until the user changes: a benchmark is about
// the client, not about this.
func (u *user) appendListed(b []byte, base string) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cached == nil || u.cachedAt != base {
		head := u.appendHead(make([]byte, 0, 1536))
		head = append(head, `,"_links":{"self":{"href":"`...)
		head = append(head, base...)
		head = append(head, "/api/v1/users/"...)
		head = append(head, u.id...)
		u.cached, u.cachedAt = append(head, `"}}}`...), base
	}
	return append(b, u.cached...)
}

// appendSingle renders the user as it is shown alone, with the links of its lifecycle.
func (u *user) appendSingle(b []byte, base string) []byte {
	b = u.appendHead(b)
	self := base + "/api/v1/users/" + u.id
	b = append(b, `,"_links":{"suspend":{"href":"`+self+`/lifecycle/suspend","method":"POST"}`...)
	b = append(b, `,"schema":{"href":"`+base+`/api/v1/meta/schemas/user/oscbiiyra51eDWlk50x7"}`...)
	b = append(b, `,"resetPassword":{"href":"`+self+`/lifecycle/reset_password","method":"POST"}`...)
	b = append(b, `,"expirePassword":{"href":"`+self+`/lifecycle/expire_password","method":"POST"}`...)
	b = append(b, `,"self":{"href":"`+self+`"}`...)
	b = append(b, `,"type":{"href":"`+base+`/api/v1/meta/types/user/otybiiyra51eDWlk50x7"}`...)
	return append(b, `,"deactivate":{"href":"`+self+`/lifecycle/deactivate","method":"POST"}}}`...)
}

func (u *user) appendHead(b []byte) []byte {
	b = append(b, `{"id":"`+u.id+`","status":`...)
	b = appendString(b, u.status)
	b = append(b, `,"created":`...)
	b = appendTime(b, u.created)
	b = append(b, `,"activated":`...)
	b = appendTime(b, u.activated)
	b = append(b, `,"statusChanged":`...)
	b = appendTime(b, u.statusChanged)
	b = append(b, `,"lastLogin":null,"lastUpdated":`...)
	b = appendTime(b, u.lastUpdated)
	b = append(b, `,"passwordChanged":null`...)
	if u.serial%2 == 0 { // half of the recorded users had a realm
		b = append(b, `,"realmId":"guobiiz9fiOFhQlea0x7"`...)
	}
	b = append(b, `,"type":{"id":"otybiiyra51eDWlk50x7"},"profile":`...)
	b = u.profile.append(b)
	b = append(b, `,"credentials":{"emails":[{"value":`...)
	b = appendValue(b, u.profile.get("email"))
	return append(b, `,"status":"VERIFIED","type":"PRIMARY"}],"provider":{"type":"OKTA","name":"OKTA"}}`...)
}

func (g *group) append(b []byte, base string, stats int) []byte {
	self := base + "/api/v1/groups/" + g.id
	b = append(b, `{"id":"`+g.id+`","created":`...)
	b = appendTime(b, g.created)
	b = append(b, `,"lastUpdated":`...)
	b = appendTime(b, g.lastUpdated)
	b = append(b, `,"lastMembershipUpdated":`...)
	b = appendTime(b, g.lastMembershipUpdated)
	b = append(b, `,"objectClass":["okta:user_group"],"type":"`+g.kind+`","profile":{"name":`...)
	b = appendString(b, g.name)
	b = append(b, `,"description":`...)
	b = appendString(b, g.description)
	b = append(b, `}`...)
	if stats >= 0 {
		b = append(b, `,"_embedded":{"stats":{"usersCount":`...)
		b = strconv.AppendInt(b, int64(len(g.members)), 10)
		b = append(b, `,"appsCount":`...)
		b = strconv.AppendInt(b, int64(stats), 10)
		b = append(b, `,"groupPushMappingsCount":0,"hasAdminPrivilege":false,"_links":{"stats":{"href":"`+self+`/stats"}}}}`...)
	}
	b = append(b, `,"_links":{"logo":[{"name":"medium","href":"`+base+`/assets/img/logos/groups/odyssey/okta-medium.1a5ebe44c4244fb796c235d86b47e3bb.png","type":"image/png"}`...)
	b = append(b, `,{"name":"large","href":"`+base+`/assets/img/logos/groups/odyssey/okta-large.d9cfbd8a00a4feac1aa5612ba02e99c0.png","type":"image/png"}]`...)
	return append(b, `,"users":{"href":"`+self+`/users"},"apps":{"href":"`+self+`/apps"}}}`...)
}

func (a *assignment) append(b []byte, app *app, base string, expand bool) []byte {
	u := a.user
	b = append(b, `{"id":"`+u.id+`","externalId":null,"created":`...)
	b = appendTime(b, a.at)
	b = append(b, `,"lastUpdated":`...)
	b = appendTime(b, a.at)
	b = append(b, `,"scope":"`+a.scope+`","status":"ACTIVE","statusChanged":`...)
	b = appendTime(b, a.at)
	b = append(b, `,"passwordChanged":null,"syncState":"DISABLED","credentials":{"userName":`...)
	b = appendString(b, a.name())
	b = append(b, `},"profile":{"street_address":null,"country":null,"website":null,"zoneinfo":null,"birthdate":null,"gender":null,"formatted":null,"profile":null,"locality":null,"given_name":`...)
	b = appendValue(b, u.profile.get("firstName"))
	b = append(b, `,"middle_name":null,"locale":null,"picture":null,"name":`...)
	b = appendValue(b, u.profile.get("displayName"))
	b = append(b, `,"nickname":null,"phone_number":null,"region":null,"postal_code":null,"family_name":`...)
	b = appendValue(b, u.profile.get("lastName"))
	b = append(b, `,"email":`...)
	b = appendValue(b, u.profile.get("email"))
	b = append(b, `},"_links":{"app":{"href":"`+base+`/api/v1/apps/`+app.id+`"},"user":{"href":"`+base+`/api/v1/users/`+u.id+`"}}`...)
	if expand {
		b = append(b, `,"_embedded":{"user":`...)
		b = append(u.appendListed(b, base), '}')
	}
	return append(b, '}')
}

func (a *assignment) name() string {
	if a.userName != "" {
		return a.userName
	}
	return a.user.profile.text("login")
}

func (a *app) append(b []byte, base string) []byte {
	self := base + "/api/v1/apps/" + a.id
	b = append(b, `{"id":"`+a.id+`","name":"oidc_client","label":`...)
	b = appendString(b, a.label)
	return append(b, `,"status":"ACTIVE","signOnMode":"OPENID_CONNECT","credentials":{"userNameTemplate":{"template":"${source.login}","type":"BUILT_IN"},"signing":{},"oauthClient":{"autoKeyRotation":true,"client_id":"`+a.id+`","token_endpoint_auth_method":"client_secret_basic"}},"settings":{"oauthClient":{"redirect_uris":["`+base+`/callback"],"response_types":["code"],"grant_types":["authorization_code"],"application_type":"web"}},"_links":{"users":{"href":"`+self+`/users"},"groups":{"href":"`+self+`/groups"},"self":{"href":"`+self+`"}}}`...)
}

func appendAppGroup(b []byte, g *group, a *app, base string) []byte {
	self := base + "/api/v1/apps/" + a.id
	b = append(b, `{"id":"`+g.id+`","lastUpdated":`...)
	b = appendTime(b, g.lastUpdated)
	return append(b, `,"priority":0,"profile":{},"_links":{"app":{"href":"`+self+`"},"self":{"href":"`+self+`/groups/`+g.id+`"},"group":{"href":"`+base+`/api/v1/groups/`+g.id+`"}}}`...)
}
