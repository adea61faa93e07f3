package jwks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

func TestKnownKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b")
		s := newSource(i)
		start(t, s)
		keys, set, err := s.Keys(t.Context(), "a", true, "EdDSA")
		if err != nil || len(keys) != 1 || keys[0].ID != "a" || set != s.Set() {
			t.Errorf("got %v %v %v", keys, set, err)
		}
		// a known kid with an algorithm that does not go with its key
		if _, _, err := s.Keys(t.Context(), "a", true, "RS256"); !errors.Is(err, ErrUnknownKey) {
			t.Error(err)
		}
		// no kid: all that fit
		if keys, _, err := s.Keys(t.Context(), "", false, "EdDSA"); err != nil || len(keys) != 2 {
			t.Errorf("got %v %v", keys, err)
		}
		if _, _, err := s.Keys(t.Context(), "", false, "ES256"); !errors.Is(err, ErrUnknownKey) {
			t.Error(err)
		}
		expectUnknown(t, s, strings.Repeat("k", jose.MaxKeyID+1))
		expectFetches(t, i, keysURL, 1)
	})
}

func TestNoKidIsLimitedToEightKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var kids []string
		for n := range 20 {
			kids = append(kids, fmt.Sprint("k", n))
		}
		s := newSource(newIssuer(kids...))
		start(t, s)
		if keys, _, err := s.Keys(t.Context(), "", false, "EdDSA"); err != nil || len(keys) != 8 {
			t.Errorf("%d keys, %v", len(keys), err)
		}
	})
}

func TestRandomKidsCostTwoFetches(t *testing.T) {
	for name, wait := range map[string]bool{"when keys are there": true, "while the first fetch is under way": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i := newIssuer("a")
				i.delay = 200 * time.Millisecond
				s := newSource(i)
				s.Start()
				defer s.Stop()
				if wait {
					pass(time.Second)
				}
				var unknown atomic.Int64
				var group sync.WaitGroup
				for n := range 10_000 {
					group.Go(func() {
						if _, _, err := s.Keys(t.Context(), fmt.Sprint("random", n), true, "EdDSA"); errors.Is(err, ErrUnknownKey) {
							unknown.Add(1)
						}
					})
				}
				group.Wait()
				if unknown.Load() != 10_000 {
					t.Errorf("%d are unknown", unknown.Load())
				}
				if n := i.count(keysURL); n > 2 {
					t.Errorf("%d fetches", n)
				}
				if n := len(s.missing.until); n > maxMissing {
					t.Errorf("%d kids are remembered", n)
				}
				expectFound(t, s, "a")
			})
		})
	}
}

func TestUnknownKidInterval(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		expectUnknown(t, s, "x1")
		expectFetches(t, i, keysURL, 2)
		pass(9 * time.Second)
		expectUnknown(t, s, "x2")
		expectFetches(t, i, keysURL, 2)
		pass(time.Second)
		expectUnknown(t, s, "x1") // no longer remembered
		expectFetches(t, i, keysURL, 3)
		expectUnknown(t, s, "x2") // was not looked for, and is not now
		expectFetches(t, i, keysURL, 3)
		pass(11 * time.Second)
		expectUnknown(t, s, "x1")
		expectFetches(t, i, keysURL, 4)
	})
}

func TestNewKeySucceedsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		changes := watch(s)
		start(t, s)
		i.show("a", "b")
		expectFound(t, s, "b")
		expectFound(t, s, "a")
		expectFetches(t, i, keysURL, 2)
		if changes.Load() != 2 {
			t.Errorf("%d changes", changes.Load())
		}
	})
}

func TestNewKeyAfterAnAnswerUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.delay = time.Second
		s := newSource(i)
		s.Start()
		defer s.Stop()
		pass(500 * time.Millisecond) // the first answer is on its way, without b
		i.show("a", "b")
		expectFound(t, s, "b")
		expectFetches(t, i, keysURL, 2)
	})
}

func TestNewKeyAfterARefreshUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.delay = time.Second })
		pass(time.Until(s.Stats().NextFetch) + 500*time.Millisecond)
		expectFetches(t, i, keysURL, 2) // its answer is on its way, without b
		i.show("a", "b")
		expectFound(t, s, "b")
		expectFetches(t, i, keysURL, 3)
	})
}

func TestMissingKidsAreForgottenWhenKeysChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i, func(c *Config) { c.UnknownKidInterval = time.Hour })
		start(t, s)
		expectUnknown(t, s, "b") // remembered for two hours
		i.show("a", "c")
		pass(61 * time.Minute) // the schedule has seen c
		i.show("a", "b", "c")
		expectFound(t, s, "b")
	})
}

func TestUnknownKidWhileIssuerIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.down = true })
		expectUnavailable(t, s, "x") // its fetch failed
		expectUnavailable(t, s, "x") // limited, and the last fetch failed
		expectUnavailable(t, s, "y")
		expectFetches(t, i, keysURL, 2)
		expectFound(t, s, "a")
		i.set(func() { i.down = false })
		pass(2 * time.Second) // the loop has tried again
		expectFetches(t, i, keysURL, 3)
		expectUnknown(t, s, "y") // limited, and the last fetch succeeded
		expectFetches(t, i, keysURL, 3)
	})
}

func TestKeysWithoutNames(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("nameless1", "nameless2")
		s := newSource(i)
		start(t, s)
		for range 3 {
			if keys, _, err := s.Keys(t.Context(), "x", true, "EdDSA"); err != nil || len(keys) != 2 {
				t.Errorf("got %v %v", keys, err)
			}
		}
		expectFetches(t, i, keysURL, 1)
		// among named ones they are what is left
		i.show("nameless1", "a")
		pass(time.Hour)
		i.set(func() { i.down = true })
		before := i.count(keysURL)
		if keys, _, err := s.Keys(t.Context(), "x", true, "EdDSA"); err != nil || len(keys) != 1 || keys[0].ID != "" {
			t.Errorf("got %v %v", keys, err)
		}
		expectFetches(t, i, keysURL, before+1)
		// but who has left gets none
		i.set(func() { i.hang = true })
		pass(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := s.Keys(ctx, "y", true, "EdDSA"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHangingIssuerHoldsNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.hang = true })
		begin := time.Now()
		expectUnavailable(t, s, "x")
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("it took %v", d)
		}
		expectFound(t, s, "a")

		// nor a cold start
		c := newSource(i)
		begin = time.Now()
		c.Start()
		defer c.Stop()
		var group sync.WaitGroup
		for n := range 100 {
			group.Go(func() { expectUnavailable(t, c, fmt.Sprint(n)) })
		}
		group.Wait()
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestCallersWaitOnceForAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.delay = 4 * time.Second
		s := newSource(i)
		begin := time.Now()
		s.Start()
		defer s.Stop()
		// the first fetch and the one for x would be 8 s
		expectUnavailable(t, s, "x")
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestCallerLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.hang = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, _, err := s.Keys(ctx, "x", true, "EdDSA")
		if u := (*Unavailable)(nil); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &u) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := s.Keys(gone, "y", true, "EdDSA"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, _, err := s.Keys(gone, "a", true, "EdDSA"); err != nil {
			t.Errorf("what is known needs no waiting: %v", err)
		}
	})
}

func TestNotStarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		expectUnavailable(t, s, "a")
		pass(time.Hour)
		expectFetches(t, i, keysURL, 0)
		s.Stop()
		s.Start() // too late
		expectUnavailable(t, s, "a")
		expectFetches(t, i, keysURL, 0)
	})
}

func TestStopLetsWaitersGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.hang = true })
		done := make(chan error)
		go func() { done <- find(t, s, "x") }()
		synctest.Wait()
		begin := time.Now()
		s.Stop()
		if err := <-done; time.Since(begin) != 0 || !errors.Is(err, errStopped) {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		expectFound(t, s, "a") // of requests that are under way
		expectUnavailable(t, s, "y")
		s.Stop()
	})
}

func TestTwoSourcesNeverMix(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newIssuer("same"), newIssuer("other")
		two.documents[keysURL] = strings.Replace(keySet("other"), `"other"`, `"same"`, 1)
		m := new(memory)
		store := func(c *Config) { c.Storage = m }
		a := newSource(one, store, func(c *Config) { c.Issuer = "https://a.example" })
		b := newSource(two, store, func(c *Config) { c.Issuer = "https://b.example" })
		start(t, a)
		start(t, b)
		ka, _, _ := a.Keys(t.Context(), "same", true, "EdDSA")
		kb, _, _ := b.Keys(t.Context(), "same", true, "EdDSA")
		if len(ka) != 1 || len(kb) != 1 || ka[0].Thumbprint == kb[0].Thumbprint {
			t.Errorf("got %v and %v", ka, kb)
		}
		if len(m.data) != 2 {
			t.Errorf("the storage has %d records", len(m.data))
		}
	})
}

// Keys were replaced while requests read them, so that a request could meet half a set.
// Sources: coupergateway/couper#398
// Here: A set is replaced as a whole: whoever reads has the one before or the one after. (With the race detector.)
// Topic: jwks
func TestPeer_couper_398_KeysWhileTheyAreReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b0")
		s := newSource(i, func(c *Config) { c.RefreshMin, c.RefreshMax = time.Second, time.Second })
		start(t, s)
		stop := make(chan struct{})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					expectFound(t, s, "a")
					if set := s.Set(); !slices.Equal(kidsOf(set)[:1], []string{"a"}) || len(set.Keys()) != 2 {
						t.Error("half a set")
					}
					s.Stats()
				}
			})
		}
		for n := range 20 {
			i.show("a", fmt.Sprint("b", n))
			pass(time.Second)
		}
		close(stop)
		group.Wait()
	})
}

func TestMissingIsBounded(t *testing.T) {
	var m missing
	now := time.Now()
	for n := range 10 * maxMissing {
		m.add(fmt.Sprint(n), now.Add(time.Hour))
		m.add(fmt.Sprint(n), now.Add(2*time.Hour))
	}
	if len(m.until) != maxMissing || !m.has(fmt.Sprint(10*maxMissing-1), now.Add(time.Hour)) || m.has("0", now) {
		t.Errorf("%d are remembered", len(m.until))
	}
	m.clear()
	if len(m.until) != 0 {
		t.Error("not forgotten")
	}
	m.add("x", now)
	if m.has("x", now) {
		t.Error("remembered for too long")
	}
}
