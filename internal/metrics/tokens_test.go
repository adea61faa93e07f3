package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTokenSeriesSurviveAReloadAndEndWithTheirCredential(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	if err := Register(reg); err != nil {
		t.Fatal(err)
	}
	s := HoldTokens("erp", "oauth2")
	s.Fetched(FetchSuccess)
	s.Retried(RetryRenewed)
	s.InUse(time.Unix(1000, 0), time.UnixMilli(4600_500))

	again := HoldTokens("erp", "oauth2") // the new configuration comes before the old one goes
	ReleaseTokens(s)
	again.Fetched(FetchSuccess)
	const want = `
# HELP caddy_rr_token_expiry_timestamp_seconds When the token in use ends, in seconds since 1970.
# TYPE caddy_rr_token_expiry_timestamp_seconds gauge
caddy_rr_token_expiry_timestamp_seconds{credential="erp",kind="oauth2"} 4600.5
# HELP caddy_rr_token_fetches_total Tokens asked for or made for upstreams, by target credential and outcome (success, refused, failed).
# TYPE caddy_rr_token_fetches_total counter
caddy_rr_token_fetches_total{credential="erp",kind="oauth2",outcome="failed"} 0
caddy_rr_token_fetches_total{credential="erp",kind="oauth2",outcome="refused"} 0
caddy_rr_token_fetches_total{credential="erp",kind="oauth2",outcome="success"} 2
# HELP caddy_rr_token_obtained_timestamp_seconds When the token in use was obtained, in seconds since 1970.
# TYPE caddy_rr_token_obtained_timestamp_seconds gauge
caddy_rr_token_obtained_timestamp_seconds{credential="erp",kind="oauth2"} 1000
# HELP caddy_rr_token_retries_total Tokens that an upstream refused (401), by whether there was another to try again with (renewed, unchanged, failed).
# TYPE caddy_rr_token_retries_total counter
caddy_rr_token_retries_total{credential="erp",kind="oauth2",outcome="renewed"} 1
`
	names := []string{"caddy_rr_token_expiry_timestamp_seconds", "caddy_rr_token_fetches_total", "caddy_rr_token_obtained_timestamp_seconds", "caddy_rr_token_retries_total"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	ReleaseTokens(again)
	again.Fetched(FetchFailed) // late news
	if n, err := testutil.GatherAndCount(reg, names...); err != nil || n != 0 {
		t.Errorf("%d series are left of a credential that no configuration holds (%v)", n, err)
	}
}
