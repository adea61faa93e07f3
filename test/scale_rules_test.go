//go:build unix

package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/verify"
)

// scaledVendor is a target and its credential in a Caddyfile.
func scaledVendor(url string) string {
	return "\t\ttarget vendor " + url + "\n\t\tcredential vendor-key present bearer {env.RR_VENDOR}\n"
}

// scaledProxy is a proxy that accepts the caller of this number.
func scaledProxy(name string, caller int, rules string) string {
	return fmt.Sprintf("\t\tproxy %s {\n\t\t\taccept key {\n\t\t\t\thash %s\n\t\t\t}\n\t\t\ttarget vendor\n\t\t\tpresent credential vendor-key\n%s\t\t}\n",
		name, verify.FormatHash(scaleKey(caller)), rules)
}

// scaledRules are n rules of several kinds; only the last allows /ok, and all are compared
// with it.
func scaledRules(n int) string {
	kinds := []string{
		"deny /internal/section-%d",
		"allow GET,POST /accounts-%d/*",
		"deny * *.backup-%d",
		"allow GET /*/reports-%d",
		"deny DELETE,PATCH /tenant-%d/*",
		"allow PUT /ok /section-%d",
	}
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, "\t\t\t"+kinds[i%len(kinds)]+"\n", i)
	}
	return b.String() + "\t\t\tallow GET,POST /ok\n"
}

// rules measures a proxy with n rules, beside one with a single rule.
func (s *scale) rules(t *testing.T, n int) {
	t.Setenv("RR_VENDOR", vendorKey)
	g := startScaled(t, scaledVendor(scaleUpstream(t))+scaledProxy("one", 0, scaledRules(1))+scaledProxy("many", 0, scaledRules(n)), "rr_gateway /api/*")
	key := scaleKey(0)
	g.ask("/api/many/no", key, http.StatusForbidden)
	request := s.compare(4_000, func() { g.ask("/api/one/ok", key, http.StatusOK) }, func() { g.ask("/api/many/ok", key, http.StatusOK) })
	s.add(scaleLine{what: "rules in one proxy", number: n, start: g.start, reload: g.reload, heap: g.heap, request: request})
	if n == 1_000 {
		s.promise("1,000 rules in a proxy, more than with one", fmt.Sprintf("%.1f µs", request.more/1000), "≤ 50 µs", request.more <= 50_000)
	}
}

// proxies measures n proxies in a Caddyfile, each with a key and a rule of its own.
func (s *scale) proxies(t *testing.T, n int) {
	t.Setenv("RR_VENDOR", vendorKey)
	var b strings.Builder
	b.WriteString(scaledVendor(scaleUpstream(t)))
	for i := range n {
		b.WriteString(scaledProxy(fmt.Sprint("p", i), i, scaledRules(1)))
	}
	g := startScaled(t, b.String(), "rr_gateway /api/*")
	ask := func(i int) { g.ask(fmt.Sprintf("/api/p%d/ok", i), scaleKey(i), http.StatusOK) }
	for i := range n {
		ask(i)
	}
	request := s.anyOf(4_000, n, ask)
	s.add(scaleLine{what: "proxies in the Caddyfile", number: n, start: g.start, reload: g.reload, heap: g.heap, request: request})
}
