package oauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

const endpointURL = "https://as.example/introspect"

var at = time.Unix(1_800_000_000, 0)

// pemKey is a new private key in PEM.
func pemKey(t testing.TB, kind string) string {
	t.Helper()
	var key any
	var err error
	if kind == "rsa" {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func signer(t testing.TB, kind, alg, kid string) *jose.Signer {
	t.Helper()
	s, err := jose.ParseSigner([]byte(pemKey(t, kind)), alg, kid)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAuthorize(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client Client
		form   string // what is added
		header string // Authorization, decoded
		err    string
	}{
		{"basic is the default", Client{ID: "rr", Secret: "s3cret"}, "", "rr:s3cret", ""},
		{"basic by name", Client{ID: "rr", Secret: "s3cret", Auth: Basic}, "", "rr:s3cret", ""},
		{"basic encodes id and secret first", Client{ID: "a:b c", Secret: "p%+&=:ü/"}, "", "a%3Ab+c:p%25%2B%26%3D%3A%C3%BC%2F", ""},
		{"post", Client{ID: "a b", Secret: "p&q", Auth: Post}, "client_id=a+b&client_secret=p%26q", "", ""},
		{"mtls", Client{ID: "rr", Auth: MTLS}, "client_id=rr", "", ""},
		{"none", Client{ID: "rr", Auth: None}, "client_id=rr", "", ""},
		{"none without an id", Client{Auth: None}, "", "", ""},
		{"basic without a secret", Client{ID: "rr"}, "", "", "no id or no secret"},
		{"basic without an id", Client{Secret: "s3cret"}, "", "", "no id or no secret"},
		{"post without a secret", Client{ID: "rr", Auth: Post}, "", "", "no id or no secret"},
		{"mtls without an id", Client{Auth: MTLS}, "", "", "no id"},
		{"private_key_jwt without a key", Client{ID: "rr", Auth: PrivateKeyJWT}, "", "", "no id or no key"},
		{"client_secret_jwt without a secret", Client{ID: "rr", Auth: ClientSecretJWT}, "", "", "empty secret"},
		{"an unknown way", Client{ID: "rr", Secret: "s3cret", Auth: "digest"}, "", "", "private_key_jwt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			form, header := url.Values{"token": {"t"}}, http.Header{}
			err := tt.client.Authorize(endpointURL, form, header)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if form.Get("token") != "t" {
				t.Error("the form has lost what was in it")
			}
			form.Del("token")
			if got := form.Encode(); got != tt.form {
				t.Errorf("the form got %q, want %q", got, tt.form)
			}
			text, ok := strings.CutPrefix(header.Get("Authorization"), "Basic ")
			raw, err := base64.StdEncoding.DecodeString(text)
			if string(raw) != tt.header || err != nil || ok != (tt.header != "") {
				t.Errorf("Authorization is %q (%v), want %q", raw, err, tt.header)
			}
		})
	}
}

func TestAssertions(t *testing.T) {
	rsaKey, ecKey := signer(t, "rsa", "PS256", "key-1"), signer(t, "ec", "", "")
	secret := strings.Repeat("s3cret-", 6)
	hmac := &jose.Key{Public: []byte(secret)}
	for _, tt := range []struct {
		name     string
		client   Client
		key      *jose.Key
		alg, kid string
		aud      string
	}{
		{"RSA", Client{Auth: PrivateKeyJWT, Signer: rsaKey}, rsaKey.Public(), "PS256", "key-1", endpointURL},
		{"elliptic curve", Client{Auth: PrivateKeyJWT, Signer: ecKey}, ecKey.Public(), "ES256", "", endpointURL},
		{"another audience", Client{Auth: PrivateKeyJWT, Signer: ecKey, Audience: "https://as.example/"}, ecKey.Public(), "ES256", "", "https://as.example/"},
		{"secret", Client{Auth: ClientSecretJWT, Secret: secret}, hmac, "HS256", "", endpointURL},
		{"secret, another algorithm", Client{Auth: ClientSecretJWT, Secret: secret, Algorithm: "HS512"}, hmac, "HS512", "", endpointURL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.ID, tt.client.Now = "rr", func() time.Time { return at }
			seen := map[string]bool{}
			for range 2 {
				form, header := url.Values{}, http.Header{}
				if err := tt.client.Authorize(endpointURL, form, header); err != nil {
					t.Fatal(err)
				}
				if form.Get("client_id") != "rr" || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || len(header) > 0 || form.Has("client_secret") {
					t.Errorf("form %v, header %v", form, header)
				}
				token, err := jose.Parse(form.Get("client_assertion"))
				if err != nil {
					t.Fatal(err)
				}
				if err := token.VerifySignature(tt.key, []string{tt.alg}); err != nil || token.Header.Kid != tt.kid || token.Header.HasKid != (tt.kid != "") {
					t.Errorf("header %+v, %v", token.Header, err)
				}
				jti, _ := token.Claims["jti"].(string)
				if len(jti) < 22 || seen[jti] {
					t.Errorf("jti %q is not a new random one", jti)
				}
				seen[jti] = true
				delete(token.Claims, "jti")
				want := `{"aud":"` + tt.aud + `","exp":1800000060,"iat":1800000000,"iss":"rr","sub":"rr"}`
				if got, _ := json.Marshal(token.Claims); string(got) != want {
					t.Errorf("claims %s, want %s", got, want)
				}
			}
		})
	}
}
