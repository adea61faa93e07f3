package store

import (
	"errors"
	"fmt"
)

// What a Backend holds at most, in bytes.
const (
	MaxName  = 512     // of a key, and of a bucket's name; both have at least one
	MaxValue = 8 << 20 // of a value
)

// ErrInvalid says that no Backend takes such a change; nothing was written.
var ErrInvalid = errors.New("the change is not valid")

// CheckWrites is what every Backend asks of the writes of one Apply, whatever is stored:
// names and values within their limits, versions that grow, and each record at most once.
// Errors are ErrInvalid.
func CheckWrites(writes []Write) error {
	type place struct{ bucket, key string }
	seen := make(map[place]bool, len(writes))
	for i, w := range writes {
		if err := w.check(); err != nil {
			return fmt.Errorf("%w: write %d: %w", ErrInvalid, i, err)
		}
		p := place{w.Bucket, w.Key}
		if seen[p] {
			return fmt.Errorf("%w: write %d: the record is written twice", ErrInvalid, i)
		}
		seen[p] = true
	}
	return nil
}

func (w *Write) check() error {
	switch {
	case w.Bucket == "" || len(w.Bucket) > MaxName:
		return fmt.Errorf("a bucket's name has 1 to %d bytes, not %d", MaxName, len(w.Bucket))
	case w.Key == "" || len(w.Key) > MaxName:
		return fmt.Errorf("a key has 1 to %d bytes, not %d", MaxName, len(w.Key))
	case len(w.Value) > MaxValue:
		return fmt.Errorf("a value has at most %d bytes, not %d", MaxValue, len(w.Value))
	case w.Value == nil: // a deletion, which has no version
		return nil
	case w.Version == 0 || w.Version == Any:
		return errors.New("a new value needs a version")
	case w.Expect != Any && w.Version < w.Expect:
		return fmt.Errorf("version %d does not follow version %d", w.Version, w.Expect)
	}
	return nil
}

// Renews reports whether a write replaces the bytes of a record that stays what it is, of
// which nobody is told.
func (w *Write) Renews() bool { return w.Value != nil && w.Version == w.Expect }

// Judge compares what a write expects with the version that its record has, 0 if there is
// none. The error is ErrConflict or ErrNotFound, nil if the write can be made. It does not
// say the key, which may be one that only its owner should know, such as a consent's.
func (w *Write) Judge(has uint64) error {
	switch {
	case w.Expect == Any:
		return nil
	case w.Value == nil && has == 0:
		return fmt.Errorf("%s: %w", w.Bucket, ErrNotFound)
	case w.Expect != has:
		return fmt.Errorf("%s: %w", w.Bucket, ErrConflict)
	}
	return nil
}
