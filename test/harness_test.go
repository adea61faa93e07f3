// Package test tries the whole gateway: Caddy with rr in this process, or its binary as a
// process of its own, between real callers and upstreams. What one package does alone is
// tested beside it.
package test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/caddy-rr/caddy-rr"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

const (
	callerKey = "rr_live_caller-0123456789abcdef0123456789abcdef"
	otherKey  = "rr_live_other-fedcba9876543210fedcba9876543210"
	vendorKey = "sk_test_vendor-89abcdef0123456789abcdef01234567"
)

// gateway is Caddy with rr, in this process, with a site at addr.
type gateway struct {
	*rrtest.Caddy
	t    testing.TB
	addr string
	vars []string
}

// start runs a Caddyfile in which GATEPORT stands for the port of the site at addr, and
// the names in vars (name, value, …) for their values.
func start(t testing.TB, caddyfile string, vars ...string) *gateway {
	t.Helper()
	port := rrtest.FreePort(t)
	g := &gateway{t: t, addr: rrtest.Addr(port), vars: append(vars, "GATEPORT", strconv.Itoa(port))}
	g.Caddy = rrtest.Start(t, g.fill(caddyfile))
	return g
}

func (g *gateway) fill(caddyfile string) string {
	return strings.NewReplacer(g.vars...).Replace(caddyfile)
}

// reload replaces the configuration; names stand for the same values.
func (g *gateway) reload(caddyfile string) error { return g.Reload(g.fill(caddyfile)) }

// do sends a request; headers are "Name: value". Right after a reload Caddy's old server
// may still accept a connection and close it, so one that breaks before the answer is
// tried again, for as long as that may take on a busy machine.
func (g *gateway) do(method, path, body string, headers ...string) answer {
	g.t.Helper()
	client := rrtest.HTTP1(g.t, nil)
	defer client.CloseIdleConnections()
	for try := 0; ; try++ {
		res, err := client.Do(rrtest.Request(g.t, method, "http://"+g.addr+path, body, headers...))
		if err != nil {
			if try < 100 {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			g.t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			g.t.Fatal(err)
		}
		return answer{rrtest.Answer{Status: res.StatusCode, Proto: res.Proto, Header: res.Header, Body: string(text), Trailer: res.Trailer}}
	}
}

func (g *gateway) get(path string, headers ...string) answer {
	g.t.Helper()
	return g.do(http.MethodGet, path, "", headers...)
}

type answer struct{ rrtest.Answer }

func (a answer) code() string { return a.Header.Get("RR-Proxy-Code") }

// want checks status and code.
func (a answer) want(t testing.TB, status int, code string) {
	t.Helper()
	if a.Status != status || a.code() != code {
		t.Errorf("got %d %q, want %d %q; body %.200s", a.Status, a.code(), status, code, a.Body)
	}
}

// refusals returns the log lines of refused requests; they may come after the answer.
func (g *gateway) refusal(fits func(map[string]any) bool) map[string]any {
	g.t.Helper()
	var found map[string]any
	rrtest.Eventually(g.t, "the refusal is in the log", func() bool {
		for _, e := range g.LogEntries() {
			if e["msg"] == "refused" && fits(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

// received returns what the upstream got since the last call.
func received(u *rrtest.Upstream) []rrtest.Received {
	defer u.Reset()
	return u.Received()
}

// one returns the only request that the upstream got since the last call.
func one(t testing.TB, u *rrtest.Upstream) rrtest.Received {
	t.Helper()
	got := received(u)
	if len(got) != 1 {
		t.Fatalf("the upstream got %d requests, want 1: %+v", len(got), got)
	}
	return got[0]
}
