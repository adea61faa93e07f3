package rr

import "github.com/caddy-rr/caddy-rr/internal/cli"

func init() { cli.Register() }
