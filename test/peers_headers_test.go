package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// wire is what the gateway puts on the wire for a request of these lines.
func wire(t *testing.T, site, path string, lines ...string) (seen string, status int) {
	t.Helper()
	return wireOf(t, site, "GET "+path+" HTTP/1.1\r\nHost: gw\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n")
}

// earlySite injects before a plain reverse_proxy, which removes what Connection names after
// that.
const earlySite = `http://:GATEPORT {
	rr_verify {
		accept key {env.RR_CALLER}
	}
	rr_inject {
		present custom {
			header X-Vendor-Key {env.RR_VENDOR}
			cookie session {env.RR_VENDOR}
		}
	}
	reverse_proxy UPSTREAM
}
`

const presentKey = "key {env.RR_VENDOR} {\nheader X-Vendor-Key\n}"

// A header that the proxy sets was named in the caller's Connection header and removed as hop-by-hop, so that the backend saw a
// request without it, and trusted it.
// Sources: CVE-2024-45410
// Here: What Connection names is removed before rules judge the headers and before the credential is written,
// and the credential is written last, after Caddy's own removal. Forwarding headers arrive too.
func TestPeer_CVE_2024_45410_ConnectionStrip(t *testing.T) {
	for name, site := range map[string]string{"rr_proxy": proxies(peerProxy("v1", presentKey)), "before reverse_proxy": earlySite} {
		t.Run(name, func(t *testing.T) {
			seen, status := wire(t, site, "/v1/x", withKey, "Connection: close, X-Vendor-Key, x-vendor-key, Cookie, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Host")
			if status != 200 || strings.Count(seen, "X-Vendor-Key: "+vendorKey+"\r\n") != 1 || name != "rr_proxy" && !strings.Contains(seen, "Cookie: session="+vendorKey) {
				t.Errorf("got %d, and on the wire:\n%s", status, seen)
			}
			for _, want := range []string{"X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "Host: "} {
				if !strings.Contains(seen, want) {
					t.Errorf("no %q in:\n%s", want, seen)
				}
			}
		})
	}
}

// The same in another proxy: a client could have the proxy drop the headers that say who
// the client is.
// Sources: CVE-2025-48865
// Here: Headers that the operator sets with `header_up`, such as the name of the verified caller, are set after Connection has been
// obeyed.
func TestPeer_CVE_2025_48865_IdentityIsNotStripped(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", vendor)), "rr_gateway\n", "rr_proxy p {\nheader_up X-Caller {http.auth.user.id}\nheader_up X-Tenant acme\n}\n", 1)
	seen, status := wire(t, site, "/x", withKey, "X-Caller: admin", "X-Tenant: evil", "Connection: close, X-Caller, X-Tenant, Authorization")
	if status != 200 || strings.Count(seen, "\r\nX-Caller: key\r\n") != 1 || strings.Count(seen, "\r\nX-Tenant: acme\r\n") != 1 || strings.Count(seen, "\r\nAuthorization: Bearer "+vendorKey+"\r\n") != 1 || strings.Contains(seen, "admin") {
		t.Errorf("got %d, and on the wire:\n%s", status, seen)
	}
}

// letThrough has Caddy itself keep the spellings of a name that it drops by default, so that rr
// meets them.
func letThrough(site, underscore, dot string) string {
	keep := "{\n\tservers {\n\t\texpected_underscore_headers " + underscore + "\n\t\texpected_dot_headers " + dot + "\n\t}\n"
	if rest, ok := strings.CutPrefix(site, "{\n"); ok {
		return keep + rest
	}
	return keep + "}\n" + site
}

// A proxy removed the headers that it sets from requests, but not their spellings with an underscore, which
// many backends read as the same.
// Sources: CVE-2025-64484
// Here: Spellings of injected names and of carriers that differ in `_`, `.` or case are removed, also where Caddy has been told to let them
// pass.
func TestPeer_CVE_2025_64484_UnderscoresOfInjectedNames(t *testing.T) {
	for name, site := range map[string]string{"rr_proxy": proxies(peerProxy("v1", presentKey)), "before reverse_proxy": earlySite} {
		for kept, site := range map[string]string{"": site, ", kept by Caddy": letThrough(site, "x_vendor_key x-vendor_key", "x.vendor.key x-vendor.key")} {
			t.Run(name+kept, func(t *testing.T) {
				seen, status := wire(t, site, "/v1/x", withKey, "X_Vendor_Key: evil", "x-vendor_key: evil", "X-Vendor.Key: evil", "X.Vendor.Key: evil", "X_API_KEY: evil", "Authorization_: x", "Connection: close")
				if status != 200 || strings.Contains(seen, "evil") || strings.Count(seen, vendorKey) < 1 {
					t.Errorf("got %d, and on the wire:\n%s", status, seen)
				}
			})
		}
	}
}

// A header was stored under a name that is not in its canonical form, beside the client's own in the
// canonical one, and the backend got both.
// Sources: CVE-2026-33433
// Here: However the configuration spells a header, it is written in one form, and all others of the name go.
func TestPeer_CVE_2026_33433_OneFormOfAName(t *testing.T) {
	for _, spelt := range []string{"x-vendor-key", "X-VENDOR-KEY", "x-Vendor-kEy"} {
		t.Run(spelt, func(t *testing.T) {
			seen, status := wire(t, proxies(peerProxy("p", "key {env.RR_VENDOR} {\nheader "+spelt+"\n}")), "/p/x", withKey, "X-Vendor-Key: evil", "x-vendor-key: evil", "X-VENDOR-KEY: evil", "Connection: close")
			if status != 200 || strings.Count(strings.ToLower(seen), "x-vendor-key:") != 1 || strings.Contains(seen, "evil") {
				t.Errorf("got %d, and on the wire:\n%s", status, seen)
			}
		})
	}
}

// A name with an underscore was another header to the proxy and the same one to the
// backend, so a client could set what the proxy had removed.
// Sources: CVE-2026-39858
// Here: A look-alike of a carrier is no credential, and no look-alike of a carrier goes upstream, also where Caddy has been told to let it
// pass.
func TestPeer_CVE_2026_39858_AnAliasIsNoCarrier(t *testing.T) {
	site := letThrough(proxies(peerProxy("p", vendor)), "x_api_key authorization_", "x.api.key")
	g, u := startPeer(t, site)
	ask := func(lines ...string) int {
		t.Helper()
		return rrtest.Raw(t, g.addr, "GET /p/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.Join(lines, "\r\n")+"\r\n\r\n").Status
	}
	if status := ask("X_Api_Key: "+callerKey, "X.api.key: "+callerKey); status != http.StatusUnauthorized {
		t.Errorf("an alias is a credential: %d", status)
	}
	silent(t, u)
	if status := ask("Authorization: Bearer "+callerKey, "X_Api_Key: evil", "x.api.key: evil"); status != 200 {
		t.Errorf("got %d", status)
	}
	if got := one(t, u); got.Contains("evil") || got.Contains(callerKey) {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// Caddy itself passed on headers with an underscore, beside the ones that a site sets, until
// it dropped them.
// Sources: CVE-2026-52845, GHSA-f59h-q822-g45g, caddyserver/caddy#7809
// Here: What `header_up` sets from the verified caller cannot be said by the caller in another spelling.
func TestPeer_CVE_2026_52845_UnderscoresOfTheOperatorsNames(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", vendor)), "rr_gateway\n", "rr_proxy p {\nheader_up X-Caller {http.auth.user.id}\n}\n", 1)
	seen, status := wire(t, site, "/x", withKey, "X_Caller: admin", "x_caller: admin", "Connection: close")
	if status != 200 || strings.Contains(seen, "admin") || strings.Count(seen, "X-Caller: key\r\n") != 1 {
		t.Errorf("got %d, and on the wire:\n%s", status, seen)
	}
}

// A header that is copied from an answer of the authenticator stayed the client's own when the
// answer did not have it.
// Sources: CVE-2026-30851, GHSA-7r4p-vjf4-gxv4
// Here: A header that is set from a claim is set, to nothing, also when the token has no such claim.
func TestPeer_CVE_2026_30851_AMissingClaimIsNotTheCallers(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	g, u := startJWT(t, "any_audience\nissuer https://issuer.example/\njwks "+file(t, "set.json", jwkSet(key)), "")
	g.get("/x", bearer(key.Token(claims(map[string]any{"sub": nil}), nil)), "X-Tenant: evil", "X-User: evil").want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Contains("evil") || got.Header.Get("X-Tenant") != "" {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// Identity headers of a login were set only after a login, so that a client that had none
// could bring its own.
// Sources: CVE-2026-44087, apache/apisix#13330
// Here: For an anonymous caller too, the header that says who calls is the gateway's.
func TestPeer_CVE_2026_44087_AnonymousCallersHaveNoName(t *testing.T) {
	site := strings.NewReplacer("accept key {env.RR_CALLER}", "accept key {env.RR_CALLER}\naccept none", "rr_gateway\n", "rr_proxy p {\nheader_up X-Userinfo {http.auth.user.id}\n}\n").Replace(proxies(peerProxy("p", vendor)))
	g, u := startPeer(t, site)
	g.get("/x", "X-Userinfo: admin", "X-Id-Token: evil").want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("X-Userinfo") == "admin" || len(got.Header["X-Userinfo"]) > 1 {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// Where one name came twice, the check read the first value and the backend the last.
// Sources: RFC 9110 section 5.3
// Here: A carrier that comes twice is 401, in whatever case, and also when both say the same.
func TestPeer_Requirement_ACarrierComesOnce(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	for _, lines := range []string{
		"Authorization: Bearer " + callerKey + "\r\nauthorization: Bearer evil", "AUTHORIZATION: Bearer evil\r\nAuthorization: Bearer " + callerKey,
		"X-API-Key: " + callerKey + "\r\nx-api-key: " + callerKey, "Authorization:\r\nAuthorization: Bearer " + callerKey,
	} {
		a := rrtest.Raw(t, g.addr, "GET /p/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n\r\n")
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d", lines, a.Status)
		}
	}
	silent(t, u)
}

// A line break in a value that the proxy writes into a header began another header, or another
// request.
// Sources: CVE-2026-39998, CVE-2026-31908
// Here: A secret that a header cannot carry is refused when it is loaded, or 422. A claim with a line break
// that is to go into a header is not sent.
func TestPeer_CVE_2026_39998_NoLineBreaksInHeaders(t *testing.T) {
	for i, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\rb"} {
		t.Setenv("RR_BREAK", value)
		for _, present := range []string{"bearer {env.RR_BREAK}", "key {env.RR_BREAK}", "custom {\nheader X-A {env.RR_BREAK}\n}", "custom {\ncookie c {env.RR_BREAK}\n}"} {
			t.Run(fmt.Sprint(i, present[:6]), func(t *testing.T) { refusedToLoad(t, proxies(peerProxy("p", present)), "cannot carry") })
		}
	}
	key := idp.NewKey(t, "ES256", "k1")
	g, u := startJWT(t, "any_audience\nissuer https://issuer.example/\njwks "+file(t, "set.json", jwkSet(key)), "")
	a := g.get("/x", bearer(key.Token(claims(map[string]any{"sub": "a\r\nX-Evil: 1", "tenant": map[string]any{"id": "t\r\nX-Evil: 2"}}), nil)))
	if a.Status < 400 {
		t.Errorf("a claim with a line break gets %d", a.Status)
	}
	silent(t, u)
	g.get("/x", bearer(key.Token(claims(nil), nil))).want(t, 200, "proxy-access-granted")
}
