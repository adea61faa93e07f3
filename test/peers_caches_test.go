package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// introspecting is a proxy for opaque tokens that p is asked about.
func introspecting(name string, p *idp.Provider, more string) string {
	return strings.Replace(peerProxy(name, vendor), "accept key {env.RR_CALLER}", "accept introspect {\nurl "+p.IntrospectionURL()+"\nclient_auth none\n"+more+"\n}", 1)
}

// What was to be injected was remembered without the host, so that one vendor's secret was served to
// another.
// Sources: onecli/onecli#251, onecli/onecli#252
// Here: A token is kept for the whole definition of its credential, and a request has the credential of its own proxy.
func TestPeer_onecli_252_EachHostItsOwnToken(t *testing.T) {
	one1, two2 := newTokens(t), newTokens(t)
	second := rrtest.NewUpstream(t)
	q := "proxy q {\naccept key {env.RR_CALLER}\ntarget " + second.URL + "\npresent oauth2 {\n" + strings.ReplaceAll(byBasic, "TOKENURL", two2.URL()) + "\n}\n}"
	g, u := startOAuth2(t, one1, byBasic, "MORE", q)
	for range 3 {
		g.get("/p/same/path", withKey).want(t, 200, "proxy-access-granted")
		g.get("/q/same/path", withKey).want(t, 200, "proxy-access-granted")
		a, b := one(t, u).Header.Get("Authorization"), one(t, second).Header.Get("Authorization")
		if !one1.Good(a) || !two2.Good(b) {
			t.Errorf("the vendors got %q and %q", a, b)
		}
	}
	if one1.Count() != 1 || two2.Count() != 1 {
		t.Errorf("%d and %d tokens", one1.Count(), two2.Count())
	}
}

// After a change, the old secret and the old rules were used for another minute, out of a cache that nobody
// emptied.
// Sources: onecli/onecli#116, onecli/onecli#117, onecli/onecli#118
// Here: The request after the answer of the API has what was changed: secret, rule, caller and target.
func TestPeer_onecli_117_AChangeHoldsFromTheNextRequest(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	auth := "Authorization: " + key
	for n := range 10 {
		token := fmt.Sprintf("sk_test_%d-0123456789abcdef", n)
		m.want(m.ask("PUT", "credentials/vendor-key", `{"credentialSecret":{"token":"`+token+`"}}`), 200)
		m.get("/api/p/x", auth).want(t, 200, "proxy-access-granted")
		if got := one(t, m.u).Header.Get("Authorization"); got != "Bearer "+token {
			t.Errorf("change %d: the upstream got %q", n, got)
		}
		rule := m.made("proxies/p/rules", `{"effect":"deny","methods":["GET"],"path":"/x"}`)
		m.get("/api/p/x", auth).want(t, 403, "proxy-access-denied")
		m.want(m.ask("DELETE", "proxies/p/rules/"+fmt.Sprint(rule["ruleId"]), ""), 200)
	}
	m.get("/api/p/x", auth).want(t, 200, "proxy-access-granted")
	m.want(m.ask("PUT", "proxies/p", `{"proxyActive":false}`), 200)
	m.get("/api/p/x", auth).want(t, 503, "proxy-inactive")
}

// What one endpoint had said of a token was taken for what another would say of it, since the endpoint was not in
// the key of the cache.
// Sources: ory/oathkeeper@198a2bc8
// Here: Answers are kept for the endpoint, the client and all conditions under which they were given.
func TestPeer_oathkeeper_198a2bc8_EndpointsDoNotShareAnswers(t *testing.T) {
	a, b := idp.New(t), idp.New(t)
	a.Introspectable("token", map[string]any{"sub": "alice"})
	g, _ := startPeer(t, proxies(introspecting("a", a, "cache 1h"), introspecting("b", b, "cache 1h")))
	for range 3 {
		g.get("/a/x", bearerOf("token")).want(t, 200, "proxy-access-granted")
		g.get("/b/x", bearerOf("token")).want(t, 401, "proxy-access-denied")
	}
	if a.IntrospectionCount() != 1 {
		t.Errorf("a was asked %d times", a.IntrospectionCount())
	}
}

// A token that was in the cache was accepted whatever scopes the route wants.
// Sources: CVE-2021-32701
// Here: Scopes are judged for the verifier of the route, on a hit too.
func TestPeer_CVE_2021_32701_ScopesOnAHit(t *testing.T) {
	p := idp.New(t)
	p.Introspectable("token", map[string]any{"sub": "alice", "scope": "read"})
	g, u := startPeer(t, proxies(introspecting("read", p, "cache 1h\nscope read"), introspecting("admin", p, "cache 1h\nscope admin"), introspecting("other", p, "cache 1h\naudience somebody")))
	for range 3 {
		g.get("/read/x", bearerOf("token")).want(t, 200, "proxy-access-granted")
		one(t, u)
		g.get("/admin/x", bearerOf("token")).want(t, 403, "proxy-access-denied")
		g.get("/other/x", bearerOf("token")).want(t, 401, "proxy-access-denied")
		silent(t, u)
	}
	issuer := idp.New(t)
	issuer.AddKey("ES256", "k1")
	if err := g.reload(proxies(jwtOf("read", issuer, "scope read"), jwtOf("admin", issuer, "scope admin"))); err != nil {
		t.Fatal(err)
	}
	token := bearer(issuer.Token("k1", map[string]any{"scope": "read"}, nil))
	for range 3 {
		g.get("/read/x", token).want(t, 200, "proxy-access-granted")
		g.get("/admin/x", token).want(t, 403, "proxy-access-denied")
	}
}

// Different tokens had the same key in the cache of verified ones, so that one was
// accepted as another.
// Sources: GHSA-rp9m-7r4c-75qg
// Here: The key is a SHA-256 over the verifier, its keys and the whole token; no neighbour of a token that was seen is accepted.
func TestPeer_GHSA_rp9m_7r4c_75qg_NeighboursOfATokenThatWasSeen(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	g, u := startJWT(t, "any_audience\nissuer https://issuer.example/\njwks "+file(t, "set.json", jwkSet(key)), "")
	token := key.Token(claims(nil), nil)
	for range 3 {
		g.get("/x", bearer(token)).want(t, 200, "proxy-access-granted")
	}
	received(u)
	for at := 0; at < len(token); at += 7 {
		swap := byte('A')
		if token[at] == swap {
			swap = 'B'
		}
		if token[at] != '.' {
			g.get("/x", bearer(token[:at]+string(swap)+token[at+1:])).want(t, 401, "proxy-access-denied")
		}
		g.get("/x", bearer(token[:at]+token[at+1:])).want(t, 401, "proxy-access-denied")
	}
	parts := strings.Split(token, ".")
	other := strings.Split(key.Token(claims(map[string]any{"sub": "admin"}), nil), ".")
	g.get("/x", bearer(parts[0]+"."+other[1]+"."+parts[2])).want(t, 401, "proxy-access-denied")
	silent(t, u)
}

// A secret was rotated, and what had been made with the old one was used until its
// time was over.
// Sources: apache/apisix#13668
// Here: Tokens that were fetched with a secret are not used after the secret has changed.
func TestPeer_apisix_13668_NothingOfTheOldSecretIsUsed(t *testing.T) {
	s := newTokens(t)
	m := startManaged(t)
	_, key := m.caller("agent")
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	secret := func(text string) string {
		return `{"grant":"client_credentials","tokenUrl":"` + s.URL() + `","clientId":"rr","clientSecret":"` + text + `"}`
	}
	m.made("credentials", `{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"token","credentialSecret":`+secret(oauth2Secret)+`}`)
	m.made("proxies", `{"proxyName":"p","proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":"token"}`)
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	received(m.u)
	m.want(m.ask("PUT", "credentials/token", `{"credentialSecret":`+secret("not-the-secret-any-more")+`}`), 200)
	m.get("/api/p/x", "Authorization: "+key).want(t, 502, "target-credential-failed")
	silent(t, m.u)
}

// A hit in the cache did not look at exp, so that a token was accepted after its end.
// Sources: firecrawl/firecrawl#3973
// Here: The end of a token is looked at on every request, remembered or not.
func TestPeer_firecrawl_3973_ExpOnAHit(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	g, u := startJWT(t, "any_audience\nleeway 0s\nissuer https://issuer.example/\njwks "+file(t, "set.json", jwkSet(key)), "")
	end := time.Now().Add(3 * time.Second)
	token := bearer(key.Token(claims(map[string]any{"exp": end.Unix()}), nil))
	g.get("/x", token).want(t, 200, "proxy-access-granted")
	rrtest.Eventually(t, "the token has ended", func() bool { return g.get("/x", token).Status == 401 })
	if late := time.Since(end); late > 2*time.Second {
		t.Errorf("it was accepted for %v more", late)
	}
	received(u)
	g.get("/x", token).want(t, 401, "proxy-access-denied")
	silent(t, u)
}

// The answer about a token was kept for a fixed time, also beyond the token's own end.
// Sources: Altinity/ClickHouse#1777
// Here: An answer is kept for `cache`, and at most until the exp in it.
func TestPeer_clickhouse_1777_AnAnswerEndsWithItsToken(t *testing.T) {
	p := idp.New(t)
	end := time.Now().Add(3 * time.Second)
	p.Introspectable("token", map[string]any{"sub": "alice", "exp": end.Unix()})
	g, _ := startPeer(t, proxies(introspecting("p", p, "cache 1h")))
	g.get("/p/x", bearerOf("token")).want(t, 200, "proxy-access-granted")
	rrtest.Eventually(t, "the token has ended", func() bool { return g.get("/p/x", bearerOf("token")).Status == 401 })
	if late := time.Since(end); late > 3*time.Second {
		t.Errorf("it was accepted for %v more", late)
	}
}

// A key in a caller's body took the place of the configured one, and stayed there for all who came
// later.
// Sources: BerriAI/litellm#36794
// Here: Nothing in a request changes the credential of a proxy. A body passes as it is, and the vendor decides what
// to do with it.
func TestPeer_litellm_36794_ABodyChangesNoCredential(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	evil := rrtest.NewUpstream(t)
	body := `{"model":"m","api_key":"evil","api_base":"` + evil.URL + `","extra_headers":{"Authorization":"Bearer evil"}}`
	g.do("POST", "/p/v1/chat", body, withKey, "Content-Type: application/json").want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Body != body {
		t.Errorf("the upstream got %v, %s", got.Header, got.Body)
	}
	g.get("/p/v1/models", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Contains("evil") {
		t.Errorf("the next caller's request has %v", got.Header)
	}
	silent(t, evil)
}
