package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what Open needs.
type Options struct {
	Backend Backend
	// Keys are the keys that the store may be sealed with. The first is the current one: if
	// the store is sealed with another of them, Open seals it with the first.
	Keys []Key
	// KeyFile is where the key is if Keys is empty. If there is no such file, and nothing in
	// the store yet, Open makes one.
	KeyFile string
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

// Store keeps typed records, sealed, in a Backend. It is safe for concurrent use, also by
// several Stores over one Backend.
type Store struct {
	backend    Backend
	now        func() time.Time
	migrations []migration

	ring      atomic.Pointer[keyring]
	keys      atomic.Pointer[[]Key] // the first seals the keyset
	reloading sync.Mutex            // held while ring or keys are replaced
	rotating  sync.Mutex
}

// Open opens a store, or begins one in an empty Backend, and brings it to the present
// schema. ErrWrongKey says that no key fits, ErrNewer that a newer version of caddy-rr
// wrote it; then, and when a key is missing, nothing was changed. The Backend stays open
// when Open fails.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := open(ctx, o, migrations)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, o Options, steps []migration) (*Store, error) {
	s := &Store{backend: o.Backend, now: o.Now, migrations: steps}
	if s.now == nil {
		s.now = time.Now
	}
	entry, err := s.backend.Get(ctx, Meta, keysetKey)
	if errors.Is(err, ErrNotFound) {
		entry, err = s.begin(ctx, o)
	}
	if err != nil {
		return nil, err
	}
	keys, err := findKeys(o.Keys, o.KeyFile, false)
	if err != nil {
		return nil, err
	}
	ring, _, err := openKeyring(entry, keys)
	if err != nil {
		return nil, err
	}
	s.keys.Store(&keys)
	s.ring.Store(ring)
	if _, _, err := s.schema(ctx); err != nil { // before anything is written
		return nil, err
	}
	if err := s.useKeys(ctx, keys); err != nil {
		return nil, err
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// begin makes the records of an empty store, and returns its keyset.
func (s *Store) begin(ctx context.Context, o Options) (Entry, error) {
	revision, err := s.backend.Revision(ctx)
	if err != nil {
		return Entry{}, err
	}
	if revision > 0 { // another process may have begun it just now
		entry, err := s.backend.Get(ctx, Meta, keysetKey)
		if errors.Is(err, ErrNotFound) {
			err = errors.New("it has records but no keyset: it is damaged, or something else than a store of caddy-rr; put a backup in its place")
		}
		return entry, err
	}
	keys, err := findKeys(o.Keys, o.KeyFile, true)
	if err != nil {
		return Entry{}, err
	}
	handle, err := newHandle()
	if err != nil {
		return Entry{}, err
	}
	ring, err := newKeyring(handle, keys[0], 1)
	if err != nil {
		return Entry{}, err
	}
	schema, err := sealPut(ring, s.schemaPut(0, s.latest()))
	if err != nil {
		return Entry{}, err
	}
	_, err = s.backend.Apply(ctx, Write{Bucket: Meta, Key: keysetKey, Version: 1, Value: ring.entry.Value}, schema)
	if errors.Is(err, ErrConflict) { // another process was faster
		return s.backend.Get(ctx, Meta, keysetKey)
	}
	return ring.entry, err
}

// findKeys returns the keys, or if there are none the one in the key file.
func findKeys(keys []Key, keyFile string, mayMake bool) ([]Key, error) {
	if len(keys) > 0 {
		return slices.Clone(keys), nil
	}
	if keyFile == "" {
		return nil, errors.New("no key was given: set encryption_key, or name a key file")
	}
	key, err := LoadKeyFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if mayMake {
			key, err = makeKeyFile(keyFile)
		} else {
			err = fmt.Errorf("it is sealed, and its key is missing: put the key file back, or set encryption_key; nothing was changed: %w", err)
		}
	}
	return []Key{key}, err
}

// SetKeys has the store use other keys from now on, as Open would: Keys or, if there are
// none, the one in the key file, which has to be there. When it fails, the store goes on
// with the keys that it has; ErrWrongKey says that none of the new ones fits.
func (s *Store) SetKeys(ctx context.Context, keys []Key, keyFile string) error {
	keys, err := findKeys(keys, keyFile, false)
	if err == nil {
		err = s.useKeys(ctx, keys)
	}
	if err != nil {
		return fmt.Errorf("changing the store's key: %w", err)
	}
	return nil
}

// useKeys opens the keyset with keys, seals it with the first of them if it is not yet, and
// keeps them.
func (s *Store) useKeys(ctx context.Context, keys []Key) error {
	s.reloading.Lock() // who meets the keyset when it was sealed waits for its key
	defer s.reloading.Unlock()
	for {
		entry, err := s.backend.Get(ctx, Meta, keysetKey)
		if err != nil {
			return recordError(Meta, keysetKey, err)
		}
		ring, which, err := openKeyring(entry, keys)
		if err != nil {
			return err
		}
		if which > 0 {
			ring, err = s.writeKeyset(ctx, ring, ring.handle, keys[0])
			if errors.Is(err, ErrConflict) { // another process did the same, or a rotation
				continue
			} else if err != nil {
				return err
			}
		}
		s.ring.Store(ring)
		s.keys.Store(&keys)
		return nil
	}
}

// Format says how many keys there are.
func (o Options) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "store options with %d keys", len(o.Keys))
}
