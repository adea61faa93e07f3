package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// The sidecar that injects the organisation's key did not ask who calls, so that any process beside it could
// spend it.
// Sources: github/gh-aw-firewall#2025, github/gh-aw-firewall#3022
// Here: A proxy without `accept` does not load, nor does one without `present`; to let anybody in is said out loud: `accept none`.
func TestPeer_gh_aw_firewall_2025_AProxyNeedsCallers(t *testing.T) {
	refusedToLoad(t, proxies(strings.Replace(peerProxy("p", vendor), "accept key {env.RR_CALLER}\n", "", 1)), "proxy p", "accept")
	refusedToLoad(t, proxies(strings.Replace(peerProxy("p", vendor), "present "+vendor+"\n", "", 1)), "proxy p", "present")
	m := startManaged(t)
	m.made("targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`"}`)
	a := m.ask("POST", "proxies", `{"proxyName":"p","proxyTargetId":"t","proxyTargetCredentialId":"t"}`)
	m.want(a, 422, "/proxyProxyCredential")
}

// A mode that is meant for migration, and is the default, let requests without a credential
// through.
// Sources: agentgateway/agentgateway
// Here: No kind of caller has such a mode. Without a credential, or with one that is not recognised, the answer is 401.
func TestPeer_Requirement_NoKindIsOptional(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	kinds := map[string]string{
		"key": "key {env.RR_CALLER}", "bearer": "bearer {env.RR_CALLER}", "basic": "basic bob {env.RR_CALLER}", "jwt": "jwt {env.RR_CALLER}",
		"verify": "jwt_verify {\n" + issued(p, "") + "\n}", "introspect": "introspect {\nurl " + p.IntrospectionURL() + "\nclient_auth none\n}",
	}
	var blocks []string
	for name, accept := range kinds {
		blocks = append(blocks, strings.Replace(peerProxy(name, vendor), "key {env.RR_CALLER}", accept, 1))
	}
	g, u := startPeer(t, proxies(blocks...))
	for name := range kinds {
		for _, header := range []string{"X: y", "Authorization:", "Authorization: Bearer", "Authorization: Bearer x", "Authorization: Basic eDp5", "X-API-Key: x", "Cookie: x=y"} {
			g.get("/"+name+"/x", header).want(t, 401, "proxy-access-denied")
		}
	}
	silent(t, u)
}

// An option that lets through what is missing or failed turned a bad token into an anonymous caller.
// Sources: envoyproxy/envoy
// Here: Where `accept none` lets anybody in, a credential that is there and bad is still 401.
func TestPeer_Requirement_FailedIsNotMissing(t *testing.T) {
	g, u := startPeer(t, proxies(strings.Replace(peerProxy("p", vendor), "accept key {env.RR_CALLER}", "accept key {env.RR_CALLER}\naccept basic bob {env.RR_OTHER}\naccept none", 1)))
	g.get("/p/x").want(t, 200, "proxy-access-granted")
	received(u)
	for _, header := range []string{"X-API-Key: wrong", "Authorization: Bearer wrong", "Authorization: Basic " + basicText("bob", "wrong"), "Authorization: Basic !!"} {
		g.get("/p/x", header).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
}

// A verifier let everybody in while the store in which it looks was not reachable.
// Sources: honeybadger-io/caddy-token-checker, chalabi2/caddy-jwt-blacklist
// Here: Whatever a decision needs and cannot have leads to 401, 502 or 503, and never upstream: the issuer, the introspection
// endpoint, the token endpoint.
func TestPeer_Requirement_EachDependencyThatIsDown(t *testing.T) {
	issuer, opaque, tokens := idp.New(t), idp.New(t), newTokens(t)
	issuer.AddKey("ES256", "k1")
	opaque.Introspectable("token", map[string]any{"sub": "alice"})
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	g, u := startPeer(t, proxies(jwtOf("jwt", issuer, ""), introspecting("opaque", opaque, ""), peerProxy("oauth", "oauth2 {\n"+strings.ReplaceAll(byBasic, "TOKENURL", tokens.URL())+"\n}")))
	issuer.Down()
	opaque.Down()
	tokens.Down()
	for range 3 {
		g.get("/jwt/x", madeUp(issuer, "another")) // the keys may have come before
		g.get("/opaque/x", bearerOf("token")).want(t, 503, "verification-unavailable")
		g.get("/oauth/x", withKey).want(t, 502, "target-credential-failed")
	}
	silent(t, u)
}

// A policy on a route took the place of the one above it, without a word, so that the check of the token was
// gone.
// Sources: envoyproxy/gateway#8781
// Here: Rules of the caller's credential, the proxy, the target and the target's credential hold together: each has to allow.
func TestPeer_gateway_8781_ScopesDoNotReplaceEachOther(t *testing.T) {
	const site = `{
	rr {
		throttle off
		credential agent accept key {env.RR_CALLER} {
			deny /no/caller
		}
		credential vendor present bearer {env.RR_VENDOR} {
			deny /no/vendor
		}
		target api http://UPSTREAM {
			deny /no/target
		}
		proxy p {
			accept credential agent
			target api
			present credential vendor
			default deny
			allow GET /yes /no/*
			deny /no/proxy
		}
	}
}
http://:GATEPORT {
	rr_gateway
}
`
	g, u := startPeer(t, site)
	g.get("/p/yes", withKey).want(t, 200, "proxy-access-granted")
	received(u)
	for _, scope := range []string{"caller", "vendor", "target", "proxy"} {
		g.get("/p/no/"+scope, withKey).want(t, 403, "proxy-access-denied")
	}
	g.get("/p/yes").want(t, 401, "proxy-access-denied")
	silent(t, u)
}

// Policies for a route were judged, and another route to the same backend had none; rules named one host of a
// service, and the credential went to its others too.
// Sources: onecli/onecli#438
// Here: Rules belong to the proxy, whatever the site, the mount or the name by which it is called, and hold wherever its credential goes.
// Topic: rules
func TestPeer_onecli_438_RulesHoldOnEveryWay(t *testing.T) {
	m := startManaged(t)
	_, key, id := m.usual()
	m.made("proxies/p/rules", `{"effect":"deny","methods":["*"],"path":"/admin"}`)
	for _, name := range []string{"p", "pay", id} {
		for _, path := range []string{"/admin", "/ADMIN", "/%61dmin"} {
			m.get("/api/"+name+path, "Authorization: "+key).want(t, 403, "proxy-access-denied")
			m.do(http.MethodPost, "/api/"+name+path, "x", "Authorization: "+key).want(t, 403, "proxy-access-denied")
		}
		m.get("/api/"+name+"/fine", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	}
	if n := len(received(m.u)); n != 3 {
		t.Errorf("the upstream got %d requests", n)
	}
}

// An application that was not there any more, or that failed, let requests pass to the next
// handler.
// Sources: envoyproxy/gateway#8781, github/gh-aw-firewall#3022
// Here: A plain reverse_proxy behind `rr_verify` that is meant to be followed by `rr_inject` gets nothing of the caller's, and `rr_inject`
// alone answers 403 `not-verified`.
func TestPeer_gh_aw_firewall_3022_HandlersOutOfOrder(t *testing.T) {
	site := "http://:GATEPORT {\n\troute {\n\t\trr_inject {\n\t\t\tpresent bearer {env.RR_VENDOR}\n\t\t}\n\t\trr_verify {\n\t\t\taccept key {env.RR_CALLER}\n\t\t}\n\t\treverse_proxy UPSTREAM\n\t}\n}\n"
	g, u := startPeer(t, site)
	g.get("/x", withKey).want(t, 403, "not-verified")
	g.get("/x").want(t, 403, "not-verified")
	silent(t, u)
	if err := g.reload("http://:GATEPORT {\n\troute {\n\t\trr_verify {\n\t\t\taccept key {env.RR_CALLER}\n\t\t}\n\t\treverse_proxy UPSTREAM\n\t}\n}\n"); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "the new routes are served", func() bool { return g.get("/x").Status == 401 })
	g.get("/x", withKey)
	if got := one(t, u); got.Contains(callerKey) {
		t.Errorf("the upstream got %v", fmt.Sprint(got.Header))
	}
}
