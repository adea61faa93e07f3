package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

const clientSecret = "s3cret of the client: 0123456789abcdef"

var local = Options{Policy: fetch.Policy{Trusted: true}}

func openTokens(t testing.TB, s Settings, address, issuer string, o Options) *TokenEndpoint {
	t.Helper()
	e, err := s.OpenTokens(t.Context(), address, issuer, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func own(string) (url.Values, error) { return (&Ask{Scopes: []string{"read"}}).Own(), nil }

// TestClientsAuthenticate has an endpoint that takes each client in one way only.
func TestClientsAuthenticate(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert := ca.Client(t, nil)
	certPEM, keyPEM := pair(t, cert)
	key := idp.NewKey(t, "PS256", "key-1")
	s := idp.NewTLSTokens(t, ca.Leaf(t, "127.0.0.1"),
		idp.TokenClient{ID: "basic: ü", Auth: "client_secret_basic", Secret: clientSecret},
		idp.TokenClient{ID: "post", Auth: "client_secret_post", Secret: clientSecret},
		idp.TokenClient{ID: "hmac", Auth: "client_secret_jwt", Secret: clientSecret},
		idp.TokenClient{ID: "jwt", Auth: "private_key_jwt", Key: key},
		idp.TokenClient{ID: "mtls", Auth: "tls_client_auth", Certificate: leaf(t, cert)},
		idp.TokenClient{ID: "public", Auth: "none"})
	options := map[string][]string{
		"basic":             {"client_id basic: ü", "client_secret " + clientSecret},
		"post":              {"client_id post", "client_secret " + clientSecret},
		"client_secret_jwt": {"client_id hmac", "client_secret " + clientSecret},
		"private_key_jwt":   {"client_id jwt", "private_key " + string(key.PrivatePEM()), "algorithm PS256", "kid key-1"},
		"mtls":              {"client_id mtls", "certificate " + certPEM, "key " + keyPEM},
		"none":              {"client_id public"},
	}
	if len(options) != len(Methods) {
		t.Fatal("a way is missing")
	}
	for method, list := range options {
		list = append(list, "client_auth "+method, "ca "+file(t, ca.File))
		for _, where := range [][2]string{{s.URL(), ""}, {"", s.Issuer}} {
			e := openTokens(t, settings(t, list...), where[0], where[1], local)
			token, err := e.Ask(t.Context(), own)
			if err != nil || !s.Good("Bearer "+token.Value) || token.Life != time.Hour {
				t.Errorf("%s at %q: %v", method, where, err)
			}
		}
		// in no other way
		for other, theirs := range options {
			if other == method || method == "none" && other == "mtls" { // the same, but for a certificate that nobody wants
				continue
			}
			wrong := append([]string{"client_auth " + other, "ca " + file(t, ca.File), list[0]}, theirs[1:]...)
			e := openTokens(t, settings(t, wrong...), s.URL(), "", local)
			_, err := e.Ask(t.Context(), own)
			if f := (*Failure)(nil); !errors.As(err, &f) || f.Code != "invalid_client" || strings.Contains(err.Error(), clientSecret) {
				t.Errorf("%s by %s: %v", method, other, err)
			}
		}
	}
	for n, r := range s.Requests() {
		if r.Header.Get("Accept") != "application/json" {
			t.Errorf("request %d accepts %q", n, r.Header.Get("Accept"))
		}
	}
}

func file(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDiscovery(t *testing.T) {
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "none"})
	other := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "none"})
	document := func(members map[string]any) []byte {
		all := map[string]any{"issuer": s.Issuer, "token_endpoint": s.URL()}
		for name, v := range members {
			all[name] = v
		}
		raw, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, tt := range []struct {
		name     string
		metadata []byte
		err      string
	}{
		{"right", document(nil), ""},
		{"another issuer", document(map[string]any{"issuer": "https://evil.example"}), `of the issuer "https://evil.example"`},
		{"a slash more", document(map[string]any{"issuer": s.Issuer + "/"}), "mind the slash"},
		{"no issuer", document(map[string]any{"issuer": nil}), "of the issuer"},
		{"no endpoint", document(map[string]any{"token_endpoint": nil}), "have no token_endpoint"},
		{"http elsewhere", document(map[string]any{"token_endpoint": "http://192.0.2.1/token"}), "token_endpoint: "},
		{"a member twice", []byte(`{"issuer":"` + s.Issuer + `","issuer":"x","token_endpoint":"y"}`), "member twice"},
		{"a page", []byte("<html>"), "not valid JSON"},
		// the operator's trust is for the issuer's own host
		{"another machine of ours", document(map[string]any{"token_endpoint": other.URL()}), "is private"},
		{"a metadata service", document(map[string]any{"token_endpoint": "https://169.254.169.254/token"}), "metadata service"},
	} {
		s.Metadata(tt.metadata)
		e := openTokens(t, settings(t, "client_auth none", "client_id rr"), "", s.Issuer, local)
		token, err := e.Ask(t.Context(), own)
		if tt.err == "" && (err != nil || token == nil) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if other.Count() != 0 {
		t.Error("a private address was asked in the name of another")
	}
	allowed := local
	allowed.Policy.Allow = append(allowed.Policy.Allow, loopback(t))
	s.Metadata(document(map[string]any{"token_endpoint": other.URL()}))
	e := openTokens(t, settings(t, "client_auth none", "client_id rr"), "", s.Issuer, allowed)
	if _, err := e.Ask(t.Context(), own); err != nil || other.Count() != 1 {
		t.Errorf("an allowed address: %v", err)
	}
	for _, issuer := range []string{"http://as.example", "https://as.example?x=y", "https://as.example#x", "as.example", ""} {
		settings := settings(t, "client_auth none")
		if _, err := settings.OpenTokens(t.Context(), "", issuer, local); err == nil {
			t.Errorf("the issuer %q is taken", issuer)
		}
	}
}

// TestMetadataAreKept: they are fetched once, again after an hour or a failure that may
// mean that the endpoint has moved; and old ones are better than none.
func TestMetadataAreKept(t *testing.T) {
	now, fetched := at, 0
	u := rrtest.NewUpstream(t)
	status, place := 200, "/token"
	u.Handle(idp.PathOpenID, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched++
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, u.URL, u.URL+place)
	}))
	u.Handle("/token", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"access_token":"a"}`) }))
	u.Handle("/moved", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
	}))
	u.Handle("/gone", http.NotFoundHandler())
	o := local
	o.Now = func() time.Time { return now }
	e := openTokens(t, settings(t, "client_auth none"), "", u.URL, o)
	ask := func(want string, fetches int) {
		t.Helper()
		_, err := e.Ask(t.Context(), own)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
		if fetched != fetches {
			t.Errorf("fetched %d times, want %d", fetched, fetches)
		}
	}
	ask("", 1)
	ask("", 1)
	now = now.Add(metadataLife)
	ask("", 2)
	now, status = now.Add(metadataLife), 500
	ask("", 3)
	status, place = 200, "/moved"
	ask("invalid_client", 4)
	ask("invalid_client", 4)
	now, place = now.Add(metadataLife), "/gone"
	ask("answers 404", 5)
	place = "/token"
	ask("", 6)
}

// TestCertificateEndpoint: clients with certificates may have an endpoint of their own
// (RFC 8705 section 5).
func TestCertificateEndpoint(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert := ca.Client(t, nil)
	certPEM, keyPEM := pair(t, cert)
	s := idp.NewTLSTokens(t, ca.Leaf(t, "127.0.0.1"), idp.TokenClient{ID: "rr", Auth: "tls_client_auth", Certificate: leaf(t, cert)})
	front := idp.NewTokens(t)
	front.Metadata([]byte(`{"issuer":"` + front.Issuer + `","token_endpoint":"` + front.URL() + `","mtls_endpoint_aliases":{"token_endpoint":"` + s.URL() + `"}}`))
	o := local
	o.Policy.Allow = append(o.Policy.Allow, loopback(t))
	e := openTokens(t, settings(t, "client_auth mtls", "client_id rr", "certificate "+certPEM, "key "+keyPEM, "ca "+file(t, ca.File)), "", front.Issuer, o)
	if _, err := e.Ask(t.Context(), own); err != nil || s.Count() != 1 || front.Count() != 0 {
		t.Errorf("%v; %d and %d requests", err, s.Count(), front.Count())
	}
}

func TestErrorsOfTheEndpoint(t *testing.T) {
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: clientSecret})
	e := openTokens(t, settings(t, "client_id rr", "client_secret "+clientSecret), s.URL(), "", local)
	host := strings.TrimPrefix(s.Issuer, "http://")
	asking := func(ctx context.Context) string {
		_, err := e.Ask(ctx, own)
		if err == nil {
			return "no error"
		}
		return err.Error()
	}
	s.Status(302, "Location", "https://evil.example/?"+clientSecret)
	if got, want := asking(t.Context()), "token endpoint: "+host+`: status 302 to "evil.example": redirects are not followed`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.Raw("text/html", "<html>"+clientSecret)
	if got, want := asking(t.Context()), "token endpoint: "+host+": the endpoint's answer is a web page, not JSON: is it the right URL?"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.Raw("application/json", `{"access_token":"`+strings.Repeat("x", maxTokenAnswer)+`"}`)
	if got := asking(t.Context()); !strings.Contains(got, fetch.ErrTooLarge.Error()) {
		t.Error(got)
	}
	resume := s.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, want := asking(ctx), "token endpoint: "+host+": "+context.DeadlineExceeded.Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	resume()
	if got := asking(t.Context()); got != "no error" {
		t.Error(got)
	}
	s.Down()
	_ = asking(t.Context()) // the connection may look alive
	if got := asking(t.Context()); !strings.Contains(got, "refused") {
		t.Error(got)
	}
	if _, err := e.Ask(t.Context(), func(string) (url.Values, error) { return nil, errDisk }); !errors.Is(err, errDisk) {
		t.Error(err)
	}
}

// TestSecretsOfTheEndpoint: who uses it can follow them.
func TestSecretsOfTheEndpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	expander := &secret.Expander{}
	s := settings(t, "client_id rr", "client_secret {file."+path+"}")
	e, err := s.OpenTokens(expander.Context(t.Context()), "https://as.example/token", "", local)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var seen []string
	e.Secrets()["client_secret"].OnChange(func(v string) { seen = append(seen, v) })
	if err := os.WriteFile(path, []byte("two, longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	expander.Poll()
	if strings.Join(seen, "|") != "one|two, longer" || e.Secrets()["client_id"].Get() != "rr" || e.Secrets()["private_key"].Get() != "" {
		t.Errorf("seen %q", seen)
	}
}

func leaf(t testing.TB, c tls.Certificate) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func loopback(t testing.TB) netip.Prefix {
	t.Helper()
	return netip.MustParsePrefix("127.0.0.0/8")
}
