package jose

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

func TestSetsThatAreRefused(t *testing.T) {
	k := idp.NewKey(t, "EdDSA", "k1").JWK()
	one := string(document(t, k))
	for name, c := range map[string]struct{ in, reason string }{
		"nothing":                         {"", "not valid JSON"},
		"a page":                          {"<html>s3cret</html>", "not valid JSON"},
		"a list":                          {"[" + one + "]", "not a JSON object"},
		"null":                            {"null", "not a JSON object"},
		"a key alone":                     {string(mustJSON(t, k)), `no list of "keys"`},
		"no keys":                         {`{}`, `no list of "keys"`},
		"keys null":                       {`{"keys":null}`, `no list of "keys"`},
		"keys an object":                  {`{"keys":{"k1":{}}}`, `no list of "keys"`},
		"keys in another case":            {strings.Replace(one, "keys", "Keys", 1), `no list of "keys"`},
		"an empty list":                   {`{"keys":[]}`, "no key that can be used"},
		"an error of the provider":        {`{"error":"s3cret","keys":[]}`, "no key that can be used"},
		"all bad":                         {`{"keys":[{},1,{"kty":"oct","k":"s3cret"}]}`, "no key that can be used"},
		"keys twice":                      {`{"keys":[],` + one[1:], "twice"},
		"a member twice in a good key":    {strings.Replace(one, `"kid":"k1"`, `"kid":"k1","kid":"k2"`, 1), "twice"},
		"a member twice that nobody uses": {strings.Replace(one, `"kid":"k1"`, `"kid":"k1","z":1,"z":1`, 1), "twice"},
		"something behind":                {one + "x", "not valid JSON"},
		"two sets":                        {one + one, "not valid JSON"},
		"half a set":                      {one[:len(one)-1], "not valid JSON"},
		"NUL in a name":                   {strings.Replace(one, `"kid"`, `"kid\u0000"`, 1), "NUL"},
		"depth":                           {`{"keys":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "too deeply"},
		"too many keys":                   {string(document(t, slices.Repeat([]any{k}, MaxSetKeys+1)...)), "more than 100"},
		"too many, none of which is used": {string(document(t, make([]any, MaxSetKeys+1)...)), "more than 100"},
		"too large":                       {one + strings.Repeat(" ", MaxSet), "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			set, _, err := ParseSet([]byte(c.in))
			if err == nil || set != nil || !strings.Contains(err.Error(), c.reason) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v and %v, want %q", set, err, c.reason)
			}
		})
	}
	if set, skipped, err := ParseSet(document(t, slices.Repeat([]any{k}, MaxSetKeys)...)); err != nil || len(skipped) > 0 || len(set.Keys()) != MaxSetKeys {
		t.Errorf("100 keys: %v, %v", err, skipped)
	}
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFind(t *testing.T) {
	ring := newKeyring(t)
	named := func(alg, kid, tied string) *Key {
		k := publicKey(t, ring[alg], tied)
		k.ID = kid
		return k
	}
	rsa1, tied, ec, ec384, same := named("RS256", "a", ""), named("RS384", "b", "PS256"), named("ES256", "c", ""), named("ES384", "d", ""), named("ES256", "a", "")
	nameless, secret := named("EdDSA", "", ""), mustKey(t, []byte(secretText))
	set := NewSet([]*Key{rsa1, tied, ec, ec384, same, nameless, secret})
	for _, c := range []struct {
		name   string
		kid    string
		hasKid bool
		alg    string
		want   []*Key
	}{
		{"by kid", "c", true, "ES256", []*Key{ec}},
		{"by kid, of two with the same", "a", true, "ES256", []*Key{same}},
		{"by kid, the other", "a", true, "PS512", []*Key{rsa1}},
		{"by kid, another curve", "c", true, "ES384", nil},
		{"by kid, another type", "c", true, "RS256", nil},
		{"by kid, HMAC", "a", true, "HS256", nil},
		{"by kid, tied to its algorithm", "b", true, "PS256", []*Key{tied}},
		{"by kid, tied to another", "b", true, "RS256", nil},
		{"by kid in another case", "C", true, "ES256", nil},
		{"an unknown kid may be a nameless key", "x", true, "EdDSA", []*Key{nameless}},
		{"which has to fit", "x", true, "ES256", nil},
		{"a known kid is no nameless key", "c", true, "EdDSA", nil},
		{"the empty kid", "", true, "EdDSA", []*Key{nameless}},
		{"no kid", "", false, "ES256", []*Key{ec, same}},
		{"no kid, tied", "", false, "RS256", []*Key{rsa1}},
		{"no kid, HMAC", "", false, "HS256", []*Key{secret}},
		{"alg none", "", false, "none", nil},
		{"no alg", "", false, "", nil},
	} {
		if got := set.Find(c.kid, c.hasKid, c.alg); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if !set.Has("a") || set.Has("x") || !set.HasKey(ec.Thumbprint) || set.HasKey([32]byte{1}) {
		t.Error("Has or HasKey is wrong")
	}
	var many []*Key
	for i := range 50 {
		many = append(many, named("EdDSA", fmt.Sprint(i), ""), named("ES256", "same", ""), named("RS256", "", ""))
	}
	set = NewSet(many)
	if a, b, c := set.Find("", false, "EdDSA"), set.Find("same", true, "ES256"), set.Find("x", true, "RS256"); len(a) != 8 || len(b) != 8 || len(c) != 8 {
		t.Errorf("%d, %d and %d keys are tried", len(a), len(b), len(c))
	}
}

func mustKey(t testing.TB, public any) *Key {
	t.Helper()
	k, err := NewKey(public, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestGeneration: the same keys are the same set, in whatever order and writing; anything
// that decides which token verifies makes another.
func TestGeneration(t *testing.T) {
	ring := newKeyring(t)
	a, b := ring["ES256"].JWK(), ring["EdDSA"].JWK()
	generation := func(members ...any) [32]byte {
		t.Helper()
		set, _, err := ParseSet(document(t, members...))
		if err != nil {
			t.Fatal(err)
		}
		return set.Generation
	}
	type over = map[string]any
	base := generation(a, b)
	for name, g := range map[string][32]byte{
		"in another order": generation(b, a), "with a bad one": generation(a, 1, b), "with more members": generation(changed(a, over{"x5t": "x", "use": nil}), b),
	} {
		if g != base {
			t.Errorf("%s it is another set", name)
		}
	}
	for name, g := range map[string][32]byte{
		"one key": generation(a), "another kid": generation(changed(a, over{"kid": "z"}), b), "no kid": generation(changed(a, over{"kid": nil}), b),
		"no alg": generation(changed(a, over{"alg": nil}), b), "a key twice": generation(a, b, b), "another key": generation(a, ring["ES384"].JWK()),
		"kids changed places":  generation(changed(a, over{"kid": b["kid"]}), changed(b, over{"kid": a["kid"]})),
		"a kid with a newline": generation(changed(a, over{"kid": "kid-ES256\"\n"}), b),
	} {
		if g == base {
			t.Errorf("%s: it is the same set", name)
		}
	}
}

// FuzzParseSet: nothing panics, and what is a set holds only keys that may be used.
func FuzzParseSet(f *testing.F) {
	ring := newKeyring(f)
	members := []any{1}
	for _, alg := range Asymmetric {
		members = append(members, ring[alg].JWK())
		f.Add(document(f, ring[alg].JWK()))
	}
	f.Add(document(f, members...))
	f.Add(document(f, map[string]any{"kty": "oct", "k": "AA"}, changed(ring["RS256"].JWK(), map[string]any{"d": "AA", "x5c": []any{base64.StdEncoding.EncodeToString([]byte("x"))}})))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	raw := ring["EdDSA"].Token(map[string]any{}, nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		set, _, err := ParseSet(data)
		if err != nil {
			if set != nil {
				t.Error("an error and a set")
			}
			return
		}
		if len(set.Keys()) == 0 || len(set.Keys()) > MaxSetKeys || len(data) > MaxSet {
			t.Errorf("%d keys", len(set.Keys()))
		}
		token, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys() {
			checkPublic(t, k)
			if k.ID != "kid-EdDSA" && len(set.Find("kid-EdDSA", true, "EdDSA")) > maxTried {
				t.Error("too many keys are tried")
			}
			if token.VerifySignature(k, everything) == nil && k.ThumbprintText() != ring["EdDSA"].Thumbprint() {
				t.Error("another key verifies")
			}
		}
	})
}

// checkPublic checks that a key is of a kind that verifies, and the same when it is
// written and read again.
func checkPublic(t *testing.T, k *Key) {
	t.Helper()
	if _, symmetric := k.Public.([]byte); symmetric || k.Alg != "" && !k.Fits(k.Alg) || !slices.ContainsFunc(Asymmetric, k.Fits) {
		t.Fatalf("a key of type %T for %q", k.Public, k.Alg)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePublicPEM(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil || len(again) != 1 || again[0].Thumbprint != k.Thumbprint {
		t.Errorf("it is another key when written and read again: %v", err)
	}
}
