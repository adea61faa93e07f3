package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/caddy-rr/caddy-rr/store"
)

var watches = []trial{
	{"changes are told", func(s *subject) {
		s.apply(create("b", "k", "v"))
		s.apply(put("b", "k", 5, "w"), create("c", "l", "v"))
		s.apply(remove("b", "k"))
		same(s, "changes", s.collect(0, 4), []store.Change{
			{Revision: 1, Bucket: "b", Key: "k", Version: 1},
			{Revision: 2, Bucket: "b", Key: "k", Version: 5},
			{Revision: 2, Bucket: "c", Key: "l", Version: 1},
			{Revision: 3, Bucket: "b", Key: "k"},
		})
	}},
	{"what was refused is not told", func(s *subject) {
		s.apply(create("b", "k", "v"))
		s.refused(store.ErrConflict, create("b", "l", "v"), create("b", "k", "v"))
		s.apply(create("b", "m", "v"))
		same(s, "changes", s.collect(0, 2), []store.Change{
			{Revision: 1, Bucket: "b", Key: "k", Version: 1},
			{Revision: 2, Bucket: "b", Key: "m", Version: 1},
		})
	}},
	{"watching goes on where it was left", func(s *subject) {
		const count = 50
		for i := range uint64(count) {
			s.apply(put("b", "k", i+1, "v"), put("c", "k", i+1, "v"))
		}
		all := s.collect(0, 2*count)
		for after := range count {
			same(s, fmt.Sprint("changes after ", after), s.collect(uint64(after), len(all)-2*after), all[2*after:])
		}
	}},
	{"what is told can be read", testToldIsThere},
	{"watching waits", testWatchWaits},
	{"watching ends with its call", testWatchEnds},
	{"nobody misses a change", testNoGap},
	{"a revision that is not known", func(s *subject) {
		s.apply(create("b", "k", "v"))
		for _, after := range []uint64{2, 1000, store.Any} {
			trimmed(s, after)
		}
		s.reopen()
		trimmed(s, 2)
	}},
	{"a slow watcher has all, or is told so", testSlow},
}

// trimmed expects that watching cannot begin after a revision.
func trimmed(s *subject, after uint64) {
	s.Helper()
	ended := false
	for c, err := range s.Watch(s.ctx, after) {
		if !errors.Is(err, store.ErrTrimmed) || ended {
			s.Fatalf("Watch after %d: %v, %v", after, c, err)
		}
		ended = true
	}
	if !ended {
		s.Fatalf("Watch after %d ended without a word", after)
	}
}

func testToldIsThere(s *subject) {
	const count = 100
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(count) {
			if _, err := s.Apply(s.ctx, put("b", "k", i+1, "v")); err != nil {
				s.Errorf("Apply: %v", err)
			}
		}
	})
	for c, err := range s.Watch(s.ctx, 0) {
		if err != nil {
			s.Errorf("Watch: %v", err)
			break
		}
		e, err := s.Get(s.ctx, c.Bucket, c.Key)
		if err != nil || e.Version < c.Version {
			s.Errorf("told of version %d, there is %d, %v", c.Version, e.Version, err)
		}
		if r := s.revision(); r < c.Revision {
			s.Errorf("told of revision %d, the store's is %d", c.Revision, r)
		}
		if c.Revision == count {
			break
		}
	}
	wg.Wait()
}

func testWatchWaits(s *subject) {
	s.apply(create("b", "old", "v"))
	told := make(chan store.Change)
	ctx, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(told)
		for c, err := range s.Watch(ctx, 1) {
			if err == nil {
				told <- c
			}
		}
	})
	for i := range uint64(5) {
		select {
		case c := <-told:
			s.Fatalf("told of %v before it was written", c)
		default:
		}
		s.apply(put("b", "k", i+1, "v"))
		if c := <-told; c.Version != i+1 || c.Revision != i+2 {
			s.Fatalf("change %d is told as %v", i, c)
		}
	}
	cancel()
	wg.Wait()
}

func testWatchEnds(s *subject) {
	s.apply(create("b", "k", "v"))
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var last error
	for _, err := range s.Watch(ctx, 0) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		s.Errorf("it ended with %v", last)
	}
	for range s.Watch(s.ctx, 0) {
		break // leaving it must not hold anything
	}
	s.apply(create("b", "l", "v"))
}

// testNoGap has watchers begin at any time between writers' changes.
func testNoGap(s *subject) {
	const writers, each, watchers = 8, 25, 6
	total := uint64(writers * each)
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for i := range uint64(each) {
				if _, err := s.Apply(s.ctx, put("b", fmt.Sprint(n), i+1, "v"), put("c", fmt.Sprint(n), i+1, "v")); err != nil {
					s.Errorf("Apply: %v", err)
				}
			}
		})
	}
	for range watchers {
		wg.Go(func() {
			after, err := s.Revision(s.ctx)
			if err != nil {
				s.Errorf("Revision: %v", err)
				return
			}
			checkNoGap(s, after, total)
			checkNoGap(s, 0, total)
		})
	}
	wg.Wait()
}

// checkNoGap watches until a revision: each has its two writes, in their order.
func checkNoGap(s *subject, after, until uint64) {
	if after == until {
		return
	}
	expect, half := after+1, store.Change{}
	for c, err := range s.Watch(s.ctx, after) {
		switch {
		case err != nil:
			s.Errorf("Watch: %v", err)
			return
		case c.Revision != expect:
			s.Errorf("revision %d came instead of %d", c.Revision, expect)
			return
		case c.Bucket == "b" && half.Key == "":
			half = c
			continue
		case c.Bucket != "c" || half.Key != c.Key || half.Version != c.Version:
			s.Errorf("%v came after %v", c, half)
			return
		}
		if c.Revision == until {
			return
		}
		expect, half = expect+1, store.Change{}
	}
}

// testSlow has a watcher look away while more changes are made than a store has to
// remember.
func testSlow(s *subject) {
	const changes, writes = 100, 400
	s.apply(create("b", "first", "v"))
	var got []store.Change
	for c, err := range s.Watch(s.ctx, 0) {
		if errors.Is(err, store.ErrTrimmed) {
			break
		}
		if err != nil {
			s.Fatalf("Watch: %v", err)
		}
		if got = append(got, c); len(got) == 1 {
			for i := range uint64(changes) {
				batch := make([]store.Write, writes)
				for j := range batch {
					batch[j] = put("b", fmt.Sprint(j), i+1, "v")
				}
				s.apply(batch...)
			}
		}
		if len(got) == 1+changes*writes {
			break
		}
	}
	for i, c := range got[1:] {
		want := store.Change{Revision: uint64(i/writes) + 2, Bucket: "b", Key: fmt.Sprint(i % writes), Version: uint64(i/writes) + 1}
		if c != want {
			s.Fatalf("change %d is %v, want %v", i, c, want)
		}
	}
}
