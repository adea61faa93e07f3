package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// jwtOf is a proxy for tokens of p, with more options.
func jwtOf(name string, p *idp.Provider, more string) string {
	return strings.Replace(peerProxy(name, vendor), "accept key {env.RR_CALLER}", "accept jwt_verify {\n"+issued(p, more)+"\n}", 1)
}

// madeUp is a token with a kid that its issuer does not have.
func madeUp(p *idp.Provider, kid string) string {
	return bearer(p.Key("k1").With("ES256", kid).Token(p.Claims(nil), nil))
}

// Each token with a kid that nobody knows had the library fetch the issuer's keys again, and a fetch that failed emptied
// the cache for all.
// Sources: CVE-2026-48524, GHSA-fhv5-28vv-h8m8
// Here: Unknown kids cost one fetch per interval for everybody together, and a fetch that fails leaves the keys
// that are there.
func TestPeer_CVE_2026_48524_UnknownKidsAreCheap(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, u := startPeer(t, proxies(jwtOf("p", p, "unknown_kid_interval 1h")))
	good := bearer(p.Token("k1", nil, nil))
	g.get("/p/x", good).want(t, 200, "proxy-access-granted")
	received(u)
	for n := range 300 {
		g.get("/p/x", madeUp(p, fmt.Sprint("kid-", n))).want(t, 401, "proxy-access-denied")
	}
	if n := p.JWKSFetches(); n > 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
	silent(t, u)
	p.Down()
	for n := range 20 {
		g.get("/p/x", madeUp(p, fmt.Sprint("more-", n)))
		g.get("/p/x", bearer(p.Token("k1", map[string]any{"jti": fmt.Sprint(n)}, nil))).want(t, 200, "proxy-access-granted")
	}
}

// A refresh of the keys added to those that were there, so that a key that the issuer had removed, because it was
// stolen, stayed good.
// Sources: GHSA-675f-rq2r-jw82, MicahParks/jwkset#40
// Here: A refresh replaces the set; what was remembered of tokens of a removed key is forgotten with it.
func TestPeer_GHSA_675f_rq2r_jw82_ARemovedKeyIsRevoked(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.AddKey("ES256", "stolen")
	p.CacheControl("max-age=1")
	g, _ := startPeer(t, proxies(jwtOf("p", p, "refresh_min 1s\nrefresh_max 1s")))
	stolen := p.Key("stolen")
	seen := bearer(p.Token("stolen", nil, nil))
	g.get("/p/x", seen).want(t, 200, "proxy-access-granted")
	p.RemoveKey("stolen")
	rrtest.Eventually(t, "the token that was seen is refused", func() bool { return g.get("/p/x", seen).Status == 401 })
	g.get("/p/x", bearer(stolen.Token(p.Claims(map[string]any{"jti": "new"}), nil))).want(t, 401, "proxy-access-denied")
	g.get("/p/x", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
}

// Keys were remembered by their kid, and the issuer was compared only afterwards, or not at all: an attacker's issuer with the same kid
// put its key in the place of the real one.
// Sources: nearform/get-jwks, krakend/krakend-jose
// Here: Each issuer and address has a set of keys of its own; a kid is looked up in the set of the issuer that the
// configuration names.
func TestPeer_Requirement_KidsOfIssuersDoNotMeet(t *testing.T) {
	a, b := idp.New(t), idp.New(t)
	a.AddKey("ES256", "k1")
	b.AddKey("ES256", "k1")
	g, _ := startPeer(t, proxies(jwtOf("a", a, ""), jwtOf("b", b, "")))
	ofA, ofB := bearer(a.Token("k1", nil, nil)), bearer(b.Token("k1", nil, nil))
	forged := bearer(b.Key("k1").Token(a.Claims(nil), nil)) // says a, signed by b
	for range 3 {
		g.get("/b/x", ofB).want(t, 200, "proxy-access-granted")
		g.get("/a/x", ofA).want(t, 200, "proxy-access-granted")
		g.get("/a/x", ofB).want(t, 401, "proxy-access-denied")
		g.get("/a/x", forged).want(t, 401, "proxy-access-denied")
		g.get("/b/x", forged).want(t, 401, "proxy-access-denied")
	}
}

// One unknown kid had the keys of every configured issuer fetched again.
// Sources: ory/oathkeeper
// Here: Only the issuer that is responsible for a token is asked about its kid.
func TestPeer_Requirement_OtherIssuersAreNotAsked(t *testing.T) {
	a, b := idp.New(t), idp.New(t)
	a.AddKey("ES256", "k1")
	b.AddKey("ES256", "k1")
	both := strings.Replace(jwtOf("p", a, ""), "target", "accept jwt_verify {\n"+issued(b, "")+"\n}\ntarget", 1)
	g, _ := startPeer(t, proxies(both))
	g.get("/p/x", bearer(a.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	g.get("/p/x", bearer(b.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	before := b.JWKSFetches()
	g.get("/p/x", madeUp(a, "nobody-has-this")).want(t, 401, "proxy-access-denied")
	if a.JWKSFetches() != 2 || b.JWKSFetches() != before {
		t.Errorf("a was asked %d times, b %d times more", a.JWKSFetches(), b.JWKSFetches()-before)
	}
}

// When the issuer was away, all callers got 401, also those whose keys were known.
// Sources: envoyproxy/envoy#13705
// Here: The last good keys are used until `max_stale`. Who cannot be judged gets 503 with Retry-After, not 401.
func TestPeer_envoy_13705_AnIssuerThatIsAway(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.CacheControl("max-age=1")
	p.Down()
	g, u := startPeer(t, proxies(jwtOf("p", p, "refresh_min 1s\nrefresh_max 1s")))
	a := g.get("/p/x", bearer(p.Token("k1", nil, nil)))
	if a.want(t, 503, "verification-unavailable"); a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	silent(t, u)
	p.Up()
	rrtest.Eventually(t, "the keys are there", func() bool { return g.get("/p/x", bearer(p.Token("k1", nil, nil))).Status == 200 })
	p.Down()
	g.WaitLog("fetching the issuer's keys failed")
	for n := range 5 {
		g.get("/p/x", bearer(p.Token("k1", map[string]any{"jti": fmt.Sprint(n)}, nil))).want(t, 200, "proxy-access-granted")
	}
}

// A token with a new key was refused until the cache of keys had run out.
// Sources: envoyproxy/envoy#14557, ggicci/caddy-jwt
// Here: The first request with a new kid waits for the keys and is answered with them.
func TestPeer_envoy_14557_ANewKeyCountsAtOnce(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, _ := startPeer(t, proxies(jwtOf("p", p, "")))
	g.get("/p/x", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	p.AddKey("EdDSA", "k2")
	g.get("/p/x", bearer(p.Token("k2", nil, nil))).want(t, 200, "proxy-access-granted")
}

// Good callers got 401 while an issuer rotated its keys.
// Sources: envoyproxy/gateway#4180
// Here: All who come with the new key at once wait for one fetch; those with the old key go on.
func TestPeer_gateway_4180_NobodyIsRefusedDuringARotation(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, _ := startPeer(t, proxies(jwtOf("p", p, "")))
	g.get("/p/x", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	p.AddKey("ES256", "k2")
	var refused atomic.Int32
	var wait sync.WaitGroup
	for n := range 60 {
		token := bearer(p.Token([]string{"k1", "k2"}[n%2], map[string]any{"jti": fmt.Sprint(n)}, nil))
		wait.Go(func() {
			if rrtest.Do(t, "GET", "http://"+g.addr+"/p/x", "", token).Status != 200 {
				refused.Add(1)
			}
		})
	}
	wait.Wait()
	if n := refused.Load(); n > 0 || p.JWKSFetches() > 2 {
		t.Errorf("%d of 60 were refused; %d fetches", n, p.JWKSFetches())
	}
}

// Each route, and each of its workers, fetched the same keys for itself, which the issuer took for an attack.
// Sources: envoyproxy/gateway#4577, envoyproxy/gateway#4791, agentgateway/agentgateway#1629
// Here: Verifiers of the same issuer and address share one source, which fetches once for all.
func TestPeer_gateway_4577_OneFetchForAllRoutes(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	var blocks []string
	for n := range 20 {
		blocks = append(blocks, jwtOf(fmt.Sprint("p", n), p, ""))
	}
	g, _ := startPeer(t, proxies(blocks...))
	var wait sync.WaitGroup
	for n := range 60 {
		wait.Go(func() {
			if a := rrtest.Do(t, "GET", fmt.Sprintf("http://%s/p%d/x", g.addr, n%20), "", bearer(p.Token("k1", nil, nil))); a.Status != 200 {
				t.Errorf("got %d", a.Status)
			}
		})
	}
	wait.Wait()
	if k, d := p.JWKSFetches(), p.DiscoveryFetches(); k != 1 || d > 1 {
		t.Errorf("keys were fetched %d times, the discovery document %d times", k, d)
	}
}

// Keys from a URL were read once, when the process started, and never again.
// Sources: agentgateway/agentgateway#2798
// Here: Keys are fetched again on a schedule, whoever calls, between `refresh_min` and `refresh_max`.
func TestPeer_agentgateway_2798_KeysAreFetchedAgain(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.CacheControl("max-age=1")
	startPeer(t, proxies(jwtOf("p", p, "refresh_min 1s\nrefresh_max 1s")))
	p.WaitJWKSFetches(t, 3)
}

// One address of keys that did not answer, or one bad key, kept the whole configuration from
// loading.
// Sources: agentgateway/agentgateway#1941, ggicci/caddy-jwt#77
// Here: Keys are fetched in the background. An issuer that is away concerns its own callers alone, and a key that
// cannot be used is skipped alone.
func TestPeer_agentgateway_1941_OneBadSetConcernsNobodyElse(t *testing.T) {
	good, down, mixed, broken := idp.New(t), idp.New(t), idp.New(t), idp.New(t)
	for _, p := range []*idp.Provider{good, down, mixed, broken} {
		p.AddKey("ES256", "k1")
	}
	down.Down()
	set := string(jwkSet(mixed.Key("k1")))
	mixed.SetJWKS([]byte(strings.Replace(set, `{"keys":[`, `{"keys":[{"kty":"RSA","kid":"bad"},17,{"kty":"oct","k":"c2VjcmV0","kid":"s"},{},`, 1)))
	broken.SetJWKS([]byte("<html>"))
	g, _ := startPeer(t, proxies(jwtOf("good", good, ""), jwtOf("down", down, ""), jwtOf("mixed", mixed, ""), jwtOf("broken", broken, "")))
	for name, want := range map[string]int{"good": 200, "down": 503, "mixed": 200, "broken": 503} {
		p := map[string]*idp.Provider{"good": good, "down": down, "mixed": mixed, "broken": broken}[name]
		if a := g.get("/"+name+"/x", bearer(p.Token("k1", nil, nil))); a.Status != want {
			t.Errorf("%s: got %d, want %d", name, a.Status, want)
		}
	}
}

// After each reload another loop fetched the keys, beside those of all configurations before.
// Sources: coupergateway/couper#730, coupergateway/couper#736
// Here: A source is shared by the configurations that use it and ends with the last one.
func TestPeer_couper_730_ReloadsDoNotMultiplyFetches(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.CacheControl("max-age=1")
	g, _ := startPeer(t, proxies(jwtOf("p", p, "refresh_min 1s\nrefresh_max 1s")))
	for n := range 15 {
		if err := g.reload(proxies(jwtOf("p", p, "refresh_min 1s\nrefresh_max 1s"), peerProxy(fmt.Sprint("q", n), vendor))); err != nil {
			t.Fatal(err)
		}
	}
	before := p.JWKSFetches()
	time.Sleep(3 * time.Second) // in which each of 15 loops would fetch 3 times
	if n := p.JWKSFetches() - before; n < 1 || n > 6 {
		t.Errorf("%d fetches in 3 s", n)
	}
	if err := g.reload(proxies(peerProxy("q", vendor))); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "nobody fetches any more", func() bool {
		last := p.JWKSFetches()
		time.Sleep(1500 * time.Millisecond)
		return p.JWKSFetches() == last
	})
}

// A changed address of the keys was taken over only after a restart.
// Sources: TykTechnologies/tyk#7079
// Here: A reload with another address uses its keys from the next request on, and no others.
func TestPeer_tyk_7079_ANewAddressNeedsNoRestart(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	other := idp.New(t)
	key := other.AddKey("ES256", "k1")
	site := func(url string) string { return proxies(jwtOf("p", p, "jwks_url "+url)) }
	g, _ := startPeer(t, site(p.JWKSURL()))
	old, young := bearer(p.Token("k1", nil, nil)), bearer(key.Token(p.Claims(nil), nil))
	g.get("/p/x", old).want(t, 200, "proxy-access-granted")
	g.get("/p/x", young).want(t, 401, "proxy-access-denied")
	if err := g.reload(site(other.JWKSURL())); err != nil {
		t.Fatal(err)
	}
	// for a moment the old configuration may still answer
	rrtest.Eventually(t, "the new address counts", func() bool { return g.get("/p/x", young).Status == http.StatusOK })
	g.get("/p/x", old).want(t, 401, "proxy-access-denied")
}
