package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	tokenFetches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "token_fetches_total",
		Help: "Tokens asked for or made for upstreams, by target credential and outcome (success, refused, failed).",
	}, []string{"credential", "kind", "outcome"})

	tokenRetries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "token_retries_total",
		Help: "Tokens that an upstream refused (401), by whether there was another to try again with (renewed, unchanged, failed).",
	}, []string{"credential", "kind", "outcome"})

	tokenObtained = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "token_obtained_timestamp_seconds",
		Help: "When the token in use was obtained, in seconds since 1970.",
	}, []string{"credential", "kind"})

	tokenExpiry = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "token_expiry_timestamp_seconds",
		Help: "When the token in use ends, in seconds since 1970.",
	}, []string{"credential", "kind"})
)

// The outcomes of Tokens.Fetched.
const (
	FetchSuccess = "success"
	FetchRefused = "refused" // the endpoint answered 4xx
	FetchFailed  = "failed"
)

// The outcomes of Tokens.Retried.
const (
	RetryRenewed   = "renewed"
	RetryUnchanged = "unchanged"
	RetryFailed    = "failed"
)

// Tokens are the series of one target credential whose tokens are fetched or made.
type Tokens struct {
	name tokensName
}

type tokensName struct{ credential, kind string }

type heldTokens struct {
	series *Tokens
	count  int
}

var (
	tokensMu sync.Mutex
	tokens   = map[tokensName]*heldTokens{}
)

// HoldTokens is Hold for a target credential.
func HoldTokens(credential, kind string) *Tokens {
	tokensMu.Lock()
	defer tokensMu.Unlock()
	name := tokensName{credential, kind}
	h := tokens[name]
	if h == nil {
		h = &heldTokens{series: &Tokens{name}}
		tokens[name] = h
		for _, outcome := range []string{FetchSuccess, FetchRefused, FetchFailed} {
			tokenFetches.WithLabelValues(credential, kind, outcome)
		}
	}
	h.count++
	return h.series
}

// ReleaseTokens gives a HoldTokens back; with the last one the series end.
func ReleaseTokens(t *Tokens) {
	tokensMu.Lock()
	defer tokensMu.Unlock()
	h := tokens[t.name]
	if h == nil || h.series != t {
		return
	}
	if h.count--; h.count > 0 {
		return
	}
	delete(tokens, t.name)
	labels := prometheus.Labels{"credential": t.name.credential, "kind": t.name.kind}
	tokenFetches.DeletePartialMatch(labels)
	tokenRetries.DeletePartialMatch(labels)
	tokenObtained.DeletePartialMatch(labels)
	tokenExpiry.DeletePartialMatch(labels)
}

// Credential is the label of the series.
func (t *Tokens) Credential() string { return t.name.credential }

// Fetched counts a fetch.
func (t *Tokens) Fetched(outcome string) {
	t.whileHeld(func() { tokenFetches.WithLabelValues(t.name.credential, t.name.kind, outcome).Inc() })
}

// Retried counts a token that was refused.
func (t *Tokens) Retried(outcome string) {
	t.whileHeld(func() { tokenRetries.WithLabelValues(t.name.credential, t.name.kind, outcome).Inc() })
}

// InUse tells of the token that is in use from now on.
func (t *Tokens) InUse(obtained, expires time.Time) {
	t.whileHeld(func() {
		tokenObtained.WithLabelValues(t.name.credential, t.name.kind).Set(seconds(obtained))
		tokenExpiry.WithLabelValues(t.name.credential, t.name.kind).Set(seconds(expires))
	})
}

// whileHeld keeps late news from bringing ended series back.
func (t *Tokens) whileHeld(f func()) {
	tokensMu.Lock()
	defer tokensMu.Unlock()
	if h := tokens[t.name]; h != nil && h.series == t {
		f()
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
