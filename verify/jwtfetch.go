package verify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/jwks"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// KeyFetching is how an issuer's keys are fetched. That goes on in the background; the
// last good keys are kept in Caddy's storage, so that a restart while the issuer cannot
// be reached still verifies.
type KeyFetching struct {
	// The keys are fetched again as often as their Cache-Control says, but not more often
	// than this. Default: 1m.
	RefreshMin caddy.Duration `json:"refresh_min,omitempty"`
	// The keys are fetched again at least this often. Default: 1h.
	RefreshMax caddy.Duration `json:"refresh_max,omitempty"`
	// A token whose key is not known has the keys fetched at most once in this time, for
	// all callers together. Default: 10s.
	UnknownKidInterval caddy.Duration `json:"unknown_kid_interval,omitempty"`
	// How long one fetch may take. Default: 5s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
	// For how long keys are used that could not be fetched again. Default: 24h.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`
	// Certificates in PEM that the issuer's may come from, besides those that the system
	// trusts: text, or a placeholder {file./absolute/path}. It is read when the
	// configuration loads.
	CA secret.String `json:"ca,omitempty"`
	// Headers to send along, for issuers that show their keys to somebody only, such as
	// Kubernetes: values may hold placeholders.
	RequestHeaders map[string]secret.Template `json:"request_headers,omitempty"`
}

// The defaults and bounds of KeyFetching.
const (
	defaultRefreshMin = time.Minute
	defaultRefreshMax = time.Hour
	defaultUnknownKid = 10 * time.Second
	defaultTimeout    = 5 * time.Second
	defaultMaxStale   = 24 * time.Hour
)

// config checks the bounds.
func (k *KeyFetching) config() (c jwks.Config, err error) {
	c = jwks.Config{
		RefreshMin:         orDefault(k.RefreshMin, defaultRefreshMin),
		RefreshMax:         orDefault(k.RefreshMax, defaultRefreshMax),
		UnknownKidInterval: orDefault(k.UnknownKidInterval, defaultUnknownKid),
		Timeout:            orDefault(k.Timeout, defaultTimeout),
		MaxStale:           orDefault(k.MaxStale, defaultMaxStale),
	}
	for name, d := range map[string]time.Duration{
		"refresh_min": c.RefreshMin, "refresh_max": c.RefreshMax, "unknown_kid_interval": c.UnknownKidInterval,
		"timeout": c.Timeout, "max_stale": c.MaxStale,
	} {
		if d < 0 {
			return c, fmt.Errorf("%s is negative", name)
		}
	}
	if c.RefreshMin > c.RefreshMax {
		return c, fmt.Errorf("refresh_min (%v) is more than refresh_max (%v)", c.RefreshMin, c.RefreshMax)
	}
	if c.Timeout > time.Minute {
		return c, errors.New("timeout is at most 1m: callers wait for it")
	}
	return c, nil
}

// remoteKeys are an issuer's keys, shared by all configurations that fetch the same.
type remoteKeys struct {
	source *sharedSource
	id     digest
}

func (k *remoteKeys) set() *jose.Set { return k.source.Set() }

func (k *remoteKeys) find(ctx context.Context, h jose.Header) ([]*jose.Key, *jose.Set, error) {
	keys, set, err := k.source.Keys(ctx, h.Kid, h.HasKid, h.Alg)
	var later *jwks.Unavailable
	switch {
	case errors.Is(err, jwks.ErrUnknownKey):
		return nil, nil, errNoKey
	case errors.As(err, &later):
		return nil, nil, &keysAway{err, later.RetryAfter}
	}
	return keys, set, err
}

// keysAway is that the issuer's keys are not there; it is Retryable.
type keysAway struct {
	err   error
	after time.Duration
}

func (u *keysAway) Error() string             { return u.err.Error() }
func (u *keysAway) Unwrap() error             { return u.err }
func (u *keysAway) RetryAfter() time.Duration { return u.after }

func (k *remoteKeys) vouches(thumbprint [sha256.Size]byte) bool {
	if set := k.source.Set(); set != nil {
		return set.HasKey(thumbprint)
	}
	// a configuration that has just come into force has not fetched yet, and cuts nobody off
	return !k.source.loaded.Load()
}

// sources are the issuers in use. They live on while any configuration uses them, so a
// reload fetches nothing again and leaves nothing behind.
var sources = caddy.NewUsagePool()

// sharedSource is a source whose surroundings are those of the latest configuration.
type sharedSource struct {
	*jwks.Source
	storage atomic.Pointer[caddyStorage]
	header  atomic.Pointer[func() http.Header]
	loaded  atomic.Bool // there have been keys
}

// Destruct implements caddy.Destructor.
func (s *sharedSource) Destruct() error {
	s.Stop()
	return nil
}

// changed ends the streams of callers whose keys are gone.
func (s *sharedSource) changed() {
	s.loaded.Store(true)
	exchange.Streams.Sweep()
}

// caddyStorage is what is used of Caddy's storage.
type caddyStorage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
}

var errNoStorage = errors.New("there is no storage")

// Load implements jwks.Storage.
func (s *sharedSource) Load(ctx context.Context, key string) ([]byte, error) {
	if st := s.storage.Load(); st != nil {
		return (*st).Load(ctx, key)
	}
	return nil, errNoStorage
}

// Store implements jwks.Storage.
func (s *sharedSource) Store(ctx context.Context, key string, value []byte) error {
	if st := s.storage.Load(); st != nil {
		return (*st).Store(ctx, key, value)
	}
	return errNoStorage
}

func (s *sharedSource) headers() http.Header {
	if f := s.header.Load(); f != nil {
		return (*f)()
	}
	return nil
}

// checkAddress checks the address that keys are fetched from.
func (j *JWTVerify) checkAddress() error {
	option, where := "jwks_url", j.JWKSURL
	if where == "" { // else the issuer is a name, to be compared
		option, where = "issuer", j.Issuer
	}
	if _, err := fetch.CheckURL(where); err != nil {
		return fmt.Errorf("%s %q: %w", option, where, err)
	}
	return nil
}

// remoteKeys finds or makes the source. It starts when the configuration is in force.
func (j *JWTVerify) remoteKeys(ctx caddy.Context) (keyring, error) {
	if err := j.checkAddress(); err != nil {
		return nil, err
	}
	c, err := j.KeyFetching.config()
	if err != nil {
		return nil, err
	}
	ca := secret.Static("")
	if j.CA != "" {
		if ca, err = resolvePublic(ctx, j.CA); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		if c.Policy.RootCAs, err = oauth.MoreRoots(ca.Get()); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	header, err := requestHeaders(ctx, j.RequestHeaders)
	if err != nil {
		return nil, fmt.Errorf("request_header: %w", err)
	}
	c.Issuer, c.URL = j.Issuer, j.JWKSURL
	// the operator wrote the URL, unless it stands in a record
	c.Policy.Trusted, c.Policy.Allow = !host.Untrusted(ctx), host.Egress(ctx)
	if c.Variant, err = j.variant(ca.Get(), c.Policy); err != nil {
		return nil, err
	}
	id, err := sourceID(c)
	if err != nil {
		return nil, err
	}
	pooled, _, err := sources.LoadOrNew(id, func() (caddy.Destructor, error) {
		s := new(sharedSource)
		c.Storage, c.Header, c.Log = s, s.headers, zap.New(host.ProcessLog("rr.jwks"))
		s.Source = jwks.New(c)
		s.Subscribe(s.changed)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	s := pooled.(*sharedSource)
	storage := caddyStorage(ctx.Storage())
	host.OnStart(ctx, func() {
		s.storage.Store(&storage)
		s.header.Store(&header)
		s.Start()
	})
	return &remoteKeys{s, id}, nil
}

// variant is over what decides whom a fetch trusts, and what it is allowed to see.
func (j *JWTVerify) variant(ca string, p fetch.Policy) (string, error) {
	b, err := json.Marshal(struct {
		CA        string
		Headers   map[string]secret.Template
		Allow     []netip.Prefix
		Untrusted bool `json:",omitempty"`
	}{ca, j.RequestHeaders, p.Allow, !p.Trusted})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}

// sourceID is over everything that decides which keys are fetched, and how.
func sourceID(c jwks.Config) (digest, error) {
	b, err := json.Marshal([]any{
		c.Issuer, c.URL, c.Variant, c.RefreshMin, c.RefreshMax, c.UnknownKidInterval, c.Timeout, c.MaxStale,
	})
	return sha256.Sum256(b), err
}

// Cleanup lets the issuer's keys go, if no other configuration uses them.
func (j *JWTVerify) Cleanup() error {
	k, ok := j.keys.(*remoteKeys)
	if !ok {
		return nil
	}
	_, err := sources.Delete(k.id)
	return err
}
