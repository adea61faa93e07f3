package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// buckets are all there are. A rotation has to find whatever is sealed, so nothing is kept
// in another one.
var buckets = []string{Clients, Credentials, Targets, Proxies, Blocked, Grants, Bound, Consents, Used, Replies, Audit, Meta}

// What is read of a Backend in one go: so many entries, or bytes.
const (
	pageEntries = 512
	pageBytes   = 1 << 20
)

// Backend returns what the store keeps its records in.
func (s *Store) Backend() Backend { return s.backend }

// Close closes the Backend.
func (s *Store) Close() error { return s.backend.Close() }

// Format keeps what the store holds out of whatever prints it.
func (s *Store) Format(f fmt.State, _ rune) { fmt.Fprint(f, "store") }

// Get decodes a record into a value and returns its version, or ErrNotFound. ErrTampered
// says that what is there is not what was stored.
func (s *Store) Get(ctx context.Context, bucket, key string, into any) (version uint64, err error) {
	if err := checkPlace(bucket, key); err != nil {
		return 0, err
	}
	r, err := s.read(ctx, bucket, key)
	if err != nil {
		return 0, err
	}
	return r.Version, r.Open(into)
}

// read returns a record with the keyring that it was sealed with, if that is known.
func (s *Store) read(ctx context.Context, bucket, key string) (Sealed, error) {
	for {
		ring := s.ring.Load() // before the record, whose key may be dropped when it was read
		entry, err := s.backend.Get(ctx, bucket, key)
		if err != nil {
			return Sealed{}, err
		}
		r := Sealed{Key: key, Version: entry.Version, bucket: bucket, value: entry.Value, ring: ring}
		if ring.knows(entry.Value) {
			return r, nil
		}
		r.ring, err = s.reload(ctx, ring)
		if err != nil || r.ring == ring || r.ring.knows(entry.Value) {
			return r, err
		}
	}
}

// Sealed is a record as it was read. Its key and version are as good as their record:
// they are true once that could be opened.
type Sealed struct {
	Key     string
	Version uint64

	bucket string
	value  []byte
	ring   *keyring
}

// Open decodes the record into a value, or returns ErrTampered. Records may be opened at
// the same time by several goroutines, also while others are listed.
func (r Sealed) Open(into any) error {
	plain, err := r.ring.open(r.bucket, r.Key, r.Version, r.value)
	if err != nil {
		return err
	}
	return decode(r.bucket, r.Key, plain, into)
}

// Format tells of the record what the Backend sees too.
func (r Sealed) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "sealed record %q in %q, version %d", r.Key, r.bucket, r.Version)
}

// List returns the records of a bucket whose key is greater than after, in the order of
// their keys. While it yields, it holds nothing of the Backend's: the store may be used.
func (s *Store) List(ctx context.Context, bucket, after string) iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		for p, err := range s.pages(ctx, bucket, after) {
			if err != nil {
				yield(Sealed{}, err)
				return
			}
			for _, e := range p.entries {
				if bucket == Meta && e.Key == schemaKey {
					continue
				}
				r := Sealed{Key: e.Key, Version: e.Version, bucket: bucket, value: e.Value, ring: p.ring}
				var err error
				if !p.ring.knows(e.Value) {
					r, err = s.read(ctx, bucket, e.Key)
				}
				if errors.Is(err, ErrNotFound) { // deleted meanwhile
					continue
				}
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// page is what was read of a bucket in one go, and the keyring of before that.
type page struct {
	ring    *keyring
	entries []Entry
}

// pages returns the entries of a bucket but for the keyset.
func (s *Store) pages(ctx context.Context, bucket, after string) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		if !slices.Contains(buckets, bucket) {
			yield(page{}, errBucket(bucket))
			return
		}
		for more := true; more; {
			p := page{ring: s.ring.Load()}
			var err error
			if p.entries, more, err = s.page(ctx, bucket, after); err != nil {
				yield(page{}, err)
				return
			}
			if len(p.entries) == 0 {
				return
			}
			after = p.entries[len(p.entries)-1].Key
			p.entries = slices.DeleteFunc(p.entries, func(e Entry) bool { return bucket == Meta && e.Key == keysetKey })
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (s *Store) page(ctx context.Context, bucket, after string) (entries []Entry, more bool, err error) {
	size := 0
	for e, err := range s.backend.List(ctx, bucket, after) {
		if err != nil {
			return nil, false, err
		}
		entries = append(entries, e)
		if size += len(e.Value); len(entries) == pageEntries || size >= pageBytes {
			return entries, true, nil
		}
	}
	return entries, false, nil
}

// Put is one part of a change.
type Put struct {
	Bucket, Key string
	// Expect is the version that the record has to have now: 0 says that there must be
	// none, Any that it does not matter.
	Expect uint64
	// Version is that of the new value, at least 1 and more than Expect unless that is Any.
	Version uint64
	// Value is what is encoded as JSON and sealed; nil deletes the record.
	Value any
}

// Format keeps the value out of whatever prints the change.
func (p Put) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "change of %q in %q, version %d", p.Key, p.Bucket, p.Version)
}

// Apply makes all changes, or none, as Backend.Apply does, and returns its errors.
func (s *Store) Apply(ctx context.Context, changes ...Put) (revision uint64, err error) {
	for _, p := range changes {
		if err := checkPlace(p.Bucket, p.Key); err != nil {
			return 0, err
		}
		if p.Value != nil && (p.Version == 0 || p.Version <= p.Expect && p.Expect != Any) {
			return 0, recordError(p.Bucket, p.Key, fmt.Errorf("version %d cannot follow version %d", p.Version, p.Expect))
		}
	}
	return s.apply(ctx, changes)
}

// apply is Apply without its checks. If the keyset was changed meanwhile, by whomever, the
// records are sealed again: what is sealed with a key that was dropped could not be opened.
func (s *Store) apply(ctx context.Context, changes []Put) (uint64, error) {
	for {
		ring := s.ring.Load()
		writes := make([]Write, 0, len(changes)+1)
		for _, p := range changes {
			w, err := sealPut(ring, p)
			if err != nil {
				return 0, err
			}
			writes = append(writes, w)
		}
		revision, err := s.backend.Apply(ctx, append(writes, ring.fence())...)
		if !errors.Is(err, ErrConflict) {
			return revision, err
		}
		now, reloadErr := s.reload(ctx, ring)
		switch {
		case reloadErr != nil:
			return 0, reloadErr
		case now == ring: // it was a record that has changed
			return 0, err
		}
	}
}

func sealPut(ring *keyring, p Put) (Write, error) {
	w := Write{Bucket: p.Bucket, Key: p.Key, Expect: p.Expect, Version: p.Version}
	if p.Value == nil {
		return w, nil
	}
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false) // which would change the text of a Secret
	if err := encoder.Encode(p.Value); err != nil || plain.String() == "null\n" {
		// The error may quote the value.
		return w, recordError(p.Bucket, p.Key, fmt.Errorf("a %T cannot be written as JSON", p.Value))
	}
	sealed, err := ring.seal(p.Bucket, p.Key, p.Version, plain.Bytes())
	w.Value = sealed
	return w, err
}

// decode never quotes what it decodes, as encoding/json does.
func decode(bucket, key string, plain []byte, into any) error {
	err := json.Unmarshal(plain, into)
	if err == nil {
		return nil
	}
	detail := ""
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		detail = " at " + wrong.Field
	}
	return recordError(bucket, key, fmt.Errorf("it does not fit in a %T%s: another version of caddy-rr may have written it", into, detail))
}

// checkPlace refuses places that are not for records.
func checkPlace(bucket, key string) error {
	switch {
	case !slices.Contains(buckets, bucket):
		return errBucket(bucket)
	case bucket == Meta && (key == keysetKey || key == schemaKey):
		return recordError(bucket, key, errors.New("it is the store's own"))
	case key == "":
		return recordError(bucket, key, errors.New("the key is empty"))
	}
	return nil
}

func errBucket(bucket string) error {
	return fmt.Errorf("there is no bucket %q: buckets are named in package store", bucket)
}
