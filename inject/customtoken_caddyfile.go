package inject

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

const customTokenOptions = "url, method, request_header, basic, body, secret, jwt, success, token, expires_in, expires_at, ttl, to, timeout, ca"

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens. Syntax:
//
//	present custom_token {
//		url            <https://…>
//		method         <method>
//		request_header <name> <text>
//		basic          <user> <password>
//		body           <text>
//		secret         <name> <secret>
//		jwt            <name> {
//			<options of a minted jwt>
//		}
//		success        <jsonpath> [<text>]
//		token          <jsonpath> | header <name> | cookie <name> | body
//		expires_in     <jsonpath>
//		expires_at     <jsonpath>
//		ttl            <duration>
//		to             header <name> [<prefix>] | query <name> | cookie <name>
//		timeout        <duration>
//		ca             <certificates>
//	}
func (c *CustomToken) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Errf("custom_token has no argument %q; the endpoint is an option: url https://…", d.Val())
	}
	for d.NextBlock(0) {
		if err := c.option(d); err != nil {
			return err
		}
	}
	if err := c.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// option reads one option, standing at its name.
func (c *CustomToken) option(d *caddyfile.Dispenser) error {
	name := d.Val()
	for option, field := range map[string]*string{
		"url": &c.URL, "method": &c.Method, "body": &c.Body, "expires_in": &c.ExpiresIn, "expires_at": &c.ExpiresAt, "ca": (*string)(&c.CA),
	} {
		if name == option {
			return host.OnceText(d, field)
		}
	}
	switch name {
	case "ttl":
		return host.OnceDuration(d, &c.TTL)
	case "timeout":
		return host.OnceDuration(d, &c.Timeout)
	case "to":
		return parsePlacement(d, &c.To)
	case "token":
		return c.tokenOption(d)
	case "success":
		return c.successOption(d)
	case "basic":
		return c.basicOption(d)
	case "request_header":
		return c.headerOption(d)
	case "secret":
		return c.secretOption(d)
	case "jwt":
		return c.jwtOption(d)
	}
	return d.Errf("unrecognized option %q of custom_token; there are: %s", name, customTokenOptions)
}

func (c *CustomToken) tokenOption(d *caddyfile.Dispenser) error {
	if c.Token != (TokenIn{}) {
		return d.Err("token is said twice")
	}
	args := d.RemainingArgs()
	switch {
	case len(args) == 1 && args[0] == "body":
		c.Token.Body = true
	case len(args) == 1 && strings.HasPrefix(args[0], "$"):
		c.Token.Path = args[0]
	case len(args) == 2 && args[0] == "header" && args[1] != "":
		c.Token.Header = args[1]
	case len(args) == 2 && args[0] == "cookie" && args[1] != "":
		c.Token.Cookie = args[1]
	default:
		return d.Err("token says where the answer has it: token $.access_token (a JSONPath), token header <name>, token cookie <name> or token body")
	}
	return nil
}

func (c *CustomToken) successOption(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case c.Success != nil:
		return d.Err("success is said twice")
	case len(args) < 1 || len(args) > 2:
		return d.Err("success needs a JSONPath, and perhaps what the value there has to be")
	}
	c.Success = &Success{Path: args[0]}
	if len(args) == 2 {
		if args[1] == "" {
			return d.Err("success: the value is empty")
		}
		c.Success.Value = args[1]
	}
	return nil
}

func (c *CustomToken) basicOption(d *caddyfile.Dispenser) error {
	if c.Basic != nil {
		return d.Err("basic is said twice")
	}
	c.Basic = new(BasicParts)
	if !d.AllArgs(&c.Basic.Username, &c.Basic.Password) {
		return d.Err("basic needs a user and a password: basic svc {secret.password}")
	}
	return nil
}

func (c *CustomToken) headerOption(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Err("request_header needs a name and a value")
	}
	if err := checkTokenHeader(name); err != nil {
		return d.WrapErr(err)
	}
	if _, twice := c.RequestHeaders[name]; twice {
		return d.Errf("request_header %s is said twice", name)
	}
	if c.RequestHeaders == nil {
		c.RequestHeaders = map[string]string{}
	}
	c.RequestHeaders[name] = value
	return nil
}

func (c *CustomToken) secretOption(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) || value == "" {
		return d.Err("secret needs a name and a placeholder: secret password {env.PASSWORD}")
	}
	if _, twice := c.Secrets[name]; twice {
		return d.Errf("secret %s is said twice", name)
	}
	if c.Secrets == nil {
		c.Secrets = map[string]secret.String{}
	}
	c.Secrets[name] = secret.String(value)
	return nil
}

func (c *CustomToken) jwtOption(d *caddyfile.Dispenser) error {
	var name string
	if !d.AllArgs(&name) {
		return d.Err("jwt needs a name and a block: jwt app { … }")
	}
	if _, twice := c.JWTs[name]; twice {
		return d.Errf("jwt %s is said twice", name)
	}
	m := new(Minting)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		known, err := m.option(d)
		if err != nil {
			return err
		}
		if !known {
			return d.Errf("unrecognized option %q of jwt %s; there are: %s", option, name, mintingOptions)
		}
	}
	err := c.checkJWT(m)
	if err == nil {
		err = m.checkConfigured()
	}
	if err != nil {
		return d.WrapErr(fmt.Errorf("jwt %s: %w", name, err))
	}
	if c.JWTs == nil {
		c.JWTs = map[string]*Minting{}
	}
	c.JWTs[name] = m
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*CustomToken)(nil)
