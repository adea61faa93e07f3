package inject

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(OAuth2)) }

// OAuth2 sends an access token that it gets from a token endpoint (RFC 6749). It is used
// until it is nearly over, and renewed ahead of that.
type OAuth2 struct {
	// How the token is got: client_credentials, refresh_token, jwt_bearer (RFC 7523),
	// token_exchange (RFC 8693) or authorization_code. Required, unless credentials has the
	// file of a service account: then it is jwt_bearer.
	Grant string `json:"grant,omitempty"`
	// The token endpoint: https, or http to this machine. Required, unless issuer or
	// credentials tell it.
	TokenURL string `json:"token_url,omitempty"`
	// The issuer, instead of the token endpoint: its metadata tell the endpoint.
	Issuer string `json:"issuer,omitempty"`
	// The authorization endpoint, for authorization_code without an issuer.
	AuthorizationURL string `json:"authorization_url,omitempty"`

	// How the gateway authenticates at the endpoint.
	oauth.Settings

	// The scopes to ask for.
	Scopes []string `json:"scopes,omitempty"`
	// What stands between scopes. Default: a space.
	ScopeSeparator string `json:"scope_separator,omitempty"`
	// Who the token is for: the parameter audience, once for each.
	Audience []string `json:"audience,omitempty"`
	// What the token is for: the parameter resource (RFC 8707), once for each.
	Resource []string `json:"resource,omitempty"`
	// More parameters. Values may hold placeholders {env.NAME} and {file./absolute/path}.
	Params map[string]secret.Template `json:"params,omitempty"`

	// For refresh_token: the refresh token, a placeholder.
	RefreshToken secret.String `json:"refresh_token,omitempty"`
	// The endpoint replaces refresh tokens: the new one is written to the file that
	// refresh_token names, before the access token that came with it is used.
	KeepRotated bool `json:"keep_rotated,omitempty"`

	// For jwt_bearer: claims of the assertion. Texts may hold placeholders, also
	// {http.auth.user.*} for what is known of the verified caller. iss is the client_id,
	// sub is iss, and aud the token endpoint, unless they are here; iat, exp and jti are
	// filled in.
	Claims Object `json:"claims,omitempty"`
	// For jwt_bearer: the file of a service account of Google Cloud, a placeholder. It has
	// the endpoint, the issuer and the key.
	Credentials secret.String `json:"credentials,omitempty"`

	// For token_exchange: the type of the caller's token: access_token, jwt, id_token, … or
	// a URI. Default: access_token.
	SubjectTokenType string `json:"subject_token_type,omitempty"`
	// For token_exchange: the type of the token that is wanted. Default: what the endpoint
	// likes.
	RequestedTokenType string `json:"requested_token_type,omitempty"`
	// For token_exchange: a token of the one who acts for the caller, a placeholder.
	ActorToken secret.String `json:"actor_token,omitempty"`
	// Its type. Default: access_token.
	ActorTokenType string `json:"actor_token_type,omitempty"`

	// Where the token goes. Default: Authorization, behind the type that the endpoint says.
	To *Placement `json:"to,omitempty"`
	// How long a fetch may take, and with it how long a request waits for it. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	renewable
	tracks   following
	endpoint *oauth.TokenEndpoint
	secrets  material
	expand   bool
	policy   fetch.Policy
	kept     *keptChain   // of a record whose grants the host keeps, else nil
	again    func() error // takes over a new definition
}

// CaddyModule returns the Caddy module information.
func (*OAuth2) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".oauth2", New: func() caddy.Module { return new(OAuth2) }}
}

// Provision resolves the secrets. The token is fetched when the first request needs it.
func (o *OAuth2) Provision(ctx caddy.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	// addresses that the operator did not write are judged more strictly
	o.expand = expands(ctx)
	o.policy = fetch.Policy{Trusted: o.expand, Allow: host.Egress(ctx)}
	if o.KeepRotated && !o.expand {
		return errors.New("keep_rotated writes to a file, which only configurations may name")
	}
	o.secrets = material{}
	if err := o.resolve(ctx); err != nil {
		return err
	}
	if err := o.open(ctx); err != nil {
		return err
	}
	maps.Copy(o.secrets, o.endpoint.Secrets())
	o.again = func() error {
		d, err := o.define()
		if err != nil {
			return err
		}
		return o.use(ctx, d)
	}
	if o.keep(ctx); o.kept != nil { // nobody is to consent between the two steps of follow
		o.kept.turn.Lock()
		defer o.kept.turn.Unlock()
	}
	return o.tracks.follow(ctx, o, &o.renewable, o.secrets, o.define)
}

// resolve resolves the secrets but those of the endpoint.
func (o *OAuth2) resolve(ctx caddy.Context) error {
	for option, s := range map[string]secret.String{
		"refresh_token": o.RefreshToken, "credentials": o.Credentials, "actor_token": o.ActorToken,
	} {
		if err := o.secrets.resolve(ctx, option, s); err != nil {
			return err
		}
	}
	for name, text := range o.Params {
		v := secret.Static(string(text))
		// text in clear is no secret to warn of; in records there is nothing to warn of
		if !o.expand || strings.Contains(string(text), "{") {
			var err error
			if v, err = text.Resolve(ctx); err != nil {
				return fmt.Errorf("param %s: %w", name, err)
			}
		}
		o.secrets["param "+name] = v
	}
	if !o.expand {
		return nil
	}
	if err := o.checkConfigured(); err != nil {
		return err
	}
	if err := templateSecrets(ctx, o.Claims, o.secrets); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	return nil
}

// open opens the endpoint. Nothing is sent.
func (o *OAuth2) open(ctx caddy.Context) (err error) {
	address := o.TokenURL
	if o.Credentials != "" {
		account, err := oauth.ParseServiceAccount(o.secrets.get("credentials"))
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		address = account.TokenURL
	}
	settings := o.settings()
	log := ctx.Logger(o)
	o.endpoint, err = settings.OpenTokens(ctx, address, o.Issuer, oauth.Options{
		Policy:     o.policy,
		Repeatable: !o.refreshes(), // a refresh token that comes twice is taken for stolen
		Report: func(option string, err error) {
			log.Error("a changed secret of oauth2 cannot be used; the last good one stays in use", zap.String("option", option), zap.Error(err))
		},
	})
	return err
}

// define makes the definition of the token with the secrets of now.
func (o *OAuth2) define() (d definition, err error) {
	g, root, err := o.fetching()
	if err != nil {
		return d, err
	}
	d = definition{kind: "oauth2", timeout: time.Duration(o.Timeout), fetch: g.fetch, perCaller: g.perCaller(), guest: !o.policy.Trusted}
	if g.claims != nil {
		d.uses = g.claims.refs
	}
	if o.To != nil {
		slot, format, err := o.To.resolve()
		if err != nil {
			return d, fmt.Errorf("header: %w", err)
		}
		d.place, d.format = slot, func(t token.Token) string { return format(t.Value) }
	}
	// refresh tokens that follow one another are one secret, whose root stands for it
	decisive := maps.Clone(o.secrets)
	delete(decisive, "refresh_token")
	d.id, err = decisive.digest(o, "oauth2", root, fmt.Sprint(o.policy.Trusted, o.policy.Allow))
	return d, err
}

// Cleanup lets the token go, if no other configuration uses it, and the connections.
func (o *OAuth2) Cleanup() error {
	err := o.renewable.Cleanup()
	if o.kept != nil {
		o.kept.leave(o)
	}
	if o.endpoint != nil {
		o.endpoint.Close()
	}
	return err
}

// refreshes tells whether the tokens come from a refresh token.
func (o *OAuth2) refreshes() bool {
	return o.grant() == oauth.RefreshToken || o.grant() == oauth.AuthorizationCode
}

// Interface guards
var (
	_ caddy.Provisioner  = (*OAuth2)(nil)
	_ caddy.CleanerUpper = (*OAuth2)(nil)
	_ Injector           = (*OAuth2)(nil)
	_ Slotted            = (*OAuth2)(nil)
	_ Renewable          = (*OAuth2)(nil)
)
