// Package fetch asks other parties for documents and tokens: key sets, discovery
// documents, token and introspection answers. It is an HTTP client that can be led
// nowhere: it follows no redirect, knows no proxy and no cookies, judges the address that
// is really dialled (so a name that changes its address between look-up and use gains
// nothing), and reads at most as many bytes as its caller wants.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxHeaderBytes bounds an answer's header section.
	maxHeaderBytes = 64 << 10
	// longest is how long an exchange may take whose context has no deadline.
	longest = 30 * time.Second
	// idleTimeout is how long an unused connection is kept: long enough for a refetch soon
	// after, or a series of token requests.
	idleTimeout = 30 * time.Second
	// maxIdle bounds the unused connections that are kept to one host.
	maxIdle = 16
)

// ErrTooLarge says that an answer is larger than its reader allows.
var ErrTooLarge = errors.New("the answer is too large")

// ErrRedirect says that an answer sends its reader elsewhere, where no Client goes.
var ErrRedirect = errors.New("redirects are not followed")

var errClosed = errors.New("this client is closed")

// Client fetches from addresses that its Policy permits. It is safe for concurrent use.
type Client struct {
	secure, plain *http.Transport // for https and http
	untrusted     *Client         // itself when it trusts nobody
	closed        atomic.Bool
}

// New makes a Client. It holds connections, so it needs its Close.
func New(p Policy) *Client {
	c := newClient(p)
	c.untrusted = c
	if p.Trusted {
		p.Trusted = false
		p.Certificate = nil // it is for the party that the operator named
		c.untrusted = newClient(p)
		c.untrusted.untrusted = c.untrusted
	}
	return c
}

func newClient(p Policy) *Client {
	return &Client{secure: p.transport(p.permits), plain: p.transport(p.permitsPlain)}
}

// Untrusted is the Client for URLs that came from another party, such as the jwks_uri of a
// discovery document: the same settings without Policy.Trusted and without the client
// certificate. It is closed together with c.
func (c *Client) Untrusted() *Client { return c.untrusted }

// Close drops all unused connections; those in use are dropped when their exchange ends.
// No exchange can begin after it.
func (c *Client) Close() {
	c.closed.Store(true)
	c.closeIdle()
	if c.untrusted != c {
		c.untrusted.Close()
	}
}

func (c *Client) closeIdle() {
	c.secure.CloseIdleConnections()
	c.plain.CloseIdleConnections()
}

// Response is an answer with its whole body.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request and reads the whole answer, whatever its status from 200 on, except a
// redirect, which is an ErrRedirect. A body over maxBytes is an ErrTooLarge. The context
// bounds all of it. Errors name the host and the reason, never a query, a header, or a
// part of a body.
func (c *Client) Do(ctx context.Context, req *http.Request, maxBytes int64) (*Response, error) {
	host := req.URL.Host
	if err := checkURL(req.URL); err != nil {
		return nil, err
	}
	if c.closed.Load() {
		return nil, fmt.Errorf("%s: %w", host, errClosed)
	}
	// a Close while the exchange goes on finds its connection in use
	defer func() {
		if c.closed.Load() {
			c.closeIdle()
		}
	}()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, longest)
		defer cancel()
	}
	res, err := c.transport(req.URL).RoundTrip(prepare(ctx, req))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, discreet(ctx, err))
	}
	defer res.Body.Close()
	body, err := read(ctx, res, maxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, err)
	}
	return &Response{res.StatusCode, res.Header, body}, nil
}

func (c *Client) transport(u *url.URL) *http.Transport {
	if u.Scheme == "https" {
		return c.secure
	}
	return c.plain
}

// prepare is the request as it is sent. The answer shall come uncompressed: then the limit
// holds for what its reader gets, and a small answer cannot become a huge one.
func prepare(ctx context.Context, req *http.Request) *http.Request {
	req = req.Clone(ctx)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("Accept-Encoding", "identity")
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", "caddy-rr")
	}
	return req
}

// read takes an answer's body, if the answer is one that counts.
func read(ctx context.Context, res *http.Response, maxBytes int64) ([]byte, error) {
	if res.StatusCode < 200 {
		return nil, fmt.Errorf("status %d is no answer", res.StatusCode)
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return nil, fmt.Errorf("status %d%s: %w", res.StatusCode, destination(res), ErrRedirect)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("the answer has the Content-Encoding %.20q, which was not asked for", coding)
	}
	if res.ContentLength > maxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, res.ContentLength, maxBytes)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", discreet(ctx, err))
	}
	if int64(len(body)) > maxBytes {
		return nil, fmt.Errorf("%w: at most %d bytes are read", ErrTooLarge, maxBytes)
	}
	return body, nil
}

// destination names the host that a redirect leads to, for the reader of the log.
func destination(res *http.Response) string {
	to, err := res.Location()
	if err != nil || to.Host == "" {
		return ""
	}
	return fmt.Sprintf(" to %.100q", to.Host)
}
