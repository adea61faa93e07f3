package audit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// log is a log of some entries, all different.
func log(count int) (entries []audit.Entry, head audit.Head) {
	start := time.Date(2026, 11, 26, 12, 0, 0, 987654321, time.FixedZone("", 3600))
	for i := range count {
		e := audit.Entry{
			Time:   start.Add(time.Duration(i) * time.Second),
			Actor:  audit.Actor{Kind: audit.User, Name: "ann <ann@example.com>", Address: "192.0.2.7"},
			Action: "update", Resource: "credentials", ID: fmt.Sprint("id-", i), Client: "default",
			Name: "line\u2028break & \"quotes\"\\ \x01\x7f\t ünï \xff", Fields: []string{"credentialName", "credentialSecret"},
		}
		head = head.Append(&e)
		entries = append(entries, e)
	}
	return entries, head
}

func seq(entries []audit.Entry) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name  string
		what  func(entries []audit.Entry) []audit.Entry
		count uint64 // entries before the fault
		err   string // "" if it cannot be seen
	}{
		{"as written", func(e []audit.Entry) []audit.Entry { return e }, 5, ""},
		{"no entries", func([]audit.Entry) []audit.Entry { return nil }, 0, ""},
		{"edited", func(e []audit.Entry) []audit.Entry { e[2].Name = "x"; return e }, 2, "entry 3: it was edited"},
		{"edited with a new hash", func(e []audit.Entry) []audit.Entry {
			e[2].Name = "x"
			e[2].Seal(e[2].Previous)
			return e
		}, 3, "entry 4: it follows another"},
		{"deleted", func(e []audit.Entry) []audit.Entry { return slices.Delete(e, 1, 2) }, 1, "entry 2: entry 3 is in its place"},
		{"deleted, and the next renumbered", func(e []audit.Entry) []audit.Entry {
			e = slices.Delete(e, 1, 2)
			e[1].Seq = 2
			return e
		}, 1, "entry 2: it follows another"},
		{"swapped", func(e []audit.Entry) []audit.Entry { e[1], e[2] = e[2], e[1]; return e }, 1, "entry 2: entry 3 is in its place"},
		{"doubled", func(e []audit.Entry) []audit.Entry { return slices.Insert(e, 3, e[2]) }, 3, "entry 4: entry 3 is in its place"},
		{"put in", func(e []audit.Entry) []audit.Entry {
			extra := audit.Entry{Seq: 3, Action: "create"}
			extra.Seal(e[1].Hash)
			return slices.Insert(e, 2, extra)
		}, 3, "entry 4: entry 3 is in its place"},
		{"cut at the front", func(e []audit.Entry) []audit.Entry { return e[1:] }, 0, "entry 1: entry 2 is in its place"},
		{"cut at the front and renumbered", func(e []audit.Entry) []audit.Entry {
			e[1].Seq = 1
			return e[1:]
		}, 0, "entry 1: it follows another"},
		{"cut at the end", func(e []audit.Entry) []audit.Entry { return e[:4] }, 4, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, _ := log(5)
			count, err := audit.Verify(seq(c.what(entries)))
			expect(t, count, err, c.count, c.err)
		})
	}
}

func TestVerifyTo(t *testing.T) {
	for _, c := range []struct {
		name  string
		head  func(entries []audit.Entry, head audit.Head) ([]audit.Entry, audit.Head)
		count uint64
		err   string
	}{
		{"its last entry", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) { return e, h }, 5, ""},
		{"an earlier entry", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) {
			return e, audit.Head{Seq: 2, Hash: e[1].Hash}
		}, 5, ""},
		{"of no log", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) { return nil, audit.Head{} }, 0, ""},
		{"cut at the end", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) { return e[:3], h }, 3, "entry 4: it is missing, and all to entry 5"},
		{"all gone", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) { return nil, h }, 0, "entry 1: it is missing"},
		{"written anew", func(e []audit.Entry, h audit.Head) ([]audit.Entry, audit.Head) {
			var forged audit.Head
			for i := range e {
				e[i].Actor.Name = "somebody else"
				forged = forged.Append(&e[i])
			}
			return e, h
		}, 4, "entry 5: it is another one than the head"},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries, head := c.head(log(5))
			count, err := audit.VerifyTo(seq(entries), head)
			expect(t, count, err, c.count, c.err)
		})
	}
}

func expect(t *testing.T, count uint64, err error, wantCount uint64, wantErr string) {
	t.Helper()
	if count != wantCount {
		t.Errorf("%d entries are good, want %d", count, wantCount)
	}
	switch {
	case wantErr == "" && err != nil:
		t.Errorf("unexpected: %v", err)
	case wantErr != "" && (!errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), wantErr)):
		t.Errorf("the error is %v, want %q", err, wantErr)
	}
}

func TestVerifyPassesErrorsOn(t *testing.T) {
	entries, _ := log(2)
	failure := errors.New("the disk is gone")
	count, err := audit.Verify(func(yield func(audit.Entry, error) bool) {
		_ = yield(entries[0], nil) && yield(audit.Entry{}, failure)
	})
	if count != 1 || !errors.Is(err, failure) || errors.Is(err, audit.ErrBroken) {
		t.Errorf("%d entries, then %v", count, err)
	}
}

// TestEveryFieldIsHashed changes each field of an entry, those of its actor too, and so
// fails for one that is added to the types and not to what is hashed.
func TestEveryFieldIsHashed(t *testing.T) {
	entries, _ := log(2)
	whole := entries[1]
	var paths [][]int
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[audit.Entry]()) {
		if f.Type != reflect.TypeFor[audit.Actor]() {
			paths, names = append(paths, f.Index), append(names, f.Name)
			continue
		}
		for _, inner := range reflect.VisibleFields(f.Type) {
			paths, names = append(paths, []int{f.Index[0], inner.Index[0]}), append(names, f.Name+"."+inner.Name)
		}
	}
	for i, path := range paths {
		t.Run(names[i], func(t *testing.T) {
			e := whole
			switch v := reflect.ValueOf(&e).Elem().FieldByIndex(path); at := v.Addr().Interface().(type) {
			case *string:
				*at += "x"
			case *uint64:
				*at++
			case *time.Time:
				*at = at.Add(time.Nanosecond)
			case *[]string:
				*at = append(slices.Clone(*at), "x")
			default:
				t.Fatalf("teach this test to change a %s", v.Type())
			}
			before := e.Hash
			e.Seal(e.Previous)
			if changed := e.Hash != whole.Hash; changed != (names[i] != "Hash") {
				t.Errorf("the hash changed: %v (was %s)", changed, before)
			}
		})
	}
}

// TestJSONKeepsTheHash decodes what encoding/json wrote, as a store and the API do.
func TestJSONKeepsTheHash(t *testing.T) {
	entries, _ := log(3)
	entries[1].Fields, entries[1].Name = []string{}, "" // which are left out
	entries[1].Seal(entries[0].Hash)
	entries[2].Seal(entries[1].Hash)
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	var decoded []audit.Entry
	if err := json.Unmarshal(text, &decoded); err != nil {
		t.Fatal(err)
	}
	if count, err := audit.Verify(seq(decoded)); count != 3 || err != nil {
		t.Errorf("%d entries, then %v", count, err)
	}
}

func TestHashIsStable(t *testing.T) {
	e := audit.Entry{
		Time:  time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
		Actor: audit.Actor{Kind: audit.Admin, Name: "/run/caddy/admin.sock"}, Action: "create", Resource: "clients",
	}
	var head audit.Head
	head = head.Append(&e)
	// printf '%s' '{"action":"create","actor":{"kind":"admin","name":"/run/caddy/admin.sock"},"resource":"clients","seq":1,"time":"2026-01-02T03:04:05.0000006Z"}' | sha256sum
	const want = "bb2d06cad15d9f92fd773258410d56c1c7a05fdf2a1551c4a84c8545abe76cf0"
	if head != (audit.Head{Seq: 1, Hash: want}) {
		t.Errorf("the head is %+v: what old logs were hashed with has changed", head)
	}
}

func TestKeysAreInOrder(t *testing.T) {
	var keys []string
	for _, n := range []uint64{1, 9, 10, 255, 256, 1 << 40, 1<<64 - 1} {
		keys = append(keys, audit.Key(n))
	}
	if !slices.IsSorted(keys) || len(keys[0]) != 16 || len(keys[6]) != 16 {
		t.Errorf("keys are %q", keys)
	}
}
