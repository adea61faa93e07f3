package storetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/caddy-rr/caddy-rr/store"
)

var crowds = []trial{
	{"1,000 creates at once", func(s *subject) {
		const count = 1000
		revisions := make([]uint64, count)
		var wg sync.WaitGroup
		for i := range count {
			wg.Go(func() {
				key := fmt.Sprintf("%06d", i)
				var err error
				if revisions[i], err = s.Apply(s.ctx, create("b", key, telling(key, 1))); err != nil {
					s.Errorf("Apply: %v", err)
				}
			})
		}
		wg.Wait()
		slices.Sort(revisions)
		for i, r := range revisions {
			if r != uint64(i+1) {
				s.Fatalf("the revisions are not those from 1 to %d: %v", count, revisions)
			}
		}
		if all := s.list("b", ""); len(all) != count {
			s.Errorf("%d records are there", len(all))
		}
	}},
	{"one of many creates of a record wins", func(s *subject) {
		const count = 100
		won := make([]bool, count)
		var wg sync.WaitGroup
		for i := range count {
			wg.Go(func() {
				// the write beside it is made by the winner only
				_, err := s.Apply(s.ctx, create("beside", fmt.Sprint(i), "v"), create("b", "k", fmt.Sprint(i)))
				if won[i] = err == nil; err != nil && !errors.Is(err, store.ErrConflict) {
					s.Errorf("Apply: %v", err)
				}
			})
		}
		wg.Wait()
		winner := slices.Index(won, true)
		if winner < 0 || slices.Contains(won[winner+1:], true) {
			s.Fatalf("who won: %v", won)
		}
		s.has("b", "k", 1, fmt.Sprint(winner))
		same(s, "what the others left", keys(s.list("beside", "")), []string{fmt.Sprint(winner)})
		if r := s.revision(); r != 1 {
			s.Errorf("the revision is %d", r)
		}
	}},
	{"100 count together", testCount},
}

// testCount has many read a number and write the next one, again when somebody else did
// so in the meantime. No step is lost, and none is made twice.
func testCount(s *subject) {
	const people, steps = 100, 10
	number := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	s.apply(store.Write{Bucket: "b", Key: "k", Version: 1, Value: number(0)})
	var wg sync.WaitGroup
	for range people {
		wg.Go(func() {
			for done := 0; done < steps; {
				e, err := s.Get(s.ctx, "b", "k")
				if err != nil {
					s.Errorf("Get: %v", err)
					return
				}
				next := number(binary.BigEndian.Uint64(e.Value) + 1)
				_, err = s.Apply(s.ctx, store.Write{Bucket: "b", Key: "k", Expect: e.Version, Version: e.Version + 1, Value: next})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					s.Errorf("Apply: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	s.has("b", "k", people*steps+1, string(number(people*steps)))
	if r := s.revision(); r != people*steps+1 {
		s.Errorf("the revision is %d", r)
	}
}
