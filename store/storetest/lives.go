package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/caddy-rr/caddy-rr/store"
)

var lives = []trial{
	{"what was acknowledged is there after opening again", testReopen},
	{"watching goes on after opening again", func(s *subject) {
		fill(s, "b", 10)
		s.apply(create("b", "k", "v"))
		s.reopen()
		if r := s.revision(); r != 2 {
			s.Fatalf("the revision is %d", r)
		}
		s.apply(create("c", "k", "v"))
		same(s, "changes", s.collect(2, 1), []store.Change{{Revision: 3, Bucket: "c", Key: "k", Version: 1}})
		for c, err := range s.Watch(s.ctx, 1) { // the store may know it, or not any more
			if err == nil && c.Revision != 2 || err != nil && !errors.Is(err, store.ErrTrimmed) {
				s.Errorf("watching after revision 1: %v, %v", c, err)
			}
			break
		}
	}},
	{"what is closed says so", testClosed},
	{"watching ends when the store is closed", func(s *subject) {
		s.apply(create("b", "k", "v"))
		began := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			var last error
			for _, err := range s.Watch(s.ctx, 0) {
				if last = err; err == nil {
					close(began)
				}
			}
			if !errors.Is(last, store.ErrUnavailable) {
				s.Errorf("it ended with %v", last)
			}
		})
		<-began
		if err := s.Close(); err != nil {
			s.Error(err)
		}
		wg.Wait()
	}},
	{"closing while others write", testCloseWhileWriting},
	{"the room of what was deleted is given back", testCompact},
}

func testReopen(s *subject) {
	fill(s, "b", 500)
	s.apply(put("b", "000007", 9, "changed"), remove("b", "000008"), create("c", "empty", ""))
	var before [][]store.Entry
	for range 3 {
		now := [][]store.Entry{s.list("b", ""), s.list("c", "")}
		for i, list := range before {
			for j, e := range list {
				if n := now[i][j]; n.Key != e.Key || n.Version != e.Version || string(n.Value) != string(e.Value) {
					s.Fatalf("%q, version %d, is now %q, version %d", e.Key, e.Version, n.Key, n.Version)
				}
			}
			if len(list) != len(now[i]) {
				s.Fatalf("%d records are now %d", len(list), len(now[i]))
			}
		}
		before = now
		s.reopen()
	}
	s.has("b", "000007", 9, "changed")
	s.has("c", "empty", 1, "")
	s.lacks("b", "000008")
	s.refused(store.ErrConflict, create("b", "000007", "v"))
	if r := s.apply(create("b", "more", "v")); r != 3 {
		s.Errorf("the next change made revision %d", r)
	}
}

func testClosed(s *subject) {
	s.apply(create("b", "k", "v"))
	for range 2 {
		if err := s.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
	_, errGet := s.Get(s.ctx, "b", "k")
	_, errApply := s.Apply(s.ctx, create("b", "l", "v"))
	_, errRevision := s.Revision(s.ctx)
	var errList, errWatch error
	for _, errList = range s.List(s.ctx, "b", "") {
	}
	for _, errWatch = range s.Watch(s.ctx, 1) {
	}
	for what, err := range map[string]error{
		"Get": errGet, "Apply": errApply, "Revision": errRevision, "List": errList, "Watch": errWatch,
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			s.Errorf("%s: %v", what, err)
		}
	}
	s.open()
	s.has("b", "k", 1, "v")
	s.lacks("b", "l")
}

func testCloseWhileWriting(s *subject) {
	const writers = 8
	var acknowledged [writers]uint64
	var count atomic.Int64
	enough := make(chan struct{})
	var wg sync.WaitGroup
	b := s.Backend
	for n := range writers {
		wg.Go(func() {
			for v := uint64(1); ; v++ {
				_, err := b.Apply(s.ctx, put("b", fmt.Sprint(n), v, telling(fmt.Sprint(n), v)))
				if err != nil {
					if !errors.Is(err, store.ErrUnavailable) {
						s.Errorf("Apply: %v", err)
					}
					return
				}
				acknowledged[n] = v
				if count.Add(1) == 50 {
					close(enough)
				}
			}
		})
	}
	<-enough
	s.reopen()
	wg.Wait()
	for n, v := range acknowledged {
		if v > 0 {
			s.has("b", fmt.Sprint(n), v, telling(fmt.Sprint(n), v))
		}
	}
}

// testCompact is for stores that are Compacters: nothing is lost and no call fails while
// they do it, and the changes stay known.
func testCompact(s *subject) {
	compacter, ok := s.Backend.(store.Compacter)
	if !ok {
		s.Log("it is no Compacter: nothing to try")
		return
	}
	stay := fill(s, "b", 1000)
	var gone []store.Write
	for _, key := range fill(s, "c", 3000)[1:] {
		gone = append(gone, remove("c", key))
	}
	s.apply(gone...)
	from := s.revision()
	done := make(chan struct{})
	var wg sync.WaitGroup
	var version uint64
	wg.Go(func() {
		for version = 1; ; version++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.Apply(s.ctx, put("d", "k", version, telling("k", version)), put("d", fmt.Sprint(version), 1, "v")); err != nil {
				s.Errorf("Apply: %v", err)
				return
			}
			checkList(s, stay)
		}
	})
	for range 3 {
		before, after, err := compacter.Compact(s.ctx)
		if err != nil {
			s.Errorf("Compact: %v", err)
		}
		if before <= 0 || after <= 0 {
			s.Errorf("its sizes are %d and %d", before, after)
		}
	}
	close(done)
	wg.Wait()
	for i, c := range s.collect(from, int(version-1)*2) {
		if want := from + 1 + uint64(i/2); c.Revision != want {
			s.Fatalf("change %d has revision %d, want %d", i, c.Revision, want)
		}
	}
	s.reopen()
	checkList(s, stay)
	s.has("d", "k", version-1, telling("k", version-1))
	if n := len(s.list("d", "")); n != int(version) {
		s.Errorf("%d of %d records are there", n, version)
	}
	same(s, "what was not deleted", keys(s.list("c", "")), []string{"000000"})
}
