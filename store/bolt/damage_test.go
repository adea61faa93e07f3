package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// page is the smallest page of any system.
const page = 4096

// filled makes a store with 300 records and returns the bytes of its file.
func filled(t *testing.T, path string) []byte {
	t.Helper()
	b := must(t, path)
	for i := range 300 {
		write(t, b, put(fmt.Sprint("b", i%3), fmt.Sprintf("%04d", i), 1, strings.Repeat(fmt.Sprint(i), 100)))
	}
	write(t, b, remove("b0", "0000"))
	if _, _, err := b.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, b, put("b0", "0003", 2, "changed")) // so that there are free pages
	b.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(content, "\x00")) // the rest is what it was grown by
	return content[:(used/page+1)*page]
}

// use does all that reads and writes, and returns what went wrong. It has to end.
func use(b store.Backend) error {
	ctx := context.Background()
	var errs []error
	for i := range 3 {
		for _, err := range b.List(ctx, fmt.Sprint("b", i), "") {
			errs = append(errs, err)
		}
		for k := i; k < 300; k += 30 {
			_, err := b.Get(ctx, fmt.Sprint("b", i), fmt.Sprintf("%04d", k))
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			_, err2 := b.Apply(ctx, put(fmt.Sprint("b", i), fmt.Sprintf("%04d", k), 2, strings.Repeat("new", 1000)))
			errs = append(errs, err, err2)
		}
	}
	_, _, err := b.(*backend).Compact(ctx)
	return errors.Join(append(errs, err)...)
}

func TestDamagedFiles(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "rr.db")
	whole := filled(t, path)
	zeroed := func(from, to int) []byte {
		c := bytes.Clone(whole)
		clear(c[from:to])
		return c
	}
	random := make([]byte, 100_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	for what, content := range map[string][]byte{
		"empty":                     {},
		"one byte":                  {0},
		"cut off in the first page": whole[:3000],
		"cut off at two pages":      whole[:2*page],
		"cut off in the middle":     whole[:len(whole)/2],
		"without its beginning":     zeroed(0, 2*page),
		"zeros":                     make([]byte, 100_000),
		"a text":                    bytes.Repeat([]byte("this is no database\n"), 5000),
		"random":                    random,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := (&Bolt{Path: path}).Open(t.Context())
		if err == nil {
			b.Close()
			t.Errorf("%s: it was opened", what)
			continue
		}
		for _, part := range []string{path, "is damaged", "backup", "docs/store.md"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error does not have %q: %v", what, part, err)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%s: the file was changed", what)
		}
	}
	// and it is let go of, with all that
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	b := must(t, path)
	if err := use(b); err != nil {
		t.Error(err)
	}
}

// TestDamagedPages damages each page in turn. What is read is right or an error, and the
// process lives.
func TestDamagedPages(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	whole := filled(t, path)
	noticed := 0
	for at := 2 * page; at+page <= len(whole); at += page {
		content := bytes.Clone(whole)
		clear(content[at : at+page])
		if bytes.Equal(content, whole) {
			continue // never used
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := (&Bolt{Path: path}).Open(t.Context())
		if err == nil {
			err = use(b)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
		if err == nil {
			continue // a free page
		}
		noticed++
		if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), path) {
			t.Errorf("page %d: %v", at/page, err)
		}
	}
	if noticed < 10 {
		t.Errorf("%d damaged pages were noticed", noticed)
	}
}

// TestRandomDamage changes bytes anywhere. Which is not always noticed here, but by the
// sealing of records; the process has to live.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rr.db")
	whole := filled(t, path)
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		content := bytes.Clone(whole)
		for range 1 + random.IntN(20) {
			content[random.IntN(len(content))] ^= 1 << random.IntN(8)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := (&Bolt{Path: path}).Open(t.Context()); err == nil {
			use(b)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCutOffWhileOpen takes the file's end away while it is in use, as a failing disk or
// a person may.
func TestCutOffWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr.db")
	filled(t, path)
	b := must(t, path)
	if err := os.Truncate(path, 3*page); err != nil {
		t.Fatal(err)
	}
	if err := use(b); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("%.500v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
