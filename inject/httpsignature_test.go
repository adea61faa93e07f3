package inject

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// rfcSecret is the shared secret of RFC 9421 appendix B.1.5.
const rfcSecret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="

// rfcTime is when the RFC's signatures were made.
var rfcTime = time.Unix(1618884473, 0)

func httpSigner(t testing.TB, h *HTTPSignature) *HTTPSignature {
	t.Helper()
	if h.PrivateKey == "" && h.Secret == "" {
		h.Secret, h.SecretEncoding = rfcSecret, "base64"
	}
	if err := h.Provision(bare(t)); err != nil {
		t.Fatal(err)
	}
	h.now = func() time.Time { return rfcTime }
	return h
}

// TestHTTPSignatureVector is RFC 9421 appendix B.2.5, by way of the options.
func TestHTTPSignatureVector(t *testing.T) {
	h := httpSigner(t, &HTTPSignature{KeyID: "test-shared-secret", Label: "sig-b25", Components: []string{"date", "@authority", "content-type"}})
	r := leaving(t, "POST", "https://example.com/foo?param=Value&Pet=dog", `{"hello": "world"}`, "Date: Tue, 20 Apr 2021 02:07:55 GMT", "Content-Type: application/json")
	mustInject(t, h, r)
	if got, want := r.Header.Get("Signature-Input"), `sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`; got != want {
		t.Errorf("Signature-Input is\n%s\nwant\n%s", got, want)
	}
	if got, want := r.Header.Get("Signature"), "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:"; got != want {
		t.Errorf("Signature is\n%s\nwant\n%s", got, want)
	}
}

func TestHTTPSignatureParameters(t *testing.T) {
	h := httpSigner(t, &HTTPSignature{KeyID: "k1", TTL: caddy.Duration(5 * time.Minute), Nonce: true, Tag: "web-bot-auth", Alg: true})
	form := regexp.MustCompile(`^sig1=\("@method" "@authority" "@path" "@query"\);created=1618884473;expires=1618884773;keyid="k1";alg="hmac-sha256";nonce="([A-Z2-7]{26})";tag="web-bot-auth"$`)
	nonces := map[string]bool{}
	for range 3 {
		r := leaving(t, "GET", "https://example.com/", "")
		mustInject(t, h, r)
		m := form.FindStringSubmatch(r.Header.Get("Signature-Input"))
		if m == nil || nonces[m[1]] {
			t.Fatalf("Signature-Input is %s", r.Header.Get("Signature-Input"))
		}
		nonces[m[1]] = true
	}
	h = httpSigner(t, new(HTTPSignature))
	r := leaving(t, "GET", "https://example.com/", "")
	mustInject(t, h, r)
	if got := r.Header.Get("Signature-Input"); got != `sig1=("@method" "@authority" "@path" "@query");created=1618884473` {
		t.Errorf("with nothing said Signature-Input is %s", got)
	}
}

func TestHTTPSignatureDigest(t *testing.T) {
	small, large := strings.Repeat("a", 10), strings.Repeat("b", 11)
	digest := func(body string) string {
		sum := sha256.Sum256([]byte(body))
		return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	always := []string{"@method", "content-digest"}
	for _, tt := range []struct {
		name, body   string
		components   []string
		unknown      bool
		want, fault  string
		hasComponent bool
	}{
		{"no body", "", nil, false, "", "", false},
		{"an empty one of unknown length", "", nil, true, "", "", false},
		{"no body, always", "", always, false, digest(""), "", true},
		{"a body", small, nil, false, digest(small), "", true},
		{"of unknown length", small, nil, true, digest(small), "", true},
		{"a large one", large, nil, false, "", "raise max_body, or leave content-digest out of components", false},
		{"a large one of unknown length", large, always, true, "", "raise max_body", false},
		{"not covered", large, []string{"@method"}, false, "", "", false},
	} {
		h := &HTTPSignature{Components: tt.components, MaxBody: 10}
		if tt.name == "not covered" {
			h.MaxBody = 0
		}
		httpSigner(t, h)
		r := leaving(t, "POST", "https://example.com/", tt.body)
		if tt.unknown {
			unknown(r, strings.NewReader(tt.body))
		}
		if err := h.Inject(r); tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) || r.Header.Get("Signature") != "" {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		} else if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := r.Header.Get("Content-Digest"); got != tt.want || strings.Contains(r.Header.Get("Signature-Input"), `"content-digest"`) != tt.hasComponent {
			t.Errorf("%s: Content-Digest is %q, %s", tt.name, got, r.Header.Get("Signature-Input"))
		}
		if got := readBody(t, r); got != tt.body {
			t.Errorf("%s: the body is %q", tt.name, got)
		}
	}
	h := httpSigner(t, &HTTPSignature{ContentDigest: "sha-512"})
	r := leaving(t, "POST", "https://example.com/", `{"hello": "world"}`)
	mustInject(t, h, r)
	if got := r.Header.Get("Content-Digest"); got != "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:" {
		t.Errorf("Content-Digest is %s", got)
	}
}

// TestHTTPSignatureAttempts: each attempt is signed anew, over the same body.
func TestHTTPSignatureAttempts(t *testing.T) {
	h := httpSigner(t, &HTTPSignature{Nonce: true})
	original := leaving(t, "POST", "https://example.com/x", "body")
	original.Body, original.GetBody = io.NopCloser(strings.NewReader("body")), nil
	x := attemptsOf(t.Context(), original)
	last := ""
	for range 3 {
		out := original.WithContext(x)
		out.Header = original.Header.Clone()
		mustInject(t, h, out)
		if got := readBody(t, out); got != "body" || out.Header.Get("Signature") == last || out.Header.Get("Content-Digest") == "" {
			t.Errorf("the body is %q, headers %v", got, out.Header)
		}
		last = out.Header.Get("Signature")
	}
	if err := h.Inject(leaving(t, "GET", "https://a.example/", "").WithContext(attemptsOf(t.Context(), nil))); err != nil {
		t.Error(err)
	}
}

// TestHTTPSignatureMissing: a signature covers what it promises, or nothing is sent.
func TestHTTPSignatureMissing(t *testing.T) {
	h := httpSigner(t, &HTTPSignature{Components: []string{"@method", "content-type", "x-request-id?"}})
	r := leaving(t, "GET", "https://example.com/", "")
	if err := h.Inject(r); err == nil || err.Error() != `"content-type" cannot be covered: the request has none` || r.Header.Get("Signature") != "" || r.Header.Get("Signature-Input") != "" {
		t.Errorf("got %v; headers %v", err, r.Header)
	}
	r.Header.Set("Content-Type", "text/plain")
	mustInject(t, h, r)
	r.Header.Set("X-Request-Id", "1")
	mustInject(t, h, r)
	if got := r.Header.Get("Signature-Input"); !strings.HasPrefix(got, `sig1=("@method" "content-type" "x-request-id");`) {
		t.Errorf("Signature-Input is %s", got)
	}
	r = leaving(t, "GET", "https://example.com/", "")
	r.URL.Scheme = ""
	if err := httpSigner(t, &HTTPSignature{Components: []string{"@target-uri"}}).Inject(r); err == nil || !strings.Contains(err.Error(), "not known yet") {
		t.Errorf("without a scheme: %v", err)
	}
}

// privatePEM makes a key and returns it with what verifies.
func privatePEM(t testing.TB, kind string) (secret.String, crypto.PublicKey) {
	t.Helper()
	var private crypto.Signer
	var err error
	switch kind {
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "p256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return secret.String(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), private.Public()
}

// verifies checks a signature over a base with the standard library.
func verifies(algorithm string, key any, base string, signature []byte) bool {
	sum256, sum384, sum512 := sha256.Sum256([]byte(base)), sha512.Sum384([]byte(base)), sha512.Sum512([]byte(base))
	number := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	switch algorithm {
	case "ed25519":
		return ed25519.Verify(key.(ed25519.PublicKey), []byte(base), signature)
	case "ecdsa-p256-sha256":
		return len(signature) == 64 && ecdsa.Verify(key.(*ecdsa.PublicKey), sum256[:], number(signature[:32]), number(signature[32:]))
	case "ecdsa-p384-sha384":
		return len(signature) == 96 && ecdsa.Verify(key.(*ecdsa.PublicKey), sum384[:], number(signature[:48]), number(signature[48:]))
	case "rsa-pss-sha512":
		return rsa.VerifyPSS(key.(*rsa.PublicKey), crypto.SHA512, sum512[:], signature, &rsa.PSSOptions{SaltLength: 64}) == nil
	case "rsa-v1_5-sha256":
		return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), crypto.SHA256, sum256[:], signature) == nil
	case "hmac-sha256":
		mac := hmac.New(sha256.New, key.([]byte))
		mac.Write([]byte(base))
		return hmac.Equal(mac.Sum(nil), signature)
	}
	return false
}

func TestHTTPSignatureAlgorithms(t *testing.T) {
	for _, tt := range []struct{ kind, algorithm, alg string }{
		{"ed25519", "", "ed25519"},
		{"ed25519", "ed25519", "ed25519"},
		{"p256", "", "ecdsa-p256-sha256"},
		{"p384", "", "ecdsa-p384-sha384"},
		{"rsa", "", "rsa-pss-sha512"},
		{"rsa", "rsa-v1_5-sha256", "rsa-v1_5-sha256"},
	} {
		key, public := privatePEM(t, tt.kind)
		h := httpSigner(t, &HTTPSignature{PrivateKey: key, Algorithm: tt.algorithm, Components: []string{"@method", "@target-uri"}, Alg: true})
		r := leaving(t, "GET", "https://example.com/a?b", "")
		mustInject(t, h, r)
		params := strings.TrimPrefix(r.Header.Get("Signature-Input"), "sig1=")
		if !strings.Contains(params, `;alg="`+tt.alg+`"`) {
			t.Errorf("%s: Signature-Input is %s", tt.kind, params)
		}
		raw, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(r.Header.Get("Signature"), "sig1="), ":"))
		base := "\"@method\": GET\n\"@target-uri\": https://example.com/a?b\n\"@signature-params\": " + params
		if err != nil || !verifies(tt.alg, public, base, raw) {
			t.Errorf("%s: the signature is wrong", tt.alg)
		}
	}
}

func TestHTTPSignatureOptions(t *testing.T) {
	key, _ := privatePEM(t, "ed25519")
	for _, tt := range []struct {
		name, want string
		change     func(h *HTTPSignature)
	}{
		{"nothing to sign with", "needs a private_key or a secret", func(h *HTTPSignature) { h.Secret = "" }},
		{"both", "not both", func(h *HTTPSignature) { h.PrivateKey = key }},
		{"an algorithm of others", `"RS256" is unknown`, func(h *HTTPSignature) { h.Algorithm = "RS256" }},
		{"ed25519 with a secret", "ed25519 goes with a private_key", func(h *HTTPSignature) { h.Algorithm = "ed25519" }},
		{"hmac with a key", "hmac-sha256 goes with a secret", func(h *HTTPSignature) { h.Secret, h.PrivateKey, h.Algorithm = "", key, "hmac-sha256" }},
		{"another key's algorithm", "private_key: algorithm rsa-pss-sha512 does not go", func(h *HTTPSignature) { h.Secret, h.PrivateKey, h.Algorithm = "", key, "rsa-pss-sha512" }},
		{"a key that is none", "private_key: the private key is not PEM", func(h *HTTPSignature) { h.Secret, h.PrivateKey = "", "s3cret" }},
		{"hexadecimal", `not as "hex"`, func(h *HTTPSignature) { h.SecretEncoding = "hex" }},
		{"base64 of a key", "secret_encoding is for a secret", func(h *HTTPSignature) { h.Secret, h.PrivateKey, h.SecretEncoding = "", key, "base64" }},
		{"no base64", "secret: it is not base64", func(h *HTTPSignature) { h.SecretEncoding = "base64" }},
		{"md5", "content_digest is sha-256 or sha-512", func(h *HTTPSignature) { h.ContentDigest = "md5" }},
		{"a digest that nothing covers", "add content-digest", func(h *HTTPSignature) { h.Components, h.ContentDigest = []string{"@method"}, "sha-512" }},
		{"a size that nothing needs", "add content-digest", func(h *HTTPSignature) { h.Components, h.MaxBody = []string{"@method"}, 1 }},
		{"too much", "64 MiB", func(h *HTTPSignature) { h.MaxBody = 65 << 20 }},
		{"days", "1s to 24h", func(h *HTTPSignature) { h.TTL = caddy.Duration(25 * time.Hour) }},
		{"less than a second", "1s to 24h", func(h *HTTPSignature) { h.TTL = caddy.Duration(time.Millisecond) }},
		{"no component", "no component of a request", func(h *HTTPSignature) { h.Components = []string{"@status"} }},
		{"a component twice", "there twice", func(h *HTTPSignature) { h.Components = []string{"date", "Date?"} }},
		{"a label in capitals", `label "Sig"`, func(h *HTTPSignature) { h.Label = "Sig" }},
		{"a tag that is no text", "tag: only printable ASCII", func(h *HTTPSignature) { h.Tag = "é" }},
		{"a keyid that is no text", "keyid: only printable ASCII", func(h *HTTPSignature) { h.KeyID = "é" }},
	} {
		h := &HTTPSignature{Secret: "s3cret"}
		tt.change(h)
		if err := h.Provision(bare(t)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestHTTPSignatureKeyChanges: the key and its name change together, and a key that cannot
// be used leaves the last one.
func TestHTTPSignatureKeyChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, firstPublic := privatePEM(t, "ed25519")
	second, secondPublic := privatePEM(t, "p384")
	write("id", "key-1")
	write("key", string(first))
	e := new(secret.Expander)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: e.Context(t.Context())})
	t.Cleanup(cancel)
	h := &HTTPSignature{KeyID: secret.Template("{file." + dir + "/id}"), PrivateKey: secret.String("{file." + dir + "/key}"), Components: []string{"@method"}}
	if err := h.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	expect := func(id, algorithm string, public any) {
		t.Helper()
		r := leaving(t, "GET", "https://example.com/", "")
		mustInject(t, h, r)
		params := strings.TrimPrefix(r.Header.Get("Signature-Input"), "sig1=")
		raw, _ := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimPrefix(r.Header.Get("Signature"), "sig1="), ":"))
		if !strings.HasSuffix(params, fmt.Sprintf(";keyid=%q", id)) || !verifies(algorithm, public, "\"@method\": GET\n\"@signature-params\": "+params, raw) {
			t.Errorf("want a signature of %s; it is %s", id, params)
		}
	}
	expect("key-1", "ed25519", firstPublic)
	write("id", "key-2, new")
	write("key", string(second))
	e.Poll()
	expect("key-2, new", "ecdsa-p384-sha384", secondPublic)
	write("id", "key-3")
	write("key", "not a key")
	e.Poll()
	expect("key-2, new", "ecdsa-p384-sha384", secondPublic)
}

func TestSigningSlots(t *testing.T) {
	names := func(x Slotted) string {
		var list []string
		for _, s := range x.Slots() {
			if err := s.Validate(); err != nil || s.In != InHeader {
				t.Errorf("slot %v: %v", s, err)
			}
			list = append(list, s.Name)
		}
		return strings.Join(list, " ")
	}
	if got := names(new(SigV4)); got != "Authorization X-Amz-Date X-Amz-Security-Token X-Amz-Content-Sha256 X-Amz-S3session-Token" {
		t.Error(got)
	}
	if got := names(httpSigner(t, new(HTTPSignature))); got != "Signature Signature-Input Content-Digest" {
		t.Error(got)
	}
	if got := names(httpSigner(t, &HTTPSignature{Components: []string{"@method"}})); got != "Signature Signature-Input" {
		t.Error(got)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "65536": 65536, "512KiB": 512 << 10, "1MB": 1e6, "1mib": 1 << 20, "2k": 2000, "10B": 10} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-", "1GiB", "1 MiB", "1.5MiB", "1MiBB", "99999999999", "0x1"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func BenchmarkHTTPSignature(b *testing.B) {
	for _, kind := range []string{"hmac", "ed25519", "p256", "rsa"} {
		b.Run(kind, func(b *testing.B) {
			h := new(HTTPSignature)
			if kind != "hmac" {
				h.PrivateKey, _ = privatePEM(b, kind)
			}
			httpSigner(b, h)
			benchmarkInject(b, h)
		})
	}
}

func BenchmarkSigV4(b *testing.B) { benchmarkInject(b, awsSigner(b, nil)) }

func benchmarkInject(b *testing.B, x Injector) {
	r := leaving(b, "GET", "https://example.com/a/b?c=d", "", "Accept: */*", "User-Agent: bench")
	b.ReportAllocs()
	for b.Loop() {
		out := new(http.Request)
		*out = *r
		u := *r.URL
		out.URL, out.Header = &u, r.Header.Clone()
		mustInject(b, x, out)
	}
}
