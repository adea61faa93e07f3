package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// issued is jwt_verify for tokens of a provider.
func issued(p *idp.Provider, more string) string {
	return "issuer " + p.Issuer() + "\naudience " + idp.Audience + "\n" + more
}

// startIssuer starts jwtProxy for callers with tokens of p.
func startIssuer(t testing.TB, p *idp.Provider, more string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	return startJWT(t, issued(p, more), "")
}

func TestIssuerIsDiscovered(t *testing.T) {
	for name, p := range map[string]*idp.Provider{
		"OpenID Connect": idp.New(t, idp.Only(idp.PathOpenID)),
		"RFC 8414":       idp.New(t, idp.Only(idp.PathOAuth)),
		"with a path":    idp.New(t, idp.Path("/tenant-1")),
		"with a slash":   idp.New(t, idp.Path("/tenant-1"), idp.Slash()),
	} {
		t.Run(name, func(t *testing.T) {
			p.AddKey("ES256", "k1")
			g, _ := startIssuer(t, p, "")
			// the first request waits for the keys, if they are not there yet
			g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
			other := strings.TrimSuffix(p.Issuer(), "/")
			if other == p.Issuer() {
				other += "/"
			}
			g.get("/", bearer(p.Token("k1", map[string]any{"iss": other}, nil))).want(t, 401, "proxy-access-denied")
		})
	}
}

// TestIssuerRotates: a token with a new key is accepted at once, one with a removed key is
// refused after the next refresh, also if it was accepted before.
func TestIssuerRotates(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "old")
	p.CacheControl("max-age=1")
	g, _ := startIssuer(t, p, "refresh_min 1s\nrefresh_max 2s")
	old := bearer(p.Token("old", nil, nil))
	g.get("/", old).want(t, 200, "proxy-access-granted")
	p.AddKey("EdDSA", "new")
	g.get("/", bearer(p.Token("new", nil, nil))).want(t, 200, "proxy-access-granted")
	g.get("/", old).want(t, 200, "proxy-access-granted")
	p.RemoveKey("old")
	rrtest.Eventually(t, "the removed key is not accepted", func() bool { return g.get("/", old).Status == 401 })
	g.get("/", bearer(p.Token("new", nil, nil))).want(t, 200, "proxy-access-granted")
}

// TestIssuerIsAway: the configuration loads without the issuer, requests are told to come
// again, and a restart while it is away goes on with the keys from before.
func TestIssuerIsAway(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	token := bearer(p.Token("k1", nil, nil))
	p.Down()
	g, u := startIssuer(t, p, "")
	a := g.get("/", token)
	a.want(t, 503, "verification-unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	g.get("/", bearer("no.token")).want(t, 401, "proxy-access-denied")
	p.Up()
	rrtest.Eventually(t, "the keys are there", func() bool { return g.get("/", token).Status == 200 })
	rrtest.Eventually(t, "the keys are stored", func() bool {
		stored, _ := filepath.Glob(filepath.Join(g.Dir, "rr", "jwks", "*.json"))
		return len(stored) == 1
	})
	p.Down()
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	// another option makes another source, which begins with what the storage has
	if err := g.reload(strings.NewReplacer("LINES", issued(p, "timeout 4s"), "RULES", "", "UPSTREAM", u.URL).Replace(jwtProxy)); err != nil {
		t.Fatal(err)
	}
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	// a kid that nobody knows cannot be told from a new one now
	g.get("/", bearer(p.Key("k1").With("ES256", "k9").Token(p.Claims(nil), nil))).want(t, 503, "verification-unavailable")
}

// TestValidateAsksNobody: a configuration that is only provisioned fetches nothing.
func TestValidateAsksNobody(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	t.Setenv("VENDOR_KEY", vendorKey)
	config := strings.NewReplacer("LINES", issued(p, ""), "RULES", "", "UPSTREAM", "http://127.0.0.1:1", "GATEPORT", "0").Replace(jwtProxy)
	if err := rrtest.Validate(t, config); err != nil {
		t.Fatal(err)
	}
	if n := p.DiscoveryFetches() + p.JWKSFetches(); n != 0 {
		t.Errorf("%d requests to the issuer", n)
	}
}

func TestIssuerInline(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	g := start(t, `
:GATEPORT {
	rr_verify {
		accept jwt_verify {
			LINES
		}
	}
	rr_inject {
		present bearer {env.VENDOR_KEY}
	}
	reverse_proxy UPSTREAM
}
`, "LINES", issued(p, ""), "UPSTREAM", u.Addr)
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// TestUnknownKidsAreCheap: whatever callers make up, the issuer is asked a few times only.
func TestUnknownKidsAreCheap(t *testing.T) {
	p := idp.New(t)
	key := p.AddKey("ES256", "k1")
	g, u := startIssuer(t, p, "unknown_kid_interval 10m") // however slow the machine is
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	var wg sync.WaitGroup
	client := rrtest.HTTP1(t, nil)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	for worker := range 10 {
		wg.Go(func() {
			for i := range 1000 {
				token := key.With("ES256", fmt.Sprintf("kid-%d-%d", worker, i)).Token(p.Claims(nil), nil)
				res, err := client.Do(rrtest.Request(t, "GET", "http://"+g.addr+"/", "", bearer(token)))
				if err != nil {
					t.Error(err)
					return
				}
				res.Body.Close()
				if res.StatusCode != 401 {
					t.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if n := p.JWKSFetches(); n > 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if n := len(received(u)); n != 1 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

// TestIssuersDoNotMix: two issuers with the same kid; a token counts for its own only.
func TestIssuersDoNotMix(t *testing.T) {
	a, b := idp.New(t), idp.New(t)
	a.AddKey("ES256", "k1")
	b.AddKey("ES256", "k1")
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	g := start(t, strings.Replace(jwtProxy, "target", "accept jwt_verify {\n\t\t\t\tSECOND\n\t\t\t}\n\t\t\ttarget", 1),
		"LINES", issued(a, ""), "SECOND", issued(b, "claim sub only-this-one"), "RULES", "", "UPSTREAM", u.URL)
	g.get("/", bearer(a.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	g.get("/", bearer(b.Token("k1", map[string]any{"sub": "only-this-one"}, nil))).want(t, 200, "proxy-access-granted")
	g.get("/", bearer(b.Token("k1", nil, nil))).want(t, 401, "proxy-access-denied")
	g.get("/", bearer(b.Key("k1").Token(a.Claims(nil), nil))).want(t, 401, "proxy-access-denied")
	g.get("/", bearer(a.Key("k1").Token(b.Claims(map[string]any{"sub": "only-this-one"}), nil))).want(t, 401, "proxy-access-denied")
	// one issuer away does not concern the other's callers
	a.Down()
	g.get("/", bearer(b.Token("k1", map[string]any{"sub": "only-this-one"}, nil))).want(t, 200, "proxy-access-granted")
}

// TestTokenUnderTwoCredentials: what one credential remembers is nothing to another.
func TestTokenUnderTwoCredentials(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	g := start(t, `
{
	rr {
		proxy wide {
			accept jwt_verify {
				issuer ISSUER
				any_audience
			}
			target UPSTREAM
			present none
		}
		proxy narrow {
			accept jwt_verify {
				issuer ISSUER
				audience somebody-else
			}
			target UPSTREAM
			present none
		}
	}
}
:GATEPORT {
	rr_gateway /api/*
}
`, "ISSUER", p.Issuer(), "UPSTREAM", u.URL)
	token := bearer(p.Token("k1", nil, nil))
	for range 3 {
		g.get("/api/wide/", token).want(t, 200, "proxy-access-granted")
		g.get("/api/narrow/", token).want(t, 401, "proxy-access-denied")
	}
	if n := p.JWKSFetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// Each reload of the configuration left the goroutines that fetch keys behind.
// Sources: TykTechnologies/tyk#7703, ggicci/caddy-jwt
// Here: A hundred reloads fetch nothing again and leave no goroutine; what is removed from the configuration stops.
// Topic: jwks
func TestPeer_tyk_7703_ReloadsLeaveNoGoroutines(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, u := startIssuer(t, p, "")
	token := bearer(p.Token("k1", nil, nil))
	g.get("/", token).want(t, 200, "proxy-access-granted")
	again := func(rules string) {
		t.Helper()
		config := strings.NewReplacer("LINES", issued(p, ""), "RULES", rules, "UPSTREAM", u.URL).Replace(jwtProxy)
		if err := g.reload(config); err != nil {
			t.Fatal(err)
		}
	}
	again("default allow")
	before := runtime.NumGoroutine()
	for i := range 100 {
		again(fmt.Sprintf("deny /%d", i))
	}
	g.get("/", token).want(t, 200, "proxy-access-granted")
	rrtest.Eventually(t, "goroutines are as before", func() bool { return runtime.NumGoroutine() <= before+5 })
	if n := p.JWKSFetches(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
	// without the credential nothing asks the issuer any more
	if err := g.reload("{\n\tadmin off\n}\n:GATEPORT {\n\trespond ok\n}\n"); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "goroutines are fewer", func() bool { return runtime.NumGoroutine() <= before+5 })
}

// TestResourceMetadata: clients are led from a refusal to the issuer (RFC 9728).
func TestResourceMetadata(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	g := start(t, `
{
	rr {
		proxy p {
			accept jwt_verify {
				issuer ISSUER
				audience AUD
				scope read write
			}
			target UPSTREAM
			present none
		}
		proxy keys {
			accept key {env.VENDOR_KEY}
			target UPSTREAM
			present none
		}
	}
}
:GATEPORT {
	handle_path /mounted/* {
		rr_proxy p
	}
	rr_proxy /below/* p
	rr_gateway /api/*
	rr_proxy p
}
`, "ISSUER", p.Issuer(), "AUD", idp.Audience, "UPSTREAM", u.URL)
	for _, c := range []struct{ path, resource, wellKnown string }{
		{"/mounted/x/y", "/mounted", ""},
		{"/below/x", "/below", "/.well-known/oauth-protected-resource/below"},
		{"/api/p/x", "/api/p", "/.well-known/oauth-protected-resource/api/p"},
		{"/api/no-such-proxy/x", "/api/no-such-proxy", "/.well-known/oauth-protected-resource/api/no-such-proxy"},
		{"/", "", "/.well-known/oauth-protected-resource"},
	} {
		t.Run(c.path, func(t *testing.T) {
			a := g.get(c.path)
			a.want(t, 401, "proxy-access-denied")
			where := ""
			for _, challenge := range a.Header["Www-Authenticate"] {
				if _, rest, ok := strings.Cut(challenge, `resource_metadata="`); ok && strings.HasPrefix(challenge, "Bearer ") {
					where, _, _ = strings.Cut(rest, `"`)
				}
			}
			path, ok := strings.CutPrefix(where, "http://"+g.addr)
			if !ok {
				t.Fatalf("the challenges are %q", a.Header["Www-Authenticate"])
			}
			for _, path := range []string{path, c.wellKnown} {
				if path == "" {
					continue
				}
				doc := g.get(path)
				var m struct {
					Resource string   `json:"resource"`
					Servers  []string `json:"authorization_servers"`
					Scopes   []string `json:"scopes_supported"`
				}
				if err := json.Unmarshal([]byte(doc.Body), &m); err != nil || doc.Status != 200 {
					t.Fatalf("%s: %d %s", path, doc.Status, doc.Body)
				}
				if m.Resource != "http://"+g.addr+c.resource || len(m.Servers) != 1 || m.Servers[0] != p.Issuer() || len(m.Scopes) != 2 {
					t.Errorf("%s: %s", path, doc.Body)
				}
			}
		})
	}
	if n := len(received(u)); n != 0 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

// TestRevokedTokenLosesItsStream: a reload that revokes a token ends its streams and lets
// others be.
func TestRevokedTokenLosesItsStream(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, u := startIssuer(t, p, "")
	stay, go1 := rrtest.NewEvents(), rrtest.NewEvents()
	u.Handle("/stay", stay)
	u.Handle("/go", go1)
	open := func(path, jti string) *bufio.Scanner {
		t.Helper()
		res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+path, "",
			bearer(p.Token("k1", map[string]any{"jti": jti}, nil))))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return bufio.NewScanner(res.Body)
	}
	staying := open("/stay", "good")
	open("/go", "bad")
	began := time.Now()
	config := strings.NewReplacer("LINES", issued(p, "revoked jti bad"), "RULES", "", "UPSTREAM", u.URL).Replace(jwtProxy)
	if err := g.reload(config); err != nil {
		t.Fatal(err)
	}
	go1.WaitGone(t)
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
	stay.Send(t, "still there")
	if !staying.Scan() || staying.Text() != "data: still there" {
		t.Errorf("another token's stream ended: %q %v", staying.Text(), staying.Err())
	}
}

// TestRemovedKeyEndsStreams: so does a key that its issuer withdraws.
func TestRemovedKeyEndsStreams(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.AddKey("ES256", "k2")
	p.CacheControl("max-age=1")
	g, u := startIssuer(t, p, "refresh_min 1s\nrefresh_max 1s")
	events := rrtest.NewEvents()
	u.Handle("/events", events)
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/events", "", bearer(p.Token("k1", nil, nil))))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	events.Send(t, "one")
	p.RemoveKey("k1")
	events.WaitGone(t)
}
