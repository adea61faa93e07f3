package inject

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Bearer)) }

// Bearer sends a token in Authorization (RFC 6750).
type Bearer struct {
	// The token: a placeholder {env.NAME} or {file./absolute/path}. Required.
	Token secret.String `json:"token,omitempty"`
	// The authentication scheme before the token. Default: Bearer.
	Prefix string `json:"prefix,omitempty"`

	static
}

// CaddyModule returns the Caddy module information.
func (*Bearer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".bearer", New: func() caddy.Module { return new(Bearer) }}
}

// Provision resolves the token.
func (b *Bearer) Provision(ctx caddy.Context) error {
	prefix := b.Prefix
	if prefix == "" {
		prefix = "Bearer"
	}
	v, err := b.Token.Resolve(ctx)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	return b.add(Slot{InHeader, "Authorization"}, v, prefixed(prefix))
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present bearer <token> {
//		prefix <scheme>
//	}
func (b *Bearer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if err := oneSecret(d, &b.Token); err != nil {
		return err
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "prefix":
			if !d.AllArgs(&b.Prefix) {
				return d.ArgErr()
			}
		default:
			return d.Errf("unrecognized option %q of bearer; there is: prefix", d.Val())
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Bearer)(nil)
	_ caddyfile.Unmarshaler = (*Bearer)(nil)
	_ Injector              = (*Bearer)(nil)
	_ Slotted               = (*Bearer)(nil)
)
