package token

import (
	"math/rand/v2"
	"time"
)

const (
	defaultTimeout = 5 * time.Second
	// unspecified is the life of a token whose endpoint does not say.
	unspecified = 5 * time.Minute
	// longest is for how long a token is used at most, whatever its endpoint says.
	longest = 24 * time.Hour
	// shortest keeps a token that is over when it comes from being fetched for each caller.
	shortest = time.Second
	// minMargin and maxMargin bound how long before its end a token is renewed.
	minMargin, maxMargin = 10 * time.Second, time.Minute
	// minBackoff and maxBackoff bound the wait after failures.
	minBackoff, maxBackoff = time.Second, time.Minute
	// maxRetryAfter bounds the wait that an endpoint asks for.
	maxRetryAfter = 5 * time.Minute
	// renewEvery is how often refused tokens are renewed at most.
	renewEvery = 5 * time.Second
)

// lifetime returns the token with its life settled. It was asked for at began, and it is
// now; until is Config.Until.
func lifetime(t Token, began, now, until time.Time) (_ Token, last bool) {
	if t.Obtained.IsZero() {
		t.Obtained = began
	}
	// as a duration from now, so that the machine's clock may be set meanwhile
	life := t.Expires.Sub(now)
	if t.Expires.IsZero() {
		life = unspecified - now.Sub(t.Obtained)
	}
	life = min(life, longest-now.Sub(t.Obtained))
	if left := until.Sub(now); !until.IsZero() && left <= life {
		life, last = left, true
	}
	t.Expires = now.Add(max(life, shortest))
	return t, last
}

// margin is how long before its end a token of this life is renewed: a tenth of it, 10 s
// to 60 s, but not more than half; give or take a fifth, so that nodes do not all ask at
// once.
func margin(life time.Duration) time.Duration {
	tenth := min(max(life/10, minMargin), maxMargin)
	low, high := max(tenth*4/5, minMargin), min(tenth*6/5, maxMargin, life/2)
	if low >= high {
		low = high * 4 / 5
	}
	return between(low, high)
}

// backoff is for how long an endpoint is left alone after so many failures in a row: 1 s,
// doubled each time up to a minute, up to a fifth less; longer if it asks for that.
func backoff(failures int, retryAfter time.Duration) time.Duration {
	wait := maxBackoff
	if n := failures - 1; n < 6 {
		wait = min(minBackoff<<n, maxBackoff)
	}
	return max(between(wait*4/5, wait), min(retryAfter, maxRetryAfter))
}

func between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + rand.N(high-low)
}
