package guestkind

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/store/secret"
	"github.com/caddy-rr/caddy-rr/verify"
)

func init() { caddy.RegisterModule(new(SignedTime)) }

// SignedTime accepts callers who sign the time with a shared key. The header holds
//
//	<name>:<seconds since 1970>:<hex of HMAC-SHA256(key, "<name>:<seconds>")>
//
// The name becomes the caller's id, and the time its claim signed_at.
type SignedTime struct {
	// The shared key, base64 of at least 32 bytes: a placeholder {env.NAME} or
	// {file./absolute/path}.
	Key secret.String `json:"key,omitempty"`
	// The header that carries the signature. Default: X-Signature.
	Header string `json:"header,omitempty"`
	// How far the signed time may be from now, either way. Default: 5m.
	Window caddy.Duration `json:"window,omitempty"`

	carrier verify.Carrier
	key     *secret.Value
	now     func() time.Time
}

// CaddyModule returns the Caddy module information.
func (*SignedTime) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: verify.Namespace + ".signed_time", New: func() caddy.Module { return new(SignedTime) }}
}

// Provision resolves the key and checks the rest.
func (s *SignedTime) Provision(ctx caddy.Context) (err error) {
	// only here: ctx knows how secrets of this configuration are resolved
	if s.key, err = s.Key.Resolve(ctx); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if _, err := keyOf(s.key); err != nil {
		return err
	}
	if s.Window < 0 {
		return errors.New("window: it is negative")
	}
	if s.Window == 0 {
		s.Window = caddy.Duration(5 * time.Minute)
	}
	s.carrier = verify.Carrier{In: verify.InHeader, Name: "X-Signature"}
	if s.Header != "" {
		s.carrier.Name = s.Header
	}
	s.now = time.Now
	return s.carrier.Validate() // also normalises the name
}

// Carriers implements verify.Carrying: what the gate removes from every request.
func (s *SignedTime) Carriers() []verify.Carrier { return []verify.Carrier{s.carrier} }

// Challenge implements verify.Challenging.
func (*SignedTime) Challenge(rejected bool) string {
	challenge := `Signed-Time realm="` + verify.Realm + `"`
	if rejected {
		challenge += `, error="invalid_signature"`
	}
	return challenge
}

// Verify implements verify.Verifier.
func (s *SignedTime) Verify(r *http.Request) (verify.Identity, error) {
	text, err := s.carrier.Read(r)
	if err != nil {
		return verify.Identity{}, err // ErrAbsent if it is not there, ErrRejected if twice
	}
	signed, signature, at, ok := parse(text)
	if !ok {
		return verify.Identity{}, fmt.Errorf("%w: it is not <name>:<seconds>:<signature>", verify.ErrRejected)
	}
	key, err := keyOf(s.key)
	if err != nil {
		return verify.Identity{}, cannotTell{err} // neither ErrAbsent nor ErrRejected: 503
	}
	if !secret.Equal(sign(key, signed), signature) {
		return verify.Identity{}, fmt.Errorf("%w: wrong signature", verify.ErrRejected)
	}
	window := time.Duration(s.Window)
	if age := s.now().Sub(at); age.Abs() > window {
		return verify.Identity{}, fmt.Errorf("%w: signed %v ago, and the window is %v", verify.ErrRejected, age.Round(time.Second), window)
	}
	who, seconds, _ := strings.Cut(signed, ":")
	return verify.Identity{
		ID:      who,
		Claims:  map[string]any{"signed_at": json.Number(seconds)},
		Expires: at.Add(window),
	}, nil
}

// parse takes <name>:<seconds>:<signature> apart. signed is what the signature is over.
func parse(text string) (signed, signature string, at time.Time, ok bool) {
	i := strings.LastIndexByte(text, ':')
	if i < 0 {
		return "", "", at, false
	}
	signed, signature = text[:i], text[i+1:]
	who, digits, _ := strings.Cut(signed, ":")
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits != strconv.FormatInt(seconds, 10) || !name.MatchString(who) {
		return "", "", at, false
	}
	return signed, signature, time.Unix(seconds, 0), true
}

// cannotTell is a technical error: the caller may be right, but nobody can tell now.
type cannotTell struct{ error }

// Unwrap returns the cause.
func (e cannotTell) Unwrap() error { return e.error }

// RetryAfter implements verify.Retryable: secret files are looked at every few seconds.
func (cannotTell) RetryAfter() time.Duration { return 10 * time.Second }

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept signed_time <key> {
//		header <name>
//		window <duration>
//	}
func (s *SignedTime) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("signed_time needs exactly one key, a placeholder such as {env.KEY}; there are %d arguments", len(args))
	}
	s.Key = secret.String(args[0])
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "header":
			if s.Header != "" || !d.AllArgs(&s.Header) {
				return d.Err("header is said once: header <name>")
			}
			if err := (&verify.Carrier{In: verify.InHeader, Name: s.Header}).Validate(); err != nil {
				return d.WrapErr(err)
			}
		case "window":
			var text string
			if s.Window != 0 || !d.AllArgs(&text) {
				return d.Err("window is said once: window <duration>")
			}
			window, err := caddy.ParseDuration(text)
			if err != nil || window <= 0 {
				return d.Errf("window: %q is not a duration such as 5m", text)
			}
			s.Window = caddy.Duration(window)
		default:
			return d.Errf("unrecognized option %q of signed_time; there are: header, window", option)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*SignedTime)(nil)
	_ caddyfile.Unmarshaler = (*SignedTime)(nil)
	_ verify.Verifier       = (*SignedTime)(nil)
	_ verify.Carrying       = (*SignedTime)(nil)
	_ verify.Challenging    = (*SignedTime)(nil)
	_ verify.Retryable      = cannotTell{}
)
