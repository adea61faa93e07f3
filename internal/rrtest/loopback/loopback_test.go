package loopback

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

func TestPortIsNeverReturnedTwice(t *testing.T) {
	const each = 200
	var (
		mu    sync.Mutex
		seen  = map[int]bool{}
		group sync.WaitGroup
	)
	for range 4 {
		group.Go(func() {
			for range each {
				port, err := Port()
				if err != nil || port < lowest || port > highest {
					t.Errorf("port %d, %v", port, err)
				}
				mu.Lock()
				if seen[port] {
					t.Errorf("%d came twice", port)
				}
				seen[port] = true
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if len(claims) < 4*each/block {
		t.Errorf("%d ports of %d blocks", len(seen), len(claims))
	}
}

// TestProcessesShareNoPort has other processes ask at the same time as this one.
func TestProcessesShareNoPort(t *testing.T) {
	if os.Getenv("LOOPBACK_CHILD") != "" {
		for range 100 {
			port, err := Port()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("port=%d", port)
		}
		_, _ = os.Stdin.Read(make([]byte, 1)) // holds what it has
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 3 {
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestProcessesShareNoPort$", "-test.v")
		cmd.Env = append(os.Environ(), "LOOPBACK_CHILD=1")
		hold, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for buf := make([]byte, 4096); strings.Count(text.String(), "port=") < 100; {
			n, err := out.Read(buf)
			text.Write(buf[:n])
			if err != nil {
				t.Fatalf("%v\n%s", err, text.String())
			}
		}
		for line := range strings.Lines(text.String()) {
			if _, port, ok := strings.Cut(strings.TrimSpace(line), "port="); ok {
				if seen[port] {
					t.Errorf("%s came from two processes", port)
				}
				seen[port] = true
			}
		}
		t.Cleanup(func() { hold.Close(); _ = cmd.Wait() })
	}
	if len(seen) != 300 {
		t.Errorf("%d ports", len(seen))
	}
}

// TestTakenPortsAreLeftOut has somebody who does not ask Port use the port that is next.
func TestTakenPortsAreLeftOut(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		for {
			port, err := Port()
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			following := left > 0
			mu.Unlock()
			if !following {
				continue // the next one is of a block that is not known yet
			}
			if network == "tcp" {
				l, err := net.Listen("tcp", Addr(port+1))
				if err != nil {
					continue
				}
				t.Cleanup(func() { l.Close() })
			} else {
				u, err := net.ListenPacket("udp", Addr(port+1))
				if err != nil {
					continue
				}
				t.Cleanup(func() { u.Close() })
			}
			if got, err := Port(); err != nil || got == port+1 {
				t.Errorf("%s: %d, %v", network, got, err)
			}
			break
		}
	}
}

func TestServerComesBack(t *testing.T) {
	s := &Server{Handler: http.NotFoundHandler()}
	t.Cleanup(s.Down)
	client := &http.Client{Transport: new(http.Transport)}
	t.Cleanup(client.CloseIdleConnections)
	addr := ""
	for range 3 {
		for range 2 { // up twice is up
			if err := s.Up(); err != nil {
				t.Fatal(err)
			}
		}
		if addr == "" {
			addr = s.Addr()
		}
		res, err := client.Get("http://" + addr)
		if err != nil || res.StatusCode != http.StatusNotFound || s.Addr() != addr {
			t.Fatalf("%v, %v at %s", res, err, s.Addr())
		}
		res.Body.Close()
		s.Down()
		if res, err := client.Get("http://" + addr); err == nil {
			res.Body.Close()
			t.Error("it answers while it is down")
		}
		s.Down()
	}
}
