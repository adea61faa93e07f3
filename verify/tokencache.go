package verify

import (
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// verified is a token that was checked once. It is shared by requests and never changes,
// except that its claims are decoded when somebody first asks for them: as text they are
// one object to the garbage collector instead of dozens, which it would look at again and
// again.
type verified struct {
	payload []byte
	decoded atomic.Pointer[map[string]any]
	facts
	// key signed it, with alg; of an introspected token it is the digest of who asked
	key [sha256.Size]byte
	alg string
	typ string
}

// All implements rule.Claims.
func (v *verified) All() map[string]any {
	if claims := v.decoded.Load(); claims != nil {
		return *claims
	}
	claims := jose.Claims(v.payload)
	v.decoded.Store(&claims)
	return claims
}

// identity is what the token says of the caller, without its claims.
func (v *verified) identity() Identity {
	return Identity{ID: v.subject, Expires: v.until, token: v}
}

// The bounds of all verified tokens that are remembered together.
const (
	maxTokens     = 50_000
	maxTokenBytes = 64 << 20
	tokenShards   = 16
)

// tokenCost estimates the memory of a remembered token: its claims, decoded, take about
// three times their text.
func tokenCost(raw string) int { return 768 + 3*len(raw) }

// claimsCost is tokenCost for claims that take more, such as long lists of numbers.
func claimsCost(raw string, claims map[string]any) int {
	return max(tokenCost(raw), 512+weigh(claims))
}

// weigh estimates the memory of a decoded JSON value.
func weigh(v any) int {
	switch v := v.(type) {
	case string:
		return 16 + len(v)
	case json.Number:
		return 24 + len(v)
	case []any:
		n := 48
		for _, e := range v {
			n += 16 + weigh(e)
		}
		return n
	case map[string]any:
		// maps grow by groups of eight members
		n := 64 + 350*((len(v)+7)/8)
		for name, e := range v {
			n += 16 + len(name) + weigh(e)
		}
		return n
	}
	return 16
}

// tokens remembers verified tokens for the whole process, so that a reload does not have
// every caller's token verified again. What decides is in the key: the configuration of
// the credential, the keys of the issuer, and the token.
var tokens = newTokenCache(maxTokens, maxTokenBytes)

// tokenCache is bounded in entries and bytes; what was put in first goes first. It is
// divided, so that requests do not wait for one another.
type tokenCache struct{ shards [tokenShards]tokenShard }

type tokenShard struct {
	mu         sync.RWMutex
	entries    map[digest]*verified
	queue      []tokenSlot // a ring
	head, used int
	bytes      int
	maxBytes   int
}

type tokenSlot struct {
	key  digest
	cost int
}

func newTokenCache(entries, bytes int) *tokenCache {
	c := new(tokenCache)
	for i := range c.shards {
		c.shards[i] = tokenShard{
			entries: make(map[digest]*verified), maxBytes: bytes / tokenShards,
			queue: make([]tokenSlot, max(1, entries/tokenShards)),
		}
	}
	return c
}

func (c *tokenCache) shard(key digest) *tokenShard { return &c.shards[key[0]%tokenShards] }

// get returns a token that is remembered and not over.
func (c *tokenCache) get(key digest, now time.Time) *verified {
	s := c.shard(key)
	s.mu.RLock()
	v := s.entries[key]
	s.mu.RUnlock()
	if v == nil || !now.Before(v.until) {
		return nil
	}
	return v
}

// put remembers a token; cost is in bytes.
func (c *tokenCache) put(key digest, v *verified, cost int) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[key]; ok || cost > s.maxBytes {
		return
	}
	for s.used == len(s.queue) || s.bytes+cost > s.maxBytes {
		oldest := s.queue[s.head]
		delete(s.entries, oldest.key)
		s.head, s.used, s.bytes = (s.head+1)%len(s.queue), s.used-1, s.bytes-oldest.cost
	}
	s.queue[(s.head+s.used)%len(s.queue)] = tokenSlot{key, cost}
	s.used, s.bytes = s.used+1, s.bytes+cost
	s.entries[key] = v
}

// size is how many tokens are remembered, and their cost in bytes.
func (c *tokenCache) size() (entries, bytes int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries, bytes = entries+len(s.entries), bytes+s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}

// hashBuffers are for hashing without an allocation.
var hashBuffers = sync.Pool{New: func() any { return new([2*sha256.Size + jose.MaxToken]byte) }}

// tokenKey is over what decides about a token: the credential's configuration, the keys
// in force, and the token itself. The first two have a fixed length.
func tokenKey(config, generation digest, raw string) digest {
	buf := hashBuffers.Get().(*[2*sha256.Size + jose.MaxToken]byte)
	copy(buf[:], config[:])
	copy(buf[sha256.Size:], generation[:])
	n := copy(buf[2*sha256.Size:], raw)
	d := sha256.Sum256(buf[:2*sha256.Size+n])
	hashBuffers.Put(buf)
	return d
}
