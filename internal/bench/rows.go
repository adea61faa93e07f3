package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A row is one configuration of the gateway and what it is held to. To measure
// something new, add a row: nothing else of the program knows what is measured.
//
// Its Caddyfile is a whole file in which the program sets, through the
// environment, {$BENCH_ADMIN} (the admin endpoint), {$BENCH_ADDRESS} (where the
// site listens), {$BENCH_UPSTREAM} (host and port of the upstream) and
// {$BENCH_KEYS} (the file with the public keys of all tokens). Secrets are the
// placeholders of [benchSecrets].
type row struct {
	Name      string   // in the table
	Against   string   // the name of an earlier row to compare with; "" for none
	Promise   float64  // highest CPU-per-request ratio to that row; 0 for none
	Caddyfile string   // the gateway's configuration
	Tokens    tokens   // the callers'
	Path      string   // of every request, which is a GET
	Headers   []string // the caller's request headers, `Name: value`, with eachToken
	Sends     string   // what the upstream must see in the request's head
	Hides     string   // what the upstream must not see, with eachToken; "" for nothing
}

// eachToken stands for the request's token.
const eachToken = "{token}"

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

// keyToCaddyfile is keyToBearerCaddyfile with another credential for the upstream.
func keyToCaddyfile(present string) string {
	return strings.Replace(keyToBearerCaddyfile, "present bearer {env.BENCH_VENDOR}", "present "+present, 1)
}

const tokenToBearerCaddyfile = `{` + globalOptions + `
	rr {
		proxy bench {
			accept jwt_verify {
				issuer ` + tokenIssuer + `
				audience ` + tokenAudience + `
				jwks {file.{$BENCH_KEYS}}
			}
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

// tokenRow is jwt_verify for callers with these tokens.
func tokenRow(name string, promise float64, t tokens) row {
	return row{
		Name:      name,
		Against:   "bare",
		Promise:   promise,
		Caddyfile: tokenToBearerCaddyfile,
		Tokens:    t,
		Path:      "/v1/charges",
		Headers:   []string{"Authorization: Bearer " + eachToken},
		Sends:     "Authorization: Bearer " + vendorKey,
		Hides:     eachToken,
	}
}

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

	// credentials for the upstream that the gateway makes or fetches, and has
	{
		Name:    "key-minted",
		Against: "key-bearer",
		Promise: 1.03,
		Caddyfile: keyToCaddyfile(`jwt {
				secret {env.BENCH_KEY}
				claims {
					iss bench
				}
			}`),
		Path:    "/v1/charges",
		Headers: []string{"Authorization: Bearer " + callerKey},
		Sends:   "Authorization: Bearer ey",
		Hides:   callerKey,
	},
	{
		Name:    "key-oauth2",
		Against: "key-bearer",
		Promise: 1.03,
		Caddyfile: keyToCaddyfile(`oauth2 {
				grant client_credentials
				token_url http://{$BENCH_UPSTREAM}` + tokenPath + `
				client_id bench
				client_secret {env.BENCH_VENDOR}
			}`),
		Path:    "/v1/charges",
		Headers: []string{"Authorization: Bearer " + callerKey},
		Sends:   "Authorization: Bearer " + vendorKey,
		Hides:   callerKey,
	},

	// a token that the gateway has seen before
	tokenRow("jwt-rs256-same", 1.06, tokens{Algorithm: "RS256", Count: 1}),
	tokenRow("jwt-es256-same", 1.06, tokens{Algorithm: "ES256", Count: 1}),
	tokenRow("jwt-eddsa-same", 1.06, tokens{Algorithm: "EdDSA", Count: 1}),
	tokenRow("jwt-rs256-10000", 1.06, tokens{Algorithm: "RS256", Count: 10_000}),
	tokenRow("jwt-es256-10000", 1.06, tokens{Algorithm: "ES256", Count: 10_000}),
	tokenRow("jwt-eddsa-10000", 1.06, tokens{Algorithm: "EdDSA", Count: 10_000}),

	// Tokens at first sight. Going round, each comes again when the gateway has forgotten
	// it: of tokens of their size it remembers fewer than these, which a test of package
	// verify holds against its memory.
	tokenRow("jwt-rs256-first", 1.50, tokens{Algorithm: "RS256", Count: 26_000, Unseen: true}),
	tokenRow("jwt-es256-first", 1.85, tokens{Algorithm: "ES256", Count: 34_000, Unseen: true}),
	tokenRow("jwt-eddsa-first", 1.70, tokens{Algorithm: "EdDSA", Count: 34_000, Unseen: true}),
}

// selectRows gives the rows whose name matches the pattern, and every row that
// one of them is compared with, in their order.
func selectRows(all []row, pattern string) ([]row, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("rows: %w", err)
	}
	wanted := map[string]bool{}
	for _, r := range slices.Backward(all) { // what a row is compared with comes before it
		if wanted[r.Name] || re.MatchString(r.Name) {
			wanted[r.Name], wanted[r.Against] = true, true
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
