package jwks

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRefreshReplacesKeys(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b")
		i.header.Set("Cache-Control", "public, max-age=120")
		s := newSource(i)
		changes := watch(s)
		start(t, s)
		i.show("b")
		pass(100 * time.Second)
		expectFound(t, s, "a")
		pass(21 * time.Second)
		expectUnknown(t, s, "a")
		expectFound(t, s, "b")
		if changes.Load() != 2 {
			t.Errorf("%d changes", changes.Load())
		}
		pass(time.Hour) // the same over and over is no change
		if changes.Load() != 2 {
			t.Errorf("%d changes", changes.Load())
		}
	})
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		first, second := watch(s), 0
		unsubscribe := s.Subscribe(func() { second++ })
		start(t, s)
		unsubscribe()
		i.show("b")
		expectFound(t, s, "b")
		if first.Load() != 2 || second != 1 {
			t.Errorf("told %d and %d times", first.Load(), second)
		}
	})
}

func TestSchedule(t *testing.T) {
	for name, tt := range map[string]struct {
		header   http.Header
		min, max time.Duration // zero: the defaults
		want     time.Duration
	}{
		"nothing said":         {http.Header{}, 0, 0, 15 * time.Minute},
		"nothing said, low":    {http.Header{}, 0, 5 * time.Minute, 5 * time.Minute},
		"nothing said, high":   {http.Header{}, 30 * time.Minute, 0, 30 * time.Minute},
		"max-age":              {http.Header{"Cache-Control": {"public, max-age=600, must-revalidate"}}, 0, 0, 10 * time.Minute},
		"too short":            {http.Header{"Cache-Control": {"max-age=1"}}, 0, 0, time.Minute},
		"too long":             {http.Header{"Cache-Control": {"max-age=999999999999999999999"}}, 0, 0, time.Hour},
		"no-store":             {http.Header{"Cache-Control": {"max-age=600", "no-store"}}, 0, 0, time.Minute},
		"less its age":         {http.Header{"Cache-Control": {"max-age=600"}, "Age": {"300"}}, 0, 0, 5 * time.Minute},
		"older than its age":   {http.Header{"Cache-Control": {"max-age=600"}, "Age": {"999999999999"}}, 0, 0, time.Minute},
		"expires":              {http.Header{"Date": {"Mon, 01 Jan 2024 00:00:00 GMT"}, "Expires": {"Mon, 01 Jan 2024 00:20:00 GMT"}}, 0, 0, 20 * time.Minute},
		"expired":              {http.Header{"Expires": {"0"}}, 0, 0, time.Minute},
		"max-age goes first":   {http.Header{"Cache-Control": {"max-age=600"}, "Expires": {"0"}}, 0, 0, 10 * time.Minute},
		"max-age is no number": {http.Header{"Cache-Control": {"max-age=soon"}}, 0, 0, time.Minute},
		"min is max":           {http.Header{"Cache-Control": {"max-age=600"}}, time.Minute, time.Minute, time.Minute},
		"min over default max": {http.Header{}, 2 * time.Hour, 0, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i := newIssuer("a")
				i.header = tt.header
				s := newSource(i, func(c *Config) { c.RefreshMin, c.RefreshMax = tt.min, tt.max })
				start(t, s)
				next := time.Until(s.Stats().NextFetch)
				if next > tt.want || next < tt.want-tt.want/10 {
					t.Errorf("the next fetch is in %v, want %v", next, tt.want)
				}
				pass(next - time.Millisecond)
				expectFetches(t, i, keysURL, 1)
				pass(time.Millisecond)
				expectFetches(t, i, keysURL, 2)
			})
		})
	}
}

func TestJitter(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := jitter(time.Hour)
		if d > time.Hour || d < 54*time.Minute {
			t.Errorf("an hour became %v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("only %d times differ", len(seen))
	}
}

func TestUnknownKidsDoNotPutOffTheSchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		next := s.Stats().NextFetch
		for n := range 20 {
			expectUnknown(t, s, fmt.Sprint(n))
			pass(11 * time.Second)
		}
		if !s.Stats().NextFetch.Equal(next) {
			t.Errorf("the next fetch was put off by %v", s.Stats().NextFetch.Sub(next))
		}
	})
}

func TestBackoff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.down = true
		s := newSource(i)
		start(t, s)
		begin := time.Now()
		for _, wait := range []time.Duration{1, 2, 4, 8, 10, 10, 10, 10, 10} {
			wait *= time.Second
			next := time.Until(s.Stats().NextFetch)
			if next > wait || next < wait-wait/10 {
				t.Fatalf("the next fetch is in %v, want %v", next, wait)
			}
			if got := expectUnavailable(t, s, "a"); got != max(next, time.Second) {
				t.Errorf("retry after %v, want %v", got, next)
			}
			pass(next)
		}
		if d := time.Since(begin); i.count(keysURL) != 10 || d > 65*time.Second {
			t.Errorf("%d fetches in %v", i.count(keysURL), d)
		}
		i.set(func() { i.down = false })
		pass(time.Minute)
		expectFound(t, s, "a")
		i.set(func() { i.down = true })
		pass(20 * time.Minute) // the back-off begins anew
		if n := i.count(keysURL); n < 11+7 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestIssuerDownForAnHour(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		i.set(func() { i.down = true })
		for range 60 {
			pass(time.Minute)
			expectFound(t, s, "a")
		}
		i.set(func() { i.down = false; i.documents[keysURL] = keySet("b") })
		pass(time.Minute)
		expectFound(t, s, "b")
		expectUnknown(t, s, "a")
	})
}

func TestMaxStale(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		changes := watch(s)
		start(t, s)
		i.set(func() { i.down = true })
		pass(24 * time.Hour)
		expectFound(t, s, "a")
		if changes.Load() != 1 {
			t.Errorf("%d changes", changes.Load())
		}
		pass(time.Second)
		expectUnavailable(t, s, "a")
		if s.Set() != nil || changes.Load() != 2 || s.Stats().Keys != 0 {
			t.Errorf("the keys are %v, %d changes", s.Set(), changes.Load())
		}
		i.set(func() { i.down = false })
		pass(time.Minute)
		expectFound(t, s, "a")
		if changes.Load() != 3 {
			t.Errorf("%d changes", changes.Load())
		}
	})
}

func TestMaxStaleShorterThanTheSchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i, func(c *Config) { c.MaxStale = time.Minute })
		changes := watch(s)
		start(t, s)
		for range 600 {
			pass(time.Second)
			expectFound(t, s, "a")
		}
		if changes.Load() != 1 {
			t.Errorf("%d changes", changes.Load())
		}
	})
}

// When a machine sleeps, timers do not run and time passes.
func TestClockJump(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		s := newSource(i)
		start(t, s)
		s.mu.Lock()
		s.current.Load().at = time.Now().Add(-25 * time.Hour).Round(0)
		s.mu.Unlock()
		if s.Set() != nil {
			t.Error("keys of yesterday")
		}
		expectFound(t, s, "a") // it has fetched at once
		expectFetches(t, i, keysURL, 2)
	})
}

func TestStartWithoutIssuer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.down = true
		logs, logged := withLog()
		s := newSource(i, logged)
		start(t, s)
		expectUnavailable(t, s, "a")
		pass(time.Hour)
		if n := logs.FilterMessage("fetching the issuer's keys failed").Len(); n < 6 || n > 7 {
			t.Errorf("an hour of outage has %d lines", n)
		}
		i.set(func() { i.down = false })
		pass(time.Minute)
		expectFound(t, s, "a")
		for _, line := range []string{"fetching the issuer's keys succeeds again", "the issuer's keys are loaded"} {
			if logs.FilterMessage(line).Len() != 1 {
				t.Errorf("%d lines %q", logs.FilterMessage(line).Len(), line)
			}
		}
	})
}

func TestFirstFetchIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.delay = 2 * time.Second
		s := newSource(i)
		s.Start()
		defer s.Stop()
		begin := time.Now()
		expectFound(t, s, "a")
		if d := time.Since(begin); d != 2*time.Second {
			t.Errorf("it took %v", d)
		}
		expectFetches(t, i, keysURL, 1)
	})
}

func TestBadAnswersKeepTheKeys(t *testing.T) {
	many := make([]string, 101)
	for n := range many {
		many[n] = fmt.Sprint(n)
	}
	for name, tt := range map[string]struct{ body, reason string }{
		"empty set":      {`{"keys":[]}`, "no key that can be used"},
		"no usable key":  {`{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA"},17]}`, "no key that can be used"},
		"no keys member": {`{}`, "list"},
		"HTML":           {"<!doctype html><title>s3cret</title>", "JSON"},
		"empty":          {"", "JSON"},
		"twice":          {`{"keys":[],"keys":[]}`, "twice"},
		"too many":       {keySet(many...), "more than 100"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i := newIssuer("a")
				logs, logged := withLog()
				s := newSource(i, logged)
				start(t, s)
				i.set(func() { i.documents[keysURL] = tt.body })
				pass(20 * time.Minute)
				expectFound(t, s, "a")
				expectUnavailable(t, s, "x")
				err := s.Stats().LastError
				if err == nil || !strings.Contains(err.Error(), tt.reason) || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "issuer.example") {
					t.Errorf("the last error is %v", err)
				}
				if logs.FilterMessage("fetching the issuer's keys failed").Len() == 0 {
					t.Error("the log has nothing")
				}
			})
		})
	}
}

func TestStatusMustBe200(t *testing.T) {
	for _, status := range []int{201, 204, 401, 404, 429, 500, 503} {
		bubble(t, func(t *testing.T) {
			i := newIssuer("a")
			i.status = status
			s := newSource(i)
			start(t, s)
			expectUnavailable(t, s, "a")
			if err := s.Stats().LastError; err == nil || !strings.Contains(err.Error(), fmt.Sprint(status)) {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

func TestBadEntryIsSkippedAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer()
		i.documents[keysURL] = `{"keys":[{"kty":"RSA","kid":"bad"},` + jwk("a") + `,{"kty":"oct","k":"c2VjcmV0","kid":"shared"}]}`
		logs, logged := withLog()
		s := newSource(i, logged)
		start(t, s)
		expectFound(t, s, "a")
		expectUnknown(t, s, "bad")
		expectUnknown(t, s, "shared")
		pass(5 * time.Hour)
		if n := logs.FilterMessage("keys of the issuer are skipped").Len(); n != 1 {
			t.Errorf("%d lines", n)
		}
		i.set(func() { i.documents[keysURL] = `{"keys":[` + jwk("a") + `,17]}` })
		pass(time.Hour)
		if n := logs.FilterMessage("keys of the issuer are skipped").Len(); n != 2 {
			t.Errorf("%d lines after the content has changed", n)
		}
	})
}

func TestChangeIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b")
		logs, logged := withLog()
		s := newSource(i, logged, func(c *Config) { c.URL += "?key=s3cret" })
		i.documents[keysURL+"?key=s3cret"] = keySet("a", "b")
		start(t, s)
		i.set(func() { i.documents[keysURL+"?key=s3cret"] = keySet("b", "c") })
		pass(time.Hour)
		lines := logs.FilterMessage("the issuer's keys have changed").All()
		if len(lines) != 1 {
			t.Fatalf("%d lines", len(lines))
		}
		got := lines[0].ContextMap()
		if fmt.Sprint(got["added"], got["removed"], got["keys"]) != "[c] [a] 2" || got["jwks_url"] != keysURL {
			t.Errorf("the line has %v", got)
		}
		for _, line := range logs.All() {
			if strings.Contains(fmt.Sprint(line.Message, line.ContextMap()), "s3cret") {
				t.Errorf("the log has the query: %v", line)
			}
		}
	})
}

func TestStats(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b")
		s := newSource(i)
		if got := s.Stats(); got != (Stats{}) {
			t.Errorf("before the start: %+v", got)
		}
		start(t, s)
		first := time.Now()
		got := s.Stats()
		if !got.LastSuccess.Equal(first) || got.LastError != nil || got.Keys != 2 || got.Fetches != 1 || !got.NextFetch.After(first) {
			t.Errorf("after a fetch: %+v", got)
		}
		i.set(func() { i.down = true })
		pass(16 * time.Minute)
		got = s.Stats()
		if !got.LastSuccess.Equal(first) || !errors.Is(got.LastError, errDown) || got.Keys != 2 || got.Fetches < 2 {
			t.Errorf("after a failure: %+v", got)
		}
	})
}

func TestOrderOfKeysIsNoChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a", "b")
		s := newSource(i)
		changes := watch(s)
		start(t, s)
		i.show("b", "a")
		pass(time.Hour)
		if changes.Load() != 1 || !slices.Equal(kidsOf(s.Set()), []string{"b", "a"}) {
			t.Errorf("%d changes, %v", changes.Load(), kidsOf(s.Set()))
		}
	})
}
