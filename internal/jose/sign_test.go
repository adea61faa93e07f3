package jose

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// privateJWK is the whole key as a JWK (RFC 7518 section 6, RFC 8037 section 2).
func privateJWK(t testing.TB, k *idp.Key) map[string]any {
	t.Helper()
	jwk := k.JWK()
	number := func(n *big.Int) string { return bytes64(n.Bytes()) }
	switch private := k.Private.(type) {
	case *rsa.PrivateKey:
		jwk["d"], jwk["p"], jwk["q"] = number(private.D), number(private.Primes[0]), number(private.Primes[1])
		jwk["dp"], jwk["dq"], jwk["qi"] = number(private.Precomputed.Dp), number(private.Precomputed.Dq), number(private.Precomputed.Qinv)
	case *ecdsa.PrivateKey:
		d, err := private.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		jwk["d"] = bytes64(d)
	case ed25519.PrivateKey:
		jwk["d"] = bytes64(private.Seed())
	}
	return jwk
}

func sec1(t testing.TB, k *idp.Key) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(k.Private.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

func pkcs1(k *idp.Key) []byte {
	return block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k.Private.(*rsa.PrivateKey)))
}

func TestSigners(t *testing.T) {
	ring := newKeyring(t)
	r, ec, ec512, okp := ring["RS256"], ring["ES256"], ring["ES512"], ring["EdDSA"]
	// what openssl ecparam -genkey writes in front of the key: the curve's name
	parameters := block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7})
	jwk := func(k *idp.Key, over map[string]any) []byte { return mustJSON(t, changed(privateJWK(t, k), over)) }
	for name, c := range map[string]struct {
		in       []byte
		alg, kid string
		key      *idp.Key
		wantAlg  string
		wantKid  string
	}{
		"PKCS#8, RSA":                    {r.PrivatePEM(), "", "", r, "RS256", ""},
		"PKCS#8, RSA, another algorithm": {r.PrivatePEM(), "PS512", "k", r, "PS512", "k"},
		"PKCS#8, EC":                     {ec.PrivatePEM(), "", "k", ec, "ES256", "k"},
		"PKCS#8, P-384":                  {ring["ES384"].PrivatePEM(), "", "", ring["ES384"], "ES384", ""},
		"PKCS#8, P-521":                  {ec512.PrivatePEM(), "", "", ec512, "ES512", ""},
		"PKCS#8, Ed25519":                {okp.PrivatePEM(), "", "", okp, "EdDSA", ""},
		"PKCS#1":                         {pkcs1(r), "RS384", "", r, "RS384", ""},
		"SEC 1":                          {sec1(t, ec512), "ES512", "", ec512, "ES512", ""},
		"SEC 1 as openssl writes it":     {slices.Concat(parameters, sec1(t, ec)), "", "", ec, "ES256", ""},
		"PEM with text around":           {slices.Concat([]byte("Bag Attributes\n"), ec.PrivatePEM(), []byte("\n")), "", "", ec, "ES256", ""},
		"JWK, RSA":                       {jwk(r, map[string]any{"alg": nil}), "", "", r, "RS256", "kid-RS256"},
		"JWK, RSA, its own algorithm":    {jwk(r, map[string]any{"alg": "PS384"}), "", "", r, "PS384", "kid-RS256"},
		"JWK, RSA, another kid":          {jwk(r, nil), "", "k", r, "RS256", "k"},
		"JWK, EC":                        {jwk(ec, nil), "", "", ec, "ES256", "kid-ES256"},
		"JWK, P-521":                     {jwk(ec512, map[string]any{"kid": nil}), "", "", ec512, "ES512", ""},
		"JWK, Ed25519":                   {jwk(okp, map[string]any{"key_ops": []any{"sign"}}), "EdDSA", "", okp, "EdDSA", "kid-EdDSA"},
		"JWK, Ed25519, RFC 9864's name":  {jwk(okp, map[string]any{"alg": "Ed25519"}), "", "", okp, "EdDSA", "kid-EdDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSigner(c.in, c.alg, c.kid)
			if err != nil {
				t.Fatal(err)
			}
			if s.Alg() != c.wantAlg || s.Public().ThumbprintText() != c.key.Thumbprint() {
				t.Errorf("it signs %s with %s", s.Alg(), s.Public().ThumbprintText())
			}
			raw, err := s.Sign(nil, map[string]any{"sub": "svc"})
			if err != nil {
				t.Fatal(err)
			}
			token, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if h := token.Header; h.Alg != c.wantAlg || h.Kid != c.wantKid || h.HasKid != (c.wantKid != "") || h.Typ != "jwt" {
				t.Errorf("the header is %+v", h)
			}
			if err := token.VerifySignature(publicKey(t, c.key, ""), []string{c.wantAlg}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSignersThatAreRefused: the error says what is wrong, and nothing of the key.
func TestSignersThatAreRefused(t *testing.T) {
	ring := newKeyring(t)
	r, ec, okp := ring["RS256"], ring["ES256"], ring["EdDSA"]
	other := newKeyring(t)
	jwk := func(k *idp.Key, over map[string]any) []byte { return mustJSON(t, changed(privateJWK(t, k), over)) }
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := x509.MarshalPKCS8PrivateKey(x25519)
	if err != nil {
		t.Fatal(err)
	}
	broken := func(pem []byte) []byte { // a letter in the middle of the key is another
		b := slices.Clone(pem)
		i := len(b) / 2
		for b[i] == '\n' {
			i++
		}
		b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
		return b
	}
	for name, c := range map[string]struct {
		in     []byte
		alg    string
		reason string
	}{
		"nothing":                         {nil, "", "neither PEM nor a JWK"},
		"text":                            {[]byte("s3cret"), "", "neither PEM nor a JWK"},
		"a secret":                        {[]byte(secretText), "HS256", "neither PEM nor a JWK"},
		"a file's name":                   {[]byte("/etc/rr/key.pem"), "", "neither PEM nor a JWK"},
		"DER":                             {ec.PublicDER(), "", "neither PEM nor a JWK"},
		"a JWK with a member twice":       {[]byte(`{"kty":"EC","d":"s3cret","d":"s3cret"}`), "", "neither PEM nor a JWK"},
		"a set":                           {document(t, privateJWK(t, ec)), "", "do not make a private key"},
		"half a PEM":                      {ec.PrivatePEM()[:100], "", "not complete"},
		"a public key":                    {ec.PublicPEM(), "", "no private key"},
		"a certificate":                   {certificate(t, ec.Private), "", "no private key"},
		"an encrypted key":                {block("ENCRYPTED PRIVATE KEY", []byte("s3cret")), "", "is encrypted, and has no password"},
		"parameters alone":                {block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), "", "not complete"},
		"junk in PKCS#8":                  {block("PRIVATE KEY", []byte("s3cret")), "", "cannot be read"},
		"junk in PKCS#1":                  {block("RSA PRIVATE KEY", []byte("s3cret")), "", "cannot be read"},
		"junk in SEC 1":                   {block("EC PRIVATE KEY", []byte("s3cret")), "", "cannot be read"},
		"a broken RSA key":                {broken(r.PrivatePEM()), "", ""},
		"an X25519 key":                   {block("PRIVATE KEY", agreement), "", "not a private key that signs"},
		"RS256 of an EC key":              {ec.PrivatePEM(), "RS256", "does not go with"},
		"ES384 of a P-256 key":            {ec.PrivatePEM(), "ES384", "does not go with"},
		"EdDSA of an RSA key":             {r.PrivatePEM(), "EdDSA", "does not go with"},
		"HS256 of a private key":          {ec.PrivatePEM(), "HS256", "does not go with"},
		"none":                            {ec.PrivatePEM(), "none", "not a signature algorithm"},
		"in lower case":                   {ec.PrivatePEM(), "es256", "not a signature algorithm"},
		"a JWK for encryption":            {jwk(r, map[string]any{"alg": "RSA-OAEP"}), "", "not a signature algorithm"},
		"a public JWK, RSA":               {mustJSON(t, r.JWK()), "", "not a private key that signs"},
		"a public JWK, EC":                {mustJSON(t, ec.JWK()), "", "not a private key that signs"},
		"a public JWK, Ed25519":           {mustJSON(t, okp.JWK()), "", "not a private key that signs"},
		"a secret as JWK":                 {[]byte(`{"kty":"oct","k":"s3cret"}`), "", "do not make a private key"},
		"a numeric d":                     {jwk(ec, map[string]any{"d": 1}), "", "d is not a string"},
		"d of zero":                       {jwk(ec, map[string]any{"d": "AA"}), "", "do not make a private key"},
		"d of another EC key":             {jwk(ec, map[string]any{"d": privateJWK(t, other["ES256"])["d"]}), "", "do not belong together"},
		"d of another Ed25519 key":        {jwk(okp, map[string]any{"d": privateJWK(t, other["EdDSA"])["d"]}), "", "do not belong together"},
		"d of another RSA key":            {jwk(r, map[string]any{"d": privateJWK(t, idp.NewKey(t, "RS256", ""))["d"]}), "", "do not make a private key"},
		"a point off the curve":           {jwk(ec, map[string]any{"x": ec.JWK()["y"]}), "", "do not make a private key"},
		"an RSA key without its primes":   {jwk(r, map[string]any{"p": nil, "q": nil, "dp": nil, "dq": nil, "qi": nil}), "", "not a private key that signs"},
		"a d that is not base64url":       {jwk(ec, map[string]any{"d": "s3cret s3cret!"}), "", "do not make a private key"},
		"an RSA key with another modulus": {jwk(r, map[string]any{"n": bytes64(modulus(2048).Bytes())}), "", "do not make a private key"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSigner(c.in, c.alg, "")
			if err == nil || s != nil || !strings.Contains(err.Error(), c.reason) {
				t.Fatalf("got %v and %v, want %q", s, err, c.reason)
			}
			for _, secret := range secretsIn(t, c.in) {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error has %q: %v", secret, err)
				}
			}
		})
	}
}

// secretsIn are texts that an error about the key must not have: lines of PEM, members of
// a JWK, each in the encodings that errors print bytes in.
func secretsIn(t *testing.T, key []byte) []string {
	t.Helper()
	secrets := []string{"s3cret", base64.StdEncoding.EncodeToString([]byte("s3cret")), hex.EncodeToString([]byte("s3cret")), secretText}
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line, line[:12])
		}
	}
	var member map[string]any
	if json.Unmarshal(key, &member) == nil {
		for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
			if text, ok := member[name].(string); ok && len(text) > 8 {
				b, _ := base64.RawURLEncoding.DecodeString(text)
				secrets = append(secrets, text[:8], hex.EncodeToString(b[:min(6, len(b))])+"0", new(big.Int).SetBytes(b).String()+"0")
			}
		}
	}
	return secrets
}

func TestHMACSigners(t *testing.T) {
	for _, alg := range Symmetric {
		s, err := NewHMACSigner([]byte(secretText), alg)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := s.Sign(nil, map[string]any{"sub": "svc"})
		if err != nil || s.Alg() != alg || !verifies(raw, []*Key{s.Public()}, Symmetric) {
			t.Errorf("%s: %v", s.Alg(), err)
		}
	}
	for _, alg := range []string{"", "none", "hs256", "HS1", "RS256", "EdDSA"} {
		if s, err := NewHMACSigner([]byte(secretText), alg); err == nil || s != nil || strings.Contains(err.Error(), secretText) {
			t.Errorf("%q: %v", alg, err)
		}
	}
	if s, err := NewHMACSigner(nil, "HS256"); err == nil || s != nil {
		t.Errorf("an empty secret signs: %v", err)
	}
}

func TestWhatCannotBeSigned(t *testing.T) {
	s, err := NewHMACSigner([]byte(secretText), "HS256")
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Sign(map[string]any{"x": make(chan int)}, nil); err == nil || raw != "" {
		t.Errorf("a header: %q, %v", raw, err)
	}
	if raw, err := s.Sign(nil, map[string]any{"exp": math.Inf(1)}); err == nil || raw != "" {
		t.Errorf("claims: %q, %v", raw, err)
	}
}

func TestPrintingShowsNoKey(t *testing.T) {
	s, err := NewHMACSigner([]byte(secretText), "HS256")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		text := fmt.Sprintf(verb+verb+verb, s, s.Public(), struct{ K *Key }{s.Public()})
		if strings.Contains(text, secretText[:10]) || strings.Contains(text, hex.EncodeToString([]byte(secretText))[:10]) || strings.Contains(text, fmt.Sprint([]byte(secretText))[:10]) {
			t.Errorf("%s prints %s", verb, text)
		}
	}
	if text := string(mustJSON(t, []any{s, s.Public()})); strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secretText))[:10]) {
		t.Errorf("as JSON it is %s", text)
	}
}

// TestASignerIsSafeForConcurrentUse is for the race detector.
func TestASignerIsSafeForConcurrentUse(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		s, err := ParseSigner(idp.NewKey(t, alg, "").PrivatePEM(), alg, "")
		if err != nil {
			t.Fatal(err)
		}
		header, done := map[string]any{"typ": "at+jwt"}, make(chan string)
		for range 4 {
			go func() {
				raw, err := s.Sign(header, map[string]any{"sub": "svc"})
				if err != nil {
					raw = err.Error()
				}
				done <- raw
			}()
		}
		for range 4 {
			if raw := <-done; !verifies(raw, []*Key{s.Public()}, Asymmetric) {
				t.Errorf("%s: %s", alg, raw)
			}
		}
	}
}
