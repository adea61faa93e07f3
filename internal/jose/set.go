package jose

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// The bounds of a set: the size of its document, how many keys it has, and how many are
// tried for a token that names none.
const (
	MaxSet     = 512 << 10
	MaxSetKeys = 100
	maxTried   = 8
)

// Set is a set of keys. It never changes.
type Set struct {
	keys []*Key
	byID map[string][]*Key
	// Generation tells the set from others by its keys, their names and algorithms.
	Generation [sha256.Size]byte
}

// NewSet makes a set of keys.
func NewSet(keys []*Key) *Set {
	s := &Set{keys: keys, byID: make(map[string][]*Key)}
	lines := make([][]byte, 0, len(keys))
	for _, k := range keys {
		s.byID[k.ID] = append(s.byID[k.ID], k)
		lines = append(lines, fmt.Appendf(nil, "%x %q %q\n", k.Thumbprint, k.Alg, k.ID))
	}
	slices.SortFunc(lines, bytes.Compare) // the order in the document means nothing
	s.Generation = sha256.Sum256(bytes.Join(lines, nil))
	return s
}

// ParseSet reads a JWK Set (RFC 7517 section 5). Entries that cannot be used are skipped,
// each with its reason; a set without any that can is an error.
func ParseSet(data []byte) (set *Set, skipped []error, err error) {
	if len(data) > MaxSet {
		return nil, nil, fmt.Errorf("the key set is larger than %d bytes", MaxSet)
	}
	doc, err := strictjson.Object(data, strictjson.Options{})
	if err != nil {
		return nil, nil, fmt.Errorf("the key set: %w", err)
	}
	entries, ok := doc["keys"].([]any)
	if !ok {
		return nil, nil, errors.New(`the key set has no list of "keys"`)
	}
	if len(entries) > MaxSetKeys {
		return nil, nil, fmt.Errorf("the key set has more than %d keys", MaxSetKeys)
	}
	var keys []*Key
	for i, entry := range entries {
		member, ok := entry.(map[string]any)
		if !ok {
			skipped = append(skipped, fmt.Errorf("key %d: it is not an object", i+1))
			continue
		}
		k, err := ParseJWK(member)
		if err != nil {
			skipped = append(skipped, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, skipped, errors.New("the key set has no key that can be used")
	}
	return NewSet(keys), skipped, nil
}

// Keys are all keys of the set; they are not to be changed.
func (s *Set) Keys() []*Key { return s.keys }

// Has reports whether a key has this kid.
func (s *Set) Has(kid string) bool { return len(s.byID[kid]) > 0 }

// HasKey reports whether the set has a key with this thumbprint.
func (s *Set) HasKey(thumbprint [sha256.Size]byte) bool {
	return slices.ContainsFunc(s.keys, func(k *Key) bool { return k.Thumbprint == thumbprint })
}

// Find returns the keys that may have signed a token: those with its kid that fit its
// algorithm; if no key has this kid, those that have none. For a token without kid all
// that fit, at most 8.
func (s *Set) Find(kid string, hasKid bool, alg string) []*Key {
	candidates := s.keys
	if hasKid {
		if candidates = s.byID[kid]; len(candidates) == 0 {
			candidates = s.byID[""]
		}
	}
	var fit []*Key
	for _, k := range candidates {
		if k.Fits(alg) && len(fit) < maxTried {
			fit = append(fit, k)
		}
	}
	return fit
}
