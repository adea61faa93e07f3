package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// free is leave to ask, without a limit.
func free() bool { return true }

func keyOf(n int) (d digest) {
	d[0], d[1] = byte(n), byte(n>>8)
	return d
}

// TestIntrospectOneCall: who asks about the same token waits for one call, and may leave.
func TestIntrospectOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIntrospections()
		var calls, begun atomic.Int32
		begin := func() bool { begun.Add(1); return true }
		want := &answer{refused: ErrRejected}
		call := func(ctx context.Context) (*answer, error) {
			calls.Add(1)
			time.Sleep(time.Second)
			return want, ctx.Err()
		}
		var done sync.WaitGroup
		for n := range 500 {
			done.Go(func() {
				ctx := t.Context()
				if n%2 == 0 { // the first one among them
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Millisecond)
					defer cancel()
				}
				a, err := c.do(ctx, keyOf(1), "", 5*time.Second, begin, call)
				if n%2 == 0 && !errors.Is(err, context.DeadlineExceeded) || n%2 == 1 && (a != want || err != nil) {
					t.Errorf("%d: %v, %v", n, a, err)
				}
			})
			if n == 0 {
				synctest.Wait()
			}
		}
		done.Wait()
		if calls.Load() != 1 || begun.Load() != 1 {
			t.Errorf("%d calls, %d begun", calls.Load(), begun.Load())
		}
		if _, err := c.do(t.Context(), keyOf(1), "", 5*time.Second, begin, call); err != nil || calls.Load() != 2 {
			t.Errorf("the next one gets an old answer: %v", err)
		}
	})
}

// TestIntrospectBounds: an endpoint that hangs holds nobody longer than the timeout, and
// no more calls than there may be.
func TestIntrospectBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIntrospections()
		var now, most atomic.Int32
		call := func(ctx context.Context) (*answer, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			<-ctx.Done()
			return nil, &introspectError{reason: ctx.Err()}
		}
		var done sync.WaitGroup
		var busy atomic.Int32
		start := time.Now()
		for n := range maxQuestions + 100 {
			done.Go(func() {
				_, err := c.do(t.Context(), keyOf(n), fmt.Sprint(n), 5*time.Second, free, call)
				if errors.Is(err, errIntrospectionsBusy) {
					busy.Add(1)
				}
				var again Retryable
				if !errors.As(err, &again) || errors.Is(err, ErrRejected) {
					t.Errorf("%v", err)
				}
			})
		}
		done.Wait()
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("it took %v", d)
		}
		if most.Load() != maxIntrospections || busy.Load() < 100 {
			t.Errorf("%d calls at once, %d did not get their turn", most.Load(), busy.Load())
		}
		if len(c.calls) != 0 || len(c.slots) != 0 {
			t.Errorf("%d calls and %d slots are left", len(c.calls), len(c.slots))
		}
	})
}

func TestIntrospectWithoutLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newIntrospections()
		never := func() bool { return false }
		want := &answer{}
		call := func(context.Context) (*answer, error) {
			time.Sleep(time.Second)
			return want, nil
		}
		if _, err := c.do(t.Context(), keyOf(1), "", time.Minute, never, call); !errors.Is(err, ErrCostly) {
			t.Errorf("without leave: %v", err)
		}
		go func() { _, _ = c.do(t.Context(), keyOf(1), "", time.Minute, free, call) }()
		synctest.Wait()
		// waiting for a call that is made anyway costs nothing
		if a, err := c.do(t.Context(), keyOf(1), "", time.Minute, never, call); a != want || err != nil {
			t.Errorf("while a call is under way: %v, %v", a, err)
		}
	})
}

func TestIntrospectPanic(t *testing.T) {
	c := newIntrospections()
	_, err := c.do(t.Context(), keyOf(1), "", time.Minute, free,
		func(context.Context) (*answer, error) { panic("at the disco") })
	if err == nil || errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "panic") || len(c.slots) != 0 {
		t.Errorf("a panic: %v", err)
	}
}

func TestAnswerCache(t *testing.T) {
	at := time.Unix(1000, 0)
	c := newAnswerCache(3, 4<<10)
	first := &answer{}
	c.put(keyOf(1), first, at.Add(time.Second))
	if c.get(keyOf(1), at) != first || c.get(keyOf(2), at) != nil {
		t.Error("it does not remember")
	}
	if c.get(keyOf(1), at.Add(time.Second)) != nil || len(c.entries) != 0 || c.cost != 0 {
		t.Error("it remembers too long")
	}
	for n := range 5 {
		c.put(keyOf(n), &answer{}, at.Add(time.Hour))
	}
	c.put(keyOf(4), first, at.Add(time.Hour))
	if c.get(keyOf(1), at) != nil || c.get(keyOf(2), at) == nil || c.get(keyOf(4), at) != first || c.order.Len() != 3 || len(c.entries) != 3 {
		t.Errorf("%d entries", len(c.entries))
	}
	c.put(keyOf(9), &answer{size: 800}, at.Add(time.Hour)) // 512 + 4 * 800 bytes
	if c.get(keyOf(9), at) == nil || len(c.entries) != 1 {
		t.Errorf("%d entries of %d bytes", len(c.entries), c.cost)
	}
	c.put(keyOf(8), &answer{size: 1 << 20}, at.Add(time.Hour))
	if c.get(keyOf(8), at) != nil || c.cost > 4<<10 {
		t.Errorf("a huge answer is remembered: %d bytes", c.cost)
	}
	c.drop(keyOf(9))
	c.drop(keyOf(9))
	if len(c.entries) != 0 || c.cost != 0 || c.order.Len() != 0 {
		t.Errorf("%d entries of %d bytes are left", len(c.entries), c.cost)
	}
}

// clocked is the kind with a clock of its own.
func clocked(t testing.TB, p *idp.Provider, now *time.Time, lines ...string) *Introspect {
	t.Helper()
	i := introspect(t, p, lines...)
	i.now = func() time.Time { return *now }
	return i
}

func expectVerdict(t testing.TB, i *Introspect, token, want string) {
	t.Helper()
	if got := verdict(i.Verify(bearing(t, token))); !strings.HasPrefix(got, want) {
		t.Errorf("%s: %s, want %s", token, got, want)
	}
}

func TestIntrospectRemembers(t *testing.T) {
	rrtest.NoLeak(t)
	now := time.Now()
	p := idp.New(t)
	asked := func(want int) {
		t.Helper()
		if n := p.IntrospectionCount(); n != want {
			t.Errorf("the endpoint was asked %d times, want %d", n, want)
		}
	}
	p.Introspectable("long", map[string]any{"sub": "long", "exp": now.Add(time.Hour).Unix()})
	p.Introspectable("short", map[string]any{"sub": "short", "exp": now.Add(10 * time.Second).Unix()})
	off := clocked(t, p, &now)
	for range 3 {
		expectVerdict(t, off, "long", "id long")
		expectVerdict(t, off, "none", ErrRejected.Error())
		if got := verdict(off.VerifyCached(bearing(t, "long"))); got != ErrCostly.Error() {
			t.Errorf("from memory, which is off: %s", got)
		}
	}
	asked(6)
	p.Revoke("long")
	expectVerdict(t, off, "long", ErrRejected.Error()) // at once
	p.Introspectable("long", map[string]any{"sub": "long", "exp": now.Add(time.Hour).Unix()})
	asked(7)

	on := clocked(t, p, &now, "cache 30s")
	if got := verdict(on.VerifyCached(bearing(t, "long"))); got != ErrCostly.Error() {
		t.Errorf("before it is known: %s", got)
	}
	for range 3 {
		expectVerdict(t, on, "long", "id long")
		expectVerdict(t, on, "short", "id short")
		expectVerdict(t, on, "none", ErrRejected.Error())
		if got := verdict(on.VerifyCached(bearing(t, "long"))); got != "id long" {
			t.Errorf("from memory: %s", got)
		}
		if got := verdict(on.VerifyCached(bearing(t, "none"))); !strings.HasPrefix(got, ErrRejected.Error()) {
			t.Errorf("from memory: %s", got)
		}
	}
	asked(10)
	p.Revoke("long")
	now = now.Add(9 * time.Second)
	expectVerdict(t, on, "none", ErrRejected.Error())
	expectVerdict(t, on, "short", "id short")
	asked(10)
	now = now.Add(2 * time.Second)
	p.Introspectable("short", map[string]any{"sub": "short", "exp": now.Add(-time.Second).Unix() + 1000000})
	p.Introspectable("none", map[string]any{"sub": "none"})
	expectVerdict(t, on, "none", "id none") // refusals are remembered for 10s at most
	expectVerdict(t, on, "short", "id short")
	asked(12) // beyond its exp it was asked about again
	expectVerdict(t, on, "long", "id long")
	now = now.Add(20 * time.Second)
	expectVerdict(t, on, "long", ErrRejected.Error())
	asked(13)
}

// TestIntrospectExpiryInMemory: a remembered token is refused from its exp on, whatever
// the endpoint still says.
func TestIntrospectExpiryInMemory(t *testing.T) {
	now := time.Now()
	p := idp.New(t)
	exp := now.Add(10 * time.Second).Unix()
	// the provider's clock stands still
	p.SetIntrospection(fmt.Appendf(nil, `{"active":true,"sub":"alice","exp":%d}`, exp))
	i := clocked(t, p, &now, "cache 1h")
	expectVerdict(t, i, "a-token", "id alice")
	now = time.Unix(exp, -1)
	expectVerdict(t, i, "a-token", "id alice")
	now = time.Unix(exp, 0)
	expectVerdict(t, i, "a-token", "credential not accepted: the token has expired")
	if n := p.IntrospectionCount(); n != 2 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

// TestIntrospectNeverMixes: one token means different things to different endpoints and
// under different conditions.
func TestIntrospectNeverMixes(t *testing.T) {
	now := time.Now()
	a, b := idp.New(t), idp.New(t)
	a.Introspectable("t", map[string]any{"sub": "alice", "iss": "a", "aud": "one", "scope": "read"})
	b.Introspectable("t", map[string]any{"sub": "bob", "iss": "b"})
	type row struct {
		i    *Introspect
		want string
	}
	rows := []row{
		{clocked(t, a, &now, "cache 1m"), "id alice"},
		{clocked(t, b, &now, "cache 1m"), "id bob"},
		{clocked(t, a, &now, "cache 1m", "issuer a"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "issuer b"), "credential not accepted: iss"},
		{clocked(t, a, &now, "cache 1m", "audience one"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "audience two"), "credential not accepted: aud"},
		{clocked(t, a, &now, "cache 1m", "scope read"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "scope write"), "lacks write"},
		{clocked(t, a, &now, "cache 2m"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "client_auth none", "client_id x"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "client_id x", "client_secret y"), "id alice"},
		{clocked(t, a, &now, "cache 1m", "client_id x", "client_secret z"), "id alice"},
	}
	for range 2 {
		for _, r := range rows {
			expectVerdict(t, r.i, "t", r.want)
		}
	}
	if n := a.IntrospectionCount(); n != len(rows)-1 {
		t.Errorf("the endpoint was asked %d times by %d credentials", n, len(rows)-1)
	}
	// the same again, as after a reload
	again := clocked(t, a, &now, "cache 1m")
	expectVerdict(t, again, "t", "id alice")
	if n := a.IntrospectionCount(); n != len(rows)-1 {
		t.Errorf("after a reload the endpoint was asked again")
	}
}

func TestIntrospectErrorsAreNotRemembered(t *testing.T) {
	now := time.Now()
	p := idp.New(t)
	p.Introspectable("t", map[string]any{"sub": "alice"})
	i := clocked(t, p, &now, "cache 1h")
	p.Status(500)
	expectVerdict(t, i, "t", "technical")
	p.Status(0)
	expectVerdict(t, i, "t", "id alice")
	p.Status(500)
	expectVerdict(t, i, "t", "id alice") // what is known keeps working
	expectVerdict(t, i, "u", "technical")
}

// TestIntrospectHangs is a call to a real endpoint that does not answer.
func TestIntrospectHangs(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	p.Introspectable("t", map[string]any{"sub": "alice"})
	i := introspect(t, p, "timeout 10s")
	p.Hang()
	var done sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := i.Verify(bearing(t, "t").WithContext(ctx))
		first <- err
	}()
	rrtest.Eventually(t, "the call is made", func() bool { return p.IntrospectionCount() == 1 })
	for range 500 {
		done.Go(func() { expectVerdict(t, i, "t", "id alice") })
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves: %v", err)
	}
	p.Resume()
	done.Wait()
	// those who came when the answer was there asked again, together
	if n := p.IntrospectionCount(); n > 20 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func BenchmarkIntrospectRemembered(b *testing.B) {
	p := idp.New(b)
	p.Introspectable("t", map[string]any{"sub": "alice"})
	i := introspect(b, p, "cache 1h")
	r := bearing(b, "t")
	if _, err := i.Verify(r); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.VerifyCached(r); err != nil {
			b.Fatal(err)
		}
	}
}
