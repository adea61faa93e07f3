package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unique"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

// headed is what the view needs of any record, as it is sealed.
type headed struct {
	store.Head
	Name               string           `json:"name"`
	Side               string           `json:"side"`
	AuthType           string           `json:"auth_type"`
	Spec               store.Secret     `json:"spec"`
	Previous           []store.Previous `json:"previous"`
	Temporary          bool             `json:"temporary"`
	Alias              string           `json:"alias"`
	CredentialIDs      []string         `json:"credential_ids"`
	TargetID           string           `json:"target_id"`
	TargetCredentialID string           `json:"target_credential_id"`
	blocked            store.Block
	traits             traits
}

// read has open fill in what is kept of a record of a bucket, and works out what does not
// need the view.
func (r *headed) read(bucket string, open func(into any) (version uint64, err error)) error {
	var into any = r
	if bucket == store.Blocked {
		into = &r.blocked
	}
	version, err := open(into)
	if bucket == store.Blocked {
		r.Head = r.blocked.Head
	}
	r.Version = version // which the record does not say
	if bucket == store.Credentials {
		r.traits = traitsOf(r.Side, r.Spec, r.Previous)
		r.Spec, r.Previous = nil, nil
	}
	return err
}

// load reads the whole store. Records are unsealed on all cores and taken over in order.
func load(ctx context.Context, s *store.Store) (*view, error) {
	d := newBulk()
	for _, bucket := range []string{store.Clients, store.Credentials, store.Targets, store.Proxies, store.Blocked} {
		for batch := range openAll(ctx, s.List(ctx, bucket, ""), openRecord(bucket)) {
			for _, o := range batch {
				if o.err != nil {
					return nil, fmt.Errorf("%s %s: %w", bucket, o.key, o.err)
				}
				if err := d.put(bucket, &o.record); err != nil {
					return nil, fmt.Errorf("%s %s: %w", bucket, o.key, err)
				}
			}
		}
	}
	if err := d.refreshHead(ctx, s); err != nil {
		return nil, err
	}
	v := d.finish()
	return v, v.loadUsed(ctx, s)
}

type opened[T any] struct {
	key    string
	record T
	err    error
}

const batchSize = 512

// openAll unseals records in batches, in parallel, and yields them in order.
func openAll[T any](ctx context.Context, list iter.Seq2[store.Sealed, error], open func(*store.Sealed, *T) error) iter.Seq[[]opened[T]] {
	return func(yield func([]opened[T]) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan chan []opened[T], 2*runtime.GOMAXPROCS(0))
		go func() {
			defer close(results)
			var batch []store.Sealed
			flush := func(last error) bool {
				result := make(chan []opened[T], 1)
				select {
				case <-ctx.Done():
					return false
				case results <- result:
				}
				go func(items []store.Sealed) { result <- openBatch(items, last, open) }(batch)
				batch = nil
				return true
			}
			for item, err := range list {
				if err != nil {
					flush(err)
					return
				}
				if batch = append(batch, item); len(batch) == batchSize && !flush(nil) {
					return
				}
			}
			flush(nil)
		}()
		for result := range results {
			if !yield(<-result) {
				return
			}
		}
	}
}

func openBatch[T any](items []store.Sealed, last error, open func(*store.Sealed, *T) error) []opened[T] {
	list := make([]opened[T], len(items), len(items)+1)
	for i := range items {
		list[i].key = items[i].Key
		list[i].err = open(&items[i], &list[i].record)
	}
	if last != nil {
		list = append(list, opened[T]{err: last})
	}
	return list
}

// openRecord unseals a record of a bucket.
func openRecord(bucket string) func(*store.Sealed, *headed) error {
	return func(item *store.Sealed, r *headed) error {
		return r.read(bucket, func(into any) (uint64, error) { return item.Version, item.Open(into) })
	}
}

// put takes over a record.
func (d *draft) put(bucket string, r *headed) error {
	if bucket == store.Clients {
		d.tenant(r.ID).version = r.Version
		return nil
	}
	id, ok := parseID(r.ID)
	if !ok {
		return errors.New("its id is not a UUID")
	}
	client := d.tenant(r.Client).id // one text for all of a client
	switch bucket {
	case store.Credentials:
		c := &credential{
			id: id, version: r.Version, tenant: unique.Make(client), kind: kindIndex(r.AuthType),
			target: r.Side == store.TargetSide, temporary: r.Temporary,
		}
		c.eager = r.traits.eager
		if old, ok := d.tenant(client).credentials.get(id); ok {
			c.used.Store(old.used.Load())
		}
		d.putCredential(c, r.Name, r.traits.keys)
	case store.Targets:
		d.putTarget(&target{id, r.Version, client}, r.Name)
	case store.Proxies:
		p := &proxy{id: id, version: r.Version, tenant: client, name: r.Name, alias: r.Alias}
		p.target, _ = parseID(r.TargetID)
		p.injected, _ = parseID(r.TargetCredentialID)
		for _, text := range r.CredentialIDs {
			if c, ok := parseID(text); ok {
				p.credentials = append(p.credentials, c)
			}
		}
		d.putProxy(p)
	case store.Blocked:
		r.blocked.Version = r.Version
		d.putBlock(&block{id, r.Version, client, r.blocked})
	}
	return nil
}

func (t *tenant) empty() bool {
	return t.credentials.len()+t.targets.len()+t.proxies.len()+t.blocks.len() == 0
}

func (v *view) loadUsed(ctx context.Context, s *store.Store) error {
	used := map[uuid.UUID]int64{}
	for batch := range openAll(ctx, s.List(ctx, store.Used, ""), func(item *store.Sealed, minute *int64) error { return item.Open(minute) }) {
		for _, o := range batch {
			if o.err != nil {
				return fmt.Errorf("%s %s: %w", store.Used, o.key, o.err)
			}
			if id, ok := parseID(o.key); ok {
				used[id] = o.record
			}
		}
	}
	if len(used) == 0 {
		return nil
	}
	for _, client := range v.order {
		t, _ := v.tenants.get(client)
		t.credentials.after(uuid.UUID{}, func(c *credential) bool {
			c.used.Store(used[c.id])
			return true
		})
	}
	return nil
}
