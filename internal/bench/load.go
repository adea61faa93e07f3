package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
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
// over all connections) each has its time, however long the answers before it take;
// with 0 each follows the answer to the one before. A single answer that is not
// right is an error: a gateway that fails quickly must not look fast.
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
			times[i], failed[i] = l.drive(conn, l.clock(i, started, end, rate), &left, end)
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

// clock gives, for each request of connection i, the time from which it counts.
//
// Without a rate that is now. With one it is the request's time, if the connection was
// still busy then: what waits behind a slow answer is counted as slow (otherwise the
// requests that were not sent meanwhile would be missing from the figures). A connection
// that was free sleeps until then, and what it oversleeps is not the gateway's: it counts
// from when it wakes.
func (l *load) clock(i int, started, end time.Time, rate float64) func() time.Time {
	if rate <= 0 {
		return time.Now
	}
	step := time.Duration(float64(len(l.conns)) / rate * float64(time.Second))
	next := started.Add(step * time.Duration(i) / time.Duration(len(l.conns)))
	return func() time.Time {
		due := next
		next = next.Add(step)
		wait := time.Until(due)
		if wait <= 0 || !due.Before(end) {
			return due
		}
		time.Sleep(wait)
		return time.Now()
	}
}

// drive sends requests on one connection until the end, or until none is left, and
// gives how long each took.
func (l *load) drive(conn net.Conn, clock func() time.Time, left *atomic.Int64, end time.Time) ([]time.Duration, error) {
	buffer := make([]byte, 4*bodySize)
	times := make([]time.Duration, 0, 4096)
	for {
		from := clock()
		if !from.Before(end) || left.Add(-1) < 0 { // no later than its time, whatever the time is now
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
		times = append(times, time.Since(from))
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
