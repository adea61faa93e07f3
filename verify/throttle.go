package verify

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Throttle bounds failed authentications per client address. Past the limit the address
// gets 429 for anything that needs an expensive check; what a digest or a cached verdict
// recognises still passes, and successes never count.
type Throttle struct {
	// How many failures are allowed in a window. Default: 20. Negative: no limit.
	Failures int `json:"failures,omitempty"`
	// The window. Default: 10s.
	Window caddy.Duration `json:"window,omitempty"`
}

// The defaults of Throttle.
const (
	DefaultFailures = 20
	DefaultWindow   = 10 * time.Second
)

// maxAddresses bounds the table of failing addresses.
const maxAddresses = 1 << 16

// failures of one address since the start of its window, and its expensive checks that
// are under way.
type failures struct {
	since   time.Time
	count   int
	pending int
}

// failed is the process's table; it outlives reloads, limits come with each call.
var failed = newBounded[netip.Addr, failures](maxAddresses)

var errThrottled = errors.New("too many failed authentications from this address")

func (t Throttle) limits() (int, time.Duration) {
	n, w := t.Failures, time.Duration(t.Window)
	if n == 0 {
		n = DefaultFailures
	}
	if w <= 0 {
		w = DefaultWindow
	}
	return n, w
}

// network is the unit that is counted: an IPv4 address, or an IPv6 /64, since one host
// commands a whole /64.
func network(ip string) netip.Addr {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Addr{}
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// blocked returns how long the address has to wait, 0 if it is not past the limit.
func (t Throttle) blocked(table *bounded[netip.Addr, failures], ip string, now time.Time) time.Duration {
	n, w := t.limits()
	if n < 0 {
		return 0
	}
	addr := network(ip)
	if !addr.IsValid() { // a Unix socket: all callers would be one
		return 0
	}
	f, ok := table.get(addr)
	if !ok || f.count < n || now.Sub(f.since) >= w {
		return 0
	}
	return f.since.Add(w).Sub(now)
}

// fail counts a failure of the address.
func (t Throttle) fail(table *bounded[netip.Addr, failures], ip string, now time.Time) {
	n, w := t.limits()
	addr := network(ip)
	if n < 0 || !addr.IsValid() {
		return
	}
	table.update(addr, func(f failures) failures {
		if now.Sub(f.since) >= w {
			f.since, f.count = now, 0
		}
		f.count++
		return f
	})
}

// admission is a request's leave for expensive checks.
type admission struct {
	Throttle
	r     *http.Request
	now   time.Time
	never bool // there is no leave
	// inVain: the request is for a proxy that does not exist, and another one's verifiers
	// look at it. What it presents is no concern of those whom they ask.
	inVain bool
}

// errCounted marks a rejection whose failure has been counted.
var errCounted = errors.New("")

// begin asks for leave for one expensive check. Checks under way count as failures until
// they are over, so that asking for many at once gains nothing. Each leave is given back
// by release, which tells whether the check failed.
func (a admission) begin() (release func(failed bool), ok bool) {
	if n, _ := a.limits(); n < 0 {
		return func(bool) {}, true
	}
	return a.beginIn(failed, clientIP(a.r))
}

// allowed is begin for checks that cost little, or that bound themselves: those under way
// do not count, so that many callers behind one address may come at once.
func (a admission) allowed() bool {
	if n, _ := a.limits(); a.never || n < 0 {
		return !a.never
	}
	return a.blocked(failed, clientIP(a.r), a.now) == 0
}

// always and never are leave without regard to the address.
var (
	always = admission{Throttle: Throttle{Failures: -1}}
	never  = admission{never: true}
)

// trial is one request's asking of a group's verifiers. What one of them refuses another
// may accept, so that only counts as a failure which nobody recognises, and once.
type trial struct {
	admission
	failures []func(failed bool)
}

// begin is admission's; a failed check is given back at the end.
func (t *trial) begin() (release func(failed bool), ok bool) {
	back, ok := t.admission.begin()
	return func(failed bool) {
		if failed {
			t.failures = append(t.failures, back)
			return
		}
		back(false)
	}, ok
}

// end gives everything back and reports whether a failure was counted. A nil trial is one
// in which nothing was begun.
func (t *trial) end(failed bool) (counted bool) {
	if t == nil {
		return false
	}
	for i, back := range t.failures {
		back(failed && i == 0)
	}
	return failed && len(t.failures) > 0
}

func (a admission) beginIn(table *bounded[netip.Addr, failures], ip string) (release func(failed bool), ok bool) {
	n, w := a.limits()
	addr := network(ip)
	if !addr.IsValid() {
		return func(bool) {}, true
	}
	table.update(addr, func(f failures) failures {
		if a.now.Sub(f.since) >= w {
			f.since, f.count = a.now, 0
		}
		if ok = f.count+f.pending < n; ok {
			f.pending++
		}
		return f
	})
	return func(failed bool) {
		table.update(addr, func(f failures) failures {
			f.pending = max(0, f.pending-1)
			if failed {
				f.count++
			}
			return f
		})
	}, ok
}
