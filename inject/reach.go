package inject

import (
	"context"
	"net/netip"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

// CheckReach tells whether the credential of a record, once it is provisioned, may go
// where it wants to for its tokens. The error is a host.AddressError.
func (c *Credential) CheckReach(ctx context.Context, allow []netip.Prefix) error {
	return host.CheckReach(ctx, c.injector, allow)
}

// Reaches implements host.Reaching. The browser that is sent to authorization_url is
// somebody else's.
func (o *OAuth2) Reaches() map[string]string {
	where := map[string]string{}
	for option, address := range map[string]string{"token_url": o.TokenURL, "issuer": o.Issuer} {
		if address != "" {
			where[option] = address
		}
	}
	if o.Credentials != "" {
		if account, err := oauth.ParseServiceAccount(o.secrets.get("credentials")); err == nil {
			where["credentials"] = account.TokenURL
		}
	}
	return where
}

// Reaches implements host.Reaching. The URL's path and query may be secret.
func (c *CustomToken) Reaches() map[string]string {
	r, err := newTokenRequest(c)
	if err != nil { // it is not provisioned
		return nil
	}
	return map[string]string{"url": r.origin}
}

// Interface guards
var (
	_ host.Reaching = (*OAuth2)(nil)
	_ host.Reaching = (*CustomToken)(nil)
)
