package storetest

import (
	"context"
	"errors"
	"strings"

	"github.com/caddy-rr/caddy-rr/store"
)

var records = []trial{
	{"an empty store has nothing", func(s *subject) {
		s.lacks("b", "k")
		if all := s.list("b", ""); len(all) > 0 {
			s.Errorf("a bucket that nobody wrote to has %q", keys(all))
		}
		if r := s.revision(); r != 0 {
			s.Errorf("its revision is %d", r)
		}
	}},
	{"what was written is read", func(s *subject) {
		for i, value := range []string{"text", "", "\x00\xff\x00", strings.Repeat("x", 5000)} {
			s.apply(put("b", "k", uint64(i+1), value))
			s.has("b", "k", uint64(i+1), value)
		}
	}},
	{"keys and names are any bytes", func(s *subject) {
		names := []string{"\x00", "\xff\xff", "a/b", "a", "ä", "b\x00", ".", "..", "meta", "rr", " "}
		for i, bucket := range names {
			for j, key := range names {
				s.apply(create(bucket, key, telling(bucket+key, uint64(i*100+j))))
			}
		}
		for i, bucket := range names {
			for j, key := range names {
				s.has(bucket, key, 1, telling(bucket+key, uint64(i*100+j)))
			}
		}
	}},
	{"bytes belong to who has them", testOwnBytes},
	{"who expects nothing does not overwrite", func(s *subject) {
		s.apply(create("b", "k", "first"))
		s.refused(store.ErrConflict, create("b", "k", "second"))
		s.has("b", "k", 1, "first")
		s.apply(create("other", "k", "third"))
		s.has("b", "k", 1, "first")
	}},
	{"versions decide", func(s *subject) {
		second := store.Write{Bucket: "b", Key: "k", Expect: 1, Version: 2, Value: []byte("second")}
		s.refused(store.ErrConflict, second)
		s.lacks("b", "k")
		s.apply(create("b", "k", "first"))
		s.apply(second)
		s.refused(store.ErrConflict, second)
		later := store.Write{Bucket: "b", Key: "k", Expect: 3, Version: 4, Value: []byte("never")}
		s.refused(store.ErrConflict, later)
		s.has("b", "k", 2, "second")
	}},
	{"versions are 64 bits", func(s *subject) {
		const high = store.Any - 2
		s.apply(store.Write{Bucket: "b", Key: "k", Version: high, Value: []byte("v")})
		s.has("b", "k", high, "v")
		s.apply(store.Write{Bucket: "b", Key: "k", Expect: high, Version: high + 1, Value: []byte("w")})
		s.has("b", "k", high+1, "w")
	}},
	{"any version can be expected", func(s *subject) {
		s.apply(put("b", "k", 7, "first"))
		s.apply(put("b", "k", 9, "second"))
		s.has("b", "k", 9, "second")
	}},
	{"a record is renewed under its version", testRenew},
	{"what is deleted is gone", testDelete},
	{"there are limits", testLimits},
	{"a call that is over does nothing", testEnded},
}

// testRenew replaces bytes without a new version, of which Watch does not tell.
func testRenew(s *subject) {
	renewal := func(version uint64, value string) store.Write {
		return store.Write{Bucket: "b", Key: "k", Expect: version, Version: version, Value: []byte(value)}
	}
	s.refused(store.ErrConflict, renewal(1, "first"))
	s.lacks("b", "k")
	s.apply(put("b", "k", 3, "first"))
	s.refused(store.ErrConflict, renewal(2, "second"))
	s.refused(store.ErrConflict, renewal(4, "second"))
	s.refused(store.ErrConflict, create("b", "beside", "v"), renewal(4, "second"))
	s.lacks("b", "beside")
	s.has("b", "k", 3, "first")
	before := s.revision()
	if r := s.apply(renewal(3, "second")); r != before || s.revision() != before {
		s.Errorf("it made revision %d of %d", r, before)
	}
	s.has("b", "k", 3, "second")
	s.reopen()
	s.has("b", "k", 3, "second")
	if r := s.apply(renewal(3, "third"), create("b", "beside", "v")); r != before+1 {
		s.Errorf("with another write it made revision %d of %d", r, before)
	}
	s.has("b", "k", 3, "third")
	s.apply(put("b", "last", 1, "v"))
	for c, err := range s.Watch(s.ctx, before) {
		if err != nil {
			s.Fatalf("Watch: %v", err)
		}
		if c.Key == "k" {
			s.Errorf("Watch tells of %+v", c)
		}
		if c.Key == "last" {
			break
		}
	}
}

func testOwnBytes(s *subject) {
	value := []byte("value")
	s.apply(store.Write{Bucket: "b", Key: "k", Version: 1, Value: value})
	copy(value, "XXXXX")
	s.has("b", "k", 1, "value")
	e, err := s.Get(s.ctx, "b", "k")
	if err != nil {
		s.Fatal(err)
	}
	copy(e.Value, "YYYYY")
	for _, e := range s.list("b", "") {
		copy(e.Value, "ZZZZZ")
	}
	_ = append(e.Value, "and more"...)
	s.has("b", "k", 1, "value")
}

func testDelete(s *subject) {
	s.refused(store.ErrNotFound, store.Write{Bucket: "b", Key: "k", Expect: 1})
	s.refused(store.ErrNotFound, store.Write{Bucket: "b", Key: "k"})
	s.apply(remove("b", "k")) // it does not matter what is there
	s.apply(create("b", "k", "first"), create("b", "l", "stays"))
	s.refused(store.ErrConflict, store.Write{Bucket: "b", Key: "k", Expect: 2})
	s.refused(store.ErrConflict, store.Write{Bucket: "b", Key: "k"})
	s.has("b", "k", 1, "first")
	s.apply(store.Write{Bucket: "b", Key: "k", Expect: 1})
	s.lacks("b", "k")
	same(s, "what is left", keys(s.list("b", "")), []string{"l"})
	s.apply(create("b", "k", "again"))
	s.has("b", "k", 1, "again")
	s.apply(remove("b", "k"), remove("b", "l"))
	if all := s.list("b", ""); len(all) > 0 {
		s.Errorf("there is %q", keys(all))
	}
}

func testLimits(s *subject) {
	name, value := strings.Repeat("n", store.MaxName), strings.Repeat("v", store.MaxValue)
	s.apply(create(name, name, value))
	s.has(name, name, 1, value)
	// two records that differ in the last byte of what is allowed
	other := name[1:] + "o"
	s.apply(create(name, other, "other"))
	s.has(name, name, 1, value)
	s.has(name, other, 1, "other")
	for what, w := range map[string]store.Write{
		"a bucket without a name": create("", "k", "v"),
		"a record without a key":  create("b", "", "v"),
		"a long name":             create(name+"n", "k", "v"),
		"a long key":              create("b", name+"n", "v"),
		"a long value":            create("b", "k", value+"v"),
		"no version":              put("b", "k", 0, "v"),
		"a version that is Any":   put("b", "k", store.Any, "v"),
		"a smaller version":       {Bucket: "b", Key: "k", Expect: 5, Version: 4, Value: []byte("v")},
		"a deletion of no key":    remove("b", ""),
	} {
		before := s.revision()
		if _, err := s.Apply(s.ctx, create("b", "beside", "v"), w); !errors.Is(err, store.ErrInvalid) {
			s.Errorf("%s: %v", what, err)
		}
		if s.revision() != before {
			s.Errorf("%s: something was written", what)
		}
	}
	s.refused(store.ErrInvalid, create("b", "twice", "v"), put("b", "twice", 2, "w"))
	s.lacks("b", "beside")
	s.lacks("b", "")
	s.lacks("", "k")
	s.lacks("b", name+"n")
	s.lacks(name+"n", "k")
}

func testEnded(s *subject) {
	s.apply(create("b", "k", "v"))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.Get(ctx, "b", "k"); !errors.Is(err, context.Canceled) {
		s.Errorf("Get: %v", err)
	}
	if _, err := s.Apply(ctx, create("b", "l", "v")); !errors.Is(err, context.Canceled) {
		s.Errorf("Apply: %v", err)
	}
	if _, err := s.Revision(ctx); !errors.Is(err, context.Canceled) {
		s.Errorf("Revision: %v", err)
	}
	s.lacks("b", "l")
	count := 0
	for _, err := range s.List(ctx, "b", "") {
		if count++; !errors.Is(err, context.Canceled) {
			s.Errorf("List: %v", err)
		}
	}
	for _, err := range s.Watch(ctx, 0) {
		if count++; !errors.Is(err, context.Canceled) {
			s.Errorf("Watch: %v", err)
		}
	}
	if count != 2 {
		s.Errorf("List and Watch said %d times that the call is over", count)
	}
}
