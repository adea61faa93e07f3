// Package loopback hands out ports of 127.0.0.1 for servers that a test starts a moment
// later. Asking the kernel for one (port 0) and letting go of it is not enough: the next
// connection or server of any process can get the same one before the test does.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports lie below those that Linux, macOS and Windows give to outgoing connections and
// to servers without a port of their own (from 32768 or 49152). A process owns the ports
// of a block as long as it listens on the block's first one.
const (
	lowest  = 10240
	highest = 32767
	block   = 64
)

var (
	mu     sync.Mutex
	claims []net.Listener
	next   int // the next port of the newest claim
	left   int // how many ports of the newest claim have not been handed out
)

// Port returns a port that is free for TCP and UDP (HTTP/3). It never returns a port twice
// in one process, and other processes that ask Port do not get it while this one runs.
func Port() (int, error) {
	mu.Lock()
	defer mu.Unlock()
	for {
		if left == 0 {
			if err := claim(); err != nil {
				return 0, err
			}
		}
		port := next
		next++
		left--
		if free(port) {
			return port, nil
		}
	}
}

// Addr is the loopback address with port, as in 127.0.0.1:8080.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// claim takes a block that no process has, beginning anywhere.
func claim() error {
	const blocks = (highest - lowest + 1) / block
	start := rand.IntN(blocks)
	for i := range blocks {
		first := lowest + (start+i)%blocks*block
		l, err := net.Listen("tcp", Addr(first))
		if err != nil {
			continue
		}
		claims = append(claims, l) // until the process ends
		next, left = first+1, block-1
		return nil
	}
	return errors.New("every block of loopback ports is taken")
}

func free(port int) bool {
	l, err := net.Listen("tcp", Addr(port))
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", Addr(port))
	if err != nil {
		return false
	}
	defer u.Close()
	return true
}
