package verify

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Key)) }

// Key accepts API keys. Several keys can be given, so that one can be rotated without an
// outage. Only their SHA-256 is compared, in constant time, and found by look-up: a
// request costs the same with one key and with 100,000.
type Key struct {
	// The accepted keys: placeholders {env.NAME} or {file./absolute/path}. Keys need at
	// least 128 random bits; shorter ones load with a warning. Required, unless there are
	// hashes.
	Secrets []secret.String `json:"secrets,omitempty"`
	// SHA-256 hashes of accepted keys, as `caddy rr keygen` prints them: sha256:<hex>.
	// With these the configuration holds no secret at all.
	Hashes []string `json:"hashes,omitempty"`
	// Where callers put the key. Default: Authorization, bare or after Bearer, and
	// X-API-Key.
	From []Carrier `json:"from,omitempty"`
	// When these keys stop being accepted (RFC 3339). Default: never.
	Expires time.Time `json:"expires,omitzero"`

	opaque
}

// minKeyLength is 128 bits in base64url, the densest usual notation.
const minKeyLength = 22

// keyCarriers are where a key is looked for by default.
func keyCarriers() []Carrier {
	return []Carrier{
		{In: InHeader, Name: "Authorization"},
		{In: InHeader, Name: "Authorization", Prefix: "Bearer"},
		{In: InHeader, Name: "X-Api-Key"},
	}
}

// CaddyModule returns the Caddy module information.
func (*Key) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".key", New: func() caddy.Module { return new(Key) }}
}

// Provision resolves the keys.
func (k *Key) Provision(ctx caddy.Context) error {
	if err := k.provision(ctx, k.Secrets, k.Hashes, k.From, keyCarriers()); err != nil {
		return err
	}
	k.expires = k.Expires
	for i, v := range k.secrets {
		if n := len(v.Get()); n < minKeyLength {
			ctx.Logger(k).Warn("an accepted key is shorter than 128 random bits can be written; make keys with `caddy rr keygen`",
				zap.Int("key", i+1), zap.Int("characters", n))
		}
	}
	return nil
}

// Challenge implements Challenging.
func (*Key) Challenge(bool) string { return `ApiKey realm="` + Realm + `"` }

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept key [<secret>...] {
//		hash    sha256:<hex>...
//		from    header|query|cookie <name> [<prefix>]
//		expires <RFC 3339 time>
//	}
func (k *Key) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	for d.NextArg() {
		k.Secrets = append(k.Secrets, secret.String(d.Val()))
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "hash":
			hashes := d.RemainingArgs()
			if len(hashes) == 0 {
				return d.ArgErr()
			}
			for _, h := range hashes {
				if _, err := ParseHash(h); err != nil {
					return d.WrapErr(err)
				}
			}
			k.Hashes = append(k.Hashes, hashes...)
		case "from":
			c, err := ParseCarrier(d)
			if err != nil {
				return err
			}
			k.From = append(k.From, c)
		case "expires":
			if err := ParseExpires(d, &k.Expires); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized option %q of key; there are: hash, from, expires", d.Val())
		}
	}
	if len(k.Secrets)+len(k.Hashes) == 0 {
		return d.Err("key needs at least one secret or hash")
	}
	return nil
}

// ParseCarrier reads `from header|query|cookie <name> [<prefix>]`, standing at from.
func ParseCarrier(d *caddyfile.Dispenser) (Carrier, error) {
	args := d.RemainingArgs()
	if len(args) < 2 || len(args) > 3 {
		return Carrier{}, d.Err("from needs a place and a name: from header|query|cookie <name> [<prefix>]")
	}
	c := Carrier{In: args[0], Name: args[1]}
	if len(args) == 3 {
		c.Prefix = args[2]
	}
	if err := c.Validate(); err != nil {
		return c, d.WrapErr(err)
	}
	return c, nil
}

// ParseExpires reads `expires <RFC 3339 time>`, standing at expires.
func ParseExpires(d *caddyfile.Dispenser, t *time.Time) error {
	var text string
	if !t.IsZero() {
		return d.Err("expires is there twice")
	}
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return d.WrapErr(fmt.Errorf("expires needs a time as in 2027-01-31T12:00:00Z (RFC 3339), not %q", text))
	}
	*t = v.UTC()
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Key)(nil)
	_ caddyfile.Unmarshaler = (*Key)(nil)
	_ opaqueVerifier        = (*Key)(nil)
	_ Carrying              = (*Key)(nil)
	_ Challenging           = (*Key)(nil)
)
