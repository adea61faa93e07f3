package verify

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func numberedKey(n int) (d digest) {
	binary.BigEndian.PutUint32(d[1:], uint32(n))
	d[0] = byte(n) // which chooses the shard
	return d
}

func TestTokenCacheIsBounded(t *testing.T) {
	now := time.Now()
	v := &verified{facts: facts{until: now.Add(time.Hour)}}
	for _, c := range []struct {
		name           string
		entries, bytes int
		cost, want     int
	}{
		{"in entries", 160, 1 << 30, 100, 160},
		{"in bytes", 10_000, 16 * 1000, 100, 160},
		{"one that is too large is not kept", 160, 16 * 1000, 1001, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newTokenCache(c.entries, c.bytes)
			for n := range 5000 {
				cache.put(numberedKey(n), v, c.cost)
				cache.put(numberedKey(n), v, c.cost) // twice is once
			}
			if n, bytes := cache.size(); n != c.want || bytes != c.want*c.cost || bytes > c.bytes {
				t.Errorf("%d entries of %d bytes together", n, bytes)
			}
			if c.want > 0 && (cache.get(numberedKey(4999), now) == nil || cache.get(numberedKey(0), now) != nil) {
				t.Error("what was put in first does not go first")
			}
			if cache.get(numberedKey(4999), now.Add(time.Hour)) != nil {
				t.Error("a token that is over is given out")
			}
		})
	}
}

// TestClaimsCost: claims that take much more memory than their text weigh that much.
func TestClaimsCost(t *testing.T) {
	for _, text := range []string{
		`[` + strings.Repeat(`{"":0},`, 1000) + `0]`, `[` + strings.Repeat(`[],`, 2000) + `0]`, `[` + strings.Repeat(`{},`, 2000) + `0]`,
	} {
		var list any
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		raw := strings.Repeat("x", len(text)*4/3)
		if cost := claimsCost(raw, map[string]any{"list": list}); cost < 20*len(text)/3 {
			t.Errorf("%.20s…: %d bytes of text cost %d", text, len(text), cost)
		}
	}
}
