package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestComponentValues(t *testing.T) {
	request := func(method, url string, headers ...string) *http.Request {
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		return r
	}
	get := func(url string, headers ...string) *http.Request { return request("GET", url, headers...) }
	param := "https://www.example.com/path?param=value&foo=bar&baz=batman&qux="
	for _, tt := range []struct {
		r               *http.Request
		component, want string // "error: part" is an error
	}{
		// section 2.1
		{get("https://a.example/", "X-OWS: \t leading and trailing  "), "x-ows", `"x-ows": leading and trailing`},
		{get("https://a.example/", "X-Fold: Obsolete\r\n    line folding."), "x-fold", `"x-fold": Obsolete line folding.`},
		{get("https://a.example/", "Cache-Control: max-age=60", "Cache-Control:    must-revalidate "), "Cache-Control", `"cache-control": max-age=60, must-revalidate`},
		{get("https://a.example/", "X-Empty: "), "x-empty", `"x-empty": `},
		{get("https://a.example/", "X-Two: ", "X-Two: b"), "x-two", `"x-two": , b`},
		{get("https://a.example/"), "x-none", "error: the request has none"},
		{get("https://a.example/", "X-Text: Bär"), "x-text", "error: beyond ASCII"},
		{get("https://a.example/", "X-Text: a\x00b"), "x-text", "error: control"},
		{get("https://a.example/", "User-Agent: "), "user-agent", "error: the request has none"},
		{get("https://a.example:8443/"), "host", `"host": a.example:8443`},
		{request("POST", "https://a.example/"), "content-length", `"content-length": 0`},
		{get("https://a.example/"), "content-length", "error: the request has none"},
		// section 2.2
		{request("post", "https://a.example/"), "@method", `"@method": post`},
		{get("https://www.Example.com:443/path?param=value"), "@target-uri", `"@target-uri": https://www.example.com/path?param=value`},
		{get("https://a.example/a%2Fb%20c?x=%20"), "@target-uri", `"@target-uri": https://a.example/a%2Fb%20c?x=%20`},
		{get("http://[::1]:80/"), "@authority", `"@authority": [::1]`},
		{get("http://a.example:443/"), "@authority", `"@authority": a.example:443`},
		{get("HTTP://a.example/"), "@scheme", `"@scheme": http`},
		{get("//a.example/"), "@scheme", "error: not known"},
		{get("//a.example/"), "@target-uri", "error: not known"},
		{get("https://a.example/path?param=value"), "@request-target", `"@request-target": /path?param=value`},
		{get("https://a.example"), "@path", `"@path": /`},
		{get("https://a.example/a%2fb"), "@path", `"@path": /a%2fb`},
		{get(param), "@query", `"@query": ?param=value&foo=bar&baz=batman&qux=`},
		{get("https://a.example/"), "@query", `"@query": ?`},
		{get("https://a.example/?"), "@query", `"@query": ?`},
		// section 2.2.8
		{get(param), "@query-param;name=baz", `"@query-param";name="baz": batman`},
		{get(param), `@query-param;name="qux"`, `"@query-param";name="qux": `},
		{get(param), "@query-param;name=none", "error: the request has none"},
		{get("https://a.example/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something"), "@query-param;name=var", `"@query-param";name="var": this%20is%20a%20big%0Amultiline%20value`},
		{get("https://a.example/parameters?bar=with+plus+whitespace"), "@query-param;name=bar", `"@query-param";name="bar": with%20plus%20whitespace`},
		{get("https://a.example/parameters?fa%C3%A7ade%22%3A%20=something"), "@query-param;name=fa%C3%A7ade%22%3A%20", `"@query-param";name="fa%C3%A7ade%22%3A%20": something`},
		{get("https://a.example/?fa%C3%A7ade=1"), "@query-param;name=façade", `"@query-param";name="fa%C3%A7ade": 1`},
		{get("https://a.example/?a=1&a=2"), "@query-param;name=a", "error: several"},
		{get("https://a.example/?%61=1&a=1"), "@query-param;name=a", "error: several"},
		{get("https://a.example/?a=100%&b"), "@query-param;name=a", `"@query-param";name="a": 100%25`},
		{get("https://a.example/?a=100%&b"), "@query-param;name=b", `"@query-param";name="b": `},
		{get("https://a.example/?a=%ff"), "@query-param;name=a", "error: UTF-8"},
	} {
		c, err := ParseComponent(tt.component)
		if err != nil {
			t.Errorf("%s: %v", tt.component, err)
			continue
		}
		base, _, err := Base(tt.r, []Component{c}, Parameters{})
		got, _, _ := strings.Cut(base, "\n")
		if err != nil {
			got = "error: " + err.Error()
		}
		if part, isError := strings.CutPrefix(tt.want, "error: "); got != tt.want && !(isError && err != nil && strings.Contains(got, part)) {
			t.Errorf("%s of %s: %s, want %s", tt.component, tt.r.URL, got, tt.want)
		}
	}
}

func TestComponentsThatCannotBeCovered(t *testing.T) {
	for text, part := range map[string]string{
		"@status":                 "no component of a request",
		"@signature-params":       "no component of a request",
		"@Nothing":                "no component of a request",
		"":                        "not the name",
		"a b":                     "not the name",
		"?":                       "not the name",
		"connection":              "belongs to",
		"Transfer-Encoding":       "belongs to",
		"signature":               "belongs to",
		"Signature-Input":         "belongs to",
		"@method?":                "only header fields",
		"@query-param":            "with its name",
		"@query-param;name=":      "with its name",
		"@query-param;name=\"\"":  "with its name",
		"@query-param;id=1":       "with its name",
		"@query-param?;name=a":    "only header fields",
		"@query-param;name=%ff":   "with its name",
		"cache-control;sf":        "there is only ;name=",
		"cache-control;key=\"a\"": "there is only ;name=",
		"@method;req":             "there is only ;name=",
	} {
		if c, err := ParseComponent(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %+v, %v; want %q", text, c, err, part)
		}
	}
	r := demoRequest(t)
	twice := parseAll(t, "accept Accept")
	if _, _, err := Base(r, twice, Parameters{}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a component twice: %v", err)
	}
	k, _ := vectorKey(t, "test-key-ed25519")
	if _, _, err := Sign(r, "sig1", parseAll(t, "@method content-digest"), Parameters{}, k); err == nil || !strings.Contains(err.Error(), `"content-digest" cannot be covered`) {
		t.Errorf("a field is missing: %v", err)
	}
	input, _, err := Sign(r, "sig1", parseAll(t, "@method content-digest? accept?"), Parameters{}, k)
	if err != nil || input != `sig1=("@method" "accept")` {
		t.Errorf("an optional field is missing: %s, %v", input, err)
	}
}

func TestParameters(t *testing.T) {
	p := Parameters{Created: created, Expires: created.Add(5 * time.Minute), KeyID: `a\"b`, Alg: Ed25519, Nonce: "n", Tag: "app-123"}
	want := `;created=1618884473;expires=1618884773;keyid="a\\\"b";alg="ed25519";nonce="n";tag="app-123"`
	if got := p.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for text, ok := range map[string]bool{"": true, "key 1~": true, "ä": false, "a\nb": false, "a\tb": false, "\x7f": false} {
		if err := CheckText(text); (err == nil) != ok {
			t.Errorf("text %q: %v", text, err)
		}
	}
	for label, ok := range map[string]bool{"sig1": true, "*a.b-c_d*": true, "": false, "1sig": false, "Sig": false, "a=b": false, "a b": false, "-a": false, "sigé": false} {
		if err := CheckLabel(label); (err == nil) != ok {
			t.Errorf("label %q: %v", label, err)
		}
	}
}

func encoded(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeys(t *testing.T) {
	p384 := ecKey(t, elliptic.P384())
	sec1, err := x509.MarshalECPrivateKey(p384)
	p384SEC1 := encoded(t, "EC PRIVATE KEY", sec1, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(p384)
	p384PKCS8 := encoded(t, "PRIVATE KEY", pkcs8, err)
	parameters := append([]byte("-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n"), p384SEC1...)
	for _, tt := range []struct {
		name, alg, want string
		data            []byte
	}{
		{"Ed25519", "", Ed25519, pemKey(t, "test-key-ed25519")},
		{"P-256", ECDSAP256, ECDSAP256, pemKey(t, "test-key-ecc-p256")},
		{"P-384, SEC 1", "", ECDSAP384, p384SEC1},
		{"P-384, PKCS#8", ECDSAP384, ECDSAP384, p384PKCS8},
		{"P-384, with parameters", "", ECDSAP384, parameters},
		{"RSA, PKCS#1", "", RSAPSS, pemKey(t, "test-key-rsa")},
		{"RSA, PKCS#1, v1.5", RSAv15, RSAv15, pemKey(t, "test-key-rsa")},
		{"RSA for PSS", "", RSAPSS, pemKey(t, "test-key-rsa-pss")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParseKey(tt.data, tt.alg)
			if err != nil {
				t.Fatal(err)
			}
			if k.Algorithm() != tt.want {
				t.Errorf("the algorithm is %s", k.Algorithm())
			}
			private, _, err := parsePEM(tt.data)
			if err != nil {
				t.Fatal(err)
			}
			r, public := vectorRequest(t), private.(crypto.Signer).Public()
			covered := parseAll(t, "@method @target-uri content-digest")
			for range 20 { // the numbers of an ECDSA signature are of different lengths
				base, _, err := Base(r, covered, Parameters{Created: created})
				if err != nil {
					t.Fatal(err)
				}
				_, signature, err := Sign(r, "sig1", covered, Parameters{Created: created}, k)
				if err != nil {
					t.Fatal(err)
				}
				if err := verify(k.Algorithm(), public, base, signature); err != nil {
					t.Fatal(err)
				}
				if verify(k.Algorithm(), public, base+" ", signature) == nil {
					t.Fatal("the signature holds for another base")
				}
			}
		})
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	der, err := x509.MarshalECPrivateKey(ecKey(t, elliptic.P521()))
	p521 := encoded(t, "EC PRIVATE KEY", der, err)
	x448, err := x509.MarshalPKIXPublicKey(&ecKey(t, elliptic.P256()).PublicKey)
	public := encoded(t, "PUBLIC KEY", x448, err)
	secret := "0123456789abcdef-s3cret"
	for _, tt := range []struct {
		name, alg, want string
		data            []byte
	}{
		{"nothing", "", "not PEM", nil},
		{"text", "", "not PEM", []byte(secret)},
		{"half of it", "", "not PEM", pemKey(t, "test-key-ed25519")[:60]},
		{"another algorithm", RSAPSS, "does not go with the private key; what does is ed25519", pemKey(t, "test-key-ed25519")},
		{"another curve", ECDSAP384, "what does is ecdsa-p256-sha256", pemKey(t, "test-key-ecc-p256")},
		{"RSA and HMAC", HMAC, "what does is rsa-pss-sha512 or rsa-v1_5-sha256", pemKey(t, "test-key-rsa")},
		{"only PSS", RSAv15, "what does is rsa-pss-sha512", pemKey(t, "test-key-rsa-pss")},
		{"a curve without algorithm", "", "curve P-521", p521},
		{"a public key", "", `"PUBLIC KEY" is no private key`, public},
		{"rubbish", "", "cannot be read", encoded(t, "PRIVATE KEY", []byte(secret), nil)},
		{"encrypted", "", "encrypted", encoded(t, "ENCRYPTED PRIVATE KEY", []byte(secret), nil)},
	} {
		k, err := ParseKey(tt.data, tt.alg)
		if err == nil || k != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(encoded(t, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short), nil), RSAPSS); err == nil || !strings.Contains(err.Error(), "has 1024 bits") {
		t.Errorf("1024 bits: %v", err)
	}
	if _, err := NewHMAC(nil); err == nil {
		t.Error("an empty secret is a key")
	}
	k, _ := NewHMAC([]byte(secret))
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if s := fmt.Sprintf(format, k); s != "hmac-sha256 key" {
			t.Errorf("%s shows %s", format, s)
		}
	}
}

// FuzzBase looks for a request that has the base of another: a line that a value adds.
func FuzzBase(f *testing.F) {
	f.Add("GET", "/a?b=c", "X-A", "value", "@method @path x-a")
	f.Add("GET", "/a?b=c&b=d", "X-A", "a\r\n b", "x-a @query-param;name=b")
	f.Add("GET", "/?a=%0a%22", "X-A", "\"@path\": /", "@query @query-param;name=a")
	f.Fuzz(func(t *testing.T, method, target, name, value, components string) {
		r, err := http.NewRequest(method, "https://a.example"+target, nil)
		if err != nil {
			return
		}
		r.Header.Add(name, value)
		var list []Component
		for _, text := range strings.Fields(components) {
			if c, err := ParseComponent(text); err == nil {
				list = append(list, c)
			}
		}
		base, params, err := Base(r, list, Parameters{Created: created})
		if err != nil {
			return
		}
		lines := strings.Split(base, "\n")
		if len(lines) != len(list)+1 || lines[len(list)] != `"@signature-params": `+params {
			t.Errorf("%d components have the base\n%s", len(list), base)
		}
		for i, c := range list {
			if !strings.HasPrefix(lines[i], c.Identifier()+": ") {
				t.Errorf("line %d is %s, of %s", i, lines[i], c.Identifier())
			}
		}
		for i := range len(base) {
			if base[i] > '~' || base[i] < ' ' && base[i] != '\n' && base[i] != '\t' {
				t.Errorf("the base has a character %#x", base[i])
			}
		}
	})
}
