package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store"
)

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "rr", "rr.db")
	b := must(t, path)
	for name, want := range map[string]os.FileMode{
		path: 0o600, filepath.Dir(path): 0o700, filepath.Dir(filepath.Dir(path)): 0o700,
	} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if _, _, err := b.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("after compaction: %v, %v", info.Mode(), err)
	}
	b.Close()
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := (&Bolt{Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %o: %v", mode, err)
		}
		if info, _ := os.Stat(path); info.Mode().Perm() != mode {
			t.Errorf("mode %o became %v", mode, info.Mode())
		}
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	c := start(t, "hold", path)
	c.says(t, "open")
	_, err := (&Bolt{Path: path}).Open(t.Context())
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Fatalf("while another process has it open: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := (&Bolt{Path: path}).Open(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that ends while it waits: %v", err)
	}
	// who waits gets it as soon as the other ends
	var wg sync.WaitGroup
	wg.Go(func() { c.stdin.Close() })
	b := must(t, path)
	wg.Wait()
	if _, err := b.Get(t.Context(), "b", "held"); err != nil {
		t.Error(err)
	}
}

// TestReplacedWhileOpening opens the file that another process is about to replace.
func TestReplacedWhileOpening(t *testing.T) {
	folder := t.TempDir()
	path, other := filepath.Join(folder, "rr.db"), filepath.Join(folder, "other.db")
	must(t, path).Close()
	must(t, other).Close()
	h, err := openFile(path, forWriting)
	if err != nil {
		t.Fatal(err)
	}
	defer h.db.Close()
	if _, err := h.check(path); err != nil {
		t.Error(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if _, err := h.check(path); !errors.Is(err, errMoved) {
		t.Errorf("another file is in its place: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := h.check(path); !errors.Is(err, errMoved) {
		t.Errorf("no file is in its place: %v", err)
	}
}

func TestMadeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr", "rr.db")
	var wg sync.WaitGroup
	for range 10 { // as many processes would
		wg.Go(func() {
			if err := create(path); err != nil && !missing(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	write(t, must(t, path), put("b", "k", 1, "v"))
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestLeftovers(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "rr[1].db")
	for _, name := range []string{"rr[1].db.new-123", "rr[1].db.bak", "rr1.db.new-1"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("left"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(t, path)
	var names []string
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "rr1.db.new-1 rr[1].db rr[1].db.bak" {
		t.Errorf("the folder has %s", got)
	}
}

func TestReadOnlyFile(t *testing.T) {
	if os.Geteuid() == 0 { // who may write everything
		againAsNobody(t)
		return
	}
	path := filepath.Join(t.TempDir(), "rr.db")
	b := must(t, path)
	write(t, b, put("b", "k", 1, "v"))
	b.Close()
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	readOnly(t, path)
	if err := os.Chmod(path, 0o000); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Bolt{Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file that cannot be read: %v", err)
	}
	below := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(below, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Bolt{Path: filepath.Join(below, "rr", "rr.db")}).Open(t.Context()); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a folder that cannot be written: %v", err)
	}
}

// readOnly expects that a store, with one record, can be read and not written.
func readOnly(t *testing.T, path string) {
	t.Helper()
	b := must(t, path)
	defer b.Close()
	if e, err := b.Get(t.Context(), "b", "k"); err != nil || string(e.Value) != "v" {
		t.Errorf("Get: %q, %v", e.Value, err)
	}
	count := 0
	for _, err := range b.List(t.Context(), "b", "") {
		if count++; err != nil {
			t.Errorf("List: %v", err)
		}
	}
	if r, err := b.Revision(t.Context()); r != 1 || err != nil || count != 1 {
		t.Errorf("%d records, revision %d, %v", count, r, err)
	}
	if _, err := b.Apply(t.Context(), put("b", "k", 2, "w")); !errors.Is(err, store.ErrReadOnly) || !strings.Contains(err.Error(), path) {
		t.Errorf("Apply: %v", err)
	}
	if _, _, err := b.Compact(t.Context()); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("Compact: %v", err)
	}
	if err := b.Backup(t.Context(), new(bytes.Buffer)); err != nil {
		t.Errorf("Backup: %v", err)
	}
	b.Close()
	if _, err := b.Apply(t.Context(), put("b", "k", 2, "w")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Apply after Close: %v", err)
	}
}

func TestForeignFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := func(bucket, key, value string) {
		t.Helper()
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err != nil {
				return err
			}
			return b.Put([]byte(key), []byte(value))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string) {
		t.Helper()
		db.Close()
		before, _ := os.ReadFile(path)
		if _, err := (&Bolt{Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("want %q: %v", want, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Error("the file was changed")
		}
		if db, err = bbolt.Open(path, 0o600, nil); err != nil {
			t.Fatal(err)
		}
	}
	set("users", "k", "v")
	refused("is no store of rr")
	set("rr", "format", "2")
	refused("use the version of rr that wrote it")
	db.Close()
	if _, err := (&Bolt{Path: filepath.Dir(path)}).Open(t.Context()); err == nil {
		t.Error("a folder was opened")
	}
}

func TestCancelledOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr.db")
	must(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(ctx, path, zap.NewNop()); !errors.Is(err, context.Canceled) {
		t.Errorf("it is locked, and the call is over: %v", err)
	}
}
