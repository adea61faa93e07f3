// Package verify is the caller's side of the gateway: who is calling, and may they?
//
// A Gate holds what one proxy accepts. It finds the caller's credential, recognises the
// caller, removes the credential from the request, and judges the rules of the
// credential and of the proxy. Any doubt refuses. What passes carries an exchange in
// its context, without which rr_inject does nothing.
//
// A kind of credential is a Caddy module in the namespace rr.verifiers that implements
// Verifier. A kind from another Go module is used exactly like those of this package.
package verify

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Namespace is where kinds of verifiers are registered: rr.verifiers.<kind>.
const Namespace = "rr.verifiers"

// Identity is a recognised caller.
type Identity struct {
	// ID identifies the caller, {http.auth.user.id}. Empty means: the name of the
	// credential, or its kind if it has no name.
	ID string
	// Claims are verified statements about the caller, {http.auth.user.<claim>}: JSON
	// values as encoding/json decodes them with UseNumber. They are read only.
	Claims map[string]any
	// Expires is when the proof ends by itself; zero means never. Streams that are open
	// then are closed.
	Expires time.Time
	// Token is the caller's own token, for credentials that are made of it (RFC 8693). It
	// is secret: it goes nowhere else, and is in no log.
	Token string

	// token is what jwt_verify or introspect remember of the token; the claims are in it
	token *verified
}

// claims are the caller's, of which those of a token are only decoded when they are asked
// for.
func (id *Identity) claims() rule.Claims {
	switch {
	case id.token != nil:
		return id.token
	case id.Claims == nil:
		return nil
	}
	return rule.Decoded(id.Claims)
}

var (
	// ErrAbsent says that the request holds no credential of the verifier's kind.
	ErrAbsent = errors.New("no credential of this kind")
	// ErrRejected says that there is one, but that it is not accepted. Wrap it with the
	// reason, which is logged and never shown to the caller.
	ErrRejected = errors.New("credential not accepted")
	// ErrCostly says that only an expensive check could tell.
	ErrCostly = errors.New("needs an expensive check")
)

// Verifier recognises one kind of caller credential. It must be safe for concurrent use.
type Verifier interface {
	// Verify returns the caller. ErrAbsent and ErrRejected mean: try the next verifier.
	// Any other error is technical: the request is refused with 503, never let through.
	// The request is not to be changed; removing the credential is the gate's work.
	Verify(r *http.Request) (Identity, error)
}

// Carrying is implemented by verifiers that read the request's headers, query or
// cookies. The gate removes every carrier of every verifier before the request goes on,
// whichever one matched, and refuses requests that use one twice or two with different
// values. A verifier without Carriers is taken to read Authorization.
type Carrying interface {
	Carriers() []Carrier
}

// Costly is implemented by verifiers whose Verify can be expensive: a password hash, a
// signature over a token not seen before, a call over the network. For an address with
// too many failures VerifyCached is asked instead.
type Costly interface {
	// VerifyCached is Verify without anything expensive; ErrCostly says that only an
	// expensive check could tell.
	VerifyCached(r *http.Request) (Identity, error)
}

// Fingerprinting is implemented by verifiers whose secret can change while they are in
// use. Callers that were recognised under another fingerprint have lost access: their
// open streams are closed. Without it the fingerprint is the verifier's configuration.
type Fingerprinting interface {
	// Fingerprint is a text that changes with the secret. It stays in memory, hashed.
	Fingerprint() string
}

// Standing is implemented by verifiers whose callers can lose access one by one: a token
// is revoked, a key is withdrawn. It takes the place of Fingerprinting.
type Standing interface {
	// Stands reports whether a caller that was recognised before would still be. It is
	// asked about open streams after every change, also about callers whom another
	// verifier or an earlier configuration recognised, and must be quick.
	Stands(id Identity) bool
}

// Accompanied is implemented by verifiers whose credential has other headers with it,
// such as a proof of possession. They are removed with the credential.
type Accompanied interface {
	// Headers are the names of the other headers.
	Headers() []string
}

// InsufficientScope is the error for callers that are recognised but whose token has not
// the scopes that are needed: 403, and a challenge that names them (RFC 6750 section 3.1).
type InsufficientScope struct {
	// Scope is what is needed, separated by spaces.
	Scope string
	// Scheme is how the token was presented. Default: Bearer.
	Scheme string
}

// Error implements error.
func (e *InsufficientScope) Error() string {
	return "the token has not the scope that is needed: " + e.Scope
}

// Challenge is for WWW-Authenticate.
func (e *InsufficientScope) Challenge() string {
	scheme := e.Scheme
	if scheme == "" {
		scheme = "Bearer"
	}
	return scheme + ` realm="` + Realm + `", error="insufficient_scope", scope="` + e.Scope + `"`
}

// Challenged is implemented by errors that know a challenge better than the verifier's
// own, such as one with a nonce to use.
type Challenged interface {
	error
	// Challenge is for WWW-Authenticate.
	Challenge() string
}

// Challenging is implemented by verifiers that have a scheme for WWW-Authenticate
// (RFC 9110 section 11.6.1), such as `Basic realm="rr"`.
type Challenging interface {
	// Challenge returns the challenge; rejected tells whether a credential was presented
	// and not accepted.
	Challenge(rejected bool) string
}

// Retryable is implemented by technical errors that know when to ask again.
type Retryable interface {
	RetryAfter() time.Duration
}

// Realm is the protection space named in challenges.
const Realm = "rr"
