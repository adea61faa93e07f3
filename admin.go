package rr

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/inject"
)

func init() { caddy.RegisterModule(new(adminAPI)) }

// adminAPI is rr's part of the admin endpoint: its metrics and its state pages. Caddy
// replaces that endpoint before the apps of a new configuration are loaded, and keeps it
// if they fail.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.rr", New: func() caddy.Module { return new(adminAPI) }}
}

// Provision registers the collectors.
func (*adminAPI) Provision(ctx caddy.Context) error { return registerMetrics(ctx) }

// Routes implements caddy.AdminRouter.
func (*adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/rr/tokens", Handler: caddy.AdminHandlerFunc(showTokens)}}
}

// showTokens tells about the tokens that rr holds for upstreams, not the tokens.
func showTokens(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("/rr/tokens is read with GET")}
	}
	var page struct {
		Tokens []inject.TokenState `json:"tokens"`
		// how many more there are
		More int `json:"more,omitempty"`
	}
	page.Tokens, page.More = inject.Tokens()
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(page)
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
