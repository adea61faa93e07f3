package test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// A request over HTTP/2 named one host in `:authority` and another in `Host`; one was judged, the other was sent.
// Sources: agentgateway/agentgateway#1648, agentgateway/agentgateway#2851
// Here: Neither decides where a request goes, and the upstream gets one Host, its own.
func TestPeer_agentgateway_1648_TwoHostsOverHTTP2(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, "{\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n"+strings.TrimPrefix(oneProxy, "{\n"), "UPSTREAM", u.Addr)
	served := 0
	for _, fields := range [][][2]string{
		{{":authority", "gw"}, {"host", "evil.test"}},
		{{":authority", "evil.test"}, {"host", "gw"}},
		{{":authority", "gw"}, {"host", "evil.test"}, {"host", "evil2.test"}},
		{{"host", "evil.test"}},
		{{":authority", "gw"}, {"x-forwarded-host", "evil.test"}, {"connection", "host"}},
	} {
		status := overHTTP2(t, g.addr, append([][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/v1/x"}}, append(fields, [2]string{"x-api-key", callerKey})...))
		got := received(u)
		if status == "200" != (len(got) == 1) {
			t.Errorf("%v: %s, and the upstream got %d requests", fields, status, len(got))
		}
		served += len(got)
		for _, r := range got {
			if r.Host != u.Addr || r.Header["Host"] != nil || r.URI != "/base/v1/x" {
				t.Errorf("%v: the upstream got %s for %s %v", fields, r.URI, r.Host, r.Header["Host"])
			}
		}
	}
	if served == 0 {
		t.Error("none was served: nothing was looked at")
	}
}

// overHTTP2 sends one request of these fields, in this order, as no client would, and returns its status, "" for none.
func overHTTP2(t *testing.T, addr string, fields [][2]string) (status string) {
	t.Helper()
	c := rrtest.Dial(t, addr)
	defer c.Close()
	c.Say(http2.ClientPreface)
	f := http2.NewFramer(c, c)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range fields {
		if err := enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true}); err != nil {
		t.Fatal(err)
	}
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return ""
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// Proxy-Authorization was passed on to whatever was behind, or let callers in whose Authorization was another's.
// Sources: agentgateway/agentgateway#3074, agentgateway/agentgateway#3098
// Here: rr is no forward proxy: Proxy-Authorization lets nobody in, and never goes upstream, whatever else comes along.
func TestPeer_agentgateway_3074_ProxyAuthorization(t *testing.T) {
	t.Run("whatever handler follows", func(t *testing.T) { // reverse_proxy would take it away by itself
		setSecrets(t)
		g := start(t, "http://:GATEPORT {\n\trr_verify {\n\t\taccept key {env.RR_CALLER}\n\t}\n\trespond \"[{http.request.header.Proxy-Authorization}]\"\n}\n")
		if a := g.get("/x", withKey, "Proxy-Authorization: Bearer another"); a.Status != 200 || a.Body != "[]" {
			t.Errorf("it gets %d %s", a.Status, a.Body)
		}
	})
	t.Run("upstreams", proxyAuthorizationStays)
}

func proxyAuthorizationStays(t *testing.T) {
	g, u := startOne(t)
	for _, value := range []string{"Bearer " + callerKey, callerKey, basicText("bob", "sesame"), "Basic " + basicText("bob", "sesame")} {
		g.get("/v1/x", "Proxy-Authorization: "+value).want(t, 401, "proxy-access-denied")
		silent(t, u)
		g.get("/v1/x", "Proxy-Authorization: "+value, withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, u); got.Header["Proxy-Authorization"] != nil || got.Contains("sesame") || got.Contains(callerKey) {
			t.Errorf("the upstream got %v", got.Header)
		}
	}
}

// A key without a name had the whole set of keys refused, with everybody who came with a token of another one.
// Sources: agentgateway/agentgateway@75b4e6ce6
// Here: Keys without a name are keys: for tokens without a name. The others count beside them.
func TestPeer_agentgateway_75b4e6ce6_KeysWithoutAName(t *testing.T) {
	p := idp.New(t)
	nameless, named := idp.NewKey(t, "ES256", ""), p.AddKey("ES256", "k1")
	p.SetJWKS(jwkSet(nameless, named))
	g, _ := startIssuer(t, p, "")
	g.get("/", bearer(p.Token("k1", nil, nil))).want(t, 200, "proxy-access-granted")
	g.get("/", bearer(nameless.Token(p.Claims(nil), nil))).want(t, 200, "proxy-access-granted")
	g.get("/", bearer(nameless.Token(p.Claims(nil), map[string]any{"kid": "k1"}))).want(t, 401, "proxy-access-denied")
	g.get("/", bearer(idp.NewKey(t, "ES256", "").Token(p.Claims(nil), nil))).want(t, 401, "proxy-access-denied")
}

// A token endpoint that took its time had all calls wait that needed it, and those that did not.
// Sources: agentgateway/agentgateway#2630
// Here: Whoever needs the token waits for `timeout` and no longer; calls with other credentials are not held up, and neither is a reload.
func TestPeer_agentgateway_2630_ASlowEndpointHoldsNobodyElse(t *testing.T) {
	s := newTokens(t)
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	config := proxies(peerProxy("slow", "oauth2 {\n"+byBasic+"\ntimeout 8s\n}"), peerProxy("quick", vendor))
	g, u := startPeer(t, config, "TOKENURL", s.URL())
	defer s.Hang()()
	waiting := make(chan answer, 20)
	for range cap(waiting) {
		go func() { waiting <- g.get("/slow/x", withKey) }()
	}
	s.WaitCount(t, 1)
	for range 20 {
		g.get("/quick/x", withKey).want(t, 200, "proxy-access-granted")
	}
	if err := g.reload(config); err != nil {
		t.Error(err)
	}
	if len(waiting) > 0 {
		t.Error("the calls that wait are over: nothing was tried beside them")
	}
	for range cap(waiting) {
		a := <-waiting
		a.want(t, 502, "target-credential-failed")
	}
	for _, r := range received(u) {
		if strings.Contains(r.URI, "slow") {
			t.Errorf("the upstream got %s", r.URI)
		}
	}
}
