// Package idp is an identity provider for tests, in this process: discovery and key set
// documents, signed tokens of every kind, well-formed or not, token introspection and
// DPoP proofs. Faults can be switched on: it is down, hangs, answers with an error or
// with any bytes. It signs with the standard library alone, so that tests do not check
// the gateway's code with itself.
package idp

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/loopback"
)

// Paths of the provider, below the path of its issuer.
const (
	PathOpenID = "/.well-known/openid-configuration"       // OpenID Connect Discovery 1.0
	PathOAuth  = "/.well-known/oauth-authorization-server" // RFC 8414
	PathJWKS   = "/jwks"
	// PathIntrospection is for RFC 7662.
	PathIntrospection = "/introspect"
)

// patience bounds every wait: a test that needs longer has hung.
const patience = 10 * time.Second

// Provider is an identity provider on loopback. It stops with the test. All methods may
// be called while it serves.
type Provider struct {
	t      testing.TB
	scheme string
	path   string
	now    func() time.Time
	server loopback.Server

	mu      sync.Mutex
	issuer  string
	slash   bool
	noOIDC  bool
	noOAuth bool
	keys    []*Key // published, newest last
	signers map[string]*Key
	faults  faults
	counts  map[string]int
	intro   introspection
}

// Option changes what New makes.
type Option func(*Provider)

// TLS serves https with this certificate, which has to be good for 127.0.0.1. Clients may
// send a certificate of their own; nobody checks it, Introspections tells it.
func TLS(certificate tls.Certificate) Option {
	return func(p *Provider) {
		p.scheme = "https"
		p.server.TLS = &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert,
		}
	}
}

// Path puts the provider below a path, such as /tenant-1, which is then in its issuer.
// RFC 8414 puts that path behind the well-known one, OpenID Connect in front of it.
func Path(path string) Option {
	return func(p *Provider) { p.path = path }
}

// Issuer makes the provider call itself by another name than its URL.
func Issuer(issuer string) Option {
	return func(p *Provider) { p.issuer = issuer }
}

// Slash puts a slash at the end of the issuer, as some providers have it.
func Slash() Option {
	return func(p *Provider) { p.slash = true }
}

// Only leaves one discovery document, PathOpenID or PathOAuth; the other path answers 404.
func Only(path string) Option {
	return func(p *Provider) { p.noOIDC, p.noOAuth = path != PathOpenID, path != PathOAuth }
}

// Clock is what the provider takes for the time.
func Clock(now func() time.Time) Option {
	return func(p *Provider) { p.now = now }
}

// New starts a provider at a free port of 127.0.0.1, over http unless TLS says otherwise.
// It has no keys yet.
func New(t testing.TB, options ...Option) *Provider {
	t.Helper()
	p := &Provider{
		t: t, scheme: "http", now: time.Now,
		signers: map[string]*Key{}, counts: map[string]int{},
		intro: introspection{tokens: map[string]map[string]any{}},
	}
	for _, o := range options {
		o(p)
	}
	p.server.Handler = http.HandlerFunc(p.serve)
	p.Up()
	if p.issuer == "" {
		p.issuer = p.URL()
	}
	if p.slash {
		p.issuer += "/"
	}
	t.Cleanup(p.Down)
	return p
}

// URL is where the provider is, with its path and without a slash at the end.
func (p *Provider) URL() string { return p.scheme + "://" + p.server.Addr() + p.path }

// Issuer is the provider's name for itself, the `iss` of its tokens.
func (p *Provider) Issuer() string { return p.issuer }

// JWKSURL is where the key set is.
func (p *Provider) JWKSURL() string { return p.URL() + PathJWKS }

// IntrospectionURL is where tokens are introspected.
func (p *Provider) IntrospectionURL() string { return p.URL() + PathIntrospection }

// Up starts the provider again, at the same port. It does nothing when it is up.
func (p *Provider) Up() {
	p.t.Helper()
	if err := p.server.Up(); err != nil {
		p.t.Fatalf("the identity provider does not start: %v", err)
	}
}

// Down refuses connections, as a provider that is not there, and ends the ones there are.
func (p *Provider) Down() { p.server.Down() }

// serve counts the request, applies the faults and answers.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	name, known := p.document(r.URL.Path)
	p.mu.Lock()
	if known {
		p.counts[name]++
	}
	hang := p.faults.hang
	p.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	p.mu.Lock()
	f := p.faults
	p.mu.Unlock()
	switch {
	case f.status != 0:
		for name, values := range f.header {
			w.Header()[name] = values
		}
		w.WriteHeader(f.status)
	case !known:
		http.NotFound(w, r)
	case name == PathIntrospection:
		p.introspect(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		if f.cacheControl != "" {
			w.Header().Set("Cache-Control", f.cacheControl)
		}
		_, _ = w.Write(p.text(name))
	}
}

// document is which of the provider's paths is asked for.
func (p *Provider) document(path string) (name string, known bool) {
	switch {
	case path == PathOAuth+p.path && !p.noOAuth:
		return PathOAuth, true
	case path == p.path+PathOpenID && !p.noOIDC:
		return PathOpenID, true
	}
	rest, below := strings.CutPrefix(path, p.path)
	return rest, below && (rest == PathJWKS || rest == PathIntrospection)
}

// text is what stands at a path.
func (p *Provider) text(name string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if raw, other := p.faults.raw[name]; other {
		return raw
	}
	if name == PathJWKS {
		keys := make([]map[string]any, 0, len(p.keys)) // not null when there are none
		for _, k := range p.keys {
			keys = append(keys, k.JWK())
		}
		return mustJSON(map[string]any{"keys": keys})
	}
	return mustJSON(map[string]any{
		"issuer": p.issuer, "jwks_uri": p.JWKSURL(), "introspection_endpoint": p.IntrospectionURL(),
		"token_endpoint":           p.URL() + "/token",
		"authorization_endpoint":   p.URL() + "/authorize",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": p.algorithms(),
	})
}

func (p *Provider) algorithms() []string {
	algs := []string{}
	for _, k := range p.keys {
		if !slices.Contains(algs, k.Alg) {
			algs = append(algs, k.Alg)
		}
	}
	return algs
}

// mustJSON encodes what has no member that JSON lacks.
func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
