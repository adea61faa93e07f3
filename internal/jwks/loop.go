package jwks

import (
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"
)

const (
	// maxBackoff is the longest wait after a failure.
	maxBackoff = time.Minute
	// emptyBackoff is the longest wait while there are no keys.
	emptyBackoff = 10 * time.Second
	// unspecified is the time between two fetches if the issuer does not say.
	unspecified = 15 * time.Minute
	// restoreHeadStart is how long the first fetch waits for the storage.
	restoreHeadStart = time.Second
)

// flight is a fetch that callers can wait for. There is at most one.
type flight struct {
	full  bool // with discovery
	begun bool
	done  chan struct{} // closed when it has ended
	err   error         // set before done is closed
}

func newFlight(full bool) *flight { return &flight{full: full, done: make(chan struct{})} }

// askLocked asks the loop for a fetch. There must be none.
func (s *Source) askLocked(full bool) *flight {
	s.flight = newFlight(full)
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
	return s.flight
}

// run is the loop: all fetches are made here, one after the other.
func (s *Source) run() {
	defer s.end()
	restored := make(chan struct{})
	s.work.Go(func() {
		defer close(restored)
		s.restore()
	})
	s.pause(restored, restoreHeadStart)
	for s.ctx.Err() == nil {
		if f := s.take(); f != nil {
			s.carryOut(f)
			continue
		}
		s.expire()
		s.pause(s.wake, s.idle())
	}
}

// pause waits for a signal, at most d.
func (s *Source) pause(signal <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-signal:
	case <-timer.C:
	}
}

// end lets those go who wait for a fetch that will not be.
func (s *Source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		s.landLocked(s.flight, errStopped)
	}
}

// take returns the fetch to make now, nil if none is due.
func (s *Source) take() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		if time.Now().Before(s.next) {
			return nil
		}
		s.flight = newFlight(true)
	}
	s.flight.begun = true
	return s.flight
}

// idle is the time until something is due.
func (s *Source) idle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := time.Until(s.next)
	if h := s.current.Load(); h != nil {
		// a moment more: that old they are still used
		d = min(d, s.cfg.MaxStale-time.Since(h.at)+time.Millisecond)
	}
	return max(d, 0)
}

// expire drops the keys when they are too old.
func (s *Source) expire() {
	s.mu.Lock()
	h := s.current.Load()
	stale := h != nil && s.fresh() == nil
	if stale {
		s.current.Store(nil)
		s.ready = make(chan struct{})
	}
	s.mu.Unlock()
	if stale {
		s.cfg.Log.Warn("the issuer's keys are too old and no longer used", s.name(), zap.Time("fetched_at", h.at))
		s.notify()
	}
}

// carryOut makes a fetch.
func (s *Source) carryOut(f *flight) {
	doc, err := s.retrieve(s.ctx, f.full)
	if s.ctx.Err() != nil {
		return // end has the last word
	}
	if err != nil {
		s.failed(f, err)
		return
	}
	s.succeeded(f, doc)
}

func (s *Source) failed(f *flight, err error) {
	s.mu.Lock()
	s.failures++
	wait := backoff(s.failures)
	if s.fresh() == nil {
		wait = min(wait, emptyBackoff) // callers are refused meanwhile
	}
	s.next = time.Now().Add(jitter(wait))
	s.landLocked(f, err)
	s.mu.Unlock()
	s.report.failure(s, err)
}

// succeeded puts the keys in force: they replace those before, whatever became of them.
func (s *Source) succeeded(f *flight, doc *document) {
	h := newHeld(doc.set, time.Now())
	s.mu.Lock()
	before, changed := s.installLocked(h)
	if f.full || s.failures > 0 {
		s.next = time.Now().Add(s.interval(doc.lifetime))
	}
	s.failures = 0
	s.uri = doc.discovered
	s.mu.Unlock()
	s.report.success(s, before, doc)
	if changed {
		s.notify()
	}
	s.mu.Lock()
	s.landLocked(f, nil)
	s.mu.Unlock()
	s.save(doc, h.at)
}

// installLocked makes keys the ones that requests are answered from.
func (s *Source) installLocked(h *held) (before *held, changed bool) {
	if before = s.current.Swap(h); before == nil {
		close(s.ready)
	}
	changed = before == nil || before.set.Generation != h.set.Generation
	if changed {
		s.missing.clear()
	}
	return before, changed
}

// landLocked ends a fetch.
func (s *Source) landLocked(f *flight, err error) {
	f.err = err
	s.flight = nil
	if !errors.Is(err, errStopped) {
		s.lastErr = err
		s.fetches++
	}
	close(f.done)
}

// interval is the time until the next fetch on schedule, given for how long the issuer
// says that its answer is good; negative if it does not say.
func (s *Source) interval(lifetime time.Duration) time.Duration {
	if lifetime < 0 {
		lifetime = unspecified
	}
	d := min(max(lifetime, s.cfg.RefreshMin), s.cfg.RefreshMax, s.cfg.MaxStale/2)
	return max(jitter(d), min(d, s.cfg.RefreshMin))
}

// backoff is the wait after a number of failures.
func backoff(failures int) time.Duration {
	return min(minWait<<min(failures-1, 10), maxBackoff)
}

// jitter takes up to a tenth off, so that many gateways do not ask at the same moment.
func jitter(d time.Duration) time.Duration {
	return d - rand.N(d/10+1)
}
