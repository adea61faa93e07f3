package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// What went wrong in other products is tried in the files peers_<topic>_test.go; the doc
// comments of their tests are docs/incidents.md. These are what they share.

// proxies is a configuration whose proxies are at /<name>/…, without a limit of failures.
func proxies(blocks ...string) string {
	return "{\n\trr {\n\t\tthrottle off\n" + strings.Join(blocks, "\n") + "\n\t}\n}\nhttp://:GATEPORT {\n\trr_gateway\n}\n"
}

// peerProxy is a proxy to UPSTREAM for callers with callerKey; lines come on top.
func peerProxy(name, present string, lines ...string) string {
	return fmt.Sprintf("proxy %s {\naccept key {env.RR_CALLER}\ntarget http://UPSTREAM\npresent %s\n%s\n}", name, present, strings.Join(lines, "\n"))
}

// vendor is what most of them present.
const vendor = "bearer {env.RR_VENDOR}"

// startPeer starts a configuration with an upstream.
func startPeer(t testing.TB, caddyfile string, vars ...string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	return start(t, caddyfile, append(vars, "UPSTREAM", u.Addr)...), u
}

// silent checks that the upstream got nothing since the last look.
func silent(t testing.TB, u *rrtest.Upstream) {
	t.Helper()
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream got %d requests: %+v", len(got), got[0])
	}
}

// refusedToLoad checks that a configuration is refused, with these words. No other may run.
func refusedToLoad(t *testing.T, caddyfile string, words ...string) {
	t.Helper()
	setSecrets(t)
	fill := strings.NewReplacer("GATEPORT", fmt.Sprint(rrtest.FreePort(t)), "UPSTREAM", "127.0.0.1:9")
	t.Run("refused", func(t *testing.T) {
		_, err := rrtest.StartError(t, fill.Replace(caddyfile))
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("got %v, want %q", err, word)
			}
		}
	})
}
