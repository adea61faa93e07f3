package verify

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

// refusalFor is refusalOf with what the handler knows: challenges, and the count of
// failures. presented tells, of a gateway, whether the request had any credential that
// any of its proxies would read.
func (h *Handler) refusalFor(g *Gate, r *http.Request, err error, presented bool) *exchange.Refusal {
	ref := refusalOf(err)
	if ref.Challenges != nil { // the error's own
		if errors.Is(err, ErrRejected) && !errors.Is(err, errCounted) {
			h.settings.Throttle.fail(failed, clientIP(r), g.now())
		}
		return ref
	}
	switch {
	case errors.Is(err, ErrAbsent):
		ref.Challenges = g.plain
	case errors.Is(err, ErrRejected):
		if !errors.Is(err, errCounted) {
			h.settings.Throttle.fail(failed, clientIP(r), g.now())
		}
		ref.Challenges = g.rejected
	case errors.Is(err, ErrCostly):
		ref.RetryAfter = max(time.Second, h.settings.Throttle.blocked(failed, clientIP(r), g.now()))
		metrics.Throttled()
	}
	if h.gateway != nil && ref.Status == http.StatusUnauthorized {
		ref.Challenges = h.gateway.face.challenges(presented)
	}
	return ref
}

// refusalOf maps why a caller was not recognised to what the caller sees.
func refusalOf(err error) *exchange.Refusal {
	var own Challenged
	switch {
	case errors.As(err, &own):
		status := http.StatusForbidden // recognised, but with too little
		if errors.Is(err, ErrRejected) {
			status = http.StatusUnauthorized
		}
		ref := exchange.Refuse(status, exchange.CodeDenied, err)
		ref.Challenges = []string{own.Challenge()}
		if h, ok := own.(interface{ ResponseHeader() (name, value string) }); ok {
			if name, value := h.ResponseHeader(); value != "" {
				ref.Header = http.Header{name: {value}}
			}
		}
		return ref
	case errors.Is(err, ErrAbsent), errors.Is(err, ErrRejected):
		return exchange.Refuse(http.StatusUnauthorized, exchange.CodeDenied, err)
	case errors.Is(err, ErrCostly):
		return exchange.Refuse(http.StatusTooManyRequests, exchange.CodeThrottled, errThrottled)
	}
	ref := exchange.Refuse(http.StatusServiceUnavailable, exchange.CodeUnavailable, err)
	ref.RetryAfter = 5 * time.Second
	var again Retryable
	if errors.As(err, &again) {
		ref.RetryAfter = again.RetryAfter()
	}
	return ref
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, x *exchange.Exchange, g *Gate, ref *exchange.Refusal) error {
	x.Decision = ref.Code
	if g != nil {
		g.series.Outcome(ref.Code)
	} else {
		unknownSeries.Outcome(ref.Code)
	}
	return host.Refuse(w, r, x.Answers, h.log, ref, x.Proxy, x.Credential)
}
