package jose

import (
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// usualClaims are about as many as an access token of the large providers has.
var usualClaims = map[string]any{
	"iss": "https://tenant.eu.auth0.example/", "sub": "7f3c2a1e9b8d4c6fa5e0@clients", "aud": []string{"https://api.example.com", "https://tenant.eu.auth0.example/userinfo"},
	"iat": 1760000000, "nbf": 1760000000, "exp": 33000000000, "jti": "01JABCDEF0123456789ABCDEFG", "azp": "7f3c2a1e9b8d4c6fa5e0",
	"scope": "read:charges write:charges read:customers", "gty": "client-credentials", "tenant": map[string]any{"id": "t42", "plan": "gold"},
}

// BenchmarkParse takes tokens apart, without signatures: a usual one, and the worst that
// fits, which anybody may send.
func BenchmarkParse(b *testing.B) {
	k := idp.NewKey(b, "EdDSA", "k1")
	usual := k.Token(usualClaims, nil)
	b.Run("usual", func(b *testing.B) { benchmarkParse(b, usual) })
	b.Run("usual/golang-jwt", func(b *testing.B) {
		parser := jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithJSONNumber())
		b.ReportAllocs()
		b.SetBytes(int64(len(usual)))
		for b.Loop() {
			if _, _, err := parser.ParseUnverified(usual, jwt.MapClaims{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, claims := range map[string]string{
		"numbers": `{"a":[` + strings.Repeat("1,", 5950) + `1]}`,
		"objects": `{"a":[` + strings.Repeat("{},", 3950) + `1]}`,
		"text":    `{"a":"` + strings.Repeat("a", 11900) + `"}`,
		"escapes": `{"a":"` + strings.Repeat(`\u00e9`, 1980) + `"}`,
	} {
		raw := signed(k, plainHeader, claims)
		b.Run("16KiB of "+name, func(b *testing.B) { benchmarkParse(b, raw) })
	}
	dots := strings.Repeat(".", MaxToken)
	b.Run("16KiB of dots", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse(dots); err == nil {
				b.Fatal("dots are a token")
			}
		}
	})
}

func benchmarkParse(b *testing.B, raw string) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is a token's first sight: taking it apart, finding the key in a set, the
// signature. Beside it golang-jwt's Parse, which is given the key.
func BenchmarkVerify(b *testing.B) {
	ring := newKeyring(b)
	var members []any
	for _, alg := range Asymmetric {
		members = append(members, ring[alg].JWK())
	}
	set, _, err := ParseSet(document(b, members...))
	if err != nil {
		b.Fatal(err)
	}
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		raw, key := ring[alg].Token(usualClaims, nil), publicKey(b, ring[alg], "")
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				token, err := Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				keys := set.Find(token.Header.Kid, token.Header.HasKid, token.Header.Alg)
				if len(keys) != 1 || token.VerifySignature(keys[0], Asymmetric) != nil {
					b.Fatal("it does not verify")
				}
			}
		})
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			parser := jwt.NewParser(jwt.WithValidMethods(Asymmetric), jwt.WithStrictDecoding(), jwt.WithJSONNumber(), jwt.WithoutClaimsValidation())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parser.Parse(raw, func(*jwt.Token) (any, error) { return key.Public, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
