package storetest

import (
	"fmt"
	"sync"

	"github.com/caddy-rr/caddy-rr/store"
)

var batches = []trial{
	{"all writes are made, or none", testAllOrNone},
	{"many writes are one change", func(s *subject) {
		var writes []store.Write
		for i := range 2000 {
			writes = append(writes, create(fmt.Sprint("b", i%7), fmt.Sprintf("%04d", i), telling(fmt.Sprint(i), 1)))
		}
		if r := s.apply(writes...); r != 1 {
			s.Errorf("it made revision %d", r)
		}
		for i := range 2000 {
			s.has(fmt.Sprint("b", i%7), fmt.Sprintf("%04d", i), 1, telling(fmt.Sprint(i), 1))
		}
	}},
	{"no writes are no change", func(s *subject) {
		if r := s.apply(); r != 0 {
			s.Errorf("it made revision %d", r)
		}
		s.apply(create("b", "k", "v"))
		if r := s.apply(); r != 1 {
			s.Errorf("it made revision %d", r)
		}
	}},
	{"each change is one revision", func(s *subject) {
		for i := range uint64(20) {
			if r := s.apply(put("b", "k", i+1, "v"), put("c", "k", i+1, "v")); r != i+1 {
				s.Fatalf("change %d made revision %d", i+1, r)
			}
			if r := s.revision(); r != i+1 {
				s.Fatalf("after change %d the revision is %d", i+1, r)
			}
		}
	}},
	{"nobody sees half of a change", testNoHalf},
}

func testAllOrNone(s *subject) {
	s.apply(create("b", "there", "before"), create("c", "there", "before"))
	good := []store.Write{
		create("b", "new", "after"),
		{Bucket: "c", Key: "there", Expect: 1, Version: 2, Value: []byte("after")},
		{Bucket: "b", Key: "there", Expect: 1},
	}
	bad := map[string]struct {
		write store.Write
		err   error
	}{
		"a create of what is there":    {create("d", "x", "v"), store.ErrConflict},
		"a stale update":               {store.Write{Bucket: "d", Key: "x", Expect: 2, Version: 3, Value: []byte("v")}, store.ErrConflict},
		"a stale delete":               {store.Write{Bucket: "d", Key: "x", Expect: 2}, store.ErrConflict},
		"a delete of what is not":      {store.Write{Bucket: "d", Key: "y", Expect: 2}, store.ErrNotFound},
		"an update of what is no more": {store.Write{Bucket: "d", Key: "y", Expect: 2, Version: 3, Value: []byte("v")}, store.ErrConflict},
	}
	s.apply(create("d", "x", "v"))
	for what, c := range bad {
		for at := range len(good) + 1 {
			writes := append([]store.Write{}, good[:at]...)
			writes = append(append(writes, c.write), good[at:]...)
			s.Logf("%s as write %d", what, at)
			s.refused(c.err, writes...)
			s.lacks("b", "new")
			s.has("b", "there", 1, "before")
			s.has("c", "there", 1, "before")
			s.has("d", "x", 1, "v")
			s.lacks("d", "y")
		}
	}
	s.apply(good...)
	s.has("b", "new", 1, "after")
	s.has("c", "there", 2, "after")
	s.lacks("b", "there")
}

// testNoHalf writes two records in one change, always, so that who has read one of them
// never reads an older one of the other.
func testNoHalf(s *subject) {
	const rounds = 200
	s.apply(create("a", "k", "1"), create("z", "k", "1"))
	var wg sync.WaitGroup
	done := make(chan struct{})
	for _, order := range [][2]string{{"a", "z"}, {"z", "a"}} {
		wg.Go(func() {
			for {
				first, err := s.Get(s.ctx, order[0], "k")
				second, err2 := s.Get(s.ctx, order[1], "k")
				if err != nil || err2 != nil {
					s.Errorf("Get: %v, %v", err, err2)
					return
				}
				if second.Version < first.Version {
					s.Errorf("%s has version %d, then %s has %d", order[0], first.Version, order[1], second.Version)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for v := uint64(2); v <= rounds; v++ {
		value := []byte(fmt.Sprint(v))
		_, err := s.Apply(s.ctx,
			store.Write{Bucket: "a", Key: "k", Expect: v - 1, Version: v, Value: value},
			store.Write{Bucket: "z", Key: "k", Expect: v - 1, Version: v, Value: value})
		if err != nil {
			s.Errorf("Apply: %v", err)
			break
		}
	}
	close(done)
	wg.Wait()
}
