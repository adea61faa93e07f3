package bolt

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// TestBatchesAreBounded has more requests wait than are written at once, and larger ones.
func TestBatchesAreBounded(t *testing.T) {
	b := &backend{requests: make(chan *request, 2*batchRequests)}
	small := &request{writes: []store.Write{{Value: []byte("v")}}}
	for range 2 * batchRequests {
		b.requests <- small
	}
	if n := len(b.gather(small)); n != batchRequests {
		t.Errorf("%d requests are written at once", n)
	}
	for len(b.requests) > 0 {
		<-b.requests
	}
	large := &request{writes: []store.Write{{Value: make([]byte, batchBytes/4)}}}
	for range 10 {
		b.requests <- large
	}
	if n := len(b.gather(large)); n != 4 {
		t.Errorf("%d requests of a quarter are written at once", n)
	}
}

// TestChangesAreForgotten writes until the first changes are not told any more; who still
// wants them has to read everything anew.
func TestChangesAreForgotten(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	var writes []store.Write
	for i := range historySize / 8 {
		writes = append(writes, store.Write{Bucket: "b", Key: string(rune('a' + i)), Expect: store.Any, Version: 1, Value: []byte("v")})
	}
	for range 24 { // three times as many as are kept
		if _, err := b.Apply(t.Context(), writes...); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range b.Watch(t.Context(), 1) {
		if !errors.Is(err, store.ErrTrimmed) {
			t.Errorf("watching from the beginning: %v", err)
		}
		break
	}
	for c, err := range b.Watch(t.Context(), 22) {
		if err != nil || c.Revision != 23 {
			t.Errorf("watching from revision 22: %v, %v", c, err)
		}
		break
	}
}
