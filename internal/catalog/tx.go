package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// Tx is one change: what it puts and deletes is written together, or not at all. It is only
// good inside the function that it is handed to.
type Tx struct {
	ctx     context.Context
	catalog *Catalog
	records *Records
	who     audit.Actor
	now     time.Time
	batch   *batch
	draft   *draft
	puts    []store.Put
	entries []audit.Entry
	own     map[string]any    // what it has put, by bucket and key
	owners  map[string]string // the client of what it has put, by key
	heads   []headBefore
	looked  lookups // what is known of the addresses of targets
	again   bool    // it has to wait for the next batch
}

// Now is the time of the change, to the millisecond.
func (tx *Tx) Now() time.Time { return tx.now }

// headBefore is a record's head before a change has put it.
type headBefore struct {
	head   *store.Head
	before store.Head
}

// undo leaves the records of a change that was not made as they were, so that it can be made
// again with them.
func undo(heads []headBefore) {
	for i := len(heads) - 1; i >= 0; i-- {
		*heads[i].head = heads[i].before
	}
}

// errAgain ends a change that has to wait for the next batch; Change runs it again.
var errAgain = errors.New("the record is being changed")

// get reads a record of a client. Records of other clients are not found.
func (tx *Tx) get(bucket, client, id string, into any, head *store.Head) error {
	if tx.batch.touches(bucket, id) {
		tx.again = true
		return errAgain
	}
	version, err := tx.records.store.Get(tx.ctx, bucket, id, into)
	if err != nil {
		return err
	}
	head.Version = version
	if head.Client != client {
		return store.ErrNotFound
	}
	return nil
}

// resolve finds the id that a text stands for: an id, or else a name.
func (tx *Tx) resolve(bucket, client, text string) (uuid.UUID, error) {
	return tx.catalog.resolve(&tx.draft.view, bucket, client, text)
}

func (tx *Tx) stored(bucket, client, text string) (string, error) {
	id, err := tx.resolve(bucket, client, text)
	if err != nil {
		return "", err
	}
	if ref, ok := tx.catalog.declared.byID[id]; ok {
		return "", conflict("%s is declared in the configuration; change it there", describe(ref))
	}
	return id.String(), nil
}

// Credential returns a credential to change it, found by id or name.
func (tx *Tx) Credential(client, text string) (*store.Credential, error) {
	id, err := tx.stored(store.Credentials, client, text)
	if err != nil {
		return nil, err
	}
	r := new(store.Credential)
	if err := tx.get(store.Credentials, client, id, r, &r.Head); err != nil {
		return r, err
	}
	return r, tx.records.withBinding(tx.ctx, r)
}

// Target returns a target to change it, found by id or name.
func (tx *Tx) Target(client, text string) (*store.Target, error) {
	id, err := tx.stored(store.Targets, client, text)
	if err != nil {
		return nil, err
	}
	r := new(store.Target)
	return r, tx.get(store.Targets, client, id, r, &r.Head)
}

// Proxy returns a proxy to change it, found by id or name.
func (tx *Tx) Proxy(client, text string) (*store.Proxy, error) {
	id, err := tx.stored(store.Proxies, client, text)
	if err != nil {
		return nil, err
	}
	r := new(store.Proxy)
	return r, tx.get(store.Proxies, client, id, r, &r.Head)
}

// Block returns an entry of the blocklist.
func (tx *Tx) Block(client, id string) (*store.Block, error) {
	r := new(store.Block)
	return r, tx.get(store.Blocked, client, id, r, &r.Head)
}

// Client returns a client to change it.
func (tx *Tx) Client(id string) (*store.Client, error) {
	t, ok := tx.draft.tenants.get(id)
	if !ok {
		return nil, store.ErrNotFound
	}
	r := &store.Client{Head: store.Head{ID: id, Client: id}, Name: id}
	if t.version == 0 {
		return r, nil
	}
	return r, tx.get(store.Clients, id, id, r, &r.Head)
}

// Put makes or replaces a record: *store.Credential, Target, Proxy, Client or Block. A record
// without an ID is made; one with an ID has to have the version that it was read with. action
// and fields are for the audit log.
func (tx *Tx) Put(action string, record any, fields ...string) error {
	switch r := record.(type) {
	case *store.Credential:
		return tx.putCredential(action, r, fields)
	case *store.Target:
		return tx.putTarget(action, r, fields)
	case *store.Proxy:
		return tx.putProxy(action, r, fields)
	case *store.Client:
		return tx.putClient(action, r, fields)
	case *store.Block:
		return tx.putBlock(action, r, fields)
	}
	return fmt.Errorf("%T is no record", record)
}

// begin gives a record its id, times and version, and returns what was there before.
func (tx *Tx) begin(bucket string, h *store.Head) (id uuid.UUID, err error) {
	tx.heads = append(tx.heads, headBefore{h, *h})
	if _, ok := tx.draft.tenants.get(h.Client); !ok {
		return id, fmt.Errorf("client %q: %w", h.Client, store.ErrNotFound)
	}
	if h.ID == "" {
		if id, err = newID(); err != nil {
			return id, err
		}
		h.ID, h.CreatedAt, h.Version = id.String(), tx.now, 0
	} else {
		var ok bool
		if id, ok = parseID(h.ID); !ok {
			return id, store.ErrNotFound
		}
		if _, ok := tx.catalog.declared.byID[id]; ok {
			return id, conflict("%s is declared in the configuration; change it there", h.ID)
		}
		if tx.batch.touches(bucket, h.ID) {
			tx.again = true
			return id, errAgain
		}
		t, _ := tx.draft.tenants.get(h.Client)
		if h.Version == 0 && !t.has(bucket, id) && tx.draft.version(bucket, h.ID) > 0 {
			return id, conflict("there is a record with the id %s", h.ID)
		}
	}
	if h.CreatedAt.IsZero() {
		h.CreatedAt = tx.now
	}
	h.UpdatedAt = tx.now
	return id, nil
}

// write has a record written.
func (tx *Tx) write(action, bucket string, h *store.Head, name string, value any, fields []string) {
	key := h.ID
	put := store.Put{Bucket: bucket, Key: key, Expect: h.Version, Version: h.Version + 1, Value: value}
	if value == nil {
		put.Version = 0
	}
	if i := slices.IndexFunc(tx.puts, func(p store.Put) bool { return p.Bucket == bucket && p.Key == key }); i >= 0 {
		put.Expect = tx.puts[i].Expect // it is changed twice, and written once
		tx.puts[i] = put
	} else {
		tx.puts = append(tx.puts, put)
	}
	tx.own[bucket+key] = value
	tx.owners[key] = h.Client
	tx.entries = append(tx.entries, audit.Entry{
		Time: tx.now, Actor: tx.who, Action: action, Resource: bucket, ID: h.ID, Client: h.Client, Name: name, Fields: fields,
	})
}

// Note adds an entry to the audit log that no record belongs to.
func (tx *Tx) Note(action, resource, id, client, name string, fields ...string) {
	tx.entries = append(tx.entries, audit.Entry{
		Time: tx.now, Actor: tx.who, Action: action, Resource: resource, ID: id, Client: client, Name: name, Fields: fields,
	})
}

// Keep writes something that is no record, such as the answer to a request. A nil value
// deletes it.
func (tx *Tx) Keep(bucket, key string, expect, version uint64, value any) {
	tx.puts = append(tx.puts, store.Put{Bucket: bucket, Key: key, Expect: expect, Version: version, Value: value})
}

// nameFree makes sure that no other record of the client has the name.
func (tx *Tx) nameFree(bucket, client, name string, id uuid.UUID) error {
	t, _ := tx.draft.tenants.get(client)
	if other, ok := t.names(bucket).get(nameKeyOf(name)); ok && other != id {
		return &Conflict{Detail: "the name is taken", Users: []Ref{{bucket, other.String(), name}}}
	}
	if client == store.DefaultClient {
		if ref, ok := tx.catalog.declared.named(bucket, name); ok {
			return conflict("the name is taken: %s is declared in the configuration", describe(ref))
		}
	}
	return nil
}

// readNow is a record of the client as it is now, with what this change has put.
func readNow[T any](tx *Tx, bucket string, id uuid.UUID) (*T, error) {
	key := id.String()
	if tx.batch.touches(bucket, key) {
		tx.again = true
		return nil, errAgain
	}
	if own, ok := tx.own[bucket+key]; ok {
		r, ok := own.(*T)
		if !ok {
			return nil, store.ErrNotFound
		}
		same := *r
		return &same, nil
	}
	r := new(T)
	_, err := tx.records.store.Get(tx.ctx, bucket, key, r)
	return r, err
}
