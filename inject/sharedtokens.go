package inject

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

const (
	defaultFetchTimeout = 5 * time.Second
	// maxTokenLength, in bytes, is more than any upstream takes.
	maxTokenLength = 64 << 10
	// hiddenTokens and hiddenCallerTokens are how many of a definition's latest tokens are
	// kept out of logs by their value.
	hiddenTokens, hiddenCallerTokens = 2, 256
)

// tokenPool are the tokens in use, by what defines them. They live on while any
// configuration uses them, so a reload fetches nothing again and leaves nothing behind.
var tokenPool = caddy.NewUsagePool()

// sharedTokens are the tokens of all leases with the same definition: one for all callers,
// or one for each.
type sharedTokens struct {
	key     [sha256.Size]byte
	kind    string
	local   bool
	guest   bool
	timeout time.Duration
	source  *token.Source  // nil if tokens depend on the caller
	callers *token.Callers // nil if they do not
	log     *zap.Logger

	mu     sync.Mutex
	leases []*lease // the latest last
	counts counts
	told   time.Time // when the log was last told of an outage, zero if there is none
	hidden []func()  // releases of the latest tokens, the oldest first
}

// counts are of all fetches, whoever they were for.
type counts struct {
	fetches, failures uint64
	lastError         string
	lastErrorAt       time.Time
}

// holdTokens finds or makes what leases with this definition share.
func holdTokens(d *definition) (*sharedTokens, error) {
	key, err := d.key()
	if err != nil {
		return nil, err
	}
	v, _, err := tokenPool.LoadOrNew(key, func() (caddy.Destructor, error) {
		s := &sharedTokens{key: key, kind: d.kind, local: d.local, guest: d.guest, timeout: d.timeout, log: zap.New(host.ProcessLog("rr.tokens"))}
		if d.perCaller != nil {
			s.callers = token.NewCallers(0)
		} else {
			s.source = token.New(s.config(nil))
		}
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*sharedTokens), nil
}

// key is over the definition's id and what it says besides.
func (d *definition) key() (sum [sha256.Size]byte, err error) {
	b, err := json.Marshal(struct {
		ID               [32]byte
		Kind             string
		Place            Slot
		Timeout          time.Duration
		Local, PerCaller bool
	}{d.id, d.kind, d.place, d.timeout, d.local, d.perCaller != nil})
	return sha256.Sum256(b), err
}

// maxExitGrace is for how long the end of the process waits for answers under way, of all
// tokens together.
const maxExitGrace = 5 * time.Second

var exiting struct {
	sync.Once
	at time.Time
}

// exitGrace is what is left of it.
func exitGrace() time.Duration {
	exiting.Do(func() { exiting.at = time.Now() })
	return max(0, maxExitGrace-time.Since(exiting.at))
}

// Destruct implements caddy.Destructor. A reload waits for nobody.
func (s *sharedTokens) Destruct() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if s.callers != nil {
			s.callers.Close()
		} else {
			s.source.Close()
		}
	}()
	if caddy.Exiting() { // an answer under way may hold a refresh token that nobody else has
		select {
		case <-closed:
		case <-time.After(exitGrace()):
		}
	}
	s.mu.Lock()
	hidden := s.hidden
	s.hidden = nil
	s.mu.Unlock()
	host.LetGo(hidden)
	return nil
}

func (s *sharedTokens) join(l *lease) {
	s.mu.Lock()
	s.leases = append(s.leases, l)
	s.mu.Unlock()
	if s.source == nil {
		return
	}
	if st := s.source.State(); !st.Expires.IsZero() {
		l.series.InUse(st.Obtained, st.Expires)
	}
}

func (s *sharedTokens) leave(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = slices.DeleteFunc(s.leases, func(other *lease) bool { return other == l })
}

// latest is the lease whose configuration came last; it fetches for all.
func (s *sharedTokens) latest() *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leases) == 0 {
		return nil
	}
	return s.leases[len(s.leases)-1]
}

// inUse reports whether there has been a token that all callers share.
func (s *sharedTokens) inUse() bool {
	return s.source != nil && !s.source.State().Obtained.IsZero()
}

func (s *sharedTokens) prefetch() {
	if s.source != nil {
		s.source.Prefetch()
	}
}

// config is that of the token for c, nil for the one token of all.
func (s *sharedTokens) config(c *caller) token.Config {
	cfg := token.Config{
		Timeout: s.timeout, Local: s.local,
		Fetch:   func(ctx context.Context) (token.Token, error) { return s.fetch(ctx, c) },
		Observe: s.observe,
	}
	if c != nil {
		cfg.Until = c.Expires
	}
	return cfg
}

// fetch obtains a token and makes it what stands in its place.
func (s *sharedTokens) fetch(ctx context.Context, c *caller) (token.Token, error) {
	var l *lease
	for {
		next := s.latest()
		if next == nil {
			return token.Token{}, errors.New("the configuration has ended")
		}
		l = next
		t, err := l.fetch(ctx, c)
		switch {
		case err == nil:
			return s.finish(l, t)
		case ctx.Err() != nil, s.has(l):
			return token.Token{}, err
		}
		// its configuration has ended meanwhile, and its connections with it
	}
}

func (s *sharedTokens) has(l *lease) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.leases, l)
}

// finish judges a token and gives it the form in which it is sent.
func (s *sharedTokens) finish(l *lease, t token.Token) (token.Token, error) {
	raw := t.Value
	switch {
	case strings.TrimSpace(raw) == "":
		return t, errors.New("the token is empty")
	case len(raw) > maxTokenLength:
		return t, fmt.Errorf("the token is longer than %d bytes", maxTokenLength)
	case raw == secret.Redacted || secret.IsPlaceholder(raw):
		return t, errors.New("the token is a placeholder")
	}
	s.hide(raw)
	t.Value = l.format(t)
	if t.Value == "" {
		return t, errors.New("the token is empty")
	}
	return t, checkValue(l.place, t.Value)
}

// hide keeps a token out of logs.
func (s *sharedTokens) hide(value string) {
	add := redact.Default().AddSecret
	if s.guest {
		add = redact.Default().AddGuestSecret
	}
	release, held := add(value)
	if !held {
		return
	}
	most := hiddenTokens
	if s.callers != nil {
		most = hiddenCallerTokens
	}
	s.mu.Lock()
	s.hidden = append(s.hidden, release)
	release = func() {}
	if len(s.hidden) > most {
		release, s.hidden = s.hidden[0], s.hidden[1:]
	}
	s.mu.Unlock()
	release()
}
