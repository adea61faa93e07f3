package rrtest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Conn is a connection on which a test writes bytes as it likes.
type Conn struct {
	net.Conn
	r *bufio.Reader
	t testing.TB
}

// Dial opens a TCP connection to host and port.
func Dial(t testing.TB, addr string) *Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	return newConn(t, c, err)
}

// DialTLS opens a TLS connection that offers HTTP/1.1 only. name is the server's, for SNI
// and its certificate.
func DialTLS(t testing.TB, addr string, ca *CA, name string) *Conn {
	t.Helper()
	cfg := ca.clientConfig()
	cfg.ServerName, cfg.NextProtos = name, []string{"http/1.1"}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, cfg)
	return newConn(t, c, err)
}

func newConn(t testing.TB, c net.Conn, err error) *Conn {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &Conn{Conn: c, r: bufio.NewReader(c), t: t}
}

// Say writes the bytes as they are.
func (c *Conn) Say(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.t.Fatalf("the connection takes no more bytes: %v", err)
	}
}

// Answer reads the next response, informational ones too, to its end. method is the
// request's: HEAD has no body.
func (c *Conn) Answer(method string) Answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("the body breaks off after %d bytes: %v", len(body), err)
	}
	return Answer{resp.StatusCode, resp.Proto, resp.Header, string(body), resp.Trailer}
}

// WaitClosed waits until the server has closed the connection, and returns what it still
// said before.
func (c *Conn) WaitClosed() string {
	c.t.Helper()
	rest, err := io.ReadAll(c.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the connection stays open; it said %q", rest)
	}
	return string(rest)
}

// Raw sends bytes to host and port on a new connection and reads one response.
func Raw(t testing.TB, addr, raw string) Answer {
	t.Helper()
	c := Dial(t, addr)
	c.Say(raw)
	return c.Answer("")
}

// RawUpstream is a server that keeps the bytes it gets, in their order and case, and
// answers every request with the same bytes.
type RawUpstream struct {
	// URL is the base address; Addr is host and port.
	URL, Addr string

	answer string
	mu     sync.Mutex
	got    bytes.Buffer
	conns  map[net.Conn]bool
}

// RawOK is an answer for RawUpstream.
const RawOK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// NewRawUpstream starts a server that answers every request with the bytes of answer.
func NewRawUpstream(t testing.TB, answer string) *RawUpstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &RawUpstream{URL: "http://" + l.Addr().String(), Addr: l.Addr().String(), answer: answer, conns: map[net.Conn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { u.accept(l, &serving) })
	t.Cleanup(func() {
		l.Close()
		u.mu.Lock()
		for c := range u.conns {
			c.Close()
		}
		u.conns = nil
		u.mu.Unlock()
		serving.Wait()
	})
	return u
}

func (u *RawUpstream) accept(l net.Listener, serving *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		if u.conns == nil { // the test is over
			c.Close()
		} else {
			u.conns[c] = true
			serving.Go(func() { u.serve(c) })
		}
		u.mu.Unlock()
	}
}

func (u *RawUpstream) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(io.TeeReader(c, u))
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		if _, err := io.WriteString(c, u.answer); err != nil {
			return
		}
	}
}

// Write keeps what arrives.
func (u *RawUpstream) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got.Write(p)
}

// Received returns all bytes so far, of all connections.
func (u *RawUpstream) Received() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got.String()
}

// CountConnections is a loopback address at which connections are counted and closed.
func CountConnections(t testing.TB) (addr string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			c.Close()
		}
	}()
	return l.Addr().String(), connections
}
