package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

func TestOwnResponseHeaderPrefix(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, strings.Replace(oneProxy, "rr {", "rr {\n\t\tresponse_headers requestrocket-proxy", 1), "UPSTREAM", u.Addr)
	for _, tt := range []struct{ header, code, message string }{
		{withKey, "proxy-access-granted", "Access granted"}, {"X: 1", "proxy-access-denied", "Access denied"},
	} {
		a := g.get("/v1/x", tt.header)
		if a.Header.Get("requestrocket-proxy-code") != tt.code || a.Header.Get("requestrocket-proxy-message") != tt.message || a.code() != "" {
			t.Errorf("headers: %v", a.Header)
		}
	}
}

// TestErrorsPass: refusals go to Caddy's error routes, with rr's headers.
func TestErrorsPass(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.Replace(oneProxy, "rr_proxy p", "rr_proxy p\n\thandle_errors {\n\t\trespond \"own page {err.status_code} {err.message}\" {err.status_code}\n\t}", 1)
	g := start(t, strings.Replace(site, "rr {", "rr {\n\t\terrors pass", 1), "UPSTREAM", u.Addr)
	for _, tt := range []struct {
		path, header string
		status       int
		code         string
	}{
		{"/v1/x", "X: 1", 401, "proxy-access-denied"}, {"/v9", withKey, 403, "proxy-access-denied"}, {"/v1//x", withKey, 400, "bad-path"},
	} {
		a := g.get(tt.path, tt.header)
		a.want(t, tt.status, tt.code)
		if want := fmt.Sprintf("own page %d %s", tt.status, tt.code); a.Body != want {
			t.Errorf("got %q, want %q", a.Body, want)
		}
		if (a.Header.Get("WWW-Authenticate") != "") != (tt.status == 401) {
			t.Errorf("%d: challenge %q", tt.status, a.Header.Get("WWW-Authenticate"))
		}
	}
	g.vars[1] = rrtest.Addr(rrtest.FreePort(t)) // where nobody listens
	if err := g.reload(strings.Replace(site, "rr {", "rr {\n\t\terrors pass", 1)); err != nil {
		t.Fatal(err)
	}
	a := g.get("/v1/x", withKey)
	a.want(t, 502, "upstream-unreachable")
	if a.Body != "own page 502 upstream-unreachable" {
		t.Errorf("got %q", a.Body)
	}
}

// TestPlaceholdersAndLogFields: what other handlers and the access log learn.
func TestPlaceholdersAndLogFields(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.Replace(oneProxy, "rr_proxy p", "log {\n\t\tformat rr\n\t}\n\trr_proxy p {\n\t\theader_up X-Caller {http.auth.user.id}\n\t\theader_up X-Via {rr.proxy}/{rr.credential}/{rr.upstream}\n\t}", 1)
	g := start(t, site, "UPSTREAM", u.Addr)
	g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	got := one(t, u)
	if got.Header.Get("X-Caller") != "agent" || got.Header.Get("X-Via") != "p/agent/"+u.Addr {
		t.Errorf("the upstream got %v", got.Header)
	}
	g.get("/v9", withKey)
	g.get("/v1/x")
	for _, want := range []map[string]any{
		{"status": 200.0, "rr_proxy": "p", "rr_credential": "agent", "rr_decision": "proxy-access-granted", "user_id": "agent"},
		{"status": 403.0, "rr_proxy": "p", "rr_credential": "agent", "rr_decision": "proxy-access-denied", "user_id": "agent"},
		{"status": 401.0, "rr_proxy": "p", "rr_credential": nil, "rr_decision": "proxy-access-denied", "user_id": ""},
	} {
		rrtest.Eventually(t, fmt.Sprintf("an access-log line has %v", want), func() bool {
			for _, e := range g.LogEntries() {
				if e["msg"] != "handled request" && e["msg"] != "request" || e["status"] != want["status"] {
					continue
				}
				for k, v := range want {
					if e[k] != v {
						t.Logf("%s is %v", k, e[k])
						return false
					}
				}
				return true
			}
			return false
		})
	}
}

// TestAlso: a second proof from a carrier of its own.
func TestAlso(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.Replace(oneProxy, "target http", "also key {env.RR_USER} {\n\t\t\t\tfrom header X-User-Key\n\t\t\t}\n\t\t\ttarget http", 1)
	t.Setenv("RR_USER", "user-key-0123456789abcdef0123456789")
	g := start(t, site, "UPSTREAM", u.Addr)
	const user = "X-User-Key: user-key-0123456789abcdef0123456789"
	g.get("/v1/x", withKey, user).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Contains("user-key") {
		t.Errorf("the second proof went upstream: %v", got.Header)
	}
	g.get("/v1/x", withKey).want(t, 401, "proxy-access-denied")
	g.get("/v1/x", user).want(t, 401, "proxy-access-denied")
	g.get("/v1/x", withKey, "X-User-Key: wrong").want(t, 401, "proxy-access-denied")
	g.get("/v1/x", withKey, user, user).want(t, 401, "proxy-access-denied")
}

func TestAnonymousCallers(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, strings.Replace(oneProxy, "accept credential agent", "accept credential agent\n\t\t\taccept none", 1), "UPSTREAM", u.Addr)
	g.get("/v1/x").want(t, 200, "proxy-access-granted")
	g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	g.get("/v1/x", "X-API-Key: wrong").want(t, 401, "proxy-access-denied")
}

func TestEncodedSlashKeep(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.NewReplacer("default deny", "encoded_slash keep\n\t\t\tdefault deny", "/v1/* /stream", "/projects/group%2Fproject /projects/*%2Fopen").Replace(oneProxy)
	g := start(t, site, "UPSTREAM", u.Addr)
	for _, tt := range []struct {
		path   string
		status int
	}{
		{"/projects/group%2fproject", 200}, {"/projects/%67roup%2Fproject", 200}, {"/projects/x%2Fopen", 200},
		{"/projects/group/project", 403}, {"/projects/group%252Fproject", 403}, {"/projects/other%2Fproject", 403},
		{"/projects/..%2Fgroup%2Fproject", 400}, {"/projects/group%2F%2e%2e%2Fproject", 400}, {"/projects/group%5Cproject", 400}, {"/projects/group%2F%2Fproject", 400},
	} {
		_, status := raw(t, g.addr, "GET "+tt.path+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nConnection: close\r\n\r\n")
		if status != tt.status {
			t.Errorf("%s: got %d, want %d", tt.path, status, tt.status)
		}
		if got := received(u); tt.status == 200 && (len(got) != 1 || got[0].URI != "/base"+tt.path) || tt.status != 200 && len(got) > 0 {
			t.Errorf("%s: the upstream got %v", tt.path, got)
		}
	}
}

// TestGateway: every proxy at its name, and names that do not exist are answered alike.
func TestGateway(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.NewReplacer("credential vendor present", "proxy other {\n\t\t\taccept bearer {env.RR_OTHER}\n\t\t\ttarget http://UPSTREAM\n\t\t\tpresent none\n\t\t}\n\t\tcredential vendor present",
		"rr_proxy p", "rr_gateway /api/*").Replace(oneProxy)
	g := start(t, site, "UPSTREAM", u.Addr)
	g.get("/api/p/v1/x?a=1", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.URI != "/base/v1/x?a=1" {
		t.Errorf("the upstream got %s", got.URI)
	}
	g.get("/api/other", "Authorization: Bearer "+otherKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.URI != "/" || got.Header.Get("Authorization") != "" {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
	g.get("/api/p/v1/x", "Authorization: Bearer "+otherKey).want(t, 401, "proxy-access-denied")
	for _, headers := range [][]string{nil, {"X-API-Key: wrong"}, {withKey, "X-Gateway-Key: x"}} {
		known, unknown := g.get("/api/other/v1/x", headers...), g.get("/api/nope/v1/x", headers...)
		for _, h := range []http.Header{known.Header, unknown.Header} {
			h.Del("Date")
		}
		if known.Status != 401 || unknown.Status != 401 || known.Body != unknown.Body || fmt.Sprint(known.Header) != fmt.Sprint(unknown.Header) {
			t.Errorf("with %v:\nknown %d %v %s\nunknown %d %v %s", headers, known.Status, known.Header, known.Body, unknown.Status, unknown.Header, unknown.Body)
		}
	}
	// nor does the order of the checks tell: a bad path, a method, an encoded slash
	for _, rest := range []string{"/v1/../x", "/v1//x", "/v1/%00", "/v1/a%2fb", "/v1/a%5cb", "/", ""} {
		for _, method := range []string{"GET", "TRACE", "FROB"} {
			_, known := raw(t, g.addr, method+" /api/other"+rest+" HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nConnection: close\r\n\r\n")
			_, unknown := raw(t, g.addr, method+" /api/nope"+rest+" HTTP/1.1\r\nHost: x\r\nX-API-Key: wrong\r\nConnection: close\r\n\r\n")
			if known != unknown {
				t.Errorf("%s %q: a proxy that exists answers %d, another %d", method, rest, known, unknown)
			}
		}
	}
	for _, path := range []string{"/api/", "/api/%70/v1/x", "/api/p%2Fv1/x", "/api//p/v1", "/api/../api/p/v1"} {
		if _, status := raw(t, g.addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nConnection: close\r\n\r\n"); status < 400 {
			t.Errorf("%s: got %d", path, status)
		}
	}
	if n := len(received(u)); n > 0 {
		t.Errorf("the upstream was called %d times", n)
	}
}

// TestOneProxysHealthIsNotAnothers: Caddy counts failures by the upstream's text, which
// must be another for each proxy.
func TestOneProxysHealthIsNotAnothers(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	site := strings.NewReplacer("credential vendor present", "proxy dead {\n\t\t\taccept credential agent\n\t\t\ttarget http://DEAD\n\t\t\tpresent none\n\t\t}\n\t\tcredential vendor present",
		"rr_proxy p", "rr_proxy /dead dead {\n\t\tfail_duration 1m\n\t}\n\trr_proxy p {\n\t\tfail_duration 1m\n\t}").Replace(oneProxy)
	g := start(t, site, "UPSTREAM", u.Addr, "DEAD", rrtest.Addr(rrtest.FreePort(t)))
	for range 3 {
		if a := g.get("/dead", withKey); a.code() != "upstream-unreachable" || a.Status < 502 {
			t.Errorf("the dead one answers %d %s", a.Status, a.code())
		}
		g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	}
}
