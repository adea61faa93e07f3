package dpop

import (
	"crypto/ed25519"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzCheck has a fixed clock and request. As it comes, nothing but the example of the RFC
// may pass, once. Signed by who holds the key, header and claims may pass only if another
// reader of JSON finds in them what they have to say.
func FuzzCheck(f *testing.F) {
	client := newClient(f, "EdDSA")
	good := client.good()
	head := `{"typ":"dpop+jwt","alg":"EdDSA","jwk":` + string(must(json.Marshal(client.jwk))) + `}`
	f.Add(rfcProof, head, string(must(json.Marshal(good.claims))))
	f.Add("..", head, `{"jti":"","htm":"GET","htu":"https://api.example.com:443/v1/./items?a#b","iat":1.8e9}`)
	f.Add(strings.Replace(rfcProof, ".", ".e30.", 1), `{"jwk":{"kty":"oct","k":"AA"},"alg":"none"}`, `{}`)
	at := time.Unix(1562262618, 0)
	f.Fuzz(func(t *testing.T, proof, head, body string) {
		c := checker(t, Config{Now: func() time.Time { return at }})
		if requireOnce(t, c, proof, rfcRequest) {
			// the signature is the one part that has two forms, s and n-s
			if signed := func(s string) string { return s[:strings.LastIndex(s, ".")] }; signed(proof) != signed(rfcProof) {
				t.Errorf("a forgery is accepted: %q", proof)
			}
		}
		signed := base64URL([]byte(head)) + "." + base64URL([]byte(body))
		proof = signed + "." + base64URL(ed25519.Sign(client.secret.(ed25519.PrivateKey), []byte(signed)))
		if requireOnce(t, checker(t, Config{}), proof, client.get()) {
			requireGood(t, client, head, body)
		}
	})
}

// requireOnce reports whether the proof is accepted; it must not be twice.
func requireOnce(t *testing.T, c *Checker, proof string, r Request) bool {
	p, err := c.Check(proof, r)
	if err != nil {
		if is(err) != ErrProof {
			t.Errorf("not the proof's fault? %v", err)
		}
		return false
	}
	if p.Thumbprint != r.Bound {
		t.Errorf("got %+v", p)
	}
	if _, err := c.Check(proof, r); is(err) != ErrReplay {
		t.Errorf("used again: %v", err)
	}
	return true
}

func requireGood(t *testing.T, client *client, head, body string) {
	var h, said map[string]any
	if json.Unmarshal([]byte(head), &h) != nil || json.Unmarshal([]byte(body), &said) != nil {
		t.Fatalf("accepted, although it is not JSON: %s %s", head, body)
	}
	jwk, _ := h["jwk"].(map[string]any)
	typ, _ := h["typ"].(string)
	_, private := jwk["d"]
	if h["alg"] != "EdDSA" || jwk["x"] != client.jwk["x"] || private || !strings.HasSuffix(strings.ToLower(typ), "dpop+jwt") {
		t.Errorf("accepted: %s", head)
	}
	jti, _ := said["jti"].(string)
	htu, _ := said["htu"].(string)
	iat, _ := said["iat"].(float64)
	age := float64(start.Unix()) - iat
	if jti == "" || len(jti) > 256 || said["htm"] != "GET" || said["ath"] != ath(accessToken) || age > 60 || age < -30 {
		t.Errorf("accepted: %s", body)
	}
	u, err := url.Parse(htu)
	if err == nil && (!strings.EqualFold(u.Hostname(), "api.example.com") || u.Port() != "" && u.Port() != "443" || clean(u.Path) != "/v1/items") {
		t.Errorf("accepted: %s", body)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			client := newClient(b, alg)
			c := checker(b, Config{Algs: []string{alg}, Nonce: true, Replay: forgetful{}})
			p := client.good()
			p.claims["nonce"] = c.Nonce()
			proof, r := client.sign(b, p), client.get()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Check(proof, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type forgetful struct{}

func (forgetful) Use(_, _ [32]byte, _ time.Time) (bool, error) { return true, nil }
