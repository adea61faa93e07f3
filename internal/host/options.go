package host

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// OnceText reads a Caddyfile option with one argument that may be said only once.
func OnceText(d *caddyfile.Dispenser, field *string) error {
	option := d.Val()
	if *field != "" {
		return d.Errf("%s is said twice", option)
	}
	if !d.AllArgs(field) || strings.TrimSpace(*field) == "" {
		return d.Errf("%s needs exactly one argument", option)
	}
	return nil
}

// OnceDuration is OnceText for a duration, more than nothing.
func OnceDuration(d *caddyfile.Dispenser, field *caddy.Duration) error {
	option := d.Val()
	var text string
	switch {
	case *field != 0:
		return d.Errf("%s is said twice", option)
	case !d.AllArgs(&text):
		return d.Errf("%s needs exactly one duration", option)
	}
	v, err := caddy.ParseDuration(text)
	if err != nil || v <= 0 {
		return d.Errf("%s: %q is not a duration such as 30s or 1h", option, text)
	}
	*field = caddy.Duration(v)
	return nil
}

// MoreTexts reads a Caddyfile option with any number of arguments, added to those of
// earlier lines.
func MoreTexts(d *caddyfile.Dispenser, field *[]string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Errf("%s needs at least one argument", option)
	}
	*field = append(*field, args...)
	return nil
}
