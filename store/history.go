package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
)

// History keeps the last changes of a Backend in this process, for its Watch. It is safe
// for concurrent use.
type History struct {
	limit int

	mu       sync.Mutex
	changes  []Change
	base     uint64 // how many changes were dropped before changes[0]
	trimmed  uint64 // changes of this revision, or before, may have been dropped
	revision uint64
	more     chan struct{} // closed and replaced when there is something new
	closed   bool
}

// NewHistory begins after a revision. It keeps at least the last limit changes, and at
// most twice as many.
func NewHistory(revision uint64, limit int) *History {
	return &History{limit: limit, trimmed: revision, revision: revision, more: make(chan struct{})}
}

// Add appends the changes of revisions, each of them whole and one higher than the one
// before. It keeps the slice's elements, not the slice.
func (h *History) Add(changes ...Change) {
	if len(changes) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = append(h.changes, changes...)
	h.revision = changes[len(changes)-1].Revision
	if drop := len(h.changes) - h.limit; drop > h.limit {
		h.trimmed = h.changes[drop-1].Revision
		h.base += uint64(drop)
		h.changes = slices.Clone(h.changes[drop:])
	}
	if !h.closed {
		close(h.more)
		h.more = make(chan struct{})
	}
}

// Revision is that of the last change.
func (h *History) Revision() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revision
}

// Close ends all watching with ErrUnavailable.
func (h *History) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.more)
	}
}

// Watch is a Backend's. It yields ErrTrimmed, also to who does not keep up, the error of
// ctx, or ErrUnavailable after Close, as the last.
func (h *History) Watch(ctx context.Context, after uint64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		next, err := h.seek(after)
		for err == nil {
			var found []Change
			var more <-chan struct{}
			if err = ctx.Err(); err != nil {
				break
			}
			if found, more, err = h.read(next); err != nil {
				break
			}
			for _, c := range found {
				if !yield(c, nil) {
					return
				}
			}
			next += uint64(len(found))
			if len(found) > 0 {
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
		yield(Change{}, err)
	}
}

// seek is the number of the first change after a revision.
func (h *History) seek(after uint64) (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if after < h.trimmed || after > h.revision {
		return 0, fmt.Errorf("after revision %d of %d: %w", after, h.revision, ErrTrimmed)
	}
	i := sort.Search(len(h.changes), func(i int) bool { return h.changes[i].Revision > after })
	return h.base + uint64(i), nil
}

// readAtOnce bounds what a watcher copies in one go.
const readAtOnce = 256

// read returns changes from a number on. If there are none yet, more is closed when there
// may be.
func (h *History) read(next uint64) (found []Change, more <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, nil, fmt.Errorf("%w: it is closed", ErrUnavailable)
	case next < h.base:
		return nil, nil, fmt.Errorf("watching was slower than the changes: %w", ErrTrimmed)
	}
	found = h.changes[next-h.base:]
	return slices.Clone(found[:min(len(found), readAtOnce)]), h.more, nil
}
