// Package rrtest is the test kit: Caddy in this process on free ports, upstreams that
// record exactly what they got, clients for every HTTP version, raw sockets, and a check
// for leaked goroutines. Only tests import it. Everything listens on loopback and stops
// with the test; every wait is bounded.
package rrtest

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait in this package: a test that needs longer has hung.
const patience = 10 * time.Second

// handedOut keeps FreePort from giving the same port twice in one process.
var handedOut sync.Map

// FreePort returns a loopback port that is free for TCP and UDP (HTTP/3) at this moment.
// It is not held, so another process can take it before the test does; the kernel's
// order of ephemeral ports makes that rare.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("no free port: %v", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		u, udpErr := net.ListenPacket("udp", Addr(port))
		l.Close()
		if udpErr != nil {
			continue
		}
		u.Close()
		if _, twice := handedOut.LoadOrStore(port, true); !twice {
			return port
		}
	}
	t.Fatal("no port is free for both TCP and UDP")
	return 0
}

// Addr is the loopback address with port, as in 127.0.0.1:8080.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Eventually polls until ok holds, and fails the test with what if it does not within
// ten seconds.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %s: %s", patience, what)
}
