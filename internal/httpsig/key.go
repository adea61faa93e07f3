package httpsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// The algorithms of RFC 9421 section 3.3.
const (
	RSAPSS    = "rsa-pss-sha512"
	RSAv15    = "rsa-v1_5-sha256"
	HMAC      = "hmac-sha256"
	ECDSAP256 = "ecdsa-p256-sha256"
	ECDSAP384 = "ecdsa-p384-sha384"
	Ed25519   = "ed25519"
)

// Algorithms are all of them.
var Algorithms = []string{Ed25519, ECDSAP256, ECDSAP384, RSAPSS, RSAv15, HMAC}

// minRSA is how many bits an RSA key has at least.
const minRSA = 2048

// Key signs with one key and one algorithm. It is safe for concurrent use.
type Key struct {
	alg  string
	sign func(base []byte) ([]byte, error)
}

// Algorithm is the name that goes into the parameter alg.
func (k *Key) Algorithm() string { return k.alg }

// Format keeps the key out of whatever prints it.
func (k *Key) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s key", k.alg) }

// NewHMAC is a key that both sides share (section 3.3.3).
func NewHMAC(secret []byte) (*Key, error) {
	if len(secret) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return &Key{HMAC, func(base []byte) ([]byte, error) {
		mac := hmac.New(sha256.New, secret)
		mac.Write(base)
		return mac.Sum(nil), nil
	}}, nil
}

// ParseKey reads a private key in PEM: PKCS#8 (RSASSA-PSS too), PKCS#1 or SEC 1. An empty
// algorithm is the one that goes with the key, rsa-pss-sha512 for RSA. Errors hold nothing
// of the key.
func ParseKey(data []byte, algorithm string) (*Key, error) {
	private, onlyPSS, err := parsePEM(data)
	if err != nil {
		return nil, err
	}
	k := new(Key)
	fits := []string{}
	switch private := private.(type) {
	case ed25519.PrivateKey:
		fits = append(fits, Ed25519)
		k.sign = func(base []byte) ([]byte, error) { return ed25519.Sign(private, base), nil }
	case *ecdsa.PrivateKey:
		switch private.Curve {
		case elliptic.P256():
			fits = append(fits, ECDSAP256)
			k.sign = func(base []byte) ([]byte, error) { sum := sha256.Sum256(base); return signECDSA(private, sum[:]) }
		case elliptic.P384():
			fits = append(fits, ECDSAP384)
			k.sign = func(base []byte) ([]byte, error) { sum := sha512.Sum384(base); return signECDSA(private, sum[:]) }
		default:
			return nil, fmt.Errorf("the private key is on curve %s; there are algorithms for P-256 and P-384", private.Curve.Params().Name)
		}
	case *rsa.PrivateKey:
		if private.N.BitLen() < minRSA {
			return nil, fmt.Errorf("the private key has %d bits; RSA needs %d", private.N.BitLen(), minRSA)
		}
		fits = append(fits, RSAPSS)
		k.sign = func(base []byte) ([]byte, error) { return signPSS(private, base) }
		if !onlyPSS {
			fits = append(fits, RSAv15)
		}
		if algorithm == RSAv15 {
			k.sign = func(base []byte) ([]byte, error) {
				sum := sha256.Sum256(base)
				return rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
			}
		}
	default:
		return nil, fmt.Errorf("a %T is no private key that signs", private)
	}
	if err := k.choose(algorithm, fits); err != nil {
		return nil, err
	}
	return k, nil
}

// choose settles the algorithm, and tries the key once.
func (k *Key) choose(algorithm string, fits []string) error {
	if algorithm == "" {
		algorithm = fits[0]
	}
	if !slices.Contains(fits, algorithm) {
		return fmt.Errorf("algorithm %s does not go with the private key; what does is %s", algorithm, strings.Join(fits, " or "))
	}
	k.alg = algorithm
	if _, err := k.sign(nil); err != nil {
		return fmt.Errorf("the private key cannot sign with %s", algorithm)
	}
	return nil
}

// signPSS has a salt of 64 bytes (section 3.3.1).
func signPSS(private *rsa.PrivateKey, base []byte) ([]byte, error) {
	sum := sha512.Sum512(base)
	return rsa.SignPSS(rand.Reader, private, crypto.SHA512, sum[:], &rsa.PSSOptions{SaltLength: 64})
}

// signECDSA returns r and s one after the other, each of the curve's size (sections 3.3.4
// and 3.3.5).
func signECDSA(private *ecdsa.PrivateKey, sum []byte) ([]byte, error) {
	der, err := private.Sign(rand.Reader, sum, nil)
	if err != nil {
		return nil, err
	}
	var parts struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		return nil, err
	}
	size := (private.Curve.Params().BitSize + 7) / 8
	out := make([]byte, 2*size)
	parts.R.FillBytes(out[:size])
	parts.S.FillBytes(out[size:])
	return out, nil
}

func parsePEM(data []byte) (private any, onlyPSS bool, err error) {
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" { // the curve, which openssl writes in front and the key has too
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, false, errors.New("the private key is not PEM")
	}
	kind := block.Type
	if kind == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, false, errors.New("the private key is encrypted; `openssl pkey` takes the password off")
	}
	switch kind {
	case "PRIVATE KEY":
		if private, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			onlyPSS = true
			private, err = parsePSS(block.Bytes)
		}
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, false, fmt.Errorf("a PEM block %q is no private key that can be used", kind)
	}
	if err != nil { // whose text could hold parts of the key
		return nil, false, fmt.Errorf("the private key in the PEM block %q cannot be read", kind)
	}
	return private, onlyPSS, nil
}

// oidPSS marks keys that sign with RSASSA-PSS only (RFC 4055 section 1.2), which crypto/x509
// does not read.
var oidPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}

func parsePSS(der []byte) (*rsa.PrivateKey, error) {
	var wrapped struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	if _, err := asn1.Unmarshal(der, &wrapped); err != nil || !wrapped.Algorithm.Algorithm.Equal(oidPSS) {
		return nil, errors.New("not a key for RSASSA-PSS")
	}
	return x509.ParsePKCS1PrivateKey(wrapped.Key)
}
