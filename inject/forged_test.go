package inject

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(Forged)) }

// ForgedTokens is how many tokens there have been of the kind test_forged, which are
// "<secret>-<number>".
var ForgedTokens atomic.Int64

// Forged is a kind of credential as they are made with renewable.
type Forged struct {
	Secret secret.String `json:"secret,omitempty"`

	renewable
}

// CaddyModule returns the Caddy module information.
func (*Forged) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".test_forged", New: func() caddy.Module { return new(Forged) }}
}

// Provision follows the secret.
func (f *Forged) Provision(ctx caddy.Context) error {
	v, err := f.Secret.Resolve(ctx)
	if err != nil {
		return err
	}
	v.OnChange(func(s string) {
		err = f.use(ctx, definition{
			kind: "test_forged", id: sha256.Sum256([]byte(s)),
			fetch: func(context.Context, *caller) (token.Token, error) {
				if s == "wrong-secret" {
					return token.Token{}, &token.Failure{Err: fmt.Errorf("%s is wrong", s), Permanent: true}
				}
				return token.Token{Value: fmt.Sprintf("%s-%d", s, ForgedTokens.Add(1)), Expires: time.Now().Add(time.Hour)}, nil
			},
		})
	})
	return err
}

// UnmarshalCaddyfile sets up the injector from Caddyfile tokens.
func (f *Forged) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return oneSecret(d, &f.Secret)
}
