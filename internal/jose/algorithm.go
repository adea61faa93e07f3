package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// algorithms are the ones of RFC 7518 section 3 and RFC 8037 that are known here, with
// the keys they go with. "none" is not among them, and nothing else can be added.
var algorithms = map[string]struct {
	method jwt.SigningMethod
	fits   func(public any) bool
}{
	"RS256": {jwt.SigningMethodRS256, isRSA}, "RS384": {jwt.SigningMethodRS384, isRSA}, "RS512": {jwt.SigningMethodRS512, isRSA},
	"PS256": {jwt.SigningMethodPS256, isRSA}, "PS384": {jwt.SigningMethodPS384, isRSA}, "PS512": {jwt.SigningMethodPS512, isRSA},
	"ES256": {jwt.SigningMethodES256, onCurve(256)}, "ES384": {jwt.SigningMethodES384, onCurve(384)}, "ES512": {jwt.SigningMethodES512, onCurve(521)},
	"EdDSA": {jwt.SigningMethodEdDSA, func(k any) bool { _, ok := k.(ed25519.PublicKey); return ok }},
	"HS256": {jwt.SigningMethodHS256, isSecret}, "HS384": {jwt.SigningMethodHS384, isSecret}, "HS512": {jwt.SigningMethodHS512, isSecret},
}

// Asymmetric are the algorithms that go with public keys, Symmetric those with secrets.
var (
	Asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	Symmetric  = []string{"HS256", "HS384", "HS512"}
)

func isRSA(k any) bool { _, ok := k.(*rsa.PublicKey); return ok }

func isSecret(k any) bool { _, ok := k.([]byte); return ok }

func onCurve(bits int) func(any) bool {
	return func(k any) bool {
		pub, ok := k.(*ecdsa.PublicKey)
		return ok && pub.Curve.Params().BitSize == bits
	}
}

// NormalAlgorithm is the one name that an algorithm has here: RFC 9864 calls the only
// EdDSA there is here Ed25519.
func NormalAlgorithm(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}

// CheckAlgorithm refuses names that are not algorithms; they are compared exactly.
func CheckAlgorithm(alg string) error {
	if _, ok := algorithms[alg]; ok {
		return nil
	}
	return fmt.Errorf("%q is not a signature algorithm; there are: %v %v", alg, Asymmetric, Symmetric)
}

// Fits reports whether the key may be used with the algorithm: by its type and, for
// elliptic curves, its curve, and by what its owner says of it.
func (k *Key) Fits(alg string) bool {
	a, ok := algorithms[alg]
	return ok && a.fits(k.Public) && (k.Alg == "" || k.Alg == alg)
}

// ErrSignature is that a signature is not the key's.
var ErrSignature = errors.New("the signature is not the key's")

// VerifySignature checks the token's signature with the key. algs are the algorithms
// that the configuration allows; the key has to fit, too.
func (t *Token) VerifySignature(k *Key, algs []string) error {
	if !slices.Contains(algs, t.Header.Alg) {
		return errors.New("the algorithm is not one of those that are allowed")
	}
	if !k.Fits(t.Header.Alg) {
		return errors.New("the key is not for this algorithm")
	}
	if err := algorithms[t.Header.Alg].method.Verify(t.signed, t.signature, k.Public); err != nil {
		return ErrSignature
	}
	return nil
}
