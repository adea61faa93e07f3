package test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// An injector leaves a header alone that the request has already, so a caller's own value goes to the vendor instead of the
// gateway's; some wish for just that, as a choice.
// Sources: envoyproxy/ai-gateway#2661, hashicorp/vault
// Here: Every header, parameter and cookie into which a credential goes is overwritten, in each spelling. There is no option to let the
// caller's win.
func TestPeer_ai_gateway_2661_TheCallersValueIsOverwritten(t *testing.T) {
	const present = "custom {\nheader X-Vault-Token {env.RR_VENDOR}\nheader Authorization {env.RR_VENDOR}\nquery api_key {env.RR_VENDOR}\ncookie session {env.RR_VENDOR}\n}"
	g, u := startPeer(t, proxies(strings.Replace(peerProxy("p", present), "{env.RR_CALLER}", "{env.RR_CALLER} {\nfrom header X-Me\n}", 1)))
	g.get("/p/x?api_key=evil&a=1&API_KEY=evil&api%5Fkey=evil", "X-Me: "+callerKey, "X-Vault-Token: evil", "x-vault-token: evil", "Authorization: evil",
		"Authorization: Basic ZXZpbDpldmls", "Cookie: session=evil; b=2; session=evil").want(t, 200, "proxy-access-granted")
	got := one(t, u)
	if got.Contains("evil") || got.Contains("ZXZpbDpldmls") || got.URI != "/x?a=1&api_key="+vendorKey {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
	for name, want := range map[string]string{"X-Vault-Token": "[" + vendorKey + "]", "Authorization": "[" + vendorKey + "]", "Cookie": "[b=2; session=" + vendorKey + "]"} {
		if fmt.Sprint(got.Header[name]) != want {
			t.Errorf("%s is %q", name, got.Header[name])
		}
	}
}

// The caller's key went on to the backend, unless an option that is off by default was found and
// switched on.
// Sources: envoyproxy/gateway#6444, Kong/kong, apache/apisix
// Here: All places from which any verifier of the proxy could read are emptied, not only the one that matched; a
// second key in another place is 401.
func TestPeer_gateway_6444_TheCallersKeyStays(t *testing.T) {
	site := strings.Replace(proxies(peerProxy("p", "none")), "{env.RR_CALLER}", "{env.RR_CALLER} {\nfrom header X-Key\nfrom header Authorization Bearer\nfrom query key\nfrom cookie k\n}\naccept basic bob {env.RR_OTHER}", 1)
	g, u := startPeer(t, site)
	same := []string{"X-Key: " + callerKey, "Cookie: k=" + callerKey + "; theme=dark", "Referer: http://h/?key=" + callerKey}
	g.get("/p/x?key="+callerKey+"&page=2", same...).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.Contains(callerKey) || got.URI != "/x?page=2" || got.Header.Get("Cookie") != "theme=dark" {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
	g.get("/p/x?key="+otherKey, "X-Key: "+callerKey).want(t, 401, "proxy-access-denied")
	g.get("/p/x", "X-Key: "+callerKey, "Authorization: Basic "+basicText("bob", otherKey)).want(t, 401, "proxy-access-denied")
	silent(t, u)
}

// A list of claims that was left empty switched off the check of exp, and where anonymous callers were allowed too, a bad token
// went to the upstream as it was.
// Sources: apache/apisix#13468
// Here: exp is required whatever else is. A credential that is bad is refused, also where callers without one
// are let in, and does not go upstream with them.
func TestPeer_apisix_13468_ABadTokenIsNotAnonymous(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	set := file(t, "set.json", jwkSet(key))
	g, u := startPeer(t, proxies(strings.Replace(peerProxy("p", "none"), "accept key {env.RR_CALLER}",
		"accept jwt_verify {\nissuer https://issuer.example/\naudience https://gateway.example\njwks "+set+"\n}\naccept none", 1)))
	g.get("/p/x").want(t, 200, "proxy-access-granted")
	g.get("/p/x", bearer(key.Token(claims(nil), nil))).want(t, 200, "proxy-access-granted")
	for _, r := range received(u) {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("the upstream got %v", r.Header)
		}
	}
	for _, over := range []map[string]any{{"exp": 1}, {"exp": nil}, {"aud": "x"}, {"iss": "x"}} {
		g.get("/p/x", bearer(key.Token(claims(over), nil))).want(t, 401, "proxy-access-denied")
	}
	g.get("/p/x", "Authorization: Bearer x").want(t, 401, "proxy-access-denied")
	silent(t, u)
}

// When the vendor's key was missing, the proxy sent the caller's own key to the vendor.
// Sources: kcolemangt/llm-router#13
// Here: A proxy whose credential is gone answers 503 `proxy-incomplete`; one whose secret is not there does not load. In both cases nothing
// is sent.
func TestPeer_llm_router_13_WithoutTheVendorsKeyNothingIsSent(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	m.get("/api/p/x", "Authorization: Bearer "+key).want(t, 200, "proxy-access-granted")
	received(m.u)
	m.want(m.ask("DELETE", "credentials/vendor-key?force=true", ""), 200)
	m.get("/api/p/x", "Authorization: Bearer "+key).want(t, 503, "proxy-incomplete")
	silent(t, m.u)
	missing := strings.Replace(recordsGateway, "{env.RR_VENDOR}", "{file."+filepath.Join(t.TempDir(), "none")+"}", 1)
	if err := m.reload(missing); err == nil {
		t.Error("a configuration without the secret loads")
	}
	m.get("/api/declared/x", "Authorization: "+otherKey).want(t, 200, "proxy-access-granted") // the old one is served
}

// The caller's token was sent to the vendor, and the vendor's error quoted a part of it, which the logs and the
// caller's client then had.
// Sources: techlab-innov/llmtrace#274
// Here: The vendor never has the caller's credential, so no answer can quote it.
func TestPeer_llmtrace_274_AVendorCannotEchoTheCaller(t *testing.T) {
	g, u := startPeer(t, strings.Replace(proxies(peerProxy("p", vendor)), "{env.RR_CALLER}", "{env.RR_CALLER} {\nfrom header Authorization Bearer\nfrom query key\n}", 1))
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dump, _ := httputil.DumpRequest(r, true)
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(dump)
	}))
	for _, way := range [][2]string{{"", "Authorization: Bearer " + callerKey}, {"?key=" + callerKey, "X: y"}} {
		a := g.do("POST", "/p/v1/chat"+way[0], `{"model":"m"}`, way[1])
		a.want(t, 400, "proxy-access-granted")
		if !strings.Contains(a.Body, `{"model":"m"}`) || strings.Contains(a.Body, callerKey) || strings.Contains(a.Body, callerKey[:20]) {
			t.Errorf("the vendor says %s", a.Body)
		}
	}
}

// A gateway for MCP servers relayed the token of its caller to servers of others, who could then
// act as the caller.
// Sources: agentic-community/mcp-gateway-registry#1237, agentic-community/mcp-gateway-registry#1391
// Here: A verified token is removed even when the upstream gets no credential at all, from headers, trailers and streams
// alike.
func TestPeer_mcp_gateway_registry_1237_NoTokenPassesThrough(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	for _, present := range []string{"none", vendor} {
		t.Run(present[:4], func(t *testing.T) {
			g, u := startPeer(t, proxies(strings.Replace(peerProxy("mcp", present), "accept key {env.RR_CALLER}", "accept jwt_verify {\n"+issued(p, "")+"\n}", 1)))
			token := p.Token("k1", nil, nil)
			g.do("POST", "/mcp/", `{"jsonrpc":"2.0","method":"tools/list","id":1}`, bearer(token), "Mcp-Session-Id: s1", "Accept: text/event-stream").want(t, 200, "proxy-access-granted")
			got := one(t, u)
			if got.Contains(token) || got.Contains(strings.Split(token, ".")[1]) || got.Header.Get("Mcp-Session-Id") != "s1" {
				t.Errorf("the upstream got %v", got.Header)
			}
			if auth := got.Header["Authorization"]; (present == "none") != (len(auth) == 0) {
				t.Errorf("Authorization is %q", auth)
			}
		})
	}
}

// A registry relayed its caller's header where one vendor's own login had to go, because
// the vendor's was not there.
// Sources: agentic-community/mcp-gateway-registry#1391
// Here: If the vendor's token cannot be had, the answer is 502 `target-credential-failed`, and the upstream hears nothing.
func TestPeer_mcp_gateway_registry_1391_NoTokenNoCall(t *testing.T) {
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic)
	s.Status(500)
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	s.Members(map[string]any{"access_token": ""})
	s.Fault(nil)
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	silent(t, u)
}

// Secrets were taken out of headers, and stayed in the trailers of a chunked request.
// Sources: RFC 9110 section 6.5.1
// Here: Trailers with the name of a carrier or of an injected header are not forwarded; others are.
func TestPeer_Requirement_TrailersCarryNoCredential(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	a := rrtest.Raw(t, g.addr, "POST /p/x HTTP/1.1\r\nHost: x\r\n"+withKey+"\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization, X-Api-Key\r\nConnection: close\r\n\r\n"+
		"2\r\nhi\r\n0\r\nX-Sum: 1\r\nAuthorization: Bearer evil\r\nX-Api-Key: "+callerKey+"\r\n\r\n")
	got := one(t, u)
	if a.Status != 200 || got.Trailer.Get("X-Sum") != "1" || len(got.Trailer["Authorization"])+len(got.Trailer["X-Api-Key"]) > 0 {
		t.Errorf("%d, trailers %v", a.Status, got.Trailer)
	}
}
