package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// reloads is a site for each of a plain reverse_proxy and rr_proxy, with a part that
// changes. Connections to the upstream that an old configuration leaves idle (Caddy's
// own habit) end after a second instead of two minutes, so that leaks can be told.
const reloads = `{
	rr {
		credential agent accept key {env.RR_CALLER}
		target t http://UPSTREAM {
			transport http {
				keepalive 1s
			}
		}
		proxy p {
			accept credential agent
			target t
			present bearer {env.RR_VENDOR}
			default deny
			allow GET /v1/*
			allow GET /changes/CHANGE
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
http://:PLAINPORT {
	header X-Change CHANGE
	reverse_proxy UPSTREAM {
		transport http {
			keepalive 1s
		}
	}
}
`

// tally counts what callers saw.
type tally struct {
	right, wrong, cut, closed atomic.Int64
	first                     atomic.Value
}

// hammer asks over one kept-alive connection after another until stop is closed. A
// connection that closes between two answers is closed; one that ends within an answer
// is cut.
func (n *tally) hammer(addr string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			n.closed.Add(1)
			continue
		}
		n.talk(conn, addr, stop)
		conn.Close()
	}
}

func (n *tally) talk(conn net.Conn, addr string, stop <-chan struct{}) {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	for {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := io.WriteString(conn, "GET /v1/x HTTP/1.1\r\nHost: "+addr+"\r\n"+withKey+"\r\n\r\n"); err != nil {
			n.closed.Add(1)
			return
		}
		if _, err := r.Peek(1); err != nil {
			n.closed.Add(1)
			return
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			n.cut.Add(1)
			return
		}
		body, err := io.ReadAll(res.Body)
		switch {
		case err != nil:
			n.cut.Add(1)
			return
		case res.StatusCode == 200 && string(body) == "hello":
			n.right.Add(1)
		default:
			n.wrong.Add(1)
			n.first.CompareAndSwap(nil, fmt.Sprint(res.StatusCode, " ", string(body)))
		}
		if res.Close {
			return
		}
	}
}

// TestReloadsUnderLoad reloads 200 times, with two different configurations, while
// callers ask through rr_proxy and through a plain reverse_proxy.
func TestReloadsUnderLoad(t *testing.T) {
	rrtest.NoLeak(t)
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	u.Handle("/v1/x", rrtest.Status(200, "hello"))
	vars := []string{"UPSTREAM", u.Addr, "PLAINPORT", fmt.Sprint(rrtest.FreePort(t)), "CHANGE", "0"}
	g := start(t, reloads, vars...)
	plain := "127.0.0.1:" + vars[3]
	// quiet: debug logs of this load would fill the memory
	var rr, bare tally
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { rr.hammer(g.addr, stop) })
		wg.Go(func() { bare.hammer(plain, stop) })
	}
	quiet := func(change int) string {
		g.vars[5] = fmt.Sprint(change)
		return strings.Replace(g.fill(reloads), "{\n", "{\n\tlog {\n\t\tlevel ERROR\n\t}\n", 1)
	}
	goroutines, heap := usage()
	for i := range 200 {
		if err := g.Reload(quiet(i)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("rr_proxy: %d right, %d wrong, %d cut, %d closed; reverse_proxy: %d right, %d wrong, %d cut, %d closed",
		rr.right.Load(), rr.wrong.Load(), rr.cut.Load(), rr.closed.Load(),
		bare.right.Load(), bare.wrong.Load(), bare.cut.Load(), bare.closed.Load())
	if rr.wrong.Load() > 0 || rr.cut.Load() > 0 || rr.right.Load() < 200 {
		t.Errorf("wrong or cut answers; the first wrong one: %v", rr.first.Load())
	}
	// Caddy's own listener drops some connections at each reload, by chance; the same
	// number of callers must not lose clearly more
	if n, limit := rr.closed.Load(), 2*bare.closed.Load()+100; n > limit {
		t.Errorf("%d connections were closed, with reverse_proxy %d", n, bare.closed.Load())
	}
	// what old configurations leave behind ends within seconds (shutdowns, and Caddy's
	// locks of its storage)
	var now, mem float64
	for range 150 {
		if now, mem = usage(); now <= goroutines+20 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("goroutines %v → %v, heap %.1f → %.1f MiB", goroutines, now, heap, mem)
	if now > goroutines+20 || mem > heap+16 {
		t.Errorf("200 reloads leave goroutines or memory behind: %v → %v, %.1f → %.1f MiB\n%s", goroutines, now, heap, mem, stacks())
	}
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// usage is the number of goroutines and the live heap in MiB.
func usage() (goroutines, heap float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(runtime.NumGoroutine()), float64(m.HeapAlloc) / (1 << 20)
}

// TestAFailedReloadChangesNothing loads configurations that fail late: in a site after
// the rr app, and when a server starts.
func TestAFailedReloadChangesNothing(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	limited := throttled(3)
	g := start(t, limited, "UPSTREAM", u.Addr)
	g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	before := metric(t, g, `caddy_rr_requests_total{outcome="proxy-access-granted",proxy="p"}`)

	t.Setenv("RR_CALLER", otherKey+"-new")
	for name, broken := range map[string]string{
		"a site that does not load":  strings.Replace(oneProxy, "rr_proxy p", "rr_proxy p\n\ttls /nonexistent.pem /nonexistent.key", 1),
		"a server that cannot start": oneProxy + "http://127.0.0.1:" + taken.Addr().String()[strings.LastIndexByte(taken.Addr().String(), ':')+1:] + " {\n\tbind 127.0.0.1\n\trespond ok\n}\n",
		"a secret that is gone":      strings.ReplaceAll(oneProxy, "RR_VENDOR", "RR_NOT_THERE"),
	} {
		if err := g.reload(broken); err == nil {
			t.Fatalf("%s: the configuration loads", name)
		}
		g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
		g.get("/v1/x", "X-API-Key: "+otherKey+"-new").want(t, 401, "proxy-access-denied")
	}
	// the throttle of the old configuration, 3 failures, still holds
	wrong := []string{"Authorization: Basic Ym9iOndyb25n", from()}
	for range 3 {
		g.get("/v1/x", wrong...).want(t, 401, "proxy-access-denied")
	}
	g.get("/v1/x", wrong...).want(t, 429, "too-many-failures")
	if after := metric(t, g, `caddy_rr_requests_total{outcome="proxy-access-granted",proxy="p"}`); after != before+3 {
		t.Errorf("the metric went from %v to %v", before, after)
	}
}

func metric(t *testing.T, g *gateway, series string) float64 {
	t.Helper()
	for line := range strings.SplitSeq(g.Metrics(), "\n") {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			var v float64
			if _, err := fmt.Sscan(rest, &v); err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no %s in\n%s", series, g.Metrics())
	return 0
}

// TestMetrics: series survive a reload and end with their proxy.
func TestMetrics(t *testing.T) {
	g, _ := startOne(t)
	g.get("/v1/x", withKey).want(t, 200, "proxy-access-granted")
	g.get("/v1/x").want(t, 401, "proxy-access-denied")
	const granted = `caddy_rr_requests_total{outcome="proxy-access-granted",proxy="p"}`
	before := metric(t, g, granted)
	if err := g.reload(strings.Replace(oneProxy, "deny /v1/admin", "deny /v1/other", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/v1/x", withKey)
	if after := metric(t, g, granted); after != before+1 {
		t.Errorf("a reload took the count from %v to %v", before, after)
	}
	for _, name := range []string{"caddy_rr_verify_duration_seconds_count", "caddy_rr_upstream_duration_seconds_count"} {
		if metric(t, g, name+`{proxy="p"}`) < 1 {
			t.Errorf("%s does not count", name)
		}
	}
	if err := g.reload(strings.NewReplacer("proxy p", "proxy q", "rr_proxy p", "rr_proxy q").Replace(oneProxy)); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "the series of a removed proxy are gone", func() bool { return !strings.Contains(g.Metrics(), `proxy="p"`) })
}

// TestPatchingTheRunningConfiguration changes a rule and a target through /config/.
func TestPatchingTheRunningConfiguration(t *testing.T) {
	g, u := startOne(t)
	g.get("/v9/x", withKey).want(t, 403, "proxy-access-denied")
	if a := g.Admin("PATCH", "/config/apps/rr/proxies/p/rules/0/paths", `["/v9/*"]`); a.Status != 200 {
		t.Fatalf("PATCH answers %d: %s", a.Status, a.Body)
	}
	g.get("/v9/x", withKey).want(t, 200, "proxy-access-granted")
	if a := g.Admin("PATCH", "/config/apps/rr/proxies/p/target", `"http://`+u.Addr+`/other"`); a.Status != 200 {
		t.Fatalf("PATCH answers %d: %s", a.Status, a.Body)
	}
	received(u)
	g.get("/v9/x", withKey).want(t, 200, "proxy-access-granted")
	if got := one(t, u); got.URI != "/other/v9/x" {
		t.Errorf("the upstream got %s", got.URI)
	}
	if a := g.Admin("PATCH", "/config/apps/rr/proxies/p/rules/0/path_regexp", `"("`); a.Status < 400 || !strings.Contains(a.Body, "rules/0/path_regexp") {
		t.Errorf("a wrong rule: %d %s", a.Status, a.Body)
	}
	if a := g.Admin("POST", "/config/apps/rr/proxies/p/rulez", `[]`); a.Status < 400 {
		t.Errorf("an unknown field: %d", a.Status)
	}
	g.get("/v9/x", withKey).want(t, 200, "proxy-access-granted")
	var cfg struct{ Apps map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(g.Admin("GET", "/config/", "").Body), &cfg); err != nil || !strings.Contains(string(cfg.Apps["rr"]), "{env.RR_VENDOR}") {
		t.Errorf("/config/ has no placeholder: %v %s", err, cfg.Apps["rr"])
	}
}

// throttled is oneProxy with a limit of failures per hour. The table of failures is the
// process's, so each test takes an address of its own, which a trusted proxy tells.
func throttled(failures int) string {
	s := strings.Replace(oneProxy, "throttle off", fmt.Sprintf("throttle %d 1h", failures), 1)
	return strings.Replace(s, "{\n", "{\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}\n", 1)
}

var addresses atomic.Int32

// from is a header by which a request comes from an address of its own.
func from() string {
	n := addresses.Add(1)
	return fmt.Sprintf("X-Forwarded-For: 198.51.%d.%d", n/256, n%256)
}

func TestThrottle(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, throttled(5), "UPSTREAM", u.Addr)
	const right, wrong = "Authorization: Basic Ym9iOnNlc2FtZQ==", "Authorization: Basic Ym9iOndyb25n" // bob:sesame, bob:wrong
	me, other := from(), from()
	for range 20 {
		g.get("/v1/x", right, me).want(t, 200, "proxy-access-granted") // successes never count
	}
	for range 5 {
		g.get("/v1/x", wrong, me).want(t, 401, "proxy-access-denied")
	}
	last := g.get("/v1/x", wrong, me)
	last.want(t, 429, "too-many-failures")
	if after := last.Header.Get("Retry-After"); after == "" || after == "0" {
		t.Errorf("Retry-After is %q", after)
	}
	g.get("/v1/x", "Authorization: Basic ZXZlOng=", me).want(t, 429, "too-many-failures") // nor for unknown users
	g.get("/v1/x", right, me).want(t, 200, "proxy-access-granted")                        // a cached verdict
	g.get("/v1/x", withKey, me).want(t, 200, "proxy-access-granted")                      // a digest
	g.get("/v1/x", "X-API-Key: wrong-and-cheap-to-tell", me).want(t, 401, "proxy-access-denied")
	g.get("/v1/x", me).want(t, 401, "proxy-access-denied")
	g.get("/v1/x", wrong, other).want(t, 401, "proxy-access-denied")
}
