package jose

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

// Key is a key that verifies signatures.
type Key struct {
	// ID is the kid, empty if the key has none.
	ID string
	// Alg is the one algorithm that the key's owner says it is for, empty if any that
	// goes with the key.
	Alg string
	// Public is an *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or the []byte of
	// a shared secret.
	Public any `json:"-"`
	// Thumbprint is the SHA-256 of the key in canonical form (RFC 7638).
	Thumbprint [sha256.Size]byte
}

// The sizes of RSA keys that are used, in bits: fewer are broken, more are a way to keep
// a gateway busy. A larger exponent than maxExponent crypto/rsa refuses when it verifies,
// which would be too late.
const (
	minRSA      = 2048
	maxRSA      = 8192
	maxExponent = 1<<31 - 1
)

// NewKey makes a key of a public key.
func NewKey(public any, id, alg string) (*Key, error) {
	k := &Key{ID: id, Alg: alg, Public: public}
	var canonical string
	switch pub := public.(type) {
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("an RSA key of %d bits; only %d to %d are used", bits, minRSA, maxRSA)
		}
		if pub.E < 3 || pub.E&1 == 0 || pub.E > maxExponent {
			return nil, fmt.Errorf("an RSA key whose exponent is not an odd number from 3 to %d", maxExponent)
		}
		canonical = `{"e":"` + bytes64(big.NewInt(int64(pub.E)).Bytes()) + `","kty":"RSA","n":"` + bytes64(pub.N.Bytes()) + `"}`
	case *ecdsa.PublicKey:
		name, err := curveName(pub.Curve)
		if err != nil {
			return nil, err
		}
		point, err := pub.Bytes() // checks that it is on the curve
		if err != nil {
			return nil, errors.New("a point that is not on its curve")
		}
		half := len(point) / 2
		canonical = `{"crv":"` + name + `","kty":"EC","x":"` + bytes64(point[1:half+1]) + `","y":"` + bytes64(point[half+1:]) + `"}`
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize {
			return nil, errors.New("an Ed25519 key of the wrong size")
		}
		canonical = `{"crv":"Ed25519","kty":"OKP","x":"` + bytes64(pub) + `"}`
	case []byte:
		if len(pub) == 0 {
			return nil, errors.New("an empty secret")
		}
		canonical = `{"k":"` + bytes64(pub) + `","kty":"oct"}`
	default:
		return nil, fmt.Errorf("a key of a kind that signs nothing here (%T)", public)
	}
	k.Thumbprint = sha256.Sum256([]byte(canonical))
	return k, nil
}

// Format keeps a shared secret out of whatever prints a key.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%T %q", k.Public, k.ID) }

// ThumbprintText is the thumbprint as tokens name it (RFC 7638 section 3).
func (k *Key) ThumbprintText() string { return bytes64(k.Thumbprint[:]) }

func bytes64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func curveName(c elliptic.Curve) (string, error) {
	switch c {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
		return c.Params().Name, nil
	}
	return "", errors.New("an elliptic curve other than P-256, P-384 and P-521")
}

// privateMembers are those of private and symmetric keys (RFC 7518 section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// ParseJWK reads a public key (RFC 7517 section 4), as a member of a set or of a proof.
// Private and symmetric keys are refused: whoever publishes one has lost it.
func ParseJWK(member map[string]any) (*Key, error) {
	for _, name := range privateMembers {
		if _, ok := member[name]; ok {
			return nil, fmt.Errorf("it has %q, which no public key has", name)
		}
	}
	s, err := stringsOf(member, "kty", "use", "alg", "kid", "crv", "x", "y", "n", "e")
	if err != nil {
		return nil, err
	}
	if err := forSignatures(member, s["use"]); err != nil {
		return nil, err
	}
	public, err := publicOf(s)
	if err != nil {
		return nil, err
	}
	// a key is not to keep the text of its whole set
	k, err := NewKey(public, strings.Clone(s["kid"]), strings.Clone(NormalAlgorithm(s["alg"])))
	if err != nil {
		return nil, err
	}
	if k.Alg != "" && !k.Fits(k.Alg) {
		return nil, fmt.Errorf("alg %.20q does not go with a key of its type", k.Alg)
	}
	return k, nil
}

// coordinates are the sizes of x and y in bytes: always the full ones (RFC 7518 section
// 6.2.1.2), which jwkset leaves open.
var coordinates = map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}

// publicOf has jwkset decode the key. It is given the key's own members only: what it
// would make of certificates and of metadata is decided here.
func publicOf(s map[string]string) (any, error) {
	if len(s["e"]) > 6 { // 4 bytes; jwkset cuts larger ones
		return nil, errors.New("an RSA key with a huge exponent")
	}
	size, fixed := coordinates[s["crv"]]
	for _, name := range []string{"x", "y", "n", "e"} {
		b, err := decode64(s[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if fixed && s["kty"] == "EC" && (name == "x" || name == "y") && len(b) != size {
			return nil, fmt.Errorf("%s has %d bytes, not the %d of its curve", name, len(b), size)
		}
	}
	jwk, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{
		KTY: jwkset.KTY(s["kty"]), CRV: jwkset.CRV(s["crv"]), X: s["x"], Y: s["y"], N: s["n"], E: s["e"],
	}, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return nil, errors.New("its members do not make a key")
	}
	return jwk.Key(), nil
}

// stringsOf returns members that have to be strings where they are there.
func stringsOf(member map[string]any, names ...string) (map[string]string, error) {
	s := make(map[string]string, len(names))
	for _, name := range names {
		v, ok := member[name]
		if !ok {
			continue
		}
		if s[name], ok = v.(string); !ok {
			return nil, fmt.Errorf("%s is not a string", name)
		}
	}
	return s, nil
}

// forSignatures checks what the key is for (RFC 7517 sections 4.2 and 4.3). jwt-svid is
// SPIFFE's use for keys that sign tokens.
func forSignatures(member map[string]any, use string) error {
	if use != "" && use != "sig" && use != "jwt-svid" {
		return fmt.Errorf("its use is %.20q, not signatures", use)
	}
	ops, ok := member["key_ops"]
	if !ok {
		return nil
	}
	list, ok := ops.([]any)
	if !ok {
		return errors.New("key_ops is not a list")
	}
	if !slices.Contains(list, any("verify")) {
		return errors.New("its key_ops do not have verify")
	}
	return nil
}
