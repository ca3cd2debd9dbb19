package entratest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DefaultRole is the role of an assignment to an application that defines none.
const DefaultRole = "00000000-0000-0000-0000-000000000000"

type assignment struct {
	serial    int
	principal *object
	role      string
	at        time.Time
}

// Assign assigns a user, a group or a service principal to the application of a service principal, with a role or,
// for "", with default access.
func (t *Tenant) Assign(servicePrincipalID, principalID, role string) {
	defer t.lock()()
	p, o := t.must(kindServicePrincipal, servicePrincipalID), t.any(principalID)
	if role == "" {
		role = DefaultRole
	}
	t.serial++
	p.assigned = append(p.assigned, &assignment{serial: t.serial, principal: o, role: role, at: t.Now().UTC()})
}

// Unassign takes all of a principal's assignments to an application away.
func (t *Tenant) Unassign(servicePrincipalID, principalID string) {
	defer t.lock()()
	p, o := t.must(kindServicePrincipal, servicePrincipalID), t.any(principalID)
	p.assigned = slices.DeleteFunc(p.assigned, func(a *assignment) bool { return a.principal == o })
}

// visible tells whether reads see the assignment yet.
func (t *Tenant) visible(a *assignment) bool {
	return t.present(a.principal) != nil && (t.ReplicationDelay <= 0 || t.Now().Sub(a.at) >= t.ReplicationDelay)
}

func (a *assignment) append(b []byte, resource *object) []byte {
	sum := sha256.Sum256([]byte(resource.id + a.principal.id + a.role))
	b = append(b, `{"id":"`+base64.RawURLEncoding.EncodeToString(sum[:])+`","deletedDateTime":null,"appRoleId":"`+a.role+`","createdDateTime":"`...)
	// Recorded fractions have five to seven digits.
	digits := [...]string{"2006-01-02T15:04:05.00000", "2006-01-02T15:04:05.000000", "2006-01-02T15:04:05.0000000"}[a.serial%3]
	b = append(a.at.AppendFormat(b, digits), `Z","principalDisplayName":`...)
	kind := a.principal.kind.name()
	b = appendRaw(b, a.principal, "displayname")
	b = append(b, `,"principalId":"`+a.principal.id+`","principalType":"`+strings.ToUpper(kind[:1])+kind[1:]+`","resourceDisplayName":`...)
	b = appendRaw(b, resource, "displayname")
	return append(b, `,"resourceId":"`+resource.id+`"}`...)
}

// appendRaw appends a property's JSON.
func appendRaw(b []byte, o *object, name string) []byte {
	if value, ok := o.doc.get(o.kind.schema().numbers[name]); ok {
		return append(b, value...)
	}
	return append(b, "null"...)
}

func (t *Tenant) findPrincipal(key string) *object {
	app, byApp := strings.CutPrefix(key, "appId='")
	if !byApp {
		if o := t.objects[key]; o != nil && o.kind == kindServicePrincipal && o.state == Present {
			return o
		}
		return nil
	}
	for _, o := range t.objects {
		if o.kind == kindServicePrincipal && o.state == Present && o.doc.text(principalSchema.numbers["appid"]) == strings.Trim(app, "'") {
			return o
		}
	}
	return nil
}

func (t *Tenant) getServicePrincipal(r *request) answer {
	o := t.findPrincipal(r.id)
	if o == nil {
		return notFound(r.id)
	}
	return t.single(r, o, &view{doc: o.doc}, "servicePrincipals")
}

func (t *Tenant) listServicePrincipals(r *request) answer {
	selected, context, bad := t.selection(r, principalSchema, principalSchema.defaults)
	if bad != nil {
		return *bad
	}
	match, bad := parseFilter(r, kindServicePrincipal)
	if bad != nil {
		return *bad
	}
	var list []*object
	for _, o := range t.objects {
		if o.kind == kindServicePrincipal && o.state == Present && (match == nil || match(o, &view{doc: o.doc})) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b *object) int { return a.serial - b.serial })
	return listed(r, "servicePrincipals"+context, list, serialOf, nil, func(b []byte, o *object) []byte {
		return t.appendObject(b, r, o, &view{doc: o.doc}, selected, "", false)
	})
}

func (t *Tenant) listAssignedTo(r *request) answer {
	o := t.findPrincipal(r.id)
	if o == nil {
		return notFound(r.id)
	}
	return listed(r, "appRoleAssignments", o.assigned, func(a *assignment) int { return a.serial }, t.visible,
		func(b []byte, a *assignment) []byte { return a.append(b, o) })
}

// listUserAssignments lists what is assigned to the user and to the groups that the user is a direct member of.
func (t *Tenant) listUserAssignments(r *request) answer {
	u, v := t.findUser(r.id)
	if v == nil {
		return notFound(r.id)
	}
	type mine struct {
		*assignment
		resource *object
	}
	var list []mine
	for _, p := range t.objects {
		if p.kind != kindServicePrincipal {
			continue
		}
		for _, a := range p.assigned {
			in := a.principal == u
			if a.principal.kind == kindGroup {
				_, in = slices.BinarySearchFunc(t.membersOf(a.principal), u.serial, bySerial)
			}
			if in && t.visible(a) {
				list = append(list, mine{a, p})
			}
		}
	}
	slices.SortFunc(list, func(a, b mine) int { return a.serial - b.serial })
	return listed(r, "appRoleAssignments", list, func(a mine) int { return a.serial }, nil,
		func(b []byte, a mine) []byte { return a.append(b, a.resource) })
}

// checkMemberGroups answers which of the groups the user is a direct or indirect member of.
func (t *Tenant) checkMemberGroups(r *request) answer {
	u, v := t.findUser(r.id)
	if v == nil {
		return notFound(r.id)
	}
	var ask struct {
		IDs []string `json:"groupIds"`
	}
	content, err := r.content()
	if err != nil || json.Unmarshal(content, &ask) != nil || len(ask.IDs) == 0 {
		return failure(http.StatusBadRequest, "Request_BadRequest", "Invalid value specified for property 'groupIds'.")
	}
	if len(ask.IDs) > mostInABatch {
		return failure(http.StatusBadRequest, "Directory_ResultSizeLimitExceeded", "The number of group ids exceeds the limit of 20.")
	}
	in := []string{}
	for _, id := range ask.IDs {
		g, v := t.findGroup(id)
		if v == nil {
			continue
		}
		if _, found := slices.BinarySearchFunc(t.closure(g), u.serial, bySerial); found {
			in = append(in, id)
		}
	}
	body, _ := json.Marshal(map[string]any{"@odata.context": r.root + "/$metadata#Collection(Edm.String)", "value": in})
	return answer{status: http.StatusOK, body: body}
}
