package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A row is one configuration of a gateway and what it is held to. To measure
// something new, add a row: nothing else of the program knows what is measured.
//
// Its Config is a whole file in which the program sets, for Caddy through the
// environment and for others in the text, {$BENCH_ADDRESS} (where the gateway
// listens), {$BENCH_UPSTREAM} (host and port of the upstream), {$BENCH_ADMIN} (the
// admin endpoint), {$BENCH_DIR} (a folder of its own) and {$BENCH_KEYS} (the file
// with the public keys of all tokens). Secrets are the placeholders of
// [benchSecrets].
type row struct {
	Name    string        // in the table
	Against string        // the name of an earlier row to compare with; "" for none
	Promise float64       // highest CPU-per-request ratio to that row; 0 for none
	Adds    time.Duration // highest CPU time per request more than that row; 0 for none
	Library bool          // Adds is beside what golang-jwt's own parser takes for the row's token
	Limit   float64       // above this ratio something is wrong on any machine; 0 for none

	// HeapAgainst is an earlier row whose gateway reads requests of the same size, so that
	// the difference is what this row's handlers allocate; "" for none.
	HeapAgainst string
	Warm        bool // held to heapPromise and latencyPromise

	Program   peer     // what runs it; Caddy when it is zero
	Caddy     string   // another binary than the option's; "" for that one
	Config    string   // its configuration
	Variables []string // more of its environment, NAME=VALUE
	Tokens    tokens   // the callers'
	Path      string   // of every request, which is a GET
	Headers   []string // the caller's request headers, `Name: value`, with eachToken
	Sends     string   // what the upstream must see in the request's head, with eachToken
	Hides     string   // what the upstream must not see, with eachToken; "" for nothing
}

// eachToken stands for the request's token.
const eachToken = "{token}"

// heapPromise is what verifying and injecting may add to what a warm request allocates.
var heapPromise = perRequest{objects: 8, bytes: 1024}

// latencyPromise is what may be added to the median latency at a fixed rate.
const latencyPromise = 50 * time.Microsecond

// Credentials of the measured requests: made up, of the length that
// `caddy rr keygen` gives, and worth nothing outside this program.
const (
	callerKey = "rr_bench_Zk3vQ9w1LrT7yB5nXc8mJ4hG6sD2fAa0"
	vendorKey = "sk_bench_51Hq8uRkP0tWvZxYcNmLjKgFdSaQ2e4r6"
)

// benchSecrets is what {env.NAME} in a Caddyfile, and {$NAME} elsewhere, stands for.
var benchSecrets = []string{"BENCH_KEY=" + callerKey, "BENCH_VENDOR=" + vendorKey}

// selectRows gives the rows whose name matches all patterns, and every row that
// one of them is compared with, in their order.
func selectRows(all []row, patterns ...string) ([]row, error) {
	wanted := map[string]bool{}
	for _, r := range slices.Backward(all) { // what a row is compared with comes before it
		fits, err := matchesAll(r.Name, patterns)
		if err != nil {
			return nil, err
		}
		if fits || wanted[r.Name] {
			wanted[r.Name], wanted[r.Against], wanted[r.HeapAgainst] = true, true, true
		}
	}
	var selected []row
	for _, r := range all {
		if wanted[r.Name] {
			selected = append(selected, r)
		}
	}
	return selected, nil
}

func matchesAll(name string, patterns []string) (bool, error) {
	for _, pattern := range patterns {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return false, fmt.Errorf("rows: %w", err)
		}
		if !re.MatchString(name) {
			return false, nil
		}
	}
	return true, nil
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

// requestBytes is one request of the row, as it goes on the wire.
func requestBytes(r row, path, host, token string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n", path, host)
	for _, header := range r.Headers {
		b.WriteString(strings.ReplaceAll(header, eachToken, token) + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}
