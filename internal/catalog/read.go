package catalog

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

// resolve finds the id that a text stands for within a client: an id, or else a name, of a
// record or of what the configuration declares.
func (c *Catalog) resolve(v *view, bucket, client, text string) (uuid.UUID, error) {
	t, ok := v.tenants.get(client)
	if !ok {
		return uuid.UUID{}, store.ErrNotFound
	}
	if id, ok := parseID(text); ok {
		if d, ok := c.declared.byID[id]; ok && client == store.DefaultClient && d.bucket == bucket {
			return id, nil
		}
		if t.has(bucket, id) {
			return id, nil
		}
	}
	if id, ok := t.names(bucket).get(nameKeyOf(text)); ok {
		return id, nil
	}
	if client == store.DefaultClient {
		if _, ok := c.declared.named(bucket, text); ok {
			return uuid.MustParse(DeclaredID(bucket, text)), nil
		}
	}
	return uuid.UUID{}, store.ErrNotFound
}

func (t *tenant) has(bucket string, id uuid.UUID) (ok bool) {
	switch bucket {
	case store.Credentials:
		_, ok = t.credentials.get(id)
	case store.Targets:
		_, ok = t.targets.get(id)
	case store.Proxies:
		_, ok = t.proxies.get(id)
	case store.Blocked:
		_, ok = t.blocks.get(id)
	}
	return ok
}

// find reads the record that a text stands for.
func find[T any](ctx context.Context, c *Catalog, bucket, client, text string, declared func(*declaredThing) *T, head func(*T) *store.Head) (*T, error) {
	r, err := c.open()
	if err != nil {
		return nil, err
	}
	id, err := c.resolve(r.view.Load(), bucket, client, text)
	if err != nil {
		return nil, err
	}
	if d, ok := c.declared.byID[id]; ok {
		return declared(d), nil
	}
	return read(ctx, r, bucket, id, head)
}

func read[T any](ctx context.Context, r *Records, bucket string, id uuid.UUID, head func(*T) *store.Head) (*T, error) {
	rec := new(T)
	version, err := r.store.Get(ctx, bucket, id.String(), rec)
	if err != nil {
		return nil, err
	}
	head(rec).Version = version
	return rec, nil
}

func credentialHead(r *store.Credential) *store.Head { return &r.Head }
func targetHead(r *store.Target) *store.Head         { return &r.Head }
func proxyHead(r *store.Proxy) *store.Head           { return &r.Head }
func blockHead(r *store.Block) *store.Head           { return &r.Head }

// Credential returns a credential by id or name, or store.ErrNotFound. What the configuration
// declares has no Spec.
func (c *Catalog) Credential(ctx context.Context, client, text string) (*store.Credential, error) {
	r, err := find(ctx, c, store.Credentials, client, text, func(d *declaredThing) *store.Credential {
		for _, x := range c.declared.Credentials {
			if x.Record.Name == d.name {
				same := *x.Record
				return &same
			}
		}
		return nil
	}, credentialHead)
	if err != nil {
		return nil, err
	}
	return r, c.records.Load().withBinding(ctx, r)
}

// Target returns a target by id or name, or store.ErrNotFound.
func (c *Catalog) Target(ctx context.Context, client, text string) (*store.Target, error) {
	return find(ctx, c, store.Targets, client, text, func(d *declaredThing) *store.Target {
		for _, x := range c.declared.Targets {
			if x.Record.Name == d.name {
				same := *x.Record
				return &same
			}
		}
		return nil
	}, targetHead)
}

// Proxy returns a proxy by id or name, or store.ErrNotFound.
func (c *Catalog) Proxy(ctx context.Context, client, text string) (*store.Proxy, error) {
	return find(ctx, c, store.Proxies, client, text, func(d *declaredThing) *store.Proxy {
		same := *d.proxy.Record
		return &same
	}, proxyHead)
}

// Block returns an entry of a blocklist, or store.ErrNotFound.
func (c *Catalog) Block(ctx context.Context, client, id string) (*store.Block, error) {
	return find(ctx, c, store.Blocked, client, id, func(*declaredThing) *store.Block { return nil }, blockHead)
}

// Client returns a client, or store.ErrNotFound.
func (c *Catalog) Client(ctx context.Context, id string) (*store.Client, error) {
	r, err := c.open()
	if err != nil {
		return nil, err
	}
	t, ok := r.view.Load().tenants.get(id)
	if !ok {
		return nil, store.ErrNotFound
	}
	rec := &store.Client{Head: store.Head{ID: id, Client: id}, Name: id}
	if t.version == 0 {
		return rec, nil
	}
	rec.Version, err = r.store.Get(ctx, store.Clients, id, rec)
	return rec, err
}

// LastUsed is when a credential was last used, to the minute; zero if it never was.
func (c *Catalog) LastUsed(client, id string) time.Time {
	r := c.records.Load()
	if r == nil {
		return time.Time{}
	}
	key, ok := parseID(id)
	if !ok {
		return time.Time{}
	}
	t, ok := r.view.Load().tenants.get(client)
	if !ok {
		return time.Time{}
	}
	if x, ok := t.credentials.get(key); ok {
		return x.recent()
	}
	return time.Time{}
}

// nameOf is the name of a record, or its id if it cannot be read.
func (c *Catalog) nameOf(ctx context.Context, bucket string, id uuid.UUID) string {
	var rec struct {
		Name string `json:"name"`
	}
	r := c.records.Load()
	if r == nil {
		return id.String()
	}
	if _, err := r.store.Get(ctx, bucket, id.String(), &rec); err != nil || rec.Name == "" {
		return id.String()
	}
	return rec.Name
}
