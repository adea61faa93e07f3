package verify

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func init() { caddy.RegisterModule(new(None)) }

// None accepts anonymous callers, said out loud. It does not accept a caller who
// presents a credential to another verifier of the same proxy and is refused there.
type None struct{}

// CaddyModule returns the Caddy module information.
func (*None) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".none", New: func() caddy.Module { return new(None) }}
}

// Verify accepts.
func (*None) Verify(*http.Request) (Identity, error) { return Identity{ID: "anonymous"}, nil }

// Carriers implements Carrying: it reads nothing.
func (*None) Carriers() []Carrier { return nil }

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept none
func (*None) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized option %q of none; it has none", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ Verifier              = (*None)(nil)
	_ Carrying              = (*None)(nil)
	_ caddyfile.Unmarshaler = (*None)(nil)
)
