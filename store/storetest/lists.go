package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-rr/caddy-rr/store"
)

var lists = []trial{
	{"lists are in the order of bytes", testOrder},
	{"lists begin after a key", testAfter},
	{"long lists are whole", func(s *subject) {
		want := fill(s, "b", 3000)
		s.apply(create("a", "before", "v"), create("b\x00", "behind", "v"), create("c", "behind", "v"))
		all := s.list("b", "")
		same(s, "keys", keys(all), want)
		for _, e := range all {
			if e.Version != 1 || string(e.Value) != telling(e.Key, 1) {
				s.Fatalf("%s: version %d, %.60q", e.Key, e.Version, e.Value)
			}
		}
	}},
	{"lists with large values are whole", func(s *subject) {
		large := strings.Repeat("large", store.MaxValue/5)
		for i := range 4 {
			s.apply(create("b", fmt.Sprint(i), large[i:]))
		}
		for i, e := range s.list("b", "") {
			if e.Key != fmt.Sprint(i) || string(e.Value) != large[i:] {
				s.Errorf("entry %d is %q with %d bytes", i, e.Key, len(e.Value))
			}
		}
	}},
	{"lists can be left", func(s *subject) {
		fill(s, "b", 1000)
		for range 20 {
			for range s.List(s.ctx, "b", "") {
				break
			}
		}
		s.apply(create("b", "x", "v"))
	}},
	{"who lists may write", testWriteWhileListing},
	{"lists while others write", testListWhileWriting},
	{"lists end with their call", func(s *subject) {
		fill(s, "b", 3000)
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		count := 0
		var last error
		for _, err := range s.List(ctx, "b", "") {
			if last = err; err == nil {
				count++
			}
			cancel()
		}
		if !errors.Is(last, context.Canceled) || count >= 3000 {
			s.Errorf("%d entries, then %v", count, last)
		}
	}},
}

// fill creates records with keys in order, and returns the keys.
func fill(s *subject, bucket string, count int) []string {
	var list []string
	var writes []store.Write
	for i := range count {
		key := fmt.Sprintf("%06d", i)
		list = append(list, key)
		writes = append(writes, create(bucket, key, telling(key, 1)))
	}
	s.apply(writes...)
	return list
}

func testOrder(s *subject) {
	want := []string{"\x00", "\x00\x00", "\x01", " ", "0", "00", "1", "10", "2", "A", "a", "a\x00", "aa", "a\xff", "b", "\x7f", "\x80", "ä", "\xff", "\xff\x00", "\xff\xff"}
	if !slices.IsSorted(want) {
		s.Fatal("the test's own list is not in order")
	}
	for _, i := range rand.Perm(len(want)) {
		s.apply(create("b", want[i], "v"))
	}
	same(s, "keys", keys(s.list("b", "")), want)
	for i, key := range want {
		same(s, fmt.Sprintf("keys after %q", key), keys(s.list("b", key)), want[i+1:])
	}
}

func testAfter(s *subject) {
	s.apply(create("b", "b", "v"), create("b", "d", "v"), create("b", "f", "v"))
	for _, c := range []struct {
		after string
		want  []string
	}{
		{"", []string{"b", "d", "f"}},
		{"a", []string{"b", "d", "f"}},
		{"b", []string{"d", "f"}},
		{"b\x00", []string{"d", "f"}},
		{"c", []string{"d", "f"}},
		{"e", []string{"f"}},
		{"f", nil},
		{"g", nil},
		{strings.Repeat("c", store.MaxName+1), []string{"d", "f"}},
	} {
		same(s, fmt.Sprintf("keys after %.10q", c.after), keys(s.list("b", c.after)), c.want)
	}
	s.apply(remove("b", "d"))
	same(s, "keys after one that is gone", keys(s.list("b", "d")), []string{"f"})
}

// testWriteWhileListing does what a change of the key does: it lists, and writes each.
func testWriteWhileListing(s *subject) {
	want := fill(s, "b", 600)
	var seen []string
	for e, err := range s.List(s.ctx, "b", "") {
		if err != nil {
			s.Fatal(err)
		}
		seen = append(seen, e.Key)
		if len(seen)%20 == 0 {
			s.apply(store.Write{Bucket: "b", Key: e.Key, Expect: 1, Version: 2, Value: []byte(telling(e.Key, 2))})
		}
	}
	same(s, "keys", seen, want)
	s.has("b", want[19], 2, telling(want[19], 2))
}

// testListWhileWriting lists again and again while records are written: those that are
// always there are in each list, once.
func testListWhileWriting(s *subject) {
	stay := fill(s, "b", 1000)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for v := uint64(2); v < 40 && s.ctx.Err() == nil; v++ {
			var writes []store.Write
			for i := 0; i < len(stay); i += 10 {
				key := stay[i]
				writes = append(writes, store.Write{Bucket: "b", Key: key, Expect: v - 1, Version: v, Value: []byte(telling(key, v))})
				key += "x" // comes and goes
				if v%2 == 0 {
					writes = append(writes, put("b", key, v, telling(key, v)))
				} else {
					writes = append(writes, remove("b", key))
				}
			}
			if _, err := s.Apply(s.ctx, writes...); err != nil {
				s.Errorf("Apply: %v", err)
				return
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				checkList(s, stay)
			}
		})
	}
	wg.Wait()
}

func checkList(s *subject, stay []string) {
	var last string
	count := 0
	for e, err := range s.List(s.ctx, "b", "") {
		switch {
		case err != nil:
			s.Errorf("List: %v", err)
			return
		case e.Key <= last:
			s.Errorf("%q comes after %q", e.Key, last)
			return
		case string(e.Value) != telling(e.Key, e.Version):
			s.Errorf("%q, version %d: %.60q", e.Key, e.Version, e.Value)
			return
		}
		last = e.Key
		if !strings.HasSuffix(e.Key, "x") {
			count++
		}
	}
	if count != len(stay) {
		s.Errorf("%d of %d records are in the list", count, len(stay))
	}
}
