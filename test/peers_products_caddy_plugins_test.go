package test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// What a request said of itself (the address, Referer, parameters of a way back) was written into pages, and ran in the browser of
// whoever had followed a link.
// Sources: CVE-2024-21496
// Here: No answer of the gateway repeats anything of the request. Pages for browsers have a policy that runs nothing; everything else is JSON.
func TestPeer_CVE_2024_21496_AnswersRepeatNothing(t *testing.T) {
	m := startManaged(t)
	const script = "<script>alert(1)</script>"
	esc := url.QueryEscape(script)
	for _, path := range []string{"/api/declared/x", "/api/" + esc + "/x", "/" + esc, "/api/declared/" + esc + "//", "/api/declared/.well-known/oauth-protected-resource/" + esc, "/?error=" + esc} {
		a := rrtest.Raw(t, m.addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\nReferer: http://x/"+script+"\r\nUser-Agent: "+script+"\r\nX-Forwarded-Host: "+script+"\r\nAuthorization: "+script+"\r\nConnection: close\r\n\r\n")
		if strings.Contains(fmt.Sprint(a.Header, a.Body), "<script") || strings.Contains(a.Header.Get("Content-Type"), "html") {
			t.Errorf("%s: %d %v %s", path, a.Status, a.Header, a.Body)
		}
	}
	for _, query := range []string{"state=" + esc + "&code=" + esc, "error=" + esc + "&error_description=" + esc + "&error_uri=javascript:alert(1)", "state=x&error=" + esc, esc} {
		a := m.Admin("GET", "/rr/oauth2/callback?"+query, "")
		if a.Status < 400 || strings.Contains(a.Body, "alert") || strings.Contains(fmt.Sprint(a.Header), "alert") {
			t.Errorf("%s: %d %v %s", query, a.Status, a.Header, a.Body)
		}
		if policy := a.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", query, a.Header)
		}
	}
}

// A parameter said where the browser went after a login, also when that was elsewhere.
// Sources: CVE-2024-21497
// Here: The gateway sends nobody anywhere: none of its own answers has a Location, whatever the request asks for, and its paths cannot be
// read as an address.
func TestPeer_CVE_2024_21497_NoRedirects(t *testing.T) {
	m := startManaged(t)
	for _, path := range []string{"//evil.test", "//evil.test/%2e%2e", "/%5cevil.test", `/\evil.test`, "/api", "/api/", "/api/declared", "/api//evil.test", "/api/declared/..", "/api/declared/?redirect_url=https://evil.test", "/x?next=//evil.test&rd=//evil.test&redirect_uri=//evil.test&return_to=//evil.test"} {
		a, status := raw(t, m.addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if status >= 300 && status < 400 || strings.Contains(strings.ToLower(a), "\r\nlocation:") || strings.Contains(strings.ToLower(a), "refresh:") {
			t.Errorf("%s: %s", path, a)
		}
	}
	for _, query := range []string{"redirect_uri=https://evil.test&state=x&code=y", "next=//evil.test", "error=x&redirect_url=//evil.test"} {
		if a := m.Admin("GET", "/rr/oauth2/callback?"+query, ""); a.Status < 400 || a.Header.Get("Location") != "" || strings.Contains(a.Body, "evil") {
			t.Errorf("%s: %d %v %s", query, a.Status, a.Header, a.Body)
		}
	}
}

// The second factor could be guessed as often as one liked by whoever had the first.
// Sources: CVE-2024-21500
// Here: A failure of what `also` asks for counts as any other: past the limit its password is not even looked at, though the first proof is
// right each time.
func TestPeer_CVE_2024_21500_TheSecondProofIsThrottled(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	// the second proof is a password, so the first comes in another header
	site := strings.NewReplacer("accept credential agent", "accept key {env.RR_CALLER} {\n\t\t\t\tfrom header X-First\n\t\t\t}", "accept basic bob", "also basic bob").Replace(throttled(5))
	g := start(t, site, "UPSTREAM", u.Addr)
	me, first := from(), "X-First: "+callerKey
	g.get("/v1/x", first, basicHeader("bob", "sesame"), from()).want(t, 200, "proxy-access-granted")
	received(u)
	seen := map[int]int{}
	for i := range 20 {
		seen[g.get("/v1/x", first, basicHeader("bob", fmt.Sprint("guess-", i)), me).Status]++
	}
	if seen[401] != 5 || seen[429] != 15 {
		t.Errorf("20 guesses of the second proof: %v", seen)
	}
	silent(t, u)
}

// An issuer that could not be reached kept the whole server from starting.
// Sources: ggicci/caddy-jwt#56
// Here: Nobody is asked when a configuration loads. Until the keys have come, tokens are answered with 503, which tells when to come again;
// everything else is served. No restart is needed.
func TestPeer_caddy_jwt_56_AnIssuerThatIsDownStopsNoStart(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.Down()
	u := rrtest.NewUpstream(t)
	site := strings.NewReplacer("LINES", issued(p, "timeout 1s"), "RULES", "accept key {env.VENDOR_KEY}", "UPSTREAM", u.URL).Replace(jwtProxy)
	g := start(t, site)
	token := bearer(p.Token("k1", nil, nil))
	a := g.get("/", token)
	a.want(t, 503, "verification-unavailable")
	if a.Header.Get("Retry-After") == "" {
		t.Error("nobody is told when to come again")
	}
	g.get("/", "X-API-Key: "+vendorKey).want(t, 200, "proxy-access-granted")
	if err := g.reload(strings.Replace(site, "timeout 1s", "timeout 2s", 1)); err != nil {
		t.Errorf("a reload fails: %v", err)
	}
	p.Up()
	rrtest.Eventually(t, "the token is accepted", func() bool { return g.get("/", token).Status == 200 })
}

// The address of the keys was made from placeholders of the request, so callers decided who signs their tokens, and each
// address stayed in memory.
// Sources: ggicci/caddy-jwt@26e87e1
// Here: Addresses of issuers, keys, tokens and answers hold no placeholder: such a configuration does not load.
func TestPeer_caddy_jwt_26e87e1_NoAddressFromARequest(t *testing.T) {
	for _, lines := range []string{
		"accept jwt_verify {\njwks_url https://{http.request.host}/keys\nany_audience\n}",
		"accept jwt_verify {\njwks_url {http.request.header.X-Keys}\nany_audience\n}",
		"accept jwt_verify {\nissuer https://{http.request.header.X-Tenant}.example/\nany_audience\n}",
		"accept introspect {\nurl https://{http.request.host}/introspect\nclient_auth none\n}",
	} {
		t.Run(lines, func(t *testing.T) { refusedToLoad(t, proxies(peerProxy("p", vendor, lines))) })
	}
	for _, present := range []string{
		"oauth2 {\ngrant client_credentials\ntoken_url https://{http.request.host}/token\nclient_id x\nclient_secret {env.RR_VENDOR}\n}",
		"custom_token {\nurl https://{http.request.header.X-Host}/login\ntoken $.t\n}",
	} {
		t.Run(present, func(t *testing.T) { refusedToLoad(t, proxies(peerProxy("p", present))) })
	}
	t.Run("a target", func(t *testing.T) {
		refusedToLoad(t, strings.Replace(proxies(peerProxy("p", vendor)), "http://UPSTREAM", "https://{http.request.header.X-Host}", 1))
	})
}
