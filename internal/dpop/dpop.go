// Package dpop checks proofs of possession for a resource server (RFC 9449): that who
// sends a token holds the private key that the token is bound to, and made the proof for
// this request, a moment ago and for one use.
//
// The caller has verified the access token before and says which key it is bound to. That
// comes first for a reason: what is remembered of a proof takes room, and only who holds a
// token of ours is given any.
//
// A store in memory forgets with its process. What is caught just before a restart, or at
// another node, can be used once more within MaxAge; nonces close the first gap, since
// their key goes with the process, and a shared Replay both.
package dpop

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// The defaults of Config.
const (
	DefaultMaxAge    = time.Minute
	DefaultLeeway    = 30 * time.Second
	DefaultNonceStep = 5 * time.Minute
	DefaultReplayMax = 100_000
)

// The bounds of Config: proofs are made for one request, so minutes are a lot (RFC 9449
// section 11.1).
const (
	maxAgeLimit = 5 * time.Minute
	leewayLimit = time.Minute
)

// The sizes of the largest proof and of the longest jti that are looked at, in bytes.
const (
	MaxProof = 8 << 10
	maxID    = 256
)

// DefaultAlgs are what clients sign with unless something else is configured.
var DefaultAlgs = []string{"ES256", "EdDSA"}

var (
	// ErrProof is wrapped by all errors that are the proof's fault: 401 with
	// error="invalid_dpop_proof" (RFC 9449 section 7.1). Its texts hold nothing of the
	// proof or the token.
	ErrProof = errors.New("the DPoP proof is not valid")
	// ErrReplay is an ErrProof: the proof has been used before.
	ErrReplay = fmt.Errorf("%w: it has been used before", ErrProof)
	// ErrUseNonce is that the proof is without the nonce that is demanded, or has one that
	// is no longer valid: 401 with error="use_dpop_nonce" and the header DPoP-Nonce (RFC
	// 9449 section 9). It is no ErrProof.
	ErrUseNonce = errors.New("the DPoP proof needs a nonce of this server that is valid now")
	// ErrReplayFull is that the store has no room for one more proof: 503. The request may
	// be sent again, with a new proof, when others have expired.
	ErrReplayFull = errors.New("too many DPoP proofs are in use")
)

func bad(why string) error { return fmt.Errorf("%w: %s", ErrProof, why) }

// Config says what proofs have to be like. The zero value is the default.
type Config struct {
	// Algs are the algorithms that are allowed, all of them asymmetric.
	Algs []string
	// MaxAge is how old a proof may be, at most 5 minutes.
	MaxAge time.Duration
	// Leeway is how far ahead of this clock the client's may be, at most a minute.
	Leeway time.Duration
	// Nonce demands a nonce from this server (RFC 9449 section 9).
	Nonce bool
	// NonceStep is how often the nonce changes. Each is valid for one to two steps.
	NonceStep time.Duration
	// NonceKey is what nonces are made with, for nodes that have to know each other's: 32
	// bytes or more. Default: a random key of this process.
	NonceKey []byte
	// Replay remembers the proofs that were used. It should outlive a change of
	// configuration. Default: a new one in memory, for ReplayMax proofs.
	Replay Replay
	// ReplayMax is how many proofs are remembered where Replay is not given. At most this
	// many are accepted in MaxAge.
	ReplayMax int
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Checker checks proofs. It is safe for concurrent use.
type Checker struct {
	algs   []string
	maxAge time.Duration
	leeway time.Duration
	nonces *nonces // nil: not demanded
	replay Replay
	now    func() time.Time
}

// New makes a Checker. It refuses what is out of bounds, and algorithms that are unknown
// or symmetric.
func New(cfg Config) (*Checker, error) {
	c := &Checker{
		algs:   slices.Clone(cfg.Algs),
		maxAge: orDefault(cfg.MaxAge, DefaultMaxAge),
		leeway: orDefault(cfg.Leeway, DefaultLeeway),
		replay: cfg.Replay,
		now:    cfg.Now,
	}
	if len(c.algs) == 0 {
		c.algs = slices.Clone(DefaultAlgs)
	}
	for _, alg := range c.algs {
		if !slices.Contains(jose.Asymmetric, alg) {
			return nil, fmt.Errorf("%q is not an algorithm for DPoP proofs; there are: %v", alg, jose.Asymmetric)
		}
	}
	if c.maxAge < time.Second || c.maxAge > maxAgeLimit {
		return nil, fmt.Errorf("proofs may be 1s to %v old, not %v", maxAgeLimit, c.maxAge)
	}
	if c.leeway < 0 || c.leeway > leewayLimit {
		return nil, fmt.Errorf("the leeway may be 0s to %v, not %v", leewayLimit, c.leeway)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.replay == nil {
		c.replay = NewReplay(cfg.ReplayMax, c.now)
	}
	var err error
	if cfg.Nonce {
		c.nonces, err = newNonces(cfg.NonceKey, orDefault(cfg.NonceStep, DefaultNonceStep))
	}
	return c, err
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Algs are the algorithms that are allowed as the challenge names them, in the parameter
// algs (RFC 9449 section 7.1).
func (c *Checker) Algs() string { return strings.Join(c.algs, " ") }

// Nonce returns the nonce for the response header DPoP-Nonce, empty if none is demanded.
func (c *Checker) Nonce() string {
	if c.nonces == nil {
		return ""
	}
	return c.nonces.current(c.now())
}
