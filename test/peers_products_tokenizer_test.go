package test

import (
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A proxy that was told to go to itself called itself without end.
// Sources: superfly/tokenizer#25
// Here: A request that came through more than 20 gateways, by its Via, is refused with 508 `loop-detected`. So a target that leads back to the
// gateway, with a credential that the gateway accepts, costs 20 requests, and not all that there is room for.
func TestPeer_tokenizer_25_AProxyToItselfEnds(t *testing.T) {
	setSecrets(t)
	for name, site := range map[string]string{
		"rr_proxy":   strings.NewReplacer("/base", "", "present credential vendor", "present key {env.RR_CALLER}").Replace(oneProxy),
		"rr_gateway": strings.NewReplacer("/base", "/p", "present credential vendor", "present key {env.RR_CALLER}", "rr_proxy p", "rr_gateway").Replace(oneProxy),
	} {
		t.Run(name, func(t *testing.T) {
			port := rrtest.FreePort(t)
			addr := rrtest.Addr(port)
			g := start(t, strings.ReplaceAll(site, ":GATEPORT", ":"+addr[strings.LastIndexByte(addr, ':')+1:]), "UPSTREAM", addr)
			g.addr = addr
			path := "/v1/x"
			if name == "rr_gateway" {
				path = "/p" + path
			}
			a := g.get(path, withKey)
			if a.Status != 508 {
				t.Errorf("got %d %s", a.Status, a.Body)
			}
			e := g.refusal(func(e map[string]any) bool { return e["code"] == "loop-detected" })
			if e["level"] != "error" {
				t.Errorf("nobody is told: %v", e)
			}
			if n := metric(t, g, `caddy_rr_requests_total{outcome="proxy-access-granted",proxy="p"}`); n < 10 || n > 21 {
				t.Errorf("one request became %v", n)
			}
		})
	}
}
