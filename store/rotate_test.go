package store_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// filled is a store with records in all buckets, more than a page in one.
func filled(t testing.TB, count int) *storetest.Mem {
	b := storetest.Memory()
	s := openStore(t, b, "a")
	var changes []store.Put
	for i := range count {
		id := fmt.Sprintf("%06d", i)
		changes = append(changes, put(store.Credentials, id, 1, credential(id)))
	}
	for _, bucket := range store.Buckets {
		if bucket != store.Credentials {
			changes = append(changes, put(bucket, "one", 1, canary))
		}
	}
	apply(t, s, changes...)
	return b
}

// keyIDs counts the records by the key that they say they are sealed with.
func keyIDs(t testing.TB, b store.Backend) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, bucket := range store.Buckets {
		for e, err := range b.List(t.Context(), bucket, "") {
			if err != nil {
				t.Fatal(err)
			}
			if bucket != store.Meta || e.Key != "keyset" {
				ids[fmt.Sprintf("%x", e.Value[:5])]++
			}
		}
	}
	return ids
}

// expectRotated says that all is sealed with one key, which is none of the ones before, and
// reads as it did.
func expectRotated(t *testing.T, b store.Backend, before map[string]int, count int) {
	t.Helper()
	now := keyIDs(t, b)
	if len(now) != 1 {
		t.Errorf("records are sealed with the keys %v", now)
	}
	for id, n := range now {
		if before[id] > 0 || n != count+len(store.Buckets) { // with the schema
			t.Errorf("%d records are sealed with key %s; before: %v", n, id, before)
		}
	}
	s := openStore(t, b, "a")
	if s.Rotating() {
		t.Error("the rotation is not finished")
	}
	for i := range count {
		expectCredential(t, s, fmt.Sprintf("%06d", i), 1)
	}
	for _, bucket := range store.Buckets {
		if bucket == store.Credentials {
			continue
		}
		var text string
		if version, err := s.Get(t.Context(), bucket, "one", &text); err != nil || version != 1 || text != canary {
			t.Errorf("%s has version %d and %q: %v", bucket, version, text, err)
		}
	}
}

func TestRotateKey(t *testing.T) {
	const count = store.PageEntries + 20
	b := filled(t, count)
	before := keyIDs(t, b)
	s := openStore(t, b, "a")
	revision, _ := b.Revision(t.Context())
	var last [2]int
	steps := 0
	err := s.RotateKey(t.Context(), func(done, total int) {
		if done < last[0] || done > total || total != count+len(store.Buckets) {
			t.Errorf("%d of %d are done, after %d", done, total, last[0])
		}
		last = [2]int{done, total}
		steps++
	})
	if err != nil {
		t.Fatal(err)
	}
	if last[0] != last[1] || steps < len(store.Buckets) {
		t.Errorf("progress was told %d times, at last %v", steps, last)
	}
	expectRotated(t, b, before, count)
	if now, _ := b.Revision(t.Context()); now != revision+2 {
		t.Errorf("the revision went from %d to %d: one for each change of the keyset is enough", revision, now)
	}
	expectSealed(t, "the backend", dump(t, b))
	expectCredential(t, s, "000000", 1)
	t.Run("once more", func(t *testing.T) {
		before := keyIDs(t, b)
		if err := s.RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		expectRotated(t, b, before, count)
	})
}

// TestRotateKeyDies lets the process die at each write of a rotation.
func TestRotateKeyDies(t *testing.T) {
	const count = 3
	var before map[string]int
	crashes(t, func(t *testing.T) *storetest.Mem {
		b := filled(t, count)
		before = keyIDs(t, b)
		return b
	}, func(t *testing.T, b store.Backend) error {
		return openStore(t, b, "a").RotateKey(t.Context(), nil)
	}, func(t *testing.T, b store.Backend) {
		s := openStore(t, b, "a")
		for i := range count {
			expectCredential(t, s, fmt.Sprintf("%06d", i), 1)
		}
		pending := s.Rotating()
		middle := keyIDs(t, b)
		if err := s.RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		expectRotated(t, b, before, count)
		// One that was interrupted is finished, with the key that it has made.
		for id := range keyIDs(t, b) {
			if pending && len(middle) > 1 && middle[id] == 0 {
				t.Error("the key that was made is not the one that is used")
			}
		}
	})
}

// TestRotateKeyAmongWriters has records created, changed and deleted during rotations, by
// two stores over one backend. No change is lost, and no version disturbed.
func TestRotateKeyAmongWriters(t *testing.T) {
	b := filled(t, 40)
	first, second := openStore(t, b, "a"), openStore(t, b, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var writes, reads atomic.Int64
	versions := make([]uint64, 8)
	for i := range versions {
		s := []*store.Store{first, second}[i%2]
		id := fmt.Sprintf("%06d", i)
		versions[i] = 1
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				next := put(store.Credentials, id, versions[i]+1, credential(id))
				_, err := s.Apply(t.Context(), next, put(store.Grants, fmt.Sprint(i, "-", n), 1, canary), store.Put{Bucket: store.Grants, Key: fmt.Sprint(i, "-", n-1), Expect: store.Any})
				if err != nil {
					t.Errorf("writing %s: %v", id, err)
					return
				}
				versions[i]++
				writes.Add(1)
			}
		})
	}
	for _, s := range []*store.Store{first, second} {
		wg.Go(func() {
			for ctx.Err() == nil {
				for r, err := range s.List(t.Context(), store.Credentials, "") {
					if err == nil {
						err = r.Open(new(store.Credential))
					}
					if err != nil {
						t.Errorf("listing: %v", err)
						return
					}
					if _, err := s.Get(t.Context(), store.Credentials, r.Key, new(store.Credential)); err != nil {
						t.Errorf("reading: %v", err)
						return
					}
					reads.Add(1)
				}
			}
		})
	}
	before := keyIDs(t, b)
	for i := range 20 {
		if err := []*store.Store{first, second}[i%2].RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	for writes.Load() < 100 || reads.Load() < 100 {
		if t.Failed() {
			break
		}
		if err := first.RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	if err := second.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if now := keyIDs(t, b); len(now) != 1 {
		t.Errorf("records are sealed with the keys %v, before: %v", now, before)
	}
	for i, version := range versions {
		expectCredential(t, openStore(t, b, "a"), fmt.Sprintf("%06d", i), version)
	}
}

// TestRotateKeyTwice has two stores over one backend rotate at once; one store refuses.
func TestRotateKeyTwice(t *testing.T) {
	b := filled(t, 10)
	before := keyIDs(t, b)
	first, second := openStore(t, b, "a"), openStore(t, b, "a")
	once := true
	err := first.RotateKey(t.Context(), func(int, int) {
		if !once {
			return
		}
		once = false
		expectError(t, first.RotateKey(t.Context(), nil), store.ErrRotating, "")
		if !first.Rotating() {
			t.Error("it is not rotating")
		}
		if err := second.RotateKey(t.Context(), nil); err != nil {
			t.Errorf("the second: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	expectRotated(t, b, before, 10)
	for _, s := range []*store.Store{first, second} {
		expectCredential(t, s, "000000", 1)
		apply(t, s, put(store.Credentials, fmt.Sprintf("%p", s), 1, credential("x")))
	}
	if now := keyIDs(t, b); len(now) != 1 {
		t.Errorf("records are sealed with the keys %v", now)
	}
}

// TestRotateKeyIsOvertaken has another store rotate twice between a rotation's reading and
// its writing: what it has sealed meanwhile is sealed with a key that was dropped. Versions
// do not tell, because sealing anew leaves them.
func TestRotateKeyIsOvertaken(t *testing.T) {
	b := filled(t, 10)
	before := keyIDs(t, b)
	second := openStore(t, b, "a")
	applies := 0
	first := openStore(t, hooked{b, func() {
		if applies++; applies != 2 { // the first write adds the key
			return
		}
		for range 2 {
			if err := second.RotateKey(t.Context(), nil); err != nil {
				t.Errorf("the second: %v", err)
			}
		}
	}}, "a")
	if err := first.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if applies < 2 {
		t.Error("it was not overtaken")
	}
	expectRotated(t, b, before, 10)
}

// hooked is a Backend that calls a function before each Apply.
type hooked struct {
	store.Backend
	before func()
}

func (h hooked) Apply(ctx context.Context, writes ...store.Write) (uint64, error) {
	h.before()
	return h.Backend.Apply(ctx, writes...)
}

// TestRotateKeyLooksAgain has a pass miss a record. Its key must not be dropped.
func TestRotateKeyLooksAgain(t *testing.T) {
	b := filled(t, 10)
	before := keyIDs(t, b)
	f := &forgetful{Backend: b, lists: 2} // one that counts, and the first pass
	if err := openStore(t, f, "a").RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if f.lists != 0 {
		t.Error("nothing was missed")
	}
	expectRotated(t, b, before, 10)
}

// forgetful is a Backend that leaves a credential out of so many lists.
type forgetful struct {
	store.Backend
	lists int
}

func (f *forgetful) List(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		forget := bucket == store.Credentials && f.lists > 0
		if forget {
			f.lists--
		}
		for e, err := range f.Backend.List(ctx, bucket, after) {
			if forget && e.Key == "000005" {
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestRotateKeyIsCancelled(t *testing.T) {
	b := filled(t, 10)
	before := keyIDs(t, b)
	s := openStore(t, b, "a")
	ctx, cancel := context.WithCancel(t.Context())
	err := s.RotateKey(ctx, func(int, int) { cancel() })
	expectError(t, err, context.Canceled, "run it again to finish")
	if !s.Rotating() || !openStore(t, b, "a").Rotating() {
		t.Error("nothing says that the rotation has to be finished")
	}
	if err := s.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expectRotated(t, b, before, 10)
}

// TestRotateKeyWithBrokenRecords must not drop the key that they may be sealed with.
func TestRotateKeyWithBrokenRecords(t *testing.T) {
	const count, broken = 40, 15
	b := filled(t, count)
	s := openStore(t, b, "a")
	good := map[string]store.Entry{}
	for i := range broken {
		id := fmt.Sprintf("%06d", 2*i)
		edit(t, b, store.Credentials, id, func(e *store.Entry) {
			good[id] = store.Entry{Key: id, Version: e.Version, Value: []byte(string(e.Value))}
			e.Value[len(e.Value)-1-i] ^= 1
		})
	}
	err := s.RotateKey(t.Context(), nil)
	expectError(t, err, store.ErrTampered, `record "000002" in "credentials"`)
	expectError(t, err, store.ErrTampered, "and 5 more")
	if n := strings.Count(err.Error(), "record \""); n != 10 {
		t.Errorf("%d records are named: %v", n, err)
	}
	if now := keyIDs(t, b); len(now) != 2 {
		t.Errorf("records are sealed with the keys %v", now)
	}
	for id, e := range good { // a backup is put in place
		plant(t, b, store.Credentials, e)
		expectCredential(t, s, id, 1)
	}
	if err := s.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if now := keyIDs(t, b); len(now) != 1 || s.Rotating() {
		t.Errorf("records are sealed with the keys %v", now)
	}
}

func TestRotateKeyFaults(t *testing.T) {
	for _, failure := range []error{store.ErrFull, store.ErrReadOnly, store.ErrUnavailable} {
		for after := range 3 {
			t.Run(fmt.Sprint(failure, " after ", after), func(t *testing.T) {
				b := filled(t, 5)
				before := keyIDs(t, b)
				s := openStore(t, b, "a")
				b.FailNext(append(make([]error, after), failure)...)
				expectError(t, s.RotateKey(t.Context(), nil), failure, "rotating the store's key")
				expectCredential(t, s, "000000", 1)
				if err := s.RotateKey(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
				expectRotated(t, b, before, 5)
			})
		}
	}
}

// TestKeyAfterRotation: the key of the keyset may change while another store is open.
func TestKeyAfterRotation(t *testing.T) {
	b := filled(t, 3)
	old := openStore(t, b, "a")
	both := openStore(t, b, "ba")
	_, err := old.Apply(t.Context(), put(store.Credentials, "x", 1, credential("x")))
	expectError(t, err, store.ErrWrongKey, "it needs key")
	if err := both.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Get(t.Context(), store.Credentials, "000000", new(store.Credential)); !errors.Is(err, store.ErrWrongKey) {
		t.Errorf("reading: %v", err)
	}
	expectCredential(t, openStore(t, b, "b"), "000000", 1)
}
