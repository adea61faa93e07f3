package inject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(JWT)) }

// JWT sends a token: one that was made elsewhere, or one that is minted and signed here,
// if there is a private key or a secret. A minted token is used until it is nearly over;
// if its claims depend on the caller, each caller has its own.
type JWT struct {
	// A token that was made elsewhere: a placeholder {env.NAME} or {file./absolute/path}.
	Token secret.String `json:"token,omitempty"`

	Minting

	// Where the token goes. Default: Authorization, after Bearer.
	To *Placement `json:"to,omitempty"`

	sent   static    // if it was made elsewhere
	minted renewable // if it is made here
	tracks following
}

// CaddyModule returns the Caddy module information.
func (*JWT) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".jwt", New: func() caddy.Module { return new(JWT) }}
}

// jwtAliases are the names that the hosted product's API has for options.
var jwtAliases = map[string]string{
	"privateKey": "private_key", "privateKeyPassword": "private_key_password", "keyId": "kid",
}

// UnmarshalJSON implements json.Unmarshaler: some options have a second name.
func (j *JWT) UnmarshalJSON(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for alias, name := range jwtAliases {
		v, ok := fields[alias]
		if !ok {
			continue
		}
		if _, twice := fields[name]; twice {
			return fmt.Errorf("%s and %s are the same option", alias, name)
		}
		fields[name] = v
		delete(fields, alias)
	}
	own, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	type plain JWT // without this method
	dec := json.NewDecoder(bytes.NewReader(own))
	dec.DisallowUnknownFields()
	return dec.Decode((*plain)(j))
}

// isStatic tells whether the token was made elsewhere.
func (j *JWT) isStatic() bool { return j.Token != "" }

// check tells what cannot be, without secrets.
func (j *JWT) check() error {
	m := &j.Minting
	minting := m.PrivateKey != "" || m.Secret != ""
	switch {
	case j.isStatic() && minting:
		return errors.New("a jwt is a token that was made elsewhere, or is made with a private_key or secret; not both")
	case !j.isStatic() && !minting:
		return errors.New("jwt needs a token, or a private_key or secret to make one, each a placeholder such as {env.TOKEN}")
	case minting:
		return m.check()
	}
	for _, o := range []struct {
		name string
		said bool
	}{
		{"private_key_password", m.PrivateKeyPassword != ""}, {"algorithm", m.Algorithm != ""}, {"kid", m.KeyID != ""},
		{"ttl", m.TTL != 0}, {"claims", m.Claims != nil}, {"omit", m.Omit != nil}, {"header", m.Header != nil},
	} {
		if o.said {
			return fmt.Errorf("%s is for a token that is made here, with a private_key or secret; this one was made elsewhere", o.name)
		}
	}
	return nil
}

// Provision resolves the secrets. A token is made when the first request needs it.
func (j *JWT) Provision(ctx caddy.Context) error {
	if err := j.check(); err != nil {
		return err
	}
	slot, format, err := j.To.resolve()
	if err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if j.isStatic() {
		v, err := j.Token.Resolve(ctx)
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		return j.sent.add(slot, v, format)
	}
	secrets := material{}
	if err := j.Minting.resolve(ctx, secrets, ""); err != nil {
		return err
	}
	place := definition{
		kind: "jwt", local: true, place: slot,
		format: func(t token.Token) string { return format(t.Value) },
	}
	return j.tracks.follow(ctx, j, &j.minted, secrets, func() (definition, error) { return j.define(place, secrets, expands(ctx)) })
}

// define completes d with the secrets of now.
func (j *JWT) define(d definition, secrets material, expand bool) (definition, error) {
	m, err := j.minter(secrets, "", expand)
	if err != nil {
		return d, err
	}
	if d.id, err = secrets.digest(j, "jwt", fmt.Sprint(expand)); err != nil {
		return d, err
	}
	d.fetch = func(_ context.Context, c *caller) (token.Token, error) {
		raw, expires, err := m.mint(c)
		return token.Token{Value: raw, Type: "Bearer", Expires: expires}, err
	}
	if len(m.claims.refs) > 0 {
		d.uses = m.claims.refs
		d.perCaller = func(x *exchange.Exchange) (key [32]byte, c *caller, err error) {
			c = &caller{ID: x.ID, Claims: rule.AllOf(x.Claims), Expires: endOf(x)}
			key, err = m.claims.key(c)
			return key, c, err
		}
	}
	return d, nil
}

// Slots implements Slotted.
func (j *JWT) Slots() []Slot {
	if j.isStatic() {
		return j.sent.Slots()
	}
	return j.minted.Slots()
}

// Inject implements Injector.
func (j *JWT) Inject(r *http.Request) error {
	if j.isStatic() {
		return j.sent.Inject(r)
	}
	return j.minted.Inject(r)
}

// Renew implements Renewable. What was made elsewhere cannot be renewed here.
func (j *JWT) Renew(r *http.Request) (bool, error) {
	if j.isStatic() {
		return false, nil
	}
	return j.minted.Renew(r)
}

// Cleanup lets the token go, if no other configuration uses it.
func (j *JWT) Cleanup() error {
	if j.isStatic() {
		return nil
	}
	return j.minted.Cleanup()
}

// Interface guards
var (
	_ caddy.Provisioner  = (*JWT)(nil)
	_ caddy.CleanerUpper = (*JWT)(nil)
	_ Injector           = (*JWT)(nil)
	_ Slotted            = (*JWT)(nil)
	_ Renewable          = (*JWT)(nil)
)
