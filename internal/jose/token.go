// Package jose reads and writes signed JSON Web Tokens (RFC 7515, RFC 7519) and the keys
// that sign them (RFC 7517). It decides nothing about claims.
//
// Cryptography is golang-jwt's and Go's own, key decoding is jwkset's. What they leave
// open is closed here: base64 has one spelling, JSON members are there once, header
// members have their types, and which algorithm is used is a matter of the key and of
// the configuration, never of the token alone.
package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// MaxToken is the size of the largest token that is looked at, in bytes.
const MaxToken = 16 << 10

// MaxKeyID is the size of the longest kid that is looked for, in bytes.
const MaxKeyID = 256

// Token is a signed token that is taken apart, and nothing more: neither the signature
// nor any claim has been checked.
type Token struct {
	Header Header
	// Claims are JSON values with numbers as json.Number.
	Claims map[string]any
	// Payload is the JSON text of the claims.
	Payload []byte

	signed    string // the header and the payload as they were signed
	signature []byte
}

// Header is what is read of a token's protected header (RFC 7515 section 4.1). Members
// that bring their own key (jku, x5u, x5c) are never read.
type Header struct {
	// Alg is what the token says it was signed with, as NormalAlgorithm has it. It has to
	// be held against what is allowed.
	Alg string
	// Kid names the key, if HasKid.
	Kid    string
	HasKid bool
	// Typ is the kind of token in lower case and without "application/", empty if it
	// is not said (RFC 7515 section 4.1.9).
	Typ string
	// JWK is the key that the token brings. Only proofs of possession have any use for
	// it (RFC 9449 section 4.2).
	JWK map[string]any
}

// ErrMalformed is wrapped by all errors of Parse.
var ErrMalformed = errors.New("not a well-formed signed token")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// Parse takes a token in compact serialization apart. Errors hold nothing of the token.
func Parse(raw string) (*Token, error) {
	if len(raw) > MaxToken {
		return nil, malformed("it is larger than %d bytes", MaxToken)
	}
	first, last, err := dots(raw)
	if err != nil {
		return nil, err
	}
	t := &Token{signed: raw[:last]}
	head, err := object(raw[:first])
	if err != nil {
		return nil, malformed("header: %w", err)
	}
	if t.Header, err = readHeader(head); err != nil {
		return nil, malformed("header: %w", err)
	}
	if t.Payload, err = decode64(raw[first+1 : last]); err != nil {
		return nil, malformed("claims: %w", err)
	}
	if t.Claims, err = strictjson.Object(t.Payload, strictjson.Options{NoNUL: true}); err != nil {
		return nil, malformed("claims: %w", err)
	}
	if t.signature, err = decode64(raw[last+1:]); err != nil {
		return nil, malformed("signature: %w", err)
	}
	return t, nil
}

// Claims decodes the Payload of a token, which Parse has decoded before.
func Claims(payload []byte) map[string]any {
	claims, _ := strictjson.Object(payload, strictjson.Options{NoNUL: true})
	return claims
}

// dots finds the two dots between the three parts, none of which may be empty.
func dots(raw string) (first, last int, err error) {
	first, last = -1, -1
	for i := range len(raw) {
		if raw[i] != '.' {
			continue
		}
		switch {
		case first < 0:
			first = i
		case last < 0:
			last = i
		default:
			return 0, 0, malformed("it has more than three parts")
		}
	}
	if first <= 0 || last <= first+1 || last == len(raw)-1 {
		return 0, 0, malformed("it does not have three parts")
	}
	return first, last, nil
}

var strict64 = base64.RawURLEncoding.Strict()

// decode64 decodes base64url in its one spelling: no padding, no line ends, no bits that
// say nothing.
func decode64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // which encoding/base64 skips
		return nil, errors.New("it is not base64url")
	}
	b, err := strict64.DecodeString(s)
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	return b, nil
}

func object(part string) (map[string]any, error) {
	b, err := decode64(part)
	if err != nil {
		return nil, err
	}
	return strictjson.Object(b, strictjson.Options{NoNUL: true})
}

// stringMembers are the header members that are read or could be taken for something;
// they have to be strings.
var stringMembers = []string{"alg", "kid", "typ", "cty", "jku", "x5u", "x5t", "x5t#S256"}

func readHeader(head map[string]any) (h Header, err error) {
	for _, name := range stringMembers {
		if v, ok := head[name]; ok {
			if _, ok := v.(string); !ok {
				return h, fmt.Errorf("%s is not a string", name)
			}
		}
	}
	for _, name := range []string{"crit", "b64", "enc", "zip"} {
		if _, ok := head[name]; ok {
			// RFC 7515 section 4.1.11: what is critical and not understood is refused;
			// RFC 7797's unencoded payloads and encrypted tokens are not understood
			return h, fmt.Errorf("%s is not supported", name)
		}
	}
	alg, _ := head["alg"].(string)
	if h.Alg = NormalAlgorithm(alg); h.Alg == "" {
		return h, errors.New("alg is missing")
	}
	if h.Kid, h.HasKid = head["kid"].(string); len(h.Kid) > MaxKeyID {
		return h, fmt.Errorf("kid is longer than %d bytes", MaxKeyID)
	}
	typ, _ := head["typ"].(string)
	h.Typ = NormalTyp(typ)
	if cty, _ := head["cty"].(string); NormalTyp(cty) == "jwt" {
		return h, errors.New("a token within a token is not supported")
	}
	if jwk, ok := head["jwk"]; ok {
		if h.JWK, ok = jwk.(map[string]any); !ok {
			return h, errors.New("jwk is not an object")
		}
	}
	return h, nil
}

// NormalTyp is the form in which the values of typ are compared.
func NormalTyp(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
