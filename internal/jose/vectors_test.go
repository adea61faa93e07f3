package jose

import (
	"encoding/json"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// parseJWK reads a JWK as it stands in an RFC, without its private members.
func parseJWK(t *testing.T, text string) *Key {
	t.Helper()
	member, err := strictjson.Object([]byte(text), strictjson.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseJWK(member)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// The claims of RFC 7515 appendix A.
const rfcClaims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

// TestTokensOfRFC7515 are the signatures of appendix A.1 to A.3, by value.
func TestTokensOfRFC7515(t *testing.T) {
	secret, err := decode64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	shared, err := NewKey(secret, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		header, signature string
		key               *Key
		alg, typ          string
	}{
		"A.1 HS256": {
			"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", shared, "HS256", "jwt",
		},
		"A.2 RS256": {
			"eyJhbGciOiJSUzI1NiJ9",
			"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4" +
				"BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv" +
				"hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
			parseJWK(t, `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`),
			"RS256", "",
		},
		"A.3 ES256": {
			"eyJhbGciOiJFUzI1NiJ9", "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
			parseJWK(t, `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`),
			"ES256", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := Parse(c.header + "." + rfcClaims + "." + c.signature)
			if err != nil {
				t.Fatal(err)
			}
			if h := token.Header; h.Alg != c.alg || h.Typ != c.typ || h.HasKid || h.JWK != nil {
				t.Errorf("the header is %+v", h)
			}
			if token.Claims["iss"] != "joe" || token.Claims["exp"] != json.Number("1300819380") || token.Claims["http://example.com/is_root"] != true {
				t.Errorf("the claims are %v", token.Claims)
			}
			if err := token.VerifySignature(c.key, everything); err != nil {
				t.Error(err)
			}
			if err := token.VerifySignature(c.key, []string{"PS256", "ES384", "HS512"}); err == nil {
				t.Error("it verifies where its algorithm is not allowed")
			}
		})
	}
}

// TestEd25519OfRFC8037 is the signature of appendix A.4, whose payload is no token.
func TestEd25519OfRFC8037(t *testing.T) {
	const header, payload = "eyJhbGciOiJFZERTQSJ9", "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	const signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	const x = `"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	if _, err := Parse(header + "." + payload + "." + signature); err == nil {
		t.Error("a payload that is not JSON is taken for claims")
	}
	b, err := decode64(signature)
	if err != nil {
		t.Fatal(err)
	}
	token := &Token{Header: Header{Alg: "EdDSA"}, signed: header + "." + payload, signature: b}
	if err := token.VerifySignature(parseJWK(t, "{"+x+"}"), Asymmetric); err != nil {
		t.Error(err)
	}
	s, err := ParseSigner([]byte(`{`+x+`,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := token.VerifySignature(s.Public(), []string{s.Alg()}); err != nil {
		t.Error(err)
	}
}

// TestThumbprints are those of RFC 7638 section 3.1 and RFC 8037 appendix A.3, and for
// elliptic curves and secrets, which no RFC has one of, of the form that section 3.2 says.
func TestThumbprints(t *testing.T) {
	const n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
	for jwk, want := range map[string]string{
		`{"kty":"RSA","n":"` + n + `","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`:       "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
		`{"kty":"RSA","n":"` + n + `","e":"AAEAAQ"}`:                                      "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", // whatever the spelling
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
	} {
		if got := parseJWK(t, jwk).ThumbprintText(); got != want {
			t.Errorf("%s: %s, want %s", jwk, got, want)
		}
	}
	ring := newKeyring(t)
	for alg, k := range ring {
		if k.Private == nil {
			continue
		}
		if got, want := publicKey(t, k, "").ThumbprintText(), k.Thumbprint(); got != want {
			t.Errorf("%s: %s, want %s", alg, got, want)
		}
	}
}
