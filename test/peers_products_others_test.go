package test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// The path, method or host that was judged came from a header that says what it was somewhere else, and that the client had written
// itself.
// Sources: CVE-2026-40575, ory/oathkeeper@36a676e4, ory/oathkeeper@e9acca14
// Here: Rules judge the request line. What headers say of another path, method or host allows nothing, also when they come from a trusted proxy.
func TestPeer_CVE_2026_40575_ForwardedPathsAreNotJudged(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, throttled(1000), "UPSTREAM", u.Addr) // trusts 127.0.0.1
	for _, name := range []string{"X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url", "X-Envoy-Original-Path", "X-Auth-Request-Redirect", "Forwarded"} {
		g.get("/v1/admin", withKey, name+": /v1/x").want(t, 403, "proxy-access-denied")
		g.get("/v9", withKey, name+": /v1/x").want(t, 403, "proxy-access-denied")
		g.get("/v1/x", name+": /health").want(t, 401, "proxy-access-denied")
	}
	for _, name := range []string{"X-Forwarded-Method", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		g.do("DELETE", "/v1/x", "", withKey, name+": GET").want(t, 403, "proxy-access-denied")
	}
	silent(t, u)
}

// Requests that said they came from a health check were let through unasked.
// Sources: oauth2-proxy/oauth2-proxy
// Here: There are no callers of whom nothing is asked: no user agent, address, path or method is an exception.
func TestPeer_Requirement_NobodyIsAHealthCheck(t *testing.T) {
	g, u := startOne(t)
	for _, agent := range []string{"GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0", "Amazon-Route53-Health-Check-Service", "Envoy/HC", "curl/8", ""} {
		for _, path := range []string{"/v1/x", "/v1/health", "/v1/healthz", "/v1/ping", "/v1/ready"} {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				a := g.do(method, path, "", "User-Agent: "+agent, "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Access-Control-Request-Method: GET", "Origin: http://localhost")
				a.want(t, 401, "proxy-access-denied")
			}
		}
	}
	silent(t, u)
}

// An endpoint that was there to try a connection out took a whole configuration, with programs to start, from anybody with a
// key for the models.
// Sources: CVE-2026-42271, CVE-2026-48710
// Here: Whoever tries a proxy out needs the role that may change it, whatever the Host header says; what is tried is what was stored, to where it
// was stored for.
func TestPeer_CVE_2026_42271_TryingOutNeedsARole(t *testing.T) {
	m := startAttacked(t)
	_, key, _ := m.usual()
	for _, host := range []string{"x", "localhost:2019", "localhost/a?b#c", "", "[::1]"} {
		for _, call := range []string{"POST /d/clients/default/proxies/p/test", "POST /d/clients/default/proxies/p/check", "POST /d/clients/default/credentials", "GET /d/store/backup"} {
			for _, auth := range []string{key, callerKey, "an-inline-key-without-a-name-0123456", ""} {
				answer, status := raw(t, m.addr, call+" HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: "+auth+"\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"path\":\"/\"}")
				if status < 400 || status >= 500 {
					t.Errorf("%s for %q with %.12s…: %d %.200s", call, host, auth, status, answer)
				}
			}
		}
	}
	silent(t, m.u)
	// and who may, tries what was stored
	evil := rrtest.NewUpstream(t)
	for _, body := range []string{`{"targetBaseURL":"` + evil.URL + `"}`, `{"url":"` + evil.URL + `","command":"/bin/sh","args":["-c","id"]}`} {
		m.edits("d", "POST", "proxies/p/test", body)
	}
	silent(t, evil)
	for _, body := range []string{`"transport":{"protocol":"http"}`, `"targetTransport":{"protocol":"stdio","command":"/bin/sh"}`, `"command":"/bin/sh"`} {
		if a := m.edits("d", "POST", "targets", `{"targetName":"x","targetBaseURL":"https://example.com",`+body+`}`); a.Status != 422 {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
}

// A token without a key's name ended in a panic.
// Sources: TykTechnologies/tyk#4823
// Here: A name is optional, and text if it is there. What is none is refused as any other bad token, and the process and the connection go on.
func TestPeer_tyk_4823_TokensWithoutAKid(t *testing.T) {
	p := idp.New(t)
	k := p.AddKey("ES256", "k1")
	g, u := startIssuer(t, p, "")
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	received(u)
	payload, _ := json.Marshal(p.Claims(nil))
	for header, status := range map[string]int{
		`{"alg":"ES256"}`:                        200, // the one key that fits
		`{"alg":"ES256","kid":""}`:               401,
		`{"alg":"ES256","kid":null}`:             401,
		`{"alg":"ES256","kid":7}`:                401,
		`{"alg":"ES256","kid":["k1"]}`:           401,
		`{"alg":"ES256","kid":{"k1":1}}`:         401,
		`{"alg":"ES256","kid":"k1","kid":"k1"}`:  401,
		`{"alg":"ES256","kid":"k1\u0000"}`:       401,
		`{"alg":"ES256","kid":"../../etc/keys"}`: 401,
		`{"kid":"k1"}`:                           401,
		`null`:                                   401,
		`[]`:                                     401,
		`""`:                                     401,
	} {
		if a := g.get("/", bearer(k.Sign([]byte(header), payload))); a.Status != status {
			t.Errorf("%s: %d", header, a.Status)
		}
	}
	if got := received(u); len(got) != 1 {
		t.Errorf("the upstream got %d requests", len(got))
	}
	if logs := g.Logs(); strings.Contains(logs, "panic") {
		t.Error("the log has a panic")
	}
}

// Callers who came at the same time with a token that was over each used the refresh token, which is good for once: all but one
// were refused, or the grant was taken back.
// Sources: cloudflare/mcp#136, PrefectHQ/fastmcp#4265, giantswarm/mcp-oauth#452
// Here: One uses it for all, and its successor is kept before anybody gets the token.
func TestPeer_mcp_136_OneRefreshForAll(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	grant := s.Grant("rr")
	name := file(t, "refresh", []byte(grant))
	g, u := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", strings.TrimSuffix(strings.TrimPrefix(name, "{file."), "}"), 1)+"\nkeep_rotated")
	for range 3 {
		before := s.Count()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { g.get("/p/x", withKey).want(t, 200, "proxy-access-granted") })
		}
		wg.Wait()
		if n := s.Count() - before; n > 1 {
			t.Errorf("50 callers used the refresh token %d times", n)
		}
		if got := received(u); len(got) != 50 {
			t.Errorf("the upstream got %d requests", len(got))
		}
		// the next round begins without a token
		if err := g.reload("{\n\tadmin off\n}\n:GATEPORT {\n\trespond ok\n}\n"); err != nil {
			t.Fatal(err)
		}
		if err := g.reload(oauth2Proxy); err != nil {
			t.Fatal(err)
		}
	}
	if s.Reused() > 0 {
		t.Errorf("refresh tokens came %d times that had been used", s.Reused())
	}
	if s.Count() < 3 {
		t.Errorf("%d tokens were fetched: the rounds did not begin without one", s.Count())
	}
}

// What a signature of the body needs was read into memory to its end.
// Sources: superfly/tokenizer@a60499d
// Here: As much as `max_body` says is kept; a larger body is refused, before the rest of it is read and before anything is sent.
func TestPeer_tokenizer_a60499d_SignedBodiesInMemory(t *testing.T) {
	t.Setenv("RR_SIGNING", strings.Repeat("k", 64))
	g, u := startPeer(t, proxies(peerProxy("p", "http_signature {\nsecret {env.RR_SIGNING}\ncomponents @method content-digest\nmax_body 64KiB\n}")))
	g.do("POST", "/p/x", strings.Repeat("x", 64<<10), withKey).want(t, 200, "proxy-access-granted")
	received(u)
	for _, length := range []string{"Content-Length: 1099511627776", "Transfer-Encoding: chunked"} {
		answer, sent := endless(t, g.addr, "POST /p/x HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\n"+length+"\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 502") || sent > 32<<20 {
			t.Errorf("%s: after %d bytes %q", length, sent, answer)
		}
	}
	silent(t, u)
}
