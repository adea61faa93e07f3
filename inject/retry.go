package inject

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// maxReplay is how much of a request's body, in bytes, is kept to send it once more.
const maxReplay = 1 << 20

// bodyPatience is how long the rest of a body may take that an upstream did not wait for
// before it refused.
const bodyPatience = time.Second

// send makes an attempt, and a second one if the upstream refuses a credential (401) that
// can be renewed. Whatever else the upstream answers is its answer.
func (g *Gate) send(x *exchange.Exchange, rt http.RoundTripper, req, out *http.Request) (*http.Response, func(), error) {
	renewable, ok := g.cred.injector.(Renewable)
	if !ok {
		return attempt(x, rt, out)
	}
	body := newReplay(out)
	res, cancel, err := attempt(x, rt, out)
	if err != nil || res.StatusCode != http.StatusUnauthorized || !body.ready(req) {
		body.forget()
		return res, cancel, err
	}
	if renewed, err := renewable.Renew(out); err != nil || !renewed {
		return res, cancel, nil // the upstream's own answer; the log of the renewal says why
	}
	again, err := g.prepare(x, req)
	if err != nil {
		return res, cancel, nil
	}
	discard(res)
	if cancel != nil {
		cancel()
	}
	if body != nil {
		again.Body = body.again()
	}
	return attempt(x, rt, again)
}

// attempt is one round trip. cancel, if not nil, ends the watch over the request's body.
func attempt(x *exchange.Exchange, rt http.RoundTripper, out *http.Request) (*http.Response, func(), error) {
	cancel := watchUpload(x, out)
	start := time.Now()
	res, err := rt.RoundTrip(out)
	if x.Metrics != nil {
		x.Metrics.Upstream(time.Since(start))
	}
	if err != nil && cancel != nil {
		cancel()
		cancel = nil
	}
	return res, cancel, err
}

// discard lets the connection be used again, unless the body is large or slow.
func discard(res *http.Response) {
	slow := time.AfterFunc(100*time.Millisecond, func() { _ = res.Body.Close() })
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	slow.Stop()
	_ = res.Body.Close()
}

// replay is a request's body of which what was read is kept, as long as it is not too
// much. A nil replay is no body.
type replay struct {
	src io.ReadCloser

	mu   sync.Mutex
	kept bytes.Buffer
	over bool          // too much was read to keep
	busy bool          // a Read is under way
	shut bool          // closed
	err  error         // of the source
	done chan struct{} // the attempt does not read any more
	once sync.Once
}

// newReplay puts itself in the place of the request's body; nil if there is none.
func newReplay(out *http.Request) *replay {
	if out.Body == nil || out.Body == http.NoBody {
		return nil
	}
	b := &replay{src: out.Body, done: make(chan struct{})}
	out.Body = b
	return b
}

// Read implements io.Reader.
func (b *replay) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.shut && b.err == nil {
		b.err = http.ErrBodyReadAfterClose
	}
	if err := b.err; err != nil { // the source is another attempt's by now
		b.mu.Unlock()
		return 0, err
	}
	b.busy = true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.err = false, err
	if b.over = b.over || b.kept.Len()+n > maxReplay; b.over {
		b.kept = bytes.Buffer{}
	} else {
		b.kept.Write(p[:n])
	}
	if err != nil || b.shut {
		b.once.Do(func() { close(b.done) })
	}
	return n, err
}

// Close ends the attempt's reading, once a Read that is under way has returned.
func (b *replay) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	if !b.busy {
		b.once.Do(func() { close(b.done) })
	}
	return nil
}

// ready reports whether the body can be sent again. An upstream may refuse before it has
// read all of it, so the attempt may still be reading.
func (b *replay) ready(req *http.Request) bool {
	if b == nil {
		return true
	}
	timer := time.NewTimer(bodyPatience)
	defer timer.Stop()
	select {
	case <-b.done:
	case <-timer.C:
	case <-req.Context().Done():
	}
	select {
	case <-b.done:
		b.mu.Lock()
		defer b.mu.Unlock()
		return !b.over
	default:
		return false
	}
}

// forget keeps nothing any more: the body may go on for long.
func (b *replay) forget() {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.over, b.kept = true, bytes.Buffer{}
	b.mu.Unlock()
}

// again is the whole body for another attempt: what was kept, and what was never read.
func (b *replay) again() io.ReadCloser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b.kept.Bytes()), b.src), b.src}
}
