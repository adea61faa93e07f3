package inject

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Key)) }

// Key sends an API key in a header or a query parameter.
type Key struct {
	// The key: a placeholder {env.NAME} or {file./absolute/path}. Required.
	Secret secret.String `json:"secret,omitempty"`
	// The header that carries the key. Default: X-API-Key.
	Header string `json:"header,omitempty"`
	// What stands before the key in the header, such as Token. A word is followed by a
	// space.
	Prefix string `json:"prefix,omitempty"`
	// The query parameter that carries the key, instead of a header.
	Query string `json:"query,omitempty"`

	static
}

// CaddyModule returns the Caddy module information.
func (*Key) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".key", New: func() caddy.Module { return new(Key) }}
}

// Provision resolves the key.
func (k *Key) Provision(ctx caddy.Context) error {
	v, err := k.Secret.Resolve(ctx)
	if err != nil {
		return fmt.Errorf("secret: %w", err)
	}
	slot := Slot{In: InHeader, Name: "X-Api-Key"}
	switch {
	case k.Query != "" && (k.Header != "" || k.Prefix != ""):
		return errors.New("the key goes into a header or a query parameter, not into both")
	case k.Query != "":
		slot = Slot{In: InQuery, Name: k.Query}
	case k.Header != "":
		slot.Name = k.Header
	}
	return k.add(slot, v, prefixed(k.Prefix))
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present key <secret> {
//		header <name> [<prefix>]
//		query  <name>
//	}
func (k *Key) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if err := oneSecret(d, &k.Secret); err != nil {
		return err
	}
	for d.NextBlock(0) {
		option := d.Val()
		switch option {
		case "header":
			args := d.RemainingArgs()
			if len(args) < 1 || len(args) > 2 || k.Header != "" {
				return d.Err("header is said once: header <name> [<prefix>]")
			}
			k.Header = args[0]
			if len(args) == 2 {
				k.Prefix = args[1]
			}
			if err := (&Slot{InHeader, k.Header}).Validate(); err != nil {
				return d.WrapErr(err)
			}
		case "query":
			if k.Query != "" || !d.AllArgs(&k.Query) {
				return d.Err("query is said once: query <name>")
			}
		default:
			return d.Errf("unrecognized option %q of key; there are: header, query", option)
		}
		if k.Header != "" && k.Query != "" {
			return d.Err("the key goes into a header or a query parameter, not into both")
		}
	}
	return nil
}

// oneSecret reads the single argument of a kind.
func oneSecret(d *caddyfile.Dispenser, s *secret.String) error {
	kind := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("%s needs exactly one secret, a placeholder such as {env.KEY}; there are %d arguments", kind, len(args))
	}
	*s = secret.String(args[0])
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Key)(nil)
	_ caddyfile.Unmarshaler = (*Key)(nil)
	_ Injector              = (*Key)(nil)
	_ Slotted               = (*Key)(nil)
)
