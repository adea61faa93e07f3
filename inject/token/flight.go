package token

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// flight is a fetch that is under way.
type flight struct {
	why    Reason
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	held   *held         // set before done is closed, like err
	err    error
}

// wait returns what the flight brings. It ends with ctx, and when the time for the fetch
// is over, even if the fetch does not heed that.
func (f *flight) wait(ctx context.Context) (Token, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return Token{}, ctx.Err()
	case <-f.ctx.Done():
		select {
		case <-f.done:
		default:
			return Token{}, context.Cause(f.ctx)
		}
	}
	if f.err != nil {
		return Token{}, f.err
	}
	return f.held.use(), nil
}

// launch begins a flight; s.mu is held, and there is none.
func (s *Source) launch(why Reason) (*flight, error) {
	f := &flight{why: why, done: make(chan struct{})}
	late := fmt.Errorf("no token came within %v", s.cfg.Timeout)
	f.ctx, f.cancel = context.WithTimeoutCause(s.group.ctx, s.cfg.Timeout, late)
	if !s.group.run(func() { s.fly(f) }) {
		f.cancel()
		return nil, errClosed
	}
	s.flight = f
	return f, nil
}

func (s *Source) fly(f *flight) {
	began := time.Now()
	t, err := s.fetch(f.ctx)
	if err != nil && f.ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(f.ctx), err)
	}
	s.land(f, began, t, err)
	f.cancel()
}

// fetch makes a panic an error: it would end the whole server here.
func (s *Source) fetch(ctx context.Context) (t Token, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	t, err = s.cfg.Fetch(ctx)
	if err == nil && t.Value == "" {
		err = errors.New("the token is empty")
	}
	return t, err
}

// land ends a flight.
func (s *Source) land(f *flight, began time.Time, t Token, err error) {
	s.mu.Lock()
	s.flight = nil
	var event Event
	if s.group.ctx.Err() != nil && err != nil { // it was ended: nothing was learnt
		f.err = errClosed
	} else {
		f.held, f.err = s.settle(began, t, err), err
		event = s.event(f.why, began, f.held, err)
		s.arm()
	}
	s.mu.Unlock()
	if event.Reason != "" && s.cfg.Observe != nil {
		s.cfg.Observe(event)
	}
	close(f.done)
}

// settle takes over what a fetch brought; s.mu is held. The token, if any, is given out
// from now on.
func (s *Source) settle(began time.Time, t Token, err error) *held {
	now := time.Now()
	s.state.Fetches++
	if err != nil {
		s.state.Failures++
		s.state.LastError, s.state.LastErrorAt = err.Error(), now
		s.retry.failures++
		s.retry.err = err
		if !s.cfg.Local {
			s.retry.at = now.Add(backoff(s.retry.failures, retryAfter(err)))
		}
		return nil
	}
	s.retry = retry{}
	t, last := lifetime(t, began, now, s.cfg.Until)
	h := &held{Token: t, landed: now, due: t.Expires}
	if !last {
		h.due = t.Expires.Add(-margin(t.Expires.Sub(now)))
	}
	s.current.Store(h)
	return h
}

func retryAfter(err error) time.Duration {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.RetryAfter
	}
	return 0
}

func (s *Source) event(why Reason, began time.Time, h *held, err error) Event {
	now := time.Now()
	e := Event{Reason: why, Took: now.Sub(began), Err: err, Failures: s.retry.failures}
	if h != nil {
		e.Obtained, e.Expires = h.Obtained, h.Expires
	} else {
		e.RetryIn = max(s.retry.at.Sub(now), 0)
	}
	return e
}

// arm has the token renewed ahead of its end, or once more after a failure; s.mu is held.
func (s *Source) arm() {
	s.stopTimer()
	h := s.current.Load()
	if h == nil || s.retired || s.cfg.Local || !h.due.Before(h.Expires) {
		return
	}
	at := h.due
	if s.retry.at.After(at) {
		at = s.retry.at
	}
	if at.Before(h.Expires) {
		s.timer = time.AfterFunc(time.Until(at), func() { s.tick(h) })
	}
}

func (s *Source) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// tick renews a token ahead of its end, if anybody used it.
func (s *Source) tick(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retired || s.flight != nil || s.current.Load() != h || !h.used.Load() {
		return
	}
	_, _ = s.launch(Ahead)
}
