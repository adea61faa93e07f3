package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Outcomes of a call besides "<status> <code>".
const (
	none = "no answer"
	cut  = "the answer breaks off"
)

// Outcomes that are named more than once; docs/answers.md has what they mean.
const (
	granted     = "200 proxy-access-granted"
	denied      = "401 proxy-access-denied"
	forbidden   = "403 proxy-access-denied"
	badPath     = "400 bad-path"
	throttled   = "429 too-many-failures"
	unreachable = "502 upstream-unreachable"
	tooSlow     = "504 upstream-unreachable"
	noToken     = "502 target-credential-failed"
	undecided   = "503 verification-unavailable"
	inactive    = "503 proxy-inactive"
	refused401  = "401 proxy-access-granted" // the upstream's own
)

// Parts of the gateway's surroundings that a call may depend on.
const (
	onUpstream   = "upstream"
	onKeys       = "the identity provider's keys"
	onUnknownKey = "a key that is not there"
	onAsking     = "introspection"
	onTokens     = "the token endpoint"
	onLogin      = "the login endpoint"
	onExpiry     = "clocks that agree"
	onExpiring   = "tokens for the upstream that end"
	onSeason     = "the seasonal key"
	onConnection = "the connection" // every call
	onStore      = "the store"
)

// window is a time in which some outcomes are excused: from before a fault begins until
// everything has been seen to work again.
type window struct {
	what     string
	excuses  map[string][]string // part → outcomes
	from, to time.Time           // to is zero while it is open
}

func (w *window) overlaps(from, to time.Time) bool {
	return !w.from.After(to) && (w.to.IsZero() || !w.to.Before(from))
}

// call is what became of one call.
type call struct {
	sort     *sort
	caller   string
	id       string
	from, to time.Time
	outcome  string
	problem  string // what is wrong with the answer in itself
}

// judge knows what each answer may be, and counts.
type judge struct {
	slowestAllowed time.Duration

	mu         sync.Mutex
	windows    []*window
	seasons    []season
	counts     map[string]map[string]int
	excused    map[string]int
	good       map[string]time.Time // caller → begin of its last call that was as usual
	streak     map[string]int
	last       map[string]string
	slowest    time.Duration
	slowestWas string
	violations []string
	bad        int
}

func newJudge() *judge {
	return &judge{
		slowestAllowed: 30 * time.Second,
		counts:         map[string]map[string]int{}, excused: map[string]int{}, good: map[string]time.Time{}, streak: map[string]int{}, last: map[string]string{},
	}
}

// open begins a window; it has to be called before the fault begins.
func (j *judge) open(what string, excuses map[string][]string) *window {
	w := &window{what: what, excuses: excuses, from: time.Now()}
	j.mu.Lock()
	defer j.mu.Unlock()
	// those that are over can concern no call that is under way
	j.windows = slices.DeleteFunc(j.windows, func(w *window) bool { return !w.to.IsZero() && time.Since(w.to) > 2*j.slowestAllowed })
	j.windows = append(j.windows, w)
	return w
}

// shut ends windows.
func (j *judge) shut(windows ...*window) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range windows {
		w.to = time.Now()
	}
}

// season is whether the configuration has the seasonal key, from a moment on.
type season struct {
	from  time.Time
	state string
}

// States of the seasonal key.
const (
	inForce  = "it is in force"
	changing = "it is changing"
	gone     = "it is gone"
)

func (j *judge) season(state string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seasons = append(j.seasons, season{time.Now(), state})
}

// seasonIn is the state during a time; "changing" if it was not one all the time. j.mu is held.
func (j *judge) seasonIn(from, to time.Time) string {
	state := changing
	for i, s := range j.seasons {
		if s.from.After(to) || i+1 < len(j.seasons) && j.seasons[i+1].from.Before(from) {
			continue
		}
		if state != changing && state != s.state || s.state == changing {
			return changing
		}
		state = s.state
	}
	return state
}

// violate notes what must not be.
func (j *judge) violate(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note(fmt.Sprintf(format, args...))
}

func (j *judge) note(text string) {
	j.bad++
	if len(j.violations) < 40 {
		j.violations = append(j.violations, time.Now().Format("15:04:05.000 ")+text)
	}
}

// usual are the outcomes of a call if nothing fails. j.mu is held.
func (j *judge) usual(c *call) []string {
	if !c.sort.seasonal {
		return c.sort.usual
	}
	switch j.seasonIn(c.from, c.to) {
	case inForce:
		return []string{granted}
	case gone:
		return []string{denied}
	}
	return []string{granted, denied}
}

// call judges a call.
func (j *judge) call(c *call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts[c.sort.name] == nil {
		j.counts[c.sort.name] = map[string]int{}
	}
	j.counts[c.sort.name][c.outcome]++
	j.last[c.caller] = c.outcome
	took := c.to.Sub(c.from)
	if took > j.slowest {
		j.slowest, j.slowestWas = took, fmt.Sprintf("%s, %s to %s, %s", c.sort.name, c.from.Format("15:04:05.000"), c.to.Format("15:04:05.000"), c.outcome)
	}
	if c.problem != "" {
		j.note(fmt.Sprintf("%s (%s): %s: %s", c.sort.name, c.id, c.outcome, c.problem))
	}
	if took > j.slowestAllowed {
		j.note(fmt.Sprintf("%s (%s): %s after %s", c.sort.name, c.id, c.outcome, took))
	}
	if slices.Contains(j.usual(c), c.outcome) {
		if j.streak[c.caller]++; j.streak[c.caller] >= 2 {
			j.good[c.caller] = c.from
		}
		return
	}
	j.streak[c.caller] = 0
	var around []string
	for _, w := range j.windows {
		if !w.overlaps(c.from, c.to) {
			continue
		}
		around = append(around, w.what)
		for _, part := range append(slices.Clone(c.sort.needs), onConnection) {
			if slices.Contains(w.excuses[part], c.outcome) {
				j.excused[w.what]++
				return
			}
		}
	}
	j.note(fmt.Sprintf("%s (%s, %s to %s): %s; it has to be %s, whatever there was: %s", c.sort.name, c.id,
		c.from.Format("15:04:05.000"), c.to.Format("15:04:05.000"), c.outcome, strings.Join(j.usual(c), " or "), strings.Join(around, ", ")))
}

// waiting are the callers that have not had two answers in a row as usual, the last of them
// to a call that began after a moment.
func (j *judge) waiting(callers []string, after time.Time) (list []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range callers {
		if !j.good[name].After(after) {
			list = append(list, name+": "+j.last[name])
		}
	}
	return list
}

// forget has the next answers count anew for waiting.
func (j *judge) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.streak)
}

// table is what was counted.
func (j *judge) table() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	total := 0
	for _, sort := range slices.Sorted(maps.Keys(j.counts)) {
		fmt.Fprintf(&b, "  %-34s", sort)
		for _, outcome := range slices.Sorted(maps.Keys(j.counts[sort])) {
			fmt.Fprintf(&b, " %d × %s;", j.counts[sort][outcome], outcome)
			total += j.counts[sort][outcome]
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "  %d calls, the slowest answer after %s (%s); excused:", total, j.slowest.Round(time.Millisecond), j.slowestWas)
	for _, what := range slices.Sorted(maps.Keys(j.excused)) {
		fmt.Fprintf(&b, " %d × %s;", j.excused[what], what)
	}
	return b.String()
}

// TestJudge: the judge can say no.
func TestJudge(t *testing.T) {
	key := &sort{name: "key", usual: []string{granted}, needs: []string{onUpstream}}
	wrong := &sort{name: "wrong key", usual: []string{denied}}
	seasonal := &sort{name: "seasonal", seasonal: true, needs: []string{onUpstream}}
	now := time.Now()
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	windows := []*window{
		{what: "the upstream is down", excuses: map[string][]string{onUpstream: {unreachable}}, from: at(10), to: at(20)},
		{what: "killed", excuses: map[string][]string{onConnection: {none, cut}}, from: at(30)},
	}
	seasons := []season{{at(0), inForce}, {at(10), changing}, {at(11), gone}}
	for _, tt := range []struct {
		name     string
		sort     *sort
		from, to int
		outcome  string
		problem  string
		allowed  bool
	}{
		{"as usual", key, 1, 2, granted, "", true},
		{"another body than it should be", key, 1, 2, granted, "no problem+json", false},
		{"too slow", key, 1, 40, granted, "", false},
		{"without a fault", key, 1, 2, unreachable, "", false},
		{"during the fault", key, 12, 13, unreachable, "", true},
		{"begun before it", key, 8, 13, unreachable, "", true},
		{"begun in it, ended after it", key, 19, 25, unreachable, "", true},
		{"after it", key, 21, 22, unreachable, "", false},
		{"another outcome during it", key, 12, 13, noToken, "", false},
		{"of a sort that does not depend on it", wrong, 12, 13, unreachable, "", false},
		{"let in during the fault", wrong, 12, 13, granted, "", false},
		{"let in without", wrong, 1, 2, granted, "", false},
		{"cut while killed", wrong, 29, 31, cut, "", true},
		{"cut before", wrong, 28, 29, cut, "", false},
		{"seasonal, in force", seasonal, 1, 2, granted, "", true},
		{"seasonal, refused though in force", seasonal, 1, 2, denied, "", false},
		{"seasonal, changing", seasonal, 9, 12, granted, "", true},
		{"seasonal, changing to gone", seasonal, 10, 11, denied, "", true},
		{"seasonal, let in though gone", seasonal, 12, 13, granted, "", false},
		{"seasonal, gone", seasonal, 12, 13, denied, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newJudge()
			j.windows, j.seasons = windows, seasons
			j.call(&call{sort: tt.sort, id: "x", from: at(tt.from), to: at(tt.to), outcome: tt.outcome, problem: tt.problem})
			if allowed := j.bad == 0; allowed != tt.allowed {
				t.Errorf("allowed: %v; %v", allowed, j.violations)
			}
		})
	}
}
