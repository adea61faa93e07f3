package token

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
)

// endpoint is a token endpoint; each answer is a token named t1, t2, …
type endpoint struct {
	asked atomic.Int64
	takes time.Duration
	life  time.Duration // 0: not said
	fails atomic.Pointer[error]
}

func (e *endpoint) fetch(ctx context.Context) (Token, error) {
	n := e.asked.Add(1)
	select {
	case <-ctx.Done():
		return Token{}, ctx.Err()
	case <-time.After(e.takes):
	}
	if err := e.fails.Load(); err != nil {
		return Token{}, *err
	}
	t := Token{Value: fmt.Sprintf("t%d", n)}
	if e.life != 0 {
		t.Expires = time.Now().Add(e.life)
	}
	return t, nil
}

func (e *endpoint) fail(err error) { e.fails.Store(&err) }
func (e *endpoint) heal()          { e.fails.Store(nil) }

func (e *endpoint) want(t *testing.T, n int64) {
	t.Helper()
	if got := e.asked.Load(); got != n {
		t.Errorf("the endpoint was asked %d times, want %d", got, n)
	}
}

// bubble runs a test in virtual time with a Source that is closed at the end; the bubble
// fails it if a goroutine remains.
func bubble(t *testing.T, e *endpoint, c Config, f func(t *testing.T, s *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.Fetch = e.fetch
		s := New(c)
		defer s.Close()
		f(t, s)
	})
}

func wantToken(t *testing.T, s *Source, value string) {
	t.Helper()
	if got, err := s.Token(t.Context()); err != nil || got.Value != value {
		t.Errorf("token %q, %v; want %q", got.Value, err, value)
	}
}

// sleep lets time pass and what is due then happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOneFetchForAllWhoWait(t *testing.T) {
	e := &endpoint{takes: time.Second, life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		first, hangUp := context.WithCancel(t.Context())
		var left atomic.Int64
		go func() {
			if _, err := s.Token(first); errors.Is(err, context.Canceled) {
				left.Add(1)
			}
		}()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { wantToken(t, s, "t1") })
		}
		synctest.Wait()
		hangUp()
		synctest.Wait()
		if left.Load() != 1 {
			t.Error("the caller that hung up still waits")
		}
		wg.Wait()
		e.want(t, 1)
	})
}

func TestTheFetchGoesOnWithoutAnybody(t *testing.T) {
	e := &endpoint{takes: 2 * time.Second, life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		sleep(time.Second)
		begun := time.Now()
		wantToken(t, s, "t1")
		if time.Since(begun) != 0 {
			t.Error("the token had to be waited for")
		}
		e.want(t, 1)
	})
}

func TestNobodyWaitsLongerThanTheTimeout(t *testing.T) {
	deaf := func(context.Context) (Token, error) { // does not heed its context
		time.Sleep(time.Minute)
		return Token{Value: "late"}, nil
	}
	for name, fetch := range map[string]Fetch{"hanging": (&endpoint{takes: time.Hour}).fetch, "deaf": deaf} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{Fetch: fetch, Timeout: 3 * time.Second})
				defer s.Close()
				var wg sync.WaitGroup
				for i := range 6 {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * time.Second / 2)
						begun := time.Now()
						_, err := s.Token(t.Context())
						if err == nil || !strings.Contains(err.Error(), "no token came within 3s") {
							t.Errorf("got %v", err)
						}
						if d := time.Since(begun); d > 3*time.Second {
							t.Errorf("waited %v", d)
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

func TestRenewedAheadWhileItServes(t *testing.T) {
	e := &endpoint{takes: time.Second, life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		sleep(time.Hour - 62*time.Second)
		e.want(t, 1)
		begun := time.Now()
		value := "t1"
		for time.Since(begun) < 2*time.Minute {
			got, err := s.Token(t.Context())
			if err != nil || got.Value < value {
				t.Fatalf("%q after %q, %v", got.Value, value, err)
			}
			value = got.Value
			sleep(100 * time.Millisecond)
		}
		if time.Since(begun) != 2*time.Minute {
			t.Error("somebody waited")
		}
		if value != "t2" {
			t.Errorf("still %s", value)
		}
		e.want(t, 2)
	})
}

func TestATokenThatNobodyUsesIsNotRenewed(t *testing.T) {
	e := &endpoint{life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		sleep(24 * time.Hour)
		e.want(t, 2) // t1 was used, t2 was not
		wantToken(t, s, "t3")
		e.want(t, 3)
	})
}

func TestAnUnusedTokenIsRenewedByWhoComesNearItsEnd(t *testing.T) {
	e := &endpoint{life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		s.Prefetch()
		sleep(time.Hour - 5*time.Second)
		e.want(t, 1)
		wantToken(t, s, "t1")
		synctest.Wait()
		wantToken(t, s, "t2")
		e.want(t, 2)
	})
}

func TestWithoutTimersCallersWait(t *testing.T) {
	e := &endpoint{takes: time.Second, life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		e.fail(errors.New("down"))
		sleep(time.Hour)
		sleep(2 * time.Minute)
		e.heal()
		begun := time.Now()
		if got, err := s.Token(t.Context()); err != nil || got.Value == "t1" {
			t.Errorf("%q, %v", got.Value, err)
		}
		if time.Since(begun) != time.Second {
			t.Errorf("waited %v for a fetch of 1s", time.Since(begun))
		}
	})
}

func TestAValidTokenServesWhileTheEndpointFails(t *testing.T) {
	e := &endpoint{life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		e.fail(errors.New("down"))
		sleep(time.Hour - time.Second)
		for range 1000 {
			wantToken(t, s, "t1")
		}
		tries := e.asked.Load() - 1
		if tries < 4 || tries > 8 { // within a minute: 0, 1, 3, 7, 15, 31 s after the first
			t.Errorf("%d tries ahead", tries)
		}
		sleep(time.Second)
		if _, err := s.Token(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "down") {
			t.Errorf("an ended token was given out, or the error is not told: %v", err)
		}
	})
}

func TestFailuresAreRememberedWithGrowingPauses(t *testing.T) {
	for name, failure := range map[string]error{
		"failing": errors.New("500"),
		"refused": &Failure{Err: errors.New("500"), Permanent: true},
	} {
		t.Run(name, func(t *testing.T) {
			e := new(endpoint)
			e.fail(failure)
			bubble(t, e, Config{}, func(t *testing.T, s *Source) {
				var last time.Time
				var pauses []time.Duration
				for begun := time.Now(); time.Since(begun) < 10*time.Minute; sleep(10 * time.Millisecond) {
					before := e.asked.Load()
					_, err := s.Token(t.Context())
					if !errors.Is(err, failure) {
						t.Fatalf("got %v", err)
					}
					if e.asked.Load() > before {
						if !last.IsZero() {
							pauses = append(pauses, time.Since(last))
						}
						last = time.Now()
					} else if !strings.Contains(err.Error(), "not tried again for") {
						t.Fatalf("got %v", err)
					}
				}
				for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
					want *= time.Second
					if got := pauses[i]; got < want*4/5 || got > want+10*time.Millisecond {
						t.Errorf("pause %d is %v, want about %v", i, got, want)
					}
				}
			})
		})
	}
}

func TestRetryAfterIsKeptUpToABound(t *testing.T) {
	for _, c := range []struct{ asked, want time.Duration }{
		{30 * time.Second, 30 * time.Second},
		{time.Hour, 5 * time.Minute},
	} {
		e := new(endpoint)
		e.fail(fmt.Errorf("token endpoint: %w", &Failure{Err: errors.New("429"), RetryAfter: c.asked}))
		bubble(t, e, Config{}, func(t *testing.T, s *Source) {
			_, _ = s.Token(t.Context())
			e.heal()
			sleep(c.want - time.Second)
			if _, err := s.Token(t.Context()); err == nil {
				t.Error("the endpoint was asked too early")
			}
			e.want(t, 1)
			sleep(time.Second)
			wantToken(t, s, "t2")
		})
	}
}

func TestASuccessEndsTheBackoff(t *testing.T) {
	e := &endpoint{life: time.Hour}
	e.fail(errors.New("down"))
	var last Event
	bubble(t, e, Config{Observe: func(v Event) { last = v }}, func(t *testing.T, s *Source) {
		for range 5 {
			_, _ = s.Token(t.Context())
			sleep(time.Minute)
		}
		if last.Failures != 5 {
			t.Errorf("%d failures", last.Failures)
		}
		e.heal()
		wantToken(t, s, "t6")
		e.fail(errors.New("down"))
		sleep(time.Minute)
		_, _, _ = s.Renew(t.Context(), "t6")
		if last.Failures != 1 || last.RetryIn > time.Second {
			t.Errorf("after a success: %+v", last)
		}
	})
}

func TestWhatNoFetchMayBring(t *testing.T) {
	for name, c := range map[string]struct {
		fetch Fetch
		want  string
	}{
		"nothing": {func(context.Context) (Token, error) { return Token{}, nil }, "the token is empty"},
		"a panic": {func(context.Context) (Token, error) { panic("oh") }, "panic: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, local := range []bool{false, true} {
				s := New(Config{Fetch: c.fetch, Local: local})
				if got, err := s.Token(t.Context()); err == nil || err.Error() != c.want || got.Value != "" {
					t.Errorf("%q, %v", got.Value, err)
				}
				s.Close()
			}
		})
	}
}

func TestCloseEndsEverything(t *testing.T) {
	e := &endpoint{life: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Fetch: e.fetch})
		wantToken(t, s, "t1")
		s.Close()
		wantToken(t, s, "t1") // requests under way still have it
		sleep(2 * time.Hour)
		e.want(t, 1)
		if _, err := s.Token(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
		s.Close()
	})
	hanging := &endpoint{takes: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Fetch: hanging.fetch})
		go func() {
			if _, err := s.Token(t.Context()); !errors.Is(err, errClosed) {
				t.Errorf("got %v", err)
			}
		}()
		synctest.Wait()
		begun := time.Now()
		s.Close()
		if time.Since(begun) != 0 {
			t.Error("Close waited for the endpoint")
		}
		if st := s.State(); st.Failures != 0 {
			t.Errorf("ending a fetch counts as its failure: %+v", st)
		}
	})
}

func TestObserveAndState(t *testing.T) {
	e := &endpoint{takes: time.Second, life: time.Hour}
	var events []Event
	bubble(t, e, Config{Observe: func(v Event) { events = append(events, v) }}, func(t *testing.T, s *Source) {
		begun := time.Now()
		e.fail(errors.New("down"))
		_, _ = s.Token(t.Context())
		if len(events) != 1 || events[0].Err == nil || events[0].Reason != Needed || events[0].Failures != 1 ||
			events[0].Took != time.Second || events[0].RetryIn < 800*time.Millisecond || events[0].RetryIn > time.Second {
			t.Errorf("events %+v", events)
		}
		e.heal()
		sleep(time.Minute)
		wantToken(t, s, "t2")
		if last := events[len(events)-1]; len(events) != 2 || last.Err != nil || !last.Expires.Equal(time.Now().Add(time.Hour)) {
			t.Errorf("events %+v", events)
		}
		st := s.State()
		want := State{
			Obtained: begun.Add(61 * time.Second), Expires: begun.Add(62*time.Second + time.Hour),
			LastError: "down", LastErrorAt: begun.Add(time.Second), Fetches: 2, Failures: 1,
		}
		if !st.Obtained.Equal(want.Obtained) || !st.Expires.Equal(want.Expires) || !st.LastErrorAt.Equal(want.LastErrorAt) ||
			st.LastError != want.LastError || st.Fetches != 2 || st.Failures != 1 {
			t.Errorf("state %+v, want %+v", st, want)
		}
	})
}

func TestLocalTokensAreMadeByTheirCallers(t *testing.T) {
	e := &endpoint{life: 5 * time.Minute}
	bubble(t, e, Config{Local: true}, func(t *testing.T, s *Source) {
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() { wantToken(t, s, "t1") })
		}
		wg.Wait()
		e.want(t, 1)
		sleep(5*time.Minute - 20*time.Second)
		e.want(t, 1) // nothing goes on by itself
		wantToken(t, s, "t2")
		e.fail(errors.New("no key"))
		sleep(5*time.Minute - time.Second)
		wantToken(t, s, "t2") // valid, though none can be made
		sleep(time.Second)
		for range 3 { // nothing is remembered
			if _, err := s.Token(t.Context()); err == nil || err.Error() != "no key" {
				t.Errorf("got %v", err)
			}
		}
		e.heal()
		if _, err := s.Token(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensDoNotPrint(t *testing.T) {
	tok := Token{Value: "canary-1234"}
	b, err := tok.MarshalJSON()
	for _, s := range []string{fmt.Sprint(tok), fmt.Sprintf("%+v %#v %s", tok, &tok, tok), string(b), tok.LogValue().String()} {
		if strings.Contains(s, "canary") || err != nil {
			t.Error(s, err)
		}
	}
}

func BenchmarkWarm(b *testing.B) {
	s := New(Config{Fetch: (&endpoint{life: time.Hour}).fetch})
	defer s.Close()
	ctx := context.Background()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Token(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
