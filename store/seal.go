package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/core/cryptofmt"
)

var (
	// ErrTampered says that something is not what was sealed there: it was edited, comes
	// from another place or of another version, or is incomplete.
	ErrTampered = errors.New("not what was sealed there: edited, moved, cut off or damaged")
	// ErrWrongKey says that something is sealed with a key that was not given.
	ErrWrongKey = errors.New("sealed with another key")
	// ErrNewer says that something was written by a newer version of caddy-rr.
	ErrNewer = errors.New("written by a newer version of caddy-rr")
)

// What is sealed says what it is, so that one thing is never taken for another.
const (
	recordPurpose = "caddy-rr record 1"
	keysetPurpose = "caddy-rr keyset 1"
)

// place is the associated data of what is sealed: texts with their lengths before them,
// so that no two places are written alike, and the version.
func place(purpose, bucket, key string, version uint64) []byte {
	b := make([]byte, 0, 3*4+len(purpose)+len(bucket)+len(key)+8)
	for _, part := range [...]string{purpose, bucket, key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint64(b, version)
}

// sealedWith returns the ID of the key that something is said to be sealed with, which
// Tink writes before it: a byte, and the ID big endian.
func sealedWith(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < cryptofmt.TinkPrefixSize || sealed[0] != cryptofmt.TinkStartByte {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

// recordError says which record an error is about.
func recordError(bucket, key string, err error) error {
	return fmt.Errorf("record %q in %q: %w", key, bucket, err)
}
