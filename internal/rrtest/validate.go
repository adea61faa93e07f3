package rrtest

import (
	"encoding/json"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Validate provisions a Caddyfile and discards it, as `caddy validate` does.
func Validate(t testing.TB, caddyfile string) error {
	t.Helper()
	config, err := Adapt(caddyfile)
	if err != nil {
		return err
	}
	return ValidateJSON(t, config)
}

// ValidateJSON is Validate for a JSON configuration.
func ValidateJSON(t testing.TB, config string) error {
	t.Helper()
	ready, err := prepare(t).forTests(config)
	if err != nil {
		return err
	}
	cfg := new(caddy.Config)
	if err := json.Unmarshal(ready, cfg); err != nil {
		return err
	}
	return caddy.Validate(cfg)
}
