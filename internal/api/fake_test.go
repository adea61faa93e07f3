package api_test

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// fake is a catalogue in memory: names, versions and use are as in the real one, and nothing
// else is checked.
type fake struct {
	memory *storetest.Mem
	store  *store.Store

	mu      sync.Mutex
	next    int
	ids     int
	records map[string]map[string]any // by bucket and id
	log     []audit.Entry
	head    audit.Head
	err     error                  // of the next changes
	before  func()                 // called before a change, outside of the lock
	health  catalog.Health         // what Health says beside counts
	ended   []url.Values           // queries of consents
	endErr  error                  // of EndConsent
	report  func(*http.Request)    // sees what Check was asked
	panics  bool                   // in Check
	lastUse map[string]time.Time   // by id
	refused func(record any) error // of Put
}

func newFake(t testing.TB) *fake {
	t.Helper()
	key, err := store.ParseKey("MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=")
	if err != nil {
		t.Fatal(err)
	}
	memory := storetest.Memory()
	s, err := store.Open(t.Context(), store.Options{Backend: memory, Keys: []store.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{memory: memory, store: s, records: map[string]map[string]any{}, lastUse: map[string]time.Time{}}
	for _, bucket := range []string{store.Clients, store.Credentials, store.Targets, store.Proxies, store.Blocked} {
		f.records[bucket] = map[string]any{}
	}
	f.health = catalog.Health{Open: true, Writable: true}
	for _, id := range []string{store.DefaultClient, "acme", "globex"} {
		f.records[store.Clients][id] = &store.Client{Head: store.Head{ID: id, Client: id, Version: 1}, Name: id}
	}
	return f
}

func headOf(record any) *store.Head {
	switch r := record.(type) {
	case *store.Client:
		return &r.Head
	case *store.Credential:
		return &r.Head
	case *store.Target:
		return &r.Head
	case *store.Proxy:
		return &r.Head
	case *store.Block:
		return &r.Head
	}
	panic("no record")
}

func bucketOf(record any) (bucket, name string) {
	switch r := record.(type) {
	case *store.Client:
		return store.Clients, r.Name
	case *store.Credential:
		return store.Credentials, r.Name
	case *store.Target:
		return store.Targets, r.Name
	case *store.Proxy:
		return store.Proxies, r.Name
	}
	return store.Blocked, ""
}

func copied(record any) any {
	switch r := record.(type) {
	case *store.Client:
		same := *r
		return &same
	case *store.Credential:
		same := *r
		same.Rules = slices.Clone(r.Rules)
		return &same
	case *store.Target:
		same := *r
		same.Rules = slices.Clone(r.Rules)
		return &same
	case *store.Proxy:
		same := *r
		same.Rules = slices.Clone(r.Rules)
		same.CredentialIDs = slices.Clone(r.CredentialIDs)
		return &same
	}
	same := *record.(*store.Block)
	return &same
}

func lookUp[R any](f *fake, bucket, client, id string) (*R, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok := f.records[bucket][id]
	for _, r := range f.records[bucket] {
		if _, name := bucketOf(r); !ok && name == id && headOf(r).Client == client {
			found, ok = r, true
		}
	}
	if !ok || bucket != store.Clients && headOf(found).Client != client {
		return nil, store.ErrNotFound
	}
	return copied(found).(*R), nil
}

func list[R any](f *fake, bucket, client string, q catalog.Query, fits func(*R) bool) (found []*R, next string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.records[bucket])) {
		r := f.records[bucket][id]
		_, name := bucketOf(r)
		if client != "" && headOf(r).Client != client || id <= q.After || q.Name != "" && q.Name != name || !fits(r.(*R)) {
			continue
		}
		if len(found) == q.Limit {
			return found, headOf(found[len(found)-1]).ID, nil
		}
		found = append(found, copied(r).(*R))
	}
	return found, "", nil
}

func any1[R any](*R) bool { return true }

func (f *fake) Clients(_ context.Context, q catalog.Query) ([]*store.Client, string, error) {
	return list(f, store.Clients, "", q, any1[store.Client])
}
func (f *fake) Client(_ context.Context, id string) (*store.Client, error) {
	return lookUp[store.Client](f, store.Clients, id, id)
}
func (f *fake) Credentials(_ context.Context, client string, q catalog.Query) ([]*store.Credential, string, error) {
	return list(f, store.Credentials, client, q, func(r *store.Credential) bool {
		return (q.Side == "" || q.Side == r.Side) && (q.AuthType == "" || q.AuthType == r.AuthType) && (q.Temporary || !r.Temporary)
	})
}
func (f *fake) Credential(_ context.Context, client, id string) (*store.Credential, error) {
	return lookUp[store.Credential](f, store.Credentials, client, id)
}
func (f *fake) Targets(_ context.Context, client string, q catalog.Query) ([]*store.Target, string, error) {
	return list(f, store.Targets, client, q, any1[store.Target])
}
func (f *fake) Target(_ context.Context, client, id string) (*store.Target, error) {
	return lookUp[store.Target](f, store.Targets, client, id)
}
func (f *fake) Proxies(_ context.Context, client string, q catalog.Query) ([]*store.Proxy, string, error) {
	return list(f, store.Proxies, client, q, any1[store.Proxy])
}
func (f *fake) Proxy(_ context.Context, client, id string) (*store.Proxy, error) {
	return lookUp[store.Proxy](f, store.Proxies, client, id)
}
func (f *fake) Blocks(_ context.Context, client string, q catalog.Query) ([]*store.Block, string, error) {
	return list(f, store.Blocked, client, q, any1[store.Block])
}
func (f *fake) Block(_ context.Context, client, id string) (*store.Block, error) {
	return lookUp[store.Block](f, store.Blocked, client, id)
}
func (f *fake) LastUsed(_, id string) time.Time { return f.lastUse[id] }
func (f *fake) Store() *store.Store             { return f.store }

func (f *fake) Test(_ context.Context, client, id string) (catalog.TestResult, error) {
	if _, err := f.Proxy(context.Background(), client, id); err != nil {
		return catalog.TestResult{}, err
	}
	return catalog.TestResult{Status: 204, Duration: 87 * time.Millisecond, Upstream: "https://api.stripe.com:443"}, nil
}

func (f *fake) Check(_ context.Context, client, id string, r *http.Request) (exchange.Report, error) {
	if f.panics {
		panic("a value with CANARY-panic in it")
	}
	if _, err := lookUp[store.Proxy](f, store.Proxies, client, id); err != nil {
		return exchange.Report{}, err
	}
	if f.report != nil {
		f.report(r)
	}
	return exchange.Report{Decision: exchange.CodeDenied, Status: 403, Credential: "agent", Steps: []exchange.Step{{Scope: "proxy", What: "rule", Result: "denies"}}}, nil
}

func (f *fake) BeginConsent(_ context.Context, _ audit.Actor, _, id, redirect string) (string, error) {
	return "https://login.example/authorize?state=s&redirect_uri=" + url.QueryEscape(redirect), nil
}

func (f *fake) EndConsent(_ context.Context, query url.Values) (client, id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = append(f.ended, query)
	return "default", "x", f.endErr
}

func (f *fake) Audit(_ context.Context, after uint64) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		f.mu.Lock()
		entries := slices.Clone(f.log)
		f.mu.Unlock()
		for _, e := range entries {
			if e.Seq > after && !yield(e, nil) {
				return
			}
		}
	}
}

func (f *fake) AuditHead() (uint64, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head.Seq, f.head.Hash, nil
}

func (f *fake) Health(context.Context) catalog.Health {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.health
	h.Clients, h.Credentials = len(f.records[store.Clients]), len(f.records[store.Credentials])
	return h
}

// fakeTx is a change of a fake.
type fakeTx struct {
	f       *fake
	who     audit.Actor
	staged  map[string]map[string]any // nil: deleted
	entries []audit.Entry
	keeps   []store.Put
}

func (f *fake) Change(ctx context.Context, who audit.Actor, run func(api.Tx) error) error {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for range 2 { // twice, as it may be
		tx := &fakeTx{f: f, who: who, staged: map[string]map[string]any{}}
		if err := run(tx); err != nil {
			return err
		}
		f.next++
		if f.next%2 == 0 {
			return f.commit(ctx, tx)
		}
	}
	panic("not reached")
}

func (f *fake) commit(ctx context.Context, tx *fakeTx) error {
	if len(tx.keeps) > 0 {
		if _, err := f.store.Apply(ctx, tx.keeps...); err != nil {
			return err
		}
	}
	for bucket, records := range tx.staged {
		for id, r := range records {
			if r == nil {
				delete(f.records[bucket], id)
			} else {
				f.records[bucket][id] = r
			}
		}
	}
	for _, e := range tx.entries {
		f.head = f.head.Append(&e)
		f.log = append(f.log, e)
	}
	return nil
}

func (tx *fakeTx) stage(bucket, id string, r any) {
	if tx.staged[bucket] == nil {
		tx.staged[bucket] = map[string]any{}
	}
	tx.staged[bucket][id] = r
}

// at is a record as the change sees it.
func (tx *fakeTx) at(bucket, id string) any {
	if r, ok := tx.staged[bucket][id]; ok {
		return r
	}
	return tx.f.records[bucket][id]
}

func atTx[R any](tx *fakeTx, bucket, client, id string) (*R, error) {
	r := tx.at(bucket, id)
	for _, other := range tx.f.records[bucket] {
		if _, name := bucketOf(other); r == nil && name == id && headOf(other).Client == client {
			r = other
		}
	}
	if r == nil || bucket != store.Clients && headOf(r).Client != client {
		return nil, store.ErrNotFound
	}
	return copied(r).(*R), nil
}

func (tx *fakeTx) Client(id string) (*store.Client, error) {
	return atTx[store.Client](tx, store.Clients, id, id)
}
func (tx *fakeTx) Credential(client, id string) (*store.Credential, error) {
	return atTx[store.Credential](tx, store.Credentials, client, id)
}
func (tx *fakeTx) Target(client, id string) (*store.Target, error) {
	return atTx[store.Target](tx, store.Targets, client, id)
}
func (tx *fakeTx) Proxy(client, id string) (*store.Proxy, error) {
	return atTx[store.Proxy](tx, store.Proxies, client, id)
}
func (tx *fakeTx) Block(client, id string) (*store.Block, error) {
	return atTx[store.Block](tx, store.Blocked, client, id)
}

func (tx *fakeTx) Put(action string, record any, fields ...string) error {
	f := tx.f
	bucket, name := bucketOf(record)
	head := headOf(record)
	if f.refused != nil {
		if err := f.refused(record); err != nil {
			return err
		}
	}
	if head.ID == "" {
		f.ids++
		head.ID = fmt.Sprintf("0199d3a0-0000-7000-8000-%012d", f.ids)
	}
	if bucket == store.Clients {
		head.Client = head.ID
	} else if tx.at(store.Clients, head.Client) == nil {
		return store.ErrNotFound
	}
	var version uint64
	if old := tx.at(bucket, head.ID); old != nil {
		version = headOf(old).Version
	}
	if bucket == store.Clients && head.Version == 0 && version > 0 {
		return &catalog.Conflict{Detail: "there is such a client"}
	}
	if head.Version != version {
		return store.ErrConflict
	}
	for id, r := range f.records[bucket] {
		if _, other := bucketOf(r); name != "" && other == name && id != head.ID && headOf(r).Client == head.Client {
			return &catalog.Conflict{Detail: "the name is taken", Users: []catalog.Ref{{Kind: bucket, ID: id, Name: name}}}
		}
	}
	head.Version++
	head.UpdatedAt = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	if head.CreatedAt.IsZero() {
		head.CreatedAt = head.UpdatedAt
	}
	tx.stage(bucket, head.ID, copied(record))
	tx.note(action, bucket, head.ID, head.Client, name, fields)
	return nil
}

func (tx *fakeTx) Delete(record any, force bool) error {
	bucket, name := bucketOf(record)
	head := headOf(record)
	old := tx.at(bucket, head.ID)
	if old == nil || headOf(old).Version != head.Version {
		return store.ErrConflict
	}
	var users []catalog.Ref
	for id, r := range tx.f.records[store.Proxies] {
		p := r.(*store.Proxy)
		if bucket != store.Proxies && (slices.Contains(p.CredentialIDs, head.ID) || p.TargetID == head.ID || p.TargetCredentialID == head.ID || p.Client == head.ID) {
			users = append(users, catalog.Ref{Kind: store.Proxies, ID: id, Name: p.Name})
		}
	}
	switch {
	case bucket == store.Clients && head.ID == store.DefaultClient:
		return &catalog.Conflict{Detail: "the client default always exists"}
	case len(users) > 0 && !force:
		slices.SortFunc(users, func(a, b catalog.Ref) int { return cmp.Compare(a.ID, b.ID) })
		return &catalog.Conflict{Detail: "it is in use", Users: users}
	}
	tx.stage(bucket, head.ID, nil)
	tx.note("delete", bucket, head.ID, head.Client, name, nil)
	return nil
}

func (tx *fakeTx) Keep(bucket, key string, expect, version uint64, value any) {
	tx.keeps = append(tx.keeps, store.Put{Bucket: bucket, Key: key, Expect: expect, Version: version, Value: value})
}

func (tx *fakeTx) Note(action, resource, id, client, name string, fields ...string) {
	tx.note(action, resource, id, client, name, fields)
}

func (tx *fakeTx) note(action, resource, id, client, name string, fields []string) {
	tx.entries = append(tx.entries, audit.Entry{
		Time: time.Date(2027, 1, 31, 12, len(tx.f.log)%60, 0, 0, time.UTC), Actor: tx.who,
		Action: action, Resource: resource, ID: id, Client: client, Name: name, Fields: fields,
	})
}

// snapshot returns what puts the records back as they are now.
func (f *fake) snapshot() (restore func()) {
	kept := map[string]map[string]any{}
	for bucket, records := range f.records {
		kept[bucket] = map[string]any{}
		for id, r := range records {
			kept[bucket][id] = copied(r)
		}
	}
	return func() {
		f.log, f.head = nil, audit.Head{}
		for bucket, records := range kept {
			clear(f.records[bucket])
			for id, r := range records {
				f.records[bucket][id] = copied(r)
			}
		}
	}
}
