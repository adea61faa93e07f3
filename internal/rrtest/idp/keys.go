package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 for crypto.Hash
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Algorithms are the signature algorithms of the keys that NewKey makes (RFC 7518
// section 3.1, RFC 8037 section 3.1).
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// Key signs tokens.
type Key struct {
	// ID is the `kid`.
	ID string
	// Alg is the signature algorithm.
	Alg string
	// Private is the key; nil when Secret is it.
	Private crypto.Signer
	// Secret is an HMAC key.
	Secret []byte
	// Members are put into the JWK; one that is nil is left out of it. Set them before
	// the key is published.
	Members map[string]any
}

// NewKey makes a key that nobody publishes. RSA keys have 2048 bits and are taken back
// when the test ends, for another test to use: making one takes long.
func NewKey(t testing.TB, alg, kid string) *Key {
	t.Helper()
	k := &Key{ID: kid, Alg: alg}
	var err error
	switch {
	case strings.HasPrefix(alg, "RS"), strings.HasPrefix(alg, "PS"):
		k.Private = borrowRSA(t)
	case alg == "ES256":
		k.Private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case alg == "ES384":
		k.Private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case alg == "ES512":
		k.Private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case alg == "EdDSA":
		_, k.Private, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key is made for algorithm %q", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// NewSecret is an HMAC key; alg is HS256, HS384 or HS512.
func NewSecret(alg, kid string, secret []byte) *Key { return &Key{ID: kid, Alg: alg, Secret: secret} }

// With is the same key under another name and algorithm: an attacker may try any.
func (k *Key) With(alg, kid string) *Key {
	return &Key{ID: kid, Alg: alg, Private: k.Private, Secret: k.Secret, Members: k.Members}
}

var rsaKeys struct {
	sync.Mutex
	free []*rsa.PrivateKey
}

func borrowRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	var key *rsa.PrivateKey
	if n := len(rsaKeys.free); n > 0 {
		key, rsaKeys.free = rsaKeys.free[n-1], rsaKeys.free[:n-1]
	} else {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		rsaKeys.Lock()
		defer rsaKeys.Unlock()
		rsaKeys.free = append(rsaKeys.free, key)
	})
	return key
}

// Base64 is base64url without padding, as JOSE writes bytes (RFC 7515 section 2).
func Base64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// JWK is the public key (RFC 7517), or the secret, which no provider should publish.
func (k *Key) JWK() map[string]any {
	jwk := k.material()
	jwk["use"], jwk["alg"] = "sig", k.Alg
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	maps.Copy(jwk, k.Members)
	maps.DeleteFunc(jwk, func(_ string, v any) bool { return v == nil })
	return jwk
}

// material is what a thumbprint is made of (RFC 7638 section 3.2, RFC 8037 section 2).
func (k *Key) material() map[string]any {
	if k.Private == nil {
		return map[string]any{"kty": "oct", "k": Base64(k.Secret)}
	}
	switch public := k.Private.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": Base64(public.N.Bytes()), "e": Base64(big.NewInt(int64(public.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		half := 1 + len(point)/2
		return map[string]any{"kty": "EC", "crv": public.Params().Name, "x": Base64(point[1:half]), "y": Base64(point[half:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": Base64(public)}
	default:
		panic(fmt.Sprintf("a key of type %T", public))
	}
}

// Thumbprint is the key's SHA-256 thumbprint (RFC 7638), as `cnf.jkt` holds it.
func (k *Key) Thumbprint() string {
	sum := sha256.Sum256(mustJSON(k.material())) // Go sorts the names of a map, as the RFC wants
	return Base64(sum[:])
}

// PublicPEM is the public key in PEM: PKIX, as openssl writes it.
func (k *Key) PublicPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.PublicDER()})
}

// PublicDER is the public key in DER (PKIX).
func (k *Key) PublicDER() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Private.Public())
	if err != nil {
		panic(err)
	}
	return der
}

// PrivatePEM is the private key in PEM (PKCS #8).
func (k *Key) PrivatePEM() []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k.Private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Sign is the JWS of any header and payload bytes, which need not be JSON. The algorithm
// is the key's, whatever the header says.
func (k *Key) Sign(header, payload []byte) string {
	input := Base64(header) + "." + Base64(payload)
	return input + "." + Base64(k.Signature([]byte(input)))
}

// Signature signs bytes as the key's algorithm does (RFC 7518 section 3).
func (k *Key) Signature(input []byte) []byte {
	if k.Alg == "EdDSA" {
		return ed25519.Sign(k.Private.(ed25519.PrivateKey), input)
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.Alg[2:]]
	if k.Secret != nil {
		mac := hmac.New(hash.New, k.Secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
	h := hash.New()
	h.Write(input)
	signature, err := signDigest(k, hash, h.Sum(nil))
	if err != nil {
		panic(fmt.Sprintf("%s with a key of type %T: %v", k.Alg, k.Private, err))
	}
	return signature
}

func signDigest(k *Key, hash crypto.Hash, digest []byte) ([]byte, error) {
	switch {
	case strings.HasPrefix(k.Alg, "RS"):
		return k.Private.Sign(rand.Reader, digest, hash)
	case strings.HasPrefix(k.Alg, "PS"):
		return k.Private.Sign(rand.Reader, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
	}
	key := k.Private.(*ecdsa.PrivateKey)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest)
	if err != nil {
		return nil, err
	}
	size := (key.Params().BitSize + 7) / 8
	return slices.Concat(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))), nil
}
