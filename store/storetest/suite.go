package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// Run runs the suite. newOpener is called once for each test and returns an Opener of a new
// and empty store, which the test opens, closes and opens again.
func Run(t *testing.T, newOpener func(t testing.TB) store.Opener) {
	for _, group := range [][]trial{records, batches, lists, watches, crowds, lives} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				// far more than any of them needs: what hangs ends with an error
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				t.Cleanup(cancel)
				s := &subject{T: t, ctx: ctx, opener: newOpener(t)}
				s.open()
				c.test(s)
			})
		}
	}
}

// trial is one test of the suite.
type trial struct {
	name string
	test func(*subject)
}

// subject is a store under test, and shorthands that end the test on what is not expected.
type subject struct {
	*testing.T
	ctx    context.Context
	opener store.Opener
	store.Backend
}

func (s *subject) open() {
	s.Helper()
	b, err := s.opener.Open(s.ctx)
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	s.Backend = b
	s.Cleanup(func() { b.Close() })
}

func (s *subject) reopen() {
	s.Helper()
	if err := s.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.open()
}

// apply makes writes that have to succeed.
func (s *subject) apply(writes ...store.Write) uint64 {
	s.Helper()
	revision, err := s.Apply(s.ctx, writes...)
	if err != nil {
		s.Fatalf("Apply: %v", err)
	}
	return revision
}

// refused makes writes that have to fail with an error, and change nothing.
func (s *subject) refused(want error, writes ...store.Write) {
	s.Helper()
	before := s.revision()
	if _, err := s.Apply(s.ctx, writes...); !errors.Is(err, want) {
		s.Fatalf("Apply: %v, want %v", err, want)
	}
	if after := s.revision(); after != before {
		s.Fatalf("what was refused made revision %d of %d", after, before)
	}
}

func (s *subject) revision() uint64 {
	s.Helper()
	revision, err := s.Revision(s.ctx)
	if err != nil {
		s.Fatalf("Revision: %v", err)
	}
	return revision
}

// has expects a record with this version and value.
func (s *subject) has(bucket, key string, version uint64, value string) {
	s.Helper()
	e, err := s.Get(s.ctx, bucket, key)
	if err != nil {
		s.Fatalf("Get %.40q: %v", key, err)
	}
	if e.Key != key || e.Version != version || string(e.Value) != value {
		s.Fatalf("Get %.40q: %.40q, version %d, %.40q (%d bytes); want version %d, %.40q (%d bytes)",
			key, e.Key, e.Version, e.Value, len(e.Value), version, value, len(value))
	}
}

// lacks expects that there is no such record.
func (s *subject) lacks(bucket, key string) {
	s.Helper()
	if e, err := s.Get(s.ctx, bucket, key); !errors.Is(err, store.ErrNotFound) {
		s.Fatalf("Get %.40q: version %d, %v; want that there is none", key, e.Version, err)
	}
}

// list is all of a bucket after a key.
func (s *subject) list(bucket, after string) []store.Entry {
	s.Helper()
	var all []store.Entry
	for e, err := range s.List(s.ctx, bucket, after) {
		if err != nil {
			s.Fatalf("List: %v", err)
		}
		all = append(all, e)
	}
	return all
}

// keys are the keys of entries.
func keys(entries []store.Entry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, e.Key)
	}
	return list
}

// collect watches from a revision on until want changes came.
func (s *subject) collect(after uint64, want int) []store.Change {
	s.Helper()
	var got []store.Change
	if want == 0 {
		return got
	}
	for c, err := range s.Watch(s.ctx, after) {
		if err != nil {
			s.Fatalf("Watch after %d, at change %d of %d: %v", after, len(got), want, err)
		}
		if got = append(got, c); len(got) == want {
			break
		}
	}
	return got
}

// same expects two lists to be equal.
func same[T comparable](s *subject, what string, got, want []T) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// put and remove are writes that do not care what is there.
func put(bucket, key string, version uint64, value string) store.Write {
	return store.Write{Bucket: bucket, Key: key, Expect: store.Any, Version: version, Value: []byte(value)}
}

func remove(bucket, key string) store.Write {
	return store.Write{Bucket: bucket, Key: key, Expect: store.Any}
}

// create is a write that expects no record.
func create(bucket, key, value string) store.Write {
	return store.Write{Bucket: bucket, Key: key, Version: 1, Value: []byte(value)}
}

// telling is a value that tells of which record and version it is, in many bytes, so that
// one which is torn or another's is recognised.
func telling(key string, version uint64) string {
	return string(bytes.Repeat(fmt.Appendf(nil, "%s@%d ", key, version), 50))
}
