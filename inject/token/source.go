package token

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errClosed = errors.New("the configuration that this token belonged to has ended")

// Source holds a token and renews it. It is safe for concurrent use. It does nothing by
// itself until somebody asks for the token, and nothing for a token that nobody uses.
type Source struct {
	cfg     Config
	group   *group
	current atomic.Pointer[held]

	mu      sync.Mutex
	flight  *flight
	timer   *time.Timer
	retired bool
	renewed time.Time // when a fetch was last made for a refused token
	retry   retry
	state   State // of failures, and counts
}

// held is a token in use.
type held struct {
	Token
	landed time.Time // when it came
	due    time.Time // from when on it is renewed
	used   atomic.Bool
}

// use marks that somebody wants the token: it will be renewed ahead of its end.
func (h *held) use() Token {
	if !h.used.Load() {
		h.used.Store(true)
	}
	return h.Token
}

// retry remembers failures that nothing has succeeded after.
type retry struct {
	failures int
	err      error
	at       time.Time // not before
}

// waiting returns the remembered error while the endpoint is left alone.
func (r *retry) waiting(now time.Time) error {
	if left := r.at.Sub(now); r.err != nil && left > 0 {
		return &remembered{r.err, left.Round(time.Millisecond)}
	}
	return nil
}

// New returns a Source. Nothing is fetched yet.
func New(c Config) *Source { return newSource(c, newGroup()) }

func newSource(c Config, g *group) *Source {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return &Source{cfg: c, group: g}
}

// Current returns the token if there is one that is not even nearly expired: what most
// callers get, at once.
func (s *Source) Current() (t Token, ok bool) {
	if h := s.current.Load(); h != nil && time.Now().Before(h.due) {
		return h.use(), true
	}
	return Token{}, false
}

// Token returns a valid token. If there is none it waits for one: at most Config.Timeout,
// and not longer than ctx; that ctx ends does not end the fetch, for which others may
// wait. After a failure it returns that failure at once for a while (1 s to 1 min, or as
// long as the endpoint asks for, up to 5 min).
func (s *Source) Token(ctx context.Context) (Token, error) {
	now := time.Now()
	h := s.valid(now)
	switch {
	case h != nil && now.Before(h.due):
		return h.use(), nil
	case s.cfg.Local:
		return s.mint(ctx, h)
	case h != nil:
		s.ahead()
		return h.use(), nil
	}
	f, h, err := s.join(Needed)
	switch {
	case err != nil:
		return Token{}, err
	case h != nil:
		return h.use(), nil
	}
	return f.wait(ctx)
}

// Prefetch has a token fetched in the background, if there is none.
func (s *Source) Prefetch() {
	if !s.cfg.Local && s.valid(time.Now()) == nil {
		_, _, _ = s.join(Ahead)
	}
}

// Renew is for a token that the upstream refused. If it is no longer the current one,
// that is returned; else a new one is fetched, at most once in 5 s for everybody, and not
// for a token that has just come. newer tells whether the token is another than used; the
// old one stays until a fetch succeeds.
func (s *Source) Renew(ctx context.Context, used string) (t Token, newer bool, err error) {
	h := s.valid(time.Now())
	switch {
	case used == "":
		return Token{}, false, errors.New("it is not known which token was refused")
	case h != nil && h.Value != used:
		return h.use(), true, nil
	case h == nil: // it has ended meanwhile
		t, err = s.Token(ctx)
	case s.cfg.Local:
		t, err = s.mintAnother(ctx, used)
	default:
		t, err = s.another(ctx, used)
	}
	if err != nil {
		return t, false, err
	}
	return t, t.Value != used, nil
}

// State tells about the token without showing it.
func (s *Source) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	if h := s.current.Load(); h != nil {
		state.Obtained, state.Expires = h.Obtained, h.Expires
	}
	return state
}

// Close ends what goes on in the background and waits for that. A valid token is still
// given out to requests that are under way, but none is fetched any more.
func (s *Source) Close() {
	s.retire()
	s.group.close()
}

// retire stops renewing ahead.
func (s *Source) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.stopTimer()
}

// valid returns the token that may be used now, or nil.
func (s *Source) valid(now time.Time) *held {
	if h := s.current.Load(); h != nil && now.Before(h.Expires) {
		return h
	}
	return nil
}

// join returns the flight to wait for, and begins it if need be; or the token that has
// come meanwhile.
func (s *Source) join(why Reason) (*flight, *held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if h := s.valid(now); h != nil {
		return nil, h, nil
	}
	if s.flight != nil {
		return s.flight, nil, nil
	}
	if err := s.retry.waiting(now); err != nil {
		return nil, nil, err
	}
	f, err := s.launch(why)
	return f, nil, err
}

// ahead begins a fetch for a token that nears its end, unless one is under way or the
// endpoint is left alone.
func (s *Source) ahead() {
	if !s.mu.TryLock() {
		return // somebody else is about it
	}
	defer s.mu.Unlock()
	if s.flight == nil && !s.retired && s.retry.waiting(time.Now()) == nil {
		_, _ = s.launch(Ahead)
	}
}

// another waits for the token after the refused one.
func (s *Source) another(ctx context.Context, used string) (Token, error) {
	f, h, err := s.joinRenewal(used)
	if f == nil {
		return h.use(), err
	}
	t, err := f.wait(ctx)
	if err != nil {
		return h.use(), err
	}
	return t, nil
}

func (s *Source) joinRenewal(used string) (*flight, *held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, h := time.Now(), s.current.Load()
	switch {
	case h.Value != used:
		return nil, h, nil
	case s.flight != nil:
		return s.flight, h, nil
	case s.recent(h, now):
		return nil, h, s.retry.err
	}
	if err := s.retry.waiting(now); err != nil {
		return nil, h, err
	}
	s.renewed = now
	f, err := s.launch(Refused)
	return f, h, err
}

// recent reports whether a refused token is not to be fetched again yet.
func (s *Source) recent(h *held, now time.Time) bool {
	return now.Sub(h.landed) < renewEvery || now.Sub(s.renewed) < renewEvery
}
