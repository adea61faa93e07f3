package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// viewed reports whether the view has something of a record.
func viewed(bucket, key string) bool {
	switch bucket {
	case store.Meta:
		return key == auditHeadKey
	case store.Clients, store.Credentials, store.Targets, store.Proxies, store.Blocked:
		return true
	}
	return false
}

// refreshHead reads where the audit log ends.
func (d *draft) refreshHead(ctx context.Context, s *store.Store) error {
	var head audit.Head
	version, err := s.Get(ctx, store.Meta, auditHeadKey, &head)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the audit log's head: %w", err)
	}
	d.head = auditHead{head, version}
	return nil
}

// refresh takes over one record as it is in the store now.
func (d *draft) refresh(ctx context.Context, s *store.Store, bucket, key string) error {
	if bucket == store.Meta {
		return d.refreshHead(ctx, s)
	}
	r := new(headed)
	err := r.read(bucket, func(into any) (uint64, error) { return s.Get(ctx, bucket, key, into) })
	if errors.Is(err, store.ErrNotFound) {
		d.drop(bucket, key)
		return nil
	}
	if err != nil {
		return err
	}
	d.drop(bucket, key)
	return d.put(bucket, r)
}

// drop forgets a record. The name of one that was renamed elsewhere is found by its id.
func (d *draft) drop(bucket, key string) {
	if bucket == store.Clients {
		if t, ok := d.tenants.get(key); ok && t.empty() && key != store.DefaultClient {
			d.dropTenant(key)
		} else if ok {
			d.tenant(key).version = 0
		}
		return
	}
	id, ok := parseID(key)
	if !ok {
		return
	}
	switch bucket {
	case store.Proxies:
		if p, ok := d.proxies.get(id); ok {
			d.dropProxy(p)
		}
		return
	}
	for _, client := range d.order {
		t, _ := d.tenants.get(client)
		switch bucket {
		case store.Credentials:
			if c, ok := t.credentials.get(id); ok {
				d.dropCredential(c, "", nil)
				d.unname(client, bucket, id)
				return
			}
		case store.Targets:
			if x, ok := t.targets.get(id); ok {
				d.dropTarget(x, "")
				d.unname(client, bucket, id)
				return
			}
		case store.Blocked:
			if b, ok := t.blocks.get(id); ok {
				d.dropBlock(b)
				return
			}
		}
	}
}

// unname forgets whatever name an id has. It looks at all names in the client's bucket,
// which only happens for what another process has changed.
func (d *draft) unname(client, bucket string, id uuid.UUID) {
	names := d.tenant(client).names(bucket)
	if names.m == nil {
		return
	}
	for it := names.m.Iterator(); !it.Done(); {
		if k, v, _ := it.Next(); v == id {
			names.remove(k)
			return
		}
	}
}

// version is that of a record in the view, 0 if there is none.
func (v *view) version(bucket, key string) uint64 {
	if bucket == store.Meta {
		return v.head.version
	}
	if bucket == store.Clients {
		t, ok := v.tenants.get(key)
		if !ok {
			return 0
		}
		return t.version
	}
	id, ok := parseID(key)
	if !ok {
		return 0
	}
	if bucket == store.Proxies {
		p, ok := v.proxies.get(id)
		if !ok {
			return 0
		}
		return p.version
	}
	for _, client := range v.order {
		t, _ := v.tenants.get(client)
		switch bucket {
		case store.Credentials:
			if c, ok := t.credentials.get(id); ok {
				return c.version
			}
		case store.Targets:
			if x, ok := t.targets.get(id); ok {
				return x.version
			}
		case store.Blocked:
			if b, ok := t.blocks.get(id); ok {
				return b.version
			}
		}
	}
	return 0
}
