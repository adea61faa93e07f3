package idp

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
)

// The long names of grants.
const (
	grantJWT      = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typePrefix    = "urn:ietf:params:oauth:token-type:"
)

// give returns what an answer has beside the access token, or an error code (RFC 6749
// section 5.2). s.mu is held.
func (s *Tokens) give(c *TokenClient, form url.Values) (members map[string]any, code, description string) {
	switch form.Get("grant_type") {
	case "client_credentials":
		if c == nil {
			return nil, "invalid_client", "this grant needs a client"
		}
		return nil, "", ""
	case "refresh_token":
		return s.useRefresh(c, form.Get("refresh_token"))
	case "authorization_code":
		return s.useCode(c, form)
	case grantJWT:
		if why := s.assertion(form.Get("assertion"), s.URL(), ""); why != "" {
			return nil, "invalid_grant", why
		}
		return nil, "", ""
	case grantExchange:
		if form.Get("subject_token") == "" || !strings.HasPrefix(form.Get("subject_token_type"), typePrefix) {
			return nil, "invalid_request", "no subject"
		}
		return map[string]any{"issued_token_type": typePrefix + "access_token"}, "", ""
	}
	return nil, "unsupported_grant_type", ""
}

func (s *Tokens) useRefresh(c *TokenClient, token string) (members map[string]any, code, description string) {
	f := s.refresh[token]
	switch {
	case f == nil || c == nil || f.client != c.ID:
		return nil, "invalid_grant", "no such refresh token"
	case f.revoked:
		return nil, "invalid_grant", "the grant has ended"
	case f.current != token:
		s.reused++
		f.revoked = true
		return nil, "invalid_grant", "the refresh token came twice"
	case s.rotates:
		return map[string]any{"refresh_token": s.next(f)}, "", ""
	}
	return nil, "", ""
}

// next makes a family's next refresh token.
func (s *Tokens) next(f *family) string {
	f.current = "rt-" + rand.Text()
	s.refresh[f.current] = f
	return f.current
}

func (s *Tokens) useCode(c *TokenClient, form url.Values) (members map[string]any, code, description string) {
	given, ok := s.codes[form.Get("code")]
	delete(s.codes, form.Get("code"))
	switch {
	case !ok || c == nil || given.client != c.ID:
		return nil, "invalid_grant", "no such code"
	case given.redirect != form.Get("redirect_uri"):
		return nil, "invalid_grant", "another redirect_uri"
	case given.challenge != hash([]byte(form.Get("code_verifier"))):
		return nil, "invalid_grant", "another verifier"
	}
	return map[string]any{"refresh_token": s.next(&family{client: c.ID})}, "", ""
}

// authorize consents at once and sends the browser back (RFC 6749 section 4.1.2).
func (s *Tokens) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[query.Get("client_id")] == nil || query.Get("response_type") != "code" || query.Get("code_challenge_method") != "S256" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	code := "code-" + rand.Text()
	s.codes[code] = consent{query.Get("client_id"), query.Get("redirect_uri"), query.Get("code_challenge")}
	back := url.Values{"code": {code}, "state": {query.Get("state")}, "iss": {s.Issuer}}
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// client authenticates who asks, in the one way that the client has (RFC 6749 section
// 2.3). It is nil, without an error, where nobody says who asks. s.mu is held.
func (s *Tokens) client(r *http.Request) (*TokenClient, string) {
	id, secret, basic := r.BasicAuth()
	if basic { // the two are form-encoded within it (RFC 6749 section 2.3.1)
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if id == "" {
		return nil, ""
	}
	c := s.clients[id]
	if c == nil {
		return nil, "no such client"
	}
	assertion := r.PostForm.Get("client_assertion")
	same := subtle.ConstantTimeCompare([]byte(secret), []byte(c.Secret)) == 1
	right := false
	switch c.Auth {
	case "client_secret_basic":
		right = basic && same
	case "client_secret_post":
		right = !basic && same
	case "client_secret_jwt", "private_key_jwt":
		if r.PostForm.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return nil, "no assertion"
		}
		if why := s.assertion(assertion, s.URL(), id); why != "" {
			return nil, why
		}
		right = !basic && secret == ""
	case "tls_client_auth":
		right = secret == "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && r.TLS.PeerCertificates[0].Equal(c.Certificate)
	case "none":
		right = !basic && secret == "" && assertion == ""
	}
	if !right {
		return nil, "the client has to authenticate by " + c.Auth
	}
	return c, ""
}
