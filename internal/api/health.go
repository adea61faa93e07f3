package api

import (
	"context"
	"errors"

	"github.com/caddy-rr/caddy-rr/store"
)

// Health says whether the store can be used.
type Health struct {
	Status string `json:"status" enum:"ok,degraded" doc:"degraded: the store can be read, but not written"`
	// What follows is for principals.
	Detail  string        `json:"detail,omitempty" doc:"What is wrong"`
	Records *HealthCounts `json:"records,omitempty" doc:"How many records there are, for principals that see all clients"`
	// Rotating says that a rotation of the store's key is under way or was interrupted.
	Rotating bool   `json:"rotating,omitempty" doc:"The store's key is being rotated, or that was interrupted: POST /store/rotate-key finishes it"`
	Message  string `json:"message" example:"Success"`
}

// HealthCounts are numbers of records.
type HealthCounts struct {
	Clients     int `json:"clients"`
	Credentials int `json:"credentials"`
	Targets     int `json:"targets"`
	Proxies     int `json:"proxies"`
	Blocklist   int `json:"blocklist"`
}

type healthOut struct{ Body Health }

func (h *handler) health(ctx context.Context, _ *struct{}) (*healthOut, error) {
	is := h.catalogue.Health(ctx)
	if !is.Open || is.Err != nil && (is.Writable || errors.Is(is.Err, store.ErrUnavailable)) {
		return nil, problem(codeUnavailable, "what is known is still served").again(retryStore)
	}
	out := &healthOut{Health{Status: "ok", Message: success}}
	if !is.Writable {
		out.Body.Status = "degraded"
	}
	who := principalOf(ctx)
	if who.Role == NoRole {
		return out, nil
	}
	if is.Err != nil {
		// the words of its class: what a backend says may name addresses and files
		out.Body.Detail = problemOf(is.Err, store.Clients).Title
	}
	if s := h.catalogue.Store(); s != nil {
		out.Body.Rotating = s.Rotating()
	}
	if who.All {
		out.Body.Records = &HealthCounts{is.Clients, is.Credentials, is.Targets, is.Proxies, is.Blocked}
	}
	return out, nil
}
