package catalog

import (
	"crypto/sha256"
	"hash/maphash"
	"sync/atomic"
	"time"
	"unique"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

type digest = [sha256.Size]byte

// nameKey stands for a name within a client and bucket: the beginning of a hash, for room.
type nameKey [16]byte

func nameKeyOf(name string) nameKey {
	var room [160]byte // requests look names up, too
	sum := sha256.Sum256(append(room[:0], name...))
	return nameKey(sum[:16])
}

type seededHasher struct{ seed maphash.Seed }

func newTextHasher() seededHasher { return seededHasher{maphash.MakeSeed()} }

// Hash implements immutable.Hasher.
func (h seededHasher) Hash(k string) uint32 { return uint32(maphash.String(h.seed, k)) }

// Equal implements immutable.Hasher.
func (seededHasher) Equal(a, b string) bool { return a == b }

// view is all records at one time, as far as requests and checks need them: what a record
// says in full is in the store. It does not change.
type view struct {
	tenants hashed[string, *tenant]
	order   []string // ids of the tenants, sorted
	proxies hashed[uuid.UUID, *proxy]
	aliases hashed[string, uuid.UUID]
	digests hashed[digest, *credential]
	users   hashed[uuid.UUID, []uuid.UUID] // the proxies that use a credential or a target
	sample  []uuid.UUID                    // some proxies, to stand for those that do not exist
	head    auditHead
}

// tenant is a client and what it owns.
type tenant struct {
	id          string
	version     uint64 // 0: the client that exists without a record
	credentials sorted[*credential]
	targets     sorted[*target]
	proxies     sorted[*proxy]
	blocks      sorted[*block]
	named       [3]hashed[nameKey, uuid.UUID] // see names
	revoked     revocations
}

// names are the ids of what has a name in a bucket. The few proxies are apart from the many
// credentials, since requests ask for them.
func (t *tenant) names(bucket string) *hashed[nameKey, uuid.UUID] {
	switch bucket {
	case store.Proxies:
		return &t.named[0]
	case store.Targets:
		return &t.named[1]
	case store.Credentials:
		return &t.named[2]
	}
	return new(hashed[nameKey, uuid.UUID]) // nothing else has a name to be found by
}

// credential is what is remembered of a credential. It is small: there may be a million.
type credential struct {
	id        uuid.UUID
	version   uint64
	tenant    unique.Handle[string]
	used      atomic.Int64
	kind      uint8 // index in authTypes
	target    bool  // the upstream's side
	temporary bool
	eager     bool // worth compiling before the first request
}

type target struct {
	id      uuid.UUID
	version uint64
	tenant  string
}

type proxy struct {
	id               uuid.UUID
	version          uint64
	tenant, name     string
	alias            string
	credentials      []uuid.UUID
	target, injected uuid.UUID
}

type block struct {
	id      uuid.UUID
	version uint64
	tenant  string
	record  store.Block
}

// sampleSize is how many proxies stand for those that do not exist.
const sampleSize = 64

// credential finds a credential; the client may be empty if it is not known.
func (v *view) credential(client string, id uuid.UUID) *credential {
	clients := []string{client}
	if client == "" {
		clients = v.order
	}
	for _, client := range clients {
		if t, ok := v.tenants.get(client); ok {
			if c, ok := t.credentials.get(id); ok {
				return c
			}
		}
	}
	return nil
}

// byKey is the credential that a key with this digest is of, if there is one.
func (v *view) byKey(key digest) (*credential, bool) {
	c, ok := v.digests.get(key)
	if !ok {
		return nil, false
	}
	t, ok := v.tenants.get(c.tenant.Value())
	if !ok {
		return nil, false
	}
	now, ok := t.credentials.get(c.id)
	return c, ok && now == c
}

// uses are the ids of what the proxy refers to, each once.
func (p *proxy) uses() []uuid.UUID {
	return append([]uuid.UUID{p.target, p.injected}, p.credentials...)
}

// route finds the proxy that a gateway was asked for: by id, then by alias, then by the name
// of a proxy of the client default.
func (v *view) route(name string) *proxy {
	if id, ok := parseID(name); ok {
		if p, ok := v.proxies.get(id); ok {
			return p
		}
	}
	if id, ok := v.aliases.get(name); ok {
		p, _ := v.proxies.get(id)
		return p
	}
	t, ok := v.tenants.get(store.DefaultClient)
	if !ok {
		return nil
	}
	id, ok := t.names(store.Proxies).get(nameKeyOf(name))
	if !ok {
		return nil
	}
	p, _ := v.proxies.get(id)
	return p
}

// parseID reads an id in the one form that rr writes.
func parseID(s string) (uuid.UUID, bool) {
	if len(s) != 36 {
		return uuid.UUID{}, false
	}
	id, err := uuid.Parse(s)
	return id, err == nil && id.String() == s
}

// recent is the time, to the minute, that used holds; zero for never.
func (c *credential) recent() time.Time {
	if m := c.used.Load(); m > 0 {
		return time.Unix(m*60, 0).UTC()
	}
	return time.Time{}
}
