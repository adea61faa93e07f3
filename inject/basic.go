package inject

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Basic)) }

// Basic sends a user name and a password (RFC 7617).
type Basic struct {
	// The user name: text or a placeholder {env.NAME} or {file./absolute/path}. Required.
	Username secret.Template `json:"username,omitempty"`
	// The password: a placeholder {env.NAME} or {file./absolute/path}. Required.
	Password secret.String `json:"password,omitempty"`

	static
}

// CaddyModule returns the Caddy module information.
func (*Basic) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".basic", New: func() caddy.Module { return new(Basic) }}
}

// Provision resolves user and password.
func (b *Basic) Provision(ctx caddy.Context) (err error) {
	if b.Username == "" {
		return errors.New("username: it is missing")
	}
	user := secret.Static(string(b.Username))
	if strings.Contains(string(b.Username), "{") { // text in clear is no secret to warn of
		if user, err = b.Username.Resolve(ctx); err != nil {
			return fmt.Errorf("username: %w", err)
		}
	}
	password, err := b.Password.Resolve(ctx)
	if err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if strings.Contains(user.Get(), ":") {
		return errors.New("username: it may not contain a colon (RFC 7617 section 2)")
	}
	encode := func(string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Get()+":"+password.Get()))
	}
	if err := b.add(Slot{InHeader, "Authorization"}, password, encode); err != nil {
		return err
	}
	// the user name may come from a file as well
	user.OnChange(func(string) { _ = b.values[0].set(encode("")) })
	return nil
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present basic <user> <password>
func (b *Basic) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("basic needs a user and a password; there are %d arguments", len(args))
	}
	b.Username, b.Password = secret.Template(args[0]), secret.String(args[1])
	for d.NextBlock(0) {
		return d.Errf("unrecognized option %q of basic; it has none", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Basic)(nil)
	_ caddyfile.Unmarshaler = (*Basic)(nil)
	_ Injector              = (*Basic)(nil)
	_ Slotted               = (*Basic)(nil)
)
