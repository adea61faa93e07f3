package api_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// answering is a fake whose checks have a report of its own.
type answering struct {
	*fake
	report exchange.Report
	during func()
}

func (a *answering) Check(_ context.Context, _, _ string, r *http.Request) (exchange.Report, error) {
	clear(r.Header) // as the gate does with what callers are recognised by
	if a.during != nil {
		a.during()
	}
	return a.report, nil
}

// TestChecksAreNoOracle: passwords cannot be tried without end; what is recognised, and what
// has no credential, may be asked about.
func TestChecksAreNoOracle(t *testing.T) {
	k := newKit(t)
	a := &answering{fake: k.fake}
	k.handler = api.New(a, api.Options{Prefix: "/rr", Now: k.clock.Now})
	check := func(body string, how ...option) *answer {
		return k.call("POST", "/clients/acme/proxies/p/check", body, how...)
	}
	guess := func(i int) string {
		return fmt.Sprintf(`{"path":"/","headers":{"Authorization":"Basic %d"}}`, i)
	}
	a.report = exchange.Report{Decision: exchange.CodeDenied, Status: 403, Credential: "agent"}
	for i := range 30 {
		check(guess(i)).want(http.StatusOK)
	}
	a.report = exchange.Report{Decision: exchange.CodeNotVerified, Status: 401}
	for range 30 {
		check(`{"path":"/"}`).want(http.StatusOK)
	}
	for i := range 20 {
		check(guess(i)).want(http.StatusOK)
	}
	p := check(guess(20))
	p.problem(http.StatusTooManyRequests, "too-many-failures")
	if after := p.Header.Get("Retry-After"); after != "60" {
		t.Errorf("Retry-After %q", after)
	}
	bob := api.Principal{Actor: audit.Actor{Kind: audit.User, Name: "bob"}, Role: api.Editor, All: true}
	check(guess(0), as(bob)).want(http.StatusOK)
	k.clock.pass(time.Minute)
	a.during = func() { // those under way count
		a.during = nil
		for i := range 19 {
			check(guess(i)).want(http.StatusOK)
		}
		check(guess(19)).want(http.StatusTooManyRequests)
	}
	check(guess(0)).want(http.StatusOK)
	check(guess(0)).want(http.StatusTooManyRequests)
}
