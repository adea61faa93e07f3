package rrtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// site is a Caddyfile with one plain site that has the directives.
func site(port int, directives string) string {
	return fmt.Sprintf("http://127.0.0.1:%d {\n%s\n}\n", port, directives)
}

func TestCaddyServesReloadsAndKeepsTheOldConfigWhenTheNewOneFails(t *testing.T) {
	port := FreePort(t)
	url := "http://" + Addr(port)
	c := Start(t, site(port, "respond one"))
	if got := Do(t, "GET", url, "").Body; got != "one" {
		t.Fatalf("got %q", got)
	}
	if err := c.Reload(site(port, "respond two")); err != nil {
		t.Fatal(err)
	}
	if err := c.Reload(site(port, "no_such_directive")); err == nil || !strings.Contains(err.Error(), "Caddyfile:2") {
		t.Errorf("an unknown directive: got error %v", err)
	}
	if err := c.ReloadJSON(`{"apps": {"nothing": {}}}`); err == nil {
		t.Error("an unknown app was loaded")
	}
	if got := Do(t, "GET", url, "").Body; got != "two" {
		t.Errorf("got %q", got)
	}
}

func TestCaddyAdminMetricsAndLogsAreThere(t *testing.T) {
	port := FreePort(t)
	c := Start(t, "{\n\tmetrics\n}\n"+site(port, "log\nrespond {header.X-Ask}"))
	if got := Do(t, "GET", "http://"+Addr(port)+"/logged", "", "X-Ask: hello").Body; got != "hello" {
		t.Fatalf("got %q", got)
	}
	if m := c.Metrics(); !strings.Contains(m, "caddy_http_requests_total") {
		t.Errorf("no request is counted in:\n%s", m)
	}
	if a := c.Admin("GET", "/config/admin/config/persist", ""); a.Status != 200 || strings.TrimSpace(a.Body) != "false" {
		t.Errorf("persist: %d %s", a.Status, a.Body)
	}
	if a := c.Admin("POST", "/config/apps/http/grace_period", `"2s"`); a.Status != 200 {
		t.Errorf("a change through the admin endpoint: %d %s", a.Status, a.Body)
	}
	c.WaitLog(`"uri":"/logged"`)
	levels := map[any]bool{}
	for _, e := range c.LogEntries() {
		levels[e["level"]] = true
	}
	if !levels["debug"] || !levels["info"] {
		t.Errorf("levels in the log: %v", levels)
	}
	if a := c.Admin("GET", "/config/storage/root", ""); !strings.Contains(a.Body, c.Dir) {
		t.Errorf("storage is at %s, not in the temporary directory %s", a.Body, c.Dir)
	}
}

func TestStartErrorReturnsWhyAConfigurationIsRefused(t *testing.T) {
	_, err := StartError(t, site(FreePort(t), "reverse_proxy {\n\tlb_policy no_such\n}"))
	if !strings.Contains(err.Error(), "no_such") {
		t.Errorf("got %v", err)
	}
}

func TestStartJSONRunsAConfiguration(t *testing.T) {
	port := FreePort(t)
	StartJSON(t, fmt.Sprintf(`{"apps": {"http": {"servers": {"s": {"listen": [%q], "routes": [{"handle": [
		{"handler": "static_response", "status_code": 204}]}]}}}}}`, Addr(port)))
	if got := Do(t, "GET", "http://"+Addr(port), "").Status; got != http.StatusNoContent {
		t.Errorf("got %d", got)
	}
}

func TestEveryHTTPVersionReachesATLSSite(t *testing.T) {
	ca, port := NewCA(t), FreePort(t)
	cert, key := ca.Files(t, "localhost", "127.0.0.1")
	Start(t, fmt.Sprintf("https://localhost:%d {\n\ttls %s %s\n\trespond {http.request.proto}\n}", port, cert, key))
	url := fmt.Sprintf("https://localhost:%d/", port)
	for want, client := range map[string]*http.Client{"HTTP/1.1": HTTP1(t, ca), "HTTP/2.0": HTTP2(t, ca), "HTTP/3.0": HTTP3(t, ca)} {
		if a := Send(t, client, Request(t, "GET", url, "")); a.Body != want || a.Proto != want {
			t.Errorf("got %s, answered over %s; want %s", a.Body, a.Proto, want)
		}
	}
	c := DialTLS(t, Addr(port), ca, "localhost")
	c.Say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if a := c.Answer("GET"); a.Body != "HTTP/1.1" {
		t.Errorf("raw TLS: got %q", a.Body)
	}
	if _, err := HTTP1(t, NewCA(t)).Get(url); err == nil {
		t.Error("a client trusts a certificate of another CA")
	}
}

func TestUpstreamsAreReachedThroughReverseProxy(t *testing.T) {
	ca, port := NewCA(t), FreePort(t)
	plain, secure := NewUpstream(t), NewTLSUpstream(t, ca)
	secure.Handle("/grpc", GRPCEcho)
	Start(t, fmt.Sprintf(`http://%s {
		reverse_proxy /h1* %s
		reverse_proxy /h2c* h2c://%s
		reverse_proxy /tls* %s {
			transport http {
				tls_trust_pool file %s
			}
		}
	}`, Addr(port), plain.URL, plain.Addr, secure.URL, ca.File))
	for path, want := range map[string]string{"/h1": "HTTP/1.1", "/h2c": "HTTP/2.0", "/tls": "HTTP/2.0"} {
		a := Do(t, "POST", "http://"+Addr(port)+path, "body")
		u := plain
		if path == "/tls" {
			u = secure
		}
		if got := u.Last(t); a.Status != 200 || got.Proto != want || got.URI != path || got.Body != "body" {
			t.Errorf("%s: %d, received %+v", path, a.Status, got)
		}
	}
}

func TestStartFileFindsImportsBesideTheFile(t *testing.T) {
	port, dir := FreePort(t), t.TempDir()
	for name, text := range map[string]string{
		"Caddyfile": "{\n\tadmin off\n}\nimport part.caddyfile\n", "part.caddyfile": site(port, "respond imported"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := StartFile(t, filepath.Join(dir, "Caddyfile"))
	if got := Do(t, "GET", "http://"+Addr(port), "").Body; got != "imported" {
		t.Errorf("got %q", got)
	}
	if a := c.Admin("GET", "/config/", ""); a.Status != 200 {
		t.Errorf("the admin endpoint: %d", a.Status)
	}
}
