package inject

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

// oauth2Options are in the order of the documentation.
var oauth2Options = strings.Join(append(append([]string{"grant", "token_url", "issuer", "authorization_url"}, oauth.OptionNames...),
	"scopes", "scope_separator", "audience", "resource", "param", "refresh_token", "keep_rotated", "claims", "credentials",
	"subject_token_type", "requested_token_type", "actor_token", "actor_token_type", "header", "to", "timeout"), ", ")

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present oauth2 {
//		grant                client_credentials|refresh_token|jwt_bearer|token_exchange|authorization_code
//		token_url            <https://…>
//		issuer               <https://…>
//		authorization_url    <https://…>
//		client_id            <id>
//		client_secret        <secret>
//		client_auth          basic|post|private_key_jwt|client_secret_jwt|mtls|none
//		private_key          <key>
//		algorithm            <name>
//		kid                  <name>
//		assertion_audience   <text>
//		certificate          <certificate>
//		key                  <key>
//		ca                   <certificates>
//		scopes               <scope>...
//		scope_separator      <text>
//		audience             <text>...
//		resource             <uri>...
//		param                <name> <value>
//		refresh_token        <token>
//		keep_rotated
//		claims {
//			<name> <text>...
//		}
//		credentials          <file>
//		subject_token_type   <type>
//		requested_token_type <type>
//		actor_token          <token>
//		actor_token_type     <type>
//		header               <name> [<prefix>]
//		to                   header <name> [<prefix>] | query <name> | cookie <name>
//		timeout              <duration>
//	}
func (o *OAuth2) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Errf("oauth2 has no argument %q; the grant is an option: grant client_credentials", d.Val())
	}
	for d.NextBlock(0) {
		if err := o.option(d); err != nil {
			return err
		}
	}
	if err := o.check(); err != nil {
		return d.WrapErr(err)
	}
	if err := o.checkConfigured(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// option reads one option, standing at its name.
func (o *OAuth2) option(d *caddyfile.Dispenser) error {
	name := d.Val()
	for option, field := range map[string]*string{
		"grant": &o.Grant, "token_url": &o.TokenURL, "issuer": &o.Issuer, "authorization_url": &o.AuthorizationURL,
		"refresh_token": (*string)(&o.RefreshToken), "credentials": (*string)(&o.Credentials),
		"subject_token_type": &o.SubjectTokenType, "requested_token_type": &o.RequestedTokenType,
		"actor_token": (*string)(&o.ActorToken), "actor_token_type": &o.ActorTokenType,
	} {
		if name == option {
			return host.OnceText(d, field)
		}
	}
	switch name {
	case "scopes":
		return host.MoreTexts(d, &o.Scopes)
	case "audience":
		return host.MoreTexts(d, &o.Audience)
	case "resource":
		return host.MoreTexts(d, &o.Resource)
	case "scope_separator":
		if o.ScopeSeparator != "" {
			return d.Err("scope_separator is said twice")
		}
		if !d.AllArgs(&o.ScopeSeparator) || o.ScopeSeparator == "" {
			return d.Err(`scope_separator needs exactly one argument: scope_separator ","`)
		}
		return nil
	case "keep_rotated":
		o.KeepRotated = true
		if d.NextArg() {
			return d.Errf("keep_rotated has no argument %q", d.Val())
		}
		return nil
	case "param":
		return o.paramOption(d)
	case "claims":
		m := Minting{Claims: o.Claims}
		err := m.claimsBlock(d)
		o.Claims = m.Claims
		return err
	case "header":
		return o.headerOption(d)
	case "to":
		return parsePlacement(d, &o.To)
	case "timeout":
		return host.OnceDuration(d, &o.Timeout)
	}
	known, err := o.Option(name, d.RemainingArgs())
	if err != nil {
		return d.WrapErr(err)
	}
	if !known {
		return d.Errf("unrecognized option %q of oauth2; there are: %s", name, oauth2Options)
	}
	return nil
}

func (o *OAuth2) paramOption(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) || value == "" {
		return d.Err("param needs a name and a value: param access_type offline")
	}
	if _, twice := o.Params[name]; twice {
		return d.Errf("param %s is said twice", name)
	}
	if err := oauth.CheckParam(name); err != nil {
		return d.WrapErr(err)
	}
	if o.Params == nil {
		o.Params = map[string]secret.Template{}
	}
	o.Params[name] = secret.Template(value)
	return nil
}

// headerOption reads `header <name> [<prefix>]`, which is `to header` for short.
func (o *OAuth2) headerOption(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if o.To != nil || len(args) < 1 || len(args) > 2 {
		return d.Err("header is said once: header <name> [<prefix>]")
	}
	made := &Placement{Slot: Slot{In: InHeader, Name: args[0]}}
	if len(args) == 2 {
		made.Prefix = args[1]
	}
	slot, _, err := made.resolve()
	if err != nil {
		return d.WrapErr(err)
	}
	made.Slot, o.To = slot, made
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*OAuth2)(nil)
