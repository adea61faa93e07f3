package test

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// early is an inline pair before a plain reverse_proxy.
const early = `http://:GATEPORT {
	handle /forgotten {
		rr_inject {
			present bearer {env.RR_VENDOR}
		}
		reverse_proxy UPSTREAM
	}
	handle /open {
		rr_inject {
			present bearer {env.RR_VENDOR}
			unverified
		}
		reverse_proxy UPSTREAM
	}
	handle /openkey {
		rr_inject {
			present key {env.RR_VENDOR}
			unverified
		}
		reverse_proxy UPSTREAM
	}
	handle /deferred {
		rr_verify {
			accept key {env.RR_CALLER}
		}
		rr_inject {
			present bearer {env.RR_VENDOR}
			deferred
		}
		reverse_proxy UPSTREAM {
			transport rr
		}
	}
	handle /mismatch {
		rr_verify {
			accept key {env.RR_CALLER}
		}
		rr_inject {
			present bearer {env.RR_VENDOR}
		}
		reverse_proxy UPSTREAM {
			transport rr
		}
	}
	handle {
	rr_verify {
		accept key {env.RR_CALLER}
		allow GET,POST /reports/* /stream
	}
	rr_inject {
		present custom {
			header X-Api-Token {env.RR_VENDOR}
			query token {env.RR_VENDOR}
			cookie session {env.RR_VENDOR}
		}
		deny /reports/secret
	}
	reverse_proxy UPSTREAM
	}
}
`

func TestInlineHandlersBeforeAPlainReverseProxy(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, early, "UPSTREAM", u.Addr)
	a, status := raw(t, g.addr, "GET /reports/a?x=1&token=evil&b HTTP/1.1\r\nHost: x\r\nX-API-Key: "+callerKey+
		"\r\nX-Api-Token: evil\r\nCookie: a=1; session=evil\r\nConnection: close, X-Api-Token, Cookie\r\n\r\n")
	if status != 200 || !strings.Contains(a, "Rr-Proxy-Code: proxy-access-granted") {
		t.Fatalf("got %s", a)
	}
	got := one(t, u)
	if got.URI != "/reports/a?x=1&b&token="+vendorKey || got.Header.Get("X-Api-Token") != vendorKey {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
	// Connection named the caller's cookies, which are gone; ours is there
	if c := got.Header["Cookie"]; len(c) != 1 || c[0] != "session="+vendorKey {
		t.Errorf("cookies: %q", c)
	}
	if got.Contains(callerKey) || got.Contains("evil") {
		t.Errorf("the upstream got what the caller sent: %+v", got)
	}
	g.get("/reports/secret", withKey).want(t, 403, "proxy-access-denied")
	g.get("/other", withKey).want(t, 403, "proxy-access-denied")
	g.get("/reports/a").want(t, 401, "proxy-access-denied")
}

// Whoever could reach the proxy that injects the key could use it; nothing before it asked who calls.
// Sources: github/gh-aw-firewall#1454
// Here: `rr_inject` without a verified caller is 403 `not-verified`, unless the route says `unverified`.
// Topic: strict
func TestPeer_gh_aw_firewall_1454_InjectingNeedsAGrant(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, early, "UPSTREAM", u.Addr)
	g.get("/forgotten", withKey).want(t, 403, "not-verified")
	e := g.refusal(func(e map[string]any) bool { return e["code"] == "not-verified" })
	if e["level"] != "error" || !strings.Contains(fmt.Sprint(e["reason"]), "no rr_verify") {
		t.Errorf("the log has %v", e)
	}
	if n := len(received(u)); n > 0 {
		t.Fatalf("the upstream was called %d times", n)
	}
	g.get("/open", "Authorization: Bearer evil").want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("unverified: %v", got.Header)
	}
	g.get("/openkey", "Authorization: Bearer evil").want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("X-Api-Key") != vendorKey || got.Contains("evil") {
		t.Errorf("unverified: %v", got.Header)
	}
	g.get("/deferred", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Contains(callerKey) {
		t.Errorf("deferred: %v", got.Header)
	}
	// an rr_inject that is not deferred before the transport rr, which waits for one
	if a := g.get("/mismatch", withKey); a.Status < 400 || len(received(u)) > 0 {
		t.Errorf("got %d", a.Status)
	}
}

func TestInlineStreamsEndWithTheCallersAccess(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	events := rrtest.NewEvents()
	u.Handle("/stream", events)
	g := start(t, early, "UPSTREAM", u.Addr)
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/stream", "", withKey))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events.Send(t, "one")
	if lines := bufio.NewScanner(res.Body); !lines.Scan() {
		t.Fatal("no event came")
	}
	t.Setenv("RR_CALLER", otherKey)
	if err := g.reload(early); err != nil {
		t.Fatal(err)
	}
	events.WaitGone(t)
}

// TestInjectors sends each kind once.
func TestInjectors(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	const site = `{
	rr {
		proxy p {
			accept key {env.RR_CALLER}
			target http://UPSTREAM/b%C3%A4se
			present PRESENT
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`
	g := start(t, site, "UPSTREAM", u.Addr, "PRESENT", "none")
	for _, tt := range []struct{ name, present, uri, header, value string }{
		{"none", "none", "/b%C3%A4se/v1?a=%20", "Authorization", ""},
		{"key", "key {env.RR_VENDOR}", "/b%C3%A4se/v1?a=%20", "X-Api-Key", vendorKey},
		{"key in a header", "key {env.RR_VENDOR} {\nheader X-Token Token\n}", "/b%C3%A4se/v1?a=%20", "X-Token", "Token " + vendorKey},
		{"key with a prefix without space", "key {env.RR_VENDOR} {\nheader Authorization \"Token token=\"\n}", "/b%C3%A4se/v1?a=%20", "Authorization", "Token token=" + vendorKey},
		{"key in the query", "key {env.RR_VENDOR} {\nquery api_key\n}", "/b%C3%A4se/v1?a=%20&api_key=" + vendorKey, "X-Api-Key", ""},
		{"bearer", "bearer {env.RR_VENDOR}", "/b%C3%A4se/v1?a=%20", "Authorization", "Bearer " + vendorKey},
		{"bearer with a scheme", "bearer {env.RR_VENDOR} {\nprefix Token\n}", "/b%C3%A4se/v1?a=%20", "Authorization", "Token " + vendorKey},
		{"basic", "basic svc {env.RR_PASSWORD}", "/b%C3%A4se/v1?a=%20", "Authorization", "Basic c3ZjOnDDpHNzOndvcmQ="},
		{"jwt", "jwt {env.RR_VENDOR}", "/b%C3%A4se/v1?a=%20", "Authorization", "Bearer " + vendorKey},
		{"custom cookie", "custom {\ncookie s {env.RR_VENDOR}\n}", "/b%C3%A4se/v1?a=%20", "Cookie", "s=" + vendorKey},
		{"custom template", "custom {\nheader X-A \"id={env.RR_VENDOR};v=1\"\n}", "/b%C3%A4se/v1?a=%20", "X-A", "id=" + vendorKey + ";v=1"},
		{"custom path", "custom {\npath bot{env.RR_PATH}\n}", "/b%C3%A4se/bot1:a%2Fb/v1?a=%20", "Authorization", ""},
		{"a value that looks like a placeholder", "bearer {env.RR_LOOKS}", "/b%C3%A4se/v1?a=%20", "Authorization", "Bearer {env.HOME}{http.request.host}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("RR_PASSWORD", "päss:word")
			t.Setenv("RR_PATH", "1:a/b")
			t.Setenv("RR_LOOKS", "{env.HOME}{http.request.host}")
			g.vars[3] = tt.present
			if err := g.reload(site); err != nil {
				t.Fatal(err)
			}
			g.get("/v1?a=%20", withKey).want(t, 200, "proxy-access-granted")
			got := one(t, u)
			if got.URI != tt.uri || got.Header.Get(tt.header) != tt.value || got.Contains(callerKey) {
				t.Errorf("the upstream got %s with %v", got.URI, got.Header)
			}
		})
	}
}

func TestInlineHandlersAreCountedWithoutAnApp(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, early, "UPSTREAM", u.Addr)
	g.get("/reports/x", withKey).want(t, 200, "proxy-access-granted")
	g.get("/other").want(t, 401, "proxy-access-denied")
	body := g.Metrics()
	for _, series := range []string{`caddy_rr_requests_total{outcome="proxy-access-granted",proxy="_inline"}`, `caddy_rr_requests_total{outcome="proxy-access-denied",proxy="_inline"}`} {
		if !strings.Contains(body, series) {
			t.Errorf("no %s in\n%s", series, body)
		}
	}
}
