package inject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(CustomToken)) }

// CustomToken sends a token that an HTTP request fetches: a login, an exchange of one
// credential for another, any endpoint whose answer holds a token. It is used until it is
// nearly over, and renewed ahead of that.
//
// The request is made of texts in which {secret.<name>} stands for a secret of `secrets`
// and {jwt.<name>} for a token of `jwts`, made anew for each request. They are written as
// the place needs it: escaped in a JSON or XML body, percent-encoded in the URL and in a
// form.
type CustomToken struct {
	// Where the token is fetched: https, or http to this machine. Path and query may hold
	// parts. Required.
	URL string `json:"url,omitempty"`
	// The request's method. Default: POST.
	Method string `json:"method,omitempty"`
	// More headers of the request. Values may hold parts.
	RequestHeaders map[string]string `json:"request_headers,omitempty"`
	// User and password of the request (RFC 7617). Both may hold parts.
	Basic *BasicParts `json:"basic,omitempty"`
	// The request's body. Without a Content-Type among the headers it is application/json,
	// if it is JSON, else application/x-www-form-urlencoded.
	Body string `json:"body,omitempty"`
	// Secrets by name: each a placeholder {env.NAME} or {file./absolute/path}.
	Secrets map[string]secret.String `json:"secrets,omitempty"`
	// Tokens by name that are made for the request. Their claims cannot depend on the caller.
	JWTs map[string]*Minting `json:"jwts,omitempty"`

	// What a successful answer has, beside a status from 200 to 299. Default: nothing more.
	Success *Success `json:"success,omitempty"`
	// Where the answer has the token. Required.
	Token TokenIn `json:"token,omitzero"`
	// A JSONPath (RFC 9535) to how long the token is good for, in seconds.
	ExpiresIn string `json:"expires_in,omitempty"`
	// A JSONPath to when the token ends: seconds or milliseconds since 1970, or a text as
	// of RFC 3339.
	ExpiresAt string `json:"expires_at,omitempty"`
	// How long the token is good for, if the answer does not say. Default: 5m.
	TTL caddy.Duration `json:"ttl,omitempty"`

	// Where the token goes. Default: Authorization, after Bearer.
	To *Placement `json:"to,omitempty"`
	// How long a fetch may take, and with it how long a request waits for it. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// Certificates, in PEM, that the endpoint's may come from, besides those that the
	// system trusts: a placeholder.
	CA secret.String `json:"ca,omitempty"`

	renewable
	tracks following
}

// BasicParts are a user and a password.
type BasicParts struct {
	// The user name.
	Username string `json:"username,omitempty"`
	// The password.
	Password string `json:"password,omitempty"`
}

const (
	defaultTokenTimeout = 5 * time.Second
	maxTokenTimeout     = time.Minute
	// maxTokenAnswer is the size of the largest answer that is read, in bytes.
	maxTokenAnswer = 1 << 20
)

// CaddyModule returns the Caddy module information.
func (*CustomToken) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".custom_token", New: func() caddy.Module { return new(CustomToken) }}
}

// check tells what cannot be, without secrets.
func (c *CustomToken) check() error {
	if _, err := newTokenRequest(c); err != nil {
		return err
	}
	if _, err := newTokenAnswer(c); err != nil {
		return err
	}
	for name, m := range c.JWTs {
		if err := c.checkJWT(m); err != nil {
			return fmt.Errorf("jwt %s: %w", name, err)
		}
	}
	for name, s := range c.Secrets {
		if s == "" {
			return fmt.Errorf("secret %s: %w", name, secret.ErrEmpty)
		}
	}
	if _, _, err := c.To.resolve(); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	switch {
	case c.TTL < 0 || time.Duration(c.TTL) > maxTTL:
		return errors.New("ttl is at most 24h")
	case c.Timeout < 0 || time.Duration(c.Timeout) > maxTokenTimeout:
		return errors.New("timeout is at most 1m: callers wait for it")
	}
	return nil
}

func (c *CustomToken) checkJWT(m *Minting) error {
	if m == nil {
		return errors.New("it says nothing")
	}
	if err := m.check(); err != nil {
		return err
	}
	return eachText("", map[string]any(m.Claims), func(place, text string) error {
		for _, p := range pieces(text) {
			if isOfCaller(p) {
				return fmt.Errorf("claims: %s: %s is not known here: the token is one for all callers", place, p.text)
			}
		}
		return nil
	})
}

// Provision resolves the secrets. The token is fetched when the first request needs it.
func (c *CustomToken) Provision(ctx caddy.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	secrets := material{}
	for name, s := range c.Secrets {
		if err := secrets.resolve(ctx, "secret "+name, s); err != nil {
			return err
		}
	}
	for name, m := range c.JWTs {
		if err := m.resolve(ctx, secrets, "jwt "+name+" "); err != nil {
			return fmt.Errorf("jwt %s: %w", name, err)
		}
	}
	if err := c.resolveCA(ctx, secrets); err != nil {
		return err
	}
	return c.tracks.follow(ctx, c, &c.renewable, secrets, func() (definition, error) { return c.define(ctx, secrets) })
}

func (c *CustomToken) resolveCA(ctx context.Context, secrets material) error {
	if c.CA != "" && !strings.Contains(string(c.CA), "{") { // it is no secret: in clear it is no reason to warn
		secrets["ca"] = secret.Static(string(c.CA))
		return nil
	}
	return secrets.resolve(ctx, "ca", c.CA)
}

// define makes the definition of the token with the secrets of now.
func (c *CustomToken) define(ctx context.Context, secrets material) (d definition, err error) {
	f := &tokenFetch{parts: map[string]string{}, minters: map[string]*minter{}, timeout: time.Duration(c.Timeout)}
	// addresses that the operator did not write are judged more strictly
	f.policy = fetch.Policy{Trusted: expands(ctx), Allow: host.Egress(ctx)}
	if text := secrets.get("ca"); text != "" {
		if f.policy.RootCAs, err = oauth.MoreRoots(text); err != nil {
			return d, fmt.Errorf("ca: %w", err)
		}
	}
	for name := range c.Secrets {
		f.parts["secret."+name] = secrets.get("secret " + name)
	}
	for name, m := range c.JWTs {
		if f.minters["jwt."+name], err = m.minter(secrets, "jwt "+name+" ", expands(ctx)); err != nil {
			return d, fmt.Errorf("jwt %s: %w", name, err)
		}
	}
	if f.request, err = newTokenRequest(c); err != nil {
		return d, err
	}
	if f.answer, err = newTokenAnswer(c); err != nil {
		return d, err
	}
	if err := f.try(); err != nil {
		return d, err
	}
	slot, format, err := c.To.resolve()
	if err != nil {
		return d, fmt.Errorf("to: %w", err)
	}
	d = definition{guest: !f.policy.Trusted,
		kind: "custom_token", timeout: f.wait(), place: slot, fetch: f.fetch,
		format: func(t token.Token) string { return format(t.Value) },
	}
	f.fits = func(value string) error { return checkValue(slot, format(value)) }
	d.id, err = secrets.digest(c, "custom_token", fmt.Sprint(f.policy.Trusted, f.policy.Allow))
	return d, err
}

// tokenFetch fetches tokens. It never changes.
type tokenFetch struct {
	request *tokenRequest
	answer  *tokenAnswer
	parts   map[string]string  // secrets by placeholder
	minters map[string]*minter // by placeholder
	policy  fetch.Policy
	timeout time.Duration
	fits    func(value string) error
}

func (f *tokenFetch) wait() time.Duration {
	if f.timeout > 0 {
		return f.timeout
	}
	return defaultTokenTimeout
}

// values are all parts, with new tokens among them.
func (f *tokenFetch) values() (map[string]string, error) {
	if len(f.minters) == 0 {
		return f.parts, nil
	}
	values := make(map[string]string, len(f.parts)+len(f.minters))
	for name, v := range f.parts {
		values[name] = v
	}
	for name, m := range f.minters {
		raw, _, err := m.mint(nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[name] = raw
	}
	return values, nil
}

// try makes the request and drops it: a secret may not fit where it stands.
func (f *tokenFetch) try() error {
	values, err := f.values()
	if err != nil {
		return err
	}
	_, err = f.request.build(context.Background(), values)
	return err
}

// fetch implements the Fetch of a token's source. A connection is of no use when the next
// token is due.
func (f *tokenFetch) fetch(ctx context.Context, _ *caller) (token.Token, error) {
	values, err := f.values()
	if err != nil {
		return token.Token{}, err
	}
	req, err := f.request.build(ctx, values)
	if err != nil {
		return token.Token{}, err
	}
	client := fetch.New(f.policy)
	defer client.Close()
	began := time.Now()
	res, err := client.Do(ctx, req, maxTokenAnswer)
	if err != nil {
		return token.Token{}, err
	}
	t, err := f.answer.read(res, began)
	if err == nil {
		err = f.fits(t.Value)
	}
	if err != nil {
		return token.Token{}, fromHost(req, err)
	}
	return t, nil
}

// fromHost says which endpoint an error is about.
func fromHost(req *http.Request, err error) error {
	if f, ok := errors.AsType[*token.Failure](err); ok {
		f.Err = fmt.Errorf("%s: %w", req.URL.Host, f.Err)
		return f
	}
	return fmt.Errorf("%s: %w", req.URL.Host, err)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*CustomToken)(nil)
	_ caddy.CleanerUpper = (*CustomToken)(nil)
	_ Injector           = (*CustomToken)(nil)
	_ Slotted            = (*CustomToken)(nil)
	_ Renewable          = (*CustomToken)(nil)
)
