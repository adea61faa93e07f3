package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// Query says which records of a list are wanted.
type Query struct {
	// Limit is how many at most; 0 is maxPage.
	Limit int
	// After is the id of the last record of the page before; empty to begin.
	After string
	// Name, Side and AuthType have to be the record's, if they are not empty. Side and
	// AuthType are for credentials.
	Name, Side, AuthType string
	// Temporary includes credentials that nobody has consented to yet.
	Temporary bool
}

// maxPage is how many records a page has at most.
const maxPage = 1000

func (q Query) limit() int {
	if q.Limit <= 0 || q.Limit > maxPage {
		return maxPage
	}
	return q.Limit
}

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
	if id, ok := t.names.get(keyOfName(bucket, text)); ok {
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
	return find(ctx, c, store.Credentials, client, text, func(d *declaredThing) *store.Credential {
		for _, x := range c.declared.Credentials {
			if x.Record.Name == d.name {
				same := *x.Record
				return &same
			}
		}
		return nil
	}, credentialHead)
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

// Clients returns the clients in the order of their ids.
func (c *Catalog) Clients(ctx context.Context, q Query) (list []*store.Client, next string, err error) {
	r, err := c.open()
	if err != nil {
		return nil, "", err
	}
	order := r.view.Load().order
	i, found := slices.BinarySearch(order, q.After)
	if found {
		i++
	}
	for ; i < len(order); i++ {
		if len(list) == q.limit() {
			return list, list[len(list)-1].ID, nil
		}
		rec, err := c.Client(ctx, order[i])
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if q.Name == "" || q.Name == rec.Name {
			list = append(list, rec)
		}
	}
	return list, "", nil
}

// page collects what fits: first what is declared, then records, in the order of ids.
func page[T any](ctx context.Context, c *Catalog, q Query, bucket, client string, declared []*T, each func(*tenant, uuid.UUID, func(uuid.UUID) bool), head func(*T) *store.Head) (list []*T, next string, err error) {
	r, err := c.open()
	if err != nil {
		return nil, "", err
	}
	v := r.view.Load()
	t, ok := v.tenants.get(client)
	if !ok {
		return nil, "", store.ErrNotFound
	}
	if q.Name != "" {
		return named(ctx, c, r, v, q, bucket, client, declared, head)
	}
	after, _ := parseID(q.After)
	_, inDeclared := c.declared.byID[after]
	if client == store.DefaultClient && (q.After == "" || inDeclared) {
		for _, d := range declared {
			if q.After == "" || head(d).ID > q.After {
				list = append(list, d)
			}
		}
		after = uuid.UUID{}
	}
	more := len(list) > q.limit()
	if more {
		list = list[:q.limit()]
	} else {
		var ids []uuid.UUID
		each(t, after, func(id uuid.UUID) bool {
			if more = len(list)+len(ids) == q.limit(); more {
				return false
			}
			ids = append(ids, id)
			return true
		})
		for _, id := range ids {
			rec, err := read(ctx, r, bucket, id, head)
			if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
				continue
			}
			if err != nil {
				return nil, "", err
			}
			list = append(list, rec)
		}
	}
	if more && len(list) > 0 {
		next = head(list[len(list)-1]).ID
	}
	return list, next, nil
}

// named is a page for one name, of which there is one at most.
func named[T any](ctx context.Context, c *Catalog, r *Records, v *view, q Query, bucket, client string, declared []*T, head func(*T) *store.Head) ([]*T, string, error) {
	t, _ := v.tenants.get(client)
	if id, ok := t.names.get(keyOfName(bucket, q.Name)); ok {
		rec, err := read(ctx, r, bucket, id, head)
		if errors.Is(err, store.ErrNotFound) {
			return nil, "", nil
		}
		return []*T{rec}, "", err
	}
	if client == store.DefaultClient {
		if _, ok := c.declared.named(bucket, q.Name); ok {
			for _, d := range declared {
				if head(d).ID == DeclaredID(bucket, q.Name) {
					return []*T{d}, "", nil
				}
			}
		}
	}
	return nil, "", nil
}

// Credentials returns a page of a client's credentials, and where the next one begins.
func (c *Catalog) Credentials(ctx context.Context, client string, q Query) ([]*store.Credential, string, error) {
	var declared []*store.Credential
	for _, d := range c.declared.Credentials {
		if (q.Side == "" || d.Record.Side == q.Side) && (q.AuthType == "" || sameKind(d.Record.AuthType, q.AuthType)) {
			same := *d.Record
			declared = append(declared, &same)
		}
	}
	return page(ctx, c, q, store.Credentials, client, declared, func(t *tenant, after uuid.UUID, yield func(uuid.UUID) bool) {
		t.credentials.after(after, func(x *credential) bool {
			fits := (q.Side == "" || x.target == (q.Side == store.TargetSide)) &&
				(q.AuthType == "" || sameKind(authTypes[x.kind], q.AuthType)) && (q.Temporary || !x.temporary)
			return !fits || yield(x.id)
		})
	}, credentialHead)
}

// Targets returns a page of a client's targets.
func (c *Catalog) Targets(ctx context.Context, client string, q Query) ([]*store.Target, string, error) {
	var declared []*store.Target
	for _, d := range c.declared.Targets {
		same := *d.Record
		declared = append(declared, &same)
	}
	return page(ctx, c, q, store.Targets, client, declared, func(t *tenant, after uuid.UUID, yield func(uuid.UUID) bool) {
		t.targets.after(after, func(x *target) bool { return yield(x.id) })
	}, targetHead)
}

// Proxies returns a page of a client's proxies.
func (c *Catalog) Proxies(ctx context.Context, client string, q Query) ([]*store.Proxy, string, error) {
	var declared []*store.Proxy
	for _, d := range c.declared.Proxies {
		same := *d.Record
		declared = append(declared, &same)
	}
	return page(ctx, c, q, store.Proxies, client, declared, func(t *tenant, after uuid.UUID, yield func(uuid.UUID) bool) {
		t.proxies.after(after, func(x *proxy) bool { return yield(x.id) })
	}, proxyHead)
}

// Blocks returns a page of a client's blocklist.
func (c *Catalog) Blocks(ctx context.Context, client string, q Query) ([]*store.Block, string, error) {
	return page(ctx, c, q, store.Blocked, client, nil, func(t *tenant, after uuid.UUID, yield func(uuid.UUID) bool) {
		t.blocks.after(after, func(x *block) bool { return yield(x.id) })
	}, blockHead)
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

// Audit returns the entries of the audit log behind a sequence number.
func (c *Catalog) Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		r, err := c.open()
		if err != nil {
			yield(audit.Entry{}, err)
			return
		}
		for item, err := range r.store.List(ctx, store.Audit, auditKey(after)) {
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
