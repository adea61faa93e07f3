package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// The shape of what writeForEver writes.
const (
	killWriters = 4
	killLog     = 40 // how many log records of each writer stay
)

func logKey(writer int, version uint64) string { return fmt.Sprintf("%d-%08d", writer, version) }

// writeForEver writes and compacts until it is killed, and says what was acknowledged. Each
// change has a record in the bucket a, the same in b, a log record, and removes an old one.
func writeForEver(path string) error {
	ctx := context.Background()
	fmt.Println("opening")
	b, err := (&Bolt{Path: path}).Open(ctx)
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error)
	for w := range killWriters {
		go func() {
			name := strconv.Itoa(w)
			e, err := b.Get(ctx, "a", name)
			for v := e.Version + 1; err == nil || errors.Is(err, store.ErrNotFound); v++ {
				value := strings.Repeat(fmt.Sprintf("%d@%d ", w, v), 10+int(v%300))
				writes := []store.Write{put("a", name, v, value), put("b", name, v, value), put("log", logKey(w, v), 1, value)}
				if v > killLog {
					writes = append(writes, store.Write{Bucket: "log", Key: logKey(w, v-killLog), Expect: 1})
				}
				if _, err = b.Apply(ctx, writes...); err == nil {
					fmt.Println(w, v)
				}
			}
			failed <- err
		}()
	}
	go func() {
		for {
			if _, _, err := b.(*backend).Compact(ctx); err != nil {
				failed <- err
			}
		}
	}()
	return <-failed
}

// TestKill kills a process that writes, again and again: what it said that was acknowledged
// is there, no change is there in part, and the store opens.
func TestKill(t *testing.T) {
	t.Parallel()
	times, limit := 200, 50*time.Second
	if testing.Short() {
		times = 16
	}
	var mu sync.Mutex
	done := 0
	const chains = 2 // processes at a time, each with its own store
	for chain := range chains {
		t.Run(fmt.Sprint(chain), func(t *testing.T) {
			t.Parallel()
			began := time.Now() // when it is this chain's turn
			random := rand.New(rand.NewPCG(uint64(chain), 5))
			path := filepath.Join(t.TempDir(), "rr", "rr.db")
			acknowledged := [killWriters]uint64{}
			for i := 0; i < times/chains && time.Since(began) < limit; i++ {
				if i%10 == 0 { // killed while it makes the store, too
					os.RemoveAll(filepath.Dir(path))
					acknowledged = [killWriters]uint64{}
				}
				killOnce(t, path, random, &acknowledged)
				checkKilled(t, path, &acknowledged)
				mu.Lock()
				done++
				mu.Unlock()
			}
		})
	}
	t.Cleanup(func() {
		if done < times {
			t.Logf("killed %d times of %d, in %v for each chain", done, times, limit)
		}
		if done < times/20 {
			t.Error("that is too few to tell")
		}
	})
}

// killOnce runs a child until it has said some lines, and kills it.
func killOnce(t *testing.T, path string, random *rand.Rand, acknowledged *[killWriters]uint64) {
	c := start(t, "write", path)
	c.says(t, "opening")
	if random.IntN(3) == 0 { // while it opens, or soon after
		time.Sleep(time.Duration(random.IntN(8000)) * time.Microsecond)
		c.Process.Kill()
	}
	lines, until := 0, 1+random.IntN(100)
	for c.lines.Scan() {
		if lines++; lines == until {
			c.Process.Kill() // what it has written to the pipe is still read
		}
		var w int
		var v uint64
		if n, _ := fmt.Sscan(c.lines.Text(), &w, &v); n == 2 {
			acknowledged[w] = max(acknowledged[w], v)
		}
	}
	c.Wait()
	if code := c.ProcessState.ExitCode(); code >= 0 { // it was not the signal
		t.Fatalf("the child ended with %d: %s", code, c.stderr.String())
	}
}

// checkKilled opens the store, and takes note of what is there.
func checkKilled(t *testing.T, path string, acknowledged *[killWriters]uint64) {
	ctx := context.Background()
	b, err := (&Bolt{Path: path}).Open(ctx)
	if err != nil {
		t.Fatalf("opening after a kill: %v", err)
	}
	defer b.Close()
	logged := map[string]string{}
	for e, err := range b.List(ctx, "log", "") {
		if err != nil {
			t.Fatal(err)
		}
		logged[e.Key] = string(e.Value)
	}
	total := uint64(0)
	for w, v := range acknowledged {
		name := strconv.Itoa(w)
		one, err := b.Get(ctx, "a", name)
		two, err2 := b.Get(ctx, "b", name)
		if v == 0 && errors.Is(err, store.ErrNotFound) && errors.Is(err2, store.ErrNotFound) {
			continue
		}
		if err != nil || err2 != nil || one.Version != two.Version || string(one.Value) != string(two.Value) {
			t.Fatalf("half a change: version %d, %v and version %d, %v", one.Version, err, two.Version, err2)
		}
		if one.Version != v && one.Version != v+1 { // the last one may be there though nobody heard of it
			t.Fatalf("version %d was acknowledged, %d is there", v, one.Version)
		}
		acknowledged[w] = one.Version
		total += one.Version
		first := max(killLog, one.Version) - killLog + 1
		for v := first; v <= one.Version; v++ {
			value, ok := logged[logKey(w, v)]
			if !ok || v == one.Version && value != string(one.Value) {
				t.Fatalf("the log record of version %d of %d is %.20q", v, one.Version, value)
			}
			delete(logged, logKey(w, v))
		}
	}
	if len(logged) > 0 {
		t.Fatalf("%d log records too many", len(logged))
	}
	if r, err := b.Revision(ctx); r != total || err != nil {
		t.Fatalf("revision %d, %v after %d changes", r, err, total)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Fatalf("the folder has %v, %v", entries, err)
	}
}
