package verify

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// keyring is where a verifier's keys come from.
type keyring interface {
	// set returns the keys now, nil if there are none yet. It never waits.
	set() *jose.Set
	// find returns the keys that may have signed a token with this header, and the set
	// they are from. It may wait for an issuer.
	find(ctx context.Context, h jose.Header) ([]*jose.Key, *jose.Set, error)
	// vouches reports whether a token that was once verified with the key still stands.
	vouches(thumbprint [sha256.Size]byte) bool
}

var errNoKey = fmt.Errorf("%w: no key fits the token's kid and algorithm", ErrRejected)

// ownKeys are keys that the configuration holds, directly or in a file.
type ownKeys struct{ current atomic.Pointer[jose.Set] }

func (o *ownKeys) set() *jose.Set { return o.current.Load() }

func (o *ownKeys) find(_ context.Context, h jose.Header) ([]*jose.Key, *jose.Set, error) {
	set := o.current.Load()
	if keys := set.Find(h.Kid, h.HasKid, h.Alg); len(keys) > 0 {
		return keys, set, nil
	}
	return nil, nil, errNoKey
}

func (o *ownKeys) vouches(thumbprint [sha256.Size]byte) bool {
	return o.current.Load().HasKey(thumbprint)
}

// newOwnKeys parses the value of a key material option, also whenever it changes. A new
// value that cannot be used is reported, and the keys from before stay.
func newOwnKeys(log *zap.Logger, option string, v *secret.Value, parse func(string) (*jose.Set, error)) (*ownKeys, error) {
	o := new(ownKeys)
	set, err := parse(v.Get())
	if err != nil && strings.HasPrefix(v.Get(), "/") {
		err = fmt.Errorf("%w; to read a file write {file.%s}", err, v.Get())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	o.current.Store(set)
	v.OnChange(func(text string) {
		set, err := parse(text)
		if err != nil {
			log.Error("changed keys cannot be used; those from before stay in use", zap.String("option", option), zap.Error(err))
			return
		}
		o.current.Store(set)
	})
	return o, nil
}

func parsePEMSet(text string) (*jose.Set, error) {
	keys, err := jose.ParsePublicPEM([]byte(text))
	if err != nil {
		return nil, err
	}
	return jose.NewSet(keys), nil
}

func parseJWKSet(text string) (*jose.Set, error) {
	set, skipped, err := jose.ParseSet([]byte(text))
	if err != nil {
		return nil, errors.Join(append([]error{err}, skipped...)...)
	}
	return set, nil
}

func parseSecretSet(text string) (*jose.Set, error) {
	if jose.IsPEM(text) {
		return nil, errors.New("it is a key or certificate in PEM, not a shared secret; everybody knows a public key, so nobody may sign with it: say public_key")
	}
	k, err := jose.NewKey([]byte(text), "", "")
	if err != nil {
		return nil, err
	}
	return jose.NewSet([]*jose.Key{k}), nil
}

// source is the option that says where the keys come from.
func (j *JWTVerify) source() (string, error) {
	var said []string
	for _, o := range []struct {
		name  string
		there bool
	}{
		{"jwks_url", j.JWKSURL != ""}, {"jwks", len(j.JWKS) > 0}, {"public_key", j.PublicKey != ""}, {"secret", j.Secret != ""},
	} {
		if o.there {
			said = append(said, o.name)
		}
	}
	switch {
	case len(said) > 1:
		return "", fmt.Errorf("the keys come from one place, not from several (%s)", strings.Join(said, ", "))
	case len(said) == 1:
		return said[0], nil
	case j.Issuer == "":
		return "", errors.New("it needs keys: issuer (whose keys are discovered), jwks_url, jwks, public_key or secret")
	}
	return "issuer", nil
}

// material makes the keyring that the configuration describes.
func (j *JWTVerify) material(ctx caddy.Context) (keyring, error) {
	option, err := j.source()
	if err != nil {
		return nil, err
	}
	switch option {
	case "public_key":
		v, err := resolvePublic(ctx, j.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("public_key: %w", err)
		}
		return newOwnKeys(ctx.Logger(j), option, v, parsePEMSet)
	case "jwks":
		v, err := j.inlineSet(ctx)
		if err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
		return newOwnKeys(ctx.Logger(j), option, v, parseJWKSet)
	case "secret":
		return j.secretKey(ctx)
	}
	return j.remoteKeys(ctx)
}

// resolvePublic is Resolve for what is no secret: in clear it is no reason to warn.
func resolvePublic(ctx context.Context, s secret.String) (*secret.Value, error) {
	if secret.IsPlaceholder(string(s)) {
		return s.Resolve(ctx)
	}
	return secret.Static(string(s)), nil
}

func (j *JWTVerify) inlineSet(ctx context.Context) (*secret.Value, error) {
	var text secret.String
	if err := json.Unmarshal(j.JWKS, &text); err != nil {
		return secret.Static(string(j.JWKS)), nil // the set itself, as an object
	}
	return resolvePublic(ctx, text)
}

// minSecret is, in bytes, the shortest secret of HS256 (RFC 7518 section 3.2).
const minSecret = 32

func (j *JWTVerify) secretKey(ctx caddy.Context) (keyring, error) {
	v, err := j.Secret.Resolve(ctx)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if n := len(v.Get()); n < minSecret {
		ctx.Logger(j).Warn("the secret of jwt_verify is shorter than the hash of HS256, so it is easier to guess than the signature (RFC 7518 section 3.2)",
			zap.Int("bytes", n), zap.Int("needed", minSecret))
	}
	return newOwnKeys(ctx.Logger(j), "secret", v, parseSecretSet)
}

// requestHeaders are sent along when keys are fetched; their values may change.
func requestHeaders(ctx context.Context, templates map[string]secret.Template) (func() http.Header, error) {
	values := make(map[string]*secret.Value, len(templates))
	for name, t := range templates {
		if err := checkRequestHeader(name); err != nil {
			return nil, err
		}
		v, err := t.Resolve(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		values[http.CanonicalHeaderKey(name)] = v
	}
	return func() http.Header {
		h := make(http.Header, len(values))
		for name, v := range values {
			h.Set(name, v.Get())
		}
		return h
	}, nil
}

// checkRequestHeader refuses what is not for the configuration to send.
func checkRequestHeader(name string) error {
	if !httpguts.ValidHeaderFieldName(name) || untrusted[http.CanonicalHeaderKey(name)] && !strings.EqualFold(name, "Cookie") {
		return fmt.Errorf("%q is not a header that can be sent along", name)
	}
	return nil
}

// orDefault is a duration of the configuration.
func orDefault(d caddy.Duration, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}
