package rr_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-rr/caddy-rr"
)

const (
	callerKey = "rr_live_caller-0123456789abcdef0123456789abcdef"
	otherKey  = "rr_live_other-fedcba9876543210fedcba9876543210"
	vendorKey = "sk_test_vendor-89abcdef0123456789abcdef01234567"
)

// gateway is Caddy with rr, in this process. Only one runs at a time.
type gateway struct {
	t     testing.TB
	addr  string // of the site
	admin string
	logs  *logBuffer
	vars  map[string]string
}

// start runs Caddy with a Caddyfile in which GATEWAY, ADMIN and the names of vars stand
// for addresses. Everything below log level debug is in gateway.logs.
func start(t testing.TB, caddyfile string, vars map[string]string) *gateway {
	t.Helper()
	g := &gateway{t: t, addr: freeAddr(t), admin: freeAddr(t), logs: newLogBuffer(t), vars: vars}
	if err := g.load(caddyfile); err != nil {
		t.Fatalf("loading: %v", err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return g
}

const globalOptions = `
	admin ADMIN
	persist_config off
	auto_https off
	skip_install_trust
	grace_period 2s
	storage file_system STORAGE
	log {
		level DEBUG
		output rrtest LOGBUFFER
	}
`

// adapt turns a Caddyfile into JSON.
func (g *gateway) adapt(caddyfile string) ([]byte, error) {
	text := strings.Replace(caddyfile, "GLOBAL", globalOptions, 1)
	for name, value := range g.vars {
		text = strings.ReplaceAll(text, name, value)
	}
	text = strings.NewReplacer("GATEWAY", g.addr, "GATEPORT", g.addr[strings.LastIndexByte(g.addr, 0x3a)+1:], "ADMIN", g.admin, "LOGBUFFER", g.logs.id,
		"STORAGE", filepath.Join(os.TempDir(), "rr-test-storage")).Replace(text)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	return adapted, err
}

func (g *gateway) load(caddyfile string) error {
	adapted, err := g.adapt(caddyfile)
	if err != nil {
		return err
	}
	return caddy.Load(adapted, true)
}

// do sends a request; headers are "Name: value".
func (g *gateway) do(method, path, body string, headers ...string) *answer {
	g.t.Helper()
	req, err := http.NewRequest(method, "http://"+g.addr+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return send(g.t, plainClient, req)
}

func (g *gateway) get(path string, headers ...string) *answer {
	g.t.Helper()
	return g.do(http.MethodGet, path, "", headers...)
}

var plainClient = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       20 * time.Second,
}

type answer struct {
	*http.Response
	body string
}

func send(t testing.TB, c *http.Client, req *http.Request) *answer {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{res, string(b)}
}

func (a *answer) code() string { return a.Header.Get("RR-Proxy-Code") }

// want checks status and code.
func (a *answer) want(t testing.TB, status int, code string) {
	t.Helper()
	if a.StatusCode != status || a.code() != code {
		t.Errorf("got %d %q, want %d %q; body %.200s", a.StatusCode, a.code(), status, code, a.body)
	}
}

// raw sends bytes over TCP and returns everything that comes back until the server closes
// or falls silent.
func (g *gateway) raw(text string) string {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		g.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var out bytes.Buffer
	res, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &out)), nil)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	return out.String()
}

func (g *gateway) adminGet(path string) string {
	g.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+g.admin+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return send(g.t, plainClient, req).body
}

func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// received is a request as the upstream got it.
type received struct {
	Method, URI, Host, Body string
	Header                  http.Header
	Trailer                 http.Header
}

// upstream records what it gets and answers with what f says, or 200 "ok".
type upstream struct {
	*httptest.Server
	mu  sync.Mutex
	got []received
}

func newUpstream(t testing.TB, f http.HandlerFunc) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewServer(u.handler(f))
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) handler(f http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f != nil {
			u.record(r, "")
			f(w, r)
			return
		}
		body, _ := io.ReadAll(r.Body)
		u.record(r, string(body))
		fmt.Fprint(w, "ok")
	})
}

func (u *upstream) record(r *http.Request, body string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, received{r.Method, r.RequestURI, r.Host, body, r.Header.Clone(), r.Trailer.Clone()})
}

// take returns what was received since the last take.
func (u *upstream) take() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.got
	u.got = nil
	return got
}

// one returns the only request received since the last take.
func (u *upstream) one(t testing.TB) received {
	t.Helper()
	got := u.take()
	if len(got) != 1 {
		t.Fatalf("the upstream got %d requests, want 1: %+v", len(got), got)
	}
	return got[0]
}

func (u *upstream) addr() string { return u.Listener.Addr().String() }

// logBuffer is a log output in memory.
type logBuffer struct {
	id  string
	mu  sync.Mutex
	buf bytes.Buffer
}

var logBuffers sync.Map

func newLogBuffer(t testing.TB) *logBuffer {
	b := &logBuffer{id: strings.NewReplacer("/", "_", "#", "_").Replace(t.Name())}
	logBuffers.Store(b.id, b)
	t.Cleanup(func() { logBuffers.Delete(b.id) })
	return b
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) Close() error { return nil }

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// entries returns the log entries with this message.
func (b *logBuffer) entries(msg string) (list []map[string]any) {
	for line := range strings.SplitSeq(b.String(), "\n") {
		var e map[string]any
		if json.Unmarshal([]byte(line), &e) == nil && e["msg"] == msg {
			list = append(list, e)
		}
	}
	return list
}

// wait waits for a log entry with this message that fits; log lines of a request may
// come after its answer.
func (b *logBuffer) wait(t testing.TB, msg string, fits func(map[string]any) bool) map[string]any {
	t.Helper()
	for range 200 {
		list := b.entries(msg)
		if i := slices.IndexFunc(list, fits); i >= 0 {
			return list[i]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("no log entry %q that fits in:\n%s", msg, b)
	return nil
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 500 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("in 5 s it did not happen that %s", what)
}
