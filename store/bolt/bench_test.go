package bolt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// BenchmarkMillion measures a store with 1,000,000 records of about the size of a sealed
// key credential. It takes a minute and 1 GB of disk: only with RR_BENCH_SCALE=1.
func BenchmarkMillion(b *testing.B) {
	if os.Getenv("RR_BENCH_SCALE") == "" {
		b.Skip("only with RR_BENCH_SCALE=1")
	}
	const count = 1_000_000
	ctx := context.Background()
	path := filepath.Join(b.TempDir(), "rr.db")
	s := must(b, path)
	key := func(i int) string { return fmt.Sprintf("0197f3a2-%04x-7%03x-8000-%012x", i>>12, i&0xfff, i) }
	value := strings.Repeat("v", 400)
	began := time.Now()
	for i := 0; i < count; i += 10_000 {
		var writes []store.Write
		for j := range 10_000 {
			writes = append(writes, put("credentials", key(i+j), 1, value))
		}
		write(b, s, writes...)
	}
	b.Logf("written in %v", time.Since(began))
	size(b, path)
	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Get(ctx, "credentials", key(rand.IntN(count))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Apply", func(b *testing.B) {
		version := uint64(1)
		for b.Loop() {
			version++
			write(b, s, put("credentials", key(rand.IntN(count)), version, value), put("audit", fmt.Sprintf("%016x", version), 1, value))
		}
	})
	b.Run("Apply by 1000 at once", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			var wg sync.WaitGroup
			for i := range 1000 {
				wg.Go(func() {
					if _, err := s.Apply(ctx, put("new", fmt.Sprint(n, "-", i), 1, value)); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
		}
	})
	b.Run("List all", func(b *testing.B) {
		for b.Loop() {
			for _, err := range s.List(ctx, "credentials", "") {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("Compact", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := s.Compact(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	size(b, path)
	b.Run("Close and Open", func(b *testing.B) {
		for b.Loop() {
			s.Close()
			s = must(b, path)
		}
	})
}

func size(b *testing.B, path string) {
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("the file has %d MiB", info.Size()>>20)
}
