package verify

import (
	"context"
	"net/netip"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

// CheckReach tells whether the credential of a record, once it is provisioned, may go
// where it wants to for keys and answers. The error is a host.AddressError.
func (c *Credential) CheckReach(ctx context.Context, allow []netip.Prefix) error {
	return host.CheckReach(ctx, c.verifier, allow)
}

// Reaches implements host.Reaching.
func (j *JWTVerify) Reaches() map[string]string {
	if _, remote := j.keys.(*remoteKeys); !remote {
		return nil // the issuer is a name then, to be compared
	}
	if j.JWKSURL != "" {
		return map[string]string{"jwks_url": j.JWKSURL}
	}
	return map[string]string{"issuer": j.Issuer}
}

// Reaches implements host.Reaching.
func (i *Introspect) Reaches() map[string]string { return map[string]string{"url": i.URL} }

// Interface guards
var (
	_ host.Reaching = (*JWTVerify)(nil)
	_ host.Reaching = (*Introspect)(nil)
)
