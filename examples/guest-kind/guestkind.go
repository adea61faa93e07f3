// Package guestkind is an example of kinds of credentials that live outside rr, in a Go
// module of their own: the verifier signed_time, for callers, and the injector date_hmac,
// for upstreams. Importing the package registers both.
package guestkind

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// minKey is the shortest key, in bytes, that HMAC-SHA256 is as strong as (RFC 2104
// section 3).
const minKey = 32

// keyOf is the key that the secret holds now: base64 of at least 32 bytes. Its errors say
// nothing of the secret.
func keyOf(v *secret.Value) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(v.Get())
	if err != nil {
		return nil, errors.New("the key is not base64")
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the key has %d bytes and needs %d; make one with `openssl rand -base64 32`", len(key), minKey)
	}
	return key, nil
}

// sign is the HMAC-SHA256 of a text, in hexadecimal.
func sign(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// name is what a signer may be called: it stands in headers, logs and placeholders.
var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
