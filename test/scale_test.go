//go:build unix

package test

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// fullScale is the number of credentials for which promises are made.
const fullScale = 1_000_000

// TestScale measures what many of a kind cost: credentials in a store, rules, proxies,
// connections and streams. `make bench-scale` runs it with RR_SCALE=1000000, which is the
// number of credentials; the others follow it. With a small number it is an ordinary
// test of the same code. It prints Markdown, for docs/performance.md.
func TestScale(t *testing.T) {
	s := &scale{n: 2 * perProxy}
	if text := os.Getenv("RR_SCALE"); text != "" {
		var err error
		if s.n, err = strconv.Atoi(text); err != nil || s.n < perProxy || s.n%perProxy != 0 {
			t.Fatalf("RR_SCALE is a multiple of %d, not %q", perProxy, text)
		}
	} else if testing.Short() {
		t.Skip("not with -short")
	}
	for _, n := range s.steps(s.n, 1, 1_000, 100_000, fullScale) {
		t.Run(fmt.Sprint("credentials ", n), func(t *testing.T) { s.credentials(t, n) })
	}
	for _, n := range s.steps(s.n/100, 1, 10, 100, 1_000, 10_000) {
		t.Run(fmt.Sprint("rules ", n), func(t *testing.T) { s.rules(t, n) })
	}
	for _, n := range s.steps(s.n/100, 1, 100, 10_000) {
		t.Run(fmt.Sprint("proxies ", n), func(t *testing.T) { s.proxies(t, n) })
	}
	for _, handler := range []string{"reverse_proxy", "rr_proxy"} {
		t.Run("connections of "+handler, func(t *testing.T) { s.connections(t, handler, max(s.n/200, 20)) })
	}
	s.report()
}

// scale is what has been measured.
type scale struct {
	n      int // credentials at most
	lines  []scaleLine
	others []string // figures that the table has no column for
}

// scaleLine is so many of one kind. What is zero was not measured.
type scaleLine struct {
	what          string
	number        int
	start, reload time.Duration // from the Caddyfile to serving
	heap          float64       // bytes of all
	each          float64       // bytes more for each
	request       compared
}

// steps are the numbers up to the highest, and the highest.
func (s *scale) steps(highest int, numbers ...int) []int {
	var steps []int
	for _, n := range numbers {
		if n < highest {
			steps = append(steps, n)
		}
	}
	return append(steps, highest)
}

// add adds a line. Without a figure for each, it is what is more than in the first line of
// the kind, shared out, if that is more than what a heap varies by.
func (s *scale) add(l scaleLine) {
	first := slices.IndexFunc(s.lines, func(first scaleLine) bool { return first.what == l.what })
	if first >= 0 && l.each == 0 && l.heap-s.lines[first].heap > 1<<20 {
		l.each = (l.heap - s.lines[first].heap) / float64(l.number-s.lines[first].number)
	}
	s.lines = append(s.lines, l)
}

// promise adds a figure with what is promised for it at full scale.
func (s *scale) promise(what, value, promise string, kept bool) {
	verdict := "kept"
	if !kept {
		verdict = "missed"
	}
	if s.n < fullScale || promise == "" {
		verdict = ""
	}
	s.others = append(s.others, fmt.Sprintf("| %s | %s | %s | %s |\n", what, value, promise, verdict))
}

func (s *scale) report() {
	fmt.Printf("\n%s, %d cores of %s, %s, Caddy %s: `make bench-scale SCALE=%d`.\n\n",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), processor(), strings.Replace(runtime.Version(), "go", "Go ", 1), caddyVersion(), s.n)
	fmt.Println("| what | number | start | reload | memory | more for each | CPU µs/request | against one |\n| --- | --: | --: | --: | --: | --: | --: | --: |")
	for _, l := range s.lines {
		cells := []string{l.what, fmt.Sprint(l.number), "", "", fmt.Sprintf("%.1f MiB", l.heap/(1<<20)), "", "", ""}
		if l.start > 0 {
			cells[2] = l.start.Round(time.Millisecond).String()
		}
		if l.reload > 0 {
			cells[3] = l.reload.Round(time.Millisecond).String()
		}
		if l.each != 0 {
			cells[5] = fmt.Sprintf("%.0f bytes", l.each)
		}
		if l.request.many > 0 {
			cells[6] = fmt.Sprintf("%.1f", l.request.many/1000)
		}
		if l.number > 1 && l.request.many > 0 {
			cells[7] = fmt.Sprintf("%+.1f µs, %.2f ×", l.request.more/1000, l.request.ratio)
		}
		fmt.Printf("| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Printf("\n| what | measured | promise | |\n| --- | --- | --- | --- |\n%s\n", strings.Join(s.others, ""))
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// caddyVersion is that of the binary which the tests build; a test's own is not told.
func caddyVersion() string {
	path, err := binary()
	if err != nil {
		return err.Error()
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/caddyserver/caddy/v2" {
			return strings.TrimPrefix(d.Version, "v")
		}
	}
	return "of an unknown version"
}

// heap is the live heap of this process in bytes, once it does not change any more: what
// ran before may still be ending.
func heap() float64 {
	live := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	last := live()
	for range 40 {
		time.Sleep(50 * time.Millisecond)
		now := live()
		if math.Abs(now-last) < 16<<10 {
			return now
		}
		last = now
	}
	return last
}

// cpuTime is what this process has had of the cores, so that others on the machine matter less.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// scaled is a gateway with many of something, in this process.
type scaled struct {
	*gateway
	start, reload time.Duration
	heap          float64 // bytes
	server        *caddyhttp.Server
}

// startScaled loads a Caddyfile, whose global option rr and site are given, into a Caddy that
// runs without rr, loads it again, and measures what that takes. It logs nothing.
func startScaled(t *testing.T, rr, site string) *scaled {
	t.Helper()
	const quiet = "{\n\tlog {\n\t\toutput discard\n\t\tlevel PANIC\n\t}\n"
	caddyfile := quiet + "\trr {\n" + rr + "\n\t}\n}\n:GATEPORT {\n\tlog_skip\n\t" + site + "\n}\n"
	g := &scaled{gateway: start(t, quiet+"}\n:GATEPORT {\n\trespond ok\n}\n")}
	load := func() time.Duration {
		began := time.Now()
		if err := g.gateway.reload(caddyfile); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	before := heap()
	g.start = load()
	reloads := []time.Duration{load(), load(), load()}
	slices.Sort(reloads)
	g.reload = reloads[1]
	g.heap = heap() - before
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		g.server = server
	}
	return g
}

// ask sends a request through the server, without a connection.
func (g *scaled) ask(path, key string, want int) {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	g.server.ServeHTTP(w, r)
	if w.Code != want {
		g.t.Fatalf("%s: status %d: %s", path, w.Code, w.Body)
	}
}

// compared are the medians of rounds that alternate, in ns of CPU, and of their ratios and
// differences.
type compared struct{ one, many, ratio, more float64 }

// compare holds requests of any of many against those of always the same one.
func (s *scale) compare(requests int, one, many func()) compared {
	rounds := 15
	if s.n < 100_000 {
		requests, rounds = requests/20, 3
	}
	round := func(ask func()) float64 {
		began := cpuTime()
		for range requests {
			ask()
		}
		return float64((cpuTime() - began).Nanoseconds()) / float64(requests)
	}
	var ones, manys, ratios, more []float64
	for range rounds {
		a := round(one)
		b := round(many)
		ones, manys, ratios, more = append(ones, a), append(manys, b), append(ratios, b/a), append(more, b-a)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	return compared{median(ones), median(manys), median(ratios), median(more)}
}

// anyOf asks for any of n, and always for the same one.
func (s *scale) anyOf(requests, n int, ask func(int)) compared {
	same := rand.IntN(n)
	return s.compare(requests, func() { ask(same) }, func() { ask(rand.IntN(n)) })
}

func (c compared) text() string {
	return fmt.Sprintf("%.1f µs / %.1f µs = %.2f", c.many/1000, c.one/1000, c.ratio)
}
