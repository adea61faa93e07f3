package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// kills is what a run of TestKilledWhileRecordsChange has.
type kills struct {
	t       *testing.T
	d       *daemon
	u       *rrtest.Upstream
	random  *rand.Rand
	editors []*editor
	key     string // of the usual proxy
	others  int    // records that no editor has

	lives, early, acknowledged, cut, cutMade, rotations, calls int
	slowest                                                    time.Duration // start
}

// TestKilledWhileRecordsChange kills the process while programs change records through its
// API, and starts it again, RR_KILLS times: what was acknowledged is there, and nothing but
// what was asked for.
func TestKilledWhileRecordsChange(t *testing.T) {
	times := 8
	if text := os.Getenv("RR_KILLS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("RR_KILLS: %v", err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	k := &kills{t: t, u: rrtest.NewUpstream(t), random: rand.New(rand.NewPCG(seed, 1))}
	k.d = newDaemon(t, "store bolt")
	k.key, k.others = k.d.usual(k.u), 4
	for i := range 4 {
		k.editors = append(k.editors, &editor{
			d: k.d, u: k.u, name: fmt.Sprintf("e%d", i), random: rand.New(rand.NewPCG(seed, uint64(i+2))), records: map[string]*known{},
		})
	}
	for ; k.lives < times && !t.Failed(); k.lives++ {
		k.live()
		if k.random.IntN(4) == 0 { // killed while it starts, too
			k.d.launch()
			time.Sleep(time.Duration(k.random.IntN(150)) * time.Millisecond)
			k.d.kill()
			k.early++
		}
		began := time.Now()
		k.d.start()
		k.slowest = max(k.slowest, time.Since(began))
		k.settle()
		k.list()
		k.serve()
		k.log()
	}
	k.d.stop()
	t.Logf("%d kills while records were changed, %d while it started; %d changes acknowledged, %d cut off, of which %d were made; %d rotations of the store's key begun; %d calls through proxies; slowest start %v",
		k.lives, k.early, k.acknowledged, k.cut, k.cutMade, k.rotations, k.calls, k.slowest.Round(time.Millisecond))
}

// live has the editors work until the process is killed. Meanwhile the usual proxy is
// called, and sometimes the store's key is rotated.
func (k *kills) live() {
	var wg sync.WaitGroup
	var done atomic.Int64
	enough, dead := make(chan struct{}), make(chan struct{})
	until := int64(1 + k.random.IntN(60))
	for _, e := range k.editors {
		wg.Go(func() {
			err := e.work(func() {
				if done.Add(1) == until {
					close(enough)
				}
			})
			if err != nil {
				k.t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for {
			a, err := k.d.through("p", "/x", k.key)
			if err != nil {
				return
			}
			if k.calls++; a.Status != http.StatusOK {
				k.t.Errorf("the usual proxy answers %d %s", a.Status, a.Body)
				return
			}
		}
	})
	if k.random.IntN(3) == 0 {
		wg.Go(func() {
			for {
				a, err := k.d.call("POST", "/rr/store/rotate-key", "")
				if k.rotations++; err != nil {
					return
				}
				if a.Status != http.StatusOK {
					k.t.Errorf("the store's key is not rotated: %d %s", a.Status, a.Body)
					return
				}
			}
		})
	}
	go func() { wg.Wait(); close(dead) }()
	select {
	case <-enough:
		time.Sleep(time.Duration(k.random.IntN(6000)) * time.Microsecond) // somewhere in a change
	case <-dead: // all have failed
	case <-time.After(daemonPatience):
		k.t.Error("the editors do not get on")
	}
	k.d.kill()
	<-dead
	k.acknowledged += int(done.Load())
	k.u.Reset()
}

// settle looks whether all is as the editors were told, or as the one request would have
// made it that has no answer, and sends that again.
func (k *kills) settle() {
	for _, e := range k.editors {
		if err := k.settleOne(e); err != nil {
			k.t.Errorf("%s: %v", e.name, err)
		}
	}
}

func (k *kills) settleOne(c *editor) error {
	e := c.open
	for _, id := range slices.Sorted(maps.Keys(c.records)) {
		if r := c.records[id]; e == nil || e.changes != r {
			if found, err := c.check(r); !found || err != nil {
				return fmt.Errorf("%s %s is lost, or not as it was: found %v, %w", r.kind, id, found, err)
			}
		}
	}
	if e == nil {
		return nil
	}
	c.open = nil
	made, err := c.wasMade(e)
	if err != nil {
		return fmt.Errorf("after %s %s %s, which had no answer: %w", e.method, e.path, e.body, err)
	}
	if k.cut++; made {
		k.cutMade++
	}
	a, err := k.d.call(e.method, e.path, e.body, e.headers...)
	if err != nil {
		return err
	}
	want := map[bool]int{true: http.StatusPreconditionFailed, false: http.StatusOK}[made]
	switch {
	case e.again() && e.method == "POST" && a.Status < 300:
		return c.acknowledge(e, a)
	case made && e.deletes:
		want = http.StatusNotFound
	case !made && a.Status == want:
		return c.acknowledge(e, a)
	}
	if a.Status != want {
		return fmt.Errorf("%s %s again (made before: %v): %d %s", e.method, e.path, made, a.Status, a.Body)
	}
	if e.deletes {
		delete(c.records, e.changes.id)
		return nil
	}
	e.apply()
	e.changes.version, e.changes.full = e.changes.version+1, nil
	return nil
}

// wasMade finds out whether a change without an answer was made: all of it, or nothing.
func (c *editor) wasMade(e *edit) (bool, error) {
	if e.changes == nil {
		there := 0
		for _, m := range e.makes {
			found, err := c.check(m)
			if err != nil {
				return false, err
			}
			if found {
				there++
			}
		}
		if there != 0 && there != len(e.makes) {
			return false, fmt.Errorf("%d of %d records are there", there, len(e.makes))
		}
		return there > 0, nil
	}
	before := *e.changes
	found, errBefore := c.check(&before)
	if e.deletes && !found && errBefore == nil {
		return true, nil
	}
	if found && errBefore == nil {
		return false, nil
	}
	after := edit{changes: new(known), then: e.then}
	*after.changes = *e.changes
	after.apply()
	after.changes.version, after.changes.full = after.changes.version+1, nil
	if found, err := c.check(after.changes); !found || err != nil || e.deletes {
		return false, fmt.Errorf("the record is not as before (%w), nor as afterwards (found %v: %w)", errBefore, found, err)
	}
	return true, nil
}

// list looks whether the records are there that the editors know, and no others.
func (k *kills) list() {
	for _, kind := range []string{"credentials", "targets", "proxies"} {
		there := map[any]bool{}
		for cursor := ""; ; {
			a := k.d.ask("GET", kind+"?limit=7&cursor="+url.QueryEscape(cursor), "", http.StatusOK)
			list, err := recordsIn(kind, a.Body)
			if err != nil {
				k.t.Fatal(err)
			}
			for _, r := range list {
				there[r["sKey"]] = true
			}
			var page struct{ Cursor string }
			_ = json.Unmarshal([]byte(a.Body), &page)
			if cursor = page.Cursor; cursor == "" {
				break
			}
		}
		want := 1
		if kind == "credentials" {
			want = 2
		}
		for _, e := range k.editors {
			want += len(e.some(kind, ""))
		}
		if len(there) != want {
			k.t.Errorf("%d %s are listed, there have to be %d", len(there), kind, want)
		}
	}
}

// serve calls all proxies.
func (k *kills) serve() {
	k.d.serves(k.u, k.key)
	for _, e := range k.editors {
		for _, p := range e.some("proxies", "") {
			caller, token, target := e.records[p.set["proxyProxyCredentialId"].(string)], e.records[p.set["proxyTargetCredentialId"].(string)], e.records[p.set["proxyTargetId"].(string)]
			names := []string{p.id}
			if alias, ok := p.set["proxyAlias"].(string); ok {
				names = append(names, alias)
			}
			for _, name := range names {
				a, err := k.d.through(name, "/x", caller.secret)
				var got rrtest.Echoed
				if err != nil || a.Status != http.StatusOK || json.Unmarshal([]byte(a.Body), &got) != nil {
					k.t.Errorf("proxy %s answers %d %s %v", name, a.Status, a.Body, err)
					continue
				}
				if want := strings.TrimPrefix(target.set["targetBaseURL"].(string), k.u.URL) + "/x"; got.URI != want || got.Header.Get("Authorization") != "Bearer "+token.secret {
					k.t.Errorf("proxy %s sends %s with %q; it has to be %s with %q", name, got.URI, got.Header.Get("Authorization"), want, token.secret)
				}
			}
		}
	}
}

// log looks whether the audit log is whole, and has each change of each record once.
func (k *kills) log() {
	var verdict struct {
		Valid   bool
		Entries uint64
		Detail  string
	}
	if err := json.Unmarshal([]byte(k.d.ask("GET", "/rr/audit/verify", "", http.StatusOK).Body), &verdict); err != nil || !verdict.Valid {
		k.t.Errorf("the audit log is not whole: %+v %v", verdict, err)
	}
	a, err := k.d.call("GET", "/rr/audit", "", "Accept: application/x-ndjson")
	if err != nil {
		k.t.Fatal(err)
	}
	changes := map[string]uint64{}
	deleted := map[string]bool{}
	count, err := audit.Verify(func(yield func(audit.Entry, error) bool) {
		for e, err := range audit.ReadLines(strings.NewReader(a.Body)) {
			if e.Resource != "rules" && e.Resource != "store" {
				changes[e.ID]++
				deleted[e.ID] = e.Action == "delete"
			}
			if !yield(e, err) {
				return
			}
		}
	})
	if err != nil || count != verdict.Entries {
		k.t.Errorf("%d entries are in order, the gateway says %d: %v", count, verdict.Entries, err)
	}
	there := k.others
	for _, e := range k.editors {
		for id, r := range e.records {
			if there++; changes[id] != r.version || deleted[id] {
				k.t.Errorf("%s %s has version %d, and %d entries in the audit log", r.kind, id, r.version, changes[id])
			}
		}
	}
	for id := range changes {
		if !deleted[id] {
			there--
		}
	}
	if there != 0 {
		k.t.Errorf("%d records more than the audit log has", there)
	}
}
