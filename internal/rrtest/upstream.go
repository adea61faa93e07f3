package rrtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// keptBody bounds how much of a body a record keeps; size and digest cover all of it.
const keptBody = 64 << 10

// Received is a request as the upstream got it.
type Received struct {
	Method string
	// URI is the request target, byte for byte (RFC 9112 section 3.2).
	URI    string
	Host   string
	Proto  string
	Header http.Header
	// Body is the beginning of what was read, at most 64 KiB.
	Body string
	// BodySize is in bytes; BodySHA256 is hexadecimal. Both cover everything that was read.
	BodySize   int64
	BodySHA256 string
	Trailer    http.Header
}

// Upstream is an HTTP server that records what it gets. It speaks HTTP/1.1 and HTTP/2:
// over TLS by negotiation, else h2c with prior knowledge.
type Upstream struct {
	// URL is the base address, without a slash at its end.
	URL string
	// Addr is host and port.
	Addr string

	server   *httptest.Server
	mu       sync.Mutex
	handlers map[string]http.Handler
	records  []*record
}

type record struct {
	Received
	sum  hash.Hash
	kept bytes.Buffer
}

// NewUpstream starts an upstream without TLS. It answers with Echo where Handle does not
// say otherwise.
func NewUpstream(t testing.TB) *Upstream {
	t.Helper()
	return newUpstream(t, func(s *httptest.Server) { s.Start() })
}

// NewTLSUpstream starts an upstream that ca vouches for as 127.0.0.1, localhost and names.
func NewTLSUpstream(t testing.TB, ca *CA, names ...string) *Upstream {
	t.Helper()
	return newUpstream(t, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{ca.Leaf(t, append([]string{"127.0.0.1", "localhost"}, names...)...)},
		}
		s.StartTLS()
	})
}

func newUpstream(t testing.TB, start func(*httptest.Server)) *Upstream {
	u := &Upstream{handlers: map[string]http.Handler{}}
	u.server = httptest.NewUnstartedServer(u)
	u.server.Config.Protocols = new(http.Protocols)
	u.server.Config.Protocols.SetHTTP1(true)
	u.server.Config.Protocols.SetHTTP2(true)
	u.server.Config.Protocols.SetUnencryptedHTTP2(true)
	start(u.server)
	u.URL, u.Addr = u.server.URL, u.server.Listener.Addr().String()
	t.Cleanup(func() {
		u.server.CloseClientConnections() // whoever hangs is let go
		u.server.Close()
	})
	return u
}

// Handle says what answers at a path, which is compared as it is, not cleaned. The empty
// path stands for all that have no handler of their own.
func (u *Upstream) Handle(path string, h http.Handler) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handlers[path] = h
}

// ServeHTTP records the request and has the handler of its path answer.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &record{sum: sha256.New(), Received: Received{
		Method: r.Method, URI: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header.Clone(),
	}}
	u.mu.Lock()
	u.records = append(u.records, rec)
	h := cmp.Or(u.handlers[r.URL.Path], u.handlers[""], Echo)
	u.mu.Unlock()
	r.Body = &recordedBody{r.Body, u, rec, r}
	h.ServeHTTP(w, r)
}

// recordedBody notes what the handler reads.
type recordedBody struct {
	io.ReadCloser
	u   *Upstream
	rec *record
	r   *http.Request
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.rec.BodySize += int64(n)
	b.rec.sum.Write(p[:n])
	b.rec.kept.Write(p[:min(n, keptBody-b.rec.kept.Len())])
	if err == io.EOF {
		b.rec.Trailer = b.r.Trailer.Clone()
	}
	return n, err
}

// Received returns the requests so far, oldest first, with what has been read of them.
func (u *Upstream) Received() []Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []Received
	for _, rec := range u.records {
		r := rec.Received
		r.Body, r.BodySHA256 = rec.kept.String(), hex.EncodeToString(rec.sum.Sum(nil))
		out = append(out, r)
	}
	return out
}

// Last returns the newest request, and fails the test if there is none.
func (u *Upstream) Last(t testing.TB) Received {
	t.Helper()
	all := u.Received()
	if len(all) == 0 {
		t.Fatal("the upstream got no request")
	}
	return all[len(all)-1]
}

// Reset forgets the requests so far.
func (u *Upstream) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.records = nil
}

// Contains tells whether text is anywhere in the request: target, host, header, kept body
// or trailer. Use it to prove that a secret did not arrive.
func (r Received) Contains(text string) bool {
	inFields := func(h http.Header) bool {
		for name, values := range h {
			if strings.Contains(name, text) || slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, text) }) {
				return true
			}
		}
		return false
	}
	return strings.Contains(r.URI, text) || strings.Contains(r.Host, text) || strings.Contains(r.Body, text) ||
		inFields(r.Header) || inFields(r.Trailer)
}
