package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

func init() { children["limit"] = underLimit }

// TestFullDisk fills a small disk of its own, for which it has to be root.
func TestFullDisk(t *testing.T) {
	folder := mountSmall(t)
	filler := filepath.Join(folder, "filler")
	err := fillUp(filepath.Join(folder, "rr.db"), func(full bool) error {
		if !full {
			return os.Remove(filler)
		}
		f, err := os.Create(filler)
		if err != nil {
			return err
		}
		defer f.Close()
		// leave as much as a first change may need
		var s syscall.Statfs_t
		if err := syscall.Statfs(folder, &s); err != nil {
			return err
		}
		_, err = f.Write(make([]byte, int64(s.Bavail)*s.Bsize-(128<<10)))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// mountSmall mounts a file system of 8 MiB.
func mountSmall(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder).CombinedOutput(); err != nil {
		t.Skipf("not here: no small disk can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return folder
}

// TestFullLimit is the same with a limit of a file's size, which needs no rights but a
// process of its own.
func TestFullLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr.db")
	c := start(t, "limit", path)
	c.says(t, "done")
}

func underLimit(path string) error {
	err := fillUp(path, func(full bool) error {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			return err
		}
		l.Cur = l.Max
		if full {
			l.Cur = 1 << 20 // less than there is, so that nor a compacted file has room
		}
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
	})
	if err == nil {
		fmt.Println("done")
	}
	return err
}

// fillUp writes until there is no room, looks that nothing is lost and that reading goes
// on, and that writing does when there is room again. full takes the room away and gives
// it back.
func fillUp(path string, full func(bool) error) error {
	ctx := context.Background()
	opened, err := (&Bolt{Path: path}).Open(ctx)
	if err != nil {
		return err
	}
	b := opened.(*backend)
	defer func() { b.Close() }()
	for i := range 1000 { // what compaction needs room for
		if _, err := b.Apply(ctx, put("first", fmt.Sprintf("%04d", i), 1, strings.Repeat("1", 2000))); err != nil {
			return fmt.Errorf("with room: %w", err)
		}
	}
	if err := full(true); err != nil {
		return err
	}
	written, err := writeUntilFull(b)
	if err != nil {
		return err
	}
	if _, _, err := b.Compact(ctx); !errors.Is(err, store.ErrFull) {
		return fmt.Errorf("compacting without room: %w", err)
	}
	again, err := writeUntilFull(b) // it stays like that, and usable
	if err != nil {
		return err
	}
	if err := hasAll(b, written, again); err != nil {
		return fmt.Errorf("without room: %w", err)
	}
	if err := b.Backup(ctx, new(bytes.Buffer)); err != nil {
		return fmt.Errorf("backup without room: %w", err)
	}
	if err := full(false); err != nil {
		return err
	}
	for i := range 10 {
		if _, err := b.Apply(ctx, put("after", fmt.Sprint(i), 1, strings.Repeat("a", 10000))); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if _, _, err := b.Compact(ctx); err != nil {
		return fmt.Errorf("compacting with room again: %w", err)
	}
	revision, _ := b.Revision(ctx)
	if err := b.Close(); err != nil {
		return err
	}
	if opened, err = (&Bolt{Path: path}).Open(ctx); err != nil {
		return err
	}
	b = opened.(*backend)
	if now, err := b.Revision(ctx); now != revision || err != nil {
		return fmt.Errorf("revision %d, %w; want %d", now, err, revision)
	}
	return hasAll(b, written, again)
}

// writeUntilFull has some write until they are told that there is no room, small and
// large records at a time. It returns the keys of what was acknowledged.
func writeUntilFull(b *backend) ([]string, error) {
	const writers = 8
	var keys [writers][]string
	var errs [writers]error
	var wg sync.WaitGroup
	before, _ := b.Revision(context.Background())
	for w := range writers {
		wg.Go(func() {
			for i := 0; errs[w] == nil; i++ {
				key := fmt.Sprintf("%d-%d-%d", before, w, i)
				_, errs[w] = b.Apply(context.Background(), put("full", key, 1, strings.Repeat(key, 10<<(2*w))), put("half", key, 1, "v"))
				if errs[w] == nil {
					keys[w] = append(keys[w], key)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, store.ErrFull) {
			return nil, fmt.Errorf("without room: %w", err)
		}
		if !strings.Contains(err.Error(), b.path) {
			return nil, fmt.Errorf("the error does not name the file: %w", err)
		}
	}
	all := slices.Concat(keys[:]...)
	now, err := b.Revision(context.Background())
	if err == nil && now != before+uint64(len(all)) {
		err = fmt.Errorf("revision %d after %d, and %d changes", now, before, len(all))
	}
	return all, err
}

// hasAll looks whether what was acknowledged is there, and nothing else.
func hasAll(b *backend, written ...[]string) error {
	var there, halves []string
	for e, err := range b.List(context.Background(), "full", "") {
		if err != nil {
			return err
		}
		if strings.ReplaceAll(string(e.Value), e.Key, "") != "" {
			return fmt.Errorf("%s has %.30q", e.Key, e.Value)
		}
		there = append(there, e.Key)
	}
	for e, err := range b.List(context.Background(), "half", "") {
		if err != nil {
			return err
		}
		halves = append(halves, e.Key)
	}
	want := slices.Sorted(slices.Values(slices.Concat(written...)))
	if !slices.Equal(there, want) || !slices.Equal(halves, want) {
		return fmt.Errorf("there are %q and %q, acknowledged were %q", there, halves, want)
	}
	count := 0
	for _, err := range b.List(context.Background(), "first", "") {
		if err != nil {
			return err
		}
		count++
	}
	if count != 1000 {
		return fmt.Errorf("%d of 1000 old records are there", count)
	}
	return nil
}

// TestReadOnlyDisk is for root, who can write every file.
func TestReadOnlyDisk(t *testing.T) {
	folder := mountSmall(t)
	path := filepath.Join(folder, "rr.db")
	b := must(t, path)
	write(t, b, put("b", "k", 1, "v"))
	b.Close()
	if out, err := exec.Command("mount", "-o", "remount,ro", folder).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	readOnly(t, path)
	if _, err := (&Bolt{Path: filepath.Join(folder, "rr", "new.db")}).Open(t.Context()); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("a new store: %v", err)
	}
	if out, err := exec.Command("mount", "-o", "remount,rw", folder).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	write(t, must(t, path), put("b", "k", 2, "w"))
}
