package store_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/bolt"
)

// TestOverBolt rotates keys in a file that is written to and compacted meanwhile, and opens
// it again: a record that a compaction has copied before it was sealed anew would be lost.
func TestOverBolt(t *testing.T) {
	const count = 700
	file := &bolt.Bolt{Path: filepath.Join(t.TempDir(), "rr.db")}
	openFile := func() (store.Backend, *store.Store) {
		b, err := file.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		return b, openStore(t, b, "a")
	}
	b, s := openFile()
	var changes []store.Put
	for i := range count {
		id := fmt.Sprintf("%06d", i)
		changes = append(changes, put(store.Credentials, id, 1, credential(id)))
	}
	apply(t, s, changes...)
	before := keyIDs(t, b)

	done := make(chan struct{})
	var wg sync.WaitGroup
	written := uint64(1)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := s.Apply(t.Context(), put(store.Credentials, "000000", written+1, credential("000000"))); err != nil {
				t.Errorf("writing: %v", err)
				return
			}
			written++
		}
	})
	wg.Go(func() {
		for {
			if _, _, err := b.(store.Compacter).Compact(t.Context()); err != nil {
				t.Errorf("compacting: %v", err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for range 3 {
		if err := s.RotateKey(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	b, s = openFile()
	now := keyIDs(t, b)
	for id := range now {
		if before[id] > 0 || len(now) != 1 {
			t.Errorf("records are sealed with %v, before with %v", now, before)
		}
	}
	expectCredential(t, s, "000000", written)
	for i := 1; i < count; i++ {
		expectCredential(t, s, fmt.Sprintf("%06d", i), 1)
	}
}
