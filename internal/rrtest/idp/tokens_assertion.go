package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"time"
)

// assertion says what is wrong with an assertion (RFC 7523 section 3), "" if nothing is.
// Its issuer is one of the clients, with whose key it is signed. For a client that
// authenticates, subject is the client.
func (s *Tokens) assertion(token, audience, subject string) (wrong string) {
	three := strings.Split(token, ".")
	if len(three) != 3 {
		return "no assertion"
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	for i, v := range []any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(three[i])
		if err != nil || json.Unmarshal(raw, v) != nil {
			return "the assertion cannot be read"
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(three[2])
	c, now := s.clients[claims.Iss], time.Now().Unix()
	switch {
	case err != nil || c == nil:
		return "nobody has signed the assertion"
	case !c.signed(header.Alg, header.Kid, []byte(three[0]+"."+three[1]), signature):
		return "the signature is not the client's"
	case subject != "" && (claims.Iss != subject || claims.Sub != subject):
		return "another subject"
	case claims.Aud != audience:
		return "another audience"
	case claims.Exp <= now || claims.Iat > now || claims.Exp > claims.Iat+3600:
		return "not at this time"
	case claims.Jti == "":
		return "no jti"
	}
	return ""
}

// signed checks a signature with the client's key: its secret, if it has no other.
func (c *TokenClient) signed(alg, kid string, input, signature []byte) bool {
	if c.Key == nil {
		return strings.HasPrefix(alg, "HS") && hmac.Equal(signature, NewSecret(alg, "", []byte(c.Secret)).Signature(input))
	}
	if alg != c.Key.Alg || kid != c.Key.ID {
		return false
	}
	digest := crypto.Hash(0)
	if len(alg) == 5 {
		digest = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	}
	sum := input
	if digest != 0 && alg != "EdDSA" {
		h := digest.New()
		h.Write(input)
		sum = h.Sum(nil)
	}
	switch key := c.Key.Private.Public().(type) {
	case *rsa.PublicKey:
		if alg[0] == 'P' {
			return rsa.VerifyPSS(key, digest, sum, signature, &rsa.PSSOptions{SaltLength: digest.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(key, digest, sum, signature) == nil
	case *ecdsa.PublicKey:
		half := len(signature) / 2
		return ecdsa.Verify(key, sum, new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, input, signature)
	}
	return false
}
