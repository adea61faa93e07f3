package verify

import "sync"

// bounded is a map that holds at most max entries; when full, the oldest goes. It is
// safe for concurrent use.
type bounded[K comparable, V any] struct {
	mu   sync.Mutex
	max  int
	vals map[K]V
	ring []K
	next int
}

func newBounded[K comparable, V any](max int) *bounded[K, V] {
	return &bounded[K, V]{max: max, vals: make(map[K]V)}
}

func (b *bounded[K, V]) get(k K) (V, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.vals[k]
	return v, ok
}

// update stores what f makes of the entry's value (zero if there is none) and returns it.
func (b *bounded[K, V]) update(k K, f func(V) V) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ok := b.vals[k]
	v := f(old)
	b.vals[k] = v
	if ok {
		return v
	}
	if len(b.ring) < b.max {
		b.ring = append(b.ring, k)
		return v
	}
	delete(b.vals, b.ring[b.next])
	b.ring[b.next] = k
	b.next = (b.next + 1) % b.max
	return v
}

func (b *bounded[K, V]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.vals)
}
