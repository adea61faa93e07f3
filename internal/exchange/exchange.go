// Package exchange is one request's facts, handed from rr_verify (who is calling and may
// they) to rr_inject and the transport (what leaves with the request). An Exchange
// travels in the request's context under a private key: nothing outside rr can make,
// read or change one, so its presence is the proof that a request was verified.
//
// The package imports nothing of Caddy.
package exchange

import (
	"context"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Exchange is what is known of one verified request. It is itself the context that
// carries it, which saves an allocation on every request. It belongs to the request's
// goroutine; only reads are safe from others. Every request has one, so its size counts.
type Exchange struct {
	context.Context

	// Proxy is the name of the proxy, empty for inline handlers.
	Proxy string
	// Credential is the name (or kind, for an unnamed one) of the proxy credential that
	// recognised the caller.
	Credential string
	// ID is the caller's identity, {http.auth.user.id}.
	ID string
	// Claims are the verified claims of the caller, nil if the kind has none.
	Claims rule.Claims
	// Expires is when the caller's proof ends by itself; zero means never.
	Expires time.Time
	// Ends is when what the caller proved itself with ends, without the leeway that
	// Expires may have. What is made of it is good for no longer.
	Ends time.Time
	// Token is the caller's own token, empty if the caller has none. It is secret.
	Token string
	// Proof tells what recognised the caller from every other credential, across reloads.
	Proof Proof

	// Input is what all four rule scopes judge.
	Input rule.Input
	// Stripped are the folded names of headers that rr_verify has removed, look-alikes
	// included.
	Stripped map[string]bool
	// Answers says how refusals look.
	Answers *Answers
	// Metrics are the series of the proxy.
	Metrics *metrics.Proxy
	// Gate is the gate that granted, for watching what the caller may still do.
	Gate Holder

	// Decision is the outcome so far, its code; the access log has it.
	Decision string
	// Upstream is the address that will be dialled, {rr.upstream}.
	Upstream string
	// Writer is the response to the caller, for ending an upload.
	Writer http.ResponseWriter
	// Onward is the other side's gate of the same proxy, of the rr_inject that follows or
	// has been; only package inject reads it.
	Onward any
	// Kept is the request's body as the first attempt has read it to sign it, for the
	// attempts after it; only package inject reads it.
	Kept any
	// Refusal is why the transport refused or failed, for the handlers before it.
	Refusal *Refusal

	// Named says that the credential has a name; without one Credential is its kind.
	Named bool
	// OwnID says that ID is what the caller's proof says; without it ID is the credential.
	OwnID bool
	// KeepSlash says that the proxy lets %2F through (`encoded_slash keep`).
	KeepSlash bool
	// Deferred says that rr_inject has judged the request and leaves the credential to the
	// transport.
	Deferred bool
	// Answered is set once the upstream's response headers have arrived.
	Answered bool

	// inner is the exchange of an rr_verify further in, which then speaks for the request
	inner *Exchange

	// room for the two response headers of every exchange, so that they cost no
	// allocation of their own
	code, message [1]string
}

type contextKey struct{}

// Value implements context.Context.
func (x *Exchange) Value(key any) any {
	if _, ok := key.(contextKey); ok {
		return x
	}
	return x.Context.Value(key)
}

// From returns the exchange of a verified request, or nil.
func From(ctx context.Context) *Exchange {
	x, _ := ctx.Value(contextKey{}).(*Exchange)
	return x
}

// Begin starts the exchange of the request that ctx belongs to. If the request has been
// verified before (an rr_verify inside another), the new exchange takes over; outermost
// reports that there was none.
func Begin(ctx context.Context) (x *Exchange, outermost bool) {
	x = &Exchange{Context: ctx}
	outer := From(ctx)
	if outer != nil {
		outer.inner = x
	}
	return x, outer == nil
}

// Placeholder resolves {http.auth.user.*} (the caller's id and claims, nested by dots),
// {rr.proxy}, {rr.credential} and {rr.upstream}. It has the signature of Caddy's
// ReplacerFunc.
func (x *Exchange) Placeholder(key string) (any, bool) {
	if x.inner != nil {
		return x.inner.Placeholder(key)
	}
	if name, ok := strings.CutPrefix(key, "http.auth.user."); ok {
		if name == "id" {
			return x.ID, x.ID != ""
		}
		if v, ok := rule.Claim(rule.AllOf(x.Claims), name); ok {
			return rule.Text(v), true
		}
		return "", true // else the placeholder itself would go upstream as text
	}
	switch key {
	case "rr.proxy":
		return x.Proxy, true
	case "rr.credential":
		return x.Credential, true
	case "rr.upstream":
		return x.Upstream, x.Upstream != ""
	}
	if strings.HasPrefix(key, "rr.upstream.") { // in rr_proxy, with the proxy's name
		return x.Upstream, x.Upstream != ""
	}
	return nil, false
}

// MarshalLogObject adds rr's fields to an access-log entry (zapcore.ObjectMarshaler,
// inlined there).
func (x *Exchange) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if x.inner != nil {
		return x.inner.MarshalLogObject(enc)
	}
	if x.Proxy != "" {
		enc.AddString("rr_proxy", x.Proxy)
	}
	if x.Credential != "" {
		enc.AddString("rr_credential", x.Credential)
	}
	enc.AddString("rr_decision", x.Decision)
	return nil
}
