package jose

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// everything are all algorithms that may be allowed at once: what is refused with them
// is refused by what the keys are, not by the configuration.
var everything = slices.Concat(Asymmetric, Symmetric)

const secretText = "a secret that is shared and that nobody guesses, long enough for HS512 too"

// keyring has one key for each algorithm; it signs with the standard library alone.
type keyring map[string]*idp.Key

func newKeyring(t testing.TB) keyring {
	t.Helper()
	r := keyring{}
	for _, alg := range Asymmetric {
		if alg[0] == 'P' { // one RSA key for both paddings: they must not be mixed up
			r[alg] = r["R"+alg[1:]].With(alg, "kid-"+alg)
			continue
		}
		r[alg] = idp.NewKey(t, alg, "kid-"+alg)
	}
	for _, alg := range Symmetric {
		r[alg] = idp.NewSecret(alg, "", []byte(secretText))
	}
	return r
}

// keys are what a verifier has of the key ring: all public keys and the secret, none of
// which says which algorithm it is for.
func (r keyring) keys(t testing.TB) []*Key {
	t.Helper()
	var keys []*Key
	for _, alg := range Asymmetric {
		keys = append(keys, publicKey(t, r[alg], ""))
	}
	k, err := NewKey([]byte(secretText), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, k)
}

// publicKey reads the JWK of a key; alg is put into it.
func publicKey(t testing.TB, k *idp.Key, alg string) *Key {
	t.Helper()
	jwk := k.JWK()
	delete(jwk, "alg")
	if alg != "" {
		jwk["alg"] = alg
	}
	parsed, err := ParseJWK(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// verifies reports whether a token is one that any of the keys has signed.
func verifies(raw string, keys []*Key, algs []string) bool {
	token, err := Parse(raw)
	return err == nil && slices.ContainsFunc(keys, func(k *Key) bool { return token.VerifySignature(k, algs) == nil })
}

// signed is a token with this header and these claims, byte for byte, and the key's good
// signature.
func signed(k *idp.Key, header, claims string) string { return k.Sign([]byte(header), []byte(claims)) }

// part is one of the parts of a token; with is the token with another.
func part(raw string, i int) string { return strings.Split(raw, ".")[i] }

func with(raw string, i int, replaced string) string {
	parts := strings.Split(raw, ".")
	parts[i] = replaced
	return strings.Join(parts, ".")
}

func signatureOf(t testing.TB, raw string) []byte {
	t.Helper()
	b, err := decode64(part(raw, 2))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withSignature(raw string, signature []byte) string { return with(raw, 2, bytes64(signature)) }

// document is a JWK Set of these members.
func document(t testing.TB, members ...any) []byte {
	t.Helper()
	if members == nil {
		members = []any{}
	}
	b, err := json.Marshal(map[string]any{"keys": members})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// changed is a copy of an object with these members over its own; one that is nil goes.
func changed(object, over map[string]any) map[string]any {
	object = maps.Clone(object)
	maps.Copy(object, over)
	maps.DeleteFunc(object, func(_ string, v any) bool { return v == nil })
	return object
}
