package rrtest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Answer is a response that was read to its end.
type Answer struct {
	Status  int
	Proto   string
	Header  http.Header
	Body    string
	Trailer http.Header
}

// Request makes a request. Headers are written `Name: value`; a name may come twice.
func Request(t testing.TB, method, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			t.Fatalf("header %q is not written `Name: value`", h)
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		// not Add: the name goes out as it is written
		req.Header[name] = append(req.Header[name], value)
	}
	return req
}

// Send sends a request and reads the whole answer. It fails the test if there is none,
// or if it breaks off.
func Send(t testing.TB, client *http.Client, req *http.Request) Answer {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: the body breaks off after %d bytes: %v", req.Method, req.URL, len(body), err)
	}
	return Answer{resp.StatusCode, resp.Proto, resp.Header, string(body), resp.Trailer}
}

// Try sends a request with a text as its body, for what may fail: an error is that there was
// no whole answer. Headers are written `Name: value`.
func Try(ctx context.Context, client *http.Client, method, url, body string, headers ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	text, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Proto, resp.Header, string(text), resp.Trailer}, errors.Join(err, resp.Body.Close())
}

// Do is Request and Send over HTTP/1.1 without TLS on a connection of its own.
func Do(t testing.TB, method, url, body string, headers ...string) Answer {
	t.Helper()
	return Send(t, HTTP1(t, nil), Request(t, method, url, body, headers...))
}

// HTTP1 is a client that speaks HTTP/1.1 only. With a CA it trusts that one alone. The
// clients of this package follow no redirects, use no environment proxy, add no
// Accept-Encoding, and give up after a minute.
func HTTP1(t testing.TB, ca *CA) *http.Client { return client(t, ca, new(http.Protocols), 1) }

// HTTP2 is a client that speaks HTTP/2 over TLS only.
func HTTP2(t testing.TB, ca *CA) *http.Client { return client(t, ca, new(http.Protocols), 2) }

// H2C is a client that speaks HTTP/2 without TLS, with prior knowledge.
func H2C(t testing.TB) *http.Client { return client(t, nil, new(http.Protocols), 0) }

func client(t testing.TB, ca *CA, p *http.Protocols, version int) *http.Client {
	p.SetHTTP1(version == 1)
	p.SetHTTP2(version == 2)
	p.SetUnencryptedHTTP2(version == 0)
	tr := &http.Transport{Protocols: p, TLSClientConfig: ca.clientConfig(), DisableCompression: true, DialContext: dial}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: noRedirect, Timeout: time.Minute}
}

// dial connects again if it is reset while it connects: Caddy closes the listener of the
// configuration before a moment after a reload, and whoever the kernel had put there is reset.
func dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	for range 5 {
		if conn, err = new(net.Dialer).DialContext(ctx, network, address); !errors.Is(err, syscall.ECONNRESET) {
			break
		}
	}
	return conn, err
}

// HTTP3 is a client that speaks HTTP/3.
func HTTP3(t testing.TB, ca *CA) *http.Client {
	tr := &http3.Transport{TLSClientConfig: ca.clientConfig(), DisableCompression: true}
	t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, CheckRedirect: noRedirect, Timeout: time.Minute}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// clientConfig trusts only the CA. A nil CA trusts nobody.
func (ca *CA) clientConfig() *tls.Config {
	if ca == nil {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: ca.Pool}
}
