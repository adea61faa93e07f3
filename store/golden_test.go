package store_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	goldenStore   = "testdata/store-1.json"
	goldenArchive = "testdata/archive-1.bin"
	goldenLocked  = "testdata/archive-1-passphrase.bin"
)

// goldenEntry is an entry of a store that an earlier version has written.
type goldenEntry struct {
	Bucket  string
	Key     string
	Version uint64
	Value   []byte
}

// golden is the store in goldenStore, sealed with key a. Fuzz targets use it because their
// workers, which are processes, have to have the same one.
func golden(t testing.TB) *storetest.Mem {
	t.Helper()
	var entries []goldenEntry
	if err := json.Unmarshal(readFile(t, goldenStore), &entries); err != nil {
		t.Fatal(err)
	}
	b := storetest.Memory()
	for _, e := range entries {
		plant(t, b, e.Bucket, store.Entry{Key: e.Key, Version: e.Version, Value: e.Value})
	}
	return b
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestEarlierStores opens what earlier versions have sealed: what they wrote has to be
// readable for ever. (A new format gets files of its own beside these.)
func TestEarlierStores(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	s := openStore(t, golden(t), "a")
	expectCredential(t, s, "000000", 1)
	expectCredential(t, s, "000001", 2)
	if err := s.RotateKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	expectCredential(t, s, "000001", 2)
}

func TestEarlierArchives(t *testing.T) {
	for file, lock := range map[string]store.Lock{goldenArchive: keyLock(t, 'k'), goldenLocked: passphraseLock(t, passphrase)} {
		a, err := openArchive(t, readFile(t, file), lock)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		expectArchive(t, a, 2)
	}
}

func writeGolden(t *testing.T) {
	t.Helper()
	s := archived(t, 2)
	var entries []goldenEntry
	for _, bucket := range store.Buckets {
		for e, err := range s.Backend().List(t.Context(), bucket, "") {
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, goldenEntry{bucket, e.Key, e.Version, e.Value})
		}
	}
	text, err := json.MarshalIndent(entries, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{
		goldenStore:   append(text, '\n'),
		goldenArchive: export(t, s, keyLock(t, 'k')),
		goldenLocked:  export(t, s, passphraseLock(t, passphrase)),
	} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
