package cli

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// loopback is where the browser of somebody who consents comes back to (RFC 8252 section
// 7.3): Caddy's admin endpoint lets no browser in, and need not be where the browser is.
type loopback struct {
	uri    string // the redirect URI
	listen net.Listener
	state  string // of the consent that is awaited
	// pass passes on what the browser has brought.
	pass func(url.Values) error

	taken atomic.Bool // somebody has come, or it is too late
	ended chan error
}

// loopbackPath is the path of the redirect URI.
const loopbackPath = "/callback"

// listenForBrowser takes a port of this machine, 0: any. Nothing is answered yet.
func listenForBrowser(port uint16) (*loopback, error) {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("the browser cannot come back to this machine: %w\nsay another --port, or --redirect-uri", err)
	}
	return &loopback{uri: "http://" + l.Addr().String() + loopbackPath, listen: l, ended: make(chan error, 1)}, nil
}

// errNobody is a consent that did not come.
var errNobody = errors.New("nobody has consented in time; the same command begins anew")

// await answers until the browser has come and what it brought is passed on, or for so long.
func (l *loopback) await(ctx context.Context, wait time.Duration) error {
	server := &http.Server{
		Handler: l, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		ErrorLog: log.New(io.Discard, "", 0), // it would show what browsers send
	}
	go func() { _ = server.Serve(l.listen) }()
	defer func() {
		// the page is to arrive, whatever other connections the browser has opened
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(end)
		_ = server.Close()
	}()
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case err := <-l.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		if l.taken.CompareAndSwap(false, true) {
			return errNobody
		}
		return <-l.ended // it is being passed on, which has a time of its own
	}
}

// ServeHTTP implements http.Handler. The first request with the state that is awaited
// counts; whatever else comes is told nothing.
func (l *loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Connection", "close")
	query := r.URL.Query()
	if !l.isAddress(r) || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(l.state)) != 1 || !l.taken.CompareAndSwap(false, true) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	err := l.pass(query)
	status, page := http.StatusOK, loopbackDone
	if err != nil {
		status, page = http.StatusBadGateway, loopbackFailed
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page)
	l.ended <- err
}

// isAddress reports whether a request is one that a browser makes which is sent to the
// redirect URI: not to a name that leads here too, nor from within a page.
func (l *loopback) isAddress(r *http.Request) bool {
	host := strings.TrimSuffix("http://"+r.Host, ":80")
	mode := r.Header.Get("Sec-Fetch-Mode")
	return r.Method == http.MethodGet && r.URL.Path == loopbackPath && (mode == "" || mode == "navigate") &&
		host == strings.TrimSuffix(strings.TrimSuffix(l.uri, loopbackPath), ":80")
}

const (
	loopbackDone = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Consent received</title>
<h1>Consent received</h1>
<p>The gateway has what it needs. You can close this window.</p>
</html>
`
	loopbackFailed = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Consent not received</title>
<h1>Consent not received</h1>
<p>The terminal says why. You can close this window.</p>
</html>
`
)
