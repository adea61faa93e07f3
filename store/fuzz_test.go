package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// FuzzSealedRecord puts whatever into the place of a record. Only what the store has sealed
// there can be read.
func FuzzSealedRecord(f *testing.F) {
	b := golden(f)
	s := openStore(f, b, "a")
	genuine, err := b.Get(f.Context(), store.Credentials, "000000")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine.Value, uint64(1))
	f.Add(genuine.Value, uint64(2))
	f.Add(genuine.Value[:5], uint64(1))
	f.Add([]byte{1, 0, 0, 0, 0}, uint64(1))
	f.Add([]byte(`{"id":"a"}`), uint64(1))
	f.Add([]byte{}, uint64(1))
	f.Fuzz(func(t *testing.T, value []byte, version uint64) {
		if version == 0 || version == store.Any || value == nil {
			return
		}
		plant(t, b, store.Credentials, store.Entry{Key: "000000", Version: version, Value: value})
		_, err := s.Get(t.Context(), store.Credentials, "000000", new(store.Credential))
		if bytes.Equal(value, genuine.Value) && version == genuine.Version {
			if err != nil {
				t.Fatalf("the record itself: %v", err)
			}
		} else if !errors.Is(err, store.ErrTampered) {
			t.Fatalf("version %d, %q: %v", version, value, err)
		}
	})
}

// FuzzStoredKeyset opens stores with whatever keyset. It must fail and change nothing.
func FuzzStoredKeyset(f *testing.F) {
	b := golden(f)
	genuine, err := b.Get(f.Context(), store.Meta, "keyset")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine.Value)
	f.Add([]byte(`{"format":1,"key":"` + keyOf(f, 'a').ID() + `","keyset":"CgA="}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if value == nil || len(value) > store.MaxValue {
			return
		}
		plant(t, b, store.Meta, store.Entry{Key: "keyset", Version: 1, Value: value})
		_, err := store.Open(t.Context(), options(t, b, "ba"))
		now, getErr := b.Get(t.Context(), store.Meta, "keyset")
		if err == nil || getErr != nil { // JSON may be written in many ways: is it the keyset?
			var got, want struct{ Keyset []byte }
			if json.Unmarshal(value, &got) != nil || json.Unmarshal(genuine.Value, &want) != nil || !bytes.Equal(got.Keyset, want.Keyset) {
				t.Fatalf("%q was taken for the keyset: %v", value, getErr)
			}
			return
		}
		if !bytes.Equal(now.Value, value) || now.Version != 1 {
			t.Fatalf("%q was changed", value)
		}
	})
}

// FuzzPlaces looks for two places that are sealed alike.
func FuzzPlaces(f *testing.F) {
	f.Add("a", "bc", uint64(1), "ab", "c", uint64(1))
	f.Add("a", "\x00\x00\x00\x01b", uint64(1), "a\x00\x00\x00\x01", "b", uint64(1))
	f.Add("", "", uint64(0), "", "\x00", uint64(0))
	f.Fuzz(func(t *testing.T, bucket, key string, version uint64, bucket2, key2 string, version2 uint64) {
		same := bucket == bucket2 && key == key2 && version == version2
		if (store.Place(bucket, key, version) == store.Place(bucket2, key2, version2)) != same {
			t.Error("two places are one")
		}
	})
}

// FuzzArchive opens whatever as an archive. Only the one that was made can be.
func FuzzArchive(f *testing.F) {
	lock := keyLock(f, 'k')
	genuine := readFile(f, goldenArchive)
	f.Add(genuine)
	f.Add(genuine[:len(genuine)-1])
	f.Add(genuine[:store.HeaderSize])
	f.Add(readFile(f, goldenLocked))
	f.Fuzz(func(t *testing.T, archive []byte) {
		a, err := store.OpenArchive(t.Context(), bytes.NewReader(archive), lock)
		if err != nil {
			return
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(archive, genuine) {
			t.Fatalf("%q was opened", archive)
		}
	})
}

// FuzzArchiveRecords opens archives of who has the key, and writes what they like. Whatever
// is said to be in one can be read.
func FuzzArchiveRecords(f *testing.F) {
	lock := keyLock(f, 'k')
	f.Add([]byte(`{"schema":1,"made":"2026-11-26T12:00:00Z"}` + "\n" + `{"bucket":"targets","key":"a","version":1,"value":{}}`))
	f.Add([]byte(`{"schema":2}`))
	f.Add([]byte(`{"schema":1}{"bucket":"meta","key":"keyset","version":1,"value":{}}`))
	f.Add([]byte(`{"schema":1}{"bucket":"targets","key":"a","value":null}`))
	f.Add([]byte(`{"schema":1}{"bucket":"targets"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var archive bytes.Buffer
		if err := store.SealArchive(lock, &archive, text); err != nil {
			t.Fatal(err)
		}
		a, err := store.OpenArchive(t.Context(), &archive, lock)
		if err != nil {
			if errors.Is(err, store.ErrTampered) || errors.Is(err, store.ErrWrongKey) {
				t.Fatalf("%q is said to be not authentic: %v", text, err)
			}
			return
		}
		defer a.Close()
		count := 0
		for r, err := range a.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if count++; r.Key == "" || r.Bucket == store.Meta || r.Open(new(any)) != nil {
				t.Fatalf("%q has record %v", text, r)
			}
		}
		if count != a.Count {
			t.Fatalf("%q has %d records, then %d", text, a.Count, count)
		}
	})
}
