package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/idpsync/idpsync/cmd/internal/api"
	"github.com/idpsync/idpsync/cmd/internal/api/apitest"
	"github.com/idpsync/idpsync/cmd/internal/api/client"
	"github.com/idpsync/idpsync/store/storetest"
)

// both runs a test with a client over the network and one inside the process.
func both(t *testing.T, f func(t *testing.T, c *client.Client)) {
	t.Helper()
	t.Parallel()
	a, key := apitest.New(t, storetest.SQLite(t))
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	header := http.Header{"Authorization": {"Bearer " + key}}
	t.Run("network", func(t *testing.T) { f(t, client.New(server.URL+"/", server.Client(), header)) })
	t.Run("inside", func(t *testing.T) { f(t, client.New("http://inside", client.Inside{Handler: a}, header)) })
}

func TestDo(t *testing.T) {
	both(t, func(t *testing.T, c *client.Client) {
		me, err := client.Get[api.Me](t.Context(), c, "/me", nil)
		if err != nil || me.UserName != "admin@acme.test" {
			t.Fatalf("Get(/me) = %+v, %v, want the admin", me, err)
		}
		team, err := client.Do[api.Team](t.Context(), c, http.MethodPost, "/teams", nil, map[string]string{"name": "Team of " + t.Name()})
		if err != nil || team.ID == "" {
			t.Fatalf("Do(POST /teams) = %+v, %v, want a team", team, err)
		}
		if _, err := client.Do[struct{}](t.Context(), c, http.MethodDelete, "/teams/"+team.ID, nil, nil); err != nil {
			t.Errorf("Do(DELETE /teams/id) = %v, want nothing", err)
		}
		_, err = client.Get[api.Team](t.Context(), c, "/teams/"+team.ID, nil)
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != http.StatusNotFound || p.Detail == "" {
			t.Errorf("Get of what is gone = %v, want a problem with 404", err)
		}
	})
}

func TestAll_GoesThroughEveryPage(t *testing.T) {
	both(t, func(t *testing.T, c *client.Client) {
		want := 7
		for range want {
			body := map[string]any{"user": "admin@acme.test", "name": "one more"}
			if _, err := client.Do[api.NewKey](t.Context(), c, http.MethodPost, "/keys", nil, body); err != nil {
				t.Fatal(err)
			}
		}
		got := 0
		err := client.All(t.Context(), c, "/keys", url.Values{"limit": {"3"}}, func(k api.Key) bool {
			if k.Name == "one more" {
				got++
			}
			return true
		})
		if err != nil || got%want != 0 || got == 0 {
			t.Errorf("All(/keys) gave %d, %v, want %d", got, err, want)
		}
	})
}

func TestNotTheAPI(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.RedirectHandler("https://elsewhere.example/", http.StatusFound))
	t.Cleanup(server.Close)
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, err := client.Get[api.Me](t.Context(), client.New(server.URL, stay, nil), "/me", nil)
	var other *client.NotAPIError
	if !errors.As(err, &other) || other.Status != http.StatusFound || other.Location != "https://elsewhere.example/" {
		t.Errorf("Get = %v, want what answered instead", err)
	}
}
