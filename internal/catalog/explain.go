package catalog

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// Explain tells what two gates would do to a request.
func Explain(v *verify.Gate, x *inject.Gate, r *http.Request) exchange.Report {
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, nil, &caddyhttp.Server{})
	e, _ := exchange.Begin(r.Context())
	repl.Map(e.Placeholder)
	steps, ref := v.Explain(r, e)
	report := exchange.Report{Decision: exchange.CodeGranted, Credential: e.Credential, Steps: steps}
	if ref == nil {
		var more []exchange.Step
		more, ref = x.Explain(e)
		report.Steps = append(report.Steps, more...)
	}
	if ref != nil {
		report.Decision, report.Status = ref.Code, ref.Status
		return report
	}
	report.Upstream = x.Upstream()
	return report
}

// Check explains what would happen to a request to a proxy. Nothing is sent to the upstream.
func (c *Catalog) Check(ctx context.Context, client, text string, r *http.Request) (exchange.Report, error) {
	v, x, err := c.gatesOf(client, text)
	if err != nil {
		return exchange.Report{}, err
	}
	if x == nil {
		return exchange.Report{Decision: exchange.CodeIncomplete, Status: http.StatusServiceUnavailable,
			Steps: []exchange.Step{{Scope: "proxy", What: text, Result: "lacks its target or its target credential"}}}, nil
	}
	return Explain(v, x, r.WithContext(ctx)), nil
}

// gatesOf returns both gates of a proxy.
func (c *Catalog) gatesOf(client, text string) (*verify.Gate, *inject.Gate, error) {
	r, err := c.open()
	if err != nil {
		return nil, nil, err
	}
	id, err := c.resolve(r.view.Load(), store.Proxies, client, text)
	if err != nil {
		return nil, nil, err
	}
	if d, ok := c.declared.byID[id]; ok {
		return d.proxy.Verify, d.proxy.Inject, nil
	}
	g, err := c.gates(id)
	if err != nil {
		return nil, nil, err
	}
	if g == nil {
		return nil, nil, store.ErrNotFound
	}
	return g.verify, g.inject, nil
}

// TestResult is what a target answers to its test path.
type TestResult struct {
	// Status of the answer, 0 if there was none.
	Status   int
	Duration time.Duration
	Upstream string
	// Err says why there was none, without secrets.
	Err string
}

// testTimeout bounds how long a target is tried.
const testTimeout = 30 * time.Second

// Test sends a GET for the test path of a proxy's target, with the target credential.
func (c *Catalog) Test(ctx context.Context, client, text string) (TestResult, error) {
	rec, err := c.Proxy(ctx, client, text)
	if err != nil {
		return TestResult{}, err
	}
	target, err := c.Target(ctx, client, rec.TargetID)
	if err != nil {
		return TestResult{}, err
	}
	if target.TestPath == "" {
		return TestResult{}, conflict("target %s has no test path", target.Name)
	}
	_, x, err := c.gatesOf(client, rec.ID)
	if err != nil {
		return TestResult{}, err
	}
	if x == nil {
		return TestResult{}, conflict("the proxy lacks its target or its target credential")
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	began := time.Now()
	status, err := x.Try(ctx, target.TestPath)
	result := TestResult{Status: status, Duration: time.Since(began), Upstream: x.Upstream()}
	if err != nil {
		result.Err = err.Error()
	}
	return result, nil
}
