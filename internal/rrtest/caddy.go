package rrtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // adapter, handlers, metrics
)

// running is held while a Caddy runs: there is one per process, as Caddy's state is global.
var running sync.Mutex

// Caddy is the server that runs in this process.
type Caddy struct {
	// AdminAddr is the admin endpoint, a Unix socket, as `caddy reload --address` takes it.
	AdminAddr string
	// Dir is the data directory, a temporary one.
	Dir string

	t      testing.TB
	socket string
}

// Start adapts a Caddyfile, runs it, and stops it when the test ends. What the Caddyfile
// does not say is set for tests: logs go to memory at debug level, storage and admin
// endpoint are temporary, nothing is persisted, automatic HTTPS is off, sites
// listen on 127.0.0.1, and the grace period is one second. The admin endpoint is there even if the Caddyfile turns it off.
// Tests that use it cannot run in parallel.
func Start(t testing.TB, caddyfile string) *Caddy {
	t.Helper()
	c := prepare(t)
	if err := c.Reload(caddyfile); err != nil {
		t.Fatalf("the configuration does not load: %v", err)
	}
	return c
}

// StartFile is Start for a Caddyfile in a file; its imports are found beside it.
func StartFile(t testing.TB, file string) *Caddy {
	t.Helper()
	c := prepare(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	config, err := adapt(text, file)
	if err == nil {
		err = c.ReloadJSON(config)
	}
	if err != nil {
		t.Fatalf("%s does not load: %v", file, err)
	}
	return c
}

// StartJSON is Start for a JSON configuration.
func StartJSON(t testing.TB, config string) *Caddy {
	t.Helper()
	c := prepare(t)
	if err := c.ReloadJSON(config); err != nil {
		t.Fatalf("the configuration does not load: %v", err)
	}
	return c
}

// StartError loads a Caddyfile that must be refused, and returns the log and the error.
func StartError(t testing.TB, caddyfile string) (logs string, err error) {
	t.Helper()
	c := prepare(t)
	if err = c.Reload(caddyfile); err == nil {
		t.Fatal("the configuration loads; it must be refused")
	}
	return c.Logs(), err
}

func prepare(t testing.TB) *Caddy {
	t.Helper()
	if !running.TryLock() {
		t.Fatal("another Caddy runs in this process; use its Reload, and no t.Parallel")
	}
	logged.reset()
	// not t.TempDir: its path holds the test's name, and a socket's path is short
	dir, err := os.MkdirTemp("", "rr")
	if err != nil {
		running.Unlock()
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "admin")
	t.Setenv("XDG_DATA_HOME", dir) // where the default store is
	c := &Caddy{AdminAddr: "unix/" + socket, Dir: filepath.Join(dir, "data"), t: t, socket: socket}
	t.Cleanup(func() {
		defer running.Unlock()
		defer os.RemoveAll(dir)
		if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
			c.drain()
		}
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", tail(logged.String(), 16<<10))
		}
	})
	return c
}

// drain waits until no request goes to an upstream any more, for a second at most. When
// Caddy is stopped it closes WebSockets without regard to who writes to them, which over
// HTTP/2 is a race.
func (c *Caddy) drain() {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var upstreams []struct {
			Requests int `json:"num_requests"`
		}
		if json.Unmarshal([]byte(c.Admin("GET", "/reverse_proxy/upstreams", "").Body), &upstreams) != nil {
			return
		}
		busy := 0
		for _, u := range upstreams {
			busy += u.Requests
		}
		if busy == 0 {
			return
		}
	}
}

// stop stops Caddy with its admin endpoint, which caddy.Stop alone leaves open.
func stop() error {
	nothing := `{"admin": {"disabled": true, "config": {"persist": false}},
		"logging": {"logs": {"default": {"level": "DEBUG", "writer": {"output": "rrtest_memory"}}}}}`
	return errors.Join(caddy.Load([]byte(nothing), true), caddy.Stop())
}

// tail is the end of s, whole lines of at most n bytes.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	_, rest, _ := strings.Cut(s[len(s)-n:], "\n")
	return "…\n" + rest
}

// Adapt turns a Caddyfile into JSON, as `caddy adapt` does.
func Adapt(caddyfile string) (config string, err error) {
	return adapt([]byte(caddyfile), "Caddyfile")
}

func adapt(text []byte, file string) (config string, err error) {
	b, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": file})
	return string(b), err
}

// Reload replaces the running configuration, as `caddy reload --force` does. On error the
// old one still runs.
func (c *Caddy) Reload(caddyfile string) error {
	config, err := Adapt(caddyfile)
	if err != nil {
		return err
	}
	return c.ReloadJSON(config)
}

// ReloadJSON is Reload for a JSON configuration.
func (c *Caddy) ReloadJSON(config string) error {
	ready, err := c.forTests(config)
	if err != nil {
		return err
	}
	return caddy.Load(ready, true)
}

// forTests sets what the configuration leaves open.
func (c *Caddy) forTests(config string) ([]byte, error) {
	var cfg map[string]any
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return nil, fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	admin := object(cfg, "admin")
	admin["listen"] = c.AdminAddr
	delete(admin, "disabled")
	object(admin, "config")["persist"] = false
	if _, said := cfg["storage"]; !said {
		cfg["storage"] = map[string]any{"module": "file_system", "root": c.Dir}
	}
	logs := object(object(cfg, "logging"), "logs")
	object(logs, "default")
	for name := range logs {
		log := object(logs, name)
		if _, said := log["writer"]; !said {
			log["writer"] = map[string]any{"output": "rrtest_memory"}
		}
		if _, said := log["level"]; !said {
			log["level"] = "DEBUG"
		}
	}
	apps := object(cfg, "apps")
	if _, said := apps["http"]; said {
		httpForTests(object(apps, "http"))
	}
	return json.Marshal(cfg)
}

func httpForTests(app map[string]any) {
	if _, said := app["grace_period"]; !said {
		app["grace_period"] = "1s"
	}
	servers := object(app, "servers")
	for name := range servers {
		server := object(servers, name)
		if _, said := server["automatic_https"]; !said {
			server["automatic_https"] = map[string]any{"disable": true}
		}
		listen, _ := server["listen"].([]any)
		for i, addr := range listen {
			if port, ok := addr.(string); ok && strings.HasPrefix(port, ":") {
				listen[i] = "127.0.0.1" + port
			}
		}
	}
}

// object returns the object at key, making it if it is not there.
func object(parent map[string]any, key string) map[string]any {
	o, ok := parent[key].(map[string]any)
	if !ok {
		o = map[string]any{}
		parent[key] = o
	}
	return o
}

// Admin asks the admin endpoint. A body is sent as JSON.
func (c *Caddy) Admin(method, path, body string) Answer {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.AdminRequest(req)
}

// AdminRequest sends a request to the admin endpoint, whatever its host is.
func (c *Caddy) AdminRequest(req *http.Request) Answer {
	c.t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}}
	return Send(c.t, client, req)
}

// Metrics returns what Prometheus would scrape from the admin endpoint.
func (c *Caddy) Metrics() string {
	c.t.Helper()
	a := c.Admin("GET", "/metrics", "")
	if a.Status != http.StatusOK {
		c.t.Fatalf("/metrics answers %d: %s", a.Status, a.Body)
	}
	return a.Body
}
