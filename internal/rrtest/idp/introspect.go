package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"maps"
	"net/http"
	"net/url"
	"slices"
)

// introspection is the state of the endpoint of RFC 7662.
type introspection struct {
	tokens     map[string]map[string]any
	id, secret string // of the client that may ask; "": anybody
	requests   []Introspection
}

// Introspection is a request to the introspection endpoint.
type Introspection struct {
	Form   url.Values
	Header http.Header
	// Certificate is the client's, nil without TLS or without one.
	Certificate *x509.Certificate
}

// OnlyClient lets nobody introspect but this client, by HTTP Basic or by parameters (RFC
// 6749 section 2.3.1). Without it anybody may, and Introspections tells by what means.
func (p *Provider) OnlyClient(id, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intro.id, p.intro.secret = id, secret
}

// Opaque makes a token that only introspection explains. The answer has the members of
// Claims, with those given over them; one that is nil is left out.
func (p *Provider) Opaque(claims map[string]any) string {
	token := rand.Text()
	p.Introspectable(token, p.Claims(claims))
	return token
}

// Introspectable makes a token active, any string, with these members in the answer.
func (p *Provider) Introspectable(token string, claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intro.tokens[token] = claims
}

// Revoke makes a token inactive.
func (p *Provider) Revoke(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.intro.tokens, token)
}

// Introspections are the requests to the introspection endpoint, oldest first.
func (p *Provider) Introspections() []Introspection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.intro.requests)
}

// introspect answers as RFC 7662 section 2.2 says.
func (p *Provider) introspect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request := Introspection{Form: r.PostForm, Header: r.Header.Clone()}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		request.Certificate = r.TLS.PeerCertificates[0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intro.requests = append(p.intro.requests, request)
	w.Header().Set("Content-Type", "application/json")
	if raw, other := p.faults.raw[PathIntrospection]; other {
		_, _ = w.Write(raw)
		return
	}
	if !p.intro.allows(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="idp"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		return
	}
	claims, active := p.intro.tokens[r.PostForm.Get("token")]
	if exp, ok := claims["exp"].(int64); ok && p.now().Unix() >= exp {
		active = false
	}
	answer := map[string]any{"active": active}
	if active {
		maps.Copy(answer, claims)
	}
	_, _ = w.Write(mustJSON(answer))
}

// allows tells whether the request is the client's.
func (i *introspection) allows(r *http.Request) bool {
	if i.id == "" {
		return true
	}
	id, secret, basic := r.BasicAuth()
	if basic { // the two are form-encoded within it (RFC 6749 section 2.3.1)
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	return id == i.id && subtle.ConstantTimeCompare([]byte(secret), []byte(i.secret)) == 1
}
