package inject

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

// grant is the grant that is meant.
func (o *OAuth2) grant() string {
	if o.Grant == "" && o.Credentials != "" {
		return oauth.JWTBearer
	}
	return o.Grant
}

// settings are those of the endpoint. Who has an assertion need not be a client.
func (o *OAuth2) settings() oauth.Settings {
	s := o.Settings
	if o.grant() == oauth.JWTBearer && s.ClientAuth == "" && s.ClientSecret == "" {
		s.ClientAuth = oauth.None
	}
	return s
}

// check tells what cannot be, without secrets.
func (o *OAuth2) check() error {
	if o.grant() == "" {
		return fmt.Errorf("oauth2 needs a grant; there are: %s", strings.Join(oauth.Grants, ", "))
	}
	if err := oauth.CheckGrant(o.grant()); err != nil {
		return err
	}
	for _, part := range []func() error{o.checkUnused, o.checkAddress, o.checkClient, o.checkGrant, o.checkAsk} {
		if err := part(); err != nil {
			return err
		}
	}
	if o.Timeout < 0 || time.Duration(o.Timeout) > maxTokenTimeout {
		return errors.New("timeout is at most 1m: callers wait for it")
	}
	if _, _, err := o.To.resolve(); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	return nil
}

// checkUnused refuses options of other grants.
func (o *OAuth2) checkUnused() error {
	for _, x := range []struct {
		option string
		said   bool
		grants []string
	}{
		{"authorization_url", o.AuthorizationURL != "", []string{oauth.AuthorizationCode}},
		{"refresh_token", o.RefreshToken != "", []string{oauth.RefreshToken}},
		{"keep_rotated", o.KeepRotated, []string{oauth.RefreshToken}},
		{"claims", len(o.Claims) > 0, []string{oauth.JWTBearer}},
		{"credentials", o.Credentials != "", []string{oauth.JWTBearer}},
		{"subject_token_type", o.SubjectTokenType != "", []string{oauth.TokenExchange}},
		{"requested_token_type", o.RequestedTokenType != "", []string{oauth.TokenExchange}},
		{"actor_token", o.ActorToken != "", []string{oauth.TokenExchange}},
		{"actor_token_type", o.ActorTokenType != "", []string{oauth.TokenExchange}},
	} {
		if x.said && !slices.Contains(x.grants, o.grant()) {
			return fmt.Errorf("%s is for the grant %s, not for %s", x.option, x.grants[0], o.grant())
		}
	}
	if o.ActorTokenType != "" && o.ActorToken == "" {
		return errors.New("actor_token_type is for an actor_token; there is none")
	}
	return nil
}

func (o *OAuth2) checkAddress() error {
	switch {
	case o.Credentials != "" && (o.TokenURL != "" || o.Issuer != ""):
		return errors.New("credentials hold the token endpoint; token_url and issuer cannot be said beside them")
	case o.Credentials != "":
		return nil
	case o.TokenURL == "" && o.Issuer == "":
		return errors.New("oauth2 needs a token_url, or an issuer that tells it")
	case o.TokenURL != "" && o.Issuer != "":
		return errors.New("token_url and issuer both say where the token endpoint is; say one of them")
	case o.grant() == oauth.AuthorizationCode && (o.AuthorizationURL == "") != (o.Issuer != ""):
		return errors.New("authorization_code needs an authorization_url beside its token_url, or an issuer alone")
	}
	for _, x := range []struct{ option, url string }{
		{"token_url", o.TokenURL}, {"issuer", o.Issuer}, {"authorization_url", o.AuthorizationURL},
	} {
		if x.url == "" {
			continue
		}
		if _, err := fetch.CheckURL(x.url); err != nil {
			return fmt.Errorf("%s: %w", x.option, err)
		}
		if x.option == "issuer" && strings.Contains(x.url, "/.well-known/") {
			return errors.New("issuer is what stands before /.well-known/ in the address of its discovery document")
		}
	}
	return nil
}

// checkClient checks who asks. A private key may be for an assertion alone.
func (o *OAuth2) checkClient() error {
	s := o.settings()
	if o.Credentials != "" && (s.ClientID != "" || s.ClientAuth != oauth.None || s.PrivateKey != "" || s.KeyID != "" || s.Algorithm != "") {
		return errors.New("credentials say who asks and with which key; no client_… and no private_key, kid or algorithm beside them")
	}
	if err := s.Check(); err != nil {
		return err
	}
	if o.grant() != oauth.JWTBearer {
		return s.CheckUnused()
	}
	if o.Credentials == "" && s.PrivateKey == "" {
		return errors.New("jwt_bearer needs the private_key that signs its assertion, or credentials")
	}
	if slices.Contains(jose.Symmetric, s.Algorithm) {
		return fmt.Errorf("algorithm %s is for a secret; an assertion is signed with a private_key", s.Algorithm)
	}
	s.PrivateKey, s.KeyID, s.Algorithm = "", "", ""
	return s.CheckUnused()
}

func (o *OAuth2) checkGrant() error {
	switch o.grant() {
	case oauth.RefreshToken:
		if o.RefreshToken == "" {
			return errors.New("the grant refresh_token needs a refresh_token, a placeholder")
		}
		if _, ok := secretFile(o.RefreshToken); o.KeepRotated && !ok {
			return errors.New("keep_rotated writes to the file of the refresh token: refresh_token has to be {file./absolute/path}")
		}
	case oauth.JWTBearer:
		for _, name := range []string{"iat", "exp", "nbf", "jti"} {
			if _, said := o.Claims[name]; said {
				return fmt.Errorf("claims: %s is filled in", name)
			}
		}
		if o.Claims["iss"] == nil && o.Credentials == "" && o.ClientID == "" {
			return errors.New("jwt_bearer needs the claim iss, or a client_id, which is it then")
		}
	case oauth.TokenExchange:
		for _, x := range []struct{ option, name string }{
			{"subject_token_type", o.SubjectTokenType}, {"requested_token_type", o.RequestedTokenType}, {"actor_token_type", o.ActorTokenType},
		} {
			if x.name == "" {
				continue
			}
			if err := oauth.CheckTokenType(x.name); err != nil {
				return fmt.Errorf("%s: %w", x.option, err)
			}
		}
	}
	return nil
}

func (o *OAuth2) checkAsk() error {
	if o.ScopeSeparator != "" && len(o.Scopes) == 0 {
		return errors.New("scope_separator is for scopes; there are none")
	}
	for _, s := range o.Scopes {
		if s == "" || strings.ContainsFunc(s, notScope) || o.ScopeSeparator != "" && strings.Contains(s, o.ScopeSeparator) {
			return fmt.Errorf("scopes: %q is not a scope (RFC 6749 section 3.3)", s)
		}
	}
	for option, list := range map[string][]string{"audience": o.Audience, "resource": o.Resource} {
		if slices.Contains(list, "") {
			return fmt.Errorf("%s: one is empty", option)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if err := oauth.CheckParam(name); err != nil {
			return fmt.Errorf("param: %w", err)
		}
	}
	return nil
}

// notScope is RFC 6749 appendix A.4, without the quote and the backslash.
func notScope(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' }

// checkConfigured is check for what only configurations can have: placeholders. One that
// nobody replaces would be sent as it is written.
func (o *OAuth2) checkConfigured() error {
	if err := checkTemplate(o.Claims); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	for name, text := range o.Params {
		for _, p := range pieces(string(text)) {
			if p.isPlaceholder() && p.root != "env" && p.root != "file" {
				return fmt.Errorf("param %s: %w", name, unknownPlaceholder(p, "{env.*}", "{file./absolute/path}"))
			}
		}
	}
	for option, list := range map[string][]string{
		"token_url": {o.TokenURL}, "issuer": {o.Issuer}, "authorization_url": {o.AuthorizationURL},
		"scopes": o.Scopes, "audience": o.Audience, "resource": o.Resource, "assertion_audience": {o.AssertionAudience},
	} {
		for _, text := range list {
			if placeholder.MatchString(text) {
				return fmt.Errorf("%s holds no placeholders; in a Caddyfile {$NAME} stands for an environment variable", option)
			}
		}
	}
	return nil
}
