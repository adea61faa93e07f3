package main

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// sample is a request as a row sends it.
var sample = row{Path: "/v1/charges", Headers: []string{"X-Api-Key: k"}}

func TestLoadCountsWhatTheUpstreamAnswers(t *testing.T) {
	server := serve(t)
	l := dial(t, server.address(), 4)
	seen, err := l.run(50*time.Millisecond, 0, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if seen.requests < 4 || seen.took < 50*time.Millisecond || seen.p50 <= 0 || seen.p50 > seen.p99 {
		t.Errorf("implausible: %+v", seen)
	}
}

func TestLoadKeepsToTheRate(t *testing.T) {
	server := serve(t)
	l := dial(t, server.address(), 4)
	seen, err := l.run(500*time.Millisecond, 100, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	// one may be left out at the end of each connection, if its caller oversleeps
	if seen.requests < 46 || seen.requests > 50 {
		t.Errorf("sent %d requests in half a second at 100 a second", seen.requests)
	}
}

// TestLatencyCountsFromWhenARequestWasDue stalls the first answer for most of the time: the
// requests that had to wait for it are sent nevertheless, and have waited.
func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	const stall = 300 * time.Millisecond
	var first atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if first.CompareAndSwap(false, true) {
			time.Sleep(stall)
		}
		_, _ = w.Write(fixedBody)
	}))
	t.Cleanup(server.Close)
	l := dial(t, server.Listener.Addr().String(), 1)
	seen, err := l.run(400*time.Millisecond, 100, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if seen.requests < 38 || seen.requests > 40 || seen.p50 < stall/4 || seen.p99 < stall {
		t.Errorf("of 40 requests at 100 a second, the first of which takes %s: %+v", stall, seen)
	}
}

func TestLoadSendsItsRequestsInTurn(t *testing.T) {
	counts := make(chan string, 1000)
	address := record(t, counts)
	requests := requestsOf(row{Path: "/", Headers: []string{"N: " + eachToken}}, address, []string{"a", "b", "c"})
	l, err := openLoad(address, requests, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if err := l.sendAll(); err != nil {
		t.Fatal(err)
	}
	if seen := tally(counts); seen != "1 1 1" {
		t.Errorf("sent all once, of each %s", seen)
	}
	if seen, err := l.run(time.Minute, 0, 31); err != nil || seen.requests != 31 || seen.took > patience {
		t.Errorf("31 requests at most: %+v, %v", seen, err)
	}
	if seen := tally(counts); seen != "11 10 10" { // in turn, going on where it was
		t.Errorf("of 31, sent of each %s", seen)
	}
}

func TestLoadFailsWhenAnAnswerIsNotRight(t *testing.T) {
	wrongBody := strings.Replace(string(answer(fixedBody)), "xxx", "xyx", 1)
	for name, reply := range map[string]string{
		"another status":       strings.Replace(string(answer(fixedBody)), "200 OK", "403 Forbidden", 1),
		"another body":         wrongBody,
		"a body that is short": string(answer(fixedBody[1:])),
		"a body that is long":  string(answer(append(fixedBody[:len(fixedBody):len(fixedBody)], "more"...))),
		"an endless answer":    strings.Repeat("x", 8*bodySize),
	} {
		t.Run(name, func(t *testing.T) {
			l := dial(t, serveOnce(t, reply), 1)
			if seen, err := l.run(50*time.Millisecond, 0, math.MaxInt64); err == nil {
				t.Errorf("took it for good: %+v", seen)
			}
		})
	}
}

func TestUpstreamEchoesTheHeadOnItsEchoPathOnly(t *testing.T) {
	g := &gateway{row: sample, address: serve(t).address()}
	head, err := g.get(echoPath)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(head), "GET "+echoPath+" HTTP/1.1\r\n") || !strings.Contains(string(head), "\r\nX-Api-Key: k\r\n") {
		t.Errorf("echoed %q", head)
	}
	body, err := g.get("/v1/charges")
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != string(fixedBody) {
		t.Errorf("answered %q", body)
	}
}

func TestCheckRefusesAGatewayThatDoesNotDoItsWork(t *testing.T) {
	address := serve(t).address() // passes on what it gets: swaps nothing
	for _, c := range []struct {
		name  string
		row   row
		fault string
	}{
		{"the credential arrived", row{Path: "/v1/charges", Headers: []string{"A: vendor"}, Sends: "A: vendor"}, ""},
		{"the name is in another case", row{Path: "/v1/charges", Headers: []string{"a: vendor"}, Sends: "A: vendor"}, ""},
		{"the vendor's credential is in another header", row{Path: "/v1/charges", Headers: []string{"B: vendor"}, Sends: "A: vendor"}, "did not get"},
		{"the token goes on", row{Path: "/v1/charges", Headers: []string{"A: " + eachToken}, Sends: "A: " + eachToken}, ""},
		{"another token goes on", row{Path: "/v1/charges", Headers: []string{"A: a.b.d"}, Sends: "A: " + eachToken}, "did not get"},
		{"the vendor's credential is missing", row{Path: "/v1/charges", Headers: []string{"A: caller"}, Sends: "A: vendor"}, "did not get"},
		{"the caller's token leaked", row{Path: "/v1/charges", Headers: []string{"A: vendor", "B: " + eachToken}, Sends: "A: vendor", Hides: eachToken}, "caller's credential"},
		{"the caller's credential leaked", row{Path: "/v1/charges", Headers: []string{"A: vendor", "B: caller"}, Sends: "A: vendor", Hides: "caller"}, "caller's credential"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := (&gateway{row: c.row, address: address, token: "a.b.c"}).check()
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("check said %v, want %q", err, c.fault)
			}
		})
	}
}

func serve(t *testing.T) *upstream {
	t.Helper()
	server, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.close)
	return server
}

func dial(t *testing.T, address string, connections int) *load {
	t.Helper()
	l, err := openLoad(address, requestsOf(sample, address, nil), connections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

// serveOnce answers the first request with these bytes and closes.
func serveOnce(t *testing.T, reply string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte(reply))
	}()
	return listener.Addr().String()
}

// record answers like the upstream and gives the value of each request's header N.
func record(t *testing.T, values chan<- string) (address string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		values <- r.Header.Get("N")
		_, _ = w.Write(fixedBody)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// tally takes what was recorded and tells how often a, b and c were there.
func tally(values <-chan string) string {
	seen := map[string]int{}
	for len(values) > 0 {
		seen[<-values]++
	}
	return fmt.Sprint(seen["a"], seen["b"], seen["c"])
}
