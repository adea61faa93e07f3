package test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// mtlsProxy is a proxy for callers with certificates; LINES are mtls' options, AUTH those
// of Caddy's client_auth. There is a site without TLS too.
const mtlsProxy = `
{
	rr {
		throttle off
		proxy p {
			accept mtls {
				LINES
			}
			ACCEPT
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
			RULES
		}
	}
}
https://localhost:TLSPORT {
	tls SERVERTLS {
		client_auth {
			AUTH
		}
	}
	rr_proxy p {
		header_up X-User {http.auth.user.id}
		header_up X-Subject {http.auth.user.subject}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`

type mtlsGateway struct {
	*gateway
	u       *rrtest.Upstream
	servers *rrtest.CA
	base    string
}

func startMTLS(t testing.TB, auth, lines string, more ...string) mtlsGateway {
	t.Helper()
	t.Setenv("VENDOR_KEY", vendorKey)
	t.Setenv("CALLER_KEY", callerKey)
	ca := rrtest.NewCA(t)
	cert, key := ca.Files(t, "localhost")
	u := rrtest.NewUpstream(t)
	port := fmt.Sprint(rrtest.FreePort(t))
	g := start(t, mtlsProxy, append(more, "AUTH", auth, "LINES", lines, "UPSTREAM", u.URL, "TLSPORT", port, "SERVERTLS", cert+" "+key, "ACCEPT", "", "RULES", "")...)
	return mtlsGateway{g, u, ca, "https://localhost:" + port}
}

// as asks with a certificate, unless it is nil.
func (g mtlsGateway) as(c *tls.Certificate, headers ...string) answer {
	g.t.Helper()
	return answer{rrtest.Send(g.t, certified(g.t, g.servers, c), rrtest.Request(g.t, "GET", g.base+"/", "", headers...))}
}

func spiffeID(id string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		u, err := url.Parse(id)
		if err != nil {
			panic(err)
		}
		c.URIs = []*url.URL{u}
	}
}

// TestMTLS is SPIFFE as a service mesh has it: Caddy asks for certificates, and mtls judges
// them by a bundle.
func TestMTLS(t *testing.T) {
	workloads, strangers := rrtest.NewCA(t), rrtest.NewCA(t)
	const id = "spiffe://example.org/ns/prod/sa/api"
	api, batch := workloads.Client(t, spiffeID(id)), workloads.Client(t, spiffeID("spiffe://example.org/ns/prod/sa/batch"))
	evil := strangers.Client(t, spiffeID(id))
	g := startMTLS(t, "mode request", "uri spiffe://example.org/ns/*/sa/api\nca {file."+workloads.File+"}",
		"ACCEPT", "accept key {env.CALLER_KEY}", "RULES", "deny POST")

	g.as(&api).want(t, 200, "proxy-access-granted")
	if got := one(t, g.u); got.Header.Get("X-User") != id || got.Header.Get("X-Subject") != "CN=client" || got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the upstream got %+v", got.Header)
	}
	g.as(nil).want(t, 401, "proxy-access-denied")
	g.as(&batch).want(t, 401, "proxy-access-denied")
	a := g.as(&evil)
	if a.want(t, 401, "proxy-access-denied"); len(a.Header["Www-Authenticate"]) != 2 {
		t.Errorf("challenges %q", a.Header["Www-Authenticate"])
	}
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "its issuer is unknown") })

	// a certificate is no header
	raw := idp.Base64(api.Certificate[0])
	forged := []string{
		"X-Client-Cert: " + raw, "X-SSL-Client-Cert: " + raw, "Client-Cert: :" + raw + ":", "X-Forwarded-Tls-Client-Cert: " + raw,
		"X-Forwarded-Client-Cert: URI=" + id, "X-Spiffe-Id: " + id,
	}
	g.as(nil, forged...).want(t, 401, "proxy-access-denied")
	g.get("/", forged...).want(t, 401, "proxy-access-denied") // without TLS
	if got := received(g.u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}

	// another credential counts whatever the certificate
	for _, c := range []*tls.Certificate{nil, &api, &batch, &evil} {
		g.as(c, withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, g.u); got.Header.Get("X-User") != "key" || got.Contains(callerKey) {
			t.Errorf("the upstream got %+v", got.Header)
		}
	}
	g.get("/", withKey).want(t, 200, "proxy-access-granted")

	for name, client := range map[string]*http.Client{"HTTP/2": rrtest.HTTP2(t, g.servers), "HTTP/3": rrtest.HTTP3(t, g.servers)} {
		rrtest.Show(t, client, api)
		a := rrtest.Send(t, client, rrtest.Request(t, "GET", g.base+"/", ""))
		if a.Status != 200 {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
}

// TestMTLSAgain: who comes back with what is left of a TLS session is the same. (With
// client_auth Caddy has every session begin anew, so that a certificate is looked at.)
func TestMTLSAgain(t *testing.T) {
	ca := rrtest.NewCA(t)
	api := ca.Client(t, spiffeID("spiffe://example.org/api"))
	for auth, lines := range map[string]string{
		"mode request": "ca {file." + ca.File + "}",
		"mode require_and_verify\ntrust_pool file " + ca.File: "uri spiffe://example.org/api",
	} {
		t.Run(strings.Fields(auth)[1], func(t *testing.T) {
			g := startMTLS(t, auth, lines)
			client := certified(t, g.servers, &api)
			client.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			for range 3 {
				if a := rrtest.Send(t, client, rrtest.Request(t, "GET", g.base+"/", "")); a.Status != 200 {
					t.Errorf("%s: %d", auth, a.Status)
				}
				client.CloseIdleConnections()
			}
		})
	}
}

// TestMTLSVerifiedByCaddy leaves trust to Caddy's client_auth.
func TestMTLSVerifiedByCaddy(t *testing.T) {
	ca, others := rrtest.NewCA(t), rrtest.NewCA(t)
	api := ca.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"api.internal"} })
	evil := others.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"api.internal"} })
	sum := sha256.Sum256(evil.Certificate[0])
	pinned := "sha256:" + hex.EncodeToString(sum[:])
	for _, tt := range []struct {
		auth, lines string
		cert        *tls.Certificate
		user        string // "": refused
	}{
		{"mode verify_if_given\ntrust_pool file " + ca.File, "dns *.internal", &api, "api.internal"},
		{"mode verify_if_given\ntrust_pool file " + ca.File, "dns *.internal", nil, ""},
		{"mode request", "dns *.internal", &api, ""},
		{"mode require", "dns *.internal", &api, ""},
		{"mode require", "fingerprint " + pinned, &evil, pinned},
		{"mode require", "fingerprint " + pinned, &api, ""},
	} {
		t.Run(tt.auth+" "+tt.lines, func(t *testing.T) {
			g := startMTLS(t, tt.auth, tt.lines)
			if a := g.as(tt.cert); tt.user == "" {
				a.want(t, 401, "proxy-access-denied")
			} else if a.want(t, 200, "proxy-access-granted"); one(t, g.u).Header.Get("X-User") != tt.user {
				t.Errorf("the upstream got another user than %s", tt.user)
			}
		})
	}
}

// TestMTLSBundleChanges replaces the bundle while it is in use, without a reload: who has
// lost the trust loses open streams, too.
func TestMTLSBundleChanges(t *testing.T) {
	first, second := rrtest.NewCA(t), rrtest.NewCA(t)
	a, b := first.Client(t, nil), second.Client(t, nil)
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	write := func(ca *rrtest.CA) {
		t.Helper()
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})
		if err := os.WriteFile(bundle, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	g := startMTLS(t, "mode request", "ca {file."+bundle+"}")
	g.as(&a).want(t, 200, "proxy-access-granted")
	g.as(&b).want(t, 401, "proxy-access-denied")
	events := rrtest.NewEvents()
	g.u.Handle("/events", events)
	res, err := certified(t, g.servers, &a).Do(rrtest.Request(t, "GET", g.base+"/events", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 100)
		for {
			if _, err := res.Body.Read(buf); err != nil {
				return
			}
		}
	}()
	write(second)
	rrtest.Eventually(t, "the new bundle counts", func() bool { return g.as(&b).Status == 200 && g.as(&a).Status == 401 })
	<-ended
}

// TestMTLSAlso asks for a certificate beside a key.
func TestMTLSAlso(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert := ca.Client(t, func(c *x509.Certificate) { c.DNSNames = []string{"api.internal"} })
	g := startMTLS(t, "mode request", "dns never.internal", "ACCEPT", "accept key {env.CALLER_KEY}\nalso mtls {\n ca {file."+ca.File+"}\n}",
		"RULES", "allow * {\n claim also.dns ^api.internal$\n}")
	g.as(&cert, withKey).want(t, 200, "proxy-access-granted")
	g.as(nil, withKey).want(t, 401, "proxy-access-denied")
	g.as(&cert).want(t, 401, "proxy-access-denied")
}
