// Package store is what the gateway remembers: records made through the management API,
// sealed, with versions.
//
// A Backend keeps bytes. A Store keeps typed records over it, each sealed with AES-256-GCM
// and bound to its place and version, so that a record that was edited, moved or put back
// is detected. What a Backend has acknowledged is durable.
//
// The package imports nothing of Caddy.
package store

import (
	"context"
	"errors"
	"io"
	"iter"
)

var (
	// ErrNotFound says that there is no such record.
	ErrNotFound = errors.New("there is no such record")
	// ErrConflict says that a record has not the version that a write expects.
	ErrConflict = errors.New("the record has been changed in the meantime")
	// ErrFull says that there is no room; nothing was written.
	ErrFull = errors.New("there is no room for the change")
	// ErrReadOnly says that the store cannot be written; it can still be read.
	ErrReadOnly = errors.New("the store cannot be written")
	// ErrUnavailable says that the store cannot be reached now.
	ErrUnavailable = errors.New("the store cannot be reached")
	// ErrTrimmed says that changes after a revision are not known any more: what was
	// derived from them has to be read anew.
	ErrTrimmed = errors.New("the changes since then are not known any more")
	// ErrLocked says that another process has the store open.
	ErrLocked = errors.New("another process has the store open")
)

// Entry is one value of a Backend.
type Entry struct {
	Key string
	// Version is at least 1. Whoever writes chooses it; it only grows.
	Version uint64
	// Value is opaque to the Backend. It belongs to the caller.
	Value []byte
}

// Write is one part of a change.
type Write struct {
	Bucket, Key string
	// Expect is the version that the record has to have now: 0 says that there must be
	// none, Any that it does not matter.
	Expect uint64
	// Version is that of the new value, at least 1 and more than Expect unless that is Any.
	// If it is Expect, the bytes are replaced of a record that stays what it is, such as one
	// that is sealed anew: Watch does not tell of that, and an Apply of such writes alone
	// leaves the revision as it is.
	Version uint64
	// Value is the new value; nil deletes. Deleting what is not there is ErrNotFound unless
	// Expect is Any.
	Value []byte
}

// Any is for a Write that does not depend on what is there.
const Any = ^uint64(0)

// Change is what a notice tells: that a record was written or deleted, not its value.
type Change struct {
	// Revision counts the changes of the store: each Apply is one revision, and all its
	// writes have the same.
	Revision    uint64
	Bucket, Key string
	// Version is the record's new version, 0 if it was deleted.
	Version uint64
}

// Backend keeps opaque bytes with versions. It never sees a plain text. Implementations
// are safe for concurrent use; the suite storetest says exactly what they have to do.
//
// Keys and bucket names are up to 512 bytes, values up to 8 MiB.
type Backend interface {
	// Get returns one entry, or ErrNotFound.
	Get(ctx context.Context, bucket, key string) (Entry, error)
	// List returns the entries of a bucket whose key is greater than after, in the order of
	// their bytes. Changes that happen meanwhile may be seen or not, but no entry is
	// returned twice or torn. A bucket that nobody wrote to is empty.
	List(ctx context.Context, bucket, after string) iter.Seq2[Entry, error]
	// Apply makes all writes, or none. When it returns nil they are durable, and Get and
	// List of any goroutine see them. It returns the revision of the change. On ErrConflict,
	// ErrNotFound, ErrFull and ErrReadOnly nothing was changed.
	Apply(ctx context.Context, writes ...Write) (revision uint64, err error)
	// Watch returns the changes after a revision, in order and without a gap, and waits for
	// more until ctx is done. ErrTrimmed says that it cannot begin there.
	Watch(ctx context.Context, after uint64) iter.Seq2[Change, error]
	// Revision is that of the last change, 0 of an empty store.
	Revision(ctx context.Context) (uint64, error)
	// Close releases the store. What was acknowledged stays.
	Close() error
}

// Opener opens a Backend. What the option store of the configuration names is one; that it
// is there opens nothing.
type Opener interface {
	// Open opens the store, and makes it if there is none.
	Open(ctx context.Context) (Backend, error)
	// Key names the store within the process: two Openers with the same key are of the same
	// store, which can be open once. It touches nothing.
	Key() string
	// Folder is where the key file goes; it may not exist yet. Empty: there is no place.
	Folder() string
}

// Backuper is implemented by backends that can write a copy of themselves while they are
// in use. The copy is consistent, and can be opened in the place of the original.
type Backuper interface {
	Backup(ctx context.Context, w io.Writer) error
}

// Compacter is implemented by backends that can give back the room of what was deleted.
type Compacter interface {
	// Compact returns the sizes before and after, in bytes.
	Compact(ctx context.Context) (before, after int64, err error)
}
