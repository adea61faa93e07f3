package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

// TestTricks edits a good proof; each edit makes it bad, or does not.
func TestTricks(t *testing.T) {
	client := newClient(t, "ES256")
	mallory := newClient(t, "ES256")
	header := func(name string, v any) func(parts) { return func(p parts) { p.header[name] = v } }
	claim := func(name string, v any) func(parts) { return func(p parts) { p.claims[name] = v } }
	without := func(name string) func(parts) {
		return func(p parts) { delete(p.claims, name); delete(p.header, name) }
	}
	jwk := func(name string, v any) func(parts) {
		return func(p parts) { p.header["jwk"].(map[string]any)[name] = v }
	}
	iat := func(d time.Duration) func(parts) { return claim("iat", start.Add(d).Unix()) }

	for _, tt := range []struct {
		name   string
		edit   func(parts)
		reason string // of ErrProof, empty if the proof is good
	}{
		{"nothing", func(parts) {}, ""},
		{"typ JWT", header("typ", "JWT"), "typ"},
		{"typ empty", header("typ", ""), "typ"},
		{"typ of an access token", header("typ", "at+jwt"), "typ"},
		{"typ a number", header("typ", 1), "typ"},
		{"typ with the prefix it stands for", header("typ", "application/dpop+jwt"), ""},
		{"crit", header("crit", []string{"exp"}), "crit"},
		{"kid", header("kid", "mine"), ""},

		{"jwk missing", without("jwk"), "jwk is missing"},
		{"jwk null", header("jwk", nil), "jwk"},
		{"jwk a text", header("jwk", "EC"), "jwk"},
		{"jwk of somebody else", header("jwk", mallory.jwk), "signature"},
		{"jwk with d", jwk("d", "AQ"), "jwk"},
		{"jwk with p", jwk("p", "AQ"), "jwk"},
		{"jwk with q", jwk("q", "AQ"), "jwk"},
		{"jwk with oth", jwk("oth", []any{}), "jwk"},
		{"jwk with k", jwk("k", "AQ"), "jwk"},
		{"jwk with d null", jwk("d", nil), "jwk"},
		{"jwk off its curve", jwk("y", client.jwk["x"]), "jwk"},
		{"jwk for encryption", jwk("use", "enc"), "jwk"},
		{"jwk for another algorithm", jwk("alg", "ES384"), "jwk"},
		{"jwk symmetric", header("jwk", map[string]any{"kty": "oct", "k": "AAAA"}), "jwk"},
		{"jwk symmetric, without its key", header("jwk", map[string]any{"kty": "oct"}), "jwk"},
		{"jwk and jku", header("jku", "https://evil.example/keys"), ""},

		{"htm in lower case", claim("htm", "get"), "htm"},
		{"htm of another method", claim("htm", "POST"), "htm"},
		{"htm missing", without("htm"), "htm"},
		{"htm a list", claim("htm", []string{"GET"}), "htm"},
		{"htu missing", without("htu"), "htu"},
		{"htu a list", claim("htu", []string{"https://api.example.com/v1/items"}), "htu"},
		{"htu of another host", claim("htu", "https://api.example.org/v1/items"), "htu"},
		{"htu of another path", claim("htu", "https://api.example.com/v1/item"), "htu"},
		{"htu without host", claim("htu", "/v1/items"), "htu"},
		{"htu with another query", claim("htu", "https://api.example.com/v1/items?page=3"), ""},
		{"htu with a fragment", claim("htu", "https://api.example.com/v1/items#top"), ""},
		{"htu in another case and with port", claim("htu", "HTTPS://API.example.com:443/%761/items"), ""},

		{"iat a minute ago", iat(-time.Minute), ""},
		{"iat too long ago", iat(-time.Minute - time.Second), "old"},
		{"iat ahead within the leeway", iat(30 * time.Second), ""},
		{"iat too far ahead", iat(31 * time.Second), "future"},
		{"iat in milliseconds", claim("iat", start.UnixMilli()), "iat is not a time"},
		{"iat a text", claim("iat", "1800000000"), "iat"},
		{"iat missing", without("iat"), "iat"},
		{"iat null", claim("iat", nil), "iat"},
		{"iat with a fraction", claim("iat", json.Number("1799999999.5")), ""},
		{"iat with an exponent", claim("iat", json.Number("1.8e9")), ""},
		{"iat negative", claim("iat", -1), "iat"},
		{"iat huge", claim("iat", json.Number("1e300")), "iat"},
		{"iat infinite", claim("iat", json.Number("1e999")), "iat"},

		{"jti missing", without("jti"), "jti"},
		{"jti empty", claim("jti", ""), "jti"},
		{"jti a number", claim("jti", 7), "jti"},
		{"jti of 256 bytes", claim("jti", strings.Repeat("j", 256)), ""},
		{"jti of 257 bytes", claim("jti", strings.Repeat("j", 257)), "jti"},
		{"jti with a NUL", claim("jti", "a\x00b"), "NUL"},

		{"ath missing", without("ath"), "ath"},
		{"ath empty", claim("ath", ""), "ath"},
		{"ath of another token", claim("ath", ath("another")), "ath"},
		{"ath padded", claim("ath", ath(accessToken)+"="), "ath"},
		{"ath the token itself", claim("ath", accessToken), "ath"},
		{"a nonce that nobody asked for", claim("nonce", "n"), ""},
		{"nonce a number", claim("nonce", 7), "nonce"},
		{"claims of other kinds", claim("exp", 1), ""},
		{"too large", claim("more", strings.Repeat("m", MaxProof)), "larger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := client.good()
			tt.edit(p)
			_, err := checker(t, Config{}).Check(client.sign(t, p), client.get())
			switch {
			case tt.reason == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.reason != "" && (is(err) != ErrProof || !strings.Contains(err.Error(), tt.reason)):
				t.Errorf("got %v, want an ErrProof about %s", err, tt.reason)
			}
		})
	}
}

// TestForgeries are proofs that no signer makes.
func TestForgeries(t *testing.T) {
	client := newClient(t, "ES256")
	der, err := x509.MarshalPKIXPublicKey(client.signer.Public().Public)
	if err != nil {
		t.Fatal(err)
	}
	jwk, _ := json.Marshal(client.jwk)
	hs256 := func(key []byte) func(string) []byte {
		return func(signed string) []byte {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(signed))
			return mac.Sum(nil)
		}
	}
	good := client.sign(t, client.good())
	signature := func(i int, edit func([]byte) []byte) string {
		b, _ := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[2])
		all := strings.Split(good, ".")
		all[i] = base64URL(edit(b))
		return strings.Join(all, ".")
	}
	for name, proof := range map[string]string{
		"nothing":                       "",
		"alg none without signature":    strings.TrimSuffix(unsigned(t, client.good(), "none", func(string) []byte { return nil }), "."),
		"alg none, signature empty":     unsigned(t, client.good(), "none", func(string) []byte { return nil }),
		"alg none with a signature":     unsigned(t, client.good(), "none", func(string) []byte { return []byte("x") }),
		"alg None":                      unsigned(t, client.good(), "None", func(string) []byte { return []byte("x") }),
		"alg HS256 with the public key": unsigned(t, client.good(), "HS256", hs256(der)),
		"alg HS256 with the key in PEM": unsigned(t, client.good(), "HS256", hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))),
		"alg HS256 with the JWK":        unsigned(t, client.good(), "HS256", hs256(jwk)),
		"alg in lower case":             unsigned(t, client.good(), "es256", func(string) []byte { return make([]byte, 64) }),
		"a signature of zeros":          unsigned(t, client.good(), "ES256", func(string) []byte { return make([]byte, 64) }),
		"a signature cut":               signature(2, func(b []byte) []byte { return b[:63] }),
		"a signature with a byte more":  signature(2, func(b []byte) []byte { return append(b, 0) }),
		"a signature with a bit less":   signature(2, func(b []byte) []byte { b[7] ^= 1; return b }),
		"two parts":                     good[:strings.LastIndex(good, ".")],
		"four parts":                    good + ".AA",
		"padding":                       good + "==",
		"a line end":                    good + "\n",
		"spaces around":                 " " + good,
		"two in one header":             good + ", " + good,
		"JSON serialization":            `{"payload":"","signatures":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := checker(t, Config{}).Check(proof, client.get()); is(err) != ErrProof {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestJWKMembersTwice(t *testing.T) {
	client := newClient(t, "ES256")
	head := `{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC"},"jwk":` + string(must(json.Marshal(client.jwk))) + `}`
	proof := base64URL([]byte(head)) + "." + base64URL(must(json.Marshal(client.good().claims))) + ".AAAA"
	if _, err := checker(t, Config{}).Check(proof, client.get()); is(err) != ErrProof || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
