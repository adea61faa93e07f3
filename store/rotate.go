package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// ErrRotating says that a rotation is under way already.
var ErrRotating = errors.New("the store's key is being rotated already")

// maxNamed is how many broken records an error names.
const maxNamed = 10

// RotateKey adds a new key to the keyset, seals every record with it, and drops the other
// keys. The store can be used all the while, and records keep their versions. progress, if
// not nil, is told how many of the records that were sealed with other keys are done.
//
// When it fails or is interrupted, at whatever point, all records can be opened, and the
// next RotateKey goes on with the key that was added. A record that cannot be opened is no
// reason to stop, but keys are then not dropped, and the error, ErrTampered, names it.
func (s *Store) RotateKey(ctx context.Context, progress func(done, total int)) error {
	if !s.rotating.TryLock() {
		return ErrRotating
	}
	defer s.rotating.Unlock()
	if err := s.addKey(ctx); err != nil {
		return fmt.Errorf("rotating the store's key: %w", err)
	}
	r := &rotation{Store: s, progress: progress}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("rotating the store's key: %w; run it again to finish", err)
	}
	return nil
}

// Rotating reports whether a rotation is under way, or has to be finished by another
// RotateKey because it was interrupted.
func (s *Store) Rotating() bool { return !s.ring.Load().single() }

// addKey makes a new key the one that seals, unless a rotation has done that and was
// interrupted.
func (s *Store) addKey(ctx context.Context) error {
	for {
		ring := s.ring.Load()
		if !ring.single() {
			return nil
		}
		manager := keyset.NewManagerFromHandle(ring.handle)
		id, err := manager.Add(aead.AES256GCMKeyTemplate())
		if err == nil {
			err = manager.SetPrimary(id)
		}
		if err != nil {
			return fmt.Errorf("making a key: %w", err)
		}
		if again, err := s.replaceWith(ctx, ring, manager); !again {
			return err
		}
	}
}

// dropKeys leaves only the key that seals. again says that the keyset is another by now.
func (s *Store) dropKeys(ctx context.Context, ring *keyring) (again bool, err error) {
	manager := keyset.NewManagerFromHandle(ring.handle)
	for _, id := range ring.ids {
		if id == ring.primary {
			continue
		}
		if err := manager.Delete(id); err != nil {
			return false, fmt.Errorf("dropping a key: %w", err)
		}
	}
	return s.replaceWith(ctx, ring, manager)
}

func (s *Store) replaceWith(ctx context.Context, ring *keyring, manager *keyset.Manager) (again bool, err error) {
	handle, err := manager.Handle()
	if err != nil {
		return false, fmt.Errorf("changing the keyset: %w", err)
	}
	err = s.replace(ctx, ring, handle)
	if !errors.Is(err, ErrConflict) {
		return false, err
	}
	now, err := s.reload(ctx, ring)
	if err == nil && now == ring {
		err = recordError(Meta, keysetKey, ErrConflict)
	}
	return err == nil, err
}

// rotation is one RotateKey after the new key was added.
type rotation struct {
	*Store
	progress    func(done, total int)
	done, total int

	broken []error // what could not be opened in this pass: the first ones
	more   int     // and how many others
}

// run seals what is sealed with other keys until nothing is, and drops them. Nothing new
// can be sealed with them (fence), but what a pass does not find is lost when the keys are
// dropped; so the last pass is one that had nothing to do.
func (r *rotation) run(ctx context.Context) error {
	if err := r.count(ctx); err != nil {
		return err
	}
	for {
		ring := r.ring.Load()
		if ring.single() { // another process has finished
			return nil
		}
		before := r.done
		if err := r.pass(ctx); err != nil {
			return err
		}
		switch {
		case r.done > before:
			continue
		case len(r.broken) > 0:
			return r.brokenError()
		}
		if again, err := r.dropKeys(ctx, ring); !again {
			return err
		}
	}
}

// count finds out how much there is to do.
func (r *rotation) count(ctx context.Context) error {
	return r.old(ctx, func(_ string, keys []string) error {
		r.total += len(keys)
		return nil
	})
}

func (r *rotation) pass(ctx context.Context) error {
	r.broken, r.more = nil, 0
	return r.old(ctx, func(bucket string, keys []string) error {
		if err := r.reseal(ctx, bucket, keys); err != nil {
			return err
		}
		if r.progress != nil {
			r.progress(min(r.done, r.total), r.total)
		}
		return nil
	})
}

// old calls f with the keys of the records that the present key has not sealed, some at a
// time.
func (r *rotation) old(ctx context.Context, f func(bucket string, keys []string) error) error {
	for _, bucket := range buckets {
		for p, err := range r.pages(ctx, bucket, "") {
			if err != nil {
				return err
			}
			ring := r.ring.Load()
			var keys []string
			for _, e := range p.entries {
				if !ring.current(e.Value) {
					keys = append(keys, e.Key)
				}
			}
			if len(keys) == 0 {
				continue
			}
			if err := f(bucket, keys); err != nil {
				return err
			}
		}
	}
	return nil
}

// reseal seals records anew under the versions that they have, in one change. If somebody
// has changed one of them meanwhile, it goes on with halves of them.
func (r *rotation) reseal(ctx context.Context, bucket string, keys []string) error {
	for {
		ring := r.ring.Load()
		var writes []Write
		for _, key := range keys {
			w, err := r.resealed(ctx, ring, bucket, key)
			if err != nil {
				return err
			}
			if w.Value != nil {
				writes = append(writes, w)
			}
		}
		if len(writes) == 0 {
			return nil
		}
		_, err := r.backend.Apply(ctx, append(writes, ring.fence())...)
		if err == nil {
			r.done += len(writes)
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if _, err := r.reload(ctx, ring); err != nil {
			return err
		}
		if half := len(keys) / 2; half > 0 {
			if err := r.reseal(ctx, bucket, keys[:half]); err != nil {
				return err
			}
			keys = keys[half:]
		}
	}
}

// resealed is the write that seals a record with another key. It has no value if there is
// nothing to do.
func (r *rotation) resealed(ctx context.Context, ring *keyring, bucket, key string) (Write, error) {
	record, err := r.read(ctx, bucket, key)
	if errors.Is(err, ErrNotFound) || err == nil && ring.current(record.value) {
		return Write{}, nil
	} else if err != nil {
		return Write{}, err
	}
	plain, err := record.ring.open(bucket, key, record.Version, record.value)
	if err != nil {
		r.note(err)
		return Write{}, nil
	}
	sealed, err := ring.seal(bucket, key, record.Version, plain)
	return Write{Bucket: bucket, Key: key, Expect: record.Version, Version: record.Version, Value: sealed}, err
}

func (r *rotation) note(err error) {
	same := func(e error) bool { return e.Error() == err.Error() } // it was tried before
	switch {
	case slices.ContainsFunc(r.broken, same):
	case len(r.broken) < maxNamed:
		r.broken = append(r.broken, err)
	default:
		r.more++
	}
}

func (r *rotation) brokenError() error {
	err := errors.Join(r.broken...)
	if r.more > 0 {
		err = fmt.Errorf("%w\nand %d more", err, r.more)
	}
	return fmt.Errorf("the old key stays, because it may be that of records that cannot be opened; delete them or put a backup in place: %w", err)
}
