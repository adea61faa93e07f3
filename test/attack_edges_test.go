package test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// Guesses were counted for the address that the request gave, so whoever gave another one with each guess was never
// stopped.
// Sources: CVE-2024-21494, CVE-2026-46415
// Here: Failures count for the client's address as Caddy resolves it: a forwarded one counts if it comes from a proxy that the operator trusts, and from nobody else.
// Topic: throttle
func TestPeer_CVE_2024_21494_ForwardedAddresses(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, strings.Replace(oneProxy, "throttle off", "throttle 5 1h", 1), "UPSTREAM", u.Addr)
	// an address of its own, since the table of failures is the process's
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 77, 1, 1)}}
	if c, err := dialer.Dial("tcp", g.addr); err != nil {
		t.Skip("not here: this machine has one loopback address only")
	} else {
		c.Close()
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	seen := map[int]int{}
	for i := range 20 {
		said := fmt.Sprintf("198.51.99.%d", i)
		res, err := client.Do(rrtest.Request(t, "GET", "http://"+g.addr+"/v1/x", "", "Authorization: Basic "+base64.StdEncoding.EncodeToString(fmt.Append(nil, "bob:guess-", i)),
			"X-Forwarded-For: "+said, "X-Real-IP: "+said, "Forwarded: for="+said, "CF-Connecting-IP: "+said, "True-Client-IP: "+said))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		seen[res.StatusCode]++
	}
	if seen[401] != 5 || seen[429] != 15 {
		t.Errorf("20 guesses from one address that says 20: %v", seen)
	}
}

// TestAttackAHashIsNoKey: what a thief of the configuration or of the store finds of callers' keys
// lets nobody in, however it is written.
func TestAttackAHashIsNoKey(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	sum := sha256.Sum256([]byte(callerKey))
	hash := hex.EncodeToString(sum[:])
	spellings := []string{hash, strings.ToUpper(hash), "sha256:" + hash, "SHA256:" + hash,
		base64.StdEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:])}
	for name, secret := range map[string]string{"a key": "{env.RR_CALLER}", "a hash": "{\n\thash sha256:" + hash + "\n}"} {
		t.Run(name, func(t *testing.T) {
			g := start(t, strings.Replace(oneProxy, "accept key {env.RR_CALLER}", "accept key "+secret, 1), "UPSTREAM", u.Addr)
			g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
			for _, text := range spellings {
				g.get("/v1/x", "X-API-Key: "+text).want(t, 401, "proxy-access-denied")
				g.get("/v1/x", "Authorization: Bearer "+text).want(t, 401, "proxy-access-denied")
			}
			g.get("/v1/x", basicHeader("bob", "sesame")).want(t, 200, "proxy-access-granted")
			g.get("/v1/x", basicHeader("bob", "$2a$04$aHpZg2CBryn9qAhoZBtOW.s9sXocMLfn35IQtBFi6gUexHIXQ.xC6")).want(t, 401, "proxy-access-denied")
		})
	}
}

func basicHeader(user, password string) string {
	return "Authorization: Basic " + basicText(user, password)
}

// TestAttackAnUpstreamNobodyVouchesFor: whoever takes the upstream's place in the network gets
// neither the credential nor the request.
func TestAttackAnUpstreamNobodyVouchesFor(t *testing.T) {
	setSecrets(t)
	trusted, other := rrtest.NewCA(t), rrtest.NewCA(t)
	serve := func(c tls.Certificate, most uint16) (addr string, requests *int) {
		requests = new(int)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { *requests++ }))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{c}, MaxVersion: most}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String(), requests
	}
	const site = `{
	rr {
		throttle off
		target vendor https://UPSTREAM {
			transport http {
				tls_trust_pool file CAFILE
			}
		}
		proxy p {
			accept key {env.RR_CALLER}
			target vendor
			present bearer {env.RR_VENDOR}
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`
	for _, tt := range []struct {
		name   string
		cert   tls.Certificate
		most   uint16
		status int
	}{
		{"the upstream itself", trusted.Leaf(t, "127.0.0.1"), 0, 200},
		{"another authority's certificate", other.Leaf(t, "127.0.0.1"), 0, 502},
		{"a certificate for another name", trusted.Leaf(t, "evil.test"), 0, 502},
		{"TLS 1.1", trusted.Leaf(t, "127.0.0.1"), tls.VersionTLS11, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, requests := serve(tt.cert, tt.most)
			g := start(t, site, "UPSTREAM", addr, "CAFILE", trusted.File)
			a := g.get("/v1/x", withKey)
			if a.Status != tt.status || tt.status != 200 && a.code() != "upstream-unreachable" {
				t.Errorf("got %d %s", a.Status, a.Body)
			}
			if (*requests > 0) != (tt.status == 200) {
				t.Errorf("the server got %d requests", *requests)
			}
		})
	}
}

// TestAttackAnotherClientsBlocklist: an editor of beta blocks the issuer, the subjects and the
// tokens of acme's callers; they are beta's to block for beta's proxies alone.
func TestAttackAnotherClientsBlocklist(t *testing.T) {
	m := startAttacked(t)
	p := idp.New(t)
	signer := p.AddKey("ES256", "k1")
	for _, client := range []string{"acme", "beta"} {
		base := "/rr/clients/" + client + "/"
		m.want(m.ask("POST", base+"credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"users","credentialSecret":{"issuer":"`+p.Issuer()+`","jwksUri":"`+p.JWKSURL()+`","audience":"a"}}`), 201)
		m.want(m.ask("POST", base+"credentials", `{"credentialType":"target","credentialAuthType":"none","credentialName":"nothing"}`), 201)
		m.want(m.ask("POST", base+"targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`"}`), 201)
		m.want(m.ask("POST", base+"proxies", `{"proxyName":"p","proxyAlias":"of-`+client+`","proxyProxyCredentialId":"users","proxyTargetId":"t","proxyTargetCredentialId":"nothing"}`), 201)
	}
	token := "Authorization: Bearer " + signer.Token(p.Claims(map[string]any{"aud": "a", "jti": "t1", "sub": "alice"}), nil)
	rrtest.Eventually(t, "the issuer's keys are there", func() bool {
		return m.get("/api/of-acme/x", token).Status == 200 && m.get("/api/of-beta/x", token).Status == 200
	})
	before := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, entry := range []string{`{"jti":"t1"}`, `{"sub":"alice","before":"` + before + `"}`, `{"iss":"` + p.Issuer() + `"}`} {
		if a := m.edits("b", "POST", "blocklist", entry); a.Status != 201 {
			t.Fatalf("%s: %d %s", entry, a.Status, a.Body)
		}
		m.get("/api/of-beta/x", token).want(t, 401, "proxy-access-denied")
		m.get("/api/of-acme/x", token).want(t, 200, "proxy-access-granted")
	}
}

// TestAttackARequestIsText: nothing of a request is taken for a placeholder, wherever it stands and
// whoever looks at it: the upstream gets it as it was sent, error routes and logs show it as it is.
func TestAttackARequestIsText(t *testing.T) {
	setSecrets(t)
	u, echo := rrtest.NewUpstream(t), rrtest.NewUpstream(t)
	const site = `{
	log {
		format rr
	}
	rr {
		throttle off
		errors pass
		proxy p {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present custom {
				header X-Vendor {env.RR_VENDOR}
				cookie vendor {env.RR_VENDOR}
			}
			deny /denied/*
		}
	}
}
http://:GATEPORT {
	log {
		format rr
	}
	rr_proxy p {
		header_up X-Copy {http.request.header.X-Text}
		header_down X-Copy {http.request.header.X-Text}
	}
	handle_errors {
		reverse_proxy ECHO
	}
}
`
	g := start(t, site, "UPSTREAM", u.Addr, "ECHO", echo.Addr)
	// {rr.credential} and {http.request.header.X-Api-Key} would show what the gateway knows
	for _, text := range []string{"{env.RR_VENDOR}", "{file./etc/passwd}", "{http.request.header.X-Api-Key}", "{rr.credential}", "{$RR_VENDOR}", "{{env.RR_VENDOR}}", `\{env.RR_VENDOR}`} {
		a := g.do("POST", "/x?q="+url.QueryEscape(text), text, withKey, "X-Text: "+text, "Cookie: c="+text, "Content-Type: text/plain")
		a.want(t, 200, "proxy-access-granted")
		got := one(t, u)
		if got.Header.Get("X-Text") != text || got.Header.Get("X-Copy") != text || got.Body != text || !strings.Contains(got.Header.Get("Cookie"), "c="+text) || got.URI != "/x?q="+url.QueryEscape(text) {
			t.Errorf("%s: the upstream got %s %v %s", text, got.URI, got.Header, got.Body)
		}
		if a.Header.Get("X-Copy") != text {
			t.Errorf("%s: the caller got %s", text, a.Header.Get("X-Copy"))
		}
		g.get("/denied/x?q="+url.QueryEscape(text), withKey, "X-Text: "+text)
		if r := one(t, echo); r.Contains(vendorKey) || r.Contains(callerKey) || r.Header.Get("X-Text") != text {
			t.Errorf("%s: the error route got %+v", text, r)
		}
	}
	if logs := g.Logs(); strings.Contains(logs, vendorKey) || strings.Contains(logs, callerKey) {
		t.Error("the log shows a secret")
	}
}

// TestAttackAForgedIdentity: what the gateway tells the upstream of its caller is what it has
// verified, however often and however spelled the caller says it, also where the claim is missing.
func TestAttackAForgedIdentity(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	u := rrtest.NewUpstream(t)
	site := strings.NewReplacer("LINES", issued(p, ""), "RULES", "", "UPSTREAM", u.URL).Replace(jwtProxy)
	g := start(t, site)
	forged := []string{"X-User: root", "x-user: root", "X-Tenant: other", "Connection: close, X-User, X-Tenant"}
	for _, tt := range []struct {
		claims       map[string]any
		user, tenant string
	}{
		{map[string]any{"sub": "ann", "tenant": map[string]any{"id": "acme"}}, "ann", "acme"},
		{map[string]any{"sub": "ann"}, "ann", ""},
	} {
		a := rrtest.Raw(t, g.addr, "GET / HTTP/1.1\r\nHost: x\r\n"+bearer(p.Token("k1", tt.claims, nil))+"\r\n"+strings.Join(forged, "\r\n")+"\r\n\r\n")
		if a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		got := one(t, u)
		for name, want := range map[string]string{"X-User": tt.user, "X-Tenant": tt.tenant} {
			if values := got.Header[name]; len(values) != 1 || values[0] != want {
				t.Errorf("%s is %q, not %q", name, values, want)
			}
		}
	}
}
