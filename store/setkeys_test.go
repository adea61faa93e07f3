package store_test

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

func keysOf(t testing.TB, letters string) []store.Key { return options(t, nil, letters).Keys }

func TestSetKeys(t *testing.T) {
	for _, c := range []struct {
		name, keys, keyFile string
		is                  error
		says                string
		rewraps             bool
		opens               string // with which it can be opened afterwards
	}{
		{"the same key", "a", "", nil, "", false, "a"},
		{"a new key and the present one", "ba", "", nil, "", true, "b"},
		{"the present key and another", "ab", "", nil, "", false, "a"},
		{"another key", "b", "", store.ErrWrongKey, "needs key", false, "a"},
		{"no key", "", "", nil, "no key was given", false, "a"},
		{"a key file that is not there", "", "none", fs.ErrNotExist, "its key is missing", false, "a"},
		{"a key file with another key", "", "other", store.ErrWrongKey, "needs key", false, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := storetest.Memory()
			s := openStore(t, b, "a")
			apply(t, s, put(store.Credentials, "a", 1, credential("a")))
			before := dump(t, b)
			switch c.keyFile {
			case "none":
				c.keyFile = filepath.Join(t.TempDir(), "none")
			case "other":
				c.keyFile = writeFile(t, "MTIzNDU2Nzg5MGFiY2RlZjEyMzQ1Njc4OTBhYmNkZWY=", 0o600)
			}
			err := s.SetKeys(t.Context(), keysOf(t, c.keys), c.keyFile)
			if c.says != "" {
				expectError(t, err, c.is, c.says)
			} else if err != nil {
				t.Fatal(err)
			}
			if changed := dump(t, b) != before; changed != c.rewraps {
				t.Errorf("the store was changed: %v", changed)
			}
			// It goes on, and what it seals the keyset with is the key that it should use.
			apply(t, s, put(store.Credentials, "b", 1, credential("b")))
			if err := s.RotateKey(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*store.Store{s, openStore(t, b, c.opens)} {
				expectCredential(t, s, "a", 1)
				expectCredential(t, s, "b", 1)
			}
		})
	}
	t.Run("that cannot be written", func(t *testing.T) {
		b := filled(t, 1)
		s := openStore(t, b, "a")
		b.FailNext(store.ErrReadOnly)
		expectError(t, s.SetKeys(t.Context(), keysOf(t, "ba"), ""), store.ErrReadOnly, "changing the store's key")
		if err := s.RotateKey(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		expectCredential(t, openStore(t, b, "a"), "000000", 1)
	})
	t.Run("after somebody else did", func(t *testing.T) {
		b := filled(t, 1)
		first, second := openStore(t, b, "a"), openStore(t, b, "a")
		for _, s := range []*store.Store{first, second} {
			if err := s.SetKeys(t.Context(), keysOf(t, "ba"), ""); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, second, put(store.Credentials, "x", 1, credential("x")))
		expectCredential(t, first, "x", 1)
	})
}

// TestSetKeysAmongWriters changes keys back and forth while records are written and the
// keyset is rotated.
func TestSetKeysAmongWriters(t *testing.T) {
	b := filled(t, 3)
	s := openStore(t, b, "a")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		id := fmt.Sprint("w", i)
		wg.Go(func() {
			for v := uint64(1); ctx.Err() == nil; v++ {
				if _, err := s.Apply(t.Context(), put(store.Credentials, id, v, credential(id))); err != nil {
					t.Errorf("writing %s: %v", id, err)
					return
				}
				if _, err := s.Get(t.Context(), store.Credentials, id, new(store.Credential)); err != nil {
					t.Errorf("reading %s: %v", id, err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			before := keyIDs(t, b)
			if err := s.RotateKey(t.Context(), nil); err != nil {
				t.Errorf("rotating: %v", err)
				return
			}
			for id := range keyIDs(t, b) {
				if before[id] > 0 {
					t.Error("the rotation has left a key as it was")
					return
				}
			}
		}
	})
	for i := range 50 {
		if err := s.SetKeys(t.Context(), keysOf(t, []string{"ba", "ab"}[i%2]), ""); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	wg.Wait()
	expectCredential(t, openStore(t, b, "a"), "000000", 1)
}
