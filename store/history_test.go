package store

import (
	"context"
	"errors"
	"testing"
)

// TestHistoryTrims goes on from every revision there was: watching begins with the next
// one, whole, or says that it cannot.
func TestHistoryTrims(t *testing.T) {
	const limit, first, last = 10, 6, 40
	h := NewHistory(first-1, limit)
	for r := uint64(first); r <= last; r++ {
		var changes []Change
		for i := range r%3 + 1 { // of 1 to 3 writes
			changes = append(changes, Change{Revision: r, Version: i})
		}
		h.Add(changes...)
	}
	if h.Revision() != last {
		t.Errorf("the revision is %d", h.Revision())
	}
	known := 0
	for after := range uint64(last) {
		next, write := after+1, uint64(0)
		var got error
		for c, err := range h.Watch(t.Context(), after) {
			if got = err; err != nil {
				break
			}
			if c.Revision != next || c.Version != write {
				t.Fatalf("after %d: %v; want write %d of revision %d", after, c, write, next)
			}
			if write++; write > next%3 {
				next, write = next+1, 0
			}
			if next > last {
				break
			}
		}
		switch {
		case got == nil:
			known++
		case !errors.Is(got, ErrTrimmed) || known > 0:
			t.Errorf("after %d, with %d known before it: %v", after, known, got)
		}
	}
	// at least limit changes, at most twice as many, of 2 to a revision
	if known < limit/2-1 || known > limit {
		t.Errorf("%d revisions are known", known)
	}
}

func TestHistoryEnds(t *testing.T) {
	h := NewHistory(7, 10)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx   context.Context
		after uint64
		want  error
	}{
		{t.Context(), 6, ErrTrimmed},
		{t.Context(), 8, ErrTrimmed},
		{ended, 7, context.Canceled},
		{t.Context(), 7, ErrUnavailable}, // after Close
	} {
		if c.want == ErrUnavailable {
			h.Close()
			h.Close()
			h.Add(Change{Revision: 8}) // one that was being written
		}
		count := 0
		for _, err := range h.Watch(c.ctx, c.after) {
			if count++; !errors.Is(err, c.want) {
				t.Errorf("after %d: %v, want %v", c.after, err, c.want)
			}
		}
		if count != 1 {
			t.Errorf("after %d: it ended with %d words", c.after, count)
		}
	}
	if h.Revision() != 8 {
		t.Errorf("the revision is %d", h.Revision())
	}
}
