package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"unique"

	"github.com/google/uuid"

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
}

// load reads the whole store. Records are unsealed on all cores and taken over in order.
func load(ctx context.Context, s *store.Store) (*view, error) {
	d := newBulk()
	for _, bucket := range []string{store.Clients, store.Credentials, store.Targets, store.Proxies, store.Blocked} {
		for batch := range openAll(ctx, bucket, s.List(ctx, bucket, "")) {
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
	if err := d.loadUsed(ctx, s); err != nil {
		return nil, err
	}
	if err := d.refreshHead(ctx, s); err != nil {
		return nil, err
	}
	return d.finish(), nil
}

// refreshHead reads where the audit log ends.
func (d *draft) refreshHead(ctx context.Context, s *store.Store) error {
	var head auditHead
	version, err := s.Get(ctx, store.Meta, auditHeadKey, &head)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the audit log's head: %w", err)
	}
	d.head = head
	d.head.version = version
	return nil
}

type opened struct {
	key    string
	record headed
	err    error
}

const batchSize = 512

// openAll unseals records in batches, in parallel, and yields them in order.
func openAll(ctx context.Context, bucket string, list iter.Seq2[store.Sealed, error]) iter.Seq[[]opened] {
	return func(yield func([]opened) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		results := make(chan chan []opened, 2*runtime.GOMAXPROCS(0))
		go func() {
			defer close(results)
			var batch []store.Sealed
			flush := func(last error) bool {
				result := make(chan []opened, 1)
				select {
				case <-ctx.Done():
					return false
				case results <- result:
				}
				go func(items []store.Sealed) { result <- openBatch(bucket, items, last) }(batch)
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

func openBatch(bucket string, items []store.Sealed, last error) []opened {
	list := make([]opened, len(items), len(items)+1)
	for i := range items {
		list[i] = openOne(bucket, &items[i])
	}
	if last != nil {
		list = append(list, opened{err: last})
	}
	return list
}

func openOne(bucket string, item *store.Sealed) opened {
	o := opened{key: item.Key}
	if bucket == store.Blocked {
		o.err = item.Open(&o.record.blocked)
		o.record.Head = o.record.blocked.Head
	} else {
		o.err = item.Open(&o.record)
	}
	o.record.Version = item.Version
	return o
}

// refresh takes over one record as it is in the store now.
func (d *draft) refresh(ctx context.Context, s *store.Store, bucket, key string) error {
	if bucket == store.Meta {
		return d.refreshHead(ctx, s)
	}
	o := opened{key: key}
	var into any = &o.record
	if bucket == store.Blocked {
		into = &o.record.blocked
	}
	version, err := s.Get(ctx, bucket, key, into)
	if errors.Is(err, store.ErrNotFound) {
		d.drop(bucket, key)
		return nil
	}
	if err != nil {
		return err
	}
	if bucket == store.Blocked {
		o.record.Head = o.record.blocked.Head
	}
	o.record.Version = version
	d.drop(bucket, key)
	return d.put(bucket, &o.record)
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
		c.eager = eager(c, r.Spec)
		if old, ok := d.tenant(client).credentials.get(id); ok {
			c.used.Store(old.used.Load())
		}
		d.putCredential(c, r.Name, keysOf(r.Side, r.Spec, r.Previous))
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
				d.unname(client, id)
				return
			}
		case store.Targets:
			if x, ok := t.targets.get(id); ok {
				d.dropTarget(x, "")
				d.unname(client, id)
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

// unname forgets whatever name an id has. It looks at all names of the client, which only
// happens for what another process has changed.
func (d *draft) unname(client string, id uuid.UUID) {
	t := d.tenant(client)
	if t.names.m == nil {
		return
	}
	for it := t.names.m.Iterator(); !it.Done(); {
		if k, v, _ := it.Next(); v == id {
			t.names.remove(k)
			return
		}
	}
}

func (t *tenant) empty() bool {
	return t.credentials.len()+t.targets.len()+t.proxies.len()+t.blocks.len() == 0
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

// eager reports whether a proxy credential is worth compiling before the first request:
// because issuers' keys are fetched then, or because it looks for callers in a place, or by
// a scheme, that a gateway has to know of for all of them.
func eager(c *credential, spec store.Secret) bool {
	if c.target {
		return false
	}
	var parts map[string]json.RawMessage
	if json.Unmarshal(spec, &parts) != nil {
		return false
	}
	var kind string
	_ = json.Unmarshal(parts["kind"], &kind)
	switch kind {
	case "key", "bearer", "jwt", "basic":
		_, from := parts["from"]
		_, prefix := parts["prefix"]
		return from || prefix
	}
	return true
}

func (d *draft) loadUsed(ctx context.Context, s *store.Store) error {
	used := map[uuid.UUID]int64{}
	for item, err := range s.List(ctx, store.Used, "") {
		if err != nil {
			return fmt.Errorf("%s: %w", store.Used, err)
		}
		var minute int64
		if err := item.Open(&minute); err != nil {
			return fmt.Errorf("%s %s: %w", store.Used, item.Key, err)
		}
		if id, ok := parseID(item.Key); ok {
			used[id] = minute
		}
	}
	for _, t := range d.owned {
		for id, minute := range used {
			if c, ok := t.credentials.get(id); ok {
				c.used.Store(minute)
			}
		}
	}
	return nil
}
