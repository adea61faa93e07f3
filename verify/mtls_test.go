package verify

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// mtls is the kind, set up by Caddyfile lines.
func mtls(t testing.TB, lines ...string) (*MTLS, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: new(secret.Expander).Context(t.Context())})
	t.Cleanup(cancel)
	m := new(MTLS)
	if err := m.UnmarshalCaddyfile(caddyfile.NewTestDispenser("mtls {\n" + strings.Join(lines, "\n") + "\n}")); err != nil {
		return nil, err
	}
	return m, m.Provision(ctx)
}

func mustMTLS(t testing.TB, lines ...string) *MTLS {
	t.Helper()
	m, err := mtls(t, lines...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// text is a file's content as an argument in a Caddyfile.
func text(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + string(b) + "`"
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// names puts names into a certificate: URIs, email addresses, and DNS names.
func names(t testing.TB, list ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		for _, s := range list {
			switch {
			case strings.Contains(s, ":"):
				c.URIs = append(c.URIs, uri(t, s))
			case strings.Contains(s, "@"):
				c.EmailAddresses = append(c.EmailAddresses, s)
			default:
				c.DNSNames = append(c.DNSNames, s)
			}
		}
	}
}

func parsed(t testing.TB, c tls.Certificate) (chain []*x509.Certificate) {
	t.Helper()
	for _, der := range c.Certificate {
		p, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, p)
	}
	return chain
}

func fingerprintOf(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return "sha256:" + hex.EncodeToString(sum[:])
}

// over is a request over TLS with a client certificate, which Caddy has verified or not.
func over(t testing.TB, c tls.Certificate, verified bool) *http.Request {
	t.Helper()
	r := request(t, "/")
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: parsed(t, c)}
	if verified {
		r.TLS.VerifiedChains = [][]*x509.Certificate{r.TLS.PeerCertificates}
	}
	return r
}

func TestMTLSNames(t *testing.T) {
	ca := rrtest.NewCA(t)
	const spiffe = "spiffe://example.org/ns/prod/sa/api"
	for _, tt := range []struct {
		line  string
		names []string
		id    string // empty: not accepted
	}{
		{"uri " + spiffe, []string{spiffe}, spiffe},
		{"uri spiffe://example.org/ns/*/sa/api", []string{spiffe}, spiffe},
		{"uri spiffe://example.org/*/*/*/*", []string{spiffe}, spiffe},
		{"uri spiffe://example.org", []string{"spiffe://example.org"}, "spiffe://example.org"},
		{"uri spiffe://other.org/x " + spiffe, []string{spiffe}, spiffe},
		{"uri spiffe://example.org/ns/*/sa/api", []string{"spiffe://example.org/ns/a/b/sa/api"}, ""},
		{"uri spiffe://example.org/*", []string{spiffe}, ""},
		{"uri spiffe://example.org/*", []string{"spiffe://example.org"}, ""},
		{"uri " + spiffe, []string{"spiffe://evil.org/ns/prod/sa/api"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org.evil.org/ns/prod/sa/api"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org/ns/prod/sa/api2"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org/ns/prod/sa/API"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org/ns/prod/sa/api/"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org/ns/prod/sa"}, ""},
		{"uri " + spiffe, []string{"https://example.org/ns/prod/sa/api"}, ""},
		{"uri " + spiffe, []string{spiffe + "?x"}, ""},
		{"uri " + spiffe, []string{spiffe + "#x"}, ""},
		{"uri " + spiffe, []string{"spiffe://u@example.org/ns/prod/sa/api"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org:443/ns/prod/sa/api"}, ""},
		{"uri spiffe://example.org/ns/*/sa/api", []string{"spiffe://example.org/ns/a%2Fb/sa/api"}, ""},
		{"uri spiffe://example.org/ns/*/sa/api", []string{"spiffe://example.org/ns/../sa/api"}, ""},
		{"uri spiffe://example.org/ns/*/sa/api", []string{"spiffe://example.org/ns//sa/api"}, ""},
		// an X.509-SVID has exactly one URI
		{"uri " + spiffe, []string{spiffe, "https://example.org"}, ""},
		{"uri " + spiffe, []string{"spiffe://example.org/other", spiffe}, ""},
		{"uri " + spiffe, []string{spiffe, "api.example.org"}, spiffe},
		{"uri https://example.org/a/*", []string{"urn:x:y", "https://example.org/a/b"}, "https://example.org/a/b"},
		{"uri https://example.org/a/*", []string{"https://example.org/a/%2e%2e"}, ""},
		{"uri https://example.org/a/*", []string{"https://example.org/a/b?c"}, ""},
		{"uri urn:x:y", []string{"urn:x:y"}, "urn:x:y"},

		{"dns api.internal", []string{"api.internal"}, "api.internal"},
		{"dns api.internal", []string{"other.internal", "API.Internal"}, "api.internal"},
		{"dns API.internal.", []string{"api.internal"}, "api.internal"},
		{"dns *.example.com", []string{"api.example.com"}, "api.example.com"},
		{"dns *.example.com", []string{"a.b.example.com"}, ""},
		{"dns *.example.com", []string{"example.com"}, ""},
		{"dns *.example.com", []string{"*.example.com"}, ""},
		{"dns *.example.com", []string{"api.example.com.evil.org"}, ""},
		{"dns api.example.com", []string{"*.example.com"}, ""},
		{"dns api.internal", []string{"api.internal.evil"}, ""},
		{"dns api.internal", []string{"https://api.internal"}, ""},

		{"email api@example.com", []string{"api@Example.COM"}, "api@example.com"},
		{"email api@example.com", []string{"API@example.com"}, ""},
		{"email api@example.com", []string{"api@example.com.evil"}, ""},
	} {
		t.Run(tt.line+" of "+strings.Join(tt.names, " "), func(t *testing.T) {
			m := mustMTLS(t, tt.line)
			id, err := m.Verify(over(t, ca.Client(t, names(t, tt.names...)), true))
			if id.ID != tt.id || (tt.id == "") != errors.Is(err, ErrRejected) {
				t.Errorf("%q, %v; want %q", id.ID, err, tt.id)
			}
		})
	}
}

func TestMTLSFaults(t *testing.T) {
	key := rrtest.NewCA(t)
	for _, tt := range []struct{ lines, err string }{
		{"", "needs a uri, dns, email, fingerprint or ca"},
		{"uri", "at least one"},
		{"uri example.org/x", "not a URI"},
		{"uri spiffe://example.org/**", "** is not known"},
		{"uri spiffe://example.org/ns-*", "one whole segment"},
		{"uri spiffe://*/x", "one whole segment"},
		{"uri spiffe://*.example.org/x", "one whole segment"},
		{"uri urn:x:*", "one whole segment"},
		{"uri spiffe://Example.org/x", "lower case"},
		{"uri SPIFFE://example.org/x", "SPIFFE ID"},
		{"uri spiffe://example.org/x/", "single slashes"},
		{"uri spiffe://example.org/a/../b", "segments"},
		{"uri spiffe://example.org/x?y", "segments"},
		{"uri spiffe:///x", "trust domain"},
		{"dns *", "not a name"},
		{"dns a.*.b", "not a name"},
		{"dns *.*.b", "not a name"},
		{"dns https://a.b", "not a name"},
		{"dns a..b", "not a name"},
		{"email example.com", "not an address"},
		{"email *@example.com", "not an address"},
		{"fingerprint 0123", "64 hexadecimal"},
		{"fingerprint sha1:" + strings.Repeat("a", 40), "64 hexadecimal"},
		{"fingerprint sha256:" + strings.Repeat("g", 64), "64 hexadecimal"},
		{"ca nonsense", "ca: it holds no certificate"},
		{"ca {file.relative.pem}", "absolute"},
		{"ca {file./does/not/exist.pem}", "cannot read"},
		{"header X-Client-Cert", "there are: uri, dns, email, fingerprint, ca"},
	} {
		if _, err := mtls(t, tt.lines); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.lines, err, tt.err)
		}
	}
	if _, err := mtls(t, "ca "+text(t, key.File)+" {file."+key.File+"x}"); err == nil {
		t.Error("one of several ca is not read")
	}
	if err := new(MTLS).UnmarshalCaddyfile(caddyfile.NewTestDispenser("mtls spiffe://example.org/x")); err == nil || !strings.Contains(err.Error(), "no argument") {
		t.Errorf("an argument: %v", err)
	}
	// from JSON nothing has been checked before
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	for _, m := range []*MTLS{{}, {URIs: []string{"x"}}, {Fingerprints: []string{"x"}}, {CA: []secret.String{""}}} {
		if err := m.Provision(ctx); err == nil {
			t.Errorf("%+v loads", m.URIs)
		}
	}
}

// TestMTLSTrust is about who vouches for a certificate.
func TestMTLSTrust(t *testing.T) {
	ca, other := rrtest.NewCA(t), rrtest.NewCA(t)
	sub := ca.Intermediate(t, nil)
	const id = "spiffe://example.org/x"
	named := names(t, id)
	good, stranger := ca.Client(t, named), other.Client(t, named)
	below := sub.Client(t, named)
	complete := below
	complete.Certificate = append([][]byte{below.Certificate[0]}, sub.Certificate().Raw)
	with := func(change func(*x509.Certificate)) tls.Certificate {
		return ca.Client(t, func(c *x509.Certificate) { named(c); change(c) })
	}
	server := with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	expired := with(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	early := with(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
	signer := with(func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
	many := good
	for range maxIntermediates + 1 {
		many.Certificate = append(many.Certificate[:len(many.Certificate):len(many.Certificate)], ca.Certificate().Raw)
	}
	limited := ca.Intermediate(t, func(c *x509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = []string{"other.org"}, true
	})
	outside := limited.Client(t, named)
	outside.Certificate = append(outside.Certificate, limited.Certificate().Raw)

	withCA := "ca " + text(t, ca.File)
	both := "ca " + text(t, other.File) + " " + text(t, ca.File)
	for _, tt := range []struct {
		name     string
		lines    []string
		cert     tls.Certificate
		verified bool
		want     string // the id, or a part of the reason
	}{
		{"Caddy has verified it", []string{"uri " + id}, good, true, id},
		{"nobody has verified it", []string{"uri " + id}, good, false, "nobody has verified"},
		{"its own ca", []string{"uri " + id, withCA}, good, false, id},
		{"several ca", []string{"uri " + id, both}, good, false, id},
		{"ca alone", []string{withCA}, good, false, id},
		{"another's", []string{"uri " + id, withCA}, stranger, false, "issuer is unknown"},
		{"another's, which Caddy has verified", []string{"uri " + id, withCA}, stranger, true, "issuer is unknown"},
		{"through an intermediate", []string{withCA}, complete, false, id},
		{"through an intermediate that is missing", []string{withCA}, below, false, "issuer is unknown"},
		{"the ca is an intermediate", []string{"ca " + text(t, sub.File)}, below, false, id},
		{"too many intermediates", []string{withCA}, many, false, "too many"},
		{"outside an intermediate's constraint", []string{withCA}, outside, false, "constraint"},
		{"for servers", []string{withCA}, server, false, "not for clients"},
		{"expired", []string{"uri " + id, withCA}, expired, false, "expired"},
		{"expired, verified", []string{"uri " + id}, expired, true, "expired"},
		{"not valid yet", []string{"uri " + id}, early, true, "not valid yet"},
		{"a ca's own as a SPIFFE ID", []string{"uri " + id, withCA}, signer, false, "none of the accepted names"},
		{"another name", []string{"uri spiffe://example.org/y", withCA}, good, false, "none of the accepted names"},
		{"by its fingerprint", []string{"fingerprint " + fingerprintOf(stranger)}, stranger, false, fingerprintOf(stranger)},
		{"by its fingerprint, as openssl prints it", []string{"fingerprint sha256:" + colons(fingerprintOf(good)[7:])}, good, false, fingerprintOf(good)},
		{"by its fingerprint, expired", []string{"fingerprint " + fingerprintOf(expired)}, expired, false, "expired"},
		{"by its fingerprint, not valid yet", []string{"fingerprint " + fingerprintOf(early)}, early, true, "not valid yet"},
		{"by another's fingerprint", []string{"fingerprint " + fingerprintOf(good)}, stranger, true, "none of the accepted names"},
		{"by its fingerprint, with a ca", []string{"fingerprint " + fingerprintOf(good), withCA}, good, false, fingerprintOf(good)},
		{"by its fingerprint, with another ca", []string{"fingerprint " + fingerprintOf(stranger), withCA}, stranger, false, "issuer is unknown"},
		{"by name or fingerprint", []string{"uri " + id, "fingerprint " + fingerprintOf(good)}, good, true, id},
		// its name is only what it says of itself
		{"by name or fingerprint, not verified", []string{"uri " + id, "fingerprint " + fingerprintOf(stranger)}, stranger, false, fingerprintOf(stranger)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := mustMTLS(t, tt.lines...)
			for range 2 { // the second time from memory
				got, err := m.Verify(over(t, tt.cert, tt.verified))
				switch {
				case err == nil && got.ID == tt.want:
				case errors.Is(err, ErrRejected) && strings.Contains(err.Error(), tt.want):
				default:
					t.Errorf("%q, %v; want %q", got.ID, err, tt.want)
				}
			}
		})
	}
}

func colons(hexadecimal string) string {
	var b strings.Builder
	for i := 0; i < len(hexadecimal); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(strings.ToUpper(hexadecimal[i : i+2]))
	}
	return b.String()
}

func TestMTLSAbsent(t *testing.T) {
	m := mustMTLS(t, "dns api.internal")
	plain := request(t, "/", "X-Client-Cert: MIIB", "X-Forwarded-Client-Cert: By=x", "Ssl-Client-Cert: x")
	bare := request(t, "/")
	bare.TLS = &tls.ConnectionState{HandshakeComplete: true}
	for _, r := range []*http.Request{plain, bare} {
		if _, err := m.Verify(r); !errors.Is(err, ErrAbsent) {
			t.Errorf("%v", err)
		}
	}
	if m.Carriers() != nil {
		t.Error("it reads a part of the request")
	}
}

func TestMTLSClaims(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert := ca.Client(t, func(c *x509.Certificate) {
		names(t, "spiffe://example.org/x", "api.internal", "a@example.com")(c)
		c.SerialNumber = big.NewInt(0xBEEF)
		c.Subject.CommonName, c.Subject.Organization = "api, the", []string{"Example"}
	})
	m := mustMTLS(t, "dns api.internal")
	id, err := m.Verify(over(t, cert, true))
	if err != nil {
		t.Fatal(err)
	}
	leaf := parsed(t, cert)[0]
	want := fmt.Sprintf(`{"dns":["api.internal"],"email":["a@example.com"],"fingerprint":"%s","issuer":"CN=rrtest CA","not_after":%d,`+
		`"serial":"beef","subject":"CN=api\\, the,O=Example","uri":["spiffe://example.org/x"]}`, fingerprintOf(cert), leaf.NotAfter.Unix())
	if got, err := json.Marshal(id.Claims); string(got) != want || err != nil {
		t.Errorf("claims\n%s\n%s", got, want)
	}
	if id.ID != "api.internal" || !id.Expires.Equal(leaf.NotAfter) {
		t.Errorf("%+v", id)
	}
	// nobody vouches for what a certificate says that is known by its fingerprint alone
	m = mustMTLS(t, "fingerprint "+fingerprintOf(cert))
	if id, err = m.Verify(over(t, cert, false)); err != nil || len(id.Claims) != 2 || id.Claims["fingerprint"] != fingerprintOf(cert) {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestMTLSTime: what was recognised once is not valid for ever.
func TestMTLSTime(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert := ca.Client(t, names(t, "api.internal"))
	for _, lines := range [][]string{{"ca " + text(t, ca.File)}, {"dns api.internal"}, {"fingerprint " + fingerprintOf(cert)}} {
		m := mustMTLS(t, lines...)
		now := time.Now()
		m.now = func() time.Time { return now }
		r := over(t, cert, true)
		if _, err := m.Verify(r); err != nil {
			t.Fatal(err)
		}
		now = parsed(t, cert)[0].NotAfter.Add(time.Second)
		if _, err := m.Verify(r); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: after its end: %v", lines[0][:10], err)
		}
	}
	// the connection lives longer than what Caddy verified when it was made
	short := ca.Intermediate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) })
	cert = short.Client(t, names(t, "api.internal"))
	m := mustMTLS(t, "dns api.internal")
	now := time.Now()
	m.now = func() time.Time { return now }
	r := over(t, cert, true)
	r.TLS.VerifiedChains = [][]*x509.Certificate{{r.TLS.PeerCertificates[0], short.Certificate(), ca.Certificate()}}
	if _, err := m.Verify(r); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	if _, err := m.Verify(r); !errors.Is(err, ErrRejected) {
		t.Errorf("after the intermediate's end: %v", err)
	}
}

// TestMTLSBundleChanges is a ca file that is replaced while it is in use.
func TestMTLSBundleChanges(t *testing.T) {
	first, second := rrtest.NewCA(t), rrtest.NewCA(t)
	path := filepath.Join(t.TempDir(), "ca.pem")
	write := func(list ...*rrtest.CA) {
		t.Helper()
		var b []byte
		for _, ca := range list {
			b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})...)
		}
		if list == nil {
			b = []byte("nonsense")
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	expander := &secret.Expander{}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: expander.Context(t.Context())})
	defer cancel()
	m := &MTLS{CA: []secret.String{secret.String("{file." + path + "}")}}
	if err := m.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	a, b := over(t, first.Client(t, nil), false), over(t, second.Client(t, nil), false)
	accepts := func(wantA, wantB bool) {
		t.Helper()
		_, errA := m.Verify(a)
		_, errB := m.Verify(b)
		if (errA == nil) != wantA || (errB == nil) != wantB {
			t.Errorf("first: %v, second: %v", errA, errB)
		}
	}
	accepts(true, false)
	print := m.Fingerprint()
	write(first, second)
	expander.Poll()
	accepts(true, true)
	if m.Fingerprint() == print {
		t.Error("the fingerprint has not changed")
	}
	write(second)
	expander.Poll()
	accepts(false, true)
	write()
	expander.Poll()
	accepts(false, true)
}

// TestMTLSInAGate is a gate that asks for a certificate and other credentials.
func TestMTLSInAGate(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert, other := ca.Client(t, names(t, "api.internal")), ca.Client(t, names(t, "other.internal"))
	const key = "a-key-0123456789-0123456789"
	g := gate(t, `{"kind":"mtls","dns":["api.internal"]}`, `{"kind":"key","secrets":["`+key+`"]}`)
	both := over(t, cert, true)
	both.Header.Set("X-Api-Key", key)
	wrongCert := over(t, other, true)
	wrongCert.Header.Set("X-Api-Key", key)
	wrongKey := over(t, cert, true)
	wrongKey.Header.Set("X-Api-Key", "another")
	for want, r := range map[string]*http.Request{
		"mtls/api.internal": over(t, cert, true),
		"key/key":           both,
		"key/key ":          wrongCert,
		// a certificate is the connection's, and everybody in a mesh has one
		"mtls/api.internal ":        wrongKey,
		"error: no credential of":   request(t, "/"),
		"error: mtls: credential n": over(t, other, true),
	} {
		if got := who(g, r); !strings.HasPrefix(got, strings.TrimSpace(want)) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	g.strip(both, true)
	if both.Header.Get("X-Api-Key") != "" || both.TLS == nil {
		t.Error("strip took the wrong thing")
	}
	alone := gate(t, `{"kind":"mtls","dns":["api.internal"]}`)
	if got := who(alone, over(t, cert, true)); got != "mtls/api.internal" {
		t.Errorf("alone: %s", got)
	}
	if len(alone.plain) != 1 || len(alone.main.slots.list) != 0 {
		t.Errorf("challenges %q, slots %v", alone.plain, alone.main.slots.list)
	}
	also, err := NewGate(loader(t), "p", "proxy p", &Spec{
		AcceptRaw: raws(`{"kind":"key","secrets":["` + key + `"]}`), AlsoRaw: raws(`{"kind":"mtls","dns":["api.internal"]}`),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(also, both); got != "error: no credential of this kind" { // its key was stripped above
		t.Errorf("also, without a key: %s", got)
	}
	both.Header.Set("X-Api-Key", key)
	if got := who(also, both); got != "key/key" {
		t.Errorf("also: %s", got)
	}
	onlyKey := request(t, "/", "X-Api-Key: "+key)
	if got := who(also, onlyKey); !strings.HasPrefix(got, "error: credential not accepted: also") {
		t.Errorf("also, without a certificate: %s", got)
	}
}

func TestMTLSMemoryIsBounded(t *testing.T) {
	ca := rrtest.NewCA(t)
	m := mustMTLS(t, "ca "+text(t, ca.File))
	m.known = newBounded[knownCertificate, recognised](2)
	for range 4 {
		if _, err := m.Verify(over(t, ca.Client(t, nil), false)); err != nil {
			t.Fatal(err)
		}
	}
	large := ca.Client(t, func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("x", maxKnownSize) })
	for range 2 {
		if _, err := m.Verify(over(t, large, false)); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.known.len(); n != 2 {
		t.Errorf("%d certificates are remembered", n)
	}
	sum := sha256.Sum256(large.Certificate[0])
	if _, ok := m.known.get(knownCertificate{sum, m.trust.Load().sum}); ok {
		t.Error("a large certificate is remembered")
	}
}

func BenchmarkMTLS(b *testing.B) {
	ca := rrtest.NewCA(b)
	m := mustMTLS(b, "ca "+text(b, ca.File))
	r := over(b, ca.Client(b, names(b, "spiffe://example.org/x")), false)
	b.Run("recognised", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first sight", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m.known = newBounded[knownCertificate, recognised](1)
			if _, err := m.Verify(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
