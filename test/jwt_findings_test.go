package test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

const twoAccepts = `
{
	servers {
		trusted_proxies static 127.0.0.1/32
	}
	rr {
		proxy p {
			A
			B
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
		}
	}
}
:GATEPORT {
	rr_proxy p
}
`

// endsWithin reads to the end of a stream, if that comes in time.
func endsWithin(body io.Reader, d time.Duration) bool {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, body)
		close(ended)
	}()
	select {
	case <-ended:
		return true
	case <-time.After(d):
		return false
	}
}

// fortyGood sends forty requests, each with its own good token, more than the throttle
// lets fail.
func fortyGood(t *testing.T, g *gateway, token func() string) {
	t.Helper()
	codes, address := map[int]int{}, from()
	for range 40 {
		codes[g.get("/", bearer(token()), address).Status]++
	}
	if codes[200] != 40 {
		t.Errorf("good requests were refused: %v", codes)
	}
}

// TestSuccessNeverCounts: that one verifier refuses what the next one accepts is no failure.
func TestSuccessNeverCounts(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u, p, q := rrtest.NewUpstream(t), idp.New(t), idp.New(t)
	p.AddKey("ES256", "k1")
	old, young := idp.NewKey(t, "ES256", ""), idp.NewKey(t, "ES256", "")
	pem := func(k *idp.Key) string {
		return "accept jwt_verify {\nissuer https://issuer.example/\naudience https://gateway.example\npublic_key " + file(t, "k.pem", k.PublicPEM()) + "\n}\n"
	}
	introspect := func(p *idp.Provider) string {
		return "accept introspect {\nurl " + p.IntrospectionURL() + "\nclient_id x\nclient_auth none\ncache 1m\n}\n"
	}
	same := p.Token("k1", nil, nil)
	for _, c := range []struct {
		name, first, second string
		token               func() string
	}{
		{"two keys", pem(old), pem(young), func() string {
			return young.Token(claims(map[string]any{"jti": fmt.Sprint(time.Now().UnixNano())}), nil)
		}},
		{"introspect, then a signature", introspect(p), "accept jwt_verify {\n" + issued(p, "") + "\n}\n", func() string { return p.Token("k1", nil, nil) }},
		{"the same token", introspect(p), "accept jwt_verify {\n" + issued(p, "") + "\n}\n", func() string { return same }},
		{"two endpoints", introspect(p), introspect(q), func() string { return q.Opaque(map[string]any{"sub": "u"}) }},
		{"two passwords", "accept basic bob $2a$04$vNBGGGUSZ5kHSXMjDQIGF.YMGJNhlxlM0oNN8OLYIgHCpdqGpBnSK", "accept jwt_verify {\n" + issued(p, "") + "\n}\n", func() string { return p.Token("k1", nil, nil) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			fortyGood(t, start(t, twoAccepts, "A", c.first, "B", c.second, "UPSTREAM", u.URL), c.token)
		})
	}
}

// TestAlsoIsNotTheMainTokens: the main token cannot say what only the other may.
func TestAlsoIsNotTheMainTokens(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	a, b := idp.NewKey(t, "ES256", ""), idp.NewKey(t, "ES256", "")
	cfg := `
{
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				issuer https://issuer.example/
				audience https://gateway.example
				public_key A
			}
			also jwt_verify {
				issuer https://hr.example/
				audience https://gateway.example
				public_key B
				from header X-User-Auth
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
			allow GET /admin/* {
				claim also.role ^admin$
			}
		}
	}
}
:GATEPORT {
	rr_proxy p {
		header_up X-Role {http.auth.user.also.role}
	}
}
`
	g := start(t, cfg, "public_key A", "public_key "+file(t, "a.pem", a.PublicPEM()), "public_key B", "public_key "+file(t, "b.pem", b.PublicPEM()), "UPSTREAM", u.URL)
	second := "X-User-Auth: " + b.Token(claims(map[string]any{"iss": "https://hr.example/", "role": "guest"}), nil)
	noRole := "X-User-Auth: " + b.Token(claims(map[string]any{"iss": "https://hr.example/"}), nil)
	for name, c := range map[string]struct {
		main map[string]any
		also string
	}{
		"honest":                         {nil, second},
		"flat also.role over guest":      {map[string]any{"also.role": "admin"}, second},
		"nested also{role} over guest":   {map[string]any{"also": map[string]any{"role": "admin"}}, second},
		"nested also{role} over no role": {map[string]any{"also": map[string]any{"role": "admin"}}, noRole},
	} {
		res := g.get("/admin/x", bearer(a.Token(claims(c.main), nil)), c.also)
		role := ""
		if got := received(u); len(got) > 0 {
			role = got[0].Header.Get("X-Role")
		}
		if res.Status == 200 || role == "admin" {
			t.Errorf("%s: %d, and the upstream gets the role %q", name, res.Status, role)
		}
	}
}

// TestStreamsEndWithAccess: a reload after which the token would be refused ends its streams.
func TestStreamsEndWithAccess(t *testing.T) {
	for name, lines := range map[string]string{
		"scope now needed":           "scope admin",
		"dpop now required":          "dpop required",
		"algorithm gone":             "algorithms RS256",
		"typ now needed":             "typ at+jwt",
		"audience changed (control)": "",
	} {
		t.Run(name, func(t *testing.T) {
			p := idp.New(t)
			p.AddKey("ES256", "k1")
			g, u := startIssuer(t, p, "")
			ev := rrtest.NewEvents()
			u.Handle("/s", ev)
			tok := bearer(p.Token("k1", nil, nil))
			res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/s", "", tok))
			if err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
			defer res.Body.Close()
			l := issued(p, lines)
			if lines == "" {
				l = strings.Replace(l, "audience "+idp.Audience, "audience other", 1)
			}
			config := strings.NewReplacer("LINES", l, "RULES", "", "UPSTREAM", u.URL).Replace(jwtProxy)
			if err := g.reload(config); err != nil {
				t.Fatal(err)
			}
			if s := g.get("/", tok).Status; s == 200 {
				t.Fatal("not a loss of access")
			}
			if !endsWithin(res.Body, 4*time.Second) {
				t.Error("the stream is still open 4 s after access was lost")
				ev.Send(t, "secret data")
			}
		})
	}
}

const gatewayCfg = `
{
	servers {
		trusted_proxies static 127.0.0.1/32
	}
	rr {
		THROTTLE
		proxy real {
			accept jwt_verify {
				LINES
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
		}
	}
}
:GATEPORT {
	rr_gateway /api/*
}
`

// TestStolenTokenTellsNoNames: who has a bound token without its key learns no names.
func TestStolenTokenTellsNoNames(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	for _, more := range []string{"", "dpop required", "dpop required nonce"} {
		t.Run(more, func(t *testing.T) {
			g := start(t, gatewayCfg, "LINES", issued(p, more), "UPSTREAM", u.URL, "THROTTLE", "throttle off")
			victim, thief := idp.NewProver(t, "ES256"), idp.NewProver(t, "ES256")
			tok := p.Token("k1", map[string]any{"cnf": victim.Confirmation()}, nil)
			show := func(path string) string {
				a := g.get(path, "Authorization: DPoP "+tok, "DPoP: "+thief.Proof("GET", "http://"+g.addr+path, tok, nil, nil))
				return fmt.Sprint(a.Status, strings.ReplaceAll(fmt.Sprint(a.Header["Www-Authenticate"]), path, "<path>"), a.Header.Get("DPoP-Nonce") != "")
			}
			if x, y := show("/api/real"), show("/api/nope"); x != y {
				t.Errorf("the proxy that exists: %s, the other: %s", x, y)
			}
		})
	}
}

// TestThrottledAddressLearnsNothing: what claims are wanted cannot be guessed.
func TestThrottledAddressLearnsNothing(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	k, x := idp.NewKey(t, "ES256", ""), idp.NewKey(t, "ES256", "")
	g := start(t, gatewayCfg, "LINES", "issuer https://issuer.example/\naudience https://gateway.example\nsubject ^svc-7$\nclaim tenant acme\npublic_key "+file(t, "k", k.PublicPEM()), "UPSTREAM", u.URL, "THROTTLE", "")
	address := from()
	for range 25 {
		g.get("/api/real/", bearer(x.Token(claims(nil), nil)), address)
	}
	for _, c := range []map[string]any{
		{"sub": "svc-6", "tenant": "acme"}, {"sub": "svc-7", "tenant": "beta"}, {"sub": "svc-7", "tenant": "acme", "aud": "other"}, {"sub": "svc-7", "tenant": "acme"},
	} {
		a := g.get("/api/real/", bearer(x.Token(claims(c), nil)), address)
		if a.Status != 429 {
			t.Errorf("%v: %d", c, a.Status)
		}
	}
}
