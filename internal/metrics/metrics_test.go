package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestSeriesSurviveAReloadAndEndWithTheirProxy(t *testing.T) {
	old, next := prometheus.NewPedanticRegistry(), prometheus.NewPedanticRegistry()
	for _, reg := range []*prometheus.Registry{old, next, next} {
		if err := Register(reg); err != nil {
			t.Fatal(err)
		}
	}
	p := Hold("stripe")
	p.Outcome("proxy-access-granted")
	p.Verified(time.Microsecond)
	p.Upstream(time.Millisecond)

	again := Hold("stripe") // the new configuration comes before the old one goes
	Release(p)
	again.Outcome("proxy-access-granted")
	const want = `
# HELP caddy_rr_requests_total Requests by proxy and outcome (the code of RR-Proxy-Code).
# TYPE caddy_rr_requests_total counter
caddy_rr_requests_total{outcome="proxy-access-granted",proxy="stripe"} 2
`
	if err := testutil.GatherAndCompare(next, strings.NewReader(want), "caddy_rr_requests_total"); err != nil {
		t.Error(err)
	}
	Release(again)
	if n := testutil.CollectAndCount(requests); n != 0 {
		t.Errorf("%d series are left of a proxy that no configuration holds", n)
	}
}
