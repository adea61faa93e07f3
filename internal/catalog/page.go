package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

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
	if id, ok := t.names(bucket).get(nameKeyOf(q.Name)); ok {
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
	list, next, err := page(ctx, c, q, store.Credentials, client, declared, func(t *tenant, after uuid.UUID, yield func(uuid.UUID) bool) {
		t.credentials.after(after, func(x *credential) bool {
			fits := (q.Side == "" || x.target == (q.Side == store.TargetSide)) &&
				(q.AuthType == "" || sameKind(authTypes[x.kind], q.AuthType)) && (q.Temporary || !x.temporary)
			return !fits || yield(x.id)
		})
	}, credentialHead)
	for _, r := range list {
		if err == nil {
			err = c.records.Load().withBinding(ctx, r)
		}
	}
	return list, next, err
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
