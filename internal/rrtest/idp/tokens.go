package idp

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Paths of Tokens.
const (
	PathToken     = "/token"
	PathAuthorize = "/authorize"
)

// Tokens is an authorization server on loopback, apart from Provider: a token endpoint
// that checks who asks and for what (RFC 6749, 7523, 8693), replaces refresh tokens and
// sees when one comes twice, and an authorization endpoint where everybody consents. Faults
// can be switched on. It stops with the test; all methods may be called while it serves.
type Tokens struct {
	// Issuer is the server's name and address, without a slash at the end.
	Issuer string

	server *httptest.Server

	mu       sync.Mutex
	clients  map[string]*TokenClient
	metadata []byte
	fault    http.HandlerFunc
	members  map[string]any
	rotates  bool
	requests []TokenRequest
	issued   map[string]bool // access tokens that are good
	refresh  map[string]*family
	codes    map[string]consent
	reused   int
}

// TokenClient is a client of Tokens.
type TokenClient struct {
	ID string
	// Auth is the one way in which the client has to authenticate, as RFC 8414 names it:
	// client_secret_basic, client_secret_post, client_secret_jwt, private_key_jwt,
	// tls_client_auth or none.
	Auth   string
	Secret string
	// Key is for private_key_jwt, and for assertions of which the client is the issuer.
	Key *Key
	// Certificate is for tls_client_auth.
	Certificate *x509.Certificate
}

// TokenRequest is a request to the token endpoint.
type TokenRequest struct {
	Form   url.Values
	Header http.Header
	// Certificate is the client's, nil without TLS or without one.
	Certificate *x509.Certificate
}

// family are a refresh token and those that replaced it.
type family struct {
	client  string
	current string
	revoked bool
}

// consent is a code that was given out.
type consent struct{ client, redirect, challenge string }

// NewTokens starts an authorization server with these clients, over http.
func NewTokens(t testing.TB, clients ...TokenClient) *Tokens {
	t.Helper()
	return newTokens(t, (*httptest.Server).Start, clients)
}

// NewTLSTokens is NewTokens over https with a certificate that is good for 127.0.0.1.
// Clients may show one of their own.
func NewTLSTokens(t testing.TB, certificate tls.Certificate, clients ...TokenClient) *Tokens {
	t.Helper()
	return newTokens(t, func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequestClientCert}
		s.StartTLS()
	}, clients)
}

func newTokens(t testing.TB, start func(*httptest.Server), clients []TokenClient) *Tokens {
	s := &Tokens{
		clients: map[string]*TokenClient{}, issued: map[string]bool{},
		refresh: map[string]*family{}, codes: map[string]consent{},
		members: map[string]any{"token_type": "Bearer", "expires_in": 3600},
	}
	for _, c := range clients {
		s.clients[c.ID] = &c
	}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that break off, as they shall
	start(s.server)
	s.Issuer = s.server.URL
	t.Cleanup(s.Down)
	return s
}

// URL is the token endpoint.
func (s *Tokens) URL() string { return s.Issuer + PathToken }

// Down ends all connections and refuses new ones.
func (s *Tokens) Down() {
	s.server.CloseClientConnections() // whoever hangs is let go
	s.server.Close()
}

// Members are put over those of answers with a token; one that is nil is left out.
func (s *Tokens) Members(members map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.members, members)
}

// Rotate has every use of a refresh token give another one. The old one is refused, and
// ends the grant: it must have been stolen (RFC 9700 section 4.14.2).
func (s *Tokens) Rotate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotates = true
}

// Metadata answers with these bytes for both discovery documents.
func (s *Tokens) Metadata(raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metadata = raw
}

// Grant makes a refresh token for a client.
func (s *Tokens) Grant(client string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &family{client: client}
	return s.next(f)
}

// Current is the refresh token that has taken the place of token; "" if the grant has
// ended.
func (s *Tokens) Current(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.refresh[token]; f != nil && !f.revoked {
		return f.current
	}
	return ""
}

// Reused is how often a refresh token came that had been replaced.
func (s *Tokens) Reused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reused
}

// Good tells whether an Authorization header has an access token that is good.
func (s *Tokens) Good(authorization string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, token, _ := strings.Cut(authorization, " ")
	return s.issued[token]
}

// RevokeAll makes all access tokens so far useless.
func (s *Tokens) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.issued)
}

// Requests are the requests to the token endpoint so far, oldest first.
func (s *Tokens) Requests() []TokenRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Count is how many requests to the token endpoint there were.
func (s *Tokens) Count() int { return len(s.Requests()) }

// Last is the newest request's form, nil if there was none.
func (s *Tokens) Last() url.Values {
	all := s.Requests()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1].Form
}

// WaitCount waits until the token endpoint was asked n times.
func (s *Tokens) WaitCount(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(patience); s.Count() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the token endpoint was asked %d times within %s, not %d", s.Count(), patience, n)
		}
	}
}

func (s *Tokens) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case PathToken:
		s.token(w, r)
	case PathAuthorize:
		s.authorize(w, r)
	case PathOpenID, PathOAuth:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.document())
	default:
		http.NotFound(w, r)
	}
}

func (s *Tokens) document() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.metadata != nil {
		return s.metadata
	}
	return mustJSON(map[string]any{
		"issuer": s.Issuer, "token_endpoint": s.URL(), "authorization_endpoint": s.Issuer + PathAuthorize,
		"authorization_response_iss_parameter_supported": true,
	})
}

// token records a request and answers it, or has the fault answer.
func (s *Tokens) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		http.Error(w, "a POST with a form is wanted", http.StatusBadRequest)
		return
	}
	request := TokenRequest{Form: r.PostForm, Header: r.Header.Clone()}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		request.Certificate = r.TLS.PeerCertificates[0]
	}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	s.answer(w, r)
}

func (s *Tokens) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	client, err := s.client(r)
	if err != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="idp"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write(mustJSON(map[string]any{"error": "invalid_client", "error_description": err}))
		return
	}
	members, code, description := s.give(client, r.PostForm)
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write(mustJSON(map[string]any{"error": code, "error_description": description}))
		return
	}
	token := "at-" + rand.Text()
	s.issued[token] = true
	_, _ = w.Write(mustJSON(overlay(overlay(map[string]any{"access_token": token}, members), s.members)))
}
