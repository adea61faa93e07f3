package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds every wait for the gateway: a connection, an answer.
const patience = 10 * time.Second

// statusOK is how the status line of a good answer begins.
var statusOK = []byte("HTTP/1.1 200 ")

// window is what one stretch of load saw.
type window struct {
	requests int
	took     time.Duration
	p50, p99 time.Duration // from the first byte written to the last byte read
}

// load is a set of kept-alive connections to one gateway that send the same
// requests, in turn over all of them, and expect the same body.
type load struct {
	requests [][]byte
	next     atomic.Int64 // how many were sent since the gateway's start
	conns    []net.Conn
}

// requestBytes is one request of the row, as it goes on the wire.
func requestBytes(r row, path, host, token string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n", path, host)
	for _, header := range r.Headers {
		b.WriteString(strings.ReplaceAll(header, eachToken, token) + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// requestsOf are the row's requests, one for each token.
func requestsOf(r row, host string, tokens []string) [][]byte {
	if len(tokens) == 0 {
		return [][]byte{requestBytes(r, r.Path, host, "")}
	}
	requests := make([][]byte, len(tokens))
	for i, token := range tokens {
		requests[i] = requestBytes(r, r.Path, host, token)
	}
	return requests
}

// openLoad dials the connections; the caller closes the load.
func openLoad(address string, requests [][]byte, connections int) (*load, error) {
	l := &load{requests: requests}
	for range connections {
		conn, err := net.DialTimeout("tcp", address, patience)
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *load) close() {
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}

// sendAll sends each request once, so that the gateway has seen it.
func (l *load) sendAll() error {
	seen, err := l.run(time.Minute, 0, int64(len(l.requests)))
	if err == nil && seen.requests < len(l.requests) {
		err = fmt.Errorf("only %d of %d requests were answered in a minute", seen.requests, len(l.requests))
	}
	return err
}

// run sends requests on every connection for the duration, one at a time on
// each, at most so many, and gives what it saw. With a rate (requests per second
// over all connections) they are spread evenly; with 0 each follows the answer to
// the one before. A single answer that is not right is an error: a gateway that
// fails quickly must not look fast.
func (l *load) run(duration time.Duration, rate float64, most int64) (window, error) {
	var (
		group   sync.WaitGroup
		left    atomic.Int64
		times   = make([][]time.Duration, len(l.conns))
		failed  = make([]error, len(l.conns))
		started = time.Now()
		end     = started.Add(duration)
	)
	left.Store(most)
	for i, conn := range l.conns {
		_ = conn.SetDeadline(end.Add(patience))
		group.Add(1)
		go func() {
			defer group.Done()
			times[i], failed[i] = l.drive(conn, l.pace(i, started, rate), &left, end)
		}()
	}
	group.Wait()
	took := time.Since(started)
	if err := errors.Join(failed...); err != nil {
		return window{}, err
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return window{}, fmt.Errorf("no request was sent in %s", duration)
	}
	slices.Sort(all)
	return window{requests: len(all), took: took, p50: all[len(all)/2], p99: all[len(all)*99/100]}, nil
}

// pace gives the waiting that connection i does before each of its requests:
// none without a rate.
func (l *load) pace(i int, started time.Time, rate float64) func() {
	if rate <= 0 {
		return func() {}
	}
	step := time.Duration(float64(len(l.conns)) / rate * float64(time.Second))
	next := started.Add(step * time.Duration(i) / time.Duration(len(l.conns)))
	return func() {
		time.Sleep(time.Until(next))
		next = next.Add(step)
	}
}

// drive sends requests on one connection until the end, or until none is left, and
// gives how long each took.
func (l *load) drive(conn net.Conn, wait func(), left *atomic.Int64, end time.Time) ([]time.Duration, error) {
	buffer := make([]byte, 4*bodySize)
	times := make([]time.Duration, 0, 4096)
	for {
		wait()
		sent := time.Now()
		if !sent.Before(end) || left.Add(-1) < 0 {
			return times, nil
		}
		request := l.requests[(l.next.Add(1)-1)%int64(len(l.requests))]
		if _, err := conn.Write(request); err != nil {
			return nil, fmt.Errorf("send: %w", err)
		}
		body, err := readAnswer(conn, buffer)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(body, fixedBody) {
			return nil, fmt.Errorf("wrong body: %q", body)
		}
		times = append(times, time.Since(sent))
	}
}

// readAnswer reads one response with a body of bodySize bytes and status 200
// into the buffer and gives its body.
func readAnswer(conn net.Conn, buffer []byte) ([]byte, error) {
	filled := 0
	for filled < len(buffer) {
		n, err := conn.Read(buffer[filled:])
		if err != nil {
			return nil, fmt.Errorf("after %q: %w", buffer[:filled], err)
		}
		filled += n
		end := bytes.Index(buffer[:filled], headEnd)
		if end < 0 {
			continue
		}
		if !bytes.HasPrefix(buffer, statusOK) {
			return nil, fmt.Errorf("the answer is not 200: %q", buffer[:filled])
		}
		body := end + len(headEnd)
		if filled == body+bodySize {
			return buffer[body:filled], nil
		}
	}
	return nil, fmt.Errorf("the answer is longer than %d bytes: %q", len(buffer), buffer[:256])
}
