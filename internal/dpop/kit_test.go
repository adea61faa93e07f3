package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// start is when the tests begin; nothing in them takes time.
var start = time.Unix(1_800_000_000, 0)

const accessToken = "an.access.token"

// client is someone with a key who makes proofs.
type client struct {
	signer *jose.Signer
	jwk    map[string]any
	secret any
}

func newClient(tb testing.TB, alg string) *client {
	tb.Helper()
	var secret crypto.Signer
	var err error
	switch alg {
	case "ES256":
		secret, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		secret, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		secret, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, secret, err = ed25519.GenerateKey(rand.Reader)
	default:
		secret, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := jose.ParseSigner(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), alg, "")
	if err != nil {
		tb.Fatal(err)
	}
	return &client{signer, publicJWK(secret.Public()), secret}
}

func publicJWK(public any) map[string]any {
	switch pub := public.(type) {
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes()
		half := len(point) / 2
		return map[string]any{"kty": "EC", "crv": pub.Curve.Params().Name, "x": base64URL(point[1 : half+1]), "y": base64URL(point[half+1:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64URL(pub)}
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": base64URL(pub.N.Bytes()), "e": "AQAB"}
	}
	panic("a key of another kind")
}

func base64URL(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ath(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64URL(sum[:])
}

// parts are what a proof is made of.
type parts struct{ header, claims map[string]any }

// good is a proof that is accepted for get.
func (c *client) good() parts {
	return parts{
		map[string]any{"typ": "dpop+jwt", "jwk": maps.Clone(c.jwk)},
		map[string]any{"jti": rand.Text(), "htm": "GET", "htu": "https://api.example.com/v1/items", "iat": start.Unix(), "ath": ath(accessToken)},
	}
}

func (c *client) sign(tb testing.TB, p parts) string {
	tb.Helper()
	s, err := c.signer.Sign(p.header, p.claims)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// get is the request that good is for.
func (c *client) get() Request {
	return Request{
		Method: "GET", Scheme: "https", Host: "api.example.com", Path: "/v1/items?page=2",
		AccessToken: accessToken, Bound: c.signer.Public().ThumbprintText(),
	}
}

// unsigned is a proof with a signature made by hand.
func unsigned(tb testing.TB, p parts, alg string, sign func(signed string) []byte) string {
	tb.Helper()
	header := maps.Clone(p.header)
	header["alg"] = alg
	h, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := json.Marshal(p.claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed := base64URL(h) + "." + base64URL(b)
	return signed + "." + base64URL(sign(signed))
}

// clock is one that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func checker(tb testing.TB, cfg Config) *Checker {
	tb.Helper()
	if cfg.Now == nil {
		cfg.Now = newClock().now
	}
	c, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// is reports which of the package's errors err is; nil is nil.
func is(err error) error {
	for _, known := range []error{ErrReplay, ErrProof, ErrUseNonce, ErrReplayFull} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}
