package oauth

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The grants' names in a configuration.
const (
	ClientCredentials = "client_credentials" // the gateway's own access
	RefreshToken      = "refresh_token"      // what somebody has consented to
	AuthorizationCode = "authorization_code" // consent in a browser, then refresh tokens
	JWTBearer         = "jwt_bearer"         // an assertion (RFC 7523)
	TokenExchange     = "token_exchange"     // on behalf of the caller (RFC 8693)
)

// Grants are all grants.
var Grants = []string{ClientCredentials, RefreshToken, AuthorizationCode, JWTBearer, TokenExchange}

// CheckGrant refuses what is not one of Grants.
func CheckGrant(grant string) error {
	if slices.Contains(Grants, grant) {
		return nil
	}
	return fmt.Errorf("%q is not a grant; there are: %s", grant, strings.Join(Grants, ", "))
}

// grantTypes are the grants as requests name them, where that is another name.
var grantTypes = map[string]string{
	JWTBearer:     "urn:ietf:params:oauth:grant-type:jwt-bearer",
	TokenExchange: "urn:ietf:params:oauth:grant-type:token-exchange",
}

// Ask is what is asked for, whatever the grant.
type Ask struct {
	Scopes []string
	// Separator stands between scopes; empty is a space (RFC 6749 section 3.3).
	Separator string
	Audiences []string
	Resources []string // RFC 8707
	Params    []Param
}

// Param is a parameter that an endpoint wants beside those of the protocol.
type Param struct{ Name, Value string }

// ownParams are the parameters that have options of their own.
var ownParams = map[string]string{
	"grant_type": "grant", "response_type": "grant", "client_id": "client_id", "client_secret": "client_secret",
	"client_assertion": "client_auth", "client_assertion_type": "client_auth",
	"scope": "scopes", "audience": "audience", "resource": "resource", "refresh_token": "refresh_token",
	"assertion": "claims", "subject_token": "grant", "subject_token_type": "subject_token_type",
	"actor_token": "actor_token", "actor_token_type": "actor_token_type", "requested_token_type": "requested_token_type",
	"code": "grant", "code_verifier": "grant", "code_challenge": "grant", "code_challenge_method": "grant",
	"redirect_uri": "grant", "state": "grant",
}

// CheckParam refuses the name of a parameter that is not free.
func CheckParam(name string) error {
	if name == "" {
		return fmt.Errorf("a parameter has no name")
	}
	if option, ok := ownParams[name]; ok {
		return fmt.Errorf("the parameter %s is not free; the option %s decides it", name, option)
	}
	return nil
}

// Scope is the value of the parameter scope.
func (a *Ask) Scope() string {
	separator := a.Separator
	if separator == "" {
		separator = " "
	}
	return strings.Join(a.Scopes, separator)
}

// form begins the form of a grant.
func (a *Ask) form(grant string) url.Values {
	form := url.Values{"grant_type": {grant}}
	if name, ok := grantTypes[grant]; ok {
		form["grant_type"] = []string{name}
	}
	a.addTo(form)
	return form
}

func (a *Ask) addTo(form url.Values) {
	if len(a.Scopes) > 0 {
		form.Set("scope", a.Scope())
	}
	if len(a.Audiences) > 0 {
		form["audience"] = slices.Clone(a.Audiences)
	}
	if len(a.Resources) > 0 {
		form["resource"] = slices.Clone(a.Resources)
	}
	for _, p := range a.Params {
		form.Add(p.Name, p.Value)
	}
}

// Own is the form of client_credentials (RFC 6749 section 4.4.2).
func (a *Ask) Own() url.Values { return a.form(ClientCredentials) }

// Refresh is the form of refresh_token (RFC 6749 section 6).
func (a *Ask) Refresh(token string) url.Values {
	form := a.form(RefreshToken)
	form.Set("refresh_token", token)
	return form
}

// Assert is the form of jwt_bearer (RFC 7523 section 2.1).
func (a *Ask) Assert(assertion string) url.Values {
	form := a.form(JWTBearer)
	form.Set("assertion", assertion)
	return form
}

// Code is the form that makes tokens of a consent's code (RFC 6749 section 4.1.3, RFC
// 7636 section 4.5). The scopes were said before.
func (a *Ask) Code(code string, c *Consent) url.Values {
	form := a.form(AuthorizationCode)
	form.Del("scope")
	form.Set("code", code)
	form.Set("redirect_uri", c.RedirectURI)
	form.Set("code_verifier", c.Verifier)
	return form
}

// Exchange is what a token exchange has beside Ask (RFC 8693 section 2.1). The types are
// URIs, or the last word of one that the RFC defines.
type Exchange struct {
	SubjectType string // of the caller's token; empty is access_token
	Requested   string // the type that is wanted; empty leaves it to the endpoint
	Actor       string // a token of the one who acts, empty if there is none
	ActorType   string // empty is access_token
}

// Exchange is the form of token_exchange for a caller's token.
func (a *Ask) Exchange(x Exchange, subject string) url.Values {
	form := a.form(TokenExchange)
	form.Set("subject_token", subject)
	form.Set("subject_token_type", tokenTypeURI(x.SubjectType))
	if x.Requested != "" {
		form.Set("requested_token_type", tokenTypeURI(x.Requested))
	}
	if x.Actor != "" {
		form.Set("actor_token", x.Actor)
		form.Set("actor_token_type", tokenTypeURI(x.ActorType))
	}
	return form
}

// tokenTypeWords are those of RFC 8693 section 3.
var tokenTypeWords = []string{"access_token", "refresh_token", "id_token", "saml1", "saml2", "jwt"}

const tokenTypePrefix = "urn:ietf:params:oauth:token-type:"

// CheckTokenType refuses what cannot be the type of a token in an exchange.
func CheckTokenType(name string) error {
	if slices.Contains(tokenTypeWords, name) {
		return nil
	}
	if u, err := url.Parse(name); err != nil || u.Scheme == "" {
		return fmt.Errorf("%q is no type of a token; there are: %s, or a URI", name, strings.Join(tokenTypeWords, ", "))
	}
	return nil
}

func tokenTypeURI(name string) string {
	switch {
	case name == "":
		return tokenTypePrefix + "access_token"
	case slices.Contains(tokenTypeWords, name):
		return tokenTypePrefix + name
	}
	return name
}

// AssertionClaims are the claims of a jwt_bearer assertion (RFC 7523 section 3): the
// configured ones, and what of iss, sub, aud they leave open; one that is nil is left out.
// iat, exp and jti are those of one request.
func AssertionClaims(configured map[string]any, issuer, subject, endpoint string, now time.Time) map[string]any {
	claims := map[string]any{"iss": issuer, "sub": subject, "aud": endpoint}
	maps.Copy(claims, configured)
	claims["iat"], claims["exp"], claims["jti"] = now.Unix(), now.Add(assertionLife).Unix(), rand.Text()
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil || v == "" })
	return claims
}
