package catalog

import (
	"bytes"
	"encoding/binary"

	"github.com/benbjohnson/immutable"
	"github.com/google/uuid"
)

// hashed is a map whose versions share what has not changed. While it is filled for the
// first time it has a builder, which costs no copies.
type hashed[K comparable, V any] struct {
	m *immutable.Map[K, V]
	b *immutable.MapBuilder[K, V]
}

func (h *hashed[K, V]) get(k K) (v V, ok bool) {
	switch {
	case h.b != nil:
		return h.b.Get(k)
	case h.m == nil:
		return v, false
	}
	return h.m.Get(k)
}

func (h *hashed[K, V]) set(k K, v V, hasher immutable.Hasher[K]) {
	switch {
	case h.b != nil:
		h.b.Set(k, v)
	case h.m == nil:
		h.m = immutable.NewMap[K, V](hasher).Set(k, v)
	default:
		h.m = h.m.Set(k, v)
	}
}

func (h *hashed[K, V]) remove(k K) {
	switch {
	case h.b != nil:
		h.b.Delete(k)
	case h.m != nil:
		h.m = h.m.Delete(k)
	}
}

func (h *hashed[K, V]) build(hasher immutable.Hasher[K]) {
	h.b = immutable.NewMapBuilder[K, V](hasher)
}

func (h *hashed[K, V]) finish() {
	if h.b != nil {
		h.m, h.b = h.b.Map(), nil
	}
}

// sorted is the same in the order of ids, which is that of creation.
type sorted[V any] struct {
	m *immutable.SortedMap[uuid.UUID, V]
	b *immutable.SortedMapBuilder[uuid.UUID, V]
}

func (s *sorted[V]) get(k uuid.UUID) (v V, ok bool) {
	switch {
	case s.b != nil:
		return s.b.Get(k)
	case s.m == nil:
		return v, false
	}
	return s.m.Get(k)
}

func (s *sorted[V]) set(k uuid.UUID, v V) {
	switch {
	case s.b != nil:
		s.b.Set(k, v)
	case s.m == nil:
		s.m = immutable.NewSortedMap[uuid.UUID, V](byID{}).Set(k, v)
	default:
		s.m = s.m.Set(k, v)
	}
}

func (s *sorted[V]) remove(k uuid.UUID) {
	switch {
	case s.b != nil:
		s.b.Delete(k)
	case s.m != nil:
		s.m = s.m.Delete(k)
	}
}

func (s *sorted[V]) build() { s.b = immutable.NewSortedMapBuilder[uuid.UUID, V](byID{}) }

func (s *sorted[V]) finish() {
	if s.b != nil {
		s.m, s.b = s.b.Map(), nil
	}
}

func (s *sorted[V]) len() int {
	if s.m == nil {
		return 0
	}
	return s.m.Len()
}

// after calls f with the values behind a key, in order, until it returns false.
func (s *sorted[V]) after(k uuid.UUID, f func(V) bool) {
	if s.m == nil {
		return
	}
	it := s.m.Iterator()
	it.Seek(k)
	for !it.Done() {
		id, v, _ := it.Next()
		if id != k && !f(v) {
			return
		}
	}
}

type byID struct{}

// Compare implements immutable.Comparer.
func (byID) Compare(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// idHasher hashes ids by their random end.
type idHasher struct{}

// Hash implements immutable.Hasher.
func (idHasher) Hash(k uuid.UUID) uint32 { return binary.LittleEndian.Uint32(k[12:]) }

// Equal implements immutable.Hasher.
func (idHasher) Equal(a, b uuid.UUID) bool { return a == b }

// digestHasher hashes what is a hash already.
type digestHasher struct{}

// Hash implements immutable.Hasher.
func (digestHasher) Hash(k digest) uint32 { return binary.LittleEndian.Uint32(k[:]) }

// Equal implements immutable.Hasher.
func (digestHasher) Equal(a, b digest) bool { return a == b }

// nameHasher does the same for names.
type nameHasher struct{}

// Hash implements immutable.Hasher.
func (nameHasher) Hash(k nameKey) uint32 { return binary.LittleEndian.Uint32(k[:]) }

// Equal implements immutable.Hasher.
func (nameHasher) Equal(a, b nameKey) bool { return a == b }

// textHasher hashes texts that a caller may choose, so by a keyed hash.
var textHasher immutable.Hasher[string] = newTextHasher()
