package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

func TestRecords(t *testing.T) {
	b := storetest.Memory()
	s := openStore(t, b, "a")
	before, err := b.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Apply(t.Context(), put(store.Credentials, "a", 1, credential("a")), put(store.Targets, "t", 7, &store.Target{Name: canary}))
	expectError(t, err, store.ErrConflict, "t") // there is no version 6
	revision, err := s.Apply(t.Context(), put(store.Credentials, "a", 1, credential("a")), put(store.Meta, "own", 1, map[string]string{"of": canary}))
	if err != nil || revision != before+1 {
		t.Fatalf("revision %d, then %v", revision, err)
	}
	expectCredential(t, s, "a", 1)
	expectSealed(t, "the backend", dump(t, b))
	apply(t, s, store.Put{Bucket: store.Credentials, Key: "a", Expect: store.Any, Version: 5, Value: credential("a")})
	expectCredential(t, s, "a", 5)
	_, err = s.Apply(t.Context(), put(store.Credentials, "a", 2, credential("a")))
	expectError(t, err, store.ErrConflict, "")
	apply(t, s, store.Put{Bucket: store.Credentials, Key: "a", Expect: 5})
	_, err = s.Get(t.Context(), store.Credentials, "a", new(store.Credential))
	expectError(t, err, store.ErrNotFound, "")
	_, err = s.Apply(t.Context(), store.Put{Bucket: store.Credentials, Key: "a", Expect: 5})
	expectError(t, err, store.ErrNotFound, "")
	if revision, err := s.Apply(t.Context()); err != nil || revision != before+3 {
		t.Errorf("no changes: revision %d, then %v", revision, err)
	}
	if s.Backend() != store.Backend(b) {
		t.Error("it has another backend")
	}
}

func TestOnlyRecordsAreTold(t *testing.T) {
	b := storetest.Memory()
	s := openStore(t, b, "a")
	after, err := b.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, put(store.Credentials, "a", 1, credential("a")))
	if err := s.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, s, put(store.Credentials, "b", 1, credential("b")))
	var told []string
	for c, err := range b.Watch(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Bucket != store.Meta {
			told = append(told, c.Key)
		}
		if c.Key == "b" {
			break
		}
	}
	if !slices.Equal(told, []string{"a", "b"}) {
		t.Errorf("told of %q", told)
	}
}

func TestWrongChanges(t *testing.T) {
	b := storetest.Memory()
	s := openStore(t, b, "a")
	apply(t, s, put(store.Credentials, "a", 3-2, credential("a")))
	before := dump(t, b)
	for _, c := range []struct {
		name, says string
		put        store.Put
	}{
		{"no version", "version 0 cannot follow", store.Put{Bucket: store.Credentials, Key: "b", Value: credential("b")}},
		{"the same version", "version 1 cannot follow version 1", store.Put{Bucket: store.Credentials, Key: "a", Expect: 1, Version: 1, Value: credential("a")}},
		{"a lower version", "version 1 cannot follow version 2", store.Put{Bucket: store.Credentials, Key: "a", Expect: 2, Version: 1, Value: credential("a")}},
		{"another bucket", `no bucket "canaries"`, put("canaries", "a", 1, credential("a"))},
		{"no key", "the key is empty", put(store.Credentials, "", 1, credential("a"))},
		{"the keyset", "the store's own", put(store.Meta, "keyset", 2, "x")},
		{"no keyset", "the store's own", store.Put{Bucket: store.Meta, Key: "keyset", Expect: store.Any}},
		{"the schema", "the store's own", put(store.Meta, "schema", 2, 5)},
		{"null", "a *store.Credential cannot be written", put(store.Credentials, "b", 1, (*store.Credential)(nil))},
		{"bad JSON in a secret", "a *store.Credential cannot be written", put(store.Credentials, "b", 1, &store.Credential{Spec: store.Secret(canary)})},
		{"an error that quotes", "a store_test.loud cannot be written", put(store.Credentials, "b", 1, loud{})},
		{"what is no JSON", "a func() cannot be written", put(store.Credentials, "b", 1, func() {})},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.Apply(t.Context(), put(store.Targets, "t", 1, &store.Target{}), c.put)
			expectError(t, err, nil, c.says)
			if dump(t, b) != before {
				t.Error("something was changed")
			}
		})
	}
	for _, c := range []struct{ bucket, key, says string }{
		{"canaries", "a", "no bucket"}, {store.Meta, "keyset", "the store's own"}, {store.Meta, "schema", "the store's own"},
	} {
		_, err := s.Get(t.Context(), c.bucket, c.key, new(any))
		expectError(t, err, nil, c.says)
	}
	for _, err := range s.List(t.Context(), "canaries", "") {
		expectError(t, err, nil, "no bucket")
	}
}

// loud says in errors what it is about.
type loud struct{}

func (loud) MarshalJSON() ([]byte, error) { return nil, errors.New(canary) }

func TestWhatDoesNotFit(t *testing.T) {
	s := openStore(t, storetest.Memory(), "a")
	for i, value := range []any{map[string]any{"name": canary, "rules": canary}, canary, []string{canary}, map[string]any{"created_at": canary}, 12345.678} {
		key := fmt.Sprint(i)
		apply(t, s, put(store.Credentials, key, 1, value))
		_, err := s.Get(t.Context(), store.Credentials, key, new(store.Credential))
		expectError(t, err, nil, fmt.Sprintf("%q in \"credentials\": it does not fit in a *store.Credential", key))
		if errors.Is(err, store.ErrTampered) {
			t.Error("it is said to be tampered with")
		}
	}
}

func TestList(t *testing.T) {
	b := storetest.Memory()
	s := openStore(t, b, "a")
	const count = 2*store.PageEntries + 7
	var want []string
	var changes []store.Put
	for i := range count {
		id := fmt.Sprintf("%06d", i)
		want = append(want, id)
		changes = append(changes, put(store.Credentials, id, 1, credential(id)))
	}
	apply(t, s, changes...)
	apply(t, s, put(store.Meta, "own", 1, 1))
	keys := func(bucket, after string) (keys []string) {
		for r, err := range s.List(t.Context(), bucket, after) {
			if err != nil {
				t.Fatal(err)
			}
			if keys = append(keys, r.Key); r.Version != 1 {
				t.Errorf("%s has version %d", r.Key, r.Version)
			}
		}
		return keys
	}
	for _, c := range []struct {
		name, bucket, after string
		want                []string
	}{
		{"all", store.Credentials, "", want},
		{"after a key", store.Credentials, "000009", want[10:]},
		{"after a key that is not there", store.Credentials, "0000099", want[10:]},
		{"after the first page", store.Credentials, want[store.PageEntries-1], want[store.PageEntries:]},
		{"after the last", store.Credentials, want[count-1], nil},
		{"an empty bucket", store.Grants, "", nil},
		{"without the store's own", store.Meta, "", []string{"own"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := keys(c.bucket, c.after); !slices.Equal(got, c.want) {
				t.Errorf("%d keys, want %d", len(got), len(c.want))
			}
		})
	}
	t.Run("opened by many", func(t *testing.T) {
		var wg sync.WaitGroup
		work := make(chan store.Sealed)
		for range 4 {
			wg.Go(func() {
				for r := range work {
					var c store.Credential
					if err := r.Open(&c); err != nil || c.ID != r.Key {
						t.Errorf("%v has id %q: %v", r, c.ID, err)
					}
				}
			})
		}
		for r, err := range s.List(t.Context(), store.Credentials, "") {
			if err != nil {
				t.Error(err)
				break
			}
			work <- r
		}
		close(work)
		wg.Wait()
	})
	t.Run("left early, and used meanwhile", func(t *testing.T) {
		for r, err := range s.List(t.Context(), store.Credentials, "") {
			if err != nil {
				t.Fatal(err)
			}
			apply(t, s, put(store.Credentials, r.Key, 2, credential(r.Key)))
			expectCredential(t, s, r.Key, 2)
			break
		}
	})
	t.Run("whose backend fails", func(t *testing.T) {
		b := storetest.Memory()
		failure := errors.New("the disk is gone")
		s := openStore(t, failing{b, failure}, "a")
		n := 0
		for _, err := range s.List(t.Context(), store.Credentials, "") {
			n++
			if !errors.Is(err, failure) {
				t.Errorf("it yields %v", err)
			}
		}
		if n != 1 {
			t.Errorf("it yields %d times", n)
		}
	})
}

// TestTampering changes what is stored behind the store's back.
func TestTampering(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, b store.Backend)
		is     error
	}{
		{"nothing", func(*testing.T, store.Backend) {}, nil},
		{"an edited byte", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value[40] ^= 1 })
		}, store.ErrTampered},
		{"an edited key id", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value[2] ^= 1 })
		}, store.ErrTampered},
		{"an edited first byte", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value[0] ^= 1 })
		}, store.ErrTampered},
		{"a byte less", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = e.Value[:len(e.Value)-1] })
		}, store.ErrTampered},
		{"a byte more", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = append(e.Value, 0) })
		}, store.ErrTampered},
		{"four bytes", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = e.Value[:4] })
		}, store.ErrTampered},
		{"nothing left", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = []byte{} })
		}, store.ErrTampered},
		{"the plain text", func(t *testing.T, b store.Backend) {
			text, _ := json.Marshal(credential("a"))
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = text })
		}, store.ErrTampered},
		{"another version", func(t *testing.T, b store.Backend) {
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Version = 3 })
		}, store.ErrTampered},
		{"an older value under the version of now", func(t *testing.T, b store.Backend) {
			s := openStore(t, b, "a")
			old, _ := b.Get(t.Context(), store.Credentials, "a")
			apply(t, s, put(store.Credentials, "a", 3, credential("a")))
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = old.Value })
		}, store.ErrTampered},
		{"another record's value", func(t *testing.T, b store.Backend) {
			other, _ := b.Get(t.Context(), store.Credentials, "b")
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = other.Value })
		}, store.ErrTampered},
		{"a value of another bucket", func(t *testing.T, b store.Backend) {
			other, _ := b.Get(t.Context(), store.Targets, "a")
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = other.Value })
		}, store.ErrTampered},
		{"another store's value", func(t *testing.T, b store.Backend) {
			foreign := storetest.Memory()
			s := openStore(t, foreign, "a")
			apply(t, s, put(store.Credentials, "a", 1, credential("a")), put(store.Credentials, "b", 1, credential("b")))
			apply(t, s, put(store.Credentials, "a", 2, credential("a")))
			other, _ := foreign.Get(t.Context(), store.Credentials, "a")
			edit(t, b, store.Credentials, "a", func(e *store.Entry) { e.Value = other.Value })
		}, store.ErrTampered},
		// What cannot be seen, as docs/store.md says: the whole record as it was.
		{"an older value with its version", func(t *testing.T, b store.Backend) {
			old, _ := b.Get(t.Context(), store.Credentials, "a")
			apply(t, openStore(t, b, "a"), put(store.Credentials, "a", 3, credential("a")))
			plant(t, b, store.Credentials, old)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := storetest.Memory()
			s := openStore(t, b, "a")
			apply(t, s, put(store.Credentials, "a", 1, credential("a")), put(store.Credentials, "b", 1, credential("b")), put(store.Targets, "a", 1, credential("a")))
			apply(t, s, put(store.Credentials, "a", 2, credential("a")), put(store.Credentials, "b", 2, credential("b")), put(store.Targets, "a", 2, credential("a")))
			c.tamper(t, b)
			_, err := s.Get(t.Context(), store.Credentials, "a", new(store.Credential))
			if c.is == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expectError(t, err, c.is, `record "a" in "credentials"`)
			var opened []string
			for r, err := range s.List(t.Context(), store.Credentials, "") {
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Open(new(store.Credential)); err == nil {
					opened = append(opened, r.Key)
				} else {
					expectError(t, err, c.is, `record "a" in "credentials"`)
				}
			}
			if !slices.Equal(opened, []string{"b"}) {
				t.Errorf("of the list %q could be opened", opened)
			}
		})
	}
}

func TestEverythingOfARecordIsKept(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	c := credential("a")
	c.CreatedAt, c.ExpiresAt, c.RotatedAt = now, now, now
	c.Previous = []store.Previous{{Spec: store.Secret(`{"kind":"key","hashes":["sha256:aa"]}`), Until: now}}
	s := openStore(t, storetest.Memory(), "a")
	apply(t, s, put(store.Credentials, "a", 1, c))
	var got store.Credential
	if _, err := s.Get(t.Context(), store.Credentials, "a", &got); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(c)
	if text, _ := json.Marshal(got); string(text) != string(want) {
		t.Errorf("it is\n%s, not\n%s", text, want)
	}
}
