package jwks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// Keys returns the keys that may have signed a token with this kid and alg, and the set
// they are of. A kid that is not known has the keys fetched again, within the limits; what
// is known is answered at once.
//
// The error is an ErrUnknownKey, an *Unavailable, or the context's. No call takes longer
// than the timeout.
func (s *Source) Keys(ctx context.Context, kid string, hasKid bool, alg string) ([]*jose.Key, *jose.Set, error) {
	if len(kid) > jose.MaxKeyID {
		return nil, nil, ErrUnknownKey
	}
	h := s.fresh()
	if h == nil || h.lacks(kid, hasKid) {
		var err error
		if h, err = s.await(ctx, kid, hasKid); err != nil {
			return nil, nil, err
		}
	}
	keys := h.set.Find(kid, hasKid, alg)
	if len(keys) == 0 {
		return nil, nil, ErrUnknownKey
	}
	return keys, h.set, nil
}

// lacks reports whether a token's key may be one that the issuer has added since.
func (h *held) lacks(kid string, hasKid bool) bool {
	return hasKid && !h.nameless && !h.set.Has(kid)
}

// await is the way of calls that cannot be answered at once.
func (s *Source) await(ctx context.Context, kid string, hasKid bool) (*held, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("waiting for the issuer's keys: %w", err)
	}
	wait, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, errSlow)
	defer cancel()
	h, err := s.first(wait)
	if err != nil || !h.lacks(kid, hasKid) {
		return h, err
	}
	h, err = s.search(wait, kid)
	if err != nil && h != nil && h.set.Has("") && ctx.Err() == nil {
		return h, nil // a key without a name may be meant
	}
	return h, err
}

// first returns the keys that are held, if need be when they come.
func (s *Source) first(wait context.Context) (*held, error) {
	s.mu.Lock()
	h, f, ready := s.fresh(), s.flight, s.ready
	if h != nil {
		s.mu.Unlock()
		return h, nil
	}
	if f == nil && s.fetching() && s.failures == 0 {
		// too old, though no fetch has failed: the clock has jumped, or the machine slept
		f = s.askLocked(true)
	}
	if s.current.Load() != nil {
		ready = nil // it tells of keys that are too old
	}
	if f == nil {
		defer s.mu.Unlock()
		return nil, s.unavailableLocked()
	}
	s.mu.Unlock()
	select {
	case <-ready:
	case <-f.done:
	case <-wait.Done():
	}
	if h := s.fresh(); h != nil {
		return h, nil
	}
	return nil, s.unanswered(wait)
}

// search has the keys fetched for a kid that those held do not have, if that is due, and
// waits for the fetch. It returns the keys in which it was looked for last.
func (s *Source) search(wait context.Context, kid string) (*held, error) {
	for {
		s.mu.Lock()
		h := s.fresh()
		if h == nil {
			defer s.mu.Unlock()
			return nil, s.unavailableLocked()
		}
		if !h.lacks(kid, true) {
			s.mu.Unlock()
			return h, nil
		}
		f, err := s.searchLocked(kid)
		if err != nil {
			s.mu.Unlock()
			return h, err
		}
		// an answer that was under way may be older than the key
		conclusive := !f.begun
		s.mu.Unlock()
		select {
		case <-f.done:
		case <-wait.Done():
			return h, s.unanswered(wait)
		}
		if f.err != nil {
			return h, s.unanswered(wait)
		}
		if conclusive {
			return s.concluded(kid)
		}
	}
}

// searchLocked returns the fetch to wait for.
func (s *Source) searchLocked(kid string) (*flight, error) {
	now := time.Now()
	switch {
	case !s.fetching():
		return nil, s.unavailableLocked()
	case s.missing.has(kid, now):
		return nil, ErrUnknownKey
	case s.flight != nil:
		return s.flight, nil
	case now.Sub(s.asked) >= s.cfg.UnknownKidInterval || s.asked.IsZero():
		s.asked = now
		return s.askLocked(false), nil
	case s.failures > 0:
		return nil, s.unavailableLocked()
	}
	return nil, ErrUnknownKey
}

// concluded is what a fetch that began after the call says of a kid.
func (s *Source) concluded(kid string) (*held, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.fresh()
	switch {
	case h == nil:
		return nil, s.unavailableLocked()
	case h.lacks(kid, true):
		s.missing.add(kid, time.Now().Add(s.cfg.UnknownKidInterval))
		return h, ErrUnknownKey
	}
	return h, nil
}

// unanswered is the error of a call whose fetch did not end in time, or failed.
func (s *Source) unanswered(wait context.Context) error {
	slow := errors.Is(context.Cause(wait), errSlow)
	if err := wait.Err(); err != nil && !slow {
		return fmt.Errorf("waiting for the issuer's keys: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unavailableLocked()
	if slow {
		u.Err = errSlow
	}
	return u
}

// unavailableLocked says when the next fetch is, and why there is a need for one.
func (s *Source) unavailableLocked() *Unavailable {
	u := &Unavailable{minWait, s.lastErr}
	switch {
	case !s.started:
		u.Err = errNotStarted
	case s.ctx.Err() != nil:
		u.Err = errStopped
	case s.flight == nil:
		u.RetryAfter = max(minWait, time.Until(s.next))
	}
	if u.Err == nil {
		u.Err = errNotStarted // the first fetch is under way
	}
	return u
}

// fetching reports whether the loop is there to fetch.
func (s *Source) fetching() bool { return s.started && s.ctx.Err() == nil }
