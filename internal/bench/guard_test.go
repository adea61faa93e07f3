//go:build !race

package main

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	_ "github.com/caddy-rr/caddy-rr"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// added is what a request of each row allocates more than one of the row that its heap
// is compared with, as it was when this table was last renewed. What a request allocates
// does not depend on the machine or on how busy it is, only on the code (ours, Caddy's,
// Go's), so a test can hold it exactly.
//
// To renew the table, after a change that makes it better or is worth its price:
//
//	go test -count=1 -v -run '^TestHeapOfEveryRow$' ./internal/bench
//
// prints it as it has to be. The race detector allocates too; this file is left out with it.
var added = map[string]perRequest{
	"key-bearer":      {objects: -6, bytes: 648},
	"key-plain-log":   {objects: 8, bytes: 1760},
	"key-inline":      {objects: 4, bytes: 1272},
	"rules-10":        {objects: -6, bytes: 648},
	"rules-1000":      {objects: -6, bytes: 648},
	"key-minted":      {objects: -6, bytes: 648},
	"key-oauth2":      {objects: -6, bytes: 648},
	"jwt-rs256-same":  {objects: -5, bytes: 680},
	"jwt-es256-same":  {objects: -5, bytes: 680},
	"jwt-eddsa-same":  {objects: -5, bytes: 680},
	"jwt-rs256-10000": {objects: -5, bytes: 680},
	"jwt-es256-10000": {objects: -5, bytes: 680},
	"jwt-eddsa-10000": {objects: -5, bytes: 680},
	"jwt-rs256-first": {objects: 62, bytes: 5744},
	"jwt-es256-first": {objects: 74, bytes: 5376},
	"jwt-eddsa-first": {objects: 51, bytes: 4016},
}

// What may be added to the table before the test fails. Two objects or 256 bytes do.
var heapSlack = perRequest{objects: 1.5, bytes: 200}

// guardRequests are sent in a stretch; the least of guardStretches counts, since whatever else
// the process does can only add.
const (
	guardRequests  = 100
	guardStretches = 5
	guardWarmup    = 200
)

// TestHeapOfEveryRow sends requests of each of Caddy's rows over one warm connection and
// counts what the process allocates for them. Caller and upstream allocate nothing.
func TestHeapOfEveryRow(t *testing.T) {
	// Without collections nothing is taken out of the pools in between, and with one
	// thread at a time it is put back where it is looked for.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	signs, err := newIssuer()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]perRequest{}
	var table strings.Builder
	for _, r := range rows {
		if r.Program.Name != "" {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			found[r.Name] = heapOf(t, r, signs)
			if r.HeapAgainst == "" || r.Limit == 0 {
				return // no row of ours
			}
			own, other := found[r.Name], found[r.HeapAgainst]
			more := perRequest{own.objects - other.objects, own.bytes - other.bytes}
			fmt.Fprintf(&table, "\t%q: {objects: %.0f, bytes: %.0f},\n", r.Name, more.objects, more.bytes)
			judgeHeap(t, r.Name, more)
		})
	}
	for name := range added {
		if _, ok := found[name]; !ok {
			t.Errorf("the table has %q, which is no row", name)
		}
	}
	t.Logf("the table as it is now:\n%s", table.String())
}

func judgeHeap(t *testing.T, name string, more perRequest) {
	was, ok := added[name]
	switch {
	case !ok:
		t.Errorf("the table has no %q", name)
	case more.objects > was.objects+heapSlack.objects || more.bytes > was.bytes+heapSlack.bytes:
		t.Errorf("a request adds %.1f objects and %.0f bytes; it was %.0f and %.0f", more.objects, more.bytes, was.objects, was.bytes)
	case more.objects < was.objects-heapSlack.objects || more.bytes < was.bytes-heapSlack.bytes:
		t.Logf("better than the table, which should be renewed: %.1f objects and %.0f bytes; it was %.0f and %.0f", more.objects, more.bytes, was.objects, was.bytes)
	}
}

// heapOf runs the row's gateway in this process.
func heapOf(t *testing.T, r row, signs *issuer) perRequest {
	t.Helper()
	server, err := startUpstream()
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	dir := t.TempDir()
	address, err1 := freeAddress()
	if err := signs.publish(dir); err != nil || err1 != nil {
		t.Fatal(err, err1)
	}
	for name, value := range map[string]string{"ADMIN": "unix/" + dir + "/admin", "ADDRESS": address, "UPSTREAM": server.address(),
		"KEYS": dir + "/keys.json", "KEY": callerKey, "VENDOR": vendorKey} {
		t.Setenv("BENCH_"+name, value)
	}
	// rrtest logs at debug level, if it is not told
	logs := "\tlog {\n\t\tlevel INFO\n"
	if strings.Contains(r.Config, gatewayOptions) {
		logs += "\t\tformat rr\n"
	}
	config := strings.Replace(r.Config, gatewayOptions, globalOptions, 1)
	rrtest.Start(t, strings.Replace(config, globalOptions, globalOptions+logs+"\t}\n", 1))
	g := &gateway{row: r, address: address}
	requests := guardedRequests(t, r, signs, address)
	if r.Tokens.Count > 0 {
		if g.token, err = signs.token(r.Tokens.Algorithm); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.check(); err != nil {
		t.Fatal(err)
	}
	return leastHeap(t, address, requests)
}

// guardedRequests are the row's, with enough tokens never to come again if they must not, and a
// few if they are to.
func guardedRequests(t *testing.T, r row, signs *issuer, address string) [][]byte {
	t.Helper()
	count := min(r.Tokens.Count, guardRequests)
	if r.Tokens.Unseen {
		count = guardWarmup + guardStretches*guardRequests
	}
	list := make([]string, count)
	for i := range list {
		var err error
		if list[i], err = signs.token(r.Tokens.Algorithm); err != nil {
			t.Fatal(err)
		}
	}
	return requestsOf(r, address, list)
}

// leastHeap sends the requests in turn on one connection.
func leastHeap(t *testing.T, address string, requests [][]byte) perRequest {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	buffer, next := make([]byte, 4*bodySize), 0
	send := func(count int) {
		for range count {
			if _, err := conn.Write(requests[next%len(requests)]); err != nil {
				t.Fatal(err)
			}
			next++
			if body, err := readAnswer(conn, buffer); err != nil || !bytes.Equal(body, fixedBody) {
				t.Fatalf("answered %q, %v", body, err)
			}
		}
	}
	runtime.GC()
	send(guardWarmup)
	least := perRequest{math.Inf(1), math.Inf(1)}
	for range guardStretches {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		send(guardRequests)
		runtime.ReadMemStats(&after)
		least.objects = min(least.objects, float64(after.Mallocs-before.Mallocs)/guardRequests)
		least.bytes = min(least.bytes, float64(after.TotalAlloc-before.TotalAlloc)/guardRequests)
	}
	return least
}
