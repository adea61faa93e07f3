package catalog

import (
	"context"
	"fmt"
	"iter"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// Audit returns the entries of the audit log behind a sequence number.
func (c *Catalog) Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		r, err := c.open()
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		for item, err := range r.store.List(ctx, store.Audit, audit.Key(after)) {
			var e audit.Entry
			if err == nil {
				err = item.Open(&e)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// AuditHead is the number and hash of the last entry of the audit log.
func (c *Catalog) AuditHead() (seq uint64, hash string, err error) {
	r, err := c.open()
	if err != nil {
		return 0, "", err
	}
	head := r.view.Load().head
	return head.Seq, head.Hash, nil
}

// Health is how the store is.
type Health struct {
	Open     bool
	Writable bool
	Err      error
	Clients, Credentials, Targets, Proxies,
	Blocked int
}

// Health tells how the store is. It writes nothing.
func (c *Catalog) Health(ctx context.Context) Health {
	r, err := c.open()
	if err != nil {
		return Health{Err: err}
	}
	v := r.view.Load()
	h := Health{Open: true, Writable: true, Clients: len(v.order)}
	if h.Err = r.lastFailure(); h.Err != nil {
		h.Writable = false
	}
	if _, err := r.store.Backend().Revision(ctx); err != nil {
		h.Err = fmt.Errorf("the store cannot be read: %w", err)
	}
	for _, client := range v.order {
		t, _ := v.tenants.get(client)
		h.Credentials += t.credentials.len()
		h.Targets += t.targets.len()
		h.Proxies += t.proxies.len()
		h.Blocked += t.blocks.len()
	}
	return h
}
