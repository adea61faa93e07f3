package store_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// canary is in every secret of these tests.
const canary = "CANARY-5f1c"

// keyOf makes keys that differ, by a letter.
func keyOf(t testing.TB, letter byte) store.Key {
	t.Helper()
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = letter + byte(i)
	}
	k, err := store.ParseKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func options(t testing.TB, b store.Backend, letters string) store.Options {
	o := store.Options{Backend: b, Now: func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }}
	for i := range len(letters) {
		o.Keys = append(o.Keys, keyOf(t, letters[i]))
	}
	return o
}

func openStore(t testing.TB, b store.Backend, letters string) *store.Store {
	t.Helper()
	return mustOpen(t, options(t, b, letters))
}

func mustOpen(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func credential(id string) *store.Credential {
	return &store.Credential{
		Head: store.Head{ID: id, Client: store.DefaultClient}, Name: canary + " name of " + id,
		Side: store.TargetSide, AuthType: "key",
		Spec:  store.Secret(fmt.Sprintf(`{"kind":"key","secret":"%s <&> %s"}`, canary, id)),
		Hosts: []string{"api.example.com"},
	}
}

func put(bucket, key string, version uint64, value any) store.Put {
	return store.Put{Bucket: bucket, Key: key, Expect: version - 1, Version: version, Value: value}
}

func apply(t testing.TB, s *store.Store, changes ...store.Put) {
	t.Helper()
	if _, err := s.Apply(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
}

// expectCredential says that a record can be opened and is as it was made.
func expectCredential(t testing.TB, s *store.Store, id string, version uint64) {
	t.Helper()
	var c store.Credential
	got, err := s.Get(t.Context(), store.Credentials, id, &c)
	if err != nil {
		t.Errorf("Get: %v", err)
		return
	}
	if got != version || string(c.Spec) != string(credential(id).Spec) || c.Name != credential(id).Name {
		t.Errorf("%s has version %d and name %q, want version %d", id, got, c.Name, version)
	}
}

// expectError says what an error has to be and to say; and that it has no secret.
func expectError(t testing.TB, err, is error, says string) {
	t.Helper()
	if err == nil {
		t.Errorf("there is no error, want %q", says)
		return
	}
	if is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), says) {
		t.Errorf("the error is %q, want %q", err, says)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error has a secret: %v", err)
	}
}

// dump is all that a Backend has, as text.
func dump(t testing.TB, b store.Backend) string {
	t.Helper()
	var text bytes.Buffer
	revision, err := b.Revision(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&text, "revision %d\n", revision)
	for _, bucket := range store.Buckets {
		for e, err := range b.List(t.Context(), bucket, "") {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "%s %s %d %s\n", bucket, e.Key, e.Version, e.Value)
		}
	}
	return text.String()
}

// expectSealed says that nothing is in clear, in whatever writing.
func expectSealed(t testing.TB, what, text string) {
	t.Helper()
	for shift := range 3 { // how the canary looks in base64, wherever it begins
		enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
		if strings.Contains(text, enc[4:len(enc)-4]) {
			t.Errorf("%s has a secret in base64", what)
		}
	}
	if strings.Contains(text, canary) || strings.Contains(text, "api.example.com") {
		t.Errorf("%s has a secret", what)
	}
}

// edit changes an entry behind the store's back.
func edit(t testing.TB, b store.Backend, bucket, key string, change func(*store.Entry)) {
	t.Helper()
	e, err := b.Get(t.Context(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	change(&e)
	plant(t, b, bucket, e)
}

func plant(t testing.TB, b store.Backend, bucket string, e store.Entry) {
	t.Helper()
	_, err := b.Apply(t.Context(), store.Write{Bucket: bucket, Key: e.Key, Expect: store.Any, Version: e.Version, Value: e.Value})
	if err != nil {
		t.Fatal(err)
	}
}

var errCrash = errors.New("the process has died")

// dying is a Backend that dies at one of its Applies, before or after it is made.
type dying struct {
	store.Backend
	at    int64 // which Apply; 0: none
	after bool
	count atomic.Int64
}

func (d *dying) Apply(ctx context.Context, writes ...store.Write) (uint64, error) {
	n := d.count.Add(1)
	if d.at > 0 && (n > d.at || n == d.at && !d.after) {
		return 0, errCrash
	}
	revision, err := d.Backend.Apply(ctx, writes...)
	if n == d.at && err == nil {
		err = errCrash
	}
	return revision, err
}

// crashes runs a test for a death at each Apply, until do has got through with none.
func crashes(t *testing.T, prepare func(t *testing.T) *storetest.Mem, do func(t *testing.T, b store.Backend) error, then func(t *testing.T, b store.Backend)) {
	for _, after := range []bool{false, true} {
		finished := false
		for at := int64(1); !finished; at++ {
			if at > 200 {
				t.Fatal("it does not end")
			}
			t.Run(fmt.Sprintf("at Apply %d, after it: %v", at, after), func(t *testing.T) {
				b := prepare(t)
				d := &dying{Backend: b, at: at, after: after}
				err := do(t, d)
				finished = err == nil && d.count.Load() < at
				if err != nil && !errors.Is(err, errCrash) {
					t.Errorf("it failed with %v", err)
				}
				then(t, b)
			})
		}
	}
}

func writeFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// failing is a Backend whose lists fail.
type failing struct {
	store.Backend
	err error
}

func (f failing) List(context.Context, string, string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, f.err) }
}
