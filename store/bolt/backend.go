package bolt

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store"
)

// backend is an open store.
type backend struct {
	path     string
	readOnly bool
	log      *zap.Logger
	history  *store.History

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	writer   sync.WaitGroup
	tidying  sync.WaitGroup // what is done in the background after opening
	requests chan *request
	broken   atomic.Pointer[error] // why nothing can be written any more

	mu      sync.RWMutex // guards current and closed
	current *handle
	closed  bool

	writing    sync.Mutex     // held while something is written, or the file replaced
	touched    map[place]bool // what was written since a compaction began; else nil
	compacting chan struct{}  // holds one while compacting
}

// historySize is how many changes are remembered at least: some seconds of the fastest
// import, in about 2 MB.
const historySize = 1 << 14

func newBackend(path string, h *handle, revision uint64, log *zap.Logger) *backend {
	b := &backend{
		path: path, log: log, current: h,
		readOnly:   h.db.IsReadOnly(),
		history:    store.NewHistory(revision, historySize),
		requests:   make(chan *request),
		compacting: make(chan struct{}, 1),
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.tidying.Go(func() { h.warm(b.ctx) })
	if !b.readOnly {
		sweep(path)
		b.writer.Go(b.write)
		if h.mostlyFree() {
			b.tidying.Go(b.tidy)
		}
	}
	return b
}

// warmed is how much of a file is read ahead at most.
const warmed = 4 << 30

// warm reads the file from its beginning to its end, and so into the system's cache: who
// opens a store lists it next, which reads pages in any order, and takes 20 times as long
// from the disk.
func (h *handle) warm(ctx context.Context) {
	buffer := make([]byte, 256<<10)
	for at := int64(0); at < warmed && ctx.Err() == nil; at += int64(len(buffer)) {
		if _, err := h.file.ReadAt(buffer, at); err != nil {
			return // its end; whatever else it is will be met again
		}
	}
}

// use returns the open file, for a call that says Done to its users at its end.
func (b *backend) use(ctx context.Context) (*handle, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.current.users.Add(1)
	return b.current, nil
}

// view calls f in a reading transaction. What f is given is valid until it returns.
func (b *backend) view(ctx context.Context, f func(*bbolt.Tx) error) error {
	h, err := b.use(ctx)
	if err != nil {
		return err
	}
	defer h.users.Done()
	return guard(b.path, func() error { return h.db.View(f) })
}

// bucketOf is a bucket of the store, nil if nobody wrote to it.
func bucketOf(tx *bbolt.Tx, name string) *bbolt.Bucket {
	return tx.Bucket([]byte(bucketPrefix + name))
}

// version is that of what is stored.
func (b *backend) version(stored []byte) (uint64, error) {
	if len(stored) < versionSize {
		return 0, &damage{b.path, "a value has no version"}
	}
	return binary.BigEndian.Uint64(stored), nil
}

// decode splits what is stored; the value is a copy.
func (b *backend) decode(key, stored []byte) (store.Entry, error) {
	version, err := b.version(stored)
	if err != nil {
		return store.Entry{}, err
	}
	return store.Entry{Key: string(key), Version: version, Value: append([]byte{}, stored[versionSize:]...)}, nil
}

// Get implements store.Backend.
func (b *backend) Get(ctx context.Context, bucket, key string) (e store.Entry, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) (err error) {
		var stored []byte
		if in := bucketOf(tx, bucket); in != nil {
			stored = in.Get([]byte(key))
		}
		if stored == nil {
			return fmt.Errorf("%s: %w", bucket, store.ErrNotFound)
		}
		e, err = b.decode([]byte(key), stored)
		return err
	})
	return e, err
}

// What List reads in one transaction, so that who takes long keeps neither the writer
// waiting nor old pages from being used again.
const (
	chunkEntries = 256
	chunkBytes   = 1 << 20
)

// List implements store.Backend.
func (b *backend) List(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for more := true; more; {
			var chunk []store.Entry
			var err error
			chunk, more, err = b.chunk(ctx, bucket, after)
			if err != nil {
				yield(store.Entry{}, err)
				return
			}
			for _, e := range chunk {
				after = e.Key
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// chunk reads the next entries after a key, and tells whether there are more.
func (b *backend) chunk(ctx context.Context, bucket, after string) (chunk []store.Entry, more bool, err error) {
	err = b.view(ctx, func(tx *bbolt.Tx) error {
		in := bucketOf(tx, bucket)
		if in == nil {
			return nil
		}
		size := 0
		c := in.Cursor()
		key, stored := c.Seek([]byte(after))
		if key != nil && string(key) == after {
			key, stored = c.Next()
		}
		for ; key != nil; key, stored = c.Next() {
			if more = len(chunk) == chunkEntries || size > chunkBytes; more {
				return nil
			}
			e, err := b.decode(key, stored)
			if err != nil {
				return err
			}
			chunk = append(chunk, e)
			size += len(stored)
		}
		return nil
	})
	return chunk, more, err
}

// Watch implements store.Backend.
func (b *backend) Watch(ctx context.Context, after uint64) iter.Seq2[store.Change, error] {
	return b.history.Watch(ctx, after)
}

// Revision implements store.Backend. It is that of the last change which Watch can tell.
func (b *backend) Revision(ctx context.Context) (uint64, error) {
	h, err := b.use(ctx)
	if err != nil {
		return 0, err
	}
	defer h.users.Done()
	return b.history.Revision(), nil
}

// closeWait is for how long Close waits for reading calls. Only a backup whose reader
// hangs takes longer; the file is let go of at its end.
const closeWait = 5 * time.Second

// Close implements store.Backend.
func (b *backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.writer.Wait()
	b.tidying.Wait()
	b.history.Close()
	b.compacting <- struct{}{} // and no more
	closed := make(chan error, 1)
	go func() { closed <- b.release(b.current) }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeWait):
		return fmt.Errorf("the store %s is still being read, and stays locked until that ends", b.path)
	}
}

// release lets a file go when nobody uses it any more.
func (b *backend) release(h *handle) error {
	h.users.Wait()
	if b.broken.Load() != nil { // bbolt may hold its own locks for ever
		return abandon(h.file)
	}
	return h.db.Close()
}
