package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store"
)

// A file is compacted when it is opened if so much of it is free, and at least half.
const worthwhile = 16 << 20

// mostlyFree tells whether a file that was just opened is worth compacting.
func (h *handle) mostlyFree() bool {
	size, err := h.size()
	free := int64(h.db.Stats().FreePageN) * int64(h.db.Info().PageSize)
	return err == nil && free >= worthwhile && free >= size/2
}

// tidy compacts of the backend's own accord.
func (b *backend) tidy() {
	before, after, err := b.Compact(b.ctx)
	switch {
	case err == nil:
		b.log.Info("the store was compacted", zap.String("file", b.path), zap.Int64("before", before), zap.Int64("after", after))
	case b.ctx.Err() == nil:
		b.log.Warn("the store could not be compacted; it is as it was", zap.Error(err))
	}
}

// Compact implements store.Compacter. Reading and writing go on meanwhile. The new file
// takes the place of the old one in one step, when all of it is on the disk; it needs
// room beside the old one until then. After an error the store is as it was.
//
// bbolt's own Compact does not fit: it reads in one transaction, which keeps pages from
// being used again, it cannot be ended, and it misses what is written meanwhile.
func (b *backend) Compact(ctx context.Context) (before, after int64, err error) {
	if b.readOnly {
		return 0, 0, fmt.Errorf("%w: %s could only be opened for reading", store.ErrReadOnly, b.path)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	select {
	case b.compacting <- struct{}{}:
		defer func() { <-b.compacting }()
	case <-ctx.Done():
		return 0, 0, b.ended(ctx)
	}
	if why := b.broken.Load(); why != nil {
		return 0, 0, *why
	}
	h, err := b.use(ctx)
	if err != nil {
		return 0, 0, b.ended(ctx)
	}
	defer h.users.Done()
	if before, err = h.size(); err == nil {
		after, err = b.replace(ctx, before)
	}
	if err != nil && ctx.Err() != nil {
		return 0, 0, b.ended(ctx)
	}
	return before, after, explain(b.path, err)
}

// ended says why a call has ended.
func (b *backend) ended(ctx context.Context) error {
	if b.ctx.Err() != nil {
		return errClosed
	}
	return ctx.Err()
}

func (h *handle) size() (int64, error) {
	info, err := h.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// replace writes the records to a new file and puts it in the place of the old one.
func (b *backend) replace(ctx context.Context, before int64) (after int64, err error) {
	name, err := makeBesides(b.path)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			os.Remove(name)
		}
	}()
	fresh, err := openFile(name, forMaking)
	if err != nil {
		return 0, err
	}
	fresh.db.AllocSize = int(min(max(before/32, growth), 16*growth))
	b.follow(true)
	defer b.follow(false)
	if err = b.copyAll(ctx, fresh.db); err == nil {
		fresh.db.AllocSize = growth
		if err = b.swap(ctx, name, fresh); err == nil {
			return fresh.size()
		}
	}
	return 0, errors.Join(err, fresh.db.Close())
}

// follow begins or ends to note what is written.
func (b *backend) follow(on bool) {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.touched = nil
	if on {
		b.touched = map[place]bool{}
	}
}

// rounds is how often what was written meanwhile is copied before writers have to wait.
const rounds = 5

// copyAll copies all records, then those that were written meanwhile, until they are few.
func (b *backend) copyAll(ctx context.Context, to *bbolt.DB) error {
	to.NoSync = true // all of it once, at the end
	defer func() { to.NoSync = false }()
	var names []string
	err := b.view(ctx, func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			if name, ok := strings.CutPrefix(string(name), bucketPrefix); ok {
				names = append(names, name)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := b.copyBucket(ctx, to, name); err != nil {
			return err
		}
	}
	for range rounds {
		b.writing.Lock()
		touched := b.touched
		b.touched = map[place]bool{}
		b.writing.Unlock()
		if err := b.copyTouched(ctx, to, touched); err != nil {
			return err
		}
		if len(touched) < chunkEntries {
			break
		}
	}
	return to.Sync()
}

// copyBucket copies the records of a bucket in their order.
func (b *backend) copyBucket(ctx context.Context, to *bbolt.DB, name string) error {
	var after string
	for more := true; more; {
		var chunk []store.Entry
		var err error
		if chunk, more, err = b.chunk(ctx, name, after); err != nil {
			return err
		}
		writes := make([]store.Write, len(chunk))
		for i, e := range chunk {
			writes[i] = store.Write{Bucket: name, Key: e.Key, Version: e.Version, Value: e.Value}
			after = e.Key
		}
		err = to.Update(func(tx *bbolt.Tx) error {
			_, err := apply(tx, writes, 0, nil)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTouched copies what there is now of some records.
func (b *backend) copyTouched(ctx context.Context, to *bbolt.DB, touched map[place]bool) error {
	var writes []store.Write
	flush := func() error {
		err := to.Update(func(tx *bbolt.Tx) error {
			_, err := apply(tx, writes, 0, nil)
			return err
		})
		writes = nil
		return err
	}
	size := 0
	for p := range touched {
		e, err := b.Get(ctx, p.bucket, p.key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		writes = append(writes, store.Write{Bucket: p.bucket, Key: p.key, Version: e.Version, Value: e.Value})
		if size += len(e.Value); size > chunkBytes {
			if err := flush(); err != nil {
				return err
			}
			size = 0
		}
	}
	return flush()
}

// swap copies the last records while nobody writes, and puts the new file in the place
// of the old one: on the disk, so that a crash leaves one of them, whole, and then for
// the calls that come.
func (b *backend) swap(ctx context.Context, name string, fresh *handle) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.copyTouched(ctx, fresh.db, b.touched); err != nil {
		return err
	}
	revision := b.history.Revision()
	if err := fresh.db.Update(func(tx *bbolt.Tx) error { return begin(tx, revision) }); err != nil {
		return err
	}
	if err := fresh.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(name, b.path); err != nil {
		return err
	}
	b.mu.Lock()
	old := b.current
	b.current = fresh
	b.mu.Unlock()
	go b.release(old) // a backup of it may go on
	if err := syncFolder(filepath.Dir(b.path)); err != nil {
		// a power cut may bring the old file back: nothing may be acknowledged in the new one
		err = fmt.Errorf("%w: %s was compacted, but its folder cannot be synced (%w): nothing is written until a restart", store.ErrUnavailable, b.path, err)
		b.broken.Store(&err)
		b.log.Error("the store is not written any more", zap.Error(err))
	}
	return nil
}
