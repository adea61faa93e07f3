package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/verify"
)

func request(t *testing.T, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test/?q=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// TestCallersAreRecognised has the kinds recognise what bodies said in clear, by the hashes
// that are kept.
func TestCallersAreRecognised(t *testing.T) {
	for _, tt := range []struct {
		authType string
		secret   object
		right    []string
		wrong    []string
	}{
		{"key", object{"key": canary}, []string{"X-Api-Key", canary}, []string{"X-Api-Key", canary + "x"}},
		{"key", object{"keys": []string{canary, canary + "2"}, "header": "X-K", "prefix": "Token"}, []string{"X-K", "Token " + canary + "2"}, []string{"X-Api-Key", canary}},
		{"bearer", object{"token": canary}, []string{"Authorization", "Bearer " + canary}, []string{"Authorization", "Bearer x"}},
		{"bearer", object{"token": "{env.HOME}", "prefix": "Token"}, []string{"Authorization", "Token {env.HOME}"}, []string{"Authorization", "Bearer {env.HOME}"}},
		{"jwt", object{"token": canary}, []string{"Authorization", canary}, []string{"Authorization", "Bearer x"}},
		{"basic", object{"username": "svc", "password": canary}, []string{"Authorization", "Basic c3ZjOkNBTkFSWS03ZjNhMWMwZTkxYmQyMmFh"}, []string{"Authorization", "Basic c3ZjOng="}},
	} {
		c, _ := made(t, credential("proxy", tt.authType, tt.secret))
		guest, err := load(t, c)
		if err != nil {
			t.Fatal(err)
		}
		v := guest.(verify.Verifier)
		if _, err := v.Verify(request(t, tt.right...)); err != nil {
			t.Errorf("%s: %v", tt.authType, err)
		}
		if _, err := v.Verify(request(t, tt.wrong...)); err == nil {
			t.Errorf("%s: something else was recognised", tt.authType)
		}
	}
}

// TestUpstreamsGetTheTextOfTheBody is also that nothing in it is taken for a placeholder.
func TestUpstreamsGetTheTextOfTheBody(t *testing.T) {
	const text = "a{env.HOME}b{file./etc/hostname}{http.auth.user.id}"
	for _, tt := range []struct {
		authType     string
		secret       object
		header, want string
	}{
		{"key", object{"key": text}, "X-Api-Key", text},
		{"apiKey", object{"key": "{env.HOME}", "header": "X-K", "prefix": "Token"}, "X-K", "Token {env.HOME}"},
		{"bearer", object{"token": text}, "Authorization", "Bearer " + text},
		{"basicAuth", object{"username": "{env.HOME}", "password": "{env.HOME}"}, "Authorization", "Basic e2Vudi5IT01FfTp7ZW52LkhPTUV9"},
		{"jwt", object{"token": text, "header": "X-T"}, "X-T", text},
		{"custom", object{"headers": object{"X-A": text}}, "X-A", text},
	} {
		c, _ := made(t, credential("target", tt.authType, tt.secret))
		guest, err := load(t, c)
		if err != nil {
			t.Fatal(err)
		}
		r := request(t)
		if err := guest.(inject.Injector).Inject(r); err != nil || r.Header.Get(tt.header) != tt.want {
			t.Errorf("%s: the upstream gets %q, %v", tt.authType, r.Header, err)
		}
	}
}

// TestClaimsAreText mints a token of claims that look like placeholders.
func TestClaimsAreText(t *testing.T) {
	claims := object{"iss": "{env.HOME}", "sub": "{http.auth.user.sub}", "deep": object{"list": []string{"{file./etc/hostname}"}}}
	c, _ := made(t, credential("target", "jwt", object{"secret": canary + canary, "claims": claims, "omit": []string{"iat", "nbf", "jti"}}))
	guest, err := load(t, c)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t)
	if err := guest.(inject.Injector).Inject(r); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(r.Header.Get("Authorization"), ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %q", r.Header)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var got object
	if err != nil || json.Unmarshal(payload, &got) != nil {
		t.Fatal(err)
	}
	delete(got, "exp")
	same(t, got, claims)
}
