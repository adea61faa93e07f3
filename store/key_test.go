package store_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

func TestParseKey(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = 0xf8 + byte(i) // has + and / in base64
	}
	want := ""
	for _, c := range []struct{ name, text, err string }{
		{"base64", base64.StdEncoding.EncodeToString(raw), ""},
		{"base64 without padding", base64.RawStdEncoding.EncodeToString(raw), ""},
		{"base64url", base64.URLEncoding.EncodeToString(raw), ""},
		{"base64url without padding", base64.RawURLEncoding.EncodeToString(raw), ""},
		{"hex", hex.EncodeToString(raw), ""},
		{"hex in capitals", strings.ToUpper(hex.EncodeToString(raw)), ""},
		{"with space around it", " " + hex.EncodeToString(raw) + "\r\n", ""},
		{"empty", "", "openssl rand -base64 32"},
		{"a passphrase", canary + " correct horse battery staple", "openssl rand -base64 32"},
		{"32 characters", strings.Repeat("abcd", 8), "openssl rand -base64 32"},
		{"64 characters that are not hex", strings.Repeat("abcdefgh", 8), "openssl rand -base64 32"},
		{"31 bytes", base64.StdEncoding.EncodeToString(raw[1:]), "openssl rand -base64 32"},
		{"33 bytes", base64.StdEncoding.EncodeToString(append(raw, 0)), "openssl rand -base64 32"},
		{"16 bytes in hex", hex.EncodeToString(raw[16:]), "openssl rand -base64 32"},
		{"bits behind the last byte", strings.TrimSuffix(base64.StdEncoding.EncodeToString(raw), "c=") + "d=", "openssl rand -base64 32"},
		{"two lines", base64.StdEncoding.EncodeToString(raw[:16]) + "\n" + base64.StdEncoding.EncodeToString(raw[16:]), "openssl rand -base64 32"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), "not random"},
		{"a pattern", strings.Repeat("0123456789abcdef", 4)[:62] + "01", ""},
		{"few different bytes", strings.Repeat("00010203", 8), "not random"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := store.ParseKey(c.text)
			if c.err != "" {
				expectError(t, err, nil, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = k.ID()
			}
			if c.name != "a pattern" && k.ID() != want {
				t.Error("it is another key")
			}
		})
	}
}

func TestKeysCannotBePrinted(t *testing.T) {
	k := keyOf(t, 'a')
	raw := "abcdefghijkl"
	values := []any{k, &k, []store.Key{k}, struct{ K store.Key }{k}, struct{ k store.Key }{k}, map[string]store.Key{"k": k}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, raw) || strings.Contains(text, hex.EncodeToString([]byte(raw))) || strings.Contains(text, "97 98 99") {
				t.Errorf("%s of %T shows the key: %s", verb, v, text)
			}
		}
	}
	if got := fmt.Sprint(store.Key{}); got != "key none" {
		t.Errorf("no key prints as %q", got)
	}
}

func TestLoadKeyFile(t *testing.T) {
	good := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789ABCDEF")) + "\n"
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		err        string
	}{
		{"its owner's", good, 0o600, ""},
		{"read only", good, 0o400, ""},
		{"readable by the group", good, 0o640, "chmod 600"},
		{"readable by the world", good, 0o604, "mode 0604"},
		{"writable by the group", good, 0o620, "chmod 600"},
		{"empty", "", 0o600, "openssl rand -base64 32"},
		{"half a key", good[:20], 0o600, "openssl rand -base64 32"},
		{"large", strings.Repeat("\n", 1<<20) + good, 0o600, "openssl rand -base64 32"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.mode&0o077 != 0 && runtime.GOOS == "windows" {
				t.Skip("not here: file modes say nothing")
			}
			path := writeFile(t, c.text, c.mode)
			_, err := store.LoadKeyFile(path)
			if c.err == "" && err != nil {
				t.Error(err)
			}
			if c.err != "" {
				expectError(t, err, nil, c.err)
				expectError(t, err, nil, path)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "none")
		_, err := store.LoadKeyFile(path)
		expectError(t, err, fs.ErrNotExist, path)
	})
	t.Run("a folder", func(t *testing.T) {
		_, err := store.LoadKeyFile(t.TempDir())
		expectError(t, err, nil, "not a regular file")
	})
}

func TestKeyFileIsMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rr", "store.key")
	b := storetest.Memory()
	s, err := store.Open(t.Context(), store.Options{Backend: b, KeyFile: path})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, put(store.Credentials, "a", 1, credential("a")))
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 1 {
		t.Errorf("the folder has %v", names)
	}
	k, err := store.LoadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("and used again, by itself and as a key", func(t *testing.T) {
		for _, o := range []store.Options{{Backend: b, KeyFile: path}, {Backend: b, Keys: []store.Key{k}, KeyFile: "/none"}} {
			s, err := store.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			expectCredential(t, s, "a", 1)
		}
	})
	t.Run("and not made for a store that has one", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "new", "store.key")
		before := dump(t, b)
		_, err := store.Open(t.Context(), store.Options{Backend: b, KeyFile: other})
		expectError(t, err, fs.ErrNotExist, "put the key file back")
		if _, err := os.Stat(filepath.Dir(other)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was made: %v", err)
		}
		if dump(t, b) != before {
			t.Error("the store was changed")
		}
	})
	t.Run("and one that is there is taken for a new store", func(t *testing.T) {
		fresh := storetest.Memory()
		if _, err := store.Open(t.Context(), store.Options{Backend: fresh, KeyFile: path}); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, store.Options{Backend: fresh, Keys: []store.Key{k}})
	})
	t.Run("and one that is bad is left alone", func(t *testing.T) {
		bad := writeFile(t, "bad", 0o600)
		fresh := storetest.Memory()
		_, err := store.Open(t.Context(), store.Options{Backend: fresh, KeyFile: bad})
		expectError(t, err, nil, "openssl rand -base64 32")
		if text, _ := os.ReadFile(bad); string(text) != "bad" {
			t.Errorf("it has %q", text)
		}
	})
}

// TestKeyFileIsMadeOnce has many begin a store with the same file at once.
func TestKeyFileIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.key")
	b := storetest.Memory()
	const people = 8
	errs := make(chan error, people)
	for range people {
		go func() {
			_, err := store.Open(t.Context(), store.Options{Backend: b, KeyFile: path})
			errs <- err
		}()
	}
	for range people {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	mustOpen(t, store.Options{Backend: b, KeyFile: path})
}
