package verify

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() {
	caddy.RegisterModule(new(Bearer))
	caddy.RegisterModule(new(JWT))
}

// Bearer accepts an opaque bearer token (RFC 6750) that is known beforehand.
type Bearer struct {
	// The accepted token: a placeholder {env.NAME} or {file./absolute/path}. Required,
	// unless there are hashes.
	Token secret.String `json:"token,omitempty"`
	// SHA-256 hashes of accepted tokens, sha256:<hex>, instead of a token.
	Hashes []string `json:"hashes,omitempty"`
	// The authentication scheme before the token. Default: Bearer.
	Prefix string `json:"prefix,omitempty"`

	opaque
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
	return b.provision(ctx, tokenOf(b.Token, b.Hashes), b.Hashes, nil,
		[]Carrier{{In: InHeader, Name: "Authorization", Prefix: prefix}})
}

// tokenOf is the token as a list. It may only be missing where there are hashes.
func tokenOf(token secret.String, hashes []string) []secret.String {
	if token == "" && len(hashes) > 0 {
		return nil
	}
	return []secret.String{token}
}

// Challenge implements Challenging (RFC 6750 section 3).
func (b *Bearer) Challenge(rejected bool) string {
	if b.Prefix != "" && b.Prefix != "Bearer" {
		return b.Prefix + ` realm="` + Realm + `"`
	}
	return bearerChallenge(rejected)
}

func bearerChallenge(rejected bool) string {
	if rejected {
		return `Bearer realm="` + Realm + `", error="invalid_token"`
	}
	return `Bearer realm="` + Realm + `"`
}

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept bearer <token> {
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

// JWT accepts one expected token, compared as a string; nothing in it is looked at. To
// check signatures and claims use jwt_verify.
type JWT struct {
	// The expected token: a placeholder {env.NAME} or {file./absolute/path}. Required,
	// unless there are hashes.
	Token secret.String `json:"token,omitempty"`
	// SHA-256 hashes of expected tokens, sha256:<hex>, instead of a token.
	Hashes []string `json:"hashes,omitempty"`

	opaque
}

// CaddyModule returns the Caddy module information.
func (*JWT) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".jwt", New: func() caddy.Module { return new(JWT) }}
}

// Provision resolves the token.
func (j *JWT) Provision(ctx caddy.Context) error {
	return j.provision(ctx, tokenOf(j.Token, j.Hashes), j.Hashes, nil, []Carrier{
		{In: InHeader, Name: "Authorization"},
		{In: InHeader, Name: "Authorization", Prefix: "Bearer"},
	})
}

// Challenge implements Challenging.
func (*JWT) Challenge(rejected bool) string { return bearerChallenge(rejected) }

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept jwt <token>
func (j *JWT) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if err := oneSecret(d, &j.Token); err != nil {
		return err
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized option %q of jwt; it has none", d.Val())
	}
	return nil
}

// oneSecret reads the single argument of a kind.
func oneSecret(d *caddyfile.Dispenser, s *secret.String) error {
	kind := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("%s needs exactly one token, a placeholder such as {env.TOKEN}; there are %d arguments", kind, len(args))
	}
	*s = secret.String(args[0])
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Bearer)(nil)
	_ opaqueVerifier        = (*Bearer)(nil)
	_ caddyfile.Unmarshaler = (*JWT)(nil)
	_ opaqueVerifier        = (*JWT)(nil)
)
