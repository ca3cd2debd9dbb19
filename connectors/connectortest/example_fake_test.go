package connectortest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const staffToken = "staff-T0ken-of-the-fake"

// staffDirectory is the fake: the directory in memory, answering as the real one would.
type staffDirectory struct {
	mu       sync.Mutex
	ahead    time.Duration // how far its clock was moved
	sequence int64
	made     int
	people   map[string]*person
	teams    map[string]*team
	changed  map[string]int64  // sequence of the last change by id, of what was deleted too
	left     map[string]string // states that people had before they left
}

func (d *staffDirectory) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Now().Add(d.ahead)
}

// touch notes that something changed. It needs the lock, as do all that follow.
func (d *staffDirectory) touch(id string) {
	d.sequence++
	d.changed[id] = d.sequence
}

func (d *staffDirectory) newID(kind string) string {
	d.made++
	return fmt.Sprintf("%s-%04d", kind, d.made)
}

// ServeHTTP answers a request.
func (d *staffDirectory) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Header().Set("Date", time.Now().Add(d.ahead).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Type", "application/json")
	status, answer := d.answer(r)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (d *staffDirectory) answer(r *http.Request) (status int, answer any) {
	if r.Header.Get("Authorization") != "Bearer "+staffToken {
		return http.StatusUnauthorized, failure{"bad_token", "the token is not valid"}
	}
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case kind == "people" && id == "":
		return http.StatusOK, page(d, r, d.people, d.whole)
	case kind == "people":
		for _, p := range d.people {
			if p.ID == id || strings.EqualFold(p.UserName, id) {
				return http.StatusOK, d.whole(p)
			}
		}
		return http.StatusNotFound, failure{"no_such_person", "there is no person " + id}
	case kind == "teams" && id == "":
		teams := maps.Clone(d.teams)
		if name := r.FormValue("name"); name != "" {
			maps.DeleteFunc(teams, func(_ string, t *team) bool { return !strings.EqualFold(t.Name, name) })
		}
		return http.StatusOK, page(d, r, teams, func(t *team) team { return *t })
	case kind == "teams":
		if t, ok := d.teams[id]; ok {
			return http.StatusOK, t
		}
		return http.StatusNotFound, failure{"no_such_team", "there is no team " + id}
	case kind == "changes":
		return d.changes(r)
	}
	return http.StatusNotFound, failure{"no_such_path", r.URL.Path}
}

// whole returns the person with the teams.
func (d *staffDirectory) whole(p *person) person {
	out := *p
	for _, id := range slices.Sorted(maps.Keys(d.teams)) {
		if slices.Contains(d.teams[id].Members, p.ID) {
			out.Teams = append(out.Teams, team{ID: id, Name: d.teams[id].Name})
		}
	}
	return out
}

// page answers the items after the one that the request names, in the order of ids.
func page[T any](d *staffDirectory, r *http.Request, all map[string]*T, render func(*T) T) list[T] {
	limit, err := strconv.Atoi(r.FormValue("limit"))
	if err != nil {
		limit = 100
	}
	out := list[T]{Sequence: d.sequence + 1, Total: len(all), Items: []T{}}
	last := ""
	for _, id := range slices.Sorted(maps.Keys(all)) {
		switch {
		case id <= r.FormValue("after"):
			continue
		case len(out.Items) == limit:
			out.Next = last
			return out
		}
		out.Items = append(out.Items, render(all[id]))
		last = id
	}
	return out
}

// changes answers what changed since a sequence, three objects at a time.
func (d *staffDirectory) changes(r *http.Request) (status int, answer any) {
	since, err := strconv.ParseInt(r.FormValue("since"), 10, 64)
	if err != nil || since > d.sequence+1 {
		return http.StatusGone, failure{"forgotten", "these changes are not known any more"}
	}
	ids := slices.DeleteFunc(slices.Collect(maps.Keys(d.changed)), func(id string) bool { return d.changed[id] < since })
	slices.SortFunc(ids, func(a, b string) int { return int(d.changed[a] - d.changed[b]) })
	out := changes{Sequence: d.sequence + 1}
	if len(ids) > 3 {
		out.More, out.Sequence, ids = true, d.changed[ids[3]], ids[:3]
	}
	for _, id := range ids {
		switch {
		case strings.HasPrefix(id, "team"):
			if t, ok := d.teams[id]; ok {
				out.Teams = append(out.Teams, *t)
			} else {
				out.Teams = append(out.Teams, team{ID: id, Deleted: true})
			}
		case d.people[id] != nil:
			out.People = append(out.People, d.whole(d.people[id]))
		default:
			out.People = append(out.People, person{ID: id, Deleted: true})
		}
	}
	return http.StatusOK, out
}
