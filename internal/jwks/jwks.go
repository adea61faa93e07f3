// Package jwks keeps the keys of one issuer at hand: it fetches them in the background,
// on a schedule and when a token names a key that is not known, and goes on with the last
// good ones while the issuer is away.
//
// Who asks can neither make it fetch more often than its limits say, nor be held longer
// than its timeout, nor get a key that the issuer's last answer did not have.
package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// Config says where a Source has its keys from. Zero durations stand for the defaults.
type Config struct {
	// Issuer names its keys' address in its discovery document, when URL is empty.
	Issuer string
	// URL is where the keys are.
	URL string
	// Header returns headers to send along, for issuers that show their keys to somebody
	// only. They go to the host that the operator named and to no other. It may be nil.
	Header func() http.Header

	// RefreshMin and RefreshMax bound the time between two scheduled fetches, which the
	// issuer's Cache-Control decides. Defaults: a minute, an hour.
	RefreshMin, RefreshMax time.Duration
	// UnknownKidInterval is the least time between two fetches because of keys that are not
	// known. Default: 10 s.
	UnknownKidInterval time.Duration
	// Timeout bounds one exchange with the issuer, and how long a caller of Keys waits.
	// Default: 5 s.
	Timeout time.Duration
	// MaxStale is how long keys are used after the fetch that got them. Default: 24 h.
	MaxStale time.Duration

	// Variant tells apart sources of the same keys that fetch them differently, by what
	// decides whom they trust; their stored keys are never mixed.
	Variant string
	// Policy says which addresses may be reached. Its Trusted is for the host that the
	// operator named; other hosts that a discovery document names are never trusted.
	Policy fetch.Policy
	// Storage keeps the last good keys over a restart; nil stands for none.
	Storage Storage
	// Log may be nil.
	Log *zap.Logger
}

// Storage keeps small records. A record that is not there is an fs.ErrNotExist.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, data []byte) error
}

// ErrUnknownKey says that the issuer has no key for a token.
var ErrUnknownKey = errors.New("the issuer has no such key")

// Unavailable says that it cannot be told now whether the issuer has a key for a token.
type Unavailable struct {
	// RetryAfter is when it may be known, at least a second.
	RetryAfter time.Duration
	// Err is the reason.
	Err error
}

func (u *Unavailable) Error() string {
	return fmt.Sprintf("the issuer's keys are not available: %v", u.Err)
}
func (u *Unavailable) Unwrap() error { return u.Err }

var (
	errNotStarted = errors.New("they are not fetched yet")
	errStopped    = errors.New("they are no longer fetched")
	errSlow       = errors.New("the issuer takes too long")
)

// minWait is the shortest RetryAfter, and the first wait after a failure.
const minWait = time.Second

func (c Config) withDefaults() Config {
	c.RefreshMin = cmp.Or(c.RefreshMin, time.Minute)
	c.RefreshMax = cmp.Or(c.RefreshMax, max(time.Hour, c.RefreshMin))
	c.UnknownKidInterval = cmp.Or(c.UnknownKidInterval, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	c.MaxStale = cmp.Or(c.MaxStale, 24*time.Hour)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}
