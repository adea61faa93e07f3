package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		keys    string // with which it is opened again, 'a' being the one it was made with
		is      error
		says    string
		rewraps bool
	}{
		{"with its key", "a", nil, "", false},
		{"with its key and an earlier one", "ab", nil, "", false},
		{"with a new key and its own", "ba", nil, "", true},
		{"with new keys and its own", "bca", nil, "", true},
		{"with another key", "b", store.ErrWrongKey, "it needs key", false},
		{"with other keys", "bc", store.ErrWrongKey, "and was given [key", false},
		{"without a key", "", nil, "no key was given", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := storetest.Memory()
			s := openStore(t, b, "a")
			apply(t, s, put(store.Credentials, "a", 1, credential("a")))
			before := dump(t, b)
			s, err := store.Open(t.Context(), options(t, b, c.keys))
			if changed := dump(t, b) != before; changed != c.rewraps {
				t.Errorf("the store was changed: %v", changed)
			}
			if c.says != "" {
				expectError(t, err, c.is, c.says)
				openStore(t, b, "a")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			expectCredential(t, s, "a", 1)
			if c.rewraps {
				_, err := store.Open(t.Context(), options(t, b, "a"))
				expectError(t, err, store.ErrWrongKey, "needs key "+fmt.Sprintf("%q", keyOf(t, 'b').ID()))
				expectCredential(t, openStore(t, b, "b"), "a", 1)
			}
		})
	}
}

// TestOpenWhatIsDamaged changes what Open reads. It must not change anything itself.
func TestOpenWhatIsDamaged(t *testing.T) {
	other := storetest.Memory()
	openStore(t, other, "a")
	foreign, err := other.Get(t.Context(), store.Meta, "keyset")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, key string
		change    func(*store.Entry)
		is        error
		says      string
	}{
		{"the keyset's last byte", "keyset", func(e *store.Entry) { editKeyset(e, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }) }, store.ErrTampered, `"keyset" in "meta"`},
		{"half a keyset", "keyset", func(e *store.Entry) { editKeyset(e, func(b []byte) []byte { return b[:len(b)/2] }) }, store.ErrTampered, `"keyset" in "meta"`},
		{"no keyset in its record", "keyset", func(e *store.Entry) { editKeyset(e, func([]byte) []byte { return nil }) }, store.ErrTampered, `"keyset" in "meta"`},
		{"the keyset's version", "keyset", func(e *store.Entry) { e.Version++ }, store.ErrTampered, `"keyset" in "meta"`},
		{"another store's keyset", "keyset", func(e *store.Entry) { e.Value = foreign.Value }, store.ErrTampered, `"schema" in "meta"`},
		{"a later format", "keyset", func(e *store.Entry) { e.Value = []byte(`{"format":2}`) }, store.ErrNewer, "format 2"},
		{"no JSON", "keyset", func(e *store.Entry) { e.Value = []byte(canary) }, store.ErrTampered, `"keyset" in "meta"`},
		{"the schema", "schema", func(e *store.Entry) { e.Value[20] ^= 1 }, store.ErrTampered, `"schema" in "meta"`},
		{"the schema's version", "schema", func(e *store.Entry) { e.Version++ }, store.ErrTampered, `"schema" in "meta"`},
	} {
		for _, keys := range []string{"a", "ba"} {
			t.Run(c.name+", keys "+keys, func(t *testing.T) {
				b := storetest.Memory()
				openStore(t, b, "a")
				edit(t, b, store.Meta, c.key, c.change)
				before := dump(t, b)
				_, err := store.Open(t.Context(), options(t, b, keys))
				expectError(t, err, c.is, c.says)
				if dump(t, b) != before {
					t.Error("the store was changed")
				}
			})
		}
	}
	for _, key := range []string{"keyset", "schema"} {
		t.Run("no "+key, func(t *testing.T) {
			b := storetest.Memory()
			openStore(t, b, "a")
			if _, err := b.Apply(t.Context(), store.Write{Bucket: store.Meta, Key: key, Expect: store.Any}); err != nil {
				t.Fatal(err)
			}
			before := dump(t, b)
			_, err := store.Open(t.Context(), options(t, b, "a"))
			expectError(t, err, nil, map[string]string{"keyset": "no keyset", "schema": `"schema" in "meta"`}[key])
			if dump(t, b) != before {
				t.Error("the store was changed")
			}
		})
	}
}

// editKeyset changes what is sealed in the record that keeps the keyset.
func editKeyset(e *store.Entry, change func([]byte) []byte) {
	var record map[string]any
	if err := json.Unmarshal(e.Value, &record); err != nil {
		panic(err)
	}
	var sealed struct{ Keyset []byte }
	if err := json.Unmarshal(e.Value, &sealed); err != nil {
		panic(err)
	}
	record["keyset"] = change(sealed.Keyset)
	e.Value, _ = json.Marshal(record)
}

// TestOpenDies lets the process die while a store is begun, or sealed with another key.
func TestOpenDies(t *testing.T) {
	t.Run("beginning", func(t *testing.T) {
		crashes(t, func(t *testing.T) *storetest.Mem { return storetest.Memory() },
			func(t *testing.T, b store.Backend) error {
				_, err := store.Open(t.Context(), options(t, b, "a"))
				return err
			},
			func(t *testing.T, b store.Backend) {
				apply(t, openStore(t, b, "a"), put(store.Credentials, "a", 1, credential("a")))
			})
	})
	t.Run("with another key", func(t *testing.T) {
		crashes(t, func(t *testing.T) *storetest.Mem {
			b := storetest.Memory()
			apply(t, openStore(t, b, "a"), put(store.Credentials, "a", 1, credential("a")))
			return b
		}, func(t *testing.T, b store.Backend) error {
			_, err := store.Open(t.Context(), options(t, b, "ba"))
			return err
		}, func(t *testing.T, b store.Backend) {
			expectCredential(t, openStore(t, b, "ba"), "a", 1)
			expectCredential(t, openStore(t, b, "b"), "a", 1)
		})
	})
}

// TestOpenFaults: errors of the Backend are passed on, and writing is not needed to read.
func TestOpenFaults(t *testing.T) {
	b := storetest.Memory()
	b.Fail(store.ErrReadOnly)
	_, err := store.Open(t.Context(), options(t, b, "a"))
	expectError(t, err, store.ErrReadOnly, "opening the store")
	b.Fail(nil)
	apply(t, openStore(t, b, "a"), put(store.Credentials, "a", 1, credential("a")))
	b.Fail(store.ErrReadOnly)
	s := openStore(t, b, "a")
	expectCredential(t, s, "a", 1)
	_, err = s.Apply(t.Context(), put(store.Credentials, "b", 1, credential("b")))
	expectError(t, err, store.ErrReadOnly, "")
	_, err = store.Open(t.Context(), options(t, b, "ba"))
	expectError(t, err, store.ErrReadOnly, "opening the store")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), store.Credentials, "a", new(store.Credential)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after Close: %v", err)
	}
}

// TestOpenAtOnce has several begin one store, with one key, at once.
func TestOpenAtOnce(t *testing.T) {
	b := storetest.Memory()
	const people = 8
	stores := make(chan *store.Store, people)
	for i := range people {
		go func() {
			s, err := store.Open(t.Context(), options(t, b, "a"))
			if err != nil {
				t.Errorf("Open: %v", err)
			} else if _, err := s.Apply(t.Context(), put(store.Credentials, fmt.Sprint(i), 1, credential(fmt.Sprint(i)))); err != nil {
				t.Errorf("Apply: %v", err)
			}
			stores <- s
		}()
	}
	for range people {
		<-stores
	}
	s := openStore(t, b, "a")
	for i := range people {
		expectCredential(t, s, fmt.Sprint(i), 1)
	}
}

func TestNothingOfAStoreIsPrinted(t *testing.T) {
	b := storetest.Memory()
	o := options(t, b, "a")
	s := mustOpen(t, o)
	change := put(store.Credentials, "a", 1, credential("a"))
	apply(t, s, change)
	values := []any{o, s, change, []store.Put{change}, struct{ S *store.Store }{s}}
	for r, err := range s.List(t.Context(), store.Credentials, "") {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, r, &r, struct{ r store.Sealed }{r})
	}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			text := fmt.Sprintf(verb, v)
			for _, secret := range []string{canary, "abcdefghijkl", "97 98 99", "616263"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s of %T shows %q: %s", verb, v, secret, text)
				}
			}
		}
	}
}
