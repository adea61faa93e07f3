package verify

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Basic)) }

// Basic accepts a user name and a password (RFC 7617). The password can be given as a
// bcrypt or argon2id hash, as `caddy hash-password` prints it. A verified pair is
// remembered (bounded), so that the hash is not computed on every request.
type Basic struct {
	// The user name: text or a placeholder {env.NAME} or {file./absolute/path}. Required.
	Username secret.Template `json:"username,omitempty"`
	// The password or its hash ($2… or $argon2id$…): a placeholder, or a hash in clear.
	// Required.
	Password secret.String `json:"password,omitempty"`

	user, password *secret.Value
}

// CaddyModule returns the Caddy module information.
func (*Basic) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".basic", New: func() caddy.Module { return new(Basic) }}
}

// Provision resolves user and password.
func (b *Basic) Provision(ctx caddy.Context) (err error) {
	// a user name and a hash are no secrets: in clear they are no reason to warn
	if strings.Contains(string(b.Username), "{") {
		b.user, err = b.Username.Resolve(ctx)
	} else if b.user = secret.Static(string(b.Username)); b.Username == "" {
		err = secret.ErrEmpty
	}
	if err != nil {
		return fmt.Errorf("username: %w", err)
	}
	if strings.Contains(b.user.Get(), ":") {
		return errors.New("username: it may not contain a colon (RFC 7617 section 2)")
	}
	if comparerOf(string(b.Password)) != nil {
		b.password = secret.Static(string(b.Password))
	} else if b.password, err = b.Password.Resolve(ctx); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	return checkHash(b.password.Get())
}

// Carriers implements Carrying.
func (*Basic) Carriers() []Carrier {
	return []Carrier{{In: InHeader, Name: "Authorization", Prefix: "Basic"}}
}

// Fingerprint implements Fingerprinting.
func (b *Basic) Fingerprint() string { return b.user.Get() + ":" + b.password.Get() }

// Challenge implements Challenging (RFC 7617 section 2).
func (*Basic) Challenge(bool) string { return `Basic realm="` + Realm + `", charset="UTF-8"` }

// Verify implements Verifier.
func (b *Basic) Verify(r *http.Request) (Identity, error) {
	return b.verify(r, func() (func(bool), bool) { return func(bool) {}, true })
}

// VerifyCached implements Costly.
func (b *Basic) VerifyCached(r *http.Request) (Identity, error) { return b.verify(r, nil) }

// verify asks begin for leave to compute a hash; nil means that there is none.
func (b *Basic) verify(r *http.Request, begin func() (func(bool), bool)) (Identity, error) {
	user, password, err := readBasic(r)
	if err != nil {
		return Identity{}, err
	}
	known := b.password.Get()
	match := secret.Equal(sum(user), sum(b.user.Get()))
	comparer := comparerOf(known)
	if comparer == nil {
		if same := secret.Equal(sum(password), sum(known)); match && same {
			return Identity{ID: user}, nil
		}
		return Identity{}, fmt.Errorf("%w: wrong user or password", ErrRejected)
	}
	if !match {
		// the gate compares with a hash once if no verifier knows the user, so that the
		// time does not tell which users there are
		return Identity{}, errOtherUser
	}
	return b.compare(r, comparer, user, password, known, begin)
}

func (b *Basic) compare(r *http.Request, c comparer, user, password, known string, begin func() (func(bool), bool)) (Identity, error) {
	key := verdictKey(user, password, known)
	if _, ok := verdicts.get(key); ok {
		return Identity{ID: user}, nil
	}
	if begin == nil {
		return Identity{}, ErrCostly
	}
	// a client that starts asks many things at once: one check answers for all of them
	ok, err := flights.do(r.Context(), key, func() (bool, error) {
		release, ok := begin()
		if !ok {
			return false, ErrCostly
		}
		ok, err := hashSlots.compare(context.WithoutCancel(r.Context()), c, known, password)
		release(err == nil && !ok)
		return ok, err
	})
	if errors.Is(err, ErrCostly) {
		return Identity{}, err
	}
	if err != nil {
		return Identity{}, fmt.Errorf("comparing the password with its hash: %w", err)
	}
	if !ok {
		return Identity{}, fmt.Errorf("%w: wrong password", ErrRejected)
	}
	verdicts.update(key, func(struct{}) struct{} { return struct{}{} })
	return Identity{ID: user}, nil
}

// errOtherUser is a rejection that cost no hash.
var errOtherUser = fmt.Errorf("%w: unknown user", ErrRejected)

// readBasic decodes the request's Basic credentials strictly.
func readBasic(r *http.Request) (user, password string, err error) {
	text, err := Carrier{In: InHeader, Name: "Authorization", Prefix: "Basic"}.Read(r)
	if err != nil {
		return "", "", err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return "", "", fmt.Errorf("%w: Basic credentials are not base64", ErrRejected)
	}
	user, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", fmt.Errorf("%w: Basic credentials have no colon", ErrRejected)
	}
	return user, password, nil
}

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept basic <user> <password or hash>
func (b *Basic) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Errf("basic needs a user and a password or its hash; there are %d arguments", len(args))
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
	_ Verifier              = (*Basic)(nil)
	_ Carrying              = (*Basic)(nil)
	_ Costly                = (*Basic)(nil)
	_ Challenging           = (*Basic)(nil)
	_ Fingerprinting        = (*Basic)(nil)
)
