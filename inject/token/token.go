// Package token keeps the token that an upstream wants: it fetches one when it is first
// needed, gives it to everybody until it is nearly expired, and has the next one ready
// before that. However many callers wait, there is one fetch, which belongs to none of
// them; a failing endpoint is left alone for a while, and a token that is still valid
// goes on serving meanwhile.
//
// How a token is obtained is the Fetch of each kind of credential. The package imports
// neither Caddy nor anything of rr. Its time is that of package time, which tests run in
// a bubble of testing/synctest.
package token

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Token is what a fetch brought. It never shows its value when it is printed.
type Token struct {
	// Value is the token. It is secret.
	Value string
	// Type is the authentication scheme that the endpoint named, such as Bearer; empty if
	// it named none.
	Type string
	// Expires is when the token ends. Zero means that the endpoint did not say: 5 minutes
	// after Obtained.
	Expires time.Time
	// Obtained is from when its life counts. Zero: when its fetch began.
	Obtained time.Time
}

const redacted = "REDACTED"

// String implements fmt.Stringer.
func (Token) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Token) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON never shows the token: it belongs in no document.
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Fetch obtains a new token. It has to end when ctx does. Its error, which logs and the
// state page show, must not hold secrets; a Failure says more about when to try again.
type Fetch func(ctx context.Context) (Token, error)

// Failure is an error of a Fetch that knows more than that it failed.
type Failure struct {
	// Err is what went wrong.
	Err error
	// Permanent says that the request itself was refused (4xx), so that the same one will
	// be refused again.
	Permanent bool
	// RetryAfter is how long the endpoint wants to be left alone; zero if it did not say.
	RetryAfter time.Duration
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Config is what a Source is made of.
type Config struct {
	// Fetch obtains a token.
	Fetch Fetch
	// Timeout bounds a fetch, and with it how long anybody waits. Default: 5s.
	Timeout time.Duration
	// Local says that the token is made here, without a network: it is fetched in the
	// caller's own goroutine, and failures are not remembered.
	Local bool
	// Until is the end of what tokens are derived from, such as the caller's own token:
	// none is kept for longer, and none is fetched ahead that could not last longer. Zero:
	// there is no such end.
	Until time.Time
	// Observe is called after each fetch, before anybody gets its token, if set. It must
	// not call the Source.
	Observe func(Event)
}

// Reason is why a fetch was made.
type Reason string

// The reasons.
const (
	Needed  Reason = "needed"  // somebody waits for it: there was no valid token
	Ahead   Reason = "ahead"   // the token nears its end
	Refused Reason = "refused" // the upstream refused the token
)

// Event is the end of a fetch.
type Event struct {
	Reason Reason
	// Took is how long the fetch took.
	Took time.Duration
	// Obtained and Expires are those of the new token.
	Obtained, Expires time.Time
	// Err is why there is no new token.
	Err error
	// Failures counts how many fetches have failed one after the other.
	Failures int
	// RetryIn is for how long the endpoint is left alone now.
	RetryIn time.Duration
}

// State is what may be told about a Source.
type State struct {
	// Obtained and Expires are those of the token that is held, zero if there is none.
	Obtained, Expires time.Time
	// LastError is why the latest failed fetch failed, and LastErrorAt when; they stay
	// when a later one succeeds.
	LastError   string
	LastErrorAt time.Time
	// Fetches and Failures count all fetches and the failed ones.
	Fetches, Failures uint64
}

// remembered is the error of an earlier fetch, given without asking again.
type remembered struct {
	err  error
	left time.Duration
}

func (r *remembered) Error() string {
	return fmt.Sprintf("%v (not tried again for %v)", r.err, r.left)
}

func (r *remembered) Unwrap() error { return r.err }
