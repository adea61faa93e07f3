package guestkind

import (
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(DateHMAC)) }

// DateHMAC signs each request for an upstream that wants
//
//	Date: <now>
//	Authorization: HMAC <name>:<hex of HMAC-SHA256(key, "<method>\n<path>\n<date>")>
//
// The path is the one that is sent, with the target's base path.
type DateHMAC struct {
	// The name under which the upstream knows the key.
	Name string `json:"name,omitempty"`
	// The key, base64 of at least 32 bytes: a placeholder {env.NAME} or
	// {file./absolute/path}.
	Key secret.String `json:"key,omitempty"`

	key *secret.Value
	now func() time.Time
}

// CaddyModule returns the Caddy module information.
func (*DateHMAC) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: inject.Namespace + ".date_hmac", New: func() caddy.Module { return new(DateHMAC) }}
}

// Provision resolves the key and checks the rest.
func (d *DateHMAC) Provision(ctx caddy.Context) (err error) {
	if !name.MatchString(d.Name) {
		return fmt.Errorf("name: %q is not up to 64 letters, digits, dots, hyphens and underscores", d.Name)
	}
	// only here: ctx knows how secrets of this configuration are resolved
	if d.key, err = d.Key.Resolve(ctx); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	d.now = time.Now
	_, err = keyOf(d.key)
	return err
}

// Slots implements inject.Slotted: what rr empties before Inject.
func (*DateHMAC) Slots() []inject.Slot {
	return []inject.Slot{{In: inject.InHeader, Name: "Authorization"}, {In: inject.InHeader, Name: "Date"}}
}

// Inject implements inject.Injector.
func (d *DateHMAC) Inject(r *http.Request) error {
	key, err := keyOf(d.key) // on every request: the file may have changed
	if err != nil {
		return err
	}
	date := d.now().UTC().Format(http.TimeFormat)
	signature := sign(key, r.Method+"\n"+r.URL.EscapedPath()+"\n"+date)
	r.Header.Set("Date", date)
	r.Header.Set("Authorization", "HMAC "+d.Name+":"+signature)
	return nil
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present date_hmac <name> <key>
func (d *DateHMAC) UnmarshalCaddyfile(disp *caddyfile.Dispenser) error {
	disp.Next() // the kind
	args := disp.RemainingArgs()
	if len(args) != 2 {
		return disp.Errf("date_hmac needs a name and a key, a placeholder such as {env.KEY}; there are %d arguments", len(args))
	}
	d.Name, d.Key = args[0], secret.String(args[1])
	for disp.NextBlock(0) {
		return disp.Errf("unrecognized option %q of date_hmac; it has none", disp.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*DateHMAC)(nil)
	_ caddyfile.Unmarshaler = (*DateHMAC)(nil)
	_ inject.Injector       = (*DateHMAC)(nil)
	_ inject.Slotted        = (*DateHMAC)(nil)
)
