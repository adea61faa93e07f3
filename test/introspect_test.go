package test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// introspectProxy is a proxy for callers with opaque tokens; LINES are introspect's
// options.
const introspectProxy = `
{
	rr {
		THROTTLE
		proxy p {
			accept introspect {
				url ENDPOINT
				LINES
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
			RULES
		}
	}
}
:GATEPORT {
	rr_proxy p {
		header_up X-User {http.auth.user.id}
		header_up X-Tenant {http.auth.user.tenant.id}
	}
}
`

const (
	introspectSecret = "s3cret-of-the-introspection-client-0123456789"
	opaqueToken      = "opaque-token-0123456789-abcdef-of-a-caller"
)

func startIntrospect(t testing.TB, p *idp.Provider, lines string, more ...string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	t.Setenv("VENDOR_KEY", vendorKey)
	t.Setenv("INTROSPECTION_SECRET", introspectSecret)
	if !strings.Contains(lines, "client_") {
		lines += "\nclient_id rr\nclient_secret {env.INTROSPECTION_SECRET}"
	}
	u := rrtest.NewUpstream(t)
	vars := append(more, "ENDPOINT", p.IntrospectionURL(), "LINES", lines, "UPSTREAM", u.URL, "THROTTLE", "throttle off", "RULES", "")
	return start(t, introspectProxy, vars...), u
}

func bearerOf(token string) string { return "Authorization: Bearer " + token }

func TestIntrospect(t *testing.T) {
	p := idp.New(t)
	p.OnlyClient("rr", introspectSecret)
	p.Introspectable(opaqueToken, map[string]any{
		"sub": "svc-1", "scope": "read write", "aud": "gateway", "exp": time.Now().Add(time.Hour).Unix(), "tenant": map[string]any{"id": "acme"},
	})
	p.Introspectable("reader", map[string]any{"sub": "svc-2", "scope": "read", "aud": "gateway", "tenant": map[string]any{"id": "acme"}})
	p.Introspectable("stranger", map[string]any{"sub": "svc-3", "scope": "read write", "aud": "gateway", "tenant": map[string]any{"id": "evil"}})
	p.Introspectable("other", map[string]any{"sub": "svc-4", "scope": "read write", "aud": "elsewhere"})
	g, u := startIntrospect(t, p, "audience gateway\nscope read write", "RULES", "allow GET /* {\n claim tenant.id ^acme$\n}")

	g.get("/x", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
	got := one(t, u)
	if got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Header.Get("X-User") != "svc-1" || got.Header.Get("X-Tenant") != "acme" || got.Contains(opaqueToken) {
		t.Errorf("the upstream got %+v", got.Header)
	}
	for _, tt := range []struct {
		name, header string
		status       int
		challenge    string
	}{
		{"nothing", "X: y", 401, `Bearer realm="rr"`},
		{"another scheme", "Authorization: Basic YTpi", 401, `Bearer realm="rr"`},
		{"not active", bearerOf("revoked"), 401, `Bearer realm="rr", error="invalid_token"`},
		{"no token at all", bearerOf("a&b"), 401, `Bearer realm="rr", error="invalid_token"`},
		{"another audience", bearerOf("other"), 401, `Bearer realm="rr", error="invalid_token"`},
		{"a scope too few", bearerOf("reader"), 403, `Bearer realm="rr", error="insufficient_scope", scope="read write"`},
		{"against a rule", bearerOf("stranger"), 403, ""},
	} {
		a := g.get("/x", tt.header)
		if a.want(t, tt.status, "proxy-access-denied"); !strings.HasPrefix(a.Header.Get("WWW-Authenticate"), tt.challenge) || tt.challenge == "" && a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: challenge %s", tt.name, a.Header.Get("WWW-Authenticate"))
		}
	}
	a := g.do("GET", "/x", "", bearerOf(opaqueToken), bearerOf("another"))
	a.want(t, 401, "proxy-access-denied")

	p.Revoke(opaqueToken)
	g.get("/x", bearerOf(opaqueToken)).want(t, 401, "proxy-access-denied")
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1", "scope": "read write", "aud": "gateway", "tenant": map[string]any{"id": "acme"}})
	g.get("/x", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
	received(u)

	p.OnlyClient("rr", "another")
	a = g.get("/x", bearerOf(opaqueToken))
	if a.want(t, 503, "verification-unavailable"); a.Header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
	}
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "answers 401 invalid_client") && e["level"] == "error"
	})
	p.Down()
	g.get("/x", bearerOf(opaqueToken)).want(t, 503, "verification-unavailable")
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %d requests of callers that nobody knows", len(got))
	}
	for _, secret := range []string{introspectSecret, opaqueToken, vendorKey, "cnI6"} {
		if strings.Contains(g.Logs(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// TestIntrospectAnswersNobodyTrusts are answers that a broken or hostile endpoint gives.
func TestIntrospectAnswersNobodyTrusts(t *testing.T) {
	p := idp.New(t)
	g, u := startIntrospect(t, p, "cache 1m")
	for n, tt := range []struct {
		answer string
		status int
	}{
		{`{"active":"true","sub":"x"}`, 401},
		{`{"active":1}`, 401},
		{`{"active":true,"exp":1}`, 401},
		{`{"active":true,"token_type":"DPoP","cnf":{"jkt":"x"}}`, 401},
		{`{"active":true,"cnf":{"x5t#S256":"x"}}`, 401},
		{`{"active":false,"active":true}`, 503},
		{`<html><body>active</body></html>`, 503},
		{`{"active":true,"x":"` + strings.Repeat("x", 1<<20) + `"}`, 503},
		{``, 503},
	} {
		p.SetIntrospection([]byte(tt.answer))
		if a := g.get("/", bearerOf(fmt.Sprint("token-", n))); a.Status != tt.status {
			t.Errorf("%.60s: %d, want %d", tt.answer, a.Status, tt.status)
		}
	}
	p.SetIntrospection(nil)
	p.Status(302, "Location", u.URL)
	g.get("/", bearerOf("token")).want(t, 503, "verification-unavailable")
	p.Status(429, "Retry-After", "30")
	if a := g.get("/", bearerOf("token")); a.Status != 503 || a.Header.Get("Retry-After") != "30" {
		t.Errorf("%d %s", a.Status, a.Header.Get("Retry-After"))
	}
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestIntrospectHangs has 500 callers while the endpoint hangs.
func TestIntrospectHangs(t *testing.T) {
	p := idp.New(t)
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1"})
	g, _ := startIntrospect(t, p, "timeout 1s")
	p.Hang()
	statuses := func(token func(n int) string) (counts map[int]int, took time.Duration) {
		var wait sync.WaitGroup
		var all [600]atomic.Int32
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}
		defer client.CloseIdleConnections()
		begun := time.Now()
		for n := range 500 {
			wait.Go(func() {
				a := rrtest.Send(t, client, rrtest.Request(t, "GET", "http://"+g.addr+"/", "", bearerOf(token(n))))
				all[a.Status].Add(1)
			})
		}
		wait.Wait()
		counts = map[int]int{}
		for status := range all {
			if n := int(all[status].Load()); n > 0 {
				counts[status] = n
			}
		}
		return counts, time.Since(begun)
	}
	counts, took := statuses(func(int) string { return opaqueToken })
	if counts[503] != 500 || took > 20*time.Second {
		t.Errorf("one token: %v in %v", counts, took)
	}
	if n := p.IntrospectionCount(); n > 20 { // those who came late asked again, together
		t.Errorf("the endpoint was asked %d times", n)
	}
	counts, took = statuses(func(n int) string { return fmt.Sprint("token-", n) })
	if counts[503] != 500 || took > 20*time.Second {
		t.Errorf("500 tokens: %v in %v", counts, took)
	}
	p.Resume()
	rrtest.Eventually(t, "it goes on", func() bool { return g.get("/", bearerOf(opaqueToken)).Status == 200 })
}

// TestIntrospectThrottle: who invents tokens is throttled, who is known is not.
func TestIntrospectThrottle(t *testing.T) {
	p := idp.New(t)
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1"})
	g, _ := startIntrospect(t, p, "cache 1h", "THROTTLE", "throttle 5 1h",
		"{\n\trr {", "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n\trr {")
	me, other := from(), from()
	g.get("/", bearerOf(opaqueToken), me).want(t, 200, "proxy-access-granted")
	for n := range 5 {
		g.get("/", bearerOf(fmt.Sprint("invented-", n)), me).want(t, 401, "proxy-access-denied")
	}
	before := p.IntrospectionCount()
	g.get("/", bearerOf("invented-6"), me).want(t, 429, "too-many-failures")
	g.get("/", bearerOf(opaqueToken), me).want(t, 200, "proxy-access-granted")
	g.get("/", bearerOf("invented-1"), me).want(t, 401, "proxy-access-denied") // known, too
	if n := p.IntrospectionCount(); n != before {
		t.Error("the endpoint was asked for a throttled address")
	}
	g.get("/", bearerOf("invented-7"), other).want(t, 401, "proxy-access-denied")
}

// TestIntrospectReload: answers are remembered across reloads, and neither a reload nor
// `caddy validate` asks anybody.
func TestIntrospectReload(t *testing.T) {
	p := idp.New(t)
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1"})
	g, _ := startIntrospect(t, p, "cache 1h")
	g.get("/", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
	for range 3 {
		if err := g.reload(introspectProxy); err != nil {
			t.Fatal(err)
		}
		g.get("/", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
	}
	if n := p.IntrospectionCount(); n != 1 {
		t.Errorf("the endpoint was asked %d times", n)
	}
	if err := g.reload(strings.Replace(introspectProxy, "LINES", "LINES\nscope read", 1)); err != nil {
		t.Fatal(err)
	}
	// for a moment the old configuration may still answer
	rrtest.Eventually(t, "the new scope counts", func() bool { return g.get("/", bearerOf(opaqueToken)).Status == 403 })
	p.Down()
	if err := g.reload(introspectProxy); err != nil {
		t.Errorf("without the endpoint: %v", err)
	}
	g.get("/", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
}

// TestIntrospectReloadUnderLoad: a caller who waits for the endpoint gets the answer,
// although the configuration has been replaced meanwhile.
func TestIntrospectReloadUnderLoad(t *testing.T) {
	p := idp.New(t)
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1"})
	g, _ := startIntrospect(t, p, "timeout 20s")
	p.Hang()
	status := make(chan int)
	go func() { status <- g.get("/", bearerOf(opaqueToken)).Status }()
	rrtest.Eventually(t, "the endpoint is asked", func() bool { return p.IntrospectionCount() == 1 })
	if err := g.reload(strings.Replace(introspectProxy, "LINES", "LINES\ntoken_type_hint access_token", 1)); err != nil {
		t.Fatal(err)
	}
	p.Resume()
	if s := <-status; s != 200 {
		t.Errorf("the caller got %d", s)
	}
}

// TestIntrospectClientCertificate asks over TLS with a client certificate (RFC 8705), whose
// files change while they are in use.
func TestIntrospectClientCertificate(t *testing.T) {
	ca, clients := rrtest.NewCA(t), rrtest.NewCA(t)
	p := idp.New(t, idp.TLS(ca.Leaf(t, "127.0.0.1")))
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1"})
	cert, key := clients.Files(t, "first.example")
	g, _ := startIntrospect(t, p, "client_id rr\nclient_auth mtls\ncertificate {file."+cert+"}\nkey {file."+key+"}\nca {file."+ca.File+"}")
	name := func() string {
		t.Helper()
		g.get("/", bearerOf(opaqueToken)).want(t, 200, "proxy-access-granted")
		all := p.Introspections()
		last := all[len(all)-1]
		if last.Form.Get("client_id") != "rr" || last.Header.Get("Authorization") != "" || last.Certificate == nil {
			t.Fatalf("the endpoint got %+v", last)
		}
		return last.Certificate.Subject.CommonName
	}
	if n := name(); n != "first.example" {
		t.Errorf("certificate of %s", n)
	}
	otherCert, otherKey := clients.Files(t, "second.example")
	for from, to := range map[string]string{otherCert: cert, otherKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rrtest.Eventually(t, "the new certificate is used", func() bool { return name() == "second.example" })
	// a server that nobody vouches for
	if err := g.reload(strings.Replace(introspectProxy, "LINES", "client_auth none", 1)); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "it is refused", func() bool { return g.get("/", bearerOf(opaqueToken)).Status == 503 })
}

// TestIntrospectBoundToken is a token that is bound to the caller's certificate (RFC 8705
// section 3), which is the one of the connection and none in a header.
func TestIntrospectBoundToken(t *testing.T) {
	ca := rrtest.NewCA(t)
	own, other := ca.Client(t, nil), ca.Client(t, nil)
	p := idp.New(t)
	p.Introspectable(opaqueToken, map[string]any{"sub": "svc-1", "cnf": idp.CertificateConfirmation(own.Certificate[0])})
	u := rrtest.NewUpstream(t)
	cert, key := ca.Files(t, "localhost")
	gate := fmt.Sprintf("localhost:%d", rrtest.FreePort(t))
	rrtest.Start(t, strings.NewReplacer("ENDPOINT", p.IntrospectionURL(), "UPSTREAM", u.URL, "CERT", cert, "KEY", key, "GATE", gate).Replace(`
{
	rr {
		proxy p {
			accept introspect {
				url ENDPOINT
				client_auth none
				cache 1h
			}
			target UPSTREAM
			present none
		}
	}
}
https://GATE {
	tls CERT KEY {
		client_auth {
			mode request
		}
	}
	rr_proxy p
}
`))
	for n, tt := range []struct {
		certificate *tls.Certificate
		status      int
	}{{&other, 401}, {&own, 200}, {&other, 401}, {nil, 401}, {&own, 200}} {
		client := certified(t, ca, tt.certificate)
		a := rrtest.Send(t, client, rrtest.Request(t, "GET", "https://"+gate+"/", "", bearerOf(opaqueToken),
			"X-Client-Cert: "+idp.Base64(own.Certificate[0]), "X-Forwarded-Client-Cert: Hash=x"))
		if a.Status != tt.status {
			t.Errorf("%d: %d, want %d", n, a.Status, tt.status)
		}
	}
}

// certified is an HTTP/1.1 client that shows a certificate, unless it is nil.
func certified(t testing.TB, ca *rrtest.CA, c *tls.Certificate) *http.Client {
	t.Helper()
	client := rrtest.HTTP1(t, ca)
	if c != nil {
		rrtest.Show(t, client, *c)
	}
	return client
}

// TestIntrospectLoadErrors name the place, the option and the placeholder.
func TestIntrospectLoadErrors(t *testing.T) {
	t.Setenv("VENDOR_KEY", vendorKey)
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.pem")
	if err := os.WriteFile(broken, []byte("-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[string]string{
		"client_id rr\nclient_secret {env.RR_TEST_NONE}":                                                   "introspect: client_secret: {env.RR_TEST_NONE}",
		"client_id rr\nclient_auth private_key_jwt\nprivate_key {file." + broken + "}":                     "introspect: private_key: ",
		"client_auth none\nca {file." + broken + "}":                                                       "introspect: ca: ",
		"client_id rr\nclient_auth mtls\ncertificate {file." + broken + "}\nkey {file." + broken + "}":     "introspect: certificate: ",
		"client_id rr\nclient_auth private_key_jwt\nprivate_key {file." + filepath.Join(dir, "none") + "}": "introspect: private_key: {file.",
	} {
		t.Run(want, func(t *testing.T) {
			logs, err := rrtest.StartError(t, strings.NewReplacer("ENDPOINT", "https://as.example/", "LINES", lines, "UPSTREAM", "https://api.example.com",
				"THROTTLE", "", "RULES", "", "GATEPORT", "9").Replace(introspectProxy))
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "proxy p: accept introspect: ") || strings.Contains(err.Error()+logs, "TOPSECRET") {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}
