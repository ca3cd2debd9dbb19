package api_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/app/apptest"
)

func TestPeople_ByOrigin(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		for query, want := range map[string]int{"origin=local": 1, "origin=sso": len(apptest.Ranks) - 1, "origin=sso&search=VIEW": 1, "origin=local&active=false": 0} {
			if got := items(w.want(http.StatusOK, "viewer", "GET", "/users?"+query, nil)); len(got) != want {
				t.Errorf("GET /users?%s has %d people, want %d", query, len(got), want)
			}
		}
		w.want(http.StatusUnprocessableEntity, "viewer", "GET", "/users?origin=elsewhere", nil)
	})
}

// Who is searched for is counted where a page holds them: to count more, everybody would be read.
func TestPeople_CountsWhatAPageHolds(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		all := float64(len(apptest.Ranks))
		for query, want := range map[string]any{"limit=2": all, "search=acme&limit=2": nil, fmt.Sprintf("search=acme&limit=%d", len(apptest.Ranks)): all, "search=VIEW&limit=2": 1.0, "search=zz&limit=2": 0.0} {
			if got := w.want(http.StatusOK, "viewer", "GET", "/users?"+query, nil).body["total"]; got != want {
				t.Errorf("GET /users?%s: total = %v, want %v", query, got, want)
			}
		}
	})
}

// Of who came into a group with somebody, the person's history names nobody: they may be thousands.
func TestHistory_NamesNobodyElse(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		w.group("Engineering", w.users["none"].ID, w.users["viewer"].ID)
		seen := false
		for _, e := range items(w.want(http.StatusOK, "viewer", "GET", "/users/"+w.users["none"].ID+"/history", nil)) {
			if e["type"] == "membership.added" {
				seen = true
				if got := fmt.Sprint(e["members"]); got != "["+w.users["none"].ID+"]" || e["name"] != "Engineering" {
					t.Errorf("members of the event = %s of %v, want the person alone", got, e["name"])
				}
			}
		}
		if !seen {
			t.Error("the history does not tell of the membership")
		}
	})
}

func TestGroups_WhatTheyGiveAndWhereTheyAre(t *testing.T) {
	apptest.EachDatabase(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, "")
		inner := w.group("Inner")
		middle := w.group("Middle", inner.ID)
		w.group("Outer", middle.ID)
		got := w.want(http.StatusOK, "viewer", "GET", "/groups/"+inner.ID, nil)
		names := ""
		for _, g := range got.body["around"].([]any) {
			names += fmt.Sprint(g.(object)["display_name"], " ", g.(object)["indirect"], "; ")
		}
		if names != "Middle <nil>; Outer true; " {
			t.Errorf("around = %s", names)
		}
		for _, g := range items(w.want(http.StatusOK, "viewer", "GET", "/groups", nil)) {
			if got := fmt.Sprint(g["grants"]); got != fmt.Sprintf("[map[role:viewer team:%s]]", g["display_name"]) {
				t.Errorf("%v gives %s, want the default role on its own team", g["display_name"], got)
			}
		}
	})
}
