package jose

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// TestTokensOfOthersVerify: tokens that the standard library has signed, each by its own
// key and by no other, with its own algorithm and no other.
func TestTokensOfOthersVerify(t *testing.T) {
	ring := newKeyring(t)
	for _, alg := range everything {
		t.Run(alg, func(t *testing.T) {
			raw := ring[alg].Token(map[string]any{"sub": "svc", "n": 1.5}, map[string]any{"typ": "Application/AT+JWT"})
			token, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := Header{Alg: alg, Kid: ring[alg].ID, HasKid: ring[alg].ID != "", Typ: "at+jwt"}
			if !reflect.DeepEqual(token.Header, want) || !reflect.DeepEqual(token.Claims, map[string]any{"sub": "svc", "n": json.Number("1.5")}) {
				t.Errorf("got %+v with %v", token.Header, token.Claims)
			}
			var by []*Key
			for _, k := range ring.keys(t) {
				if token.VerifySignature(k, everything) == nil {
					by = append(by, k)
				}
			}
			own := ring.key(t, alg)
			if len(by) == 0 || slices.ContainsFunc(by, func(k *Key) bool { return k.Thumbprint != own.Thumbprint }) {
				t.Errorf("%d keys verify it", len(by))
			}
			for _, other := range everything {
				if err := token.VerifySignature(own, []string{other}); (err == nil) != (other == alg) {
					t.Errorf("where %s is allowed: %v", other, err)
				}
				tied := *own
				if tied.Alg = other; (token.VerifySignature(&tied, everything) == nil) != (other == alg) {
					t.Errorf("with a key that is for %s", other)
				}
			}
			if token.VerifySignature(own, nil) == nil {
				t.Error("it verifies where nothing is allowed")
			}
		})
	}
}

// key is the verifier's key for an algorithm.
func (r keyring) key(t testing.TB, alg string) *Key {
	t.Helper()
	if r[alg].Private != nil {
		return publicKey(t, r[alg], "")
	}
	k, err := NewKey(r[alg].Secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestOurTokensVerifyElsewhere has golang-jwt's own parser read what Signer signs.
func TestOurTokensVerifyElsewhere(t *testing.T) {
	ring := newKeyring(t)
	for _, alg := range everything {
		t.Run(alg, func(t *testing.T) {
			s, err := NewHMACSigner([]byte(secretText), alg)
			if ring[alg].Private != nil {
				s, err = ParseSigner(ring[alg].PrivatePEM(), alg, "k1")
			}
			if err != nil {
				t.Fatal(err)
			}
			raw, err := s.Sign(map[string]any{"typ": "at+jwt", "alg": "none", "kid": "other"}, map[string]any{"sub": "svc", "exp": 33000000000})
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithStrictDecoding(), jwt.WithJSONNumber()).
				Parse(raw, func(*jwt.Token) (any, error) { return s.Public().Public, nil })
			if err != nil {
				t.Fatal(err)
			}
			header := map[string]any{"alg": alg, "typ": "at+jwt", "kid": "other"}
			if ring[alg].Private != nil {
				header["kid"] = "k1"
			}
			if !reflect.DeepEqual(parsed.Header, header) {
				t.Errorf("the header is %v, want %v", parsed.Header, header)
			}
			if sub, _ := parsed.Claims.GetSubject(); sub != "svc" {
				t.Errorf("the claims are %v", parsed.Claims)
			}
			if !verifies(raw, []*Key{s.Public()}, []string{s.Alg()}) {
				t.Error("it does not verify here")
			}
		})
	}
}
