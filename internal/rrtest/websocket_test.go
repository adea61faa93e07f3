package rrtest

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The server reads GODEBUG when the process starts, so the test runs itself once more.
func TestExtendedConnectOpensAWebSocketOverHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=http2xconnect=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
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
