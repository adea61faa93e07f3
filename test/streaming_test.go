package test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// streams is a proxy that allows everything, with a site over TLS beside the plain one.
const streams = `{
	rr {
		proxy p {
			accept key {env.RR_CALLER}
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
https://localhost:TLSPORT {
	tls CERT KEY
	rr_proxy p
}
`

type streamGateway struct {
	*gateway
	u   *rrtest.Upstream
	ca  *rrtest.CA
	tls string // base URL
}

func startStreams(t *testing.T, scheme string) streamGateway {
	t.Helper()
	setSecrets(t)
	ca := rrtest.NewCA(t)
	cert, key := ca.Files(t, "localhost")
	u := rrtest.NewUpstream(t)
	port := rrtest.FreePort(t)
	g := start(t, streams, "UPSTREAM", scheme+"://"+u.Addr, "TLSPORT", fmt.Sprint(port), "CERT", cert, "KEY", key)
	return streamGateway{g, u, ca, fmt.Sprintf("https://localhost:%d", port)}
}

const withKey = "X-API-Key: " + callerKey

// Answers were buffered, so that events came when the stream was over, and a limit of time for writing cut long
// streams.
// Sources: Infisical/agent-vault#229
// Here: Each event arrives before the next one is sent, over HTTP/1.1, HTTP/2 and HTTP/3.
// Topic: traffic
func TestPeer_agent_vault_229_StreamsAreNotBuffered(t *testing.T) {
	g := startStreams(t, "http")
	for name, client := range map[string]*http.Client{
		"HTTP/1.1": rrtest.HTTP1(t, g.ca), "HTTP/2": rrtest.HTTP2(t, g.ca), "HTTP/3": rrtest.HTTP3(t, g.ca),
	} {
		t.Run(name, func(t *testing.T) {
			events := rrtest.NewEvents()
			g.u.Handle("/events", events)
			res, err := client.Do(rrtest.Request(t, "GET", g.tls+"/events", "", withKey))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			lines := bufio.NewScanner(res.Body)
			for i := range 3 {
				// the next event is sent only after this one has arrived
				want := fmt.Sprintf("event %d", i)
				events.Send(t, want)
				if !lines.Scan() || lines.Text() != "data: "+want || !lines.Scan() {
					t.Fatalf("got %q, %v", lines.Text(), lines.Err())
				}
			}
			events.End()
			if lines.Scan() {
				t.Errorf("after the end: %q", lines.Text())
			}
		})
	}
}

func TestWebSockets(t *testing.T) {
	g := startStreams(t, "http")
	g.u.Handle("/ws", rrtest.WebSocketEcho)
	if status, _ := rrtest.WebSocket(t, nil, "http://"+g.addr+"/ws"); status != http.StatusUnauthorized {
		t.Errorf("without a credential the handshake gets %d", status)
	}
	status, conn := rrtest.WebSocket(t, nil, "http://"+g.addr+"/ws", withKey)
	if status != http.StatusSwitchingProtocols || !rrtest.Echoes(t, conn, "over HTTP/1.1") {
		t.Fatalf("got status %d or no echo", status)
	}
	got := g.u.Last(t)
	if got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Contains(callerKey) {
		t.Errorf("the handshake has %v", got.Header)
	}
}

func TestAWebSocketOverHTTP2IsAGet(t *testing.T) {
	if rrtest.RunsWithExtendedConnect(t) {
		return
	}
	setSecrets(t)
	ca := rrtest.NewCA(t)
	cert, key := ca.Files(t, "localhost")
	u := rrtest.NewUpstream(t)
	u.Handle("/ws", rrtest.WebSocketEcho)
	port := rrtest.FreePort(t)
	start(t, strings.Replace(streams, "present bearer", "default deny\n\t\t\tallow GET /ws\n\t\t\tpresent bearer", 1),
		"UPSTREAM", "http://"+u.Addr, "TLSPORT", fmt.Sprint(port), "CERT", cert, "KEY", key)
	res, write := rrtest.ExtendedConnect(t, ca, fmt.Sprintf("https://localhost:%d/ws", port), withKey)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("extended CONNECT gets %d", res.StatusCode)
	}
	// a masked text frame with "hi" and a mask of zeros; the echo comes back unmasked
	if err := write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}); err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 4)
	if _, err := io.ReadFull(res.Body, frame); err != nil || string(frame) != "\x81\x02hi" {
		t.Errorf("got frame %q, %v", frame, err)
	}
}

func TestLargeBodiesPassUnchanged(t *testing.T) {
	const size = 64 << 20
	g := startStreams(t, "http")
	g.u.Handle("/down", rrtest.Download(size))
	want, err := rrtest.Digest(rrtest.Content(size))
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*http.Client{"HTTP/1.1": rrtest.HTTP1(t, g.ca), "HTTP/2": rrtest.HTTP2(t, g.ca)} {
		t.Run(name, func(t *testing.T) {
			res, err := client.Do(rrtest.Request(t, "GET", g.tls+"/down", "", withKey))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := rrtest.Digest(res.Body); err != nil || got != want || res.ContentLength != size {
				t.Errorf("the download has digest %s, length %d, %v", got, res.ContentLength, err)
			}
			g.u.Reset()
			req := rrtest.Request(t, "POST", g.tls+"/up", "", withKey)
			req.Body = io.NopCloser(rrtest.Content(size)) // of unknown length
			if a := rrtest.Send(t, client, req); a.Status != http.StatusOK {
				t.Fatalf("the upload gets %d", a.Status)
			}
			if got := g.u.Last(t); got.BodySHA256 != want {
				t.Errorf("the upload has %d bytes and digest %s", got.BodySize, got.BodySHA256)
			}
		})
	}
}

func TestTrailersAndEarlyHintsPass(t *testing.T) {
	g := startStreams(t, "http")
	g.u.Handle("/trailers", rrtest.Trailers("body", map[string]string{"X-Sum": "42"}))
	g.u.Handle("/hints", rrtest.EarlyHints("</style.css>; rel=preload", rrtest.Status(200, "ok")))
	for name, client := range map[string]*http.Client{"HTTP/1.1": rrtest.HTTP1(t, g.ca), "HTTP/2": rrtest.HTTP2(t, g.ca)} {
		t.Run(name, func(t *testing.T) {
			a := rrtest.Send(t, client, rrtest.Request(t, "GET", g.tls+"/trailers", "", withKey, "TE: trailers"))
			if a.Body != "body" || a.Trailer.Get("X-Sum") != "42" {
				t.Errorf("body %q, trailers %v", a.Body, a.Trailer)
			}
			var hint string
			req := rrtest.Request(t, "GET", g.tls+"/hints", "", withKey)
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					hint = fmt.Sprint(code, " ", h.Get("Link"))
					return nil
				},
			}))
			if a := rrtest.Send(t, client, req); a.Status != 200 || hint != "103 </style.css>; rel=preload" {
				t.Errorf("status %d, hint %q", a.Status, hint)
			}
		})
	}
}

func TestGRPCThroughH2C(t *testing.T) {
	g := startStreams(t, "h2c")
	g.u.Handle("/svc/Echo", rrtest.GRPCEcho)
	req := rrtest.Request(t, "POST", g.tls+"/svc/Echo", "\x00\x00\x00\x00\x02hi", withKey, "Content-Type: application/grpc", "TE: trailers")
	a := rrtest.Send(t, rrtest.HTTP2(t, g.ca), req)
	if a.Status != 200 || a.Body != "\x00\x00\x00\x00\x02hi" || a.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("status %d, body %q, trailers %v", a.Status, a.Body, a.Trailer)
	}
	if got := g.u.Last(t); got.Proto != "HTTP/2.0" || got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the upstream got %s with %v", got.Proto, got.Header)
	}
}

// TestARefusedUploadIsNotSent uses Expect: 100-continue: the client waits for leave to
// send, gets the refusal instead, and the connection closes, since the body never comes.
func TestARefusedUploadIsNotSent(t *testing.T) {
	g := startStreams(t, "http")
	for name, auth := range map[string]string{"no credential": "X: 1", "a wrong one": "X-API-Key: wrong"} {
		t.Run(name, func(t *testing.T) {
			conn := rrtest.Dial(t, g.addr)
			conn.Say("POST /up HTTP/1.1\r\nHost: x\r\n" + auth + "\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")
			a := conn.Answer("POST")
			if a.Status != http.StatusUnauthorized {
				t.Fatalf("got %d", a.Status)
			}
			begin := time.Now()
			conn.WaitClosed()
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("the connection closed after %v", d)
			}
		})
	}
	if n := len(received(g.u)); n > 0 {
		t.Errorf("the upstream was called %d times", n)
	}
}

// Access was judged when a connection was opened; whoever lost it later went on.
// Sources: onecli/onecli#178
// Here: A WebSocket, a stream and an upload end when their caller's key is removed; a reload that keeps it keeps the stream.
// Topic: rules
func TestPeer_onecli_178_OpenStreamsLoseAccess(t *testing.T) {
	g := startStreams(t, "http")
	g.u.Handle("/ws", rrtest.WebSocketEcho)
	events := rrtest.NewEvents()
	g.u.Handle("/events", events)
	_, ws := rrtest.WebSocket(t, nil, "http://"+g.addr+"/ws", withKey)
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/events", "", withKey))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	events.Send(t, "one")
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() {
		t.Fatal("no event came")
	}
	upload := rrtest.Dial(t, g.addr)
	upload.Say("POST /up HTTP/1.1\r\nHost: x\r\n" + withKey + "\r\nContent-Length: 1000000000\r\n\r\nbegin")

	// a reload that keeps the key keeps the stream; Caddy itself ends WebSockets then,
	// unless stream_close_delay is said
	if err := g.reload(strings.Replace(streams, "present bearer", "allow *\n\t\t\tpresent bearer", 1)); err != nil {
		t.Fatal(err)
	}
	lines.Scan()
	events.Send(t, "two")
	if !lines.Scan() || lines.Text() != "data: two" {
		t.Fatalf("the reload broke a stream whose caller has kept access: %q %v", lines.Text(), lines.Err())
	}

	t.Setenv("RR_CALLER", otherKey)
	begin := time.Now()
	if err := g.reload(streams); err != nil {
		t.Fatal(err)
	}
	rrtest.WaitClosedWebSocket(t, ws, 5*time.Second)
	events.WaitGone(t)
	for lines.Scan() {
	}
	upload.WaitClosed()
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestAnExpiredKeyLosesItsStream ends a stream by the key's own expiry.
func TestAnExpiredKeyLosesItsStream(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	events := rrtest.NewEvents()
	u.Handle("/base/stream", events)
	expires := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	g := start(t, strings.Replace(oneProxy, "accept key {env.RR_CALLER}", "accept key {env.RR_CALLER} {\n\t\t\texpires "+expires+"\n\t\t}", 1), "UPSTREAM", u.Addr)
	res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+g.addr+"/stream", "", withKey))
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	events.Send(t, "one")
	events.WaitGone(t)
	g.get("/v1/x", withKey).want(t, 401, "proxy-access-denied")
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "expired") })
}
