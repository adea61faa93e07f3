package inject

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/redact"
)

const (
	// maxTokenStates bounds Tokens.
	maxTokenStates = 1000
	// maxErrorText, in bytes, bounds an error's text in the log and on the state page.
	maxErrorText = 1000
	// tellEvery is how often failures that go on are logged.
	tellEvery = 10 * time.Minute
)

// TokenState is what may be told about the tokens of a target credential; never a token.
type TokenState struct {
	// The credential's name; "proxy <name>" for one that is written in a proxy, _inline for
	// one in a handler.
	Credential string `json:"credential"`
	// The kind of credential, such as oauth2.
	Kind string `json:"kind"`
	// How many callers have a token of their own, if tokens depend on the caller.
	Callers *int `json:"callers,omitempty"`
	// When the token in use was obtained and when it ends; missing while there is none, and
	// for tokens that depend on the caller.
	Obtained time.Time `json:"obtained,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	// Whole seconds until then; negative if it has ended and nobody has needed another.
	ExpiresIn *int64 `json:"expires_in,omitempty"`
	// How often tokens were fetched or made, and how often that failed.
	Fetches  uint64 `json:"fetches"`
	Failures uint64 `json:"failures"`
	// Why it failed last, and when. Both stay when it succeeds again.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Tokens are the states of all target credentials in use whose tokens end, by name, the
// first 1,000; more is how many are left out.
func Tokens() (states []TokenState, more int) {
	now := time.Now()
	states = []TokenState{}
	tokenPool.Range(func(_, v any) bool {
		states = append(states, v.(*sharedTokens).states(now)...)
		return true
	})
	slices.SortFunc(states, func(a, b TokenState) int {
		return cmp.Or(cmp.Compare(a.Credential, b.Credential), cmp.Compare(a.Kind, b.Kind), a.Obtained.Compare(b.Obtained))
	})
	if more = len(states) - maxTokenStates; more > 0 {
		return states[:maxTokenStates], more
	}
	return states, 0
}

// states has one state for each credential that shares the tokens.
func (s *sharedTokens) states(now time.Time) []TokenState {
	st := TokenState{Kind: s.kind}
	if s.callers != nil {
		n := s.callers.Len()
		st.Callers = &n
	} else if of := s.source.State(); !of.Expires.IsZero() {
		st.Obtained, st.Expires = of.Obtained.UTC(), of.Expires.UTC()
		left := int64(of.Expires.Sub(now) / time.Second)
		st.ExpiresIn = &left
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Fetches, st.Failures = s.counts.fetches, s.counts.failures
	st.LastError, st.LastErrorAt = s.counts.lastError, s.counts.lastErrorAt.UTC()
	var states []TokenState
	for _, l := range s.leases {
		if !slices.ContainsFunc(states, func(other TokenState) bool { return other.Credential == l.label }) {
			st.Credential = l.label
			states = append(states, st)
		}
	}
	return states
}

// observe counts a fetch and tells of it.
func (s *sharedTokens) observe(e token.Event) {
	s.mu.Lock()
	leases := slices.Clone(s.leases)
	s.counts.fetches++
	tell := false
	if e.Err != nil {
		s.counts.failures++
		s.counts.lastError, s.counts.lastErrorAt = withoutSecrets(e.Err), time.Now()
		if tell = time.Since(s.told) >= tellEvery; tell {
			s.told = time.Now()
		}
	} else if s.callers == nil { // of one caller, success says nothing about others
		tell = !s.told.IsZero()
		s.told = time.Time{}
	}
	s.mu.Unlock()

	labels := map[*metrics.Tokens]bool{}
	for _, l := range leases {
		if !labels[l.series] { // those of several configurations are the same
			labels[l.series] = true
			count(l.series, e, s.callers == nil)
		}
	}
	if len(leases) > 0 {
		s.tell(leases[len(leases)-1].label, e, tell)
	}
}

func count(series *metrics.Tokens, e token.Event, shared bool) {
	switch {
	case e.Err == nil:
		series.Fetched(metrics.FetchSuccess)
		if shared {
			series.InUse(e.Obtained, e.Expires)
		}
	case refused(e.Err):
		series.Fetched(metrics.FetchRefused)
	default:
		series.Fetched(metrics.FetchFailed)
	}
}

func refused(err error) bool {
	f, ok := errors.AsType[*token.Failure](err)
	return ok && f.Permanent
}

// tell logs a fetch: the first failure, one now and then while that goes on, and its end.
func (s *sharedTokens) tell(label string, e token.Event, important bool) {
	log := s.log.With(zap.String("credential", label), zap.String("kind", s.kind), zap.String("reason", string(e.Reason)), zap.Duration("took", e.Took))
	switch {
	case e.Err != nil && important:
		log.Warn("there is no new token for the upstream", zap.String("error", withoutSecrets(e.Err)), zap.Int("failures", e.Failures), zap.Duration("retry_in", e.RetryIn))
	case e.Err != nil:
		log.Debug("there is still no new token for the upstream", zap.String("error", withoutSecrets(e.Err)), zap.Int("failures", e.Failures), zap.Duration("retry_in", e.RetryIn))
	case important:
		log.Info("there is a token for the upstream again", zap.Time("expires", e.Expires))
	default:
		log.Debug("there is a new token for the upstream", zap.Time("expires", e.Expires))
	}
}

// withoutSecrets is an error's text without secrets that are known by their value.
func withoutSecrets(err error) string {
	text := string(redact.Default().Line([]byte(err.Error())))
	return text[:min(len(text), maxErrorText)]
}
