package exchange

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestCheckMethod(t *testing.T) {
	early, late := &tls.ConnectionState{}, &tls.ConnectionState{HandshakeComplete: true}
	for _, tt := range []struct {
		name   string
		req    http.Request
		judged string
		status int
	}{
		{"GET", http.Request{Method: "GET", ProtoMajor: 1}, "GET", 0},
		{"an unknown method", http.Request{Method: "FROB", ProtoMajor: 1}, "FROB", 0},
		{"TRACE", http.Request{Method: "TRACE", ProtoMajor: 1}, "", 405},
		{"CONNECT", http.Request{Method: "CONNECT", ProtoMajor: 1}, "", 405},
		{"CONNECT over HTTP/2", http.Request{Method: "CONNECT", ProtoMajor: 2}, "", 405},
		{"a WebSocket over HTTP/2", http.Request{Method: "CONNECT", ProtoMajor: 2, Header: http.Header{":protocol": {"websocket"}}}, "GET", 0},
		{"another protocol over HTTP/2", http.Request{Method: "CONNECT", ProtoMajor: 2, Header: http.Header{":protocol": {"connect-udp"}}}, "", 405},
		{"a WebSocket over HTTP/3", http.Request{Method: "CONNECT", ProtoMajor: 3, Proto: "websocket"}, "GET", 0},
		{"that pseudo header over HTTP/1.1", http.Request{Method: "CONNECT", ProtoMajor: 1, Header: http.Header{":protocol": {"websocket"}}}, "", 405},
		{"GET in early data", http.Request{Method: "GET", ProtoMajor: 3, TLS: early}, "GET", 0},
		{"POST in early data", http.Request{Method: "POST", ProtoMajor: 3, TLS: early}, "", 425},
		{"an unknown method in early data", http.Request{Method: "FROB", ProtoMajor: 3, TLS: early}, "", 425},
		{"through many gateways", http.Request{Method: "GET", Header: http.Header{"Via": {"1.1 a, 1.1 b", strings.Repeat("1.1 c, ", 17) + "1.1 c"}}}, "GET", 0},
		{"through too many", http.Request{Method: "GET", Header: http.Header{"Via": {"1.1 a, 1.1 b", strings.Repeat("1.1 c, ", 18) + "1.1 c"}}}, "", 508},
		{"through too many, each with a line", http.Request{Method: "GET", Header: http.Header{"Via": slices.Repeat([]string{"1.1 Caddy"}, 21)}}, "", 508},
		{"POST after the handshake", http.Request{Method: "POST", ProtoMajor: 3, TLS: late}, "POST", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.req.Header == nil {
				tt.req.Header = http.Header{}
			}
			judged, ref := CheckMethod(&tt.req)
			status := 0
			if ref != nil {
				status = ref.Status
			}
			if judged != tt.judged || status != tt.status {
				t.Errorf("got %q, %d", judged, status)
			}
		})
	}
}

func TestConnectionHeaders(t *testing.T) {
	for _, tt := range []struct{ name, in, only, neutral string }{
		{"nothing", "A: 1", "A: 1", "A: 1"},
		{"a WebSocket", "Connection: keep-alive, Upgrade|Upgrade: WebSocket", "Connection: keep-alive, Upgrade|Upgrade: WebSocket", "Connection: Upgrade|Upgrade: WebSocket"},
		{"h2c", "Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|Http2-Settings: x", "Connection: ", ""},
		{"several protocols", "Connection: upgrade|Upgrade: websocket, h2c", "Connection: ", ""},
		{"names of other headers", "Connection: A, b|A: 1|B: 2|C: 3", "Connection: A, b|A: 1|B: 2|C: 3", "C: 3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for line := range strings.SplitSeq(tt.in, "|") {
				name, value, _ := strings.Cut(line, ": ")
				h.Add(name, value)
			}
			OnlyWebSocket(&http.Request{Header: h})
			if got := lines(h); got != tt.only {
				t.Errorf("only WebSockets: %q, want %q", got, tt.only)
			}
			NeutralizeConnection(h)
			if got := lines(h); got != tt.neutral {
				t.Errorf("neutralised: %q, want %q", got, tt.neutral)
			}
		})
	}
}

func lines(h http.Header) string {
	var list []string
	for _, name := range []string{"Connection", "Upgrade", "Http2-Settings", "A", "B", "C"} {
		for _, v := range h[name] {
			list = append(list, name+": "+v)
		}
	}
	return strings.Join(list, "|")
}

func TestLooksAlike(t *testing.T) {
	for name, want := range map[string]bool{"X-Api-Key": false, "X_Api_Key": true, "X.Api.Key": true, "x-api-key": true, "X-API-Key": true, "Etag": false} {
		if got := LooksAlike(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, name := range []string{"X_Api_Key", "x.API-key", "X-Api-Key"} {
		if Fold(name) != "x-api-key" {
			t.Errorf("%s folds to %s", name, Fold(name))
		}
	}
}

func TestAnswersPrefix(t *testing.T) {
	for _, bad := range []string{"a b", "ä", "a:b", "{env.X}"} {
		if _, err := NewAnswers(bad, false); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
