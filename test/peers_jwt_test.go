package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// refusedTokens sends tokens to the proxy p of the attack site; each is 401, and none
// goes further.
func refusedTokens(t *testing.T, g *gateway, u *rrtest.Upstream, proxy string, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		g.get("/"+proxy+"/v1/x", bearer(token)).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
}

// The algorithm in the token decided how it was verified, so that a token signed by HMAC with the public RSA key as
// its secret was good.
// Sources: CVE-2026-39999, apache/apisix#13182
// Here: The algorithm comes from the configuration and the key's own type; a verifier has public keys or a secret, never both.
func TestPeer_CVE_2026_39999_AlgorithmConfusion(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, k := range []*idp.Key{f.rsa, f.ec, f.ed} {
		for _, secret := range [][]byte{k.PublicPEM(), []byte(strings.TrimSpace(string(k.PublicPEM()))), k.PublicDER(), mustMarshal(k.JWK()), jwkSet(f.rsa)} {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				refusedTokens(t, g, u, "p", f.token(idp.NewSecret(alg, k.ID, secret)))
				refusedTokens(t, g, u, "rs", f.token(idp.NewSecret(alg, k.ID, secret)))
			}
		}
	}
	refusedTokens(t, g, u, "hmac", f.token(f.rsa), f.token(f.ec))
}

// A token without a signature, or with one of another algorithm, was accepted by several libraries over
// the years.
// Sources: CVE-2026-39999, RFC 8725 section 3.1
// Here: `none` is no algorithm, in whatever case.
func TestPeer_Requirement_NoneIsNoAlgorithm(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		token := f.with(f.ec, `{"alg":"`+alg+`","kid":"k1"}`)
		refusedTokens(t, g, u, "p", token, token[:strings.LastIndexByte(token, '.')+1])
		refusedTokens(t, g, u, "hmac", token, token[:strings.LastIndexByte(token, '.')+1])
	}
}

// A library split a token at each of its dots, so that a long line of dots took as many times its own size of
// memory before anything was verified.
// Sources: CVE-2025-30204, GHSA-mh63-6h87-95cp, coupergateway/couper#886
// Here: A token has at most 16 KiB and exactly two dots; that is looked at before anything else.
func TestPeer_CVE_2025_30204_AMegabyteOfDots(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	good := f.good("p")
	for _, token := range []string{strings.Repeat(".", 1<<20), good + strings.Repeat(".", 1<<20), strings.Repeat("a.", 1<<19), strings.Repeat("a", 1<<20), good + ".", good + "." + good} {
		begun := time.Now()
		refusedTokens(t, g, u, "p", token)
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%d bytes took %v", len(token), took)
		}
	}
}

// The kid of a token was taken for a text without a look at its type, and a number there made the process panic.
// Sources: coupergateway/couper
// Here: Members of the header that have another type than theirs are refused, and nothing panics.
func TestPeer_Requirement_AKidIsText(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, kid := range []string{"1", "1.5", "null", "true", "[]", `["k1"]`, "{}", `{"k1":1}`, "1e400"} {
		refusedTokens(t, g, u, "p", f.with(f.ec, `{"alg":"ES256","kid":`+kid+`}`))
		refusedTokens(t, g, u, "two", f.with(f.ec, `{"alg":"ES256","kid":`+kid+`}`))
	}
	if strings.Contains(g.Logs(), "panic") {
		t.Error("something panicked")
	}
}

// A token whose aud is null passed as one that has the right one.
// Sources: coupergateway/couper#393
// Here: aud is a text or a list of texts, and one of them is the configured one.
func TestPeer_couper_393_AudienceNull(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, aud := range []string{"null", "[]", "[null]", `""`, "{}", "0", "true", "", `"https://gateway.example.evil.test"`, `[["https://gateway.example"]]`} {
		refusedTokens(t, g, u, "p", f.token(f.ec, "aud", aud))
	}
	g.get("/p/v1/x", bearer(f.token(f.ec, "aud", `["x","https://gateway.example"]`))).want(t, 200, "proxy-access-granted")
}

// Issuer and audience could be left out by mistake, and then any token of a public provider was good.
// Sources: agentgateway/agentgateway#2993
// Here: Without `audience` the configuration loads only with `any_audience`, and keys without `issuer` are warned of. A token that lacks what is
// configured is 401.
func TestPeer_agentgateway_2993_IssuerAndAudience(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	set := "jwks " + file(t, "set.json", jwkSet(key))
	refusedToLoad(t, strings.NewReplacer("LINES", set+"\nissuer https://issuer.example/", "RULES", "", "UPSTREAM", "http://127.0.0.1:9", "{env.VENDOR_KEY}", "{env.RR_VENDOR}").Replace(jwtProxy), "audience")
	g, u := startJWT(t, set+"\naudience https://gateway.example", "")
	if !strings.Contains(g.Logs(), "jwt_verify has no issuer") {
		t.Error("no warning that any issuer passes")
	}
	g.get("/x", bearer(key.Token(claims(map[string]any{"aud": nil}), nil))).want(t, 401, "proxy-access-denied")
	if err := g.reload(strings.NewReplacer("LINES", set+"\naudience https://gateway.example\nissuer https://issuer.example/", "RULES", "", "UPSTREAM", u.URL).Replace(jwtProxy)); err != nil {
		t.Fatal(err)
	}
	for _, over := range []map[string]any{{"iss": nil}, {"iss": "https://issuer.example"}, {"iss": "https://evil.example/"}, {"aud": nil}} {
		g.get("/x", bearer(key.Token(claims(over), nil))).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
}

// A token without exp is good for ever, and was accepted unless an option said otherwise.
// Sources: apache/apisix#13829, ggicci/caddy-jwt
// Here: exp is required, a number, and of now.
func TestPeer_apisix_13829_ExpIsRequired(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, exp := range []string{"", "null", "0", `"9999999999"`, "-1", "1e400", fmt.Sprint(time.Now().Unix() - 31)} {
		refusedTokens(t, g, u, "p", f.token(f.ec, "exp", exp))
		refusedTokens(t, g, u, "hmac", f.with(f.shared, `{"alg":"HS256"}`, "exp", exp))
	}
}

// A verifier proved the signature and nothing else; exp, aud and the algorithm were left to
// who configures it.
// Sources: haproxy/haproxy
// Here: There is no option that leaves out the signature, exp, or what is configured of iss and aud.
func TestPeer_Requirement_ASignatureIsNotEnough(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	now := time.Now().Unix()
	refusedTokens(t, g, u, "p", f.token(f.ec, "exp", fmt.Sprint(now-60)), f.token(f.ec, "nbf", fmt.Sprint(now+600)), f.token(f.ec, "iat", fmt.Sprint(now+600)),
		f.token(f.ec, "aud", `"x"`), f.token(f.ec, "iss", `"x"`), f.token(f.ec, "sub", "null"))
}

// A library accepted tokens whose header marks as critical an extension that it does not
// know.
// Sources: CVE-2025-59420, GHSA-9ggr-2464-2j32, RFC 7515 section 4.1.11
// Here: No extension is known, so any `crit` is refused.
func TestPeer_CVE_2025_59420_UnknownCriticalHeaders(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	for _, more := range []string{`"crit":["bork"],"bork":1`, `"crit":["cnf"],"cnf":{"jkt":"x"}`, `"crit":["b64"],"b64":true`, `"crit":["exp"]`, `"crit":[]`, `"crit":"x"`, `"crit":null`} {
		refusedTokens(t, g, u, "p", f.with(f.ec, `{"alg":"ES256","kid":"k1",`+more+`}`))
	}
}

// The address of the keys was taken from the token or the request, so that an attacker's own keys were
// fetched and used.
// Sources: ggicci/caddy-jwt, RFC 8725 section 3.10
// Here: `jku`, `jwk`, `x5u` and `x5c` are not read, nor does an issuer's name in a token lead anywhere; what is fetched is what the operator configured.
func TestPeer_Requirement_TheTokenBringsNoKeys(t *testing.T) {
	f, g, u := startJWTAttacks(t)
	jwk := string(mustMarshal(f.attacker.JWK()))
	for _, more := range []string{`"jku":"` + f.server.URL + `"`, `"x5u":"` + f.server.URL + `"`, `"jwk":` + jwk, `"x5c":["` + idp.Base64(f.attacker.PublicDER()) + `"]`} {
		refusedTokens(t, g, u, "p", f.with(f.attacker, `{"alg":"ES256","kid":"k1",`+more+`}`), f.with(f.attacker, `{"alg":"ES256","kid":"new",`+more+`}`))
	}
	refusedTokens(t, g, u, "p", f.token(f.attacker, "iss", quoted(f.server.URL)))
	if n := f.seen.Load(); n > 0 {
		t.Errorf("the attacker's server was asked %d times", n)
	}
}
