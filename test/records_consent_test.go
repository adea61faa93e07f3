package test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

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
