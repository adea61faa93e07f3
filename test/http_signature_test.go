package test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// signatureVerifier answers as an upstream that verifies RFC 9421: from the request as it
// came, with what is said to be covered, which has to have all that must be.
type signatureVerifier struct {
	verify func(base string, signature []byte) bool
	must   []string
	scheme string
}

func (v *signatureVerifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = v.check(r, body)
	}
	if err != nil {
		w.WriteHeader(http.StatusForbidden)
	}
	fmt.Fprintf(w, "%d bytes, %v", len(body), err)
}

func (v *signatureVerifier) check(r *http.Request, body []byte) error {
	input, signature := r.Header["Signature-Input"], r.Header["Signature"]
	if len(input) != 1 || len(signature) != 1 {
		return fmt.Errorf("there are %d and %d signatures", len(input), len(signature))
	}
	label, params, _ := strings.Cut(input[0], "=")
	value, ok := strings.CutPrefix(signature[0], label+"=:")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(value, ":"))
	if !ok || err != nil {
		return errors.New("the labels differ")
	}
	list, _, _ := strings.Cut(strings.TrimPrefix(params, "("), ")")
	var base strings.Builder
	covered := strings.Fields(list)
	for _, id := range covered {
		text, err := v.component(r, id)
		if err != nil {
			return err
		}
		base.WriteString(id + ": " + text + "\n")
	}
	base.WriteString(`"@signature-params": ` + params)
	for _, id := range v.must {
		if !slices.Contains(covered, strconv.Quote(id)) {
			return fmt.Errorf("%s is not covered by %s", id, list)
		}
	}
	var created int64
	if _, err := fmt.Sscanf(params[strings.Index(params, ";created="):], ";created=%d", &created); err != nil || time.Since(time.Unix(created, 0)).Abs() > time.Minute {
		return fmt.Errorf("it was created %d", created)
	}
	if digest := r.Header.Get("Content-Digest"); digest != "" && digest != "sha-256=:"+base64.StdEncoding.EncodeToString(sum256(string(body)))+":" {
		return fmt.Errorf("the digest %s is wrong", digest)
	}
	if !v.verify(base.String(), raw) {
		return fmt.Errorf("the signature is wrong over\n%s", base.String())
	}
	return nil
}

func (v *signatureVerifier) component(r *http.Request, id string) (string, error) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	switch id {
	case `"@method"`:
		return r.Method, nil
	case `"@authority"`:
		return strings.ToLower(r.Host), nil
	case `"@scheme"`:
		return v.scheme, nil
	case `"@target-uri"`:
		return v.scheme + "://" + r.Host + r.RequestURI, nil
	case `"@request-target"`:
		return r.RequestURI, nil
	case `"@path"`:
		return path, nil
	case `"@query"`:
		return "?" + query, nil
	case `"@query-param";name="id"`:
		return r.URL.Query().Get("id"), nil
	case `"host"`:
		return r.Host, nil
	case `"content-length"`:
		return fmt.Sprint(r.ContentLength), nil
	}
	name, err := strconv.Unquote(id)
	lines, ok := r.Header[http.CanonicalHeaderKey(name)]
	if err != nil || !ok {
		return "", fmt.Errorf("there is no %s", id)
	}
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, ", "), nil
}

const signingSecret = "shared-secret-of-the-gateway-0123456789"

func byHMAC(secret string) func(string, []byte) bool {
	return func(base string, signature []byte) bool { return hmac.Equal(mac([]byte(secret), base), signature) }
}

func startHTTPSignature(t testing.TB, v *signatureVerifier, options string, more ...string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	t.Setenv("SIGNING_SECRET", signingSecret)
	u := rrtest.NewUpstream(t)
	u.Handle("", v)
	return startSigned(t, u.URL+"/base", "present http_signature {\n"+options+"\n}", more...), u
}

func TestHTTPSignature(t *testing.T) {
	v := &signatureVerifier{verify: byHMAC(signingSecret), must: []string{"@method", "@authority", "@path", "@query"}, scheme: "http"}
	g, u := startHTTPSignature(t, v, "secret {env.SIGNING_SECRET}\nkeyid k1")
	for _, path := range []string{"/", "/a/b", "/my%20file(1)!'*.txt?x", "/%C3%A9/~x", "/a%2Fb", "/?", "/?b=2&a=1&b=1", "/?q=a+b&r=%20;s=100%"} {
		g.get(path, asCaller).wantGranted(t, "0 bytes, <nil>")
		if got := one(t, u); got.Header.Get("Content-Digest") != "" || got.URI != "/base"+path {
			t.Errorf("%s: the upstream got %s, %v", path, got.URI, got.Header)
		}
	}
	v.must = append(v.must, "content-digest")
	for _, body := range []string{"a", `{"a":1}`, strings.Repeat("b", 1<<20)} {
		want := fmt.Sprintf("%d bytes, <nil>", len(body))
		g.do("POST", "/x", body, asCaller).wantGranted(t, want)
		g.sendChunked(body).wantGranted(t, want)
	}
	received(u)
	// larger than what is kept
	g.do("POST", "/x", strings.Repeat("b", 1<<20+1), asCaller).want(t, 502, "target-credential-failed")
	g.sendChunked(strings.Repeat("b", 1<<20+1)).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "signer: the body has more than the 1048576 bytes that are kept to compute its digest; raise max_body, or leave content-digest out of components")
	})
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %d requests", len(got))
	}
	for _, s := range []string{signingSecret, "sig1="} {
		if strings.Contains(g.Logs(), s) {
			t.Errorf("%s is in a log", s)
		}
	}
}

// TestHTTPSignatureComponents: what is covered is what leaves, also what Caddy adds.
func TestHTTPSignatureComponents(t *testing.T) {
	v := &signatureVerifier{verify: byHMAC(signingSecret), scheme: "http"}
	const all = `@method @target-uri @authority @scheme @request-target @path @query @query-param;name=id host content-type content-length content-digest via x-forwarded-for x-forwarded-proto user-agent? accept-encoding? x-two x-added`
	g, u := startHTTPSignature(t, v, "secret {env.SIGNING_SECRET}\ncomponents "+all, "LINES", "header_up X-Added {http.auth.user.id}")
	headers := []string{asCaller, "Content-Type: text/plain", "X-Two:  a ", "X-Two: b"}
	g.do("POST", "/x?id=7", "body", append(headers, "Accept-Encoding: br", "User-Agent: agent")...).wantGranted(t, "4 bytes, <nil>")
	g.do("POST", "/x?id=7", "body", append(headers, "User-Agent: ")...).wantGranted(t, "4 bytes, <nil>")
	received(u)
	for _, tt := range []struct{ path, header, reason string }{
		{"/x?id=7", "X-Three: b", `"x-two" cannot be covered: the request has none`},
		{"/x?id=7&id=8", "X-Two: b", `"@query-param";name="id" cannot be covered: the request has several`},
		{"/x", "X-Two: b", `"@query-param";name="id" cannot be covered: the request has none`},
		{"/x?id=7", "X-Two: \xff", `"x-two" cannot be covered: it has characters beyond ASCII`},
	} {
		g.do("POST", tt.path, "body", asCaller, "Content-Type: text/plain", tt.header).want(t, 502, "target-credential-failed")
		g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), tt.reason) })
	}
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestHTTPSignatureOfCallersIsRemoved: nothing of the caller's own signatures passes, and
// nothing that the caller says takes ours away.
func TestHTTPSignatureOfCallersIsRemoved(t *testing.T) {
	v := &signatureVerifier{verify: byHMAC(signingSecret), must: []string{"@method", "content-digest"}, scheme: "http"}
	g, u := startHTTPSignature(t, v, "secret {env.SIGNING_SECRET}\nlabel gw")
	const evil = "evil0123456789"
	for _, headers := range [][]string{
		{"Signature: gw=:" + evil + ":", `Signature-Input: gw=("@method");keyid="` + evil + `"`, "Content-Digest: sha-256=:" + evil + ":"},
		{"signature: " + evil, "signature-input: " + evil, "Signature: other=:" + evil + ":"},
		{"Signature_Input: " + evil, "Signature.Input: " + evil, "Content_Digest: " + evil, "Signature_: " + evil},
		{"Connection: Signature, Signature-Input, Content-Digest, Host"},
	} {
		g.do("POST", "/x", "body", append(headers, asCaller)...).wantGranted(t, "4 bytes, <nil>")
		if got := one(t, u); got.Contains(evil) || len(got.Header["Signature"]) != 1 || !strings.HasPrefix(got.Header.Get("Signature"), "gw=:") {
			t.Errorf("%q: the upstream got %v", headers, got.Header)
		}
	}
	// in trailers
	res := answer{rrtest.Raw(t, g.addr, "POST /x HTTP/1.1\r\nHost: g\r\n"+asCaller+"\r\nTrailer: Signature, Content-Digest, X-Ok\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nSignature: "+evil+"\r\nContent-Digest: "+evil+"\r\nX-Ok: yes\r\n\r\n")}
	res.wantGranted(t, "4 bytes, <nil>")
	if got := one(t, u); got.Contains(evil) || got.Trailer.Get("X-Ok") != "yes" || got.Trailer.Get("Signature") != "" {
		t.Errorf("the upstream got trailers %v", got.Trailer)
	}
	// a digest that nothing covers is the caller's own affair
	w := &signatureVerifier{verify: byHMAC(signingSecret), scheme: "http"}
	u.Handle("", w)
	if err := g.reload(strings.Replace(signedProxy, "PRESENT", "present http_signature {\nsecret {env.SIGNING_SECRET}\ncomponents @method\n}", 1)); err != nil {
		t.Fatal(err)
	}
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum256("body")) + ":"
	g.do("POST", "/x", "body", asCaller, "Content-Digest: "+digest).wantGranted(t, "4 bytes, <nil>")
	if got := one(t, u); got.Header.Get("Content-Digest") != digest {
		t.Errorf("the upstream got %v", got.Header)
	}
}

// TestHTTPSignatureKeyFile: a private key from a file, and a new one without a reload.
func TestHTTPSignatureKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key.pem")
	write := func(private any) {
		t.Helper()
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err == nil {
			err = os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	write(private)
	v := &signatureVerifier{scheme: "http", verify: func(base string, signature []byte) bool {
		return ed25519.Verify(public, []byte(base), signature)
	}}
	g, u := startHTTPSignature(t, v, "private_key {file."+file+"}\nkeyid k1\nttl 1m\nnonce\ntag app\nalg")
	g.get("/x", asCaller).wantGranted(t, "0 bytes, <nil>")
	got := one(t, u).Header.Get("Signature-Input")
	for _, part := range []string{";expires=", `;keyid="k1"`, `;alg="ed25519"`, ";nonce=\"", `;tag="app"`} {
		if !strings.Contains(got, part) {
			t.Errorf("Signature-Input is %s", got)
		}
	}
	second, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u.Handle("", &signatureVerifier{scheme: "http", verify: func(base string, signature []byte) bool {
		sum := sha512.Sum384([]byte(base))
		return len(signature) == 96 && ecdsa.Verify(&second.PublicKey, sum[:], new(big.Int).SetBytes(signature[:48]), new(big.Int).SetBytes(signature[48:]))
	}})
	write(second)
	rrtest.Eventually(t, "the new key signs", func() bool { return g.get("/x", asCaller).Status == 200 })
	if err := os.WriteFile(file, []byte("no key at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.WaitLog("a changed secret of http_signature cannot be used")
	g.get("/x", asCaller).wantGranted(t, "0 bytes, <nil>")
	if strings.Contains(g.Logs(), "no key at all") {
		t.Error("a secret is in a log")
	}
}
