package inject

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

// mintingOptions are those of Minting, in the order of the documentation.
const mintingOptions = "private_key, private_key_password, secret, algorithm, kid, ttl, claims, claims_json, omit, header"

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present jwt [<token>] {
//		token                <token>
//		private_key          <key>
//		private_key_password <password>
//		secret               <secret>
//		algorithm            <name>
//		kid                  <name>
//		ttl                  <duration>
//		claims {
//			<name> <text>...
//		}
//		claims_json          <object>
//		omit                 iat|nbf|jti...
//		header               <name> <text>...
//		to                   header <name> [<prefix>] | query <name> | cookie <name>
//	}
func (j *JWT) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		j.Token = secret.String(d.Val())
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := j.option(d); err != nil {
			return err
		}
	}
	if err := j.check(); err != nil {
		return d.WrapErr(err)
	}
	if err := j.checkConfigured(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// option reads one option, standing at its name.
func (j *JWT) option(d *caddyfile.Dispenser) error {
	name := d.Val()
	switch name {
	case "token":
		if j.Token != "" {
			return d.Err("the token is said twice")
		}
		return onceSecret(d, &j.Token)
	case "to":
		return parsePlacement(d, &j.To)
	}
	if known, err := j.Minting.option(d); known {
		return err
	}
	return d.Errf("unrecognized option %q of jwt; there are: token, %s, to", name, mintingOptions)
}

// option reads one of Minting's options, standing at its name.
func (m *Minting) option(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "private_key":
		return true, onceSecret(d, &m.PrivateKey)
	case "private_key_password":
		return true, onceSecret(d, &m.PrivateKeyPassword)
	case "secret":
		return true, onceSecret(d, &m.Secret)
	case "algorithm":
		return true, host.OnceText(d, &m.Algorithm)
	case "kid":
		return true, host.OnceText(d, &m.KeyID)
	case "ttl":
		return true, host.OnceDuration(d, &m.TTL)
	case "claims":
		return true, m.claimsBlock(d)
	case "claims_json":
		return true, m.claimsJSON(d)
	case "omit":
		args := d.RemainingArgs()
		if len(args) == 0 {
			return true, d.ArgErr()
		}
		m.Omit = append(m.Omit, args...)
		return true, nil
	case "header":
		args := d.RemainingArgs()
		if len(args) < 2 {
			return true, d.Err("header needs a name and a value: header typ at+jwt")
		}
		return true, addMember(d, &m.Header, args[0], textOrList(args[1:]))
	}
	return false, nil
}

func (m *Minting) claimsBlock(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("claims has no argument %q; it has a block with a claim in each line", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		values := d.RemainingArgs()
		if len(values) == 0 {
			return d.Errf("claim %s has no value", name)
		}
		if err := addMember(d, &m.Claims, name, textOrList(values)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Minting) claimsJSON(d *caddyfile.Dispenser) error {
	var text string
	if !d.AllArgs(&text) {
		return d.Err("claims_json needs one JSON object, in backticks")
	}
	object, err := strictjson.Object([]byte(text), strictjson.Options{})
	if err != nil {
		return d.Errf("claims_json: %v", err)
	}
	for name, v := range object {
		if err := addMember(d, &m.Claims, name, v); err != nil {
			return err
		}
	}
	return nil
}

// textOrList is the JSON of the words behind a name: one is a text, several are a list.
func textOrList(words []string) any {
	if len(words) == 1 {
		return words[0]
	}
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	return list
}

func addMember(d *caddyfile.Dispenser, o *Object, name string, v any) error {
	if _, twice := (*o)[name]; twice {
		return d.Errf("%s is said twice", name)
	}
	if *o == nil {
		*o = Object{}
	}
	(*o)[name] = v
	return nil
}

// onceSecret is onceText for a secret.
func onceSecret(d *caddyfile.Dispenser, field *secret.String) error {
	return host.OnceText(d, (*string)(field))
}

// Interface guard
var _ caddyfile.Unmarshaler = (*JWT)(nil)
