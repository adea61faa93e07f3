package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// fault is something that goes wrong for a while.
type fault struct {
	name string
	of   string // its group, of which only one happens at a time
	// excuses are what callers may be answered meanwhile, by what their calls depend on.
	excuses map[string][]string
	// ends says that the process ends: then it is another one.
	ends bool
	// do brings the fault about, waits until it shall be over, and undoes it.
	do func(random *rand.Rand, over <-chan struct{})
}

// ofParty are the faults of a party. excuses has, for each way of failing, what a call may
// be answered that depends on the part; ways that it does not have excuse nothing.
func ofParty(p *party, part string, excuses map[string][]string) (list []*fault) {
	for _, mode := range []string{refuses, resets, hangs, drips, errs, garbles, truncates, bloats, unauthorizes, redirects} {
		list = append(list, &fault{
			name: "the " + p.name + " " + mode, of: p.name,
			excuses: map[string][]string{part: excuses[mode]},
			do:      func(_ *rand.Rand, over <-chan struct{}) { p.fail(mode); <-over; p.right() },
		})
	}
	return list
}

// upstreamExcuses: what the upstream answers goes to the caller as it is, also a half.
var upstreamExcuses = map[string][]string{
	refuses: {unreachable, cut}, resets: {unreachable, cut}, hangs: {unreachable, tooSlow, cut}, garbles: {unreachable, cut},
	errs: {"503 proxy-access-granted"}, truncates: {cut}, unauthorizes: {refused401}, redirects: {"302 proxy-access-granted"},
}

// all gives every way of failing the same excuses.
func all(outcomes ...string) map[string][]string {
	m := map[string][]string{}
	for _, mode := range []string{refuses, resets, hangs, drips, errs, garbles, truncates, bloats, unauthorizes, redirects} {
		m[mode] = outcomes
	}
	return m
}

// faults are all that this machine and user can bring about: of the parties around the
// gateway, and of the gateway's own.
func (w *world) faults() (parties, own []*fault) {
	list := ofParty(w.up.party, onUpstream, upstreamExcuses)
	list = append(list, ofParty(w.tokens.party, onTokens, all(noToken))...)
	list = append(list, ofParty(w.login.party, onLogin, all(noToken))...)
	for _, f := range ofParty(w.idp.party, onAsking, all(undecided)) {
		// known keys go on; a token with one that is not known cannot be decided about
		f.excuses[onUnknownKey] = []string{undecided}
		list = append(list, f)
	}
	parties, list = list, nil
	list = append(list, w.rotation(), w.reloads(), w.kills(), w.restarts())
	if canLimit {
		list = append(list, w.exhaustion(), w.pause())
	}
	if w.canSetClock {
		list = append(list, w.clock("ahead", 2*time.Hour), w.clock("behind", -2*time.Hour), w.clock("to and fro", 0))
	}
	if w.gw.disk.own {
		list = append(list, w.fullDisk())
	}
	return w.wanted(parties), w.wanted(list)
}

// wanted are the faults that CHAOS_FAULTS leaves.
func (w *world) wanted(list []*fault) []*fault {
	return slices.DeleteFunc(list, func(f *fault) bool { return w.only != nil && !w.only.MatchString(f.name) })
}

// rotation has the provider replace its keys. Until the gateway has asked again, tokens of
// the new key are those of a key that is not there. Large answers (over 1 MiB) end with the
// credential that they were asked for with.
func (w *world) rotation() *fault {
	excuses := map[string][]string{onKeys: {denied, throttled, undecided, cut}}
	return &fault{name: "new keys", of: "keys", excuses: excuses, do: func(_ *rand.Rand, over <-chan struct{}) {
		w.settled.Store(false)
		w.idp.rotate()
		<-over
	}}
}

// reloads loads one configuration after another, valid ones and others. Connections that
// wait for a request may be closed, and large answers to callers whose key is gone, nothing else.
func (w *world) reloads() *fault {
	return &fault{name: "reloads", of: "reloads", excuses: map[string][]string{onConnection: {none}, onSeason: {cut}}, do: func(random *rand.Rand, over <-chan struct{}) {
		for {
			w.reload(random)
			select {
			case <-over:
				return
			case <-time.After(time.Duration(random.IntN(300)) * time.Millisecond):
			}
		}
	}}
}

// reload loads a configuration.
func (w *world) reload(random *rand.Rand) {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	w.variant++
	if random.IntN(3) == 0 {
		for name, text := range w.config.invalid(w.variant) { // any
			a, err := w.gw.load(text)
			if w.invalid++; err == nil && a.Status < 400 {
				w.judge.violate("a configuration with a fault (%s) loads: %d", name, a.Status)
			}
			w.bodies.scan("the answer to a configuration that is not valid", []byte(a.Body))
			return
		}
	}
	seasonal := random.IntN(2) == 0
	text := w.config.text(w.variant, seasonal)
	w.judge.season(changing)
	a, err := w.gw.load(text)
	switch {
	case err != nil: // killed, or without descriptors: nobody knows
		return
	case a.Status != http.StatusOK:
		if !w.scarce.Load() {
			w.judge.violate("a valid configuration does not load: %d %.600s", a.Status, a.Body)
		}
		return
	}
	w.valid++
	w.gw.configure(text)
	w.judge.season(map[bool]string{true: inForce, false: gone}[seasonal])
}

// reloadKnown has a configuration loaded of which is known whether it has the seasonal key.
func (w *world) reloadKnown() error {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	w.variant++
	text := w.config.text(w.variant, true)
	w.judge.season(changing)
	a, err := w.gw.load(text)
	if err != nil || a.Status != http.StatusOK {
		return fmt.Errorf("a valid configuration does not load: %d %.600s %w", a.Status, a.Body, err)
	}
	w.gw.configure(text)
	w.judge.season(inForce)
	return nil
}

// down is what a process that ends excuses. Its tokens for upstreams are gone with it.
var down = map[string][]string{onConnection: {none, cut}, onStore: {"503 store-unavailable"}}

func (w *world) kills() *fault {
	return &fault{name: "kill -9", of: "process", excuses: down, ends: true, do: func(random *rand.Rand, over <-chan struct{}) {
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		w.replace(func() { w.gw.kill() }, time.Duration(random.IntN(1000))*time.Millisecond)
		<-over
	}}
}

func (w *world) restarts() *fault {
	return &fault{name: "a restart", of: "process", excuses: down, ends: true, do: func(_ *rand.Rand, over <-chan struct{}) {
		w.replace(func() {
			w.gw.signal(goOn)
			if err := w.gw.stop(); err != nil {
				w.judge.violate("%v", err)
			}
		}, 0)
		<-over
	}}
}

// replace ends the process and starts another one, which takes the configuration that was
// in force last.
func (w *world) replace(end func(), pause time.Duration) {
	w.reloading.Lock() // which configuration is in force has to be known
	defer w.reloading.Unlock()
	w.judge.season(changing)
	end()
	time.Sleep(pause)
	w.ahead.Store(0)
	w.gw.configure(w.config.text(w.variant, true))
	if err := w.gw.start(); err != nil {
		w.fatal(err)
		return
	}
	w.judge.season(inForce)
}

// exhaustion leaves the process no more descriptors than it has, and a few. Whatever needs a
// new connection may fail, and callers may wait for theirs.
func (w *world) exhaustion() *fault {
	excuses := map[string][]string{
		onConnection: {none}, onUpstream: {unreachable}, onTokens: {noToken}, onLogin: {noToken}, onAsking: {undecided}, onUnknownKey: {undecided},
	}
	return &fault{name: "no descriptors", of: "descriptors", excuses: excuses, do: func(random *rand.Rand, over <-chan struct{}) {
		w.scarce.Store(true)
		var limited int
		var before uint64
		w.gw.withPID(func(pid int) {
			open, err := descriptors(pid)
			if err == nil {
				before, err = limitDescriptors(pid, uint64(max(open-random.IntN(5), 10)))
			}
			if err != nil {
				w.judge.violate("descriptors: %v", err)
				return
			}
			limited = pid
		})
		<-over
		w.gw.withPID(func(pid int) {
			if pid == limited {
				if _, err := limitDescriptors(pid, before); err != nil {
					w.judge.violate("descriptors: %v", err)
				}
			}
		})
		w.scarce.Store(false)
	}}
}

// pause has the process stand still, as a virtual machine does that is moved: all its
// timeouts may be over when it goes on.
func (w *world) pause() *fault {
	excuses := map[string][]string{
		onConnection: {none, cut}, onUpstream: {unreachable, tooSlow}, onTokens: {noToken}, onLogin: {noToken}, onAsking: {undecided}, onUnknownKey: {undecided},
	}
	return &fault{name: "the process stands still", of: "process", excuses: excuses, do: func(random *rand.Rand, over <-chan struct{}) {
		w.gw.signal(standStill)
		select {
		case <-over:
		case <-time.After(time.Duration(1500+random.IntN(1500)) * time.Millisecond):
		}
		w.gw.signal(goOn)
		<-over
	}}
}

// clock sets the gateway's clock. Callers' tokens are then over, or not yet good, and it may
// take tokens for upstreams for good that are over.
func (w *world) clock(name string, ahead time.Duration) *fault {
	excuses := map[string][]string{onExpiry: {denied, throttled, cut}, onExpiring: {refused401}}
	return &fault{name: "its clock is " + name, of: "clock", excuses: excuses, do: func(random *rand.Rand, over <-chan struct{}) {
		set := func(d time.Duration) {
			if w.gw.setClock(d) == nil { // else it was killed
				w.ahead.Store(int64(d))
				w.steps.Add(1)
			}
		}
		for to := ahead; ; {
			if ahead == 0 {
				to = time.Duration(random.IntN(14400)-7200) * time.Second
			}
			set(to)
			select {
			case <-over:
				w.rightClock()
				return
			case <-time.After(700 * time.Millisecond):
			}
		}
	}}
}

// rightClock has the gateway's clock be the machine's again, whatever stands in the way.
func (w *world) rightClock() {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if !w.gw.running() {
			return // another process has the right one
		}
		if w.gw.setClock(0) == nil {
			w.ahead.Store(0)
			return
		}
	}
	w.judge.violate("the clock cannot be set right again within %s", patience)
}

// fullDisk leaves no room where the gateway writes. Callers notice nothing.
func (w *world) fullDisk() *fault {
	return &fault{name: "a full disk", of: "disk", excuses: map[string][]string{onStore: {"507 store-full"}}, do: func(_ *rand.Rand, over <-chan struct{}) {
		if err := w.gw.disk.fill(); err != nil {
			w.judge.violate("the disk: %v", err)
		}
		<-over
		if err := w.gw.disk.empty(); err != nil {
			w.judge.violate("the disk: %v", err)
		}
	}}
}

// round is some faults at a time, and what came after.
type round struct {
	healed  time.Duration // from the end of the last fault until all was well
	waiting []string      // who was not well in time
}

// heals is how long it may take, after all faults have ended, until every call is answered
// as usual: the longest that a token endpoint is left alone (docs/oauth2.md: 1m), and time
// for a busy machine.
const heals = 90 * time.Second

// play has faults happen, each for some seconds and not all from the same moment, and waits
// until all is well again.
func (w *world) play(faults []*fault, random *rand.Rand) (r *round, err error) {
	r = new(round)
	var windows []*window
	var wg sync.WaitGroup
	for _, f := range faults {
		windows = append(windows, w.judge.open(f.name, f.excuses))
		begin := time.Duration(random.IntN(1000)) * time.Millisecond
		length := time.Duration(1500+random.IntN(2500)) * time.Millisecond
		seed := random.Uint64()
		wg.Go(func() {
			time.Sleep(begin)
			over := make(chan struct{})
			timer := time.AfterFunc(length, func() { close(over) })
			defer timer.Stop()
			f.do(rand.New(rand.NewPCG(seed, 0)), over)
		})
	}
	wg.Wait()
	if err := w.failed(); err != nil {
		return r, err
	}
	if slices.ContainsFunc(faults, func(f *fault) bool { return f.of == "reloads" }) {
		if err := w.reloadKnown(); err != nil {
			return r, err
		}
	}
	ended := time.Now()
	w.judge.forget()
	for time.Since(ended) < heals {
		if r.waiting = append(w.judge.waiting(w.callers.names, ended), w.waitingEditors(ended)...); len(r.waiting) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r.healed = time.Since(ended)
	w.judge.shut(windows...)
	w.settled.Store(true)
	return r, nil
}
