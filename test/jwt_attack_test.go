package test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// startJWTAttacks starts the site, and waits for the keys.
func startJWTAttacks(t *testing.T) (*jwtForger, *gateway, *rrtest.Upstream) {
	t.Helper()
	setSecrets(t)
	t.Setenv("RR_SHARED", sharedSecret)
	f, u := newJWTForger(t), rrtest.NewUpstream(t)
	g := start(t, jwtAttackSite, "ISSUER-A", f.a.Issuer(), "JWKS-A", f.a.JWKSURL(), "ISSUER-B", f.b.Issuer(), "JWKS-B", f.b.JWKSURL(), "UPSTREAM", u.URL)
	for _, proxy := range []string{"p", "other", "two", "rs", "hmac", "places"} {
		rrtest.Eventually(t, proxy+" has keys", func() bool { return g.get("/"+proxy+"/v1/x", bearer(f.good(proxy))).Status == 200 })
	}
	rrtest.Eventually(t, "two has both issuers' keys", func() bool {
		return g.get("/two/v1/x", bearer(f.token(f.ecOfB, "iss", quoted(f.b.Issuer())))).Status == 200
	})
	received(u)
	return f, g, u
}

// TestJWTAttacks sends everything that somebody has tried on some verifier. Each trick is
// refused with 401; neither the upstream nor the attacker's server hears of it; the
// issuers are not asked beyond the limit; and a good token passes afterwards.
func TestJWTAttacks(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	kinds := map[string]func() []trick{
		"algorithms": f.algorithms, "keys": f.keys, "headers": f.headers, "spellings": f.spellings, "signatures": f.signatures,
		"audiences": f.audiences, "issuers": f.issuers, "times": f.times, "names": f.names, "confirmations": f.confirmations, "places": f.places,
	}
	var sent []string
	for kind, rows := range kinds {
		t.Run(kind, func(t *testing.T) {
			for _, row := range rows() {
				t.Run(row.name, func(t *testing.T) { sent = append(sent, f.try(t, g, u, row)...) })
			}
		})
	}
	if n := f.seen.Load(); n > 0 {
		t.Errorf("the attacker's server got %d requests", n)
	}
	// of a, for an unknown kid, there was one more than the first
	if a, b := f.a.JWKSFetches(), f.b.JWKSFetches(); a > 2 || b > 2 {
		t.Errorf("the keys were fetched %d and %d times", a, b)
	}
	checkNoTokenInLogs(t, g.Logs(), sent)
}

// try sends one trick and then a good token. It returns the tokens.
func (f *jwtForger) try(t *testing.T, g *gateway, u *rrtest.Upstream, row trick) []string {
	t.Helper()
	if row.proxy == "" {
		row.proxy = "p"
	}
	if row.headers == nil {
		row.headers = []string{bearer(row.token)}
	}
	for range 2 { // nothing is remembered of the first time
		a := g.get("/"+row.proxy+"/v1/x"+row.path, row.headers...)
		a.want(t, 401, "proxy-access-denied")
		if w := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(w, "Bearer realm=") && !strings.HasPrefix(w, "DPoP realm=") {
			t.Errorf("the challenge is %q", w)
		}
	}
	if n := len(received(u)); n > 0 {
		t.Errorf("the upstream got %d requests", n)
	}
	good := f.good(row.proxy)
	g.get("/"+row.proxy+"/v1/x", bearer(good)).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Contains(good) {
		t.Errorf("of a good token the upstream got %v", got.Header)
	}
	return []string{row.token, good}
}

// checkNoTokenInLogs looks for tokens, their signatures, and panics.
func checkNoTokenInLogs(t *testing.T, logs string, tokens []string) {
	t.Helper()
	for _, token := range tokens {
		parts := strings.Split(token, ".")
		for _, part := range []string{token, parts[len(parts)-1]} {
			if len(part) > 40 && strings.Contains(logs, part) {
				t.Errorf("the log has %.60s…", part)
			}
		}
	}
	for _, word := range []string{"panic", "runtime error", "goroutine "} {
		if strings.Contains(logs, word) {
			t.Errorf("the log has %q", word)
		}
	}
}

// TestJWTGoodTokens are the right neighbours of the tricks: what the tricks change is the
// only thing that is wrong with them.
func TestJWTGoodTokens(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	client := idp.NewProver(t, "ES256")
	bound := f.token(f.ec, "cnf", string(mustMarshal(client.Confirmation())))
	proof := client.Proof("GET", "http://gateway.example/p/v1/x", bound, nil, nil)
	good := f.good("places")
	for _, row := range []trick{
		{name: "RS256", token: f.token(f.rsa)},
		{name: "EdDSA", token: f.token(f.ed)},
		{name: "PS256 of the RSA key that says no algorithm", token: f.with(f.noAlg.With("PS256", "k4"), `{"alg":"PS256","kid":"k4"}`)},
		{name: "without kid", token: f.with(f.ec, `{"alg":"ES256"}`)},
		{name: "typ at+jwt", token: f.with(f.ec, `{"alg":"ES256","kid":"k1","typ":"application/AT+jwt"}`)},
		{name: "with keys of its own, which nobody reads", token: f.with(f.ec, `{"alg":"ES256","kid":"k1","jku":"`+f.server.URL+`","jwk":{},"x5c":[]}`)},
		{name: "16 KiB", token: f.sized(16 << 10)},
		{name: "several audiences", token: f.token(f.ec, "aud", `["x","https://gateway.example"]`)},
		{name: "exp with a fraction", token: f.token(f.ec, "exp", strconv.FormatInt(time.Now().Unix()+60, 10)+".75")},
		{name: "exp with an exponent", token: f.token(f.ec, "exp", "2.5e11")},
		{name: "names in another case, too", token: f.token(f.ec, "EXP", "1", "Iss", `"x"`, "AUD", "null")},
		{name: "the second issuer", proxy: "two", token: f.token(f.ecOfB, "iss", quoted(f.b.Issuer()))},
		{name: "a bound token with its proof", headers: []string{"Authorization: DPoP " + bound, "DPoP: " + proof, "Host: gateway.example"}},
		{name: "in X-Token", proxy: "places", headers: []string{"X-Token: " + good}},
		{name: "in the query", proxy: "places", headers: []string{"X: y"}, path: "?access_token=" + good},
		{name: "in a cookie", proxy: "places", headers: []string{"Cookie: session=" + good}},
		{name: "the very same in two places", proxy: "places", headers: []string{"X-Token: " + good, bearer(good)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.proxy == "" {
				row.proxy = "p"
			}
			if row.headers == nil {
				row.headers = []string{bearer(row.token)}
			}
			g.get("/"+row.proxy+"/v1/x"+row.path, row.headers...).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.Contains(good) || got.Contains(bound) || got.Contains(proof) {
				t.Errorf("the upstream got %v", got)
			}
		})
	}
	checkNoTokenInLogs(t, g.Logs(), []string{good, bound, proof})
}

// TestJWTNothingMixes: what is remembered of a token counts where it was verified, and
// nowhere else.
func TestJWTNothingMixes(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	ofA, ofB := f.token(f.ec), f.token(f.ecOfB, "iss", quoted(f.b.Issuer()))
	for range 2 { // at first sight, and remembered
		for _, c := range []struct {
			name, proxy, token string
			status             int
		}{
			{"where it is for", "p", ofA, 200},
			{"another audience", "other", ofA, 401},
			{"another algorithm", "rs", ofA, 401},
			{"a secret", "hmac", ofA, 401},
			{"one of two issuers", "two", ofA, 200},
			{"the other of two", "two", ofB, 200},
			{"the other issuer, same kid", "p", ofB, 401},
			{"still where it is for", "p", ofA, 200},
		} {
			if a := g.get("/"+c.proxy+"/v1/x", bearer(c.token)); a.Status != c.status {
				t.Errorf("%s: got %d, want %d", c.name, a.Status, c.status)
			}
		}
	}
	if n := len(received(u)); n != 8 {
		t.Errorf("the upstream got %d requests, want 8", n)
	}
}

// TestJWTRawAttacks are tokens that no HTTP client would send.
func TestJWTRawAttacks(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	good := f.good("p")
	for name, lines := range map[string]string{
		"a NUL behind":                   "Authorization: Bearer " + good + "\x00",
		"a NUL inside":                   "Authorization: Bearer " + good[:50] + "\x00" + good[50:],
		"a CR inside":                    "Authorization: Bearer " + good[:50] + "\r" + good[50:],
		"folded over two lines":          "Authorization: Bearer " + good[:50] + "\r\n " + good[50:],
		"a space before the colon":       "Authorization : Bearer " + good,
		"two headers":                    "Authorization: Bearer " + good + "\r\nAuthorization: Bearer " + good,
		"two headers, one empty":         "Authorization: Bearer " + good + "\r\nAuthorization:",
		"two headers, in another case":   "authorization: Bearer " + f.token(f.attacker) + "\r\nAUTHORIZATION: Bearer " + good,
		"an underscore":                  "Authorization_: Bearer " + good,
		"in Proxy-Authorization":         "Proxy-Authorization: Bearer " + good,
		"two tokens with a comma":        "Authorization: Bearer " + good + ", Bearer " + good,
		"no space":                       "Authorization: Bearer" + good,
		"another scheme":                 "Authorization: JWT " + good,
		"without a scheme":               "Authorization: " + good,
		"as Basic":                       "Authorization: Basic " + good,
		"the scheme twice":               "Authorization: Bearer Bearer " + good,
		"a name in front, as RFC 7235's": "Authorization: Bearer token=" + good,
		"quotes":                         `Authorization: Bearer "` + good + `"`,
	} {
		t.Run(name, func(t *testing.T) {
			a, status := raw(t, g.addr, "GET /p/v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n\r\n")
			if status != 401 && status != 400 {
				t.Errorf("got %d:\n%.500s", status, a)
			}
			if n := len(received(u)); n > 0 {
				t.Errorf("the upstream got %d requests", n)
			}
		})
	}
	g.get("/p/v1/x", bearer(good)).want(t, 200, "proxy-access-granted")
	checkNoTokenInLogs(t, g.Logs(), []string{good})
}
