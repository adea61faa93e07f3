package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// TestBackup backs a store up while it is written and compacted, and opens the copies.
func TestBackup(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	b := must(t, filepath.Join(folder, "rr.db"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for v := uint64(1); ; v++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := b.Apply(t.Context(), put("a", "k", v, strings.Repeat("v", int(v%5000))), put("b", "k", v, "v"), put("log", logKey(0, v), 1, "v")); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, _, err := b.Compact(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var copies []string
	for i := range uint64(10) {
		for c, err := range b.Watch(t.Context(), 0) { // let some be written between two
			if err != nil {
				t.Fatal(err)
			}
			if c.Revision > 5*i {
				break
			}
		}
		var copied bytes.Buffer
		if err := b.Backup(t.Context(), &copied); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(folder, fmt.Sprint("copy", i))
		if err := os.WriteFile(name, copied.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, name)
	}
	close(done)
	wg.Wait()
	for _, name := range copies {
		restored := must(t, name)
		revision, err := restored.Revision(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		logged := uint64(0)
		for _, err := range restored.List(t.Context(), "log", "") {
			if logged++; err != nil {
				t.Fatal(err)
			}
		}
		one, _ := restored.Get(t.Context(), "a", "k")
		two, _ := restored.Get(t.Context(), "b", "k")
		if one.Version != revision || two.Version != revision || logged != revision {
			t.Errorf("%s: revision %d, versions %d and %d, %d records", name, revision, one.Version, two.Version, logged)
		}
		write(t, restored, put("a", "k", revision+1, "goes on"))
		restored.Close()
	}
}

// slow is a reader of a backup that takes its time.
type slow struct {
	began chan struct{}
	more  chan struct{}
	once  sync.Once
	bytes.Buffer
}

func (s *slow) Write(p []byte) (int, error) {
	s.once.Do(func() {
		close(s.began)
		<-s.more
	})
	return s.Buffer.Write(p)
}

// TestSlowBackup has a backup's reader wait: nobody else does, also when the file grows and
// is compacted.
func TestSlowBackup(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	b := must(t, path)
	write(t, b, put("b", "before", 1, "v"))
	s := &slow{began: make(chan struct{}), more: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Backup(t.Context(), s); err != nil {
			t.Error(err)
		}
	})
	<-s.began
	large := strings.Repeat("x", 1<<20)
	for i := range 40 {
		write(t, b, put("b", fmt.Sprint(i), 1, large))
	}
	if _, _, err := b.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	for i := range 40 {
		write(t, b, remove("b", fmt.Sprint(i)))
	}
	if _, err := b.Get(t.Context(), "b", "before"); err != nil {
		t.Error(err)
	}
	close(s.more)
	wg.Wait()
	restored := filepath.Join(t.TempDir(), "rr.db")
	if err := os.WriteFile(restored, s.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	count := 0
	for e, err := range must(t, restored).List(t.Context(), "b", "") {
		if count++; err != nil || e.Key != "before" {
			t.Errorf("%q, %v", e.Key, err)
		}
	}
	if count != 1 {
		t.Errorf("the copy has %d records", count)
	}
}

func TestBackupEnds(t *testing.T) {
	b := must(t, filepath.Join(t.TempDir(), "rr.db"))
	ctx, cancel := context.WithCancel(t.Context())
	s := &slow{began: make(chan struct{}), more: make(chan struct{})}
	result := make(chan error)
	go func() { result <- b.Backup(ctx, s) }()
	<-s.began
	cancel()
	close(s.more)
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("its call is over: %v", err)
	}
	failing := errors.New("the reader is gone")
	if err := b.Backup(t.Context(), writer(func([]byte) (int, error) { return 0, failing })); !errors.Is(err, failing) {
		t.Errorf("its reader is gone: %v", err)
	}
	func() {
		defer func() {
			if p := recover(); p != failing {
				t.Errorf("its reader panics: %v", p)
			}
		}()
		b.Backup(t.Context(), writer(func([]byte) (int, error) { panic(failing) }))
	}()
	write(t, b, put("b", "k", 1, "v"))
	b.Close()
	if err := b.Backup(t.Context(), new(bytes.Buffer)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
