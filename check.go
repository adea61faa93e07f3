package rr

import (
	"fmt"
	"net/http"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/cli"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// Check implements cli.Checker: it explains what would happen to a request to a proxy. The
// store stays closed, and its blocklist is not asked: a gateway that runs has it open.
func (a *App) Check(proxy string, r *http.Request) (exchange.Report, error) {
	a.unwanted.Store(true)
	vg, err := a.VerifyGate(proxy)
	if err != nil {
		return exchange.Report{}, fmt.Errorf("proxy: %w", err)
	}
	ig, err := a.InjectGate(proxy)
	if err != nil {
		return exchange.Report{}, err
	}
	a.loader.Start() // which has issuers' keys fetched, as the gateway would
	return catalog.Explain(vg, ig, r), nil
}

var _ cli.Checker = (*App)(nil)
