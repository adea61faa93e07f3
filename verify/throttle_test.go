package verify

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func TestThrottleCountsFailuresPerAddressAndWindow(t *testing.T) {
	table := newBounded[netip.Addr, failures](100)
	th := Throttle{Failures: 3, Window: caddy.Duration(10 * time.Second)}
	now := time.Unix(1000, 0)
	for i := range 3 {
		if d := th.blocked(table, "192.0.2.1", now); d != 0 {
			t.Fatalf("blocked for %v after %d failures", d, i)
		}
		th.fail(table, "192.0.2.1", now)
	}
	if d := th.blocked(table, "192.0.2.1", now.Add(4*time.Second)); d != 6*time.Second {
		t.Errorf("blocked for %v, want the rest of the window", d)
	}
	if d := th.blocked(table, "192.0.2.2", now); d != 0 {
		t.Error("another address is blocked too")
	}
	if d := th.blocked(table, "192.0.2.1", now.Add(10*time.Second)); d != 0 {
		t.Error("still blocked after the window")
	}
	th.fail(table, "192.0.2.1", now.Add(11*time.Second))
	if d := th.blocked(table, "192.0.2.1", now.Add(11*time.Second)); d != 0 {
		t.Error("a new window began full")
	}
	if off := (Throttle{Failures: -1}); off.blocked(table, "192.0.2.1", now) != 0 {
		t.Error("blocked although it is off")
	}
}

func TestThrottleCountsANetworkOfIPv6AsOne(t *testing.T) {
	for a, b := range map[string]string{
		"2001:db8::1":      "2001:db8::ffff:1",
		"::ffff:192.0.2.1": "192.0.2.1",
		"fe80::1%eth0":     "fe80::2",
	} {
		if network(a) != network(b) {
			t.Errorf("%s and %s are counted apart", a, b)
		}
	}
	if network("2001:db8:0:1::1") == network("2001:db8:0:2::1") {
		t.Error("two networks are counted as one")
	}
}

func TestTheTableOfFailuresIsBounded(t *testing.T) {
	table := newBounded[netip.Addr, failures](8)
	th := Throttle{Failures: 1}
	for i := range 1000 {
		th.fail(table, fmt.Sprintf("10.0.%d.%d", i/256, i%256), time.Unix(0, 0))
	}
	if table.len() != 8 {
		t.Errorf("%d entries", table.len())
	}
	if th.blocked(table, "10.0.3.231", time.Unix(1, 0)) == 0 {
		t.Error("the newest failure was forgotten")
	}
}
