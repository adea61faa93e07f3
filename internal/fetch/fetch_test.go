package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// get fetches a URL with a limit of 1 KiB.
func get(t *testing.T, c *Client, url string) (*Response, error) {
	t.Helper()
	return getWithin(t.Context(), t, c, url)
}

func getWithin(ctx context.Context, t *testing.T, c *Client, url string) (*Response, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(ctx, req, 1<<10)
}

func client(t *testing.T, p Policy) *Client {
	t.Helper()
	c := New(p)
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// serveTLS serves with a certificate of ca for 127.0.0.1, localhost and more names.
func serveTLS(t *testing.T, ca *rrtest.CA, h http.Handler, names ...string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, append(names, "127.0.0.1", "localhost")...)}}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func expectError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", part)
	}
	if !strings.Contains(err.Error(), part) {
		t.Errorf("the error is %q, want %q in it", err, part)
	}
}

func TestDo(t *testing.T) {
	rrtest.NoLeak(t)
	var got *http.Request
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "body")
	}))
	c := client(t, Policy{Trusted: true})
	res, err := get(t, c, s.URL+"/a?b=c")
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != http.StatusTeapot || res.Header.Get("X-Answer") != "yes" || string(res.Body) != "body" {
		t.Errorf("got %d %v %q", res.Status, res.Header, res.Body)
	}
	if got.RequestURI != "/a?b=c" || got.Header.Get("Accept-Encoding") != "identity" || got.UserAgent() != "caddy-rr" {
		t.Errorf("the request was %s with %v", got.RequestURI, got.Header)
	}
}

func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	// net/http reads the environment once, and never a proxy for loopback addresses, so the
	// field says more than an exchange
	for _, transport := range []*http.Transport{New(Policy{}).secure, New(Policy{}).plain} {
		if transport.Proxy != nil {
			t.Error("a proxy is used")
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	reached := false
	target := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	for status := 300; status <= 308; status++ {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", target.URL+"/x?token=s3cret")
			w.WriteHeader(status)
		}))
		_, err := get(t, client(t, Policy{Trusted: true}), s.URL)
		expectError(t, err, strconv.Itoa(status))
		if !errors.Is(err, ErrRedirect) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), target.Listener.Addr().String()) {
			t.Errorf("%d: the error is %v", status, err)
		}
	}
	if reached {
		t.Error("a redirect was followed")
	}
}

func TestBodyLimit(t *testing.T) {
	rrtest.NoLeak(t)
	for _, tt := range []struct {
		name    string
		handler http.Handler
		ok      bool
	}{
		{"just as much", rrtest.Download(1 << 10), true},
		{"one byte more", rrtest.Download(1<<10 + 1), false},
		{"100 MB, announced", rrtest.Download(100 << 20), false},
		{"100 MB, in chunks", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			if n, err := io.Copy(w, rrtest.Content(100<<20)); err == nil {
				t.Errorf("all %d bytes were taken", n)
			}
		}), false},
	} {
		s := serve(t, tt.handler)
		_, err := get(t, client(t, Policy{Trusted: true}), s.URL)
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", tt.name, err)
		}
		s.Close()
	}
}

func TestCompressedAnswerIsRefused(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	_, _ = w.Write(make([]byte, 900<<10))
	_ = w.Close()
	if bomb.Len() > 1<<10 {
		t.Fatalf("the bomb has %d bytes", bomb.Len())
	}
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	_, err := get(t, client(t, Policy{Trusted: true}), s.URL)
	expectError(t, err, "Content-Encoding")
}

func TestContextBoundsTheExchange(t *testing.T) {
	rrtest.NoLeak(t)
	for name, h := range map[string]http.Handler{
		"no header": rrtest.Hang,
		"slow body": rrtest.Parts(time.Hour, "begin", "never"),
		"no sending": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "9")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}),
	} {
		s := serve(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		_, err := getWithin(ctx, t, client(t, Policy{Trusted: true}), s.URL)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the error is %v", name, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: it took %v", name, d)
		}
		s.Close()
	}
}

func TestHeaderLimit(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("a", 100<<10))
	}))
	_, err := get(t, client(t, Policy{Trusted: true}), s.URL)
	expectError(t, err, "response headers exceeded")
}

func TestErrorsQuoteNothing(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":       "s3cret s3cret\r\n\r\n",
		"bad status":    "HTTP/1.1 s3cret\r\n\r\n",
		"bad header":    "HTTP/1.1 200 OK\r\ns3cret\r\n\r\n",
		"bad length":    "HTTP/1.1 200 OK\r\nContent-Length: s3cret\r\n\r\n",
		"bad chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ns3cret\r\n",
		"bad coding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: s3cret\r\n\r\n",
		"switch":        "HTTP/1.1 101 s3cret\r\nUpgrade: s3cret\r\nConnection: Upgrade\r\n\r\n",
		"hints forever": strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: s3cret\r\n\r\n", 9000),
		"cut":           "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ns3cret",
		"nothing":       "",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			conn.Close()
		}()
		_, err = get(t, client(t, Policy{Trusted: true}), "http://"+l.Addr().String()+"/p?code=s3cret")
		if err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), l.Addr().String()) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestClientCertificateAndRoots(t *testing.T) {
	ca := rrtest.NewCA(t)
	var shown string
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown = ""
		if len(r.TLS.PeerCertificates) > 0 {
			shown = r.TLS.PeerCertificates[0].Subject.CommonName
		}
	})
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, "127.0.0.1")}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	own := ca.Leaf(t, "rr-client")
	c := client(t, Policy{Trusted: true, RootCAs: ca.Pool, Certificate: &own, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if _, err := get(t, c, s.URL); err != nil || shown != "rr-client" {
		t.Errorf("the server saw %q; %v", shown, err)
	}
	if _, err := get(t, c.Untrusted(), s.URL); err != nil || shown != "" {
		t.Errorf("another party saw %q; %v", shown, err)
	}
	s.Config.ErrorLog = quiet()
	_, err := get(t, client(t, Policy{Trusted: true}), s.URL)
	expectError(t, err, "certificate")
	other := serveTLS(t, ca, h)
	_, err = get(t, c, strings.Replace(other.URL, "127.0.0.1", "127.0.0.2", 1))
	expectError(t, err, "127.0.0.2")
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := rrtest.NewCA(t)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Leaf(t, "127.0.0.1")}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	_, err := get(t, client(t, Policy{Trusted: true, RootCAs: ca.Pool}), s.URL)
	expectError(t, err, "protocol version")
}

func TestClose(t *testing.T) {
	rrtest.NoLeak(t)
	s := serve(t, rrtest.Status(http.StatusOK, "x"))
	c := New(Policy{Trusted: true})
	begun, leave := make(chan struct{}), make(chan struct{})
	slow := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(begun); <-leave }))
	done := make(chan error)
	go func() {
		_, err := get(t, c, slow.URL)
		done <- err
	}()
	<-begun
	if _, err := get(t, c, s.URL); err != nil {
		t.Fatal(err)
	}
	c.Close()
	close(leave)
	if err := <-done; err != nil {
		t.Errorf("an exchange that had begun: %v", err)
	}
	for _, c := range []*Client{c, c.Untrusted()} {
		_, err := get(t, c, s.URL)
		expectError(t, err, "closed")
	}
}

// closing is a context that closes a client once an exchange has begun.
type closing struct {
	context.Context
	client *Client
}

func (c closing) Deadline() (time.Time, bool) {
	c.client.Close()
	return c.Context.Deadline()
}

func TestCloseJustBeforeTheConnection(t *testing.T) {
	rrtest.NoLeak(t)
	s := serve(t, rrtest.Status(http.StatusOK, "x"))
	c := New(Policy{Trusted: true})
	if _, err := getWithin(closing{t.Context(), c}, t, c, s.URL); err != nil {
		t.Error(err)
	}
	// NoLeak looks when the server is closed, and with it all connections; here is before
	if n := goroutines("net/http.(*persistConn)"); n != 0 {
		t.Errorf("%d connections are kept", n)
	}
}

// goroutines counts those that have a function in their stack, once no more end.
func goroutines(function string) (n int) {
	for range 100 {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if n = strings.Count(stacks, function); n == 0 {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}
