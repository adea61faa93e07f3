package api_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

func TestAuthorize(t *testing.T) {
	secure := func(c *call) { c.TLS = &tls.ConnectionState{} }
	at := func(host string) option { return func(c *call) { c.Host = host } }
	for _, c := range []struct {
		name     string
		options  api.Options
		body     string
		how      []option
		redirect string // empty: refused
	}{
		{"told", api.Options{}, `{"redirectUri":"https://app.example/back"}`, nil, "https://app.example/back"},
		{"told, on this machine", api.Options{}, `{"redirectUri":"http://127.0.0.1:8400/back"}`, nil, "http://127.0.0.1:8400/back"},
		{"told, on this machine by name", api.Options{}, `{"redirectUri":"http://localhost/back"}`, nil, "http://localhost/back"},
		{"not known", api.Options{}, ``, nil, ""},
		{"not known, with an object", api.Options{}, `{}`, nil, ""},
		{"configured", api.Options{BaseURL: "https://gateway.example/rr"}, ``, []option{at("evil.example")}, "https://gateway.example/rr/oauth2/callback"},
		{"from the request", api.Options{TrustHost: true}, ``, []option{at("gateway.example:2019")}, "http://gateway.example:2019/rr/oauth2/callback"},
		{"from a request over TLS", api.Options{TrustHost: true}, `{}`, []option{at("gateway.example"), secure}, "https://gateway.example/rr/oauth2/callback"},
		{"a strange host", api.Options{TrustHost: true}, ``, []option{at("evil.example/path?")}, ""},
		{"no host", api.Options{TrustHost: true}, ``, []option{at("")}, ""},
		{"plain http", api.Options{}, `{"redirectUri":"http://app.example/back"}`, nil, ""},
		{"another scheme", api.Options{}, `{"redirectUri":"javascript:alert(1)"}`, nil, ""},
		{"no host in it", api.Options{}, `{"redirectUri":"https:///back"}`, nil, ""},
		{"a user in it", api.Options{}, `{"redirectUri":"https://a:b@app.example/back"}`, nil, ""},
		{"a fragment in it", api.Options{}, `{"redirectUri":"https://app.example/back#x"}`, nil, ""},
		{"no text", api.Options{}, `{"redirectUri":7}`, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, func(o *api.Options) { o.BaseURL, o.TrustHost = c.options.BaseURL, c.options.TrustHost })
			id, _ := k.make("acme", "credentials", fmt.Sprintf(vendorBody, "v"))
			a := k.call("POST", "/clients/acme/credentials/"+id+"/oauth2/authorize", c.body, c.how...)
			if c.redirect == "" {
				if places := a.problem(http.StatusUnprocessableEntity, "invalid"); !slices.Equal(places, []string{"/redirectUri"}) {
					t.Error(places)
				}
				return
			}
			a.want(http.StatusOK)
			if a.text("redirectUri") != c.redirect || !strings.HasPrefix(a.text("authorizationUrl"), "https://login.example/authorize?") {
				t.Errorf("%s", a.body)
			}
		})
	}
	k := newKit(t)
	k.call("POST", "/clients/acme/credentials/none/oauth2/authorize", `{"redirectUri":"https://app.example"}`).problem(http.StatusNotFound, "not-found")
	k.call("POST", "/clients/acme/credentials/none/oauth2/authorize", `{"other":1}`).want(http.StatusNotFound)
}

// TestCallback: it needs no principal, and answers with a page that has nothing of the
// address.
func TestCallback(t *testing.T) {
	const query = "?code=CANARY-code&state=CANARY-state&session_state=x&session_state=y&error_description=%3Cscript%3E"
	for _, c := range []struct {
		name   string
		err    error
		status int
		logged bool
	}{
		{"received", nil, 200, false},
		{"nobody was asked", fmt.Errorf("%w", store.ErrNotFound), 400, false},
		{"declared", &catalog.Conflict{Detail: "CANARY"}, 400, false},
		{"of another kind", &catalog.Invalid{Field: "spec", Detail: "CANARY"}, 400, false},
		{"the provider refuses", errors.New("the token endpoint answered 400: invalid_grant"), 502, true},
		{"no store", store.ErrUnavailable, 503, false},
		{"no room", store.ErrFull, 507, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t)
			k.fake.endErr = c.err
			a := k.call("GET", "/oauth2/callback"+query, "", nobody(), header("Sec-Fetch-Site", "cross-site"), header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")).want(c.status)
			if strings.Contains(string(a.body), "CANARY") || strings.Contains(string(a.body), "script") {
				t.Errorf("%s", a.body)
			}
			for name, want := range map[string]string{
				"Content-Type": "text/html; charset=utf-8", "Referrer-Policy": "no-referrer",
				"Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
			if got := k.fake.ended[0]; got.Get("state") != "CANARY-state" || got.Get("code") != "CANARY-code" {
				t.Error(got)
			}
			if logged := k.log.String(); (logged != "") != c.logged || strings.Contains(logged, "CANARY") {
				t.Error(logged)
			}
		})
	}
}
