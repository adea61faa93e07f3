package verify

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/oauth"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

// introspectOptions are in the order of the documentation.
var introspectOptions = strings.Join(append(append([]string{"url"}, oauth.OptionNames...),
	"token_type_hint", "issuer", "audience", "any_audience", "scope", "cache", "timeout", "from", "prefix"), ", ")

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept introspect {
//		url                <https://…>
//		client_id          <id>
//		client_secret      <secret>
//		client_auth        basic|post|private_key_jwt|client_secret_jwt|mtls|none
//		private_key        <key>
//		algorithm          <name>
//		kid                <name>
//		assertion_audience <text>
//		certificate        <certificate>
//		key                <key>
//		ca                 <certificates>
//		token_type_hint    <text>
//		issuer             <text>
//		audience           <text>...
//		any_audience
//		scope              <scope>...
//		cache              <duration>
//		timeout            <duration>
//		from               header|query|cookie <name> [<prefix>]
//		prefix             <scheme>
//	}
func (i *Introspect) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Errf("introspect has no argument %q; the endpoint is an option: url https://…", d.Val())
	}
	for d.NextBlock(0) {
		if err := i.option(d); err != nil {
			return err
		}
	}
	if i.URL == "" {
		return d.Err("introspect needs the url of the introspection endpoint")
	}
	if err := i.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// option reads one option, standing at its name.
func (i *Introspect) option(d *caddyfile.Dispenser) error {
	name := d.Val()
	switch name {
	case "url":
		if err := host.OnceText(d, &i.URL); err != nil {
			return err
		}
		if _, err := fetch.CheckURL(i.URL); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "token_type_hint":
		return host.OnceText(d, &i.TokenTypeHint)
	case "issuer":
		return host.OnceText(d, &i.Issuer)
	case "prefix":
		return host.OnceText(d, &i.Prefix)
	case "audience":
		return host.MoreTexts(d, (*[]string)(&i.Audience))
	case "scope":
		return host.MoreTexts(d, (*[]string)(&i.Scope))
	case "cache":
		return host.OnceDuration(d, &i.Cache)
	case "timeout":
		return host.OnceDuration(d, &i.Timeout)
	case "any_audience":
		i.AnyAudience = true
		if d.NextArg() {
			return d.Errf("any_audience has no argument %q", d.Val())
		}
		return nil
	case "from":
		c, err := ParseCarrier(d)
		i.From = append(i.From, c)
		return err
	}
	known, err := i.Option(name, d.RemainingArgs())
	if err != nil {
		return d.WrapErr(err)
	}
	if !known {
		return d.Errf("unrecognized option %q of introspect; there are: %s", name, introspectOptions)
	}
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Introspect)(nil)
