package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

const passphrase = canary + " twelve words"

func passphraseLock(t testing.TB, text string) store.Lock {
	t.Helper()
	lock, err := store.PassphraseLock(text)
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

func keyLock(t testing.TB, letter byte) store.Lock {
	t.Helper()
	lock, err := store.KeyLock(keyOf(t, letter))
	if err != nil {
		t.Fatal(err)
	}
	return lock
}

// archived is a store with something in each bucket, and credentials of some pages and
// segments.
func archived(t testing.TB, credentials int) *store.Store {
	s := mustOpen(t, options(t, storetest.Memory(), "a"))
	var changes []store.Put
	for i := range credentials {
		id := fmt.Sprintf("%06d", i)
		changes = append(changes, store.Put{Bucket: store.Credentials, Key: id, Version: uint64(i + 1), Value: credential(id)})
	}
	for _, bucket := range store.Buckets {
		changes = append(changes, put(bucket, "one", 1, map[string]string{"name": canary + " of " + bucket}))
	}
	apply(t, s, changes...)
	return s
}

func export(t testing.TB, s *store.Store, lock store.Lock) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Export(t.Context(), &b, lock); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openArchive(t testing.TB, archive []byte, lock store.Lock) (*store.Archive, error) {
	t.Helper()
	temporary(t)
	a, err := store.OpenArchive(t.Context(), bytes.NewReader(archive), lock)
	if err == nil {
		t.Cleanup(func() { _ = a.Close() })
	}
	return a, err
}

// temporary gives the test a folder for temporary files of its own, and returns it.
func temporary(t testing.TB) string {
	folder := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP"} {
		t.Setenv(name, folder)
	}
	return folder
}

func TestArchive(t *testing.T) {
	const count = store.PageEntries + 50
	s := archived(t, count)
	for name, lock := range map[string]store.Lock{"passphrase": passphraseLock(t, passphrase), "key": keyLock(t, 'k')} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			n, err := s.Export(t.Context(), &b, lock)
			if err != nil || n != count+6 {
				t.Fatalf("%d records, then %v", n, err)
			}
			expectSealed(t, "the archive", b.String())
			folder := temporary(t)
			a, err := store.OpenArchive(t.Context(), iotest.HalfReader(&b), lock)
			if err != nil {
				t.Fatal(err)
			}
			if a.Count != count+6 || !a.Made.Equal(options(t, nil, "").Now()) {
				t.Errorf("it has %d records and was made at %v", a.Count, a.Made)
			}
			files, _ := filepath.Glob(filepath.Join(folder, "*"))
			for _, file := range files {
				text, _ := os.ReadFile(file)
				expectSealed(t, "the temporary file", string(text))
			}
			expectArchive(t, a, count)
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if files, _ := filepath.Glob(filepath.Join(folder, "*")); len(files) > 0 {
				t.Errorf("it leaves %v", files)
			}
		})
	}
}

func expectArchive(t *testing.T, a *store.Archive, count int) {
	t.Helper()
	var buckets []string
	next := 0
	for r, err := range a.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(buckets, r.Bucket) {
			buckets = append(buckets, r.Bucket)
		}
		if r.Key == "one" {
			continue
		}
		var c store.Credential
		want := credential(fmt.Sprintf("%06d", next))
		next++
		if err := r.Open(&c); err != nil || r.Bucket != store.Credentials || r.Key != want.ID || r.Version != uint64(next) || string(c.Spec) != string(want.Spec) {
			t.Fatalf("%v is not %s: %v", r, want.ID, err)
		}
		if text := fmt.Sprintf("%v %+v %#v %s %+v", r, r, r, r, a); strings.Contains(text, canary) {
			t.Fatalf("it prints as %s", text)
		}
	}
	if want := []string{store.Proxies, store.Targets, store.Grants, store.Credentials, store.Blocked, store.Clients}; !slices.Equal(buckets, want) || next != count {
		t.Errorf("there are %d credentials, and the buckets %q", next, buckets)
	}
	var some []string
	for r, err := range a.Records(t.Context(), store.Clients, store.Targets) {
		if err != nil {
			t.Fatal(err)
		}
		some = append(some, r.Bucket+" "+r.Key)
	}
	if !slices.Equal(some, []string{"targets one", "clients one"}) {
		t.Errorf("two buckets have %q", some)
	}
}

func TestArchiveOfNothing(t *testing.T) {
	s := openStore(t, storetest.Memory(), "a")
	a, err := openArchive(t, export(t, s, keyLock(t, 'k')), keyLock(t, 'k'))
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range a.Records(t.Context()) {
		t.Errorf("it has %v, %v", r, err)
	}
}

func TestLocks(t *testing.T) {
	s := archived(t, 3)
	byKey, byPassphrase := export(t, s, keyLock(t, 'k')), export(t, s, passphraseLock(t, passphrase))
	for _, c := range []struct {
		name    string
		archive []byte
		lock    store.Lock
		says    string
	}{
		{"another key", byKey, keyLock(t, 'l'), "sealed with another key or passphrase"},
		{"another passphrase", byPassphrase, passphraseLock(t, passphrase+"!"), "sealed with another key or passphrase"},
		{"a key for a passphrase", byPassphrase, keyLock(t, 'k'), "it needs a passphrase"},
		{"a passphrase for a key", byKey, passphraseLock(t, passphrase), "it needs a key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := temporary(t)
			_, err := store.OpenArchive(t.Context(), bytes.NewReader(c.archive), c.lock)
			expectError(t, err, store.ErrWrongKey, c.says)
			if files, _ := filepath.Glob(filepath.Join(folder, "*")); len(files) > 0 {
				t.Errorf("it leaves %v", files)
			}
		})
	}
	t.Run("no lock", func(t *testing.T) {
		_, err := openArchive(t, byKey, store.Lock{})
		expectError(t, err, nil, "no passphrase and no key")
		_, err = s.Export(t.Context(), io.Discard, store.Lock{})
		expectError(t, err, nil, "no passphrase and no key")
	})
	t.Run("a short passphrase", func(t *testing.T) {
		for _, words := range []string{"", "ünïcödé-äö!", "            ", "a b c d e f g h i j k", "\u00a0\u2003\t\n        "} { // 11 characters, more bytes
			_, err := store.PassphraseLock(words)
			expectError(t, err, nil, "at least 12 characters")
		}
		for _, words := range []string{"aaaaaaaaaaaa", "abcd abcd abcd abcd"} {
			_, err := store.PassphraseLock(words)
			expectError(t, err, nil, "at least 5 different characters")
		}
		if _, err := store.PassphraseLock("abcde abcd abc"); err != nil {
			t.Error(err)
		}
	})
	t.Run("an empty key", func(t *testing.T) {
		_, err := store.KeyLock(store.Key{})
		expectError(t, err, nil, "the key is empty")
	})
	t.Run("printed", func(t *testing.T) {
		for _, lock := range []store.Lock{passphraseLock(t, passphrase), keyLock(t, 'k')} {
			text := fmt.Sprintf("%v %+v %#v %s %q %x %+v", lock, lock, lock, lock, lock, lock, struct{ l store.Lock }{lock})
			for _, secret := range []string{canary, "klmnopqrst", "6b6c6d6e"} {
				if strings.Contains(text, secret) {
					t.Errorf("it shows a secret: %s", text)
				}
			}
		}
	})
}

// TestDamagedArchives edits archives. Nothing of them may be read.
func TestDamagedArchives(t *testing.T) {
	const segment = 64 << 10
	s := archived(t, 600) // more than two segments
	lock := keyLock(t, 'k')
	good := export(t, s, lock)
	if len(good) < 2*segment+segment/2 {
		t.Fatalf("the archive has only %d bytes", len(good))
	}
	other := export(t, s, lock)
	at := func(n int) func([]byte) []byte { return func(b []byte) []byte { b[n] ^= 1; return b } }
	field := func(offset int, value ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[16+offset:], value); return b }
	}
	header := store.HeaderSize
	for _, c := range []struct {
		name string
		edit func([]byte) []byte
		is   error
		says string
	}{
		{"nothing", func([]byte) []byte { return nil }, nil, "not an archive"},
		{"something else", func([]byte) []byte { return bytes.Repeat([]byte("x"), 1000) }, nil, "not an archive"},
		{"half a header", func(b []byte) []byte { return b[:header-1] }, nil, "not an archive"},
		{"a header alone", func(b []byte) []byte { return b[:header] }, store.ErrTampered, ""},
		{"the magic", at(3), nil, "not an archive"},
		{"a later format", field(0, 2), store.ErrNewer, "format 2"},
		{"format 0", field(0, 0), store.ErrTampered, ""},
		{"another kind", field(1, 3), store.ErrTampered, ""},
		{"a passphrase that takes for ever", field(1, 2, 0xff, 0xff, 0xff, 0xff), store.ErrTampered, ""},
		{"a passphrase that takes all memory", field(1, 2, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 4), store.ErrTampered, ""},
		{"the salt", at(16 + 12), store.ErrWrongKey, "first bytes were changed"},
		{"the MAC", at(header - 1), store.ErrWrongKey, "first bytes were changed"},
		{"the length of the stream's header", at(header), store.ErrTampered, ""},
		{"the stream's salt", at(header + 5), store.ErrTampered, ""},
		{"the first segment", at(header + 100), store.ErrTampered, ""},
		{"the second segment", at(header + segment + 100), store.ErrTampered, ""},
		{"the last byte", at(len(good) - 1), store.ErrTampered, ""},
		{"a byte less", func(b []byte) []byte { return b[:len(b)-1] }, store.ErrTampered, ""},
		{"a byte more", func(b []byte) []byte { return append(b, 0) }, store.ErrTampered, ""},
		{"cut after the first segment", func(b []byte) []byte { return b[:header+segment] }, store.ErrTampered, ""},
		{"cut after the second segment", func(b []byte) []byte { return b[:header+2*segment] }, store.ErrTampered, ""},
		{"a segment left out", func(b []byte) []byte { return slices.Delete(b, header+segment, header+2*segment) }, store.ErrTampered, ""},
		{"a segment twice", func(b []byte) []byte {
			return slices.Insert(b, header+2*segment, slices.Clone(b[header+segment:header+2*segment])...)
		}, store.ErrTampered, ""},
		{"segments swapped", func(b []byte) []byte {
			second := slices.Clone(b[header+segment : header+2*segment])
			return append(slices.Delete(b, header+segment, header+2*segment), second...)
		}, store.ErrTampered, ""},
		{"another archive's end", func(b []byte) []byte { return append(b[:header+segment], other[header+segment:]...) }, store.ErrTampered, ""},
		{"another archive's header", func(b []byte) []byte { return append(slices.Clone(other[:header]), b[header:]...) }, store.ErrTampered, ""},
		{"two archives", func(b []byte) []byte { return append(b, other...) }, store.ErrTampered, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := openArchive(t, c.edit(slices.Clone(good)), lock)
			if a != nil {
				t.Error("it was opened")
			}
			expectError(t, err, c.is, c.says)
		})
	}
	t.Run("with a passphrase's parameters changed", func(t *testing.T) {
		b := export(t, s, passphraseLock(t, passphrase))
		binary.BigEndian.PutUint32(b[18:], 1) // argon2's time
		_, err := openArchive(t, b, passphraseLock(t, passphrase))
		expectError(t, err, store.ErrWrongKey, "first bytes were changed")
	})
}

func TestArchiveFaults(t *testing.T) {
	s := archived(t, 600)
	lock := keyLock(t, 'k')
	good := export(t, s, lock)
	failure := errors.New("there is no room")
	t.Run("writing", func(t *testing.T) {
		for _, room := range []int{0, 50, 1000, 100_000, len(good) - 1} {
			_, err := s.Export(t.Context(), &full{room, failure}, lock)
			expectError(t, err, failure, "writing the archive")
		}
	})
	t.Run("reading", func(t *testing.T) {
		_, err := store.OpenArchive(t.Context(), io.MultiReader(bytes.NewReader(good), iotest.ErrReader(failure)), lock)
		expectError(t, err, failure, "opening the archive")
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := store.OpenArchive(ctx, bytes.NewReader(good), lock)
		expectError(t, err, context.Canceled, "opening the archive")
	})
	t.Run("a record that cannot be opened", func(t *testing.T) {
		b := storetest.Memory()
		s := openStore(t, b, "a")
		apply(t, s, put(store.Credentials, "a", 1, credential("a")))
		edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value[40] ^= 1 })
		var archive bytes.Buffer
		_, err := s.Export(t.Context(), &archive, lock)
		expectError(t, err, store.ErrTampered, `record "a" in "credentials"`)
		_, err = openArchive(t, archive.Bytes(), lock)
		expectError(t, err, store.ErrTampered, "")
	})
	t.Run("made by a newer version", func(t *testing.T) {
		b := storetest.Memory()
		s, err := store.OpenWith(t.Context(), options(t, b, "a"), func(context.Context, *store.Store) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = openArchive(t, export(t, s, lock), lock)
		expectError(t, err, store.ErrNewer, "schema 2")
	})
	t.Run("left early", func(t *testing.T) {
		a, err := openArchive(t, good, lock)
		if err != nil {
			t.Fatal(err)
		}
		for range a.Records(t.Context()) {
			break
		}
		expectArchive(t, a, 600)
	})
}

// full takes so many bytes.
type full struct {
	room int
	err  error
}

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, f.err
	}
	return len(p), nil
}
