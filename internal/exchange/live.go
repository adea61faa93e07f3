package exchange

import (
	"io"
	"sync"
	"time"
)

// Holder is a gate that grants access: it says whether a credential it once accepted
// is still accepted.
type Holder interface {
	// Name is the proxy's name; all inline gates share the empty one.
	Name() string
	// Holds reports whether what the caller proved itself with would still be let in.
	Holds(proof Proof) bool
}

// Proof is what a caller proved itself with.
type Proof struct {
	Main Evidence
	Also []Evidence // of what must hold too, in order
}

// Evidence is one credential that recognised a caller.
type Evidence struct {
	// Print is the fingerprint of the credential.
	Print [32]byte
	// Caller is who it was, for verifiers whose callers lose access one by one; only
	// package verify reads it.
	Caller any
}

// Live knows the gates in force and the streams that were opened through them, so that
// a caller who loses access loses its open streams too. There is one per process,
// because streams outlive the configuration that opened them.
type Live struct {
	mu      sync.Mutex
	gates   map[string]map[Holder]int
	streams map[*stream]struct{}
	ticking bool
}

// sweepEvery is how often open streams are held against what is accepted now, for what
// ends by itself (a credential's expiry). docs/answers.md promises 1 s.
const sweepEvery = 500 * time.Millisecond

type stream struct {
	of *Exchange // whose gate, proof and expiry do not change any more

	mu   sync.Mutex
	over bool // ended or done: end must not run any more
	end  func()
}

// stop ends the stream, unless it is over. What end touches is there while it runs,
// since the one who is done waits for it.
func (s *stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		s.end()
	}
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// Streams is the process's registry.
var Streams Live

// Enter puts a gate in force. Each Enter needs one Leave.
func (l *Live) Enter(g Holder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gates == nil {
		l.gates = make(map[string]map[Holder]int)
		l.streams = make(map[*stream]struct{})
	}
	same := l.gates[g.Name()]
	if same == nil {
		same = make(map[Holder]int)
		l.gates[g.Name()] = same
	}
	same[g]++
}

// Leave takes a gate out of force and ends the streams that no gate of the same name
// would still let in. With a reload the new configuration enters before the old leaves.
func (l *Live) Leave(g Holder) {
	l.mu.Lock()
	same := l.gates[g.Name()]
	if same[g]--; same[g] <= 0 {
		delete(same, g)
	}
	if len(same) == 0 {
		delete(l.gates, g.Name())
	}
	lost := l.sweepLocked()
	l.mu.Unlock()
	stop(lost)
}

// Sweep ends the streams of callers that have lost access; for gates whose accepted
// credentials change while in force.
func (l *Live) Sweep() {
	l.mu.Lock()
	lost := l.sweepLocked()
	l.mu.Unlock()
	stop(lost)
}

// tick sweeps for as long as there are open streams, then ends.
func (l *Live) tick() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for range t.C {
		l.mu.Lock()
		lost := l.sweepLocked()
		l.ticking = len(l.streams) > 0
		again := l.ticking
		l.mu.Unlock()
		stop(lost)
		if !again {
			return
		}
	}
}

func stop(lost []*stream) {
	for _, s := range lost {
		s.stop()
	}
}

func (l *Live) sweepLocked() (lost []*stream) {
	for s := range l.streams {
		if !l.heldLocked(s) {
			delete(l.streams, s)
			lost = append(lost, s)
		}
	}
	return lost
}

func (l *Live) heldLocked(s *stream) bool {
	if x := s.of; !x.Expires.IsZero() && !time.Now().Before(x.Expires) {
		return false
	}
	for g := range l.gates[s.of.Gate.Name()] {
		if g.Holds(s.of.Proof) {
			return true
		}
	}
	return false
}

// Watch registers an open stream of x; end is called at most once, if access is lost.
// The returned function takes the stream out again and must be called when it is over;
// end does not run after it has returned. end must not wait for that call.
func (l *Live) Watch(x *Exchange, end func()) (done func()) {
	s := &stream{of: x, end: end}
	l.mu.Lock()
	if l.streams == nil {
		l.streams = make(map[*stream]struct{})
	}
	l.streams[s] = struct{}{}
	held := l.heldLocked(s)
	if !held {
		delete(l.streams, s)
	}
	if held && !l.ticking {
		l.ticking = true
		go l.tick()
	}
	l.mu.Unlock()
	if !held {
		s.stop()
	}
	return func() {
		l.mu.Lock()
		delete(l.streams, s)
		l.mu.Unlock()
		s.finish()
	}
}

// WatchBody registers the stream that a response body is; it is over when the body is
// closed, and closing it is how it is ended. closed, if not nil, is called when it is over.
func (l *Live) WatchBody(x *Exchange, body io.ReadCloser, closed func()) io.ReadCloser {
	done := l.Watch(x, func() { _ = body.Close() })
	return OnClose(body, func() {
		done()
		if closed != nil {
			closed()
		}
	})
}

// OnClose calls f when the body is closed. A body that can be written to, that of a 101
// response, stays one.
func OnClose(body io.ReadCloser, f func()) io.ReadCloser {
	b := &closer{body, f}
	if rw, ok := body.(io.ReadWriteCloser); ok {
		return &duplexCloser{b, rw}
	}
	return b
}

type closer struct {
	io.ReadCloser
	f func()
}

func (c *closer) Close() error {
	err := c.ReadCloser.Close()
	c.f()
	return err
}

type duplexCloser struct {
	*closer
	io.Writer
}
