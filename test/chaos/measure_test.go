package chaos

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// level is what the process holds when nobody calls.
type level struct {
	goroutines, descriptors int
	heap                    int64 // bytes in use after a collection
}

func (l level) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MiB of heap", l.goroutines, l.descriptors, float64(l.heap)/(1<<20))
}

// above tells by what a level is higher than before. Some goroutines and descriptors come and
// go by themselves; a heap of twice the size and 16 MiB holds what caches may.
func (l level) above(before level) bool {
	return l.goroutines > before.goroutines+10 || l.descriptors > before.descriptors+6 || l.heap > 2*before.heap+16<<20
}

var (
	goroutinesIn = regexp.MustCompile(`goroutine profile: total (\d+)`)
	heapIn       = regexp.MustCompile(`# HeapAlloc = (\d+)`)
)

// take measures the process once.
func (w *world) take() (l level, err error) {
	number := func(path string, in *regexp.Regexp) int64 {
		a, e := w.gw.ask("GET", path, "")
		m := in.FindStringSubmatch(a.Body)
		if e != nil || m == nil {
			err = fmt.Errorf("%s: %d %v", path, a.Status, e)
			return 0
		}
		n, _ := strconv.ParseInt(m[1], 10, 64)
		return n
	}
	l.heap = number("/debug/pprof/heap?debug=1&gc=1", heapIn)
	l.goroutines = int(number("/debug/pprof/goroutine?debug=1", goroutinesIn))
	if canLimit {
		w.gw.withPID(func(pid int) {
			n, e := descriptors(pid)
			l.descriptors = n
			if err == nil {
				err = e
			}
		})
	}
	return l, err
}

// measure is the level when nobody calls and no connection waits: the lowest of some.
func (w *world) measure() level {
	for _, p := range []*party{w.up.party, w.idp.party, w.tokens.party, w.login.party} {
		p.idle()
	}
	var lowest level
	for n := range 5 {
		time.Sleep(500 * time.Millisecond)
		l, err := w.take()
		if err != nil {
			w.judge.violate("the process cannot be measured: %v", err)
			return lowest
		}
		if n == 0 {
			lowest = l
		}
		lowest.goroutines = min(lowest.goroutines, l.goroutines)
		lowest.descriptors = min(lowest.descriptors, l.descriptors)
		lowest.heap = min(lowest.heap, l.heap)
	}
	return lowest
}

// settle waits until the process holds no more than before.
func (w *world) settle(before level) {
	var after level
	for end := time.Now().Add(patience); ; {
		if after = w.measure(); !after.above(before) {
			break
		}
		if time.Now().After(end) {
			w.judge.violate("the process holds more than before: %s, it was %s", after, before)
			a, _ := w.gw.ask("GET", "/debug/pprof/goroutine?debug=1", "")
			w.t.Logf("%.6000s", a.Body)
			break
		}
	}
	w.t.Logf("when nobody called, the process held before: %s; after: %s", before, after)
}
