package rrtest

//lint:file-ignore SA1019 net/http's own transport refuses the pseudo-header :protocol, so ExtendedConnect needs x/net's.

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// WebSocket opens a WebSocket over HTTP/1.1. url begins with http:// or https://; headers
// are written as for Request. It returns the answer's status and, if that is 101, the
// connection.
func WebSocket(t testing.TB, ca *CA, url string, headers ...string) (int, *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := Request(t, "GET", url, "", headers...)
	client := HTTP1(t, ca)
	client.Timeout = 0 // it would end the connection
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client, HTTPHeader: req.Header, Host: req.Host})
	if resp == nil {
		t.Fatalf("%s: %v", url, err)
	}
	if err != nil {
		return resp.StatusCode, nil
	}
	t.Cleanup(func() { c.CloseNow() })
	return resp.StatusCode, c
}

// Echoes sends a text message and tells whether it came back.
func Echoes(t testing.TB, c *websocket.Conn, message string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatalf("the WebSocket takes no message: %v", err)
	}
	_, back, err := c.Read(ctx)
	if err != nil {
		t.Fatalf("the WebSocket has no message: %v", err)
	}
	return string(back) == message
}

// WaitClosedWebSocket waits until the other side has ended the connection, by a close
// frame or without, and fails the test if it is still open after within.
func WaitClosedWebSocket(t testing.TB, c *websocket.Conn, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatalf("the WebSocket is still open after %s", within)
			}
			return
		}
	}
}

// ExtendedConnect opens a WebSocket over HTTP/2 (RFC 8441) and returns the answer, whose
// body is the server's half, and a function that writes the client's half: raw WebSocket
// frames. Go's server offers this only if the process was started with
// GODEBUG=http2xconnect=1.
func ExtendedConnect(t testing.TB, ca *CA, url string, headers ...string) (*http.Response, func([]byte) error) {
	t.Helper()
	body, write := io.Pipe()
	req := Request(t, http.MethodConnect, url, "", append(headers, "Sec-Websocket-Version: 13")...)
	req.Header[":protocol"] = []string{"websocket"} // net/http's own transport would refuse it
	req.Body = body
	tr := &http2.Transport{TLSClientConfig: ca.clientConfig()}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("extended CONNECT %s: %v", url, err)
	}
	t.Cleanup(func() {
		// Caddy must be done with the connection before it is stopped: it closes open ones
		// without regard to who writes to them
		write.Close()
		end := time.AfterFunc(2*time.Second, func() { resp.Body.Close() })
		_, _ = io.Copy(io.Discard, resp.Body)
		end.Stop()
		resp.Body.Close()
		tr.CloseIdleConnections()
	})
	return resp, func(p []byte) error { _, err := write.Write(p); return err }
}

// RunsWithExtendedConnect runs the calling test once more, in a process that offers
// WebSockets over HTTP/2 (the server reads GODEBUG when the process starts), and returns
// true when that has passed. In that process it returns false at once.
func RunsWithExtendedConnect(t *testing.T) bool {
	t.Helper()
	if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		return false
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}
