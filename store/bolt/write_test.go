package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/caddy-rr/caddy-rr/store"
)

// transactions is how many have been written to the file.
func transactions(t *testing.T, b *backend) (count int) {
	t.Helper()
	err := b.view(t.Context(), func(tx *bbolt.Tx) error {
		count = tx.ID()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// TestWrittenTogether lets 300 changes gather behind a writer that is kept waiting: they
// are written in two transactions, and each gets its own result.
func TestWrittenTogether(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	write(t, b, put("b", "taken", 1, "v"))
	before := transactions(t, b)
	const count = 300
	var waiting, wg sync.WaitGroup
	waiting.Add(count)
	b.writing.Lock()
	errs := make([]error, count)
	for i := range count {
		wg.Go(func() {
			waiting.Done()
			key := fmt.Sprint(i)
			if i%3 == 0 {
				key = "taken"
			}
			_, errs[i] = b.Apply(t.Context(), put("beside", fmt.Sprint(i), 1, "v"), store.Write{Bucket: "b", Key: key, Version: 1, Value: []byte("v")})
		})
	}
	waiting.Wait()
	b.writing.Unlock()
	wg.Wait()
	for i, err := range errs {
		_, there := b.Get(t.Context(), "beside", fmt.Sprint(i))
		if i%3 == 0 && (!errors.Is(err, store.ErrConflict) || !errors.Is(there, store.ErrNotFound)) || i%3 != 0 && (err != nil || there != nil) {
			t.Errorf("change %d: %v; what is beside it: %v", i, err, there)
		}
	}
	if n := transactions(t, b) - before; n > count/3 {
		t.Errorf("%d changes were written in %d transactions", count, n)
	}
	if r, _ := b.Revision(t.Context()); r != 1+count*2/3 {
		t.Errorf("the revision is %d", r)
	}
}

// TestOnlyConflicts writes nothing.
func TestOnlyConflicts(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	write(t, b, put("b", "k", 1, "v"))
	before := transactions(t, b)
	for range 10 {
		if _, err := b.Apply(t.Context(), store.Write{Bucket: "b", Key: "k", Version: 1, Value: []byte("w")}); !errors.Is(err, store.ErrConflict) {
			t.Error(err)
		}
	}
	if n := transactions(t, b) - before; n != 0 {
		t.Errorf("%d transactions were written", n)
	}
}

// TestEndedWhileWaiting ends a call that the writer has not begun: nothing is written.
func TestEndedWhileWaiting(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	large := make([]byte, batchBytes/2)
	r := &request{[]store.Write{
		{Bucket: "b", Key: "1", Version: 1, Value: large},
		{Bucket: "b", Key: "2", Version: 1, Value: large},
	}, make(chan result, 1)}
	b.writing.Lock()
	b.requests <- r // the writer has it, it is a whole batch, and waits
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.Apply(ctx, put("b", "late", 1, "v")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Apply: %v", err)
	}
	b.writing.Unlock()
	if done := <-r.result; done.err != nil || done.revision != 1 {
		t.Errorf("the one before it: %v", done)
	}
	write(t, b, put("b", "after", 1, "v"))
	if _, err := b.Get(t.Context(), "b", "late"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
}

// TestFailureInTheMiddle tells the backend of failures after which it cannot know what is
// on the disk: it refuses to write, and goes on to read.
func TestFailureInTheMiddle(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	write(t, b, put("b", "k", 1, "v"))
	next := transactions(t, b) + 1
	b.examine(syscall.ENOSPC, next) // what was refused is not to be seen
	write(t, b, put("b", "k", 2, "w"))
	b.examine(syscall.EIO, next) // it is
	_, err := b.Apply(context.Background(), put("b", "k", 3, "x"))
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Apply: %v", err)
	}
	if _, _, err := b.Compact(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Compact: %v", err)
	}
	if e, err := b.Get(t.Context(), "b", "k"); err != nil || e.Version != 2 {
		t.Errorf("Get: version %d, %v", e.Version, err)
	}
	b.Close()
	write(t, must(t, b.path), put("b", "k", 3, "x"))
}
