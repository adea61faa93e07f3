package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// The proxy followed a redirect of the vendor, and the secret went along to the other host.
// Sources: onecli/onecli#108
// Here: Redirects are the caller's business. The gateway follows none, nor do its requests for keys, tokens and
// introspection.
func TestPeer_onecli_108_NoRedirectIsFollowed(t *testing.T) {
	evil := rrtest.NewUpstream(t)
	to := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.URL+"/", http.StatusTemporaryRedirect)
	}
	issuer, opaque, tokens := idp.New(t), idp.New(t), newTokens(t)
	issuer.AddKey("ES256", "k1")
	issuer.Status(307, "Location", evil.URL)
	opaque.Status(307, "Location", evil.URL)
	tokens.Fault(to)
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	g, u := startPeer(t, proxies(peerProxy("p", vendor), jwtOf("jwt", issuer, "jwks_url "+issuer.JWKSURL()), introspecting("opaque", opaque, ""), peerProxy("oauth", "oauth2 {\n"+strings.ReplaceAll(byBasic, "TOKENURL", tokens.URL())+"\n}")))
	u.Handle("", http.HandlerFunc(to))
	if a := g.do("POST", "/p/x", "body", withKey); a.Status != http.StatusTemporaryRedirect || a.Header.Get("Location") != evil.URL+"/" {
		t.Errorf("the caller got %d to %s", a.Status, a.Header.Get("Location"))
	}
	g.get("/jwt/x", bearer(issuer.Token("k1", nil, nil))).want(t, 503, "verification-unavailable")
	g.get("/opaque/x", bearerOf("token")).want(t, 503, "verification-unavailable")
	g.get("/oauth/x", withKey).want(t, 502, "target-credential-failed")
	silent(t, evil)
}

// TRACE has the vendor send back the request as it got it, with the secret in it.
// Sources: RFC 9110 section 9.3.8
// Here: TRACE and CONNECT are 405 for callers, and do not reach the vendor.
func TestPeer_Requirement_NoTrace(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor, "allow *")))
	for _, line := range []string{"TRACE /p/x", "TRACE /p/"} {
		a := rrtest.Raw(t, g.addr, line+" HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nConnection: close\r\n\r\n")
		if a.Status != http.StatusMethodNotAllowed || strings.Contains(a.Body, vendorKey) {
			t.Errorf("%s: %d", line, a.Status)
		}
	}
	silent(t, u)
}

// Addresses were looked up for the check and again to dial, or judged by their text; a name that leads to the
// metadata service of the cloud passed.
// Sources: pomerium/pomerium#6144, agentgateway/agentgateway#3008, Infisical/agent-vault
// Here: The address that is dialled is judged, for targets, keys, tokens and introspection that came in through the API. Link-local and
// metadata addresses are refused to the configuration's endpoints too.
func TestPeer_pomerium_6144_AddressesAreJudgedWhenDialled(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	received(m.u)
	closed := strings.Replace(recordsGateway, "egress allow 127.0.0.0/8", "", 1)
	if err := m.reload(closed); err != nil {
		t.Fatal(err)
	}
	m.get("/api/p/x", "Authorization: "+key).want(t, 403, "address-not-allowed")
	silent(t, m.u)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "2130706433", "0x7f000001", "[::ffff:169.254.169.254]", "10.0.0.1", "0.0.0.0"} {
		m.want(m.ask("POST", "targets", `{"targetName":"x","targetBaseURL":"https://`+host+`/"}`), 422, "/targetBaseURL")
		m.want(m.ask("POST", "credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"x","credentialSecret":{"issuer":"https://i.example","jwksUri":"https://`+host+`/keys","audience":"a"}}`), 422, "jwksUri")
		m.want(m.ask("POST", "credentials", `{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"x","credentialSecret":{"grant":"client_credentials","tokenUrl":"https://`+host+`/t","clientId":"a","clientSecret":"b"}}`), 422, "tokenUrl")
	}
}

// A credential could go into one place only; vendors want it in a header of their own, with a prefix, in the query, a cookie, or the
// path. A value that goes there needs to be looked at.
// Sources: superfly/tokenizer#26, NVIDIA/OpenShell#708, agentgateway/agentgateway#510, agentgateway/agentgateway#1555
// Here: All of these places; in a path or a query the value is escaped, so that it stays one segment or one value, and the logs do not have
// it.
// Topic: placements
func TestPeer_openshell_708_EveryPlace(t *testing.T) {
	t.Setenv("RR_ODD", "a/../b?c#d&e=f%2f;g h")
	for name, c := range map[string]struct{ present, uri, header, value string }{
		"header": {"key {env.RR_VENDOR} {\nheader X-Own\n}", "/x?a=1", "X-Own", vendorKey},
		"prefix": {"key {env.RR_VENDOR} {\nheader X-Own ApiKey\n}", "/x?a=1", "X-Own", "ApiKey " + vendorKey},
		"query":  {"key {env.RR_VENDOR} {\nquery key\n}", "/x?a=1&key=" + vendorKey, "X-Api-Key", ""},
		"cookie": {"custom {\ncookie s {env.RR_VENDOR}\n}", "/x?a=1", "Cookie", "s=" + vendorKey},
		"path":   {"custom {\npath bot{env.RR_VENDOR}\n}", "/bot" + vendorKey + "/x?a=1", "X-Api-Key", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, u := startPeer(t, proxies(peerProxy("p", c.present)))
			g.get("/p/x?a=1", withKey).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.URI != c.uri || got.Header.Get(c.header) != c.value {
				t.Errorf("the upstream got %s, %s %q", got.URI, c.header, got.Header.Get(c.header))
			}
		})
	}
	for name, present := range map[string]string{"query": "key {env.RR_ODD} {\nquery key\n}", "path": "custom {\npath bot{env.RR_ODD}\n}"} {
		t.Run("odd "+name, func(t *testing.T) {
			g, u := startPeer(t, proxies(peerProxy("p", present)))
			g.get("/p/x?z=1", withKey).want(t, 200, "proxy-access-granted")
			got := one(t, u)
			path, query, _ := strings.Cut(got.URI, "?")
			if name == "path" && (strings.Count(path, "/") != 2 || query != "z=1" || strings.Contains(path, "#")) || name == "query" && (path != "/x" || strings.Count(query, "&") != 1 || strings.Contains(query, "#")) {
				t.Errorf("the upstream got %s", got.URI)
			}
		})
	}
}

// A token that was exchanged for a caller was used for another, or the caller's own went on when there was nothing to
// exchange.
// Sources: agentgateway/agentgateway#2740, TykTechnologies/tyk#8466
// Here: Who has no token that can be exchanged gets 502, and nothing is sent. Each caller's result is that caller's.
// Topic: behalf
func TestPeer_agentgateway_2740_NoSubjectNoExchange(t *testing.T) {
	s := newTokens(t)
	g, u, token := startForCallers(t, s, strings.Replace(byBasic, "client_credentials", "token_exchange", 1)+"\nsubject_token_type jwt")
	g.get("/p/", withKey).want(t, 502, "target-credential-failed") // a key is no token
	silent(t, u)
	seen := map[string]bool{}
	for _, who := range []string{"alice", "bob"} {
		caller := token(who, 1<<40)
		for range 2 {
			g.get("/p/", bearer(caller)).want(t, 200, "proxy-access-granted")
			got := one(t, u)
			seen[got.Header.Get("Authorization")] = true
			if got.Contains(caller) {
				t.Error("the caller's own token goes to the upstream")
			}
		}
	}
	if len(seen) != 2 {
		t.Errorf("two callers have %d tokens", len(seen))
	}
}

// Answers about tokens were kept without being asked for, so that a revoked token was accepted for minutes.
// Sources: PrefectHQ/fastmcp#3298, wso2/api-manager#2670
// Here: Nothing is kept unless `cache` says so: after a revocation the next request is 401.
// Topic: introspection
func TestPeer_fastmcp_3298_NoCacheByDefault(t *testing.T) {
	p := idp.New(t)
	p.Introspectable("token", map[string]any{"sub": "alice"})
	g, u := startPeer(t, proxies(introspecting("p", p, "")))
	for range 5 {
		g.get("/p/x", bearerOf("token")).want(t, 200, "proxy-access-granted")
	}
	received(u)
	p.Revoke("token")
	g.get("/p/x", bearerOf("token")).want(t, 401, "proxy-access-denied")
	silent(t, u)
	if n := p.IntrospectionCount(); n != 6 {
		t.Errorf("the endpoint was asked %d times for 6 requests", n)
	}
}

// Tokens that were invented filled the cache of refusals, and the memory.
// Sources: zmartzone/lua-resty-openidc#523
// Here: An invented token counts as a failure of its address, which is asked to wait before the endpoint is asked for it without
// end.
// Topic: introspection
func TestPeer_lua_resty_openidc_523_InventedTokens(t *testing.T) {
	p := idp.New(t)
	site := strings.Replace(proxies(introspecting("p", p, "cache 1h")), "throttle off", "throttle 5 1h", 1)
	site = strings.Replace(site, "{\n", "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n", 1)
	g, u := startPeer(t, site)
	me := from()
	for n := range 100 {
		if a := g.get("/p/x", bearerOf(fmt.Sprint("invented-", n)), me); a.Status != 401 && a.Status != 429 {
			t.Errorf("got %d", a.Status)
		}
	}
	if n := p.IntrospectionCount(); n > 6 {
		t.Errorf("the endpoint was asked %d times", n)
	}
	silent(t, u)
}

// A proof of possession was accepted again when somebody had recorded it, and proofs with elliptic-curve keys were not
// recognised.
// Sources: coupergateway/couper, RFC 9449 section 11.1
// Here: Each proof counts once, for one method, URL and token; a proof by ES256 is accepted.
// Topic: possession
func TestPeer_Requirement_AProofCountsOnce(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			p := idp.New(t)
			p.AddKey("ES256", "k1")
			g, u := startPeer(t, proxies(jwtOf("p", p, "dpop required")))
			client := idp.NewProver(t, alg)
			token := p.Token("k1", map[string]any{"cnf": client.Confirmation()}, nil)
			proof := client.Proof("GET", "http://"+g.addr+"/p/x", token, nil, nil)
			headers := []string{"Authorization: DPoP " + token, "DPoP: " + proof}
			g.get("/p/x", headers...).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.Contains(token) || got.Contains(proof) {
				t.Errorf("the upstream got %v", got.Header)
			}
			g.get("/p/x", headers...).want(t, 401, "proxy-access-denied")
			g.get("/p/y", "Authorization: DPoP "+token, "DPoP: "+client.Proof("GET", "http://"+g.addr+"/p/x", token, nil, nil)).want(t, 401, "proxy-access-denied")
			g.get("/p/x", bearer(token)).want(t, 401, "proxy-access-denied")
			silent(t, u)
		})
	}
}
