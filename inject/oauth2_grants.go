package inject

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// granting gets tokens by one grant, with the secrets of one moment. It never changes.
type granting struct {
	grant    string
	endpoint *oauth.TokenEndpoint
	ask      oauth.Ask
	placed   bool // the operator has said what stands before the token

	chain    *oauth.Chain   // of refresh tokens
	exchange oauth.Exchange // of the caller's token

	signer          *jose.Signer // of assertions
	claims          *template
	issuer, subject string
}

// fetching prepares the grant. root stands for what the tokens go back to.
func (o *OAuth2) fetching() (g *granting, root string, err error) {
	g = &granting{grant: o.grant(), endpoint: o.endpoint, ask: o.ask(), placed: o.To != nil}
	switch g.grant {
	case oauth.RefreshToken, oauth.AuthorizationCode:
		var id [sha256.Size]byte
		g.chain, id = o.chain()
		root = hex.EncodeToString(id[:])
	case oauth.TokenExchange:
		g.exchange = oauth.Exchange{
			SubjectType: o.SubjectTokenType, Requested: o.RequestedTokenType,
			Actor: o.secrets.get("actor_token"), ActorType: o.ActorTokenType,
		}
	case oauth.JWTBearer:
		err = o.asserting(g)
	}
	return g, root, err
}

// ask is what is asked for.
func (o *OAuth2) ask() oauth.Ask {
	a := oauth.Ask{Scopes: o.Scopes, Separator: o.ScopeSeparator, Audiences: o.Audience, Resources: o.Resource}
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		a.Params = append(a.Params, oauth.Param{Name: name, Value: o.secrets.get("param " + name)})
	}
	return a
}

// asserting prepares the assertions of jwt_bearer.
func (o *OAuth2) asserting(g *granting) error {
	claims := maps.Clone(o.Claims)
	if o.Credentials != "" {
		account, err := oauth.ParseServiceAccount(o.secrets.get("credentials"))
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		g.signer, g.issuer = account.Signer, account.Email
		o.endpoint.Move(account.TokenURL)
		// Google has the scopes in the assertion, and a sub only for somebody else
		if _, said := claims["scope"]; !said && len(g.ask.Scopes) > 0 {
			if claims == nil {
				claims = Object{}
			}
			claims["scope"] = g.ask.Scope()
		}
		g.ask.Scopes = nil
	} else {
		var err error
		if g.signer, err = jose.ParseSigner([]byte(unfolded(o.secrets.get("private_key"))), o.Algorithm, o.KeyID); err != nil {
			return fmt.Errorf("private_key: %w", err)
		}
		g.issuer = o.secrets.get("client_id")
		g.subject = g.issuer
	}
	g.claims = newTemplate(claims, o.secrets, o.expand)
	return nil
}

// perCaller says whose token a request gets, if that depends on the caller.
func (g *granting) perCaller() func(*exchange.Exchange) ([32]byte, *caller, error) {
	switch {
	case g.grant == oauth.TokenExchange:
		return ofToken
	case g.claims != nil && len(g.claims.refs) > 0:
		return func(x *exchange.Exchange) (key [32]byte, c *caller, err error) {
			c = &caller{ID: x.ID, Claims: rule.AllOf(x.Claims), Expires: endOf(x)}
			key, err = g.claims.key(c)
			return key, c, err
		}
	}
	return nil
}

// ofToken tells callers apart by their tokens.
func ofToken(x *exchange.Exchange) (key [32]byte, c *caller, err error) {
	if x.Token == "" {
		return key, nil, errors.New("the caller has no token that could be exchanged")
	}
	c = &caller{Token: x.Token, Expires: endOf(x)}
	parts := appendPart(nil, c.Token)
	return sha256.Sum256(appendPart(parts, strconv.FormatInt(c.Expires.UnixNano(), 10))), c, nil
}

// fetch implements the Fetch of a token's source.
func (g *granting) fetch(ctx context.Context, c *caller) (token.Token, error) {
	began := time.Now()
	t, err := g.get(ctx, c)
	if err != nil {
		return token.Token{}, refusedBy(err)
	}
	made := token.Token{Value: t.Value, Type: t.Type, Obtained: began}
	if t.Life > 0 {
		made.Expires = began.Add(t.Life)
	}
	if !g.placed {
		made.Type, err = t.Scheme()
	}
	return made, err
}

// refusedBy tells the source what the endpoint said.
func refusedBy(err error) error {
	if f, ok := errors.AsType[*oauth.Failure](err); ok {
		return &token.Failure{Err: err, Permanent: f.Permanent(), RetryAfter: f.Wait}
	}
	return err
}

// get gets a token by the grant.
func (g *granting) get(ctx context.Context, c *caller) (*oauth.AccessToken, error) {
	switch g.grant {
	case oauth.RefreshToken, oauth.AuthorizationCode:
		return g.chain.Token(ctx, func(ctx context.Context, refresh string) (*oauth.AccessToken, error) {
			return g.endpoint.Ask(ctx, func(string) (url.Values, error) { return g.ask.Refresh(refresh), nil })
		})
	case oauth.JWTBearer:
		return g.endpoint.Ask(ctx, func(endpoint string) (url.Values, error) { return g.assert(endpoint, c) })
	case oauth.TokenExchange:
		if c == nil || c.Token == "" {
			return nil, errors.New("the caller has no token that could be exchanged")
		}
		return g.endpoint.Ask(ctx, func(string) (url.Values, error) { return g.ask.Exchange(g.exchange, c.Token), nil })
	}
	return g.endpoint.Ask(ctx, func(string) (url.Values, error) { return g.ask.Own(), nil })
}

// assert makes an assertion for the endpoint.
func (g *granting) assert(endpoint string, c *caller) (url.Values, error) {
	claims, err := g.claims.fill(c)
	if err != nil {
		return nil, err
	}
	assertion, err := g.signer.Sign(nil, oauth.AssertionClaims(claims, g.issuer, g.subject, endpoint, time.Now()))
	if err != nil {
		return nil, fmt.Errorf("the assertion: %w", err)
	}
	return g.ask.Assert(assertion), nil
}
