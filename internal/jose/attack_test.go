package jose

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// forgery is a token that nobody has signed who may.
type forgery struct{ name, raw string }

// checkForgeries tries every key that a verifier could have, and allows every algorithm.
// The good token of each algorithm passes in between: nothing is refused for another
// reason than the trick.
func checkForgeries(t *testing.T, ring keyring, rows []forgery) {
	t.Helper()
	keys := ring.keys(t)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if r.raw == "" {
				t.Fatal("there is no token")
			}
			if verifies(r.raw, keys, everything) {
				t.Errorf("it verifies: %s", r.raw)
			}
		})
	}
	for _, alg := range everything {
		if !verifies(ring[alg].Token(map[string]any{"sub": "svc"}, nil), keys, everything) {
			t.Errorf("a good %s token does not verify", alg)
		}
	}
}

// TestAlgNone: with a signature that would be good, without, and with one that is not.
func TestAlgNone(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, alg := range []string{
		"none", "None", "NONE", "nOnE", "nonE", " none", "none ", "none\t", "none\n", "ｎｏｎｅ", "noné", "none\u200b", "\ufeffnone", "no\u0308ne",
		"null", "undefined", "false", "0", "nil", "plain", "unsecured", "unsecuredNone", "HS0", "RS0", "ES0", "", "*", "any", "dir",
		"eddsa", "EDDSA", "EdDSA ", " EdDSA", "ed25519", "Ed25519 ", "Ed448", "EdDSA,none", "EdDSA none", "es256", "Es256", "ES256 ", "ES256K", "ES257", "rs256", "RS256\u200b", "ＲＳ256",
		"RS1", "RS255", "PS1", "hs256", "Hs256", "HS1", "HS257", "A128GCMKW", "RSA-OAEP", "ECDH-ES", "PBES2-HS256+A128KW", "sha256", "MD5",
	} {
		header, err := json.Marshal(map[string]any{"alg": alg, "typ": "JWT"})
		if err != nil {
			t.Fatal(err)
		}
		for _, own := range []string{"EdDSA", "ES256", "RS256", "HS256"} {
			rows = append(rows, forgery{fmt.Sprintf("%q signed with %s", alg, own), signed(ring[own], string(header), plainClaims)})
		}
		unsigned := bytes64(header) + "." + bytes64([]byte(plainClaims)) + "."
		rows = append(rows,
			forgery{fmt.Sprintf("%q with nothing", alg), unsigned},
			forgery{fmt.Sprintf("%q with a byte", alg), unsigned + "AA"},
			forgery{fmt.Sprintf("%q with null", alg), unsigned + bytes64([]byte("null"))},
		)
	}
	checkForgeries(t, ring, rows)
}

// TestPublicKeyAsSecret: HMAC with what everybody knows, in every form that a program
// could have had it in (CVE-2015-9235 and its many successors).
func TestPublicKeyAsSecret(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, alg := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		k := ring[alg]
		jwk, err := json.Marshal(k.JWK())
		if err != nil {
			t.Fatal(err)
		}
		set := document(t, k.JWK())
		forms := map[string][]byte{
			"PEM": k.PublicPEM(), "PEM without its last line end": []byte(strings.TrimSpace(string(k.PublicPEM()))),
			"PEM with CR": []byte(strings.ReplaceAll(string(k.PublicPEM()), "\n", "\r\n")),
			"DER":         k.PublicDER(), "JWK": jwk, "the set": set, "kid": []byte(k.ID), "thumbprint": []byte(k.Thumbprint()),
			"base64 of DER": []byte(bytes64(k.PublicDER())),
		}
		for _, name := range []string{"n", "e", "x", "y"} {
			if text, ok := k.JWK()[name].(string); ok {
				b, err := decode64(text)
				if err != nil {
					t.Fatal(err)
				}
				forms[name], forms[name+" as text"] = b, []byte(text)
			}
		}
		if public, ok := k.Private.Public().(*rsa.PublicKey); ok {
			der := x509.MarshalPKCS1PublicKey(public)
			forms["PKCS#1"] = der
			forms["PKCS#1 in PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der})
			forms["n in decimal"] = []byte(public.N.String())
			forms["n in hexadecimal"] = []byte(public.N.Text(16))
		}
		for form, secret := range forms {
			for _, hmac := range Symmetric {
				for _, kid := range []string{k.ID, ""} {
					rows = append(rows, forgery{
						fmt.Sprintf("%s with the %s key, %s, kid %q", hmac, alg, form, kid),
						idp.NewSecret(hmac, kid, secret).Token(map[string]any{"sub": "svc"}, nil),
					})
				}
			}
		}
	}
	for _, secret := range []string{"", "\x00", "secret", "null", "undefined", "your-256-bit-secret", secretText + "\n", secretText[1:], strings.ToUpper(secretText)} {
		rows = append(rows, forgery{fmt.Sprintf("HS256 with %q", secret), idp.NewSecret("HS256", "", []byte(secret)).Token(map[string]any{"sub": "svc"}, nil)})
	}
	checkForgeries(t, ring, rows)
}

// TestKeysOfTheWrongKind: a good signature under the name of another algorithm.
func TestKeysOfTheWrongKind(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, real := range everything {
		for _, said := range append(everything, "Ed25519") {
			if real != NormalAlgorithm(said) {
				rows = append(rows, forgery{real + " signed, called " + said, ring[real].Token(map[string]any{"sub": "svc"}, map[string]any{"alg": said})})
			}
		}
	}
	// a hash of one size with a curve of another, which golang-jwt itself would take
	for _, mixed := range [][2]string{{"ES256", "ES384"}, {"ES384", "ES256"}, {"ES512", "ES256"}, {"ES256", "ES512"}, {"ES384", "ES512"}} {
		rows = append(rows, forgery{"the key of " + mixed[0] + " signs " + mixed[1], ring[mixed[0]].With(mixed[1], "").Token(map[string]any{"sub": "svc"}, nil)})
	}
	attacker := newKeyring(t)
	for _, alg := range Asymmetric {
		k := attacker[alg].With(alg, ring[alg].ID)
		jwk := k.JWK()
		rows = append(rows,
			forgery{"another " + alg + " key of the same kid", k.Token(map[string]any{"sub": "svc"}, nil)},
			forgery{"another " + alg + " key, embedded", k.Token(map[string]any{"sub": "svc"}, map[string]any{"jwk": jwk})},
			forgery{"another " + alg + " key, embedded as a text", k.Token(map[string]any{"sub": "svc"}, map[string]any{
				"x5c": []any{bytes64(k.PublicDER())}, "jku": "https://attacker.example", "x5u": "https://attacker.example",
			})},
		)
	}
	checkForgeries(t, ring, rows)
}

// TestSignaturesOfTheWrongBytes: lengths, encodings and values that are no signature.
func TestSignaturesOfTheWrongBytes(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, alg := range everything {
		raw := ring[alg].Token(map[string]any{"sub": "svc"}, nil)
		s := signatureOf(t, raw)
		flipped := slices.Clone(s)
		flipped[len(s)-1] ^= 1
		first := slices.Clone(s)
		first[0] ^= 0x80
		for name, b := range map[string][]byte{
			"one byte less": s[:len(s)-1], "one byte less at the front": s[1:], "half": s[:len(s)/2], "one byte": s[:1],
			"a zero more": append(slices.Clone(s), 0), "a zero in front": append([]byte{0}, s...), "twice": append(slices.Clone(s), s...),
			"all zero": make([]byte, len(s)), "all ones": slices.Repeat([]byte{0xff}, len(s)), "one": append(make([]byte, len(s)-1), 1),
			"the last bit flipped": flipped, "the first bit flipped": first, "of another token": signatureOf(t, ring[alg].Token(map[string]any{"sub": "other"}, nil)),
			"in base64 again": []byte(bytes64(s)), "11,000 bytes": make([]byte, 11000),
		} {
			rows = append(rows, forgery{alg + ", " + name, withSignature(raw, b)})
		}
		rows = append(rows,
			forgery{alg + ", other claims", with(raw, 1, bytes64([]byte(`{"sub":"admin"}`)))},
			forgery{alg + ", another header", with(raw, 0, bytes64(fmt.Appendf(nil, `{"alg":%q}`, alg)))},
			forgery{alg + ", no signature", with(raw, 2, "")},
			forgery{alg + ", header and claims changed places", part(raw, 1) + "." + part(raw, 0) + "." + part(raw, 2)},
		)
	}
	checkForgeries(t, ring, rows)
}

// TestForgedECDSA has the signatures with which faulty libraries verified everything
// (CVE-2022-21449), and the other encoding.
func TestForgedECDSA(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, alg := range []string{"ES256", "ES384", "ES512"} {
		key := ring[alg].Private.Public().(*ecdsa.PublicKey)
		raw := ring[alg].Token(map[string]any{"sub": "svc"}, nil)
		s := signatureOf(t, raw)
		size := len(s) / 2
		n, p, zero, one := key.Params().N, key.Params().P, new(big.Int), big.NewInt(1)
		r0, s0 := new(big.Int).SetBytes(s[:size]), new(big.Int).SetBytes(s[size:])
		for name, v := range map[string][2]*big.Int{
			"r=0": {zero, s0}, "s=0": {r0, zero}, "r=s=0": {zero, zero}, "r=s=1": {one, one}, "r=1": {one, s0}, "r=n": {n, s0}, "s=n": {r0, n}, "r=s=n": {n, n},
			"r=0, s=n": {zero, n}, "r=n, s=0": {n, zero}, "r=p": {p, s0}, "r and s changed places": {s0, r0}, "n-r": {new(big.Int).Sub(n, r0), s0},
			"r=Gx, s=1": {key.Params().Gx, one}, "r=0, s=1": {zero, one}, "n-1": {new(big.Int).Sub(n, one), new(big.Int).Sub(n, one)},
		} {
			b := slices.Concat(v[0].FillBytes(make([]byte, size)), v[1].FillBytes(make([]byte, size)))
			rows = append(rows, forgery{alg + ", " + name, withSignature(raw, b)})
		}
		der, err := asn1.Marshal(struct{ R, S *big.Int }{r0, s0})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, forgery{alg + ", DER", withSignature(raw, der)})
		for _, length := range []int{1, 63, 64, 65, 70, 71, 72, 95, 96, 97, 131, 132, 133} {
			if length != len(s) {
				rows = append(rows, forgery{fmt.Sprintf("%s, %d bytes", alg, length), withSignature(raw, slices.Concat(s, s, s)[:length])})
			}
			if length > 1 && length > len(s) && length%2 == 0 { // r and s, each with zeros in front
				b := slices.Concat(r0.FillBytes(make([]byte, length/2)), s0.FillBytes(make([]byte, length/2)))
				rows = append(rows, forgery{fmt.Sprintf("%s, padded to %d bytes", alg, length), withSignature(raw, b)})
			}
		}
	}
	checkForgeries(t, ring, rows)
}

// TestForgedRSA: numbers that are equal to the signature, or whose power is known.
func TestForgedRSA(t *testing.T) {
	ring := newKeyring(t)
	var rows []forgery
	for _, alg := range []string{"RS256", "PS256"} {
		n := ring[alg].Private.Public().(*rsa.PublicKey).N
		short, wide := "", ""
		for i := 0; short == "" || wide == ""; i++ { // 1 of 256 begins with a zero
			raw := ring[alg].Token(map[string]any{"sub": i}, nil)
			s := signatureOf(t, raw)
			if s[0] == 0 && short == "" {
				short = withSignature(raw, s[1:])
			}
			if sum := new(big.Int).Add(new(big.Int).SetBytes(s), n); wide == "" && sum.BitLen() <= 2048 {
				wide = withSignature(raw, sum.FillBytes(make([]byte, 256)))
			}
		}
		raw := ring[alg].Token(map[string]any{"sub": "svc"}, nil)
		rows = append(rows, forgery{alg + ", without its leading zero", short}, forgery{alg + ", plus the modulus", wide},
			forgery{alg + ", the modulus", withSignature(raw, n.Bytes())},
			forgery{alg + ", the modulus less 1", withSignature(raw, new(big.Int).Sub(n, big.NewInt(1)).Bytes())},
			forgery{alg + ", negated", withSignature(raw, new(big.Int).Sub(n, new(big.Int).SetBytes(signatureOf(t, raw))).FillBytes(make([]byte, 256)))})
	}
	checkForgeries(t, ring, rows)
}

// TestForgedEdDSA: S is one number, not one of many that are the same (RFC 8032 section
// 5.1.7), and the neutral element signs nothing.
func TestForgedEdDSA(t *testing.T) {
	ring := newKeyring(t)
	raw := ring["EdDSA"].Token(map[string]any{"sub": "svc"}, nil)
	s := signatureOf(t, raw)
	order, _ := new(big.Int).SetString("27742317777372353535851937790883648493", 10)
	order.Add(order, new(big.Int).Lsh(big.NewInt(1), 252))
	var rows []forgery
	for times := range int64(9) {
		if times == 0 {
			continue
		}
		number := slices.Clone(s[32:])
		slices.Reverse(number) // S is little-endian
		sum := new(big.Int).Add(new(big.Int).SetBytes(number), new(big.Int).Mul(order, big.NewInt(times)))
		if sum.BitLen() > 256 {
			break
		}
		number = sum.FillBytes(make([]byte, 32))
		slices.Reverse(number)
		rows = append(rows, forgery{fmt.Sprintf("S + %d L", times), withSignature(raw, slices.Concat(s[:32], number))})
	}
	neutral := append([]byte{1}, make([]byte, 63)...)
	rows = append(rows, forgery{"the neutral element and 0", withSignature(raw, neutral)},
		forgery{"R and S changed places", withSignature(raw, slices.Concat(s[32:], s[:32]))},
		forgery{"the sign of R", withSignature(raw, slices.Concat(s[:31], []byte{s[31] ^ 0x80}, s[32:]))},
		forgery{"R = 0", withSignature(raw, slices.Concat(make([]byte, 32), s[32:]))})
	checkForgeries(t, ring, rows)
}
