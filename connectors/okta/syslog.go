package okta

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idpsync/idpsync/connectors"
)

// Events of the system log that no list of users or groups shows, and the types of their targets.
// Source: https://developer.okta.com/docs/reference/api/event-types/
const (
	eventUserDeleted  = "user.lifecycle.delete.completed"
	eventGroupDeleted = "group.lifecycle.delete"
	eventAppUser      = "application.user_membership.add"
	eventAppUserGone  = "application.user_membership.remove"
	eventAppUserName  = "application.user_membership.change_username"
	eventAppGroup     = "group.application_assignment.add"
	eventAppGroupGone = "group.application_assignment.remove"

	targetUser  = "User"
	targetGroup = "UserGroup"
	targetApp   = "AppInstance"
)

// mostDoubtful is the number of people of whom the log may tell: to read more of them by id costs more than a full pull.
const mostDoubtful = 1000

// told is what the system log tells, by id.
type told struct {
	people      map[string]bool // deleted, or assigned to the application or not any more
	groupsGone  map[string]bool // deleted
	groupsOfApp map[string]bool // assigned to the application or not any more
}

// logEvent is what is read of an event.
type logEvent struct {
	EventType string `json:"eventType"`
	Target    []struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"target"`
}

func (e *logEvent) ids(kind string) []string {
	var ids []string
	for _, t := range e.Target {
		if t.Type == kind && validID(t.ID) {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// logFilter names the events that count.
func (c *Connector) logFilter() string {
	is := func(events ...string) string {
		for i := range events {
			events[i] = `eventType eq "` + events[i] + `"`
		}
		return strings.Join(events, " or ")
	}
	filter := is(eventUserDeleted, eventGroupDeleted)
	if c.appID != "" {
		filter += ` or (target.id eq "` + c.appID + `" and (` + is(eventAppUser, eventAppUserGone, eventAppUserName, eventAppGroup, eventAppGroupGone) + `))`
	}
	return filter
}

// readLog reads the system log from the given time on. Without an end the log is a feed: every page has a next link, an
// empty one too, and the first page that is not full is the last for now.
func (p *pull) readLog(ctx context.Context, since time.Time) (told, error) {
	t := told{people: map[string]bool{}, groupsGone: map[string]bool{}, groupsOfApp: map[string]bool{}}
	query := url.Values{"since": {since.UTC().Format(stamp)}, "filter": {p.logFilter()}, "limit": {strconv.Itoa(p.pages.Events)}, "sortOrder": {"ASCENDING"}}
	l := listing{endpoint: endpointLogs, path: "/api/v1/logs?" + query.Encode(), size: p.pages.Events}
	trail := connectors.NewTrail(p.base, l.path)
	for path := l.path; ; {
		// The last page's next link may lead to the page itself: only those that are followed must not.
		page, err := p.fetch(ctx, l, connectors.NewTrail(p.base, ""), path)
		if err != nil {
			return t, err
		}
		items, err := p.tell(&t, page)
		page.Release()
		switch {
		case err != nil:
			return t, err
		case page.next == "":
			return t, p.refuse(l.endpoint, page.Answer, errors.New("the system log has no next link, which it always has"))
		case len(t.people) > mostDoubtful:
			return t, fmt.Errorf("%w: the system log tells of more than %d people", connectors.ErrResync, mostDoubtful)
		case items == 0 || items < page.PageSize:
			return t, nil
		}
		if path, err = trail.Next(page.next); err != nil {
			return t, p.refuse(l.endpoint, page.Answer, err)
		}
	}
}

// tell takes in one page of the log. The targets count, not what the event is called: whoever is named is read by id.
func (p *pull) tell(t *told, page page) (items int, err error) {
	events, err := decode[[]logEvent](page.Body)
	if err != nil {
		return 0, p.refuse(endpointLogs, page.Answer, err)
	}
	for i := range events {
		e := &events[i]
		if e.EventType == "" {
			return 0, p.refuse(endpointLogs, page.Answer, errors.New("an event has no eventType"))
		}
		into, kind := t.people, targetUser
		switch e.EventType {
		case eventUserDeleted:
		case eventGroupDeleted:
			into, kind = t.groupsGone, targetGroup
		case eventAppUser, eventAppUserGone, eventAppUserName:
			if !slices.Contains(e.ids(targetApp), p.appID) {
				continue
			}
		case eventAppGroup, eventAppGroupGone:
			if !slices.Contains(e.ids(targetApp), p.appID) {
				continue
			}
			into, kind = t.groupsOfApp, targetGroup
		default:
			continue
		}
		for _, id := range e.ids(kind) {
			into[id] = true
		}
	}
	return len(events), nil
}
