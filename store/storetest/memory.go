package storetest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddy-rr/caddy-rr/store"
)

// Mem is a store in memory, for tests of what is above a store. It is a Backend, open from
// the start, and an Opener of others with the same content, as two nodes of one database
// have.
type Mem struct {
	// BeforeApply, if not nil, is called before each Apply looks at its writes, by the
	// goroutine that applies. It may wait; an error that it returns is that of Apply, and
	// nothing is changed. Set it before the store is used; what Open returns has it too.
	BeforeApply func(ctx context.Context, writes []store.Write) error
	// BeforeRead is alike, before each Get (with a key) and List (without).
	BeforeRead func(ctx context.Context, bucket, key string) error

	*memory
	history *store.History
}

// memory is what all that are open share.
type memory struct {
	key string

	mu       sync.RWMutex
	open     map[*Mem]bool
	buckets  map[string]map[string]store.Entry
	revision uint64
	next     []error // of the next Applies
	always   error   // of each Apply
}

// memHistory is how many changes are remembered at least. It is small, so that tests meet
// ErrTrimmed.
const memHistory = 1 << 10

var made atomic.Int64

// Memory returns an empty store in memory.
func Memory() *Mem {
	shared := &memory{
		key:     fmt.Sprintf("memory:%d", made.Add(1)),
		open:    map[*Mem]bool{},
		buckets: map[string]map[string]store.Entry{},
	}
	m := &Mem{memory: shared, history: store.NewHistory(0, memHistory)}
	shared.open[m] = true
	return m
}

// FailNext has the next Apply fail with the first error, the one after it with the second,
// and so on; such as store.ErrFull, store.ErrReadOnly or store.ErrUnavailable. Nothing is
// changed by them.
func (m *memory) FailNext(errs ...error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = append(m.next, errs...)
}

// Fail has every Apply fail with an error, until it is called with nil.
func (m *memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.always = err
}

// Open implements store.Opener.
func (m *Mem) Open(ctx context.Context) (store.Backend, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	again := &Mem{
		BeforeApply: m.BeforeApply, BeforeRead: m.BeforeRead,
		memory: m.memory, history: store.NewHistory(m.revision, memHistory),
	}
	m.open[again] = true
	return again, nil
}

// Key implements store.Opener.
func (m *memory) Key() string { return m.key }

// Folder implements store.Opener: there is none.
func (*memory) Folder() string { return "" }

// Close implements store.Backend.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, m)
	m.history.Close()
	return nil
}

// usable is the error of a store that is closed, or of a call that is over.
func (m *Mem) usable(ctx context.Context) error {
	if !m.open[m] {
		return fmt.Errorf("%w: it is closed", store.ErrUnavailable)
	}
	return ctx.Err()
}

// Get implements store.Backend.
func (m *Mem) Get(ctx context.Context, bucket, key string) (store.Entry, error) {
	if m.BeforeRead != nil {
		if err := m.BeforeRead(ctx, bucket, key); err != nil {
			return store.Entry{}, err
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return store.Entry{}, err
	}
	e, ok := m.buckets[bucket][key]
	if !ok {
		return store.Entry{}, fmt.Errorf("%s: %w", bucket, store.ErrNotFound)
	}
	e.Value = slices.Clone(e.Value)
	return e, nil
}

// List implements store.Backend.
func (m *Mem) List(ctx context.Context, bucket, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		entries, err := m.list(ctx, bucket, after)
		for _, e := range entries {
			if err = ctx.Err(); err != nil {
				break
			}
			e.Value = slices.Clone(e.Value)
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Entry{}, err)
		}
	}
}

func (m *Mem) list(ctx context.Context, bucket, after string) ([]store.Entry, error) {
	if m.BeforeRead != nil {
		if err := m.BeforeRead(ctx, bucket, ""); err != nil {
			return nil, err
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return nil, err
	}
	var entries []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m.buckets[bucket])) {
		if key > after {
			entries = append(entries, m.buckets[bucket][key])
		}
	}
	return entries, nil
}

// Apply implements store.Backend.
func (m *Mem) Apply(ctx context.Context, writes ...store.Write) (uint64, error) {
	if m.BeforeApply != nil {
		if err := m.BeforeApply(ctx, writes); err != nil {
			return 0, err
		}
	}
	if err := store.CheckWrites(writes); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, err
	}
	if err := m.fault(); err != nil {
		return 0, err
	}
	for _, w := range writes {
		if err := w.Judge(m.buckets[w.Bucket][w.Key].Version); err != nil {
			return 0, err
		}
	}
	m.write(writes)
	return m.revision, nil
}

// fault takes the next injected error.
func (m *memory) fault() error {
	if len(m.next) > 0 {
		err := m.next[0]
		m.next = m.next[1:]
		return err
	}
	return m.always
}

func (m *memory) write(writes []store.Write) {
	changes := make([]store.Change, 0, len(writes))
	for _, w := range writes {
		c := store.Change{Revision: m.revision + 1, Bucket: w.Bucket, Key: w.Key}
		if w.Value == nil {
			delete(m.buckets[w.Bucket], w.Key)
		} else {
			if m.buckets[w.Bucket] == nil {
				m.buckets[w.Bucket] = map[string]store.Entry{}
			}
			m.buckets[w.Bucket][w.Key] = store.Entry{Key: w.Key, Version: w.Version, Value: slices.Clone(w.Value)}
			c.Version = w.Version
		}
		if !w.Renews() {
			changes = append(changes, c)
		}
	}
	if len(changes) > 0 {
		m.revision++
	}
	for each := range m.open {
		each.history.Add(changes...)
	}
}

// Watch implements store.Backend.
func (m *Mem) Watch(ctx context.Context, after uint64) iter.Seq2[store.Change, error] {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.usable(ctx); err != nil {
		return func(yield func(store.Change, error) bool) { yield(store.Change{}, err) }
	}
	return m.history.Watch(ctx, after)
}

// Revision implements store.Backend.
func (m *Mem) Revision(ctx context.Context) (uint64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revision, m.usable(ctx)
}
