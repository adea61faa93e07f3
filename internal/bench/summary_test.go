package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
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

// cpuTurns has one turn for each figure of CPU microseconds per request.
func cpuTurns(us ...int) []turn {
	turns := make([]turn, len(us))
	for i, n := range us {
		turns[i] = turn{cpu: time.Duration(n) * time.Microsecond, perSecond: 1000, busy: 1}
	}
	return turns
}

// twoRows are compared in a run whose machine was half as fast in the second
// round: only the paired ratio, 1.04, does not see it.
func twoRows(promise float64) []measured {
	heaps := []perRequest{{objects: 200, bytes: 16000}}
	return []measured{
		{row: row{Name: "plain"}, turns: cpuTurns(100, 200, 100), heaps: heaps},
		{row: row{Name: "guarded", Against: "plain", Promise: promise}, turns: cpuTurns(104, 208, 110), heaps: heaps},
	}
}

func TestPairedRatioDecidesThePromise(t *testing.T) {
	for promise, verdict := range map[float64]string{1.05: keptPromise, 1.04: keptPromise, 1.03: missedPromise, 0: ""} {
		results := summarize(twoRows(promise))
		got := results[1]
		if !near(got.Paired, 1.04) || !near(got.Medians, 1.10) || !near(got.Lowest, 1.04) {
			t.Fatalf("ratios: %+v", got)
		}
		if got.Verdict != verdict {
			t.Errorf("promise %v: %q, want %q", promise, got.Verdict, verdict)
		}
		if results[0].Verdict != "" || results[0].Paired != 0 {
			t.Errorf("a row compared with nothing has a verdict: %+v", results[0])
		}
	}
}

func TestEnforceNamesWhatWasMissed(t *testing.T) {
	results := summarize(twoRows(1.02))
	if err := enforce(options{}, results); err != nil {
		t.Errorf("not asked to enforce, yet: %v", err)
	}
	err := enforce(options{enforce: true}, results)
	if err == nil || err.Error() != "guarded costs 1.040 × plain, promised is 1.02 ×" {
		t.Errorf("said %v", err)
	}
	if err := enforce(options{enforce: true}, summarize(twoRows(1.05))); err != nil {
		t.Errorf("kept, yet: %v", err)
	}
}

func TestHeapPerRequestTakesOffWhatAskingCosts(t *testing.T) {
	got := heapPerRequest(heap{1000, 50_000}, heap{1100, 60_000}, heap{3200, 170_000}, 100)
	if got != (perRequest{objects: 20, bytes: 1000}) {
		t.Errorf("got %+v", got)
	}
}

func TestTableHasAllCellsInEveryRow(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, options{lives: 1, rounds: 3, rate: 1000}, summarize(twoRows(1.02)))
	cells := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if cells == 0 {
			cells = strings.Count(line, "|")
		}
		if strings.Count(line, "|") != cells {
			t.Errorf("not %d cells: %s", cells, line)
		}
	}
	for _, want := range []string{"| guarded | 1000 | 100 % | 110.0 [104.0–208.0] |", "| plain | 1.100 | 1.040 | 1.040 | ≤ 1.02 | missed |", "guarded adds +0 µs to the median latency of plain."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestTableWarnsOfACoreThatWasShared(t *testing.T) {
	for busy, warned := range map[float64]bool{0.97: false, 0.55: true} {
		results := summarize(twoRows(1.05))
		results[1].Busy = busy
		var out bytes.Buffer
		printTable(&out, options{}, results)
		if strings.Contains(out.String(), "quiet machine") != warned {
			t.Errorf("core busy %v:\n%s", busy, out.String())
		}
	}
}

func TestJSONHasTheFigures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := writeJSON(path, options{lives: 1, rounds: 3}, summarize(twoRows(1.05))); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ Rows []result }
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Rows) != 2 || !near(out.Rows[1].Paired, 1.04) || out.Rows[1].Verdict != keptPromise {
		t.Errorf("wrote %s", text)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
