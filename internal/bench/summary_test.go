package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedianOfOddAndEvenCounts(t *testing.T) {
	for want, figures := range map[float64][]float64{
		7:   {7},
		2:   {3, 1, 2},
		2.5: {4, 1, 3, 2},
	} {
		if got := median(figures); got != want {
			t.Errorf("median of %v is %v, want %v", figures, got, want)
		}
	}
}

// cpuTurns has one turn for each figure of CPU microseconds per request, with ten times
// that as its latency.
func cpuTurns(us ...int) []turn {
	turns := make([]turn, len(us))
	for i, n := range us {
		took := time.Duration(n) * time.Microsecond
		turns[i] = turn{cpu: took, perSecond: 1000, busy: 1, p50: 10 * took, p99: 20 * took}
	}
	return turns
}

var onOneCore = part{Name: "one-core", Title: "One core", Pinned: true}

// twoRows are compared in a run whose machine was half as fast in the second
// round: only the paired ratio, 1.04, does not see it.
func twoRows(promise float64) []measured {
	return []measured{
		{row: row{Name: "plain"}, turns: cpuTurns(100, 200, 100), heaps: []perRequest{{objects: 200, bytes: 16000}}},
		{row: row{Name: "guarded", Against: "plain", HeapAgainst: "plain", Promise: promise, Warm: true}, turns: cpuTurns(104, 208, 110), heaps: []perRequest{{objects: 207, bytes: 17500}}},
	}
}

func TestBothFiguresAreHeldAgainstThePromise(t *testing.T) {
	for promise, want := range map[float64]string{1.05: "kept", 1.04: "kept", 1.03: "missed", 0: ""} {
		results := summarize(onOneCore, twoRows(promise))
		got := results[1]
		if !near(got.Paired, 1.04) || !near(got.Medians, 1.10) || !near(got.Lowest, 1.04) || !near(got.More, 8) || !near(got.LowestMore, 4) {
			t.Fatalf("figures: %+v", got)
		}
		if got.Verdict != want {
			t.Errorf("promise %v: %q, want %q", promise, got.Verdict, want)
		}
		if results[0].Verdict != "" || results[0].Paired != 0 {
			t.Errorf("a row compared with nothing has a verdict: %+v", results[0])
		}
	}
	for want, figures := range map[string][2]float64{
		"kept":                                {2, 1},
		"kept (median), missed by the lowest": {2, 3},
		"missed (median), kept by the lowest": {3, 2},
		"missed":                              {3, 3},
	} {
		if got := verdict(figures[0], figures[1], 2); got != want {
			t.Errorf("%v against 2: %q, want %q", figures, got, want)
		}
	}
}

func TestPromisesAreJudgedWhereTheyAreMade(t *testing.T) {
	promised := row{Name: "guarded", Against: "plain", Adds: 8 * time.Microsecond, Warm: true}
	all := []measured{{row: row{Name: "plain"}, turns: cpuTurns(100, 200, 100)}, {row: promised, turns: cpuTurns(104, 208, 110)}}
	if got := summarize(onOneCore, all)[1]; got.Verdict != "kept" || !near(got.Adds, 8) || got.promise() != "≤ 8 µs more (+8.0, lowest +4.0)" {
		t.Errorf("on one core: %+v", got)
	}
	if got := summarize(part{}, all)[1]; got.Verdict != "" || got.Adds != 0 || !near(got.More, 8) {
		t.Errorf("on all cores: %+v", got)
	}
	if got := summarize(part{Pinned: true, Rate: true}, all)[1]; got.Verdict != "missed (median), kept by the lowest" || !near(got.Latency, 50) || !near(got.Later, 80) || !near(got.LowestLate, 40) {
		t.Errorf("at a rate: %+v", got)
	}
}

func TestEnforceNamesWhatIsAboveItsLimit(t *testing.T) {
	of := func(p part, limit float64) []report {
		all := twoRows(1.02)
		all[1].row.Limit = limit
		return []report{{p, summarize(p, all)}}
	}
	over := of(onOneCore, 1.03)
	if err := enforce(options{}, over); err != nil {
		t.Errorf("not asked to enforce, yet: %v", err)
	}
	if err := enforce(options{enforce: true}, over); err == nil || err.Error() != "guarded costs 1.04 × plain, the limit is 1.03 ×" {
		t.Errorf("said %v", err)
	}
	for name, fine := range map[string][]report{
		"a missed promise within the limit": of(onOneCore, 1.5),
		"no limit":                          of(onOneCore, 0),
		"another part":                      of(part{Pinned: true, Rate: true}, 1.03),
		"all cores":                         of(part{}, 1.03),
	} {
		if err := enforce(options{enforce: true}, fine); err != nil {
			t.Errorf("%s, yet: %v", name, err)
		}
	}
}

func TestHeapPromiseIsJudgedByBothCounts(t *testing.T) {
	other := result{Name: "plain", Heap: &heapResult{Objects: 200, Bytes: 16000}}
	for want, h := range map[string]heapResult{
		"kept":                             {Objects: 208.4, Bytes: 17024},
		"kept by objects, missed by bytes": {Objects: 208.4, Bytes: 17025},
		"kept by bytes, missed by objects": {Objects: 208.6, Bytes: 17024},
		"missed":                           {Objects: 209, Bytes: 17300},
	} {
		if h.compare(other, true); h.Verdict != want || h.Against != "plain" {
			t.Errorf("%+v, want %q", h, want)
		}
	}
	h := heapResult{Objects: 300, Bytes: 30000}
	if h.compare(other, false); h.Verdict != "" || h.MoreObjects != 100 || h.MoreBytes != 14000 {
		t.Errorf("without a promise: %+v", h)
	}
}

func TestHeapPerRequestTakesOffWhatAskingCosts(t *testing.T) {
	got := heapPerRequest(heap{1000, 50_000}, heap{1100, 60_000}, heap{3200, 170_000}, 100)
	if got != (perRequest{objects: 20, bytes: 1000}) {
		t.Errorf("got %+v", got)
	}
}

// reportOf is what the program would print of two rows in all parts.
func reportOf(t *testing.T, busy float64) string {
	t.Helper()
	all := twoRows(1.02)
	all = append(all, measured{row: row{Name: controlRow, Against: "plain"}, turns: cpuTurns(101, 198, 103), heaps: all[0].heaps})
	for i := range all {
		for j := range all[i].turns {
			all[i].turns[j].busy = busy
		}
	}
	var reports []report
	for _, p := range parts {
		seen := slices.Clone(all)
		for i := range seen {
			if !p.heap() {
				seen[i].heaps = nil
			}
		}
		reports = append(reports, report{p, summarize(p, seen)})
	}
	var out bytes.Buffer
	printReport(&out, options{lives: 1, rounds: 3, rate: 1000}, about{Date: "2026-01-02", Machine: "a machine", Go: "1.26", Caddy: "2.11", Missing: []string{"nginx"}, Command: "make bench"}, reports)
	return out.String()
}

func TestTablesHaveAllCellsInEveryRow(t *testing.T) {
	out := reportOf(t, 1)
	cells := 0
	for line := range strings.Lines(out) {
		switch {
		case !strings.HasPrefix(line, "|"):
			cells = 0
		case cells == 0:
			cells = strings.Count(line, "|")
		case strings.Count(line, "|") != cells:
			t.Errorf("not %d cells: %s", cells, line)
		}
	}
	for _, want := range []string{
		"2026-01-02, a machine, Go 1.26, Caddy 2.11. 3 rounds", "not installed: nginx.",
		"| guarded | 1000 | 100 % | 110.0 [104.0–208.0] | plain | 1.100 | 1.040 | 1.040 | ≤ 1.02 | missed |",
		"| guarded | 207.0 | 17500 | plain | +7.0 | +1500 | ≤ 8, ≤ 1024 | kept by objects, missed by bytes |",
		"| guarded | 1000 | 1100.0 [1040.0–2080.0] | 2200 | plain | +80 | +40 | ≤ 50 µs more | missed (median), kept by the lowest |",
		"`control`, which is `bare` once more, is +1.0 % (paired) and +1.0 % (lowest) off.",
		"`control`, which is `bare` once more, is +10 µs (paired) and +10 µs (lowest) off.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestReportWarnsOfACoreThatWasShared(t *testing.T) {
	for busy, warned := range map[float64]int{0.97: 0, 0.55: 1} { // once, where gateways have a core
		if out := reportOf(t, busy); strings.Count(out, "quiet machine") != warned {
			t.Errorf("core busy %v:\n%s", busy, out)
		}
	}
}

func TestJSONHasTheFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := writeJSON(path, options{lives: 1, rounds: 3}, about{Machine: "m"}, []report{{onOneCore, summarize(onOneCore, twoRows(1.05))}}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Machine string
		Parts   []struct{ Rows []result }
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if out.Machine != "m" || len(out.Parts) != 1 || len(out.Parts[0].Rows) != 2 || !near(out.Parts[0].Rows[1].Paired, 1.04) || out.Parts[0].Rows[1].Verdict != "kept" {
		t.Errorf("wrote %s", text)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
