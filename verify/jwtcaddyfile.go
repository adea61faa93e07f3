package verify

import (
	"encoding/json"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

const jwtVerifyOptions = "issuer, jwks_url, jwks, public_key, secret, audience, any_audience, algorithms, leeway, typ, subject, scope, claim, " +
	"required_claims, max_age, revoked, dpop, from, refresh_min, refresh_max, unknown_kid_interval, timeout, max_stale, ca, request_header"

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept jwt_verify {
//		issuer               <url>
//		jwks_url             <url>
//		jwks                 <json>|{file./abs}
//		public_key           <pem>|{file./abs}
//		secret               <secret>
//		audience             <audience>...
//		any_audience
//		algorithms           <algorithm>...
//		leeway               <duration>
//		typ                  <type>
//		subject              <text>|<regexp>
//		scope                <scope>...
//		claim                <path> <text>|<regexp>
//		required_claims      <path>...
//		max_age              <duration>
//		revoked              jti <id>... | sub <subject> [before <time>] | iss <issuer>...
//		dpop                 [required] [nonce] {
//			algorithms <algorithm>...
//			max_age    <duration>
//		}
//		from                 header|query|cookie <name> [<prefix>]
//		refresh_min          <duration>
//		refresh_max          <duration>
//		unknown_kid_interval <duration>
//		timeout              <duration>
//		max_stale            <duration>
//		ca                   <pem>|{file./abs}
//		request_header       <name> <value>
//	}
func (j *JWTVerify) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Errf("jwt_verify has no arguments, only options in its block: %s", jwtVerifyOptions)
	}
	for d.NextBlock(0) {
		if err := j.unmarshalOption(d); err != nil {
			return err
		}
	}
	// what can be told without files and placeholders is told with the line
	if err := j.prepareChecks(); err != nil {
		return d.WrapErr(err)
	}
	if err := j.prepareAlgorithms(); err != nil {
		return d.WrapErr(err)
	}
	if option, err := j.source(); err != nil {
		return d.WrapErr(err)
	} else if option == "issuer" || option == "jwks_url" {
		if err := j.checkAddress(); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (j *JWTVerify) unmarshalOption(d *caddyfile.Dispenser) error {
	option := d.Val()
	for name, field := range map[string]*string{
		"issuer": &j.Issuer, "jwks_url": &j.JWKSURL, "jwksUri": &j.JWKSURL, "typ": &j.Typ, "subject": &j.Subject,
		"public_key": (*string)(&j.PublicKey), "secret": (*string)(&j.Secret), "ca": (*string)(&j.CA),
	} {
		if option == name {
			return host.OnceText(d, field)
		}
	}
	for name, field := range map[string]*[]string{
		"audience": (*[]string)(&j.Audience), "algorithms": &j.Algorithms, "scope": &j.Scope, "required_claims": &j.RequiredClaims,
	} {
		if option == name {
			return host.MoreTexts(d, field)
		}
	}
	for name, field := range map[string]*caddy.Duration{
		"max_age": &j.MaxAge, "refresh_min": &j.RefreshMin, "refresh_max": &j.RefreshMax,
		"unknown_kid_interval": &j.UnknownKidInterval, "timeout": &j.Timeout, "max_stale": &j.MaxStale,
	} {
		if option == name {
			return host.OnceDuration(d, field)
		}
	}
	return j.unmarshalOther(d, option)
}

func (j *JWTVerify) unmarshalOther(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "any_audience":
		if d.NextArg() {
			return d.Err("any_audience stands alone")
		}
		j.AnyAudience = true
	case "leeway":
		return j.unmarshalLeeway(d)
	case "jwks":
		var text string
		if err := host.OnceText(d, &text); err != nil {
			return err
		}
		if j.JWKS != nil {
			return d.Err("jwks is said twice")
		}
		j.JWKS = jsonTextOrObject(text)
	case "claim":
		args := d.RemainingArgs()
		if len(args) != 2 {
			return d.Err("claim needs a name and what it is: claim <path> <text or regular expression>")
		}
		if _, err := newMatcher(args[1]); err != nil {
			return d.Errf("claim %s: %v", args[0], err)
		}
		j.Claims = append(j.Claims, ClaimMatch{args[0], args[1]})
	case "revoked":
		if j.Revoked == nil {
			j.Revoked = new(Revocations)
		}
		return j.Revoked.unmarshalLine(d)
	case "dpop":
		return j.unmarshalDPoP(d)
	case "from":
		c, err := ParseCarrier(d)
		j.From = append(j.From, c)
		return err
	case "request_header":
		return requestHeaderLine(d, &j.RequestHeaders)
	default:
		return d.Errf("unrecognized option %q of jwt_verify; there are: %s", option, jwtVerifyOptions)
	}
	return nil
}

// jsonTextOrObject keeps a key set in clear as the object that it is.
func jsonTextOrObject(text string) json.RawMessage {
	if trimmed := strings.TrimSpace(text); !secret.IsPlaceholder(trimmed) && json.Valid([]byte(trimmed)) {
		return json.RawMessage(trimmed)
	}
	b, _ := json.Marshal(text) // a text always is
	return b
}

func (j *JWTVerify) unmarshalLeeway(d *caddyfile.Dispenser) error {
	if j.Leeway != nil {
		return d.Err("leeway is said twice")
	}
	var text string
	if !d.AllArgs(&text) {
		return d.ArgErr()
	}
	v, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("leeway: %q is not a duration such as 30s", text)
	}
	leeway := caddy.Duration(v)
	j.Leeway = &leeway
	return nil
}

func (j *JWTVerify) unmarshalDPoP(d *caddyfile.Dispenser) error {
	if j.DPoP != nil {
		return d.Err("dpop is said twice")
	}
	j.DPoP = new(DPoP)
	for d.NextArg() {
		switch d.Val() {
		case "required":
			j.DPoP.Required = true
		case "nonce":
			j.DPoP.Nonce = true
		default:
			return d.Errf("dpop is followed by required, nonce or both, not by %q", d.Val())
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "algorithms":
			if err := host.MoreTexts(d, &j.DPoP.Algorithms); err != nil {
				return err
			}
		case "max_age":
			if err := host.OnceDuration(d, &j.DPoP.MaxAge); err != nil {
				return err
			}
		default:
			return d.Errf("unrecognized option %q of dpop; there are: algorithms, max_age", d.Val())
		}
	}
	if _, err := newProofs(j.DPoP); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// requestHeaderLine reads `request_header <name> <value>`.
func requestHeaderLine(d *caddyfile.Dispenser, headers *map[string]secret.Template) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("request_header needs a name and a value")
	}
	if err := checkRequestHeader(args[0]); err != nil {
		return d.WrapErr(err)
	}
	if *headers == nil {
		*headers = make(map[string]secret.Template)
	}
	if _, twice := (*headers)[args[0]]; twice {
		return d.Errf("request_header %s is said twice", args[0])
	}
	(*headers)[args[0]] = secret.Template(args[1])
	return nil
}

var _ caddyfile.Unmarshaler = (*JWTVerify)(nil)
