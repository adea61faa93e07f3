package token

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// wantRenewed renews a token and expects what comes of it.
func wantRenewed(t *testing.T, s *Source, used, value string, newer bool) {
	t.Helper()
	got, n, err := s.Renew(t.Context(), used)
	if err != nil || got.Value != value || n != newer {
		t.Errorf("after %s: %q, newer %v, %v; want %q, %v", used, got.Value, n, err, value, newer)
	}
}

func TestRefusedTokensAreRenewedOnce(t *testing.T) {
	for name, local := range map[string]bool{"fetched": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{takes: time.Second, life: time.Hour}
			if local {
				e.takes = 0
			}
			bubble(t, e, Config{Local: local}, func(t *testing.T, s *Source) {
				wantToken(t, s, "t1")
				sleep(time.Minute)
				var wg sync.WaitGroup
				for range 50 {
					wg.Go(func() { wantRenewed(t, s, "t1", "t2", true) })
				}
				wg.Wait()
				wantRenewed(t, s, "t1", "t2", true) // who comes late has it too
				e.want(t, 2)
				wantToken(t, s, "t2")
			})
		})
	}
}

func TestATokenThatHasJustComeIsNotRenewed(t *testing.T) {
	for name, local := range map[string]bool{"fetched": false, "local": true} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{life: time.Hour}
			bubble(t, e, Config{Local: local}, func(t *testing.T, s *Source) {
				wantToken(t, s, "t1")
				sleep(4 * time.Second)
				wantRenewed(t, s, "t1", "t1", false)
				e.want(t, 1)
				sleep(time.Second)
				wantRenewed(t, s, "t1", "t2", true)
				for range 4 { // the upstream refuses the next one, too
					wantRenewed(t, s, "t2", "t2", false)
					sleep(time.Second)
				}
				e.want(t, 2)
				sleep(time.Second)
				wantRenewed(t, s, "t2", "t3", true)
			})
		})
	}
}

func TestRenewWaitsForWhatIsUnderWay(t *testing.T) {
	e := &endpoint{takes: time.Second, life: time.Minute}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		for e.asked.Load() == 1 {
			sleep(100 * time.Millisecond)
		}
		begun := time.Now()
		wantRenewed(t, s, "t1", "t2", true)
		if time.Since(begun) > time.Second {
			t.Error("it waited for a fetch of its own")
		}
		e.want(t, 2)
	})
}

func TestTheSameTokenAgainIsNoNewOne(t *testing.T) {
	var asked atomic.Int64
	e := &endpoint{life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		s.cfg.Fetch = func(context.Context) (Token, error) {
			asked.Add(1)
			return Token{Value: "same", Expires: time.Now().Add(time.Hour)}, nil
		}
		wantToken(t, s, "same")
		sleep(time.Minute)
		for range 20 {
			wantRenewed(t, s, "same", "same", false)
			sleep(100 * time.Millisecond)
		}
		if asked.Load() != 2 {
			t.Errorf("asked %d times", asked.Load())
		}
	})
}

func TestAFailedRenewalLeavesTheTokenInPlace(t *testing.T) {
	e := &endpoint{life: time.Hour}
	bubble(t, e, Config{}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		sleep(time.Minute)
		down := errors.New("down")
		e.fail(down)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, newer, err := s.Renew(t.Context(), "t1"); !errors.Is(err, down) || newer || got.Value != "t1" {
					t.Errorf("%q, %v, %v", got.Value, newer, err)
				}
			})
		}
		wg.Wait()
		e.want(t, 2)
		wantToken(t, s, "t1")
		e.heal()
		sleep(4 * time.Second) // the back-off is over, the 5 s are not
		if _, newer, err := s.Renew(t.Context(), "t1"); newer || !errors.Is(err, down) {
			t.Errorf("%v, %v", newer, err)
		}
		e.want(t, 2)
		sleep(time.Second)
		wantRenewed(t, s, "t1", "t3", true)
	})
}

func TestAnEndedTokenIsRenewedLikeAMissingOne(t *testing.T) {
	e := &endpoint{life: time.Second}
	bubble(t, e, Config{Local: true}, func(t *testing.T, s *Source) {
		wantToken(t, s, "t1")
		sleep(2 * time.Second)
		wantRenewed(t, s, "t1", "t2", true)
	})
	cold := &endpoint{life: time.Hour}
	bubble(t, cold, Config{}, func(t *testing.T, s *Source) {
		wantRenewed(t, s, "from another source", "t1", true)
		if _, newer, err := s.Renew(t.Context(), ""); newer || err == nil {
			t.Errorf("nothing was used, but %v, %v", newer, err)
		}
	})
}

func TestCallersAreApartAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(100)
		defer c.Close()
		key := func(i int) (k [32]byte) { k[0], k[1] = byte(i), byte(i>>8); return }
		endpoints := make([]*endpoint, 300)
		for i := range endpoints {
			e := &endpoint{life: time.Hour, takes: time.Second}
			endpoints[i] = e
			if c.Get(key(i)) != nil {
				t.Fatal("a source is there already")
			}
			s := c.Add(key(i), Config{Fetch: e.fetch})
			if c.Get(key(i)) != s || c.Add(key(i), Config{}) != s {
				t.Fatal("another source for the same key")
			}
			go wantToken(t, s, "t1") // also those who had to go get their token
		}
		sleep(2 * time.Second)
		if c.Len() != 100 {
			t.Errorf("%d callers are held", c.Len())
		}
		for i, e := range endpoints {
			e.want(t, 1)
			if held := c.Get(key(i)) != nil; held != (i >= 200) {
				t.Errorf("caller %d is held: %v", i, held)
			}
		}
		sleep(24 * time.Hour) // no token is used, so all have ended
		for i := range endpoints[:200] {
			c.Add(key(i), Config{Fetch: endpoints[i].fetch})
		}
		for _, e := range endpoints[:200] {
			e.want(t, 1) // evicted ones are not renewed
		}
	})
}

// Tokens that were over stayed in memory, one for each caller there had ever been.
// Sources: ory/oathkeeper@363ac04d
// Here: What has ended is let go, beside the bound on how many there are.
// Topic: caches
func TestPeer_oathkeeper_363ac04d_EndedCallersAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(0)
		defer c.Close()
		e := &endpoint{life: time.Second}
		for i := range 1000 {
			wantAny(t, c.Add([32]byte{byte(i), byte(i >> 8)}, Config{Fetch: e.fetch, Local: true}))
			sleep(100 * time.Millisecond)
		}
		if c.Len() > 20 {
			t.Errorf("%d callers are held, whose tokens ended after a second", c.Len())
		}
	})
}

func TestUntilBoundsTokens(t *testing.T) {
	e := &endpoint{life: time.Hour}
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(10 * time.Minute)
		s := New(Config{Fetch: e.fetch, Until: end})
		defer s.Close()
		wantToken(t, s, "t1")
		if got, _ := s.Token(t.Context()); !got.Expires.Equal(end) {
			t.Errorf("it ends %v after its caller", got.Expires.Sub(end))
		}
		sleep(10*time.Minute - time.Millisecond)
		wantToken(t, s, "t1")
		e.want(t, 1) // another would end at the same time
	})
}

func TestCloseOfCallersEndsThemAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCallers(0)
		for i := range 10 {
			s := c.Add([32]byte{byte(i)}, Config{Fetch: (&endpoint{takes: time.Hour}).fetch})
			go func() {
				if _, err := s.Token(t.Context()); !errors.Is(err, errClosed) {
					t.Errorf("got %v", err)
				}
			}()
		}
		synctest.Wait()
		c.Close()
	})
}

func wantAny(t *testing.T, s *Source) {
	t.Helper()
	if got, err := s.Token(t.Context()); err != nil || got.Value == "" {
		t.Errorf("%q, %v", got.Value, err)
	}
}
