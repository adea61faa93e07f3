// Command caddy is Caddy with its standard modules and rr, for `go run` and tests.
// Production builds are made with xcaddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-rr/caddy-rr"
)

func main() {
	caddycmd.Main()
}
