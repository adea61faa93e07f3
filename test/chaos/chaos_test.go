package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// short is how long faults happen when nothing else is said: so that everything together
// takes three minutes at most.
const short = 100 * time.Second

// world is all that takes part in a run.
type world struct {
	t      *testing.T
	judge  *judge
	bodies *scanner // answers
	gw     *gateway
	config *config

	up            *upstream
	idp           *provider
	tokens, login *issuer
	mint          *idp.Key

	callers *callers
	editors []*editor
	made    steady

	only        *regexp.Regexp // the faults that shall happen, nil: all
	canSetClock bool
	scarce      atomic.Bool  // descriptors are
	settled     atomic.Bool  // withdrawn keys are known to be
	over        atomic.Bool  // the editors shall end
	ahead       atomic.Int64 // how far the gateway's clock is
	steps       atomic.Int64 // of the clock

	reloading               sync.Mutex // held while the configuration in force may change
	variant, valid, invalid int

	healed time.Duration // the longest that it took

	mu    sync.Mutex
	cause error // nothing can go on
}

// steady is what was made through the API before the faults began.
type steady struct{ key, replaced, deleted, blocked, token string }

func (w *world) fatal(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cause = errors.Join(w.cause, err)
}

func (w *world) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// TestChaos has everything around the gateway fail, alone and together, under load, for as
// long as CHAOS says (a duration such as 15m). CHAOS_SEED repeats the decisions of a run, and
// CHAOS_FAULTS, a regular expression, leaves the faults with such a name alone.
func TestChaos(t *testing.T) {
	length, seed := short, rand.Uint64()
	if text := os.Getenv("CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS: %v", err)
		}
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	t.Logf("%s of faults; to repeat their choice: CHAOS=%s CHAOS_SEED=%d", length, length, seed)
	w := newWorld(t, seed)
	if text := os.Getenv("CHAOS_FAULTS"); text != "" {
		var err error
		if w.only, err = regexp.Compile(text); err != nil {
			t.Fatalf("CHAOS_FAULTS: %v", err)
		}
	}
	w.run(length, rand.New(rand.NewPCG(seed, 0)))
	for _, why := range w.judge.violations {
		t.Error(why)
		if id := idIn.FindString(why); id != "" {
			t.Logf("the gateway's log about it, if it still has that:\n%s", strings.Join(w.gw.output.about(id), ""))
		}
	}
	if more := w.judge.bad - len(w.judge.violations); more > 0 {
		t.Errorf("and %d more", more)
	}
}

// idIn is the name of a call in what the judge says.
var idIn = regexp.MustCompile(`\b(ok|bad)-\d+`)

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, judge: newJudge(), bodies: new(scanner), idp: newProvider(t), tokens: newTokens(t), login: newLogin(t), mint: idp.NewKey(t, "ES256", "")}
	right := map[string]func(*http.Request) string{
		"oauth": issuedBy(w.tokens, "Authorization", "Bearer "), "login": issuedBy(w.login, "X-Session", ""), "mint": mintedFor(w.mint),
	}
	w.up = newUpstream(t, right)
	w.gw = newGateway(t, newDisk(t))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway's log ends:\n%s", w.gw.output.tail())
		}
	})
	w.config = newConfig(t, w.gw, w.up, w.idp, w.tokens, w.login, w.mint)
	vendor := w.config.vendor
	right["keyed"] = bearer(vendor.token)
	right["jwt"] = func(r *http.Request) string { return wrongUnless(r.Header.Get("X-Vendor") == vendor.key) }
	right["opaque"] = func(r *http.Request) string { return wrongUnless(r.URL.Query().Get("key") == vendor.key) }
	w.callers = &callers{gate: w.gw.gate, judge: w.judge, bodies: w.bodies, seed: seed}
	w.variant = 1
	w.gw.configure(w.config.text(1, true))
	if err := w.gw.start(); err != nil {
		t.Fatal(err)
	}
	w.judge.season(inForce)
	w.canSetClock = w.gw.setClock(0) == nil
	w.notHere()
	for i := range 2 {
		w.editors = append(w.editors, newEditor(w, i))
	}
	w.prepare()
	return w
}

func wrongUnless(right bool) string {
	if right {
		return ""
	}
	return "not the vendor's key"
}

// notHere says which faults this machine or user cannot bring about.
func (w *world) notHere() {
	for what, can := range map[string]bool{
		"a full disk: " + w.gw.disk.why:                                  w.gw.disk.own,
		"no descriptors, and a process that stands still: on Linux only": canLimit,
		"clocks that are set: on Linux, on amd64 and arm64 only":         w.canSetClock,
	} {
		if !can {
			w.t.Run("fault", func(t *testing.T) { t.Skip("not here: " + what) })
		}
	}
}

// prepare makes through the API what the steady callers use, and what they must not.
func (w *world) prepare() {
	e := newEditor(w, 9)
	w.made.token, w.made.blocked = secret(ofVendor), "revoked-"+strconv.FormatInt(time.Now().UnixNano(), 36)
	w.up.steady = w.made.token
	w.made.replaced = e.create("credentials", "steady-caller", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q}`)
	w.made.deleted = e.create("credentials", "steady-gone", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q}`)
	e.create("credentials", "steady-token", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":%q,"credentialSecret":{"token":"`+w.made.token+`"}}`)
	e.create("targets", "steady-target", `{"targetName":%q,"targetBaseURL":"`+w.up.url()+`/made"}`)
	e.create("proxies", "steady", `{"proxyName":%q,"proxyProxyCredentialIds":["steady-caller","steady-gone"],"proxyTargetId":"steady-target","proxyTargetCredentialId":"steady-token"}`)
	e.sees("steady", w.made.replaced, granted, w.made.token)
	e.sees("steady", w.made.deleted, granted, w.made.token)
	w.made.key = keyIn(e.change("POST", "credentials/steady-caller/rotate", "{}").Body)
	e.remove("credentials", "steady-gone", true)
	e.change("POST", "blocklist", fmt.Sprintf(`{"jti":%q,"expiresAt":%q}`, w.made.blocked, time.Now().Add(48*time.Hour).UTC().Format(time.RFC3339)))
	w.editors = append(w.editors, e)
}

// run is a whole run: all is well, faults, all is well, the end.
func (w *world) run(length time.Duration, random *rand.Rand) {
	began := time.Now()
	sorts := append(w.goodSorts(), w.badSorts()...)
	w.callers.begin(sorts)
	if err := w.well(began); err != nil {
		w.callers.end()
		w.t.Fatal(err)
	}
	w.callers.end()
	before := w.measure()

	w.callers.begin(sorts)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var editing sync.WaitGroup
	for _, e := range w.editors[:2] {
		editing.Go(func() { e.work(ctx) })
	}
	w.rounds(length, random)
	stop()
	if w.failed() != nil {
		w.over.Store(true)
	}
	editing.Wait()
	w.callers.end()
	if err := w.failed(); err != nil {
		w.t.Fatal(err)
	}
	w.settle(before)
	w.remembers()
	w.finish()
	w.report(time.Since(began))
}

// well waits until every good call is answered as usual.
func (w *world) well(after time.Time) error {
	var waiting []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if waiting = w.judge.waiting(w.callers.names, after); len(waiting) == 0 {
			return nil
		}
	}
	return fmt.Errorf("not all is well before the first fault: %s", strings.Join(waiting, "; "))
}

// waitingEditors are the editors that have seen nothing work since.
func (w *world) waitingEditors(since time.Time) (list []string) {
	for _, e := range w.editors[:2] {
		if e.progress.Load() < since.UnixNano() {
			list = append(list, "editor "+e.name)
		}
	}
	return list
}

// rounds has faults happen until the time is over: each round up to three of the parties and
// up to two of the gateway's own, from shuffled decks, so that each comes as often as every
// other one. In the last two fifths none ends the process, so that it can be told what a long
// life leaves behind.
func (w *world) rounds(length time.Duration, random *rand.Rand) {
	parties, own := w.faults()
	a, b := newDeck(parties, random), newDeck(own, random)
	end := time.Now().Add(length)
	for n := 0; time.Now().Before(end); n++ {
		mayEnd := time.Until(end) > length*2/5
		chosen := append(a.deal(random.IntN(4), true), b.deal(random.IntN(3), mayEnd)...)
		if len(chosen) == 0 { // and nothing is excused
			time.Sleep(100 * time.Millisecond)
			continue
		}
		began := time.Now()
		r, err := w.play(chosen, random)
		if err != nil {
			w.fatal(err)
			return
		}
		w.healed = max(w.healed, r.healed)
		w.t.Logf("round %d: %s: %s, well again after %s", n, names(chosen), time.Since(began).Round(100*time.Millisecond), r.healed.Round(100*time.Millisecond))
		if len(r.waiting) > 0 {
			w.judge.violate("not well %s after %s: %s", heals, names(chosen), strings.Join(r.waiting, "; "))
			return
		}
		time.Sleep(500 * time.Millisecond) // when nothing is excused
	}
}

// deck deals faults, all of them before one comes again.
type deck struct {
	all, left []*fault
	random    *rand.Rand
}

func newDeck(all []*fault, random *rand.Rand) *deck {
	d := &deck{all: all, random: random}
	d.shuffle()
	// a short run is to have those that end the process, which may come in its first part only
	slices.SortStableFunc(d.left, func(a, b *fault) int { return map[bool]int{true: -1}[a.ends] - map[bool]int{true: -1}[b.ends] })
	return d
}

func (d *deck) shuffle() {
	d.left = slices.Clone(d.all)
	d.random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
}

// deal takes up to n faults, of each group at most one.
func (d *deck) deal(n int, mayEnd bool) (chosen []*fault) {
	if len(d.left) < 6 {
		left := d.left
		d.shuffle()
		d.left = append(left, d.left...)
	}
	taken := map[string]bool{}
	if len(d.left) == 0 {
		return nil
	}
	d.left = slices.DeleteFunc(d.left, func(f *fault) bool {
		if len(chosen) == n || taken[f.of] || f.ends && !mayEnd {
			return false
		}
		taken[f.of] = true
		chosen = append(chosen, f)
		return true
	})
	return chosen
}

func names(faults []*fault) string {
	var list []string
	for _, f := range faults {
		list = append(list, f.name)
	}
	return strings.Join(list, ", ")
}

// remembers kills the process and looks whether all that was acknowledged is there.
func (w *world) remembers() {
	w.gw.kill()
	if err := w.gw.start(); err != nil {
		w.t.Fatal(err)
	}
	checked := 0
	for _, e := range w.editors {
		checked += e.verify()
	}
	w.t.Logf("%d records are as was acknowledged, after a last kill -9", checked)
	a, err := w.gw.ask("GET", "/rr/audit/verify", "")
	var verdict struct {
		Valid   bool
		Entries int
	}
	if err != nil || json.Unmarshal([]byte(a.Body), &verdict) != nil || !verdict.Valid || verdict.Entries < checked {
		w.judge.violate("the audit log is not whole: %v %d %.300s", err, a.Status, a.Body)
	}
}

// finish looks for secrets in all that was written, and ends the process.
func (w *world) finish() {
	for _, path := range []string{
		"/config/", "/metrics", "/rr/health", "/rr/tokens", "/rr/audit?limit=200", "/rr/clients/default/credentials?limit=200", "/rr/clients/default/proxies?limit=200",
		"/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/reverse_proxy/upstreams",
	} {
		a, err := w.gw.ask("GET", path, "")
		if err != nil || a.Status != http.StatusOK {
			w.judge.violate("%s: %v %d %.200s", path, err, a.Status, a.Body)
		}
		w.bodies.scan(path, []byte(a.Body))
	}
	backup, err := w.gw.ask("GET", "/rr/store/backup", "")
	if err != nil || backup.Status != http.StatusOK || len(backup.Body) < 4096 {
		w.judge.violate("no backup: %v %d", err, backup.Status)
	}
	w.bodies.scan("the backup", []byte(backup.Body))
	if err := w.gw.stop(); err != nil {
		w.judge.violate("%v", err)
	}
	if err := w.bodies.scanFiles(w.gw.disk.folder); err != nil {
		w.judge.violate("the files cannot be read: %v", err)
	}
	if err := w.bodies.scanFiles(w.gw.dir); err != nil {
		w.judge.violate("the files cannot be read: %v", err)
	}
	for _, file := range []string{"rr.db", "access.log", "config/caddy/autosave.json"} {
		if _, err := os.Stat(filepath.Join(w.gw.disk.folder, file)); err != nil {
			w.judge.violate("not looked through: %v", err)
		}
	}
	for _, s := range []*scanner{w.bodies, &w.gw.output.leaks} {
		for _, found := range s.found {
			w.judge.violate("a secret is shown: %s", found)
		}
	}
	for _, line := range w.gw.output.broken {
		w.judge.violate("its log has: %s", line)
	}
	for _, wrong := range w.up.wrong {
		w.judge.violate("the upstream got %s", wrong)
	}
	for _, token := range w.idp.strange {
		w.judge.violate("the introspection endpoint was told %s", token)
	}
	if w.idp.wrong+w.tokens.wrong+w.login.wrong > 0 {
		w.judge.violate("wrong secrets were sent to those that give tokens: %d, %d, %d", w.idp.wrong, w.tokens.wrong, w.login.wrong)
	}
}

// report says what was done, and fails a run that did nothing.
func (w *world) report(took time.Duration) {
	changes, streams := int64(0), int64(0)
	for _, e := range w.editors {
		changes += e.steps.Load()
		streams += e.streams.Load()
	}
	w.t.Logf("%s: %d processes; %d changes acknowledged, %d streams ended with their credential; %d valid and %d invalid configurations; %d new keys; the clock set %d times; well again after %s at most; %d requests at the upstream; %d MB of answers and files and %d MB of logs without a secret\n%s",
		took.Round(time.Second), w.gw.lives, changes, streams, w.valid, w.invalid, w.idp.rotated, w.steps.Load(), w.healed.Round(100*time.Millisecond), w.up.calls, w.bodies.bytes>>20, w.gw.output.bytes>>20, w.judge.table())
	if w.up.calls < 100 || changes < 20 || w.gw.output.leaks.bytes == 0 {
		w.t.Error("the run did not reach what it is about")
	}
}
