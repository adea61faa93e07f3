package token

import (
	"context"
	"time"
)

// mint makes a token here and now. h is the one that is still valid, if any: it serves
// those who come while another is made, and if none can be made.
func (s *Source) mint(ctx context.Context, h *held) (Token, error) {
	if h == nil {
		s.mu.Lock()
	} else if !s.mu.TryLock() {
		return h.use(), nil
	}
	if now := time.Now(); s.current.Load() != h && s.valid(now) != nil {
		defer s.mu.Unlock()
		return s.valid(now).use(), nil
	}
	why := Needed
	if h != nil {
		why = Ahead
	}
	t, err := s.mintLocked(ctx, why)
	if err != nil && h != nil {
		return h.use(), nil
	}
	return t, err
}

// mintAnother makes a token after the refused one.
func (s *Source) mintAnother(ctx context.Context, used string) (Token, error) {
	s.mu.Lock()
	now, h := time.Now(), s.current.Load()
	if h.Value != used || s.recent(h, now) {
		defer s.mu.Unlock()
		return h.use(), nil
	}
	s.renewed = now
	t, err := s.mintLocked(ctx, Refused)
	if err != nil {
		return h.use(), err
	}
	return t, nil
}

// mintLocked makes a token and gives s.mu back.
func (s *Source) mintLocked(ctx context.Context, why Reason) (Token, error) {
	began := time.Now()
	t, err := s.fetch(ctx)
	h := s.settle(began, t, err)
	event := s.event(why, began, h, err)
	s.mu.Unlock()
	if s.cfg.Observe != nil {
		s.cfg.Observe(event)
	}
	if err != nil {
		return Token{}, err
	}
	return h.use(), nil
}
