package rr_test

import (
	"encoding/json"
	"errors"
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
	"github.com/caddy-rr/caddy-rr/store/bolt"
)

// consenter is a gateway with an oauth2 credential that somebody has to consent to, drive,
// which the usual proxy p presents.
type consenter struct {
	*daemon
	s   *idp.Tokens
	u   *rrtest.Upstream
	key string // of the proxy's caller
}

func newConsenter(t *testing.T) *consenter {
	t.Helper()
	s := newTokens(t)
	s.Rotate()
	c := &consenter{prepareDaemon(t, "store bolt"), s, rrtest.NewUpstream(t), ""}
	c.start()
	c.begin(s.Issuer, "rr", oauth2Secret)
	return c
}

// begin makes the credential and the proxy.
func (c *consenter) begin(issuer, client, secret string) {
	c.t.Helper()
	c.key = c.usual(c.u)
	made := c.made("credentials", asJSON(map[string]any{
		"credentialType": "target", "credentialAuthType": "oauth2", "credentialName": "drive",
		"credentialSecret": map[string]any{
			"grant": "authorization_code", "issuer": issuer, "clientId": client, "clientSecret": secret,
			"scopes": []string{"read", "offline_access"}, "params": map[string]string{"prompt": "consent"},
		},
	}))
	if made["credentialTemporary"] != true {
		c.t.Errorf("nobody has consented, and it is not temporary: %v", made)
	}
	c.ask("PUT", "proxies/p", `{"proxyTargetCredentialId":"drive"}`, 200)
}

// callback is where browsers come back to: Caddy's admin endpoint does not let them in.
func (c *consenter) callback() string { return c.gate + "/manage/oauth2/callback" }

// authorize returns the address that a browser is sent to.
func (c *consenter) authorize(redirect string) *url.URL {
	c.t.Helper()
	var asked struct{ AuthorizationURL, RedirectURI string }
	a := c.ask("POST", "credentials/drive/oauth2/authorize", asJSON(map[string]any{"redirectUri": redirect}), 200)
	err := json.Unmarshal([]byte(a.Body), &asked)
	where, parseErr := url.Parse(asked.AuthorizationURL)
	if err = errors.Join(err, parseErr); err != nil {
		c.t.Fatal(err)
	}
	query := where.Query()
	if query.Get("response_type") != "code" || query.Get("code_challenge_method") != "S256" || len(query.Get("code_challenge")) != 43 ||
		len(query.Get("state")) < 40 || query.Get("scope") != "read offline_access" || query.Get("redirect_uri") != redirect || asked.RedirectURI != redirect ||
		strings.Contains(a.Body, "ecret") {
		c.t.Errorf("authorize answers %s", a.Body)
	}
	return where
}

// consent has somebody consent, and returns the address that the browser came back to.
func (c *consenter) consent() (back string) {
	c.t.Helper()
	a := c.browse(c.authorize(c.callback()).String(), func(u *url.URL) { back = u.String() })
	c.page(a, 200, "Consent received")
	return back
}

// browse opens an address as a browser does that comes from elsewhere, and returns the page
// at which it arrives. With a change it goes to what that makes of the way back.
func (c *consenter) browse(where string, change func(back *url.URL)) rrtest.Answer {
	c.t.Helper()
	client := &http.Client{Timeout: daemonPatience, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if change != nil && strings.HasSuffix(req.URL.Path, "/oauth2/callback") {
			change(req.URL)
		}
		return nil
	}}
	req := rrtest.Request(c.t, "GET", where, "", "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Upgrade-Insecure-Requests: 1", "Referer: https://provider.example/")
	return rrtest.Send(c.t, client, req)
}

// page checks a page that a browser has arrived at.
func (c *consenter) page(a rrtest.Answer, status int, words string) {
	c.t.Helper()
	if a.Status != status || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(a.Body, words) ||
		a.Header.Get("Content-Security-Policy") == "" || a.Header.Get("Cache-Control") != "no-store" {
		c.t.Errorf("the browser gets %d %v %s; want %d %q", a.Status, a.Header, a.Body, status, words)
	}
	for _, secret := range []string{"code-", "at-", "rt-", "<script", "access_denied"} {
		if strings.Contains(a.Body, secret) {
			c.t.Errorf("the page shows what the address has: %s", a.Body)
		}
	}
}

// temporary checks whether somebody has to consent.
func (c *consenter) temporary(want bool) {
	c.t.Helper()
	one := c.ask("GET", "credentials/drive", "", 200)
	all := c.ask("GET", "credentials?includeTemporary=true", "", 200)
	listed := c.ask("GET", "credentials", "", 200)
	if strings.Contains(one.Body, `"credentialTemporary":true`) != want || !strings.Contains(all.Body, `"drive"`) || strings.Contains(listed.Body, `"drive"`) == want {
		c.t.Errorf("temporary has to be %v: %s; the list has %s; with includeTemporary %s", want, one.Body, listed.Body, all.Body)
	}
}

// calls checks that calls have a token that is good.
func (c *consenter) calls() {
	c.t.Helper()
	c.u.Reset()
	a, err := c.through("p", "/x", c.key)
	if err != nil || a.Status != http.StatusOK {
		c.t.Errorf("the proxy answers %d %s %v", a.Status, a.Body, err)
		return
	}
	if got := one(c.t, c.u).Header.Get("Authorization"); !c.s.Good(got) {
		c.t.Errorf("the upstream got %q", got)
	}
}

// callsNot checks that calls are answered with 502, and do not reach the upstream.
func (c *consenter) callsNot() {
	c.t.Helper()
	c.u.Reset()
	a, err := c.through("p", "/x", c.key)
	if err != nil || a.Status != http.StatusBadGateway || a.Header.Get("RR-Proxy-Code") != "target-credential-failed" || len(received(c.u)) != 0 {
		c.t.Errorf("the proxy answers %d %v %s %v", a.Status, a.Header, a.Body, err)
	}
}

func TestConsent(t *testing.T) {
	c := newConsenter(t)
	c.temporary(true)
	c.callsNot()
	c.authorize(c.callback())
	c.callsNot()
	back := c.consent()
	c.temporary(false)
	c.calls()
	c.page(c.browse(back, nil), 400, "Consent not received") // it is good for once
	c.calls()
	if a := c.ask("GET", "/rr/audit", "", 200); !strings.Contains(a.Body, `"action":"consent"`) {
		t.Errorf("the audit log has no consent: %s", a.Body)
	}
	logged := c.log.String()

	// each start needs the refresh token of the one before
	for i := range 3 {
		asked := c.s.Count()
		if i == 1 {
			c.stop()
		} else {
			c.kill()
		}
		c.start()
		c.calls()
		if c.s.Count() == asked || c.s.Last().Get("grant_type") != "refresh_token" || c.s.Reused() != 0 {
			t.Errorf("start %d: %d requests for tokens, the last one %v; %d refresh tokens came twice", i, c.s.Count()-asked, c.s.Last(), c.s.Reused())
		}
		c.temporary(false)
		logged += c.log.String()
	}
	// a new consent takes the place of the old one, also in the memory of who runs
	before := c.s.Last().Get("refresh_token")
	c.consent()
	c.calls()
	c.kill()
	c.start()
	c.calls()
	if now := c.s.Last().Get("refresh_token"); c.s.Reused() != 0 || c.s.Current(before) == c.s.Current(now) {
		t.Error("the refresh token is not that of the new consent")
	}
	// for something else somebody has to consent anew
	c.ask("PUT", "credentials/drive", `{"credentialSecret":{"scopes":["read","write","offline_access"]}}`, 200)
	c.callsNot()
	for _, secret := range []string{"at-", "rt-", oauth2Secret} {
		if strings.Contains(logged+c.log.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	c.ask("DELETE", "credentials/drive?force=true", "", 200)
	c.stop()
	if n := c.edit(store.Grants, nil); n != 0 {
		t.Errorf("%d grants of a deleted credential are kept", n)
	}
}

// edit has change edit all records of a bucket while the process does not run; it returns
// how many there are.
func (c *consenter) edit(bucket string, change func(map[string]any)) (n int) {
	c.t.Helper()
	backend, err := (&bolt.Bolt{Path: c.dbFile()}).Open(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := store.Open(c.t.Context(), store.Options{Backend: backend, KeyFile: c.keyFile()})
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	var puts []store.Put
	for sealed, err := range s.List(c.t.Context(), bucket, "") {
		if err != nil {
			c.t.Fatal(err)
		}
		n++
		var record map[string]any
		if err := sealed.Open(&record); err != nil {
			c.t.Fatal(err)
		}
		if change != nil {
			change(record)
			puts = append(puts, store.Put{Bucket: bucket, Key: sealed.Key, Expect: sealed.Version, Version: sealed.Version + 1, Value: record})
		}
	}
	if _, err := s.Apply(c.t.Context(), puts...); len(puts) > 0 && err != nil {
		c.t.Fatal(err)
	}
	return n
}

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
			if !strings.Contains(c.log.String(), "a consent could not be ended") || !strings.Contains(c.log.String(), tt.logged) {
				t.Errorf("the log has no %q:\n%s", tt.logged, c.log.String())
			}
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
