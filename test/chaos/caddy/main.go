// Command caddy is the Caddy that the chaos test runs: the one of cmd/caddy, and where this
// is possible (Linux on amd64 or arm64) with a wall clock that the test can set.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-rr/caddy-rr"
)

func main() {
	caddycmd.Main()
}
