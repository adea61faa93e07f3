package inject

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

func init() { caddy.RegisterModule(new(recordHandler)) }

// recordHandler is what stands before reverse_proxy for a proxy that was made through the
// API: its target is one record and its credential another.
type recordHandler struct {
	Target TargetSpec     `json:"target"`
	Allow  []netip.Prefix `json:"allow"`

	inner Handler
}

// recordRoots are trusted by targets of records in tests, since those have no option.
var recordRoots atomic.Pointer[x509.CertPool]

func (*recordHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_record", New: func() caddy.Module { return new(recordHandler) }}
}

func (h *recordHandler) Provision(ctx caddy.Context) error {
	o := host.RecordOptions{Egress: h.Allow}
	target, err := NewTarget(host.NewRecordLoader(ctx, ctx.Logger(h), o), "t", &h.Target)
	if err != nil {
		return err
	}
	if pool := recordRoots.Load(); pool != nil && target.scheme == "https" {
		target.transport.Transport.TLSClientConfig.RootCAs = pool
	}
	present := json.RawMessage(`{"kind":"bearer","token":"vendor-{env.HOME}-0123456789"}`)
	h.inner = Handler{Deferred: true, log: ctx.Logger(h)}
	if h.inner.gate, err = NewGate(host.NewRecordLoader(ctx, ctx.Logger(h), o), "p", "proxy p", target, present, nil); err != nil {
		return err
	}
	h.inner.answers, err = exchange.NewAnswers("", false)
	return err
}

func (h *recordHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	x, _ := exchange.Begin(r.Context())
	x.Answers, x.Input = h.inner.answers, rule.Input{Method: r.Method, Path: r.URL.Path, Request: r}
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Map(x.Placeholder)
	return h.inner.ServeHTTP(w, r.WithContext(x), next)
}

// recordGateway is a configuration with a site for each target, told apart by Host.
func recordGateway(t testing.TB, port int, sites map[string]recordHandler) string {
	t.Helper()
	var routes []any
	for name, h := range sites {
		handler := map[string]any{"handler": "test_record", "target": h.Target, "allow": h.Allow}
		proxy := map[string]any{"handler": "reverse_proxy", "transport": map[string]any{"protocol": "rr"}, "upstreams": []any{map[string]any{"dial": "{rr.upstream}"}}}
		routes = append(routes, map[string]any{"match": []any{map[string]any{"host": []string{name}}}, "handle": []any{handler, proxy}})
	}
	server := map[string]any{"listen": []string{fmt.Sprintf(":%d", port)}, "routes": routes}
	config, err := json.Marshal(map[string]any{"apps": map[string]any{"http": map[string]any{"servers": map[string]any{"s": server}}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(config)
}

const (
	openGranted = "200 proxy-access-granted"
	openRefused = "403 address-not-allowed"
)

// ask sends a request to a site and tells status and code. Right after a reload Caddy's old
// server may still accept a connection and close it.
func ask(t testing.TB, port int, site string) string {
	t.Helper()
	req := rrtest.Request(t, "GET", "http://"+rrtest.Addr(port)+"/v1", "", "Host: "+site)
	res, err := rrtest.HTTP1(t, nil).Do(req)
	for try := 0; err != nil && try < 100; try++ {
		time.Sleep(10 * time.Millisecond)
		res, err = rrtest.HTTP1(t, nil).Do(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	a := rrtest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(body)}
	if a.Status != http.StatusOK && (strings.Contains(a.Body, "127.0.0.1") || !strings.Contains(a.Body, `"code":`)) {
		t.Errorf("%s: the caller sees %s", site, a.Body)
	}
	return fmt.Sprint(a.Status, " ", a.Header.Get("RR-Proxy-Code"))
}

// TestRecordTargets goes through Caddy: what a record's target may not reach is refused
// before there is even a connection, over every protocol.
func TestRecordTargets(t *testing.T) {
	rrtest.NoLeak(t)
	names := rrtest.NewNames(t)
	names.Set("moves.example", "203.0.113.7")
	names.Set("inside.example", "127.0.0.1")
	names.Set("metadata.example", "169.254.169.254")
	ca := rrtest.NewCA(t)
	recordRoots.Store(ca.Pool)
	defer recordRoots.Store(nil)
	plain, secure := rrtest.NewUpstream(t), rrtest.NewTLSUpstream(t, ca, "moves.example")
	closed, connections := rrtest.CountConnections(t)
	_, closedPort, _ := net.SplitHostPort(closed)
	_, plainPort, _ := net.SplitHostPort(plain.Addr)
	_, securePort, _ := net.SplitHostPort(secure.Addr)
	port := rrtest.FreePort(t)
	site := func(url string, allow ...netip.Prefix) recordHandler {
		return recordHandler{Target: TargetSpec{URL: url}, Allow: allow}
	}
	insecure := func(h recordHandler) recordHandler { h.Target.InsecureHTTP = true; return h }
	sites := map[string]recordHandler{
		"open.plain":         site(plain.URL, loopback...),
		"open.insecure":      insecure(site(plain.URL, loopback...)),
		"open.h2c":           site("h2c://"+plain.Addr, loopback...),
		"open.tls":           site(secure.URL, loopback...),
		"open.name":          site("http://inside.example:"+plainPort, loopback...),
		"closed.plain":       site("http://127.0.0.1:" + closedPort),
		"closed.insecure":    insecure(site("http://127.0.0.1:" + closedPort)),
		"closed.h2c":         site("h2c://127.0.0.1:" + closedPort),
		"closed.tls":         site("https://127.0.0.1:" + closedPort),
		"closed.spelling":    site("https://0x7f.1:" + closedPort),
		"closed.mapped":      site("https://[::ffff:127.0.0.1]:" + closedPort),
		"closed.localhost":   site("https://localhost:" + closedPort),
		"closed.name":        site("https://inside.example:" + closedPort),
		"closed.metadata":    site("https://metadata.example:"+closedPort, loopback...),
		"closed.unspecified": site("https://0.0.0.0:"+closedPort, loopback...),
		"moves":              site("https://moves.example:" + closedPort),
		"moves.open":         site("https://moves.example:"+securePort, loopback...),
	}
	c := rrtest.StartJSON(t, recordGateway(t, port, sites))
	for name := range sites {
		kind, _, _ := strings.Cut(name, ".")
		if got := ask(t, port, name); kind == "open" && got != openGranted || kind == "closed" && got != openRefused && name != "closed.spelling" {
			t.Errorf("%s: %s", name, got)
		}
	}
	// the Go resolver takes 0x7f.1 for a name, the C library's for 127.0.0.1
	if got := ask(t, port, "closed.spelling"); got != openRefused && got != "502 upstream-unreachable" {
		t.Errorf("0x7f.1: %s", got)
	}
	// a record is made while the name leads to a public address, and then that changes
	if err := CheckTarget(t.Context(), &TargetSpec{URL: "https://moves.example"}, nil); err != nil {
		t.Errorf("a public name: %v", err)
	}
	names.Set("moves.example", "127.0.0.1")
	if got := ask(t, port, "moves"); got != openRefused {
		t.Errorf("a name that leads to this machine by now: %s", got)
	}
	if got := ask(t, port, "moves.open"); got != openGranted {
		t.Errorf("the same, opened: %s", got)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made to closed addresses", n)
	}
	for _, u := range []*rrtest.Upstream{plain, secure} {
		for _, r := range u.Received() {
			if r.Header.Get("Authorization") != "Bearer vendor-{env.HOME}-0123456789" {
				t.Errorf("the upstream got %v", r.Header)
			}
		}
	}
	if last := secure.Last(t); last.Proto != "HTTP/2.0" {
		t.Errorf("TLS was %s", last.Proto)
	}
	for _, e := range c.LogEntries() {
		if e["msg"] == "refused" && e["code"] == "address-not-allowed" && !strings.Contains(fmt.Sprint(e["reason"]), "the address ") {
			t.Errorf("the log does not tell the address: %v", e)
		}
	}
}

// TestRecordWebSocket: upgrades go the same way.
func TestRecordWebSocket(t *testing.T) {
	rrtest.NoLeak(t)
	u := rrtest.NewUpstream(t)
	u.Handle("/ws", rrtest.WebSocketEcho)
	port := rrtest.FreePort(t)
	rrtest.StartJSON(t, recordGateway(t, port, map[string]recordHandler{
		"open":   {Target: TargetSpec{URL: u.URL}, Allow: loopback},
		"closed": {Target: TargetSpec{URL: u.URL}},
	}))
	status, c := rrtest.WebSocket(t, nil, "http://"+rrtest.Addr(port)+"/ws", "Host: open")
	if status != http.StatusSwitchingProtocols || !rrtest.Echoes(t, c, "hello") {
		t.Errorf("opened: %d", status)
	}
	u.Reset()
	if status, _ := rrtest.WebSocket(t, nil, "http://"+rrtest.Addr(port)+"/ws", "Host: closed"); status != http.StatusForbidden || len(u.Received()) != 0 {
		t.Errorf("closed: %d", status)
	}
}

// TestRecordConnectionsAreOfTheirTarget: what one configuration has opened is no way out
// for the next, which has not.
func TestRecordConnectionsAreOfTheirTarget(t *testing.T) {
	rrtest.NoLeak(t)
	u := rrtest.NewUpstream(t)
	port := rrtest.FreePort(t)
	open := recordGateway(t, port, map[string]recordHandler{
		"one": {Target: TargetSpec{URL: u.URL}, Allow: loopback}, "two": {Target: TargetSpec{URL: u.URL}},
	})
	c := rrtest.StartJSON(t, open)
	for range 3 { // over the same connection
		if got := ask(t, port, "one"); got != openGranted {
			t.Errorf("opened: %s", got)
		}
		if got := ask(t, port, "two"); got != openRefused {
			t.Errorf("beside it: %s", got)
		}
	}
	if err := c.ReloadJSON(recordGateway(t, port, map[string]recordHandler{"one": {Target: TargetSpec{URL: u.URL}}})); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, port, "one"); got != openRefused {
		t.Errorf("after the range was closed: %s", got)
	}
}
