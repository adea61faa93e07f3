package inject

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() {
	caddy.RegisterModule(new(Custom))
	caddy.RegisterModule(new(None))
}

// Custom sends any number of headers, query parameters, cookies and a path segment.
type Custom struct {
	// What to send, and where. Required.
	Values []CustomValue `json:"values,omitempty"`

	static
}

// CustomValue is one part of a custom credential.
type CustomValue struct {
	Slot
	// The value: text with any number of placeholders {env.NAME} and
	// {file./absolute/path}, which are replaced when the configuration loads. Required.
	Value secret.Template `json:"value,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Custom) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".custom", New: func() caddy.Module { return new(Custom) }}
}

// Provision resolves the values.
func (c *Custom) Provision(ctx caddy.Context) error {
	if len(c.Values) == 0 {
		return errors.New("custom has nothing to send; `present none` says so")
	}
	for i := range c.Values {
		x := &c.Values[i]
		if err := x.Slot.Validate(); err != nil {
			return err
		}
		for _, other := range c.Values[:i] {
			if other.Slot == x.Slot {
				return fmt.Errorf("%s %s is there twice", x.In, x.Name)
			}
		}
		v, err := x.Value.Resolve(ctx)
		if err != nil {
			return fmt.Errorf("%s %s: %w", x.In, x.Name, err)
		}
		if err := c.add(x.Slot, v, asIs); err != nil {
			return fmt.Errorf("%s %s: %w", x.In, x.Name, err)
		}
	}
	return nil
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present custom {
//		header <name> <value>
//		query  <name> <value>
//		cookie <name> <value>
//		path   <value>
//	}
func (c *Custom) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Err("custom takes its values in a block: header|query|cookie <name> <value>")
	}
	for d.NextBlock(0) {
		v := CustomValue{Slot: Slot{In: d.Val()}}
		var value string
		switch v.In {
		case InHeader, InQuery, InCookie:
			if !d.AllArgs(&v.Name, &value) {
				return d.Errf("%s needs a name and a value", v.In)
			}
		case InPath:
			if !d.AllArgs(&value) {
				return d.Err("path needs a value")
			}
		default:
			return d.Errf("unrecognized option %q of custom; there are: header, query, cookie, path", v.In)
		}
		if err := v.Slot.Validate(); err != nil {
			return d.WrapErr(err)
		}
		v.Value = secret.Template(value)
		c.Values = append(c.Values, v)
	}
	if len(c.Values) == 0 {
		return d.Err("custom needs at least one header, query, cookie or path; `present none` sends nothing")
	}
	return nil
}

// None sends nothing. The caller's credential is still removed.
type None struct{}

// CaddyModule returns the Caddy module information.
func (*None) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".none", New: func() caddy.Module { return new(None) }}
}

// Inject implements Injector.
func (*None) Inject(*http.Request) error { return nil }

// Slots implements Slotted: Authorization is emptied and stays empty.
func (*None) Slots() []Slot { return []Slot{{InHeader, "Authorization"}} }

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present none
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
	_ caddy.Provisioner     = (*Custom)(nil)
	_ caddyfile.Unmarshaler = (*Custom)(nil)
	_ Injector              = (*Custom)(nil)
	_ Slotted               = (*Custom)(nil)
	_ caddyfile.Unmarshaler = (*None)(nil)
	_ Injector              = (*None)(nil)
	_ Slotted               = (*None)(nil)
)
