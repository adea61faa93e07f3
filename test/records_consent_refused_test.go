package test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store"
)

// TestConsentsThatDoNotCount: whatever the browser brings that it should not, and whatever
// the provider does, nobody has consented; and then somebody can.
func TestConsentsThatDoNotCount(t *testing.T) {
	c := newConsenter(t)
	set := func(name, value string) func(*url.URL) {
		return func(u *url.URL) {
			query := u.Query()
			if query.Set(name, value); value == "" {
				query.Del(name)
			}
			u.RawQuery = query.Encode()
		}
	}
	for _, tt := range []struct {
		name    string
		change  func(*url.URL)
		logged  string
		prepare func()
	}{
		{"denied", func(u *url.URL) {
			set("code", "")(u)
			set("error", "access_denied")(u)
			set("error_description", "<script>alert(1)</script>")(u)
		}, "there is no consent: access_denied", nil},
		{"denied with a code", set("error", "access_denied"), "there is no consent: access_denied", nil},
		{"another issuer", set("iss", "https://evil.example"), "another issuer", nil},
		{"no issuer", set("iss", ""), "another issuer", nil},
		{"no code", set("code", ""), "no code", nil},
		{"another code", set("code", "code-of-somebody-else"), "invalid_grant", nil},
		{"a code twice", func(u *url.URL) { u.RawQuery += "&code=other" }, "code twice", nil},
		{"the provider fails", nil, "500", func() { c.s.Status(500) }},
		{"the provider refuses", nil, "invalid_client", func() {
			c.s.Fault(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			})
		}},
		{"the provider says something else", nil, "drive", func() { c.s.Raw("text/html", "<h1>hello</h1>") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer func(outer *testing.T) { c.t = outer }(c.t)
			c.t = t
			c.log.reset()
			if tt.prepare != nil {
				tt.prepare()
			}
			var right string
			a := c.browse(c.authorize(c.callback()).String(), func(u *url.URL) {
				if right = u.String(); tt.change != nil {
					tt.change(u)
				}
			})
			c.page(a, 502, "Consent not received")
			c.s.Fault(nil)
			rrtest.Eventually(t, "the log says why: "+tt.logged, func() bool { // it may come after the answer
				return strings.Contains(c.log.String(), "a consent could not be ended") && strings.Contains(c.log.String(), tt.logged)
			})
			c.page(c.browse(right, nil), 400, "Consent not received") // what went wrong is over
			c.temporary(true)
			c.callsNot()
		})
	}
	// whoever does not know the state changes nothing
	var right string
	for _, change := range []func(*url.URL){set("state", strings.Repeat("A", 43)), set("state", "x"), set("state", ""), func(u *url.URL) { u.RawQuery = "" }} {
		a := c.browse(c.authorize(c.callback()).String(), func(u *url.URL) {
			right = u.String()
			change(u)
		})
		if a.Status != 400 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		c.temporary(true)
	}
	// of many browsers with the same address one is let in
	var wg sync.WaitGroup
	var statuses [8]int
	for i := range statuses {
		wg.Go(func() {
			if a, err := c.send("GET", right, ""); err == nil {
				statuses[i] = a.Status
			}
		})
	}
	wg.Wait()
	if slices.Sort(statuses[:]); statuses[0] != 200 || statuses[1] != 400 || statuses[7] != 400 {
		t.Errorf("the browsers get %v", statuses)
	}
	c.temporary(false)
	c.calls()
	c.stop()
}

// TestConsentsTakeTheirTime: what lies between the question and the answer.
func TestConsentsTakeTheirTime(t *testing.T) {
	c := newConsenter(t)
	hold := func() *url.URL { // somebody has consented, and the browser is not back yet
		t.Helper()
		res, err := rrtest.HTTP1(t, nil).Get(c.authorize(c.callback()).String())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		back, err := res.Location()
		if err != nil {
			t.Fatal(err)
		}
		return back
	}
	// the gateway is started again meanwhile
	back := hold()
	c.kill()
	c.start()
	back.Host = strings.TrimPrefix(c.gate, "http://")
	c.page(c.browse(back.String(), nil), 200, "Consent received")
	c.temporary(false)
	c.calls()

	// ten minutes go by
	back = hold()
	c.stop()
	n := c.edit(store.Consents, func(record map[string]any) {
		long := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
		record["expires_at"] = long
		record["pending"].(map[string]any)["expires"] = long
	})
	if n != 1 {
		t.Fatalf("%d consents are awaited", n)
	}
	c.start()
	back.Host = strings.TrimPrefix(c.gate, "http://")
	asked := c.s.Count()
	c.page(c.browse(back.String(), nil), 400, "Consent not received")
	if c.s.Count() != asked {
		t.Errorf("the provider was asked %d times", c.s.Count()-asked)
	}
	c.calls() // on what there was before

	// the credential is made for another client meanwhile, or deleted
	back = hold()
	asked = c.s.Count()
	c.ask("DELETE", "credentials/drive?force=true", "", 200)
	c.page(c.browse(back.String(), nil), 400, "Consent not received")
	if c.s.Count() != asked {
		t.Error("the code of a deleted credential is redeemed")
	}
	c.stop()
}

// TestConsentIsForBrowsersOfASite: Caddy's admin endpoint refuses whatever a browser sends
// from elsewhere, also the way back from the provider. What asks for it without a browser,
// such as a command that has listened itself, gets through.
func TestConsentIsForBrowsersOfASite(t *testing.T) {
	c := newConsenter(t)
	var back string
	if a := c.browse(c.authorize(c.admin+"/rr/oauth2/callback").String(), func(u *url.URL) { back = u.String() }); a.Status != http.StatusForbidden {
		t.Errorf("a browser gets %d %s", a.Status, a.Body)
	}
	c.temporary(true)
	if a, err := c.send("GET", back, ""); err != nil || a.Status != 200 {
		t.Errorf("%d %s %v", a.Status, a.Body, err)
	}
	c.temporary(false)
	c.calls()
	for _, tt := range [][2]string{
		{"credentials/vendor-key", ""}, {"credentials/agent", ""}, {"credentials/drive", `{"redirectUri":"javascript:alert(1)"}`},
		{"credentials/drive", `{"redirectUri":"http://gateway.example/back"}`}, {"credentials/drive", `{"redirectUri":"https://u:p@gateway.example/back"}`},
	} {
		c.ask("POST", tt[0]+"/oauth2/authorize", tt[1], 422)
	}
	c.ask("POST", "credentials/nobody/oauth2/authorize", "", 404)
	c.stop()
}

// TestConsentAtAProvider is the consent at the certified provider, whose refresh tokens are
// good for once, too.
func TestConsentAtAProvider(t *testing.T) {
	e := startProvider(t)
	c := &consenter{prepareDaemon(t, "store bolt"), newTokens(t), rrtest.NewUpstream(t), ""}
	c.start()
	c.begin(e.Issuer, "browser", idp.ExternalSecret("browser"))
	c.callsNot()
	query := login(t, c.authorize("https://gateway.example/back").String())
	c.page(c.browse(c.callback()+"?"+query.Encode(), nil), 200, "Consent received")
	c.temporary(false)
	tokens := map[string]bool{}
	for range 3 {
		c.u.Reset()
		a, err := c.through("p", "/x", c.key)
		if err != nil || a.Status != 200 {
			t.Fatalf("the proxy answers %d %s %v", a.Status, a.Body, err)
		}
		got := one(t, c.u).Header.Get("Authorization")
		if !isActive(t, e, got) {
			t.Errorf("the upstream got a token that is not active")
		}
		tokens[got] = true
		c.kill()
		c.start()
	}
	if len(tokens) != 3 {
		t.Errorf("%d tokens in three lives", len(tokens))
	}
	c.stop()
}
