package exchange

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// holder is a gate that lets in while open.
type holder struct{ open atomic.Bool }

func (h *holder) Name() string     { return "p" }
func (h *holder) Holds(Proof) bool { return h.open.Load() }

func newHolder() *holder {
	h := new(holder)
	h.open.Store(true)
	return h
}

// idle waits for the ticking to end, which it does once there is no stream.
func idle(t *testing.T, l *Live) {
	t.Helper()
	for range 100 {
		l.mu.Lock()
		ticking := l.ticking
		l.mu.Unlock()
		if !ticking {
			goleak.VerifyNone(t)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("it goes on ticking without streams")
}

func TestStreamsEndWithTheLastGateThatHoldsThem(t *testing.T) {
	var l Live
	defer idle(t, &l)
	old, next := newHolder(), newHolder()
	l.Enter(old)
	var ended atomic.Int32
	done := l.Watch(&Exchange{Gate: old}, func() { ended.Add(1) })
	l.Enter(next) // a reload: the new one comes before the old one goes
	l.Leave(old)
	if ended.Load() != 0 {
		t.Error("a stream ended although the new gate holds it")
	}
	l.Leave(next)
	if ended.Load() != 1 {
		t.Error("a stream goes on although nobody holds it")
	}
	l.Sweep()
	done()
	if ended.Load() != 1 {
		t.Errorf("it was ended %d times", ended.Load())
	}
	if l.Watch(&Exchange{Gate: old}, func() { ended.Add(1) }); ended.Load() != 2 {
		t.Error("a stream of a caller who has no access any more was let go on")
	}
}

func TestStreamsEndWhenTheProofExpires(t *testing.T) {
	var l Live
	defer idle(t, &l)
	h := newHolder()
	l.Enter(h)
	ended := make(chan struct{})
	done := l.Watch(&Exchange{Gate: h, Expires: time.Now().Add(10 * time.Millisecond)}, func() { close(ended) })
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
	done()
}

// TestEndDoesNotTouchAResponseThatIsOver revokes while HTTP/2 callers leave: what ends a
// stream uses the handler's response, which is gone once the handler has returned.
func TestEndDoesNotTouchAResponseThatIsOver(t *testing.T) {
	var l Live
	h := newHolder()
	l.Enter(h)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer l.Watch(&Exchange{Gate: h}, func() {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			cancel()
		})()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		<-ctx.Done()
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	for range 5 {
		h.open.Store(true)
		var wg sync.WaitGroup
		ctx, leave := context.WithCancel(t.Context())
		for range 100 {
			wg.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
				if res, err := srv.Client().Do(req); err == nil {
					<-ctx.Done()
					res.Body.Close()
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		h.open.Store(false)
		go leave()
		l.Sweep()
		leave()
		wg.Wait()
	}
}
