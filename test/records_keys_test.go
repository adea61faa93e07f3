package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// hashes lists the files of a folder with what is in them.
func hashes(t testing.TB, folder string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %s %x\n", path, info.Mode(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Keys that a store may be sealed with.
const (
	firstKey  = "UW6hxMSO5k2y1y5yJtYyl8oLSu9Ff9rKj0z3BoxlqVY="
	secondKey = "7pq0yTTgXTBa5TWkpX9d2X2QcUyPZ0uhWG9YQeBkaQ8="
	thirdKey  = "c1nAtt5Vw0m8jI7F3Yw4dGQmR2b6x9KeHs1Lz0UoPqE="
)

func TestTheStoreOfAnotherProcess(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	d.ask("GET", "/rr/health", "", 200)
	before := hashes(t, filepath.Dir(d.dbFile()))
	second := prepareDaemon(t, "store bolt "+d.dbFile())
	second.refused(d.dbFile(), "another Caddy may still be running", "store bolt <path>")
	if after := hashes(t, filepath.Dir(d.dbFile())); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	d.serves(u, key)
	d.ask("PUT", "proxies/p", `{"proxyAlias":"pay"}`, 200)
	d.stop()
	second.start() // which has all that the first one had
	second.serves(u, key)
	second.ask("GET", "proxies/pay", "", 404) // an alias is for callers
	second.stop()
}

// TestAStoreThatCannotBeOpened: the start is refused, the message says why, and nothing is changed.
func TestAStoreThatCannotBeOpened(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	d.stop()
	folder, file := filepath.Dir(d.dbFile()), d.keyFile()
	edit := func(path string, change func([]byte) []byte) func() func() {
		return func() func() {
			was, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(was), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.WriteFile(path, was, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mode := func(path string) func() func() {
		return func() func() {
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Chmod(path, 0o600) }
		}
	}
	for _, tt := range []struct {
		name  string
		store string
		edit  func() (undo func())
		texts []string
	}{
		{"another encryption key", "encryption_key " + secondKey, nil, []string{d.dbFile(), "sealed with another key"}},
		{"two other keys", "encryption_key " + secondKey + " " + thirdKey, nil, []string{"sealed with another key"}},
		{"no key at all", "encryption_key correct-horse-battery-staple", nil, []string{"encryption_key: key 1", "openssl rand -base64 32"}},
		{"another key file", "", edit(file, func([]byte) []byte { return []byte(secondKey + "\n") }), []string{"sealed with another key"}},
		{"a key file with something else", "", edit(file, func([]byte) []byte { return []byte("hello") }), []string{file, "openssl rand -base64 32"}},
		{"an empty key file", "", edit(file, func([]byte) []byte { return nil }), []string{file, "openssl rand -base64 32"}},
		{"a key file that others can read", "", mode(file), []string{file, "mode 0640", "chmod 600 " + file}},
		{"a store that others can read", "", mode(d.dbFile()), []string{d.dbFile(), "mode 0640", "chmod 600 " + d.dbFile()}},
		{"no key file", "", func() func() {
			if err := os.Rename(file, file+".away"); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Rename(file+".away", file) }
		}, []string{"key is missing", "put the key file back, or set encryption_key", file}},
		{"half a store", "", edit(d.dbFile(), func(b []byte) []byte { return b[:len(b)/64] }), []string{d.dbFile(), "damaged", "backup"}},
		{"something else than a store", "", edit(d.dbFile(), func(b []byte) []byte { return []byte(strings.Repeat("something else ", len(b)/15)) }), []string{d.dbFile(), "damaged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			undo := func() {}
			if tt.edit != nil {
				undo = tt.edit()
			}
			before := hashes(t, folder)
			d.setStore("store bolt\n" + tt.store)
			d.refused(tt.texts...)
			if after := hashes(t, folder); after != before {
				t.Errorf("files before:\n%s\nafter:\n%s", before, after)
			}
			for _, k := range []string{firstKey, secondKey, thirdKey, "correct-horse"} {
				if strings.Contains(d.log.String(), k) {
					t.Error("the log shows a key")
				}
			}
			undo()
		})
	}
	d.setStore("store bolt")
	d.start()
	d.serves(u, key)
	d.stop()
}
