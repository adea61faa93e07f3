//go:build unix

package test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/bolt"
	"github.com/caddy-rr/caddy-rr/verify"
)

// perProxy is how many credentials a proxy of the scale test accepts.
const perProxy = 1000

// TestScale measures what a store of many credentials costs: `make bench-scale` runs it with
// RR_SCALE=1000000. With a small number it is an ordinary test of the same code.
func TestScale(t *testing.T) {
	n := 2000
	if s := os.Getenv("RR_SCALE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil || n < perProxy || n%perProxy != 0 {
			t.Fatalf("RR_SCALE is a multiple of %d, not %q", perProxy, s)
		}
	} else if testing.Short() {
		t.Skip("not with -short")
	}
	dir := t.TempDir()
	began := time.Now()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer up.Close()
	seedScale(t, dir, n, up.URL)
	t.Logf("%d credentials written in %v", n, time.Since(began).Round(time.Millisecond))
	s := scale{t: t, n: n, dir: dir}
	s.rest()
	s.requests()
	s.report()
}

type scale struct {
	t   *testing.T
	n   int
	dir string

	start, change     time.Duration
	resting, compiled float64
	removal           time.Duration
	look, whole       compared
}

func scaleStore(t *testing.T, dir string) *store.Store {
	t.Helper()
	b := &bolt.Bolt{Path: filepath.Join(dir, "rr.db")}
	backend, err := b.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Backend: backend, KeyFile: filepath.Join(dir, "rr.key")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scaleKey(i int) string { return fmt.Sprintf("rr_live_scale-%032d", i) }

// seedScale writes a store with n key credentials, all of them accepted by some proxy.
func seedScale(t *testing.T, dir string, n int, upstream string) {
	t.Helper()
	s := scaleStore(t, dir)
	head := func() store.Head {
		id, err := uuid.NewV7()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		return store.Head{ID: id.String(), Client: store.DefaultClient, CreatedAt: now, UpdatedAt: now}
	}
	apply := func(puts []store.Put) {
		if _, err := s.Apply(t.Context(), puts...); err != nil {
			t.Fatal(err)
		}
	}
	target := &store.Target{Head: head(), Name: "vendor", URL: upstream}
	injected := &store.Credential{Head: head(), Name: "vendor-key", Side: store.TargetSide, AuthType: "bearer",
		Spec: store.Secret(`{"kind":"bearer","token":"sk_test_0123456789abcdef"}`)}
	apply([]store.Put{
		{Bucket: store.Targets, Key: target.ID, Version: 1, Value: target},
		{Bucket: store.Credentials, Key: injected.ID, Version: 1, Value: injected},
	})
	for i := 0; i < n; i += perProxy {
		var puts []store.Put
		p := &store.Proxy{Head: head(), Name: fmt.Sprintf("p%d", i/perProxy), TargetID: target.ID, TargetCredentialID: injected.ID,
			Rules: []store.Rule{{ID: "r", Rule: rule.Rule{Effect: rule.Allow, Paths: []string{"/ok"}}}}}
		for j := i; j < i+perProxy; j++ {
			c := &store.Credential{Head: head(), Name: fmt.Sprintf("caller-%07d", j), Side: store.ProxySide, AuthType: "key",
				Spec: store.Secret(`{"kind":"key","hashes":["` + verify.FormatHash(scaleKey(j)) + `"]}`)}
			p.CredentialIDs = append(p.CredentialIDs, c.ID)
			puts = append(puts, store.Put{Bucket: store.Credentials, Key: c.ID, Version: 1, Value: c})
		}
		apply(append(puts, store.Put{Bucket: store.Proxies, Key: p.ID, Version: 1, Value: p}))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// rest measures the start, the room, and single changes, without requests.
func (s *scale) rest() {
	st := scaleStore(s.t, s.dir)
	before := heap()
	began := time.Now()
	r, err := catalog.OpenRecords(s.t.Context(), st, zap.NewNop())
	if err != nil {
		s.t.Fatal(err)
	}
	s.start = time.Since(began)
	s.resting = (heap() - before) / float64(s.n)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	c := catalog.New(ctx, zap.NewNop(), catalog.Options{})
	if err := c.Open(r); err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	defer c.Close()
	var creates, deletes []time.Duration
	who := audit.Actor{Kind: "admin", Name: "scale"}
	for i := range 101 {
		rec := &store.Credential{Head: store.Head{Client: store.DefaultClient}, Name: fmt.Sprintf("new-%d", i), Side: store.ProxySide, AuthType: "key",
			Spec: store.Secret(`{"kind":"key","hashes":["` + verify.FormatHash(scaleKey(s.n+i)) + `"]}`)}
		began := time.Now()
		if err := c.Change(s.t.Context(), who, func(tx *catalog.Tx) error { return tx.Put("create", rec) }); err != nil {
			s.t.Fatal(err)
		}
		creates = append(creates, time.Since(began))
		began = time.Now()
		if err := c.Change(s.t.Context(), who, func(tx *catalog.Tx) error { return tx.Delete(rec, false) }); err != nil {
			s.t.Fatal(err)
		}
		deletes = append(deletes, time.Since(began))
	}
	slices.Sort(creates)
	slices.Sort(deletes)
	s.change, s.removal = creates[50], deletes[50]
}

// requests measures what it costs to recognise a caller: the same one always, and any of all.
func (s *scale) requests() {
	start(s.t, `{
		log {
			output discard
			level PANIC
		}
		rr {
			egress allow 127.0.0.0/8
			store bolt `+filepath.Join(s.dir, "rr.db")+`
		}
	}
	:GATEPORT {
		log_skip
		rr_gateway /api/*
	}`)
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		s.t.Fatal(err)
	}
	var server *caddyhttp.Server
	for _, x := range app.(*caddyhttp.App).Servers {
		server = x
	}
	ask := func(i int, path string, want int) {
		r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("/api/p%d%s", i/perProxy, path), nil)
		r.Header.Set("Authorization", "Bearer "+scaleKey(i))
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if w.Code != want {
			s.t.Fatalf("caller %d: status %d: %s", i, w.Code, w.Body)
		}
	}
	before := heap()
	for i := 0; i < s.n; i += perProxy {
		ask(i, "/ok", http.StatusOK)
	}
	s.compiled = (heap() - before) / float64(s.n)
	// recognised, and denied by the proxy's default; recognised and forwarded
	s.look = s.compare(20_000, func(i int) { ask(i, "/no", http.StatusForbidden) })
	s.whole = s.compare(4_000, func(i int) { ask(i, "/ok", http.StatusOK) })
}

// compared are the medians of rounds that alternate, in ns of CPU, and of their ratios.
type compared struct{ one, many, ratio float64 }

// cpuTime is what this process has had of the cores, so that others on the machine matter less.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// compare holds requests of any of all callers against those of always the same.
func (s *scale) compare(requests int, ask func(int)) compared {
	round := func(next func() int) float64 {
		began := cpuTime()
		for range requests {
			ask(next())
		}
		return float64((cpuTime() - began).Nanoseconds()) / float64(requests)
	}
	rounds := 5
	if s.n > 10_000 {
		rounds = 15
	}
	one := rand.IntN(s.n)
	var ones, manys, ratios []float64
	for range rounds {
		a := round(func() int { return one })
		b := round(func() int { return rand.IntN(s.n) })
		ones, manys, ratios = append(ones, a), append(manys, b), append(ratios, b/a)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	return compared{median(ones), median(manys), median(ratios)}
}

func (s *scale) report() {
	row := func(what, value, promise string, kept bool) {
		verdict := "kept"
		if !kept {
			verdict = "missed"
		}
		if s.n < 1_000_000 || promise == "" {
			verdict = ""
		}
		fmt.Printf("| %s | %s | %s | %s |\n", what, value, promise, verdict)
	}
	fmt.Printf("\n%d key credentials, %d proxies, %d cores, %s\n\n| what | measured | promise | |\n| --- | --- | --- | --- |\n", s.n, s.n/perProxy, runtime.GOMAXPROCS(0), runtime.Version())
	row("start (records read)", s.start.Round(time.Millisecond).String(), "≤ 10 s", s.start <= 10*time.Second)
	row("heap for each, at rest", fmt.Sprintf("%.0f bytes", s.resting), "≤ 400 bytes", s.resting <= 400)
	row("more heap for each, once its proxy was asked for", fmt.Sprintf("%.0f bytes", s.compiled), "", true)
	row("one create (median)", s.change.String(), "≤ 5 ms", s.change <= 5*time.Millisecond)
	row("one delete (median)", s.removal.String(), "≤ 5 ms", s.removal <= 5*time.Millisecond)
	row("recognise a caller, then refuse: any of all / always the same", s.look.text(), "", true)
	row("the same, forwarded", s.whole.text(), "≤ 1.1", s.whole.ratio <= 1.1)
}

func (c compared) text() string {
	return fmt.Sprintf("%.1f µs / %.1f µs = %.2f", c.many/1000, c.one/1000, c.ratio)
}
