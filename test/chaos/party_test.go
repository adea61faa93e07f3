package chaos

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/loopback"
)

// What a party does when it fails.
const (
	refuses      = "refuses connections"
	resets       = "resets connections"
	hangs        = "hangs"
	drips        = "answers slowly"
	errs         = "answers 503"
	garbles      = "answers what is no HTTP"
	truncates    = "cuts its answers off"
	bloats       = "answers too much"
	unauthorizes = "answers 401"
	redirects    = "redirects"
)

// party is a server that the gateway depends on, and that can fail.
type party struct {
	t      *testing.T
	name   string
	server loopback.Server
	// note sees every request first, however it is answered.
	note    func(*http.Request)
	handler http.Handler

	mu   sync.Mutex
	mode string
	over chan struct{} // closed when the mode ends
}

func newParty(t *testing.T, name string, note func(*http.Request), handler http.Handler) *party {
	t.Helper()
	p := &party{t: t, name: name, note: note, handler: handler, over: make(chan struct{})}
	p.server.Handler = p
	if err := p.server.Up(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.server.Down)
	return p
}

func (p *party) url() string { return "http://" + p.server.Addr() }

// up undoes down.
func (p *party) up() {
	if err := p.server.Up(); err != nil {
		p.t.Errorf("%s does not come back: %v", p.name, err)
	}
}

// idle ends the connections that nobody uses.
func (p *party) idle() {
	p.server.Down()
	p.up()
}

// fail has the party fail in one way until right is called.
func (p *party) fail(mode string) {
	p.mu.Lock()
	p.mode = mode
	p.mu.Unlock()
	if mode == refuses {
		p.server.Down()
	}
}

// right has the party do what it should.
func (p *party) right() {
	p.mu.Lock()
	was, over := p.mode, p.over
	p.mode, p.over = "", make(chan struct{})
	p.mu.Unlock()
	close(over)
	if was == refuses {
		p.up()
	}
}

func (p *party) state() (mode string, over chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.over
}

// bloat is how much a party answers that answers too much, in bytes.
const bloat = 4 << 20

// ServeHTTP answers as the party's mode is.
func (p *party) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.note(r)
	w.Header().Set(seen, r.Header.Get(callID))
	mode, over := p.state()
	switch mode {
	case resets, garbles:
		p.breakConnection(w, mode)
		return
	case hangs:
		select {
		case <-over:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
	if mode != "" {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, bloat)) // an answer before the end of the request is another story
	}
	switch mode {
	case errs:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	case truncates:
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"access_token":"`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case bloats:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"pad":"`)
		for block, n := strings.Repeat("x", 64<<10), 0; n < bloat; n += len(block) {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, `"}`)
	case unauthorizes:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
	case redirects:
		http.Redirect(w, r, p.url()+"/elsewhere", http.StatusFound)
	case drips:
		w.Header().Set("Content-Type", "application/json")
		for range 25 { // longer than the gateway waits for tokens
			if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
		p.handler.ServeHTTP(w, r)
	default:
		p.handler.ServeHTTP(w, r)
	}
}

// breakConnection answers with bytes that mean nothing, or with a reset.
func (p *party) breakConnection(w http.ResponseWriter, mode string) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer connection.Close()
	if mode == garbles {
		_, _ = fmt.Fprintf(buffer, "\x00\xffnonsense %s\r\n\r\n", time.Now())
		_ = buffer.Flush()
		return
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
