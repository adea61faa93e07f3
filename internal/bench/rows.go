package main

import (
	"fmt"
	"regexp"
)

// A row is one configuration of the gateway and what it is held to. To measure
// something new, add a row: nothing else of the program knows what is measured.
//
// Its Caddyfile is a whole file in which the program sets, through the
// environment, {$BENCH_ADMIN} (the admin endpoint), {$BENCH_ADDRESS} (where the
// site listens) and {$BENCH_UPSTREAM} (host and port of the upstream). Secrets
// are the placeholders of [benchSecrets].
type row struct {
	Name      string   // in the table
	Against   string   // the name of an earlier row to compare with; "" for none
	Promise   float64  // highest CPU-per-request ratio to that row; 0 for none
	Caddyfile string   // the gateway's configuration
	Path      string   // of every request, which is a GET
	Headers   []string // the caller's request headers, `Name: value`
	Sends     string   // what the upstream must see in the request's head
	Hides     string   // what the upstream must not see; "" for nothing
}

// Credentials of the measured requests: made up, of the length that
// `caddy rr keygen` gives, and worth nothing outside this program.
const (
	callerKey = "rr_bench_Zk3vQ9w1LrT7yB5nXc8mJ4hG6sD2fAa0"
	vendorKey = "sk_bench_51Hq8uRkP0tWvZxYcNmLjKgFdSaQ2e4r6"
)

// benchSecrets is what the rows' {env.*} placeholders resolve to.
var benchSecrets = []string{"BENCH_KEY=" + callerKey, "BENCH_VENDOR=" + vendorKey}

// globalOptions is the same in every row, so that rows differ only in what they
// are about. Logs stay at Caddy's defaults: none per request.
const globalOptions = `
	admin {$BENCH_ADMIN}
	persist_config off
	auto_https off
`

const bareCaddyfile = `{` + globalOptions + `}

http://{$BENCH_ADDRESS} {
	reverse_proxy {$BENCH_UPSTREAM}
}
`

const keyToBearerCaddyfile = `{` + globalOptions + `
	rr {
		proxy bench {
			accept key {env.BENCH_KEY}
			target http://{$BENCH_UPSTREAM}
			present bearer {env.BENCH_VENDOR}
			default deny
			allow GET,POST /v1/*
		}
	}
}

http://{$BENCH_ADDRESS} {
	rr_proxy bench
}
`

// rows are measured in this order. The control is the first row once more, in a
// process of its own: what its ratio is away from 1 is the run's own error.
var rows = []row{
	{
		Name:      "bare",
		Caddyfile: bareCaddyfile,
		Path:      "/v1/charges",
		Headers:   []string{"Authorization: Bearer " + vendorKey},
		Sends:     "Authorization: Bearer " + vendorKey,
	},
	{
		Name:      "control",
		Against:   "bare",
		Caddyfile: bareCaddyfile,
		Path:      "/v1/charges",
		Headers:   []string{"Authorization: Bearer " + vendorKey},
		Sends:     "Authorization: Bearer " + vendorKey,
	},
	{
		Name:      "key-bearer",
		Against:   "bare",
		Promise:   1.05,
		Caddyfile: keyToBearerCaddyfile,
		Path:      "/v1/charges",
		Headers:   []string{"Authorization: Bearer " + callerKey},
		Sends:     "Authorization: Bearer " + vendorKey,
		Hides:     callerKey,
	},
}

// selectRows gives the rows whose name matches the pattern, and every row that
// one of them is compared with, in their order.
func selectRows(all []row, pattern string) ([]row, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("rows: %w", err)
	}
	wanted := map[string]bool{}
	for _, r := range all {
		if re.MatchString(r.Name) {
			wanted[r.Name] = true
			wanted[r.Against] = true
		}
	}
	var selected []row
	for _, r := range all {
		if wanted[r.Name] {
			selected = append(selected, r)
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("rows: no row matches %q", pattern)
	}
	return selected, nil
}
