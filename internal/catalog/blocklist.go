package catalog

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

// revocations are a tenant's blocklist, prepared for look-up.
type revocations struct {
	ids, subjects, issuers hashed[string, []revocation]
}

type revocation struct {
	id             uuid.UUID
	before, expire time.Time
}

// index is where an entry of the blocklist belongs.
func (r *revocations) index(b *store.Block) (*hashed[string, []revocation], string) {
	switch {
	case b.TokenID != "":
		return &r.ids, b.TokenID
	case b.Subject != "":
		return &r.subjects, b.Subject
	}
	return &r.issuers, b.Issuer
}

// others is how many entries are about the same as one with this id.
func (r *revocations) others(b *store.Block, id uuid.UUID) (n int) {
	in, key := r.index(b)
	list, _ := in.get(key)
	for _, x := range list {
		if x.id != id {
			n++
		}
	}
	return n
}

func (r *revocations) add(b *store.Block, id uuid.UUID) {
	r.remove(b, id)
	in, key := r.index(b)
	list, _ := in.get(key)
	in.set(key, append(slices.Clip(list), revocation{id, b.Before, b.ExpiresAt}), textHasher)
}

func (r *revocations) remove(b *store.Block, id uuid.UUID) {
	in, key := r.index(b)
	list, ok := in.get(key)
	if !ok {
		return
	}
	list = slices.DeleteFunc(slices.Clone(list), func(x revocation) bool { return x.id == id })
	if len(list) == 0 {
		in.remove(key)
		return
	}
	in.set(key, list, textHasher)
}

func inForce(list []revocation, issued, now time.Time) bool {
	return slices.ContainsFunc(list, func(x revocation) bool {
		return (x.expire.IsZero() || now.Before(x.expire)) &&
			(x.before.IsZero() || issued.IsZero() || issued.Before(x.before))
	})
}

func (r *revocations) revoked(issuer, subject, tokenID string, issued, now time.Time) bool {
	for _, x := range []struct {
		in  *hashed[string, []revocation]
		key string
	}{{&r.ids, tokenID}, {&r.subjects, subject}, {&r.issuers, issuer}} {
		if x.in.m == nil || x.in.m.Len() == 0 || x.key == "" {
			continue
		}
		if list, ok := x.in.get(x.key); ok && inForce(list, issued, now) {
			return true
		}
	}
	return false
}

// Blocklist is a client's blocklist; it implements verify.Blocklist.
type Blocklist struct {
	records func() (*Records, error)
	client  string
}

// Revoked implements verify.Blocklist. While a list that there should be cannot be read,
// every token is taken for revoked.
func (b *Blocklist) Revoked(issuer, subject, tokenID string, issued time.Time) bool {
	r, err := b.records()
	if r == nil || err != nil {
		return err != nil
	}
	t, ok := r.view.Load().tenants.get(b.client)
	return ok && t.revoked.revoked(issuer, subject, tokenID, issued, r.now())
}
