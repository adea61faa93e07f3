package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-rr/caddy-rr/store"
)

// sparse makes a store with 100 records, whose file is mostly free.
func sparse(t *testing.T, b store.Backend) {
	t.Helper()
	large := strings.Repeat("x", 400_000)
	for i := range 100 {
		write(t, b, put("stays", fmt.Sprintf("%04d", i), 1, fmt.Sprint("v", i)), put("goes", fmt.Sprint(i), 1, large))
	}
	for i := range 100 {
		write(t, b, remove("goes", fmt.Sprint(i)))
	}
}

// stays expects the records that sparse has left.
func stays(t *testing.T, b store.Backend) {
	t.Helper()
	count := 0
	for e, err := range b.List(t.Context(), "stays", "") {
		if err != nil || e.Key != fmt.Sprintf("%04d", count) || string(e.Value) != fmt.Sprint("v", count) {
			t.Fatalf("%q, %q, %v", e.Key, e.Value, err)
		}
		count++
	}
	if count != 100 {
		t.Fatalf("%d of 100 records are there", count)
	}
	for e, err := range b.List(t.Context(), "goes", "") {
		t.Fatalf("%q, %v", e.Key, err)
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	b := must(t, path)
	sparse(t, b)
	before, after, err := b.Compact(t.Context())
	if err != nil || before < 8<<20 || after > 2<<20 {
		t.Fatalf("%d bytes became %d, %v", before, after, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != after {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	stays(t, b)
	write(t, b, put("b", "after", 1, "v"))
	b.Close()
	b = must(t, path)
	stays(t, b)
	if _, err := b.Get(t.Context(), "b", "after"); err != nil {
		t.Error(err)
	}
}

func TestCompactByItself(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	core, logs := observer.New(zap.InfoLevel)
	o := &Bolt{Path: path, log: zap.New(core)}
	for _, c := range []struct {
		what string
		make func(store.Backend)
		want bool
	}{
		{"an empty store", func(store.Backend) {}, false},
		{"a store with little", func(b store.Backend) { write(t, b, put("b", "k", 1, "v")) }, false},
		{"a store that is mostly free", func(b store.Backend) { sparse(t, b) }, true},
		{"a store that was compacted", func(store.Backend) {}, false},
	} {
		b, err := o.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		c.make(b)
		b.Close()
		if b, err = o.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.(*backend).tidying.Wait()
		if n := logs.FilterMessage("the store was compacted").Len(); (n == 1) != c.want {
			t.Errorf("%s: compacted %d times", c.what, n)
		}
		logs.TakeAll()
		if c.want {
			stays(t, b)
		}
		b.Close()
	}
}

func TestCompactEnds(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	b := must(t, filepath.Join(folder, "rr.db"))
	sparse(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := b.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that is over: %v", err)
	}
	b.compacting <- struct{}{} // as if another one went on
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := b.Compact(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that waits for another: %v", err)
	}
	<-b.compacting
	stays(t, b)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				if _, _, err := b.Compact(t.Context()); err != nil {
					if !errors.Is(err, store.ErrUnavailable) {
						t.Errorf("it was closed: %v", err)
					}
					return
				}
			}
		})
	}
	b.Close()
	wg.Wait()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	stays(t, must(t, b.path))
}

// TestCompactThatFails makes the last step fail: the store is as it was, and goes on.
func TestCompactThatFails(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "rr")
	path := filepath.Join(folder, "rr.db")
	b := must(t, path)
	sparse(t, b)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Compact(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a folder is in the way: %v", err)
	}
	stays(t, b)
	write(t, b, put("b", "after", 1, "v"))
	if err := errors.Join(os.RemoveAll(path), os.Rename(path+".away", path)); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	b.Close()
	b = must(t, path)
	stays(t, b)
	if _, err := b.Get(t.Context(), "b", "after"); err != nil {
		t.Error(err)
	}
}

// TestCompactUnderLoad compares what is there after compactions, while many write, with
// what they were told.
func TestCompactUnderLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	b := must(t, path)
	sparse(t, b)
	const writers = 20
	var last [writers]uint64
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for v := uint64(1); ; v++ {
				select {
				case <-done:
					return
				default:
				}
				writes := []store.Write{put(fmt.Sprint("b", w%3), fmt.Sprint(w), v, strings.Repeat(fmt.Sprint(v, " "), 20)), put("log", logKey(w, v), 1, "v")}
				if v > killLog {
					writes = append(writes, store.Write{Bucket: "log", Key: logKey(w, v-killLog), Expect: 1})
				}
				if _, err := b.Apply(t.Context(), writes...); err != nil {
					t.Error(err)
					return
				}
				last[w] = v
			}
		})
	}
	for range 8 {
		if _, _, err := b.Compact(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
	for range 2 {
		stays(t, b)
		kept := 0
		for w, v := range last {
			e, err := b.Get(t.Context(), fmt.Sprint("b", w%3), fmt.Sprint(w))
			if err != nil || e.Version != v || string(e.Value) != strings.Repeat(fmt.Sprint(v, " "), 20) {
				t.Errorf("writer %d: version %d, %v, want %d", w, e.Version, err, v)
			}
			kept += int(min(v, killLog))
		}
		for _, err := range b.List(t.Context(), "log", "") {
			if kept--; err != nil {
				t.Error(err)
			}
		}
		if kept != 0 {
			t.Errorf("%d log records are missing", kept)
		}
		b.Close()
		b = must(t, path)
	}
}
