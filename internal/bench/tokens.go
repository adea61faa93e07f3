package main

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
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// tokens are the signed tokens (JWT, RFC 7519) of a row's callers, used in turn.
type tokens struct {
	Algorithm string // RS256, ES256 or EdDSA; "" when callers have no tokens
	Count     int    // how many different ones there are
	Unseen    bool   // the gateway must not remember one when it comes again
}

// fastest bounds how many unseen tokens a row uses a second, since they have to be made
// before: a stretch of load on a faster gateway is shorter instead.
const fastest = 8_000

// most is how many requests a row may send in one stretch of load.
func (t tokens) most(duration time.Duration) int64 {
	if !t.Unseen {
		return math.MaxInt64
	}
	return int64(math.Ceil(fastest * duration.Seconds()))
}

// needed is how many tokens have to be made: for unseen ones as many as a gateway's life
// can use, and one for the check before it, if that is less than going round.
func (t tokens) needed(o options) int {
	if !t.Unseen {
		return t.Count
	}
	return int(min(int64(t.Count), 2*t.most(o.warmup)+int64(o.rounds)*t.most(o.duration)+1))
}

// What the callers' tokens say; the Caddyfiles say the same.
const (
	tokenIssuer   = "https://tenant.eu.auth0.example/"
	tokenAudience = "https://api.example.com"
	tokenLifetime = 24 * time.Hour
)

// issuer signs the callers' tokens. Its keys are new in every run.
type issuer struct {
	keys    []byte            // the public ones, as a JWK Set (RFC 7517)
	pems    map[string][]byte // the same of RS256 and ES256, as PEM
	publics map[string]any    // the same as golang-jwt takes them, by algorithm
	signers map[string]signer
	made    map[string][]string // tokens by algorithm
}

// signer makes the signature of one algorithm, as RFC 7518 section 3 and RFC 8037 have it.
type signer func(text []byte) ([]byte, error)

func newIssuer() (*issuer, error) {
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, 2048)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	edPublic, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	point, err := ecKey.PublicKey.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	keys, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyName("RS256"), "n": base64url(rsaKey.N.Bytes()), "e": base64url(big.NewInt(int64(rsaKey.E)).Bytes())},
		{"kty": "EC", "use": "sig", "alg": "ES256", "kid": keyName("ES256"), "crv": "P-256", "x": base64url(point[1:33]), "y": base64url(point[33:])},
		{"kty": "OKP", "use": "sig", "alg": "EdDSA", "kid": keyName("EdDSA"), "crv": "Ed25519", "x": base64url(edPublic)},
	}})
	rsaPEM, err1 := publicPEM(&rsaKey.PublicKey)
	ecPEM, err2 := publicPEM(&ecKey.PublicKey)
	if err := errors.Join(err, err1, err2); err != nil {
		return nil, err
	}
	return &issuer{keys: keys, pems: map[string][]byte{"RS256": rsaPEM, "ES256": ecPEM}, made: map[string][]string{}, publics: map[string]any{
		"RS256": &rsaKey.PublicKey, "ES256": &ecKey.PublicKey, "EdDSA": edPublic,
	}, signers: map[string]signer{
		"RS256": func(text []byte) ([]byte, error) {
			sum := sha256.Sum256(text)
			return rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA256, sum[:])
		},
		"ES256": func(text []byte) ([]byte, error) {
			sum := sha256.Sum256(text)
			r, s, err := ecdsa.Sign(rand.Reader, ecKey, sum[:])
			if err != nil {
				return nil, err
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
		},
		"EdDSA": func(text []byte) ([]byte, error) { return ed25519.Sign(edKey, text), nil },
	}}, nil
}

func publicPEM(key any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
}

// publish writes the public keys into the folder: keys.json, and RS256.pem and ES256.pem.
func (i *issuer) publish(dir string) error {
	err := os.WriteFile(filepath.Join(dir, "keys.json"), i.keys, 0o600)
	for name, text := range i.pems {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name+".pem"), text, 0o600))
	}
	return err
}

// keyName is the kid, as long as large providers' are.
func keyName(algorithm string) string { return "bench-" + algorithm + "-9bXc8mJ4hG6sD2fAa0" }

// prepare makes the tokens that the rows need, on all the cores: an RS256 signature takes
// about half a millisecond, and there are many to make.
func (i *issuer) prepare(o options, rows []row) error {
	for _, r := range rows {
		missing := r.Tokens.needed(o) - len(i.made[r.Tokens.Algorithm])
		if missing <= 0 {
			continue
		}
		more, err := i.make(r.Tokens.Algorithm, missing, []int{o.gatewayCore, o.loadCore})
		if err != nil {
			return fmt.Errorf("make tokens of %s: %w", r.Tokens.Algorithm, err)
		}
		i.made[r.Tokens.Algorithm] = append(i.made[r.Tokens.Algorithm], more...)
	}
	return nil
}

func (i *issuer) make(algorithm string, count int, cores []int) ([]string, error) {
	var (
		list   = make([]string, count)
		next   atomic.Int64
		failed atomic.Pointer[error]
	)
	err := onCores(cores, func() {
		for n := int(next.Add(1)) - 1; n < count && failed.Load() == nil; n = int(next.Add(1)) - 1 {
			var err error
			if list[n], err = i.token(algorithm); err != nil {
				failed.Store(&err)
			}
		}
	})
	if first := failed.Load(); first != nil {
		err = *first
	}
	return list, err
}

// of are the tokens of a row's callers.
func (i *issuer) of(o options, r row) []string {
	return i.made[r.Tokens.Algorithm][:r.Tokens.needed(o)]
}

// token makes one that no other is like, with the claims that a large provider's access
// tokens have: about 850 bytes with RS256, 600 with the others.
func (i *issuer) token(algorithm string) (string, error) {
	header, err1 := json.Marshal(map[string]string{"alg": algorithm, "typ": "JWT", "kid": keyName(algorithm)})
	now := time.Now()
	claims, err2 := json.Marshal(map[string]any{
		"iss": tokenIssuer, "sub": "auth0|" + rand.Text(), "aud": []string{tokenAudience, tokenIssuer + "userinfo"},
		"iat": now.Unix(), "exp": now.Add(tokenLifetime).Unix(), "azp": "7f3c2a1e9b8d4c6fa5e07f3c2a1e9b8d",
		"scope": "openid profile email read:charges write:charges", "permissions": []string{"read:charges", "write:charges"},
	})
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	text := base64url(header) + "." + base64url(claims)
	signature, err := i.signers[algorithm]([]byte(text))
	return text + "." + base64url(signature), err
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
