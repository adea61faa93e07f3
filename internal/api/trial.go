package api

import (
	"context"
	"time"
)

// Trial is what came of trying a proxy's target.
type Trial struct {
	Status     int    `json:"status,omitempty" doc:"The answer's status; none: there was no answer" example:"200"`
	DurationMS int64  `json:"durationMs" doc:"How long it took, in milliseconds" example:"87"`
	Upstream   string `json:"upstream" doc:"Where it went" example:"https://api.stripe.com:443"`
	Error      string `json:"error,omitempty" doc:"Why there was no answer"`
	Message    string `json:"message" example:"Success"`
}

type trialOut struct{ Body Trial }

func (h *handler) test(ctx context.Context, in *One) (*trialOut, error) {
	result, err := h.catalogue.Test(ctx, in.Client, in.ID)
	if err != nil {
		return nil, h.proxies.missing(err)
	}
	took := result.Duration.Round(time.Millisecond).Milliseconds()
	return &trialOut{Trial{result.Status, took, result.Upstream, result.Err, success}}, nil
}
