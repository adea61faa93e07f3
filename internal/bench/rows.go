package main

import (
	"strings"
	"time"
)

// rows are measured in this order. The control is the first row once more, in a
// process of its own: what its ratio is away from 1 is the run's own error.
var rows = append([]row{
	bareRow("bare", "", tokens{}),
	bareRow(controlRow, "bare", tokens{}),
	withKey(row{Name: "header-up", Against: "bare", Config: headerUpCaddyfile, Sends: bearer(vendorKey)}),
	withKey(row{Name: "key-bearer", Against: "bare", Promise: 1.05, Limit: 1.5, Warm: true, Config: proxyCaddyfile(acceptKey, presentBearer, theRules), Sends: bearer(vendorKey)}),
	withKey(row{Name: "key-plain-log", Against: "bare", Limit: 1.5, Warm: true, Config: withoutEncoder(proxyCaddyfile(acceptKey, presentBearer, theRules)), Sends: bearer(vendorKey)}),
	withKey(row{Name: "key-inline", Against: "bare", Limit: 1.5, Warm: true, Config: inlineCaddyfile, Sends: bearer(vendorKey)}),

	// a scope of more rules than the one of key-bearer
	withKey(row{Name: "rules-10", Against: "key-bearer", Limit: 1.4, Warm: true, Config: proxyCaddyfile(acceptKey, presentBearer, manyRules(10)), Sends: bearer(vendorKey)}),
	withKey(row{Name: "rules-1000", Against: "key-bearer", Adds: 50 * time.Microsecond, Limit: 2.5, Warm: true, Config: proxyCaddyfile(acceptKey, presentBearer, manyRules(1000)), Sends: bearer(vendorKey)}),

	// credentials for the upstream that the gateway makes or fetches, and has
	withKey(row{Name: "key-minted", Against: "key-bearer", Promise: 1.03, Limit: 1.4, Warm: true, Config: proxyCaddyfile(acceptKey, presentMinted, theRules), Sends: bearer("ey")}),
	withKey(row{Name: "key-oauth2", Against: "key-bearer", Promise: 1.03, Limit: 1.4, Warm: true, Config: proxyCaddyfile(acceptKey, presentFetched, theRules), Sends: bearer(vendorKey)}),

	// what the longer header alone costs a bare proxy; tokens of ES256 and EdDSA are of one length
	bareRow("bare-rs256", "bare", tokens{Algorithm: "RS256", Count: 10_000}),
	bareRow("bare-es256", "bare", tokens{Algorithm: "ES256", Count: 10_000}),

	// a token that the gateway has seen before
	tokenRow("jwt-rs256-same", 1.06, 1.5, tokens{Algorithm: "RS256", Count: 1}),
	tokenRow("jwt-es256-same", 1.06, 1.5, tokens{Algorithm: "ES256", Count: 1}),
	tokenRow("jwt-eddsa-same", 1.06, 1.5, tokens{Algorithm: "EdDSA", Count: 1}),
	tokenRow("jwt-rs256-10000", 1.06, 1.5, tokens{Algorithm: "RS256", Count: 10_000}),
	tokenRow("jwt-es256-10000", 1.06, 1.5, tokens{Algorithm: "ES256", Count: 10_000}),
	tokenRow("jwt-eddsa-10000", 1.06, 1.5, tokens{Algorithm: "EdDSA", Count: 10_000}),

	// Tokens at first sight. Going round, each comes again when the gateway has forgotten
	// it: of tokens of their size it remembers fewer than these, which a test of package
	// verify holds against its memory.
	firstSight("jwt-rs256-first", 2.6, tokens{Algorithm: "RS256", Count: 26_000, Unseen: true}),
	firstSight("jwt-es256-first", 3.5, tokens{Algorithm: "ES256", Count: 34_000, Unseen: true}),
	firstSight("jwt-eddsa-first", 3.0, tokens{Algorithm: "EdDSA", Count: 34_000, Unseen: true}),
}, peerRows...)

// withoutEncoder is a gateway's Caddyfile with Caddy's own log encoder.
func withoutEncoder(caddyfile string) string {
	return strings.Replace(caddyfile, gatewayOptions, globalOptions, 1)
}

// controlRow is the name of the first row's repetition.
const controlRow = "control"

// measuredPath is what every row asks for.
const measuredPath = "/v1/charges"

// bearer is a header with this credential.
func bearer(credential string) string { return "Authorization: Bearer " + credential }

// bareRow is Caddy's reverse_proxy and nothing else. Its callers send the upstream's
// credential, or the tokens, which go through.
func bareRow(name, against string, t tokens) row {
	r := row{Name: name, Against: against, Config: bareCaddyfile, Tokens: t, Path: measuredPath}
	credential := vendorKey
	if t.Algorithm != "" {
		credential = eachToken
	}
	r.Headers, r.Sends = []string{bearer(credential)}, bearer(credential)
	return r
}

// withKey completes a row whose caller has a key, which must not arrive.
func withKey(r row) row {
	r.Path, r.Headers, r.Hides = measuredPath, []string{bearer(callerKey)}, callerKey
	if r.Program.Name == "" {
		r.HeapAgainst = "bare"
	}
	return r
}

// tokenRow is jwt_verify for callers with these tokens.
func tokenRow(name string, promise, limit float64, t tokens) row {
	r := withToken(row{Name: name, Against: "bare", Promise: promise, Limit: limit, Warm: !t.Unseen, Tokens: t,
		Config: proxyCaddyfile(acceptToken, presentBearer, theRules), HeapAgainst: "bare-es256"})
	if t.Algorithm == "RS256" {
		r.HeapAgainst = "bare-rs256"
	}
	return r
}

// firstSight is tokenRow for tokens that are new to the gateway, which has to read them: as
// golang-jwt does, and 10 µs more.
func firstSight(name string, limit float64, t tokens) row {
	r := tokenRow(name, 0, limit, t)
	r.Library, r.Adds = true, 10*time.Microsecond
	return r
}

// withToken completes a row whose callers have tokens, which must not arrive.
func withToken(r row) row {
	r.Path, r.Headers, r.Hides, r.Sends = measuredPath, []string{bearer(eachToken)}, eachToken, bearer(vendorKey)
	return r
}
