package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// certificate is a new client certificate and its key, in PEM.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	return pair(t, rrtest.NewCA(t).Leaf(t, "client.example"))
}

func pair(t testing.TB, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func open(t testing.TB, ctx context.Context, url string, s Settings, o Options) *Endpoint {
	t.Helper()
	o.Policy.Trusted = true
	e, err := s.Open(ctx, url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func post(t testing.TB, e *Endpoint) (*fetch.Response, error) {
	t.Helper()
	return e.Post(t.Context(), url.Values{"token": {"a token"}}, 1<<10)
}

func TestPost(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	p.OnlyClient("a:b", "s3cret %")
	p.Introspectable("a token", map[string]any{"sub": "x"})
	e := open(t, t.Context(), p.IntrospectionURL(), settings(t, "client_id a:b", "client_secret s3cret %"), Options{Repeatable: true})
	res, err := post(t, e)
	if err != nil || res.Status != http.StatusOK {
		t.Fatal(res, err)
	}
	if answer, err := Object(res); err != nil || answer["active"] != true || answer["sub"] != "x" {
		t.Errorf("answer %v, %v", answer, err)
	}
	got := p.Introspections()[0]
	if got.Header.Get("Accept") != "application/json" || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || got.Form.Get("token") != "a token" {
		t.Errorf("the endpoint got %+v", got)
	}
	if _, sent := got.Header["Idempotency-Key"]; sent {
		t.Error("a header for net/http was sent")
	}
	e = open(t, t.Context(), p.IntrospectionURL(), settings(t, "client_id a:b", "client_secret another"), Options{})
	if res, err = post(t, e); err != nil {
		t.Fatal(err)
	}
	if text := FailureOf(res).Error(); text != "the endpoint answers 401 invalid_client" {
		t.Errorf("failure %q", text)
	}
}

func TestFailureOf(t *testing.T) {
	for _, tt := range []struct {
		body, wait, code string
		after            time.Duration
	}{
		{`{"error":"invalid_client","error_description":"s3cret"}`, "7", "invalid_client", 7 * time.Second},
		{`{"error":"s3cret token 17"}`, "99999", "", time.Minute},
		{`{"error":["x"]}`, "-1", "", 0},
		{`<html>`, "Fri, 31 Dec 1999 23:59:59 GMT", "", 0},
	} {
		f := FailureOf(&fetch.Response{Status: 400, Body: []byte(tt.body), Header: http.Header{"Retry-After": {tt.wait}}})
		if f.Code != tt.code || f.Wait != tt.after || strings.Contains(f.Error(), "s3cret") {
			t.Errorf("%s: %+v", tt.body, f)
		}
	}
}

// TestSecretsChange has every secret in a file, which changes while the endpoint is in use.
func TestSecretsChange(t *testing.T) {
	rrtest.NoLeak(t)
	ca, clients := rrtest.NewCA(t), rrtest.NewCA(t)
	p := idp.New(t, idp.TLS(ca.Leaf(t, "127.0.0.1")))
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return name + " {file." + filepath.Join(dir, name) + "}" }
	caText, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	first, second := clients.Leaf(t, "first"), clients.Leaf(t, "second")
	write("client_id", "id-1")
	write("client_secret", "secret-1")
	write("ca", string(caText))
	cert, key := pair(t, first)
	write("certificate", cert)
	write("key", key)
	expander := &secret.Expander{}
	var mu sync.Mutex
	var reports []string
	e := open(t, expander.Context(t.Context()), p.IntrospectionURL(),
		settings(t, file("client_id"), file("client_secret"), file("ca"), file("certificate"), file("key"), "client_auth post"),
		Options{Report: func(option string, err error) {
			mu.Lock()
			defer mu.Unlock()
			reports = append(reports, option+": "+err.Error())
		}})
	last := func() (string, string, string) {
		t.Helper()
		if _, err := post(t, e); err != nil {
			t.Fatal(err)
		}
		all := p.Introspections()
		got := all[len(all)-1]
		return got.Form.Get("client_id"), got.Form.Get("client_secret"), got.Certificate.Subject.CommonName
	}
	if id, secret, name := last(); id != "id-1" || secret != "secret-1" || name != "first" {
		t.Fatalf("%s %s %s", id, secret, name)
	}
	before := e.Print()
	if e.Print() != before {
		t.Error("Print changes by itself")
	}
	cert, key = pair(t, second)
	write("client_id", "id-2")
	write("client_secret", "secret-2")
	write("certificate", cert)
	write("key", key)
	expander.Poll()
	if id, secret, name := last(); id != "id-2" || secret != "secret-2" || name != "second" {
		t.Errorf("after a change: %s %s %s", id, secret, name)
	}
	if len(reports) > 0 {
		t.Errorf("a change of two files together is reported: %v", reports)
	}
	if e.Print() == before {
		t.Error("Print has not changed")
	}
	write("certificate", "nonsense")
	expander.Poll()
	if _, _, name := last(); name != "second" {
		t.Errorf("after a bad change: %s", name)
	}
	last()
	if len(reports) != 1 || !strings.HasPrefix(reports[0], "certificate, key or ca: ") {
		t.Errorf("reports %q, want one", reports)
	}
	// the server is another's now
	otherCA, err := os.ReadFile(clients.File)
	if err != nil {
		t.Fatal(err)
	}
	write("certificate", cert)
	write("ca", string(otherCA))
	expander.Poll()
	if _, err := post(t, e); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server that the CA does not vouch for: %v", err)
	}
}

func TestPrivateKeyChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key.pem")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pemKey(t, "ec"))
	expander := &secret.Expander{}
	reports := 0
	e := open(t, expander.Context(t.Context()), endpointURL,
		settings(t, "client_auth private_key_jwt", "client_id rr", "private_key {file."+path+"}"),
		Options{Report: func(string, error) { reports++ }})
	first := e.client().Signer
	write("nonsense")
	expander.Poll()
	if e.client().Signer != first || reports != 1 {
		t.Errorf("a bad key is used, or reported %d times", reports)
	}
	write(pemKey(t, "ec"))
	expander.Poll()
	if e.client().Signer == first {
		t.Error("the new key is not used")
	}
}

// TestCloseLeavesRequestsAlone: requests outlive the configuration that they came in with.
func TestCloseLeavesRequestsAlone(t *testing.T) {
	rrtest.NoLeak(t)
	arrived, leave := make(chan struct{}), make(chan struct{})
	u := rrtest.NewUpstream(t)
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		arrived <- struct{}{}
		<-leave
	}))
	e := open(t, t.Context(), u.URL, settings(t, "client_auth none"), Options{})
	results := make(chan error, 2)
	ask := func() {
		_, err := e.Post(context.Background(), url.Values{}, 10)
		results <- err
	}
	go ask()
	<-arrived
	e.Close()
	e.Close()
	go ask()
	<-arrived
	close(leave)
	if err := errors.Join(<-results, <-results); err != nil {
		t.Error(err)
	}
}

// TestRepeatable: a connection that the endpoint has closed in the meantime costs nobody
// an error.
func TestRepeatable(t *testing.T) {
	rrtest.NoLeak(t)
	u := rrtest.NewUpstream(t)
	closed := false
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		if len(u.Received()) == 2 { // the second request of the connection
			closed = true
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		_, _ = w.Write([]byte(`{}`))
	}))
	e := open(t, t.Context(), u.URL, settings(t, "client_auth none"), Options{Repeatable: true})
	for range 2 {
		if _, err := post(t, e); err != nil {
			t.Error(err)
		}
	}
	if !closed {
		t.Error("nothing was tried")
	}
}

func TestPostErrorsTellNoSecret(t *testing.T) {
	u := rrtest.NewUpstream(t)
	u.Handle("", http.RedirectHandler("https://elsewhere.example/?s3cret", http.StatusTemporaryRedirect))
	e := open(t, t.Context(), u.URL+"/?s3cret", settings(t, "client_id rr", "client_secret s3cret"), Options{})
	_, err := post(t, e)
	if !errors.Is(err, fetch.ErrRedirect) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a redirect: %v", err)
	}
}

// TestPrint: everything that decides what an endpoint answers decides the print too.
func TestPrint(t *testing.T) {
	cert, key := certificate(t)
	seen := map[[32]byte]string{}
	for _, options := range []string{
		"client_auth none", "client_auth none|client_id a", "client_auth none|client_id b",
		"client_id a|client_secret b", "client_id ab|client_secret c", "client_id a|client_secret bc", "client_id a|client_secret b|client_auth post",
		"client_id a|client_secret b|client_auth client_secret_jwt", "client_id a|client_secret b|client_auth client_secret_jwt|algorithm HS512",
		"client_id a|client_secret b|client_auth client_secret_jwt|assertion_audience c",
		"client_auth none|ca " + cert, "client_auth none|certificate " + cert + "|key " + key,
		"client_id a|client_auth private_key_jwt|private_key " + key, "client_id a|client_auth private_key_jwt|kid k|private_key " + key,
	} {
		for _, url := range []string{"https://a.example/", "https://b.example/"} {
			e := open(t, t.Context(), url, settings(t, strings.Split(options, "|")...), Options{})
			if old, twice := seen[e.Print()]; twice {
				t.Errorf("%.80s and %.80s are taken for the same", old, url+" "+options)
			}
			seen[e.Print()] = url + " " + options
		}
	}
}

// TestPostAssertion is the whole way of an assertion to an endpoint.
func TestPostAssertion(t *testing.T) {
	p := idp.New(t)
	key := pemKey(t, "rsa")
	e := open(t, t.Context(), p.IntrospectionURL(),
		settings(t, "client_auth private_key_jwt", "client_id rr", "private_key "+key, "kid key-1"), Options{})
	if _, err := post(t, e); err != nil {
		t.Fatal(err)
	}
	got := p.Introspections()[0]
	token, err := jose.Parse(got.Form.Get("client_assertion"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.ParseSigner([]byte(key), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := token.VerifySignature(s.Public(), []string{"RS256"}); err != nil || token.Header.Kid != "key-1" || token.Claims["aud"] != p.IntrospectionURL() {
		t.Errorf("%+v %v, %v", token.Header, token.Claims, err)
	}
	if got.Form.Get("token") != "a token" || got.Header.Get("Authorization") != "" {
		t.Errorf("the endpoint got %+v", got)
	}
}
