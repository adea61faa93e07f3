package test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// fenced is a proxy that allows /v1/* but not /v1/admin.
func fenced() string {
	return proxies(peerProxy("p", vendor, "default deny", "allow GET /v1/*", "deny /v1/admin /v1/admin/*"))
}

// evade sends paths that mean /v1/admin to somebody, or leave /v1/; none may arrive.
func evade(t *testing.T, paths ...string) {
	t.Helper()
	g, u := startPeer(t, fenced())
	for _, path := range paths {
		a := rrtest.Raw(t, g.addr, "GET /p"+path+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nConnection: close\r\n\r\n")
		if a.Status < 400 || a.Status > 403 {
			t.Errorf("%s: got %d", path, a.Status)
		}
		for _, r := range received(u) {
			t.Errorf("%s: the upstream got %s", path, r.URI)
		}
	}
	g.get("/p/v1/fine", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.URI != "/v1/fine" {
		t.Errorf("the upstream got %s", got.URI)
	}
}

// The path was decoded for the check and forwarded as it came, or the other way round; a prefix was cut off at an offset of the one
// in the other.
// Sources: GHSA-6jwx-7vp4-9847, CVE-2026-40912
// Here: Rules judge the path that is forwarded. What two readers could read differently is 400: dot segments, empty segments, encoded slashes and
// backslashes, also right behind the mount.
func TestPeer_GHSA_6jwx_7vp4_9847_OnePathForCheckAndUpstream(t *testing.T) {
	evade(t, "%2e/v1/admin", "/.%2fv1/admin", "/%2e/v1/admin", "/v1%2fadmin", "/v1/%61dmin", "/v1/admin%2f", "/v1/x%2f..%2fadmin", "/v1/%2561dmin/..%2f", "%2fv1/admin")
}

// Rules were matched before the path was cleaned, so `/v1/../admin` was another path for the rule than for the upstream.
// Sources: ory/oathkeeper@8e000214
// Here: A path with dot segments is refused, however they are written.
func TestPeer_oathkeeper_8e000214_Traversal(t *testing.T) {
	evade(t, "/v1/../admin", "/v1/x/../admin", "/v1/./admin", "/v1/%2e%2e/admin", "/v1/.%2e/admin", "/v1/%2E./admin", "/v1/..;/admin", "/v1/..%00/admin", "/v1/...%2f..", "/../v1/admin", "/v1/..")
}

// A rule engine did not clean paths as its upstreams do, so that rules for one path were passed by another spelling of it.
// Sources: CVE-2026-42274
// Here: Doubled slashes, backslashes, control characters and broken escapes are 400; an escaped letter is the letter, and a deny holds in any
// case.
func TestPeer_CVE_2026_42274_Spellings(t *testing.T) {
	evade(t, "/v1//admin", "//v1/admin", "/v1/admin/", "/v1/ADMIN", "/v1/Admin/x", `/v1\admin`, "/v1/%5cadmin", "/v1/%5c..%5cadmin", "/v1/admin%00", "/v1/admin%0a", "/v1/%zz", "/v1/%", "/v1/%61%64%6d%69%6e", "/v1/adm%C4%B1n%2f", "/v1/\x01admin")
}

// An encoded slash was matched as a letter of a segment and taken by the upstream as a slash.
// Sources: caddyserver/caddy#7941
// Here: Encoded slashes are 400, unless the proxy says `encoded_slash keep`; rules judge the escaped path then.
func TestPeer_caddy_7941_EncodedSlashes(t *testing.T) {
	evade(t, "/v1/admin%2Fusers", "/v1/x%2f..%2fadmin", "/v1%2Fadmin", "/v1/%2Fadmin", "/%2Fv1/admin", "/v1/a%5Cb")
}

// A method that is not in the list of a rule, or in another case, passed by it.
// Sources: RFC 9110 section 9.1
// Here: Methods are compared byte by byte; a rule for GET is none for HEAD, `get` or an override in a header.
func TestPeer_Requirement_MethodsAreComparedExactly(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor, "default deny", "allow GET /v1/*")))
	for _, line := range []string{"get /p/v1/x", "POST /p/v1/x", "GETX /p/v1/x", "OPTIONS /p/v1/x", "DELETE /p/v1/x"} {
		a := rrtest.Raw(t, g.addr, line+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		if a.Status != http.StatusForbidden && a.Status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", line, a.Status)
		}
	}
	g.do("HEAD", "/p/v1/x", "", withKey).want(t, 403, "proxy-access-denied")
	silent(t, u)
}

// A check of the body read the first of two members with the same name, and the vendor the
// last; what could not be read was let through.
// Sources: RFC 8259 section 4, apache/apisix#13705
// Here: A body that cannot be judged is denied: two members of a name, no JSON, another type, compressed, or beyond `max_body`.
func TestPeer_apisix_13705_BodiesThatCannotBeJudged(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor, "default deny", "allow POST /pay {\nbody $.amount ^[0-9]{1,3}$\n}")))
	const json = "Content-Type: application/json"
	g.do("POST", "/p/pay", `{"amount":"100"}`, withKey, json).want(t, 200, "proxy-access-granted")
	received(u)
	for name, c := range map[string][2]string{
		"a larger one":         {`{"amount":"10000"}`, json},
		"twice":                {`{"amount":"100","amount":"10000"}`, json},
		"twice, escaped":       {`{"amount":"100","\u0061mount":"10000"}`, json},
		"no JSON":              {`{"amount":"100"`, json},
		"two documents":        {`{"amount":"100"}{"amount":"10000"}`, json},
		"another type":         {`{"amount":"100"}`, "Content-Type: text/plain"},
		"said to be a form":    {`amount=100&amount=10000`, "Content-Type: application/x-www-form-urlencoded"},
		"too large":            {`{"amount":"100","pad":"` + strings.Repeat("x", 1<<20) + `"}`, json},
		"none":                 {"", json},
		"another name's case":  {`{"Amount":"100"}`, json},
		"nested":               {`{"x":{"amount":"100"}}`, json},
		"behind a byte order":  {"\ufeff" + `{"amount":"100"}`, json},
		"a list in its place":  {`{"amount":["100"]}`, json},
		"an object in its own": {`{"amount":{"amount":"100"}}`, json},
	} {
		if a := g.do("POST", "/p/pay", c[0], withKey, c[1]); a.Status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
	g.do("POST", "/p/pay", `{"amount":"100"}`, withKey, json, "Content-Encoding: gzip").want(t, 403, "proxy-access-denied")
	silent(t, u)
}

// Two tokens came in two places of one request; one was verified and the other one used.
// Sources: Kong/kong#9946
// Here: Two different credentials in one request are 401. The same one in two places is one.
// Topic: ambiguous
func TestPeer_kong_9946_TwoTokens(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	a, b := f.token(f.ec), f.token(f.ec, "sub", `"admin"`)
	for _, way := range [][]string{
		{"/places/v1/x", bearer(a), "X-Token: " + b}, {"/places/v1/x?access_token=" + b, bearer(a)}, {"/places/v1/x?access_token=" + a + "&access_token=" + b, "X: y"},
		{"/places/v1/x", bearer(a), "Cookie: session=" + b}, {"/places/v1/x", "X-Token: " + a, "Cookie: session=" + b}, {"/places/v1/x", "Cookie: session=" + a + "; session=" + b},
	} {
		g.get(way[0], way[1:]...).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
	g.get("/places/v1/x", bearer(a), "X-Token: "+a).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Contains(a) {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// Of several keys in one request the first that fits was taken, and the others went on to the upstream.
// Sources: envoyproxy/envoy, ggicci/caddy-jwt
// Here: A good key beside a bad one, or beside another caller's, is 401, in whatever order.
// Topic: ambiguous
func TestPeer_Requirement_TheFirstThatFitsIsNotTaken(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", vendor)), "accept key {env.RR_CALLER}", "accept key {env.RR_CALLER} {\nfrom header X-A\nfrom query k\n}\naccept key {env.RR_OTHER} {\nfrom header X-B\nfrom cookie c\n}", 1)
	g, u := startPeer(t, site)
	for _, way := range [][]string{
		{"", "X-A: " + callerKey, "X-B: " + otherKey}, {"", "X-A: " + callerKey, "X-B: wrong"}, {"", "X-A: wrong", "X-B: " + otherKey},
		{"?k=wrong", "X-A: " + callerKey}, {"?k=" + callerKey, "Cookie: c=" + otherKey}, {"?k=" + callerKey + "&k=" + callerKey, "X: y"}, {"?k=" + callerKey + "&K=x;k=y", "X: y"},
	} {
		g.get("/p/x"+way[0], way[1:]...).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
	g.get("/p/x", "X-A: "+callerKey).want(t, 200, "proxy-access-granted")
}
