package inject

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

var errNoConsentGrant = errors.New("consent is for the grant authorization_code")

// Consent begins to ask somebody for consent: it returns the URL to send a browser to,
// which comes back to redirectURI, and what to keep, sealed, until then.
func (o *OAuth2) Consent(ctx context.Context, redirectURI string) (where string, pending *oauth.Consent, err error) {
	if o.grant() != oauth.AuthorizationCode {
		return "", nil, errNoConsentGrant
	}
	a := &oauth.Authorization{
		Endpoint: o.AuthorizationURL, ClientID: o.secrets.get("client_id"), RedirectURI: redirectURI,
		Ask: o.ask(), Issuer: o.Issuer,
	}
	if a.Endpoint == "" {
		m, err := o.endpoint.Metadata(ctx)
		if err != nil {
			return "", nil, err
		}
		a.Endpoint, a.IssuerSaid = m.Authorization, m.IssuerSaid
	}
	return a.Begin(time.Now())
}

// Redeem ends a consent with the query that the browser has brought back. From then on
// requests get tokens, through whichever OAuth2 of the same credential they come, also
// one of another configuration. What the consent gave before is dropped.
func (o *OAuth2) Redeem(ctx context.Context, pending *oauth.Consent, query url.Values) error {
	if o.grant() != oauth.AuthorizationCode {
		return errNoConsentGrant
	}
	code, err := pending.Accept(query, time.Now())
	if err != nil {
		return err
	}
	ask := o.ask()
	t, err := o.endpoint.Ask(ctx, func(string) (url.Values, error) { return ask.Code(code, pending), nil })
	if err != nil {
		return err
	}
	chain, _ := o.chain()
	if err := chain.Start(ctx, t); err != nil {
		return err
	}
	if o.kept != nil {
		return o.kept.consented(o)
	}
	return o.again()
}
