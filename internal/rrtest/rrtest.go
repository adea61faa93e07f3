// Package rrtest is the test kit: Caddy in this process on free ports, upstreams that
// record exactly what they got, clients for every HTTP version, raw sockets, and a check
// for leaked goroutines. Only tests import it. Everything listens on loopback and stops
// with the test; every wait is bounded.
package rrtest

import (
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/loopback"
)

// patience bounds every wait in this package: a test that needs longer has hung.
const patience = 10 * time.Second

// FreePort returns a loopback port that is free for TCP and UDP (HTTP/3) at this moment,
// and that nothing else of the tests will take.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := loopback.Port()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Addr is the loopback address with port, as in 127.0.0.1:8080.
func Addr(port int) string { return loopback.Addr(port) }

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
