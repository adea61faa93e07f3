package rr

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/cli"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// Check implements cli.Checker: it explains what would happen to a request to a proxy.
func (a *App) Check(proxy string, r *http.Request) (cli.Report, error) {
	vg, err := a.VerifyGate(proxy)
	if err != nil {
		return cli.Report{}, fmt.Errorf("proxy: %w", err)
	}
	ig, err := a.InjectGate(proxy)
	if err != nil {
		return cli.Report{}, err
	}
	a.loader.Start() // which has issuers' keys fetched, as the gateway would
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, nil, &caddyhttp.Server{})
	x, _ := exchange.Begin(r.Context())
	repl.Map(x.Placeholder)
	steps, ref := vg.Explain(r, x)
	report := cli.Report{Decision: exchange.CodeGranted, Credential: x.Credential, Steps: steps}
	if ref == nil {
		var more []exchange.Step
		more, ref = ig.Explain(x)
		report.Steps = append(report.Steps, more...)
	}
	if ref != nil {
		report.Decision, report.Status = ref.Code, ref.Status
		return report, nil
	}
	report.Upstream = ig.Upstream()
	return report, nil
}

var _ cli.Checker = (*App)(nil)
