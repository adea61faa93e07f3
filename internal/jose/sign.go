package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/MicahParks/jwkset"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// Signer signs tokens with one key and one algorithm. It is safe for concurrent use.
type Signer struct {
	alg, kid string
	private  any // what golang-jwt takes
	public   *Key
}

// ParseSigner reads a private key: PEM (PKCS#1, PKCS#8, SEC 1) or a JWK. alg may be empty
// where the key leaves one choice, or for RSA, where it is RS256. kid may be empty; a
// JWK's own kid and alg are used then.
func ParseSigner(data []byte, alg, kid string) (*Signer, error) {
	return ParseEncryptedSigner(data, nil, alg, kid)
}

// ParseEncryptedSigner is ParseSigner for a key that may be encrypted with a password
// (PKCS#8 in PEM, PBES2). A password that a key does not need is an error, an empty one is
// none.
func ParseEncryptedSigner(data, password []byte, alg, kid string) (*Signer, error) {
	if !IsPEM(string(data)) {
		if len(password) > 0 {
			return nil, errNotEncrypted
		}
		return parsePrivateJWK(data, alg, kid)
	}
	block, rest := pem.Decode(data)
	if block != nil && block.Type == "EC PARAMETERS" { // the curve, which openssl writes in front and the key has too
		block, _ = pem.Decode(rest)
	}
	if block == nil {
		return nil, errors.New("the private key is not complete PEM")
	}
	private, err := parsePrivateBlock(block, password)
	if err != nil {
		return nil, err
	}
	return newSigner(private, alg, kid)
}

var (
	errNotEncrypted = errors.New("the private key has a password, but is not encrypted")
	errNoPassword   = errors.New("the private key is encrypted, and has no password")
	errOldForm      = errors.New("the private key is encrypted in a form that is too weak (its PEM has a Proc-Type); `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes a better one of it")
)

func parsePrivateBlock(block *pem.Block, password []byte) (private any, err error) {
	kind := block.Type
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Headers["DEK-Info"] != "" { // RFC 1421: its key is one MD5 of the password
		return nil, errOldForm
	}
	switch encrypted := kind == "ENCRYPTED PRIVATE KEY"; {
	case encrypted && len(password) == 0:
		return nil, errNoPassword
	case !encrypted && len(password) > 0:
		return nil, errNotEncrypted
	case encrypted:
		der, err := decryptPKCS8(block.Bytes, password)
		if err != nil {
			return nil, err
		}
		if private, err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, errWrongPassword
		}
		return private, nil
	}
	switch kind {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block %q is no private key that can be used", kind)
	}
	if err != nil { // whose text could hold parts of the key
		return nil, fmt.Errorf("the private key in the PEM block %q cannot be read", kind)
	}
	return private, nil
}

func parsePrivateJWK(data []byte, alg, kid string) (*Signer, error) {
	member, err := strictjson.Object(data, strictjson.Options{})
	if err != nil {
		return nil, errors.New("the private key is neither PEM nor a JWK")
	}
	s, err := stringsOf(member, "kty", "alg", "kid", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi")
	if err != nil {
		return nil, fmt.Errorf("the private key: %w", err)
	}
	jwk, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{
		KTY: jwkset.KTY(s["kty"]), CRV: jwkset.CRV(s["crv"]), X: s["x"], Y: s["y"], N: s["n"], E: s["e"],
		D: s["d"], P: s["p"], Q: s["q"], DP: s["dp"], DQ: s["dq"], QI: s["qi"],
	}, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{SkipAll: true})
	if err != nil {
		return nil, errors.New("the members of the JWK do not make a private key")
	}
	if alg == "" {
		alg = NormalAlgorithm(s["alg"])
	}
	if kid == "" {
		kid = s["kid"]
	}
	return newSigner(jwk.Key(), alg, kid)
}

func newSigner(private any, alg, kid string) (*Signer, error) {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("it is not a private key that signs")
	}
	if alg == "" {
		alg = defaultAlgorithm(private)
	}
	public, err := NewKey(signer.Public(), kid, "")
	if err != nil {
		return nil, fmt.Errorf("the private key: %w", err)
	}
	if err := CheckAlgorithm(alg); err != nil {
		return nil, err
	}
	if !public.Fits(alg) {
		return nil, fmt.Errorf("algorithm %s does not go with the private key", alg)
	}
	made := &Signer{alg, kid, private, public}
	if err := made.try(); err != nil {
		return nil, err
	}
	return made, nil
}

// try signs once: a JWK may have a public key that is not the private one's, and then
// nobody accepts what it signs.
func (s *Signer) try() error {
	signature, err := algorithms[s.alg].method.Sign("", s.private)
	if err != nil || algorithms[s.alg].method.Verify("", signature, s.public.Public) != nil {
		return errors.New("the private and the public key do not belong together")
	}
	return nil
}

func defaultAlgorithm(private any) string {
	switch k := private.(type) {
	case *rsa.PrivateKey:
		return "RS256"
	case ed25519.PrivateKey:
		return "EdDSA"
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 384:
			return "ES384"
		case 521:
			return "ES512"
		}
	}
	return "ES256"
}

// NewHMACSigner signs with a shared secret; alg is HS256, HS384 or HS512.
func NewHMACSigner(secret []byte, alg string) (*Signer, error) {
	k, err := NewKey(secret, "", "")
	if err != nil {
		return nil, err
	}
	if !k.Fits(alg) {
		return nil, fmt.Errorf("algorithm %q does not go with a secret; there are: %v", alg, Symmetric)
	}
	return &Signer{alg: alg, private: secret, public: k}, nil
}

// Format keeps the key out of whatever prints a signer.
func (s *Signer) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s signer %q", s.alg, s.kid) }

// Alg is the algorithm.
func (s *Signer) Alg() string { return s.alg }

// Public is the key that verifies; the secret itself if it is symmetric.
func (s *Signer) Public() *Key { return s.public }

// Sign makes a token of claims, which have to marshal to a JSON object. header adds to
// the protected header, whose alg and kid are the signer's.
func (s *Signer) Sign(header map[string]any, claims any) (string, error) {
	head := map[string]any{"typ": "JWT"}
	for name, v := range header {
		head[name] = v
	}
	head["alg"] = s.alg
	if s.kid != "" {
		head["kid"] = s.kid
	}
	h, err := json.Marshal(head)
	if err != nil {
		return "", fmt.Errorf("the header: %w", err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("the claims: %w", err)
	}
	signed := bytes64(h) + "." + bytes64(c)
	signature, err := algorithms[s.alg].method.Sign(signed, s.private)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", s.alg, err)
	}
	return signed + "." + bytes64(signature), nil
}
