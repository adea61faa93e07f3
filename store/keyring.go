package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// keysetKey is where the keyset is in Meta.
const keysetKey = "keyset"

// keyringFormat is that of the record that keeps the keyset.
const keyringFormat = 1

// keyring is the keyset that records are sealed with. It does not change: when the keyset
// does, there is another keyring.
type keyring struct {
	entry   Entry // the keyset as it is stored, sealed
	handle  *keyset.Handle
	aead    tink.AEAD
	primary uint32 // the key that seals
	ids     []uint32
}

// storedKeyring is the value of the record that keeps the keyset.
type storedKeyring struct {
	Format int `json:"format"`
	// Key is the ID of the key that the keyset is sealed with, so that an error can say
	// which one is needed.
	Key    string `json:"key"`
	Keyset []byte `json:"keyset"`
}

// newHandle makes a keyset of one new key.
func newHandle() (*keyset.Handle, error) { return keyset.NewHandle(aead.AES256GCMKeyTemplate()) }

// newKeyring seals a keyset with k, for the given version of its record.
func newKeyring(handle *keyset.Handle, k Key, version uint64) (*keyring, error) {
	wrap, err := k.aead()
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	ad := place(keysetPurpose, Meta, keysetKey, version)
	if err := handle.WriteWithAssociatedData(keyset.NewBinaryWriter(&sealed), wrap, ad); err != nil {
		return nil, fmt.Errorf("sealing the keyset: %w", err)
	}
	value, err := json.Marshal(storedKeyring{Format: keyringFormat, Key: k.ID(), Keyset: sealed.Bytes()})
	if err != nil {
		return nil, fmt.Errorf("sealing the keyset: %w", err)
	}
	return keyringOf(handle, Entry{Key: keysetKey, Version: version, Value: value})
}

func keyringOf(handle *keyset.Handle, entry Entry) (*keyring, error) {
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("the keyset: %w", err)
	}
	ring := &keyring{entry: entry, handle: handle, aead: primitive}
	for i := range handle.Len() {
		key, err := handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("the keyset: %w", err)
		}
		ring.ids = append(ring.ids, key.KeyID())
		if key.IsPrimary() {
			ring.primary = key.KeyID()
		}
	}
	return ring, nil
}

// openKeyring opens a stored keyset with the first of the keys that fits, and says which.
func openKeyring(entry Entry, keys []Key) (ring *keyring, which int, err error) {
	var stored storedKeyring
	switch err := json.Unmarshal(entry.Value, &stored); {
	case err != nil || stored.Format < 1:
		return nil, 0, recordError(Meta, keysetKey, ErrTampered)
	case stored.Format > keyringFormat:
		return nil, 0, fmt.Errorf("the store's keyset: %w (format %d): use that version", ErrNewer, stored.Format)
	}
	which = slices.IndexFunc(keys, func(k Key) bool { return k.ID() == stored.Key })
	if which < 0 {
		return nil, 0, fmt.Errorf("the store: %w: it needs key %.8q, and was given %v; give it the earlier key too, after the new one", ErrWrongKey, stored.Key, keys)
	}
	wrap, err := keys[which].aead()
	if err != nil {
		return nil, 0, err
	}
	ad := place(keysetPurpose, Meta, keysetKey, entry.Version)
	handle, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(stored.Keyset)), wrap, ad)
	if err != nil {
		return nil, 0, recordError(Meta, keysetKey, ErrTampered)
	}
	ring, err = keyringOf(handle, entry)
	return ring, which, err
}

// fence is a write that changes nothing and fails when the keyset is another by now.
func (k *keyring) fence() Write {
	return Write{Bucket: Meta, Key: keysetKey, Expect: k.entry.Version, Version: k.entry.Version, Value: k.entry.Value}
}

// knows reports whether the keyset has the key that something is said to be sealed with.
func (k *keyring) knows(sealed []byte) bool {
	id, ok := sealedWith(sealed)
	return ok && slices.Contains(k.ids, id)
}

// current reports whether something is said to be sealed with the key that seals now.
func (k *keyring) current(sealed []byte) bool {
	id, ok := sealedWith(sealed)
	return ok && id == k.primary
}

// single reports whether the keyset has no key but the one that seals.
func (k *keyring) single() bool { return len(k.ids) == 1 }

func (k *keyring) seal(bucket, key string, version uint64, plain []byte) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plain, place(recordPurpose, bucket, key, version))
	if err != nil {
		return nil, recordError(bucket, key, errors.New("it cannot be sealed"))
	}
	return sealed, nil
}

// open returns what was sealed, or ErrTampered.
func (k *keyring) open(bucket, key string, version uint64, sealed []byte) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, place(recordPurpose, bucket, key, version))
	if err != nil {
		return nil, recordError(bucket, key, ErrTampered)
	}
	return plain, nil
}

// reload returns the present keyring: seen itself, if the keyset is still the same.
func (s *Store) reload(ctx context.Context, seen *keyring) (*keyring, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if now := s.ring.Load(); now != seen {
		return now, nil
	}
	entry, err := s.backend.Get(ctx, Meta, keysetKey)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, recordError(Meta, keysetKey, ErrTampered)
	case err != nil:
		return nil, err
	case entry.Version == seen.entry.Version && bytes.Equal(entry.Value, seen.entry.Value):
		return seen, nil
	}
	ring, _, err := openKeyring(entry, *s.keys.Load())
	if err != nil {
		return nil, err
	}
	s.ring.Store(ring)
	return ring, nil
}

// replace puts another keyset in the place of old, sealed with the current key. It is
// ErrConflict if somebody else did.
func (s *Store) replace(ctx context.Context, old *keyring, handle *keyset.Handle) error {
	next, err := s.writeKeyset(ctx, old, handle, (*s.keys.Load())[0])
	if err != nil {
		return err
	}
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.ring.Load().entry.Version < next.entry.Version { // else somebody has read a later one
		s.ring.Store(next)
	}
	return nil
}

// writeKeyset writes a keyset in the place of old.
func (s *Store) writeKeyset(ctx context.Context, old *keyring, handle *keyset.Handle, k Key) (*keyring, error) {
	next, err := newKeyring(handle, k, old.entry.Version+1)
	if err != nil {
		return nil, err
	}
	_, err = s.backend.Apply(ctx, Write{
		Bucket: Meta, Key: keysetKey,
		Expect: old.entry.Version, Version: next.entry.Version, Value: next.entry.Value,
	})
	return next, err
}
