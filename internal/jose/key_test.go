package jose

import (
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
)

// modulus is an odd number of so many bits: enough to be an RSA key that never verifies.
func modulus(bits int) *big.Int {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return n.SetBit(n, 0, 1)
}

func rsaJWK(n, e *big.Int) map[string]any {
	return map[string]any{"kty": "RSA", "n": bytes64(n.Bytes()), "e": bytes64(e.Bytes())}
}

// TestEntriesThatAreSkipped: each is refused for its own reason, which holds nothing that
// is secret, and the good key beside it is used.
func TestEntriesThatAreSkipped(t *testing.T) {
	ring := newKeyring(t)
	e := big.NewInt(65537)
	r, ec, okp := ring["RS256"].JWK(), ring["ES256"].JWK(), ring["EdDSA"].JWK()
	type over = map[string]any
	x, err := decode64(ec["x"].(string))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entry  any
		reason string
	}{
		"no object":                         {"key", "not an object"},
		"null":                              {nil, "not an object"},
		"a list":                            {[]any{r}, "not an object"},
		"an empty object":                   {over{}, "do not make a key"},
		"a secret":                          {over{"kty": "oct", "k": "s3cret", "alg": "HS256"}, `"k"`},
		"a secret without itself":           {over{"kty": "oct", "alg": "HS256"}, "do not make a key"},
		"a secret called RSA":               {changed(r, over{"k": "s3cret"}), `"k"`},
		"a private RSA key":                 {changed(r, over{"d": "s3cret"}), `"d"`},
		"a prime of an RSA key":             {changed(r, over{"p": "s3cret"}), `"p"`},
		"more primes":                       {changed(r, over{"oth": []any{}}), `"oth"`},
		"a private EC key":                  {changed(ec, over{"d": "s3cret"}), `"d"`},
		"a private Ed25519 key":             {changed(okp, over{"d": "s3cret"}), `"d"`},
		"a private member that is null":     {json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"` + okp["x"].(string) + `","d":null}`), `"d"`},
		"for encryption":                    {changed(r, over{"use": "enc"}), "not signatures"},
		"use in another case":               {changed(r, over{"use": "SIG"}), "not signatures"},
		"a list as use":                     {changed(r, over{"use": []any{"sig"}}), "use is not a string"},
		"key_ops of encryption":             {changed(r, over{"key_ops": []any{"encrypt", "wrapKey"}}), "verify"},
		"key_ops sign alone":                {changed(r, over{"key_ops": []any{"sign"}}), "verify"},
		"key_ops with nothing":              {changed(r, over{"key_ops": []any{}}), "verify"},
		"key_ops in another case":           {changed(r, over{"key_ops": []any{"Verify"}}), "verify"},
		"key_ops of objects":                {changed(r, over{"key_ops": []any{over{}, []any{}}}), "verify"},
		"a string as key_ops":               {changed(r, over{"key_ops": "verify"}), "not a list"},
		"an encryption algorithm":           {changed(r, over{"alg": "RSA-OAEP"}), "alg"},
		"alg none":                          {changed(r, over{"alg": "none"}), "alg"},
		"alg of a secret":                   {changed(r, over{"alg": "HS256"}), "alg"},
		"alg of another type":               {changed(r, over{"alg": "ES256"}), "alg"},
		"alg of another curve":              {changed(ec, over{"alg": "ES384"}), "alg"},
		"alg in lower case":                 {changed(r, over{"alg": "rs256"}), "alg"},
		"alg ES256K":                        {changed(ec, over{"alg": "ES256K"}), "alg"},
		"alg Ed25519 of an RSA key":         {changed(r, over{"alg": "Ed25519"}), "alg"},
		"a numeric alg":                     {changed(r, over{"alg": 256}), "alg is not a string"},
		"a numeric kid":                     {changed(r, over{"kid": 1}), "kid is not a string"},
		"a list as kid":                     {changed(r, over{"kid": []any{"k"}}), "kid is not a string"},
		"kid null":                          {json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"` + okp["x"].(string) + `","kid":null}`), "kid is not a string"},
		"an object as n":                    {changed(r, over{"n": over{}}), "n is not a string"},
		"a number as e":                     {changed(r, over{"e": 65537}), "e is not a string"},
		"no kty":                            {changed(r, over{"kty": nil}), "do not make a key"},
		"kty in lower case":                 {changed(r, over{"kty": "rsa"}), "do not make a key"},
		"an unknown kty":                    {changed(r, over{"kty": "AKP"}), "do not make a key"},
		"kty EC for RSA":                    {changed(r, over{"kty": "EC"}), "do not make a key"},
		"no modulus":                        {changed(r, over{"n": nil}), "do not make a key"},
		"no exponent":                       {changed(r, over{"e": nil}), "do not make a key"},
		"RSA of 512 bits":                   {rsaJWK(modulus(512), e), "512 bits"},
		"RSA of 1024 bits":                  {rsaJWK(modulus(1024), e), "1024 bits"},
		"RSA of 2047 bits":                  {rsaJWK(modulus(2047), e), "2047 bits"},
		"RSA of 8193 bits":                  {rsaJWK(modulus(8193), e), "8193 bits"},
		"RSA of 16384 bits":                 {rsaJWK(modulus(16384), e), "16384 bits"},
		"RSA of 2 million bits":             {rsaJWK(modulus(2_000_000), e), "2000000 bits"},
		"RSA of 2048 bits by zeros":         {changed(rsaJWK(modulus(1024), e), over{"n": bytes64(modulus(1024).FillBytes(make([]byte, 256)))}), "1024 bits"},
		"RSA with e=0":                      {changed(r, over{"e": "AA"}), "exponent"},
		"RSA with e=1":                      {changed(r, over{"e": "AQ"}), "exponent"},
		"RSA with e=2":                      {changed(r, over{"e": "Ag"}), "exponent"},
		"RSA with an even e":                {changed(r, over{"e": "AQAC"}), "exponent"},
		"RSA with e=2^31+1":                 {rsaJWK(modulus(2048), big.NewInt(1<<31+1)), "exponent"},
		"RSA with e=2^32-1":                 {rsaJWK(modulus(2048), big.NewInt(1<<32-1)), "exponent"},
		"RSA with e=2^32+1, which is cut 1": {rsaJWK(modulus(2048), big.NewInt(1<<32+1)), "exponent"},
		"RSA with e=2^64+65537":             {rsaJWK(modulus(2048), new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 64), e)), "exponent"},
		"RSA with e as large as n":          {rsaJWK(modulus(2048), modulus(2048)), "exponent"},
		"n with padding":                    {changed(r, over{"n": r["n"].(string) + "=="}), "n: it is not base64url"},
		"n in the other alphabet":           {changed(r, over{"n": "++++" + r["n"].(string)[4:]}), "n: it is not base64url"},
		"a point off the curve":             {changed(ec, over{"x": ec["y"]}), "do not make a key"},
		"the point at infinity":             {changed(ec, over{"x": bytes64(make([]byte, 32)), "y": bytes64(make([]byte, 32))}), "do not make a key"},
		"a point of another curve":          {changed(ec, over{"crv": "P-384"}), "bytes, not the"},
		"a point of a larger curve":         {changed(ring["ES384"].JWK(), over{"crv": "P-256", "alg": nil}), "bytes, not the"},
		"an unknown curve":                  {changed(ec, over{"crv": "secp256k1"}), "do not make a key"},
		"P-224":                             {changed(ec, over{"crv": "P-224"}), "do not make a key"},
		"no curve":                          {changed(ec, over{"crv": nil}), "do not make a key"},
		"no y":                              {changed(ec, over{"y": nil}), "y has 0 bytes, not the"},
		"an x with a zero in front":         {changed(ec, over{"x": bytes64(append([]byte{0}, x...))}), "bytes, not the"},
		"an x that is cut":                  {changed(ec, over{"x": bytes64(x[:31])}), "bytes, not the"},
		"an x with padding":                 {changed(ec, over{"x": ec["x"].(string) + "="}), "x: it is not base64url"},
		"an x with a line end":              {changed(ec, over{"x": ec["x"].(string) + "\n"}), "x: it is not base64url"},
		"an x with unused bits":             {changed(ec, over{"x": unused(t, ec["x"].(string))}), "x: it is not base64url"},
		"an x that is huge":                 {changed(ec, over{"x": bytes64(make([]byte, 10_000))}), "bytes, not the"},
		"X25519":                            {changed(okp, over{"crv": "X25519", "alg": nil}), "signs nothing"},
		"Ed448":                             {changed(okp, over{"crv": "Ed448", "x": bytes64(make([]byte, 57))}), "do not make a key"},
		"Ed25519 of 31 bytes":               {changed(okp, over{"x": bytes64(make([]byte, 31))}), "do not make a key"},
		"Ed25519 of 33 bytes":               {changed(okp, over{"x": bytes64(make([]byte, 33))}), "do not make a key"},
		"Ed25519 without x":                 {changed(okp, over{"x": nil}), "do not make a key"},
		"a certificate alone":               {over{"kty": "RSA", "x5c": []any{bytes64([]byte("x"))}}, "do not make a key"},
	} {
		t.Run(name, func(t *testing.T) {
			good := ring["EdDSA"].JWK()
			set, skipped, err := ParseSet(document(t, c.entry, good))
			if err != nil || len(set.Keys()) != 1 || len(skipped) != 1 {
				t.Fatalf("%v, skipped %v", err, skipped)
			}
			if k := set.Keys()[0]; k.ID != "kid-EdDSA" || k.Alg != "EdDSA" || k.ThumbprintText() != ring["EdDSA"].Thumbprint() {
				t.Errorf("the good key is %+v", k)
			}
			text := skipped[0].Error()
			if !strings.HasPrefix(text, "key 1: ") || !strings.Contains(text, c.reason) || strings.Contains(text, "s3cret") || len(text) > 200 {
				t.Errorf("the reason is %q, want %q", text, c.reason)
			}
			if _, skipped, err := ParseSet(document(t, c.entry)); err == nil || len(skipped) != 1 {
				t.Errorf("alone it is a set: %v, %v", err, skipped)
			}
		})
	}
}

func TestEntriesThatAreUsed(t *testing.T) {
	ring := newKeyring(t)
	r, ec, okp := ring["RS256"].JWK(), ring["ES512"].JWK(), ring["EdDSA"].JWK()
	type over = map[string]any
	for name, c := range map[string]struct {
		entry   map[string]any
		id, alg string
	}{
		"as it is":                        {r, "kid-RS256", "RS256"},
		"without alg":                     {changed(r, over{"alg": nil}), "kid-RS256", ""},
		"without use":                     {changed(r, over{"use": nil}), "kid-RS256", "RS256"},
		"with an empty use":               {changed(r, over{"use": ""}), "kid-RS256", "RS256"},
		"of SPIFFE":                       {changed(ec, over{"use": "jwt-svid", "alg": nil}), "kid-ES512", ""},
		"without kid":                     {changed(ec, over{"kid": nil}), "", "ES512"},
		"with key_ops":                    {changed(r, over{"key_ops": []any{"sign", 1, "verify"}}), "kid-RS256", "RS256"},
		"with RFC 9864's name":            {changed(okp, over{"alg": "Ed25519"}), "kid-EdDSA", "EdDSA"},
		"with nonsense for certificates":  {changed(r, over{"x5c": []any{1, "x", over{}}, "x5t": 1, "x5t#S256": []any{}, "x5u": "http://169.254.169.254"}), "kid-RS256", "RS256"},
		"with a certificate of another":   {changed(r, over{"x5c": "MIIB", "x5u": "https://attacker.example"}), "kid-RS256", "RS256"},
		"with members nobody knows":       {changed(r, over{"ext": true, "iat": 1, "K": "k", "D": "d"}), "kid-RS256", "RS256"},
		"with members of another type":    {changed(okp, over{"y": "AA", "n": "AA", "e": "AQ"}), "kid-EdDSA", "EdDSA"},
		"with the modulus Java writes":    {changed(r, over{"n": bytes64(append([]byte{0}, ring["RS256"].Private.Public().(*rsa.PublicKey).N.Bytes()...))}), "kid-RS256", "RS256"},
		"of 8192 bits":                    {rsaJWK(modulus(8192), big.NewInt(3)), "", ""},
		"with the largest exponent there": {rsaJWK(modulus(2048), big.NewInt(1<<31-1)), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			set, skipped, err := ParseSet(document(t, c.entry))
			if err != nil || len(skipped) > 0 {
				t.Fatal(err, skipped)
			}
			if k := set.Keys()[0]; k.ID != c.id || k.Alg != c.alg {
				t.Errorf("got %q for %q", k.ID, k.Alg)
			}
			if kid, _ := c.entry["kid"].(string); kid != "" && !verifies(ring[kid[4:]].Token(map[string]any{}, nil), set.Keys(), Asymmetric) {
				t.Error("it verifies nothing")
			}
		})
	}
}
