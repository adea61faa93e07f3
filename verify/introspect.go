package verify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

func init() { caddy.RegisterModule(new(Introspect)) }

// Introspect accepts opaque OAuth 2.0 access tokens, which it asks the authorization
// server about (token introspection, RFC 7662). A token is accepted if the server says
// that it is active and the answer is as it has to be. While the server cannot be asked,
// nobody is let through: requests are answered 503.
type Introspect struct {
	// The introspection endpoint: https, or http to this machine. Required.
	URL string `json:"url,omitempty"`

	// How the gateway authenticates at the endpoint.
	oauth.Settings

	// What the endpoint is told about the token's type (token_type_hint), such as
	// access_token. Default: nothing.
	TokenTypeHint string `json:"token_type_hint,omitempty"`
	// The iss that the answer must have, byte for byte. Default: any or none.
	Issuer string `json:"issuer,omitempty"`
	// The answer's aud must have one of these. Default: it is not looked at, since many
	// servers do not send it.
	Audience Texts `json:"audience,omitempty"`
	// Says out loud that aud is not looked at.
	AnyAudience bool `json:"any_audience,omitempty"`
	// The scopes that a token must have, all of them; without, the answer is 403
	// insufficient_scope.
	Scope Texts `json:"scope,omitempty"`
	// For how long an active token is not asked about again, at most until it expires. A
	// token that is revoked meanwhile stays accepted for that long. Default: off.
	Cache caddy.Duration `json:"cache,omitempty"`
	// How long a caller waits for the endpoint. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Where callers put the token. Default: Authorization, after Bearer.
	From []Carrier `json:"from,omitempty"`
	// The authentication scheme before the token in Authorization. Default: Bearer.
	Prefix string `json:"prefix,omitempty"`

	carriers []Carrier
	endpoint *oauth.Endpoint
	config   digest
	timeout  time.Duration
	calls    *introspections
	blocked  Blocklist // of the host, nil if there is none
	now      func() time.Time
}

// maxIntrospectTimeout bounds Timeout.
const maxIntrospectTimeout = time.Minute

// CaddyModule returns the Caddy module information.
func (*Introspect) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".introspect", New: func() caddy.Module { return new(Introspect) }}
}

// Provision checks the options and resolves the secrets. Nothing is sent.
func (i *Introspect) Provision(ctx caddy.Context) error {
	if err := i.check(); err != nil {
		return err
	}
	i.carriers = slices.Clone(i.From)
	if len(i.carriers) == 0 {
		i.carriers = []Carrier{{In: InHeader, Name: "Authorization", Prefix: i.scheme()}}
	}
	for n := range i.carriers {
		if err := i.carriers[n].Validate(); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(i)
	if err != nil {
		return err
	}
	if host.Untrusted(ctx) { // what it may reach decides the answers too
		raw = append(raw, "untrusted"...)
	}
	i.config = sha256.Sum256(raw)
	i.timeout = orDefault(i.Timeout, defaultTimeout)
	i.calls, i.now, i.blocked = newIntrospections(), time.Now, host.BlocklistOf(ctx)
	log := ctx.Logger(i)
	i.endpoint, err = i.Open(ctx, i.URL, oauth.Options{
		// the operator wrote the URL, unless it stands in a record
		Policy:     fetch.Policy{Trusted: !host.Untrusted(ctx), Allow: host.Egress(ctx)},
		Repeatable: true,
		Report: func(option string, err error) {
			log.Error("a changed secret of introspect cannot be used; the last good one stays in use",
				zap.String("option", option), zap.String("url", i.URL), zap.Error(err))
		},
	})
	return err
}

func (i *Introspect) check() error {
	if _, err := fetch.CheckURL(i.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	for _, s := range i.Scope {
		if !isScope(s) {
			return fmt.Errorf("scope: %q is not a scope (RFC 6749 section 3.3)", s)
		}
	}
	switch {
	case i.AnyAudience && len(i.Audience) > 0:
		return errors.New("audience and any_audience contradict each other")
	case slices.Contains(i.Audience, ""):
		return errors.New("an audience is empty")
	case len(i.From) > 0 && i.Prefix != "":
		return errors.New("prefix is for Authorization; with from, write it behind the header's name")
	case i.Cache < 0:
		return errors.New("cache is negative")
	case i.Timeout < 0 || time.Duration(i.Timeout) > maxIntrospectTimeout:
		return errors.New("timeout is at most 1m: callers wait for it")
	}
	if err := i.Check(); err != nil {
		return err
	}
	return i.CheckUnused()
}

// isScope tells whether a text is a scope-token (RFC 6749 section 3.3).
func isScope(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return s != ""
}

func (i *Introspect) scheme() string {
	if i.Prefix == "" {
		return "Bearer"
	}
	return i.Prefix
}

// Cleanup drops the connections to the endpoint. Requests that are still inside go on.
func (i *Introspect) Cleanup() error {
	if i.endpoint != nil {
		i.endpoint.Close()
	}
	return nil
}

// Carriers implements Carrying.
func (i *Introspect) Carriers() []Carrier { return i.carriers }

// Challenge implements Challenging (RFC 6750 section 3).
func (i *Introspect) Challenge(rejected bool) string {
	if i.Prefix != "" && i.Prefix != "Bearer" {
		return i.Prefix + ` realm="` + Realm + `"`
	}
	return bearerChallenge(rejected)
}

// AuthorizationServer implements Issuing.
func (i *Introspect) AuthorizationServer() (issuer string, scopes []string) {
	if u, err := url.Parse(i.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", nil // a name that nobody can ask
	}
	return i.Issuer, i.Scope
}

// Verify implements Verifier.
func (i *Introspect) Verify(r *http.Request) (Identity, error) {
	return i.verify(r, always)
}

// VerifyCached implements Costly. Waiting for an answer that another request has asked for
// costs nothing either.
func (i *Introspect) VerifyCached(r *http.Request) (Identity, error) {
	return i.verify(r, never)
}

// verify recognises the caller. adm tells whether the endpoint may be asked.
func (i *Introspect) verify(r *http.Request, adm admission) (Identity, error) {
	token, err := i.token(r)
	if err != nil {
		return Identity{}, err
	}
	if adm.inVain {
		token = pseudonym(token)
	}
	key := tokenKey(i.config, i.endpoint.Print(), token)
	if i.Cache > 0 {
		if a := cachedAnswer(key, i.now()); a != nil {
			return withToken(token)(i.judge(a, r))
		}
	}
	a, err := i.calls.do(r.Context(), key, clientIP(r), i.timeout, adm.allowed, i.asker(key, token))
	if err != nil {
		return Identity{}, err
	}
	return withToken(token)(i.judge(a, r))
}

// pseudonymKey is this process's, so that nobody can tell what a pseudonym stands for.
var pseudonymKey = sync.OnceValue(func() []byte { return []byte(rand.Text()) })

// pseudonym is a token that no endpoint knows, always the same for the same token: it is
// asked about in place of one that the endpoint must not see.
func pseudonym(token string) string {
	mac := hmac.New(sha256.New, pseudonymKey())
	mac.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// judge judges an answer, which may have been remembered, for the request that presents the
// token.
func (i *Introspect) judge(a *answer, r *http.Request) (Identity, error) {
	if a.refused == nil && i.blocks(a.identity.token) {
		return Identity{}, fmt.Errorf("%w: the token is revoked", ErrRejected)
	}
	return a.identify(r, i.now())
}

func (i *Introspect) blocks(v *verified) bool {
	return i.blocked != nil && i.blocked.Revoked(v.issuer, v.subject, v.tokenID, v.issued)
}

// Stands implements Standing: the endpoint is not asked once more.
func (i *Introspect) Stands(id Identity) bool {
	return id.token != nil && id.token.key == i.config && !i.blocks(id.token)
}

// withToken adds the caller's token to an identity.
func withToken(token string) func(Identity, error) (Identity, error) {
	return func(id Identity, err error) (Identity, error) {
		if err == nil {
			id.Token = token
		}
		return id, err
	}
}

// token reads the token. What cannot be one is refused without asking anybody.
func (i *Introspect) token(r *http.Request) (token string, err error) {
	for _, c := range i.carriers {
		token, err = c.Read(r)
		if !errors.Is(err, ErrAbsent) {
			break
		}
	}
	switch {
	case err != nil:
		return "", err
	case len(token) > jose.MaxToken:
		return "", fmt.Errorf("%w: the token is larger than %d bytes", ErrRejected, jose.MaxToken)
	case !isBearerToken(token):
		return "", fmt.Errorf("%w: the token has characters that no bearer token has (RFC 6750 section 2.1)", ErrRejected)
	}
	return token, nil
}

// isBearerToken tells whether a text is a b64token (RFC 6750 section 2.1).
func isBearerToken(s string) bool {
	n := len(s)
	for n > 0 && s[n-1] == '=' {
		n--
	}
	for _, c := range []byte(s[:n]) {
		switch {
		case isAlphanumeric(c), c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		default:
			return false
		}
	}
	return n > 0
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Introspect)(nil)
	_ caddy.CleanerUpper = (*Introspect)(nil)
	_ Verifier           = (*Introspect)(nil)
	_ Carrying           = (*Introspect)(nil)
	_ Costly             = (*Introspect)(nil)
	_ Standing           = (*Introspect)(nil)
	_ Challenging        = (*Introspect)(nil)
	_ Issuing            = (*Introspect)(nil)
)
