package rrtest

import (
	"fmt"
	"io"
	"testing"
)

func TestExtendedConnectOpensAWebSocketOverHTTP2(t *testing.T) {
	if RunsWithExtendedConnect(t) {
		return
	}
	ca, port, u := NewCA(t), FreePort(t), NewUpstream(t)
	u.Handle("/ws", WebSocketEcho)
	cert, key := ca.Files(t, "localhost")
	Start(t, fmt.Sprintf("https://localhost:%d {\n\ttls %s %s\n\treverse_proxy %s\n}", port, cert, key, u.URL))

	resp, write := ExtendedConnect(t, ca, fmt.Sprintf("https://localhost:%d/ws", port))
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Fatalf("status %d over %s", resp.StatusCode, resp.Proto)
	}
	// a text frame, masked with zeros, and the same from the server without a mask
	if err := write([]byte("\x81\x82\x00\x00\x00\x00hi")); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, 4)
	if _, err := io.ReadFull(resp.Body, back); err != nil || string(back) != "\x81\x02hi" {
		t.Errorf("got %q, %v", back, err)
	}
}
