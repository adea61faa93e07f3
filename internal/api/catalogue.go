package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store"
)

// Catalogue is what the API needs of the catalogue; Over makes it of one. Reads return
// store.ErrNotFound for what a client does not have.
type Catalogue interface {
	Clients(ctx context.Context, q catalog.Query) ([]*store.Client, string, error)
	Client(ctx context.Context, id string) (*store.Client, error)
	Credentials(ctx context.Context, client string, q catalog.Query) ([]*store.Credential, string, error)
	Credential(ctx context.Context, client, id string) (*store.Credential, error)
	Targets(ctx context.Context, client string, q catalog.Query) ([]*store.Target, string, error)
	Target(ctx context.Context, client, id string) (*store.Target, error)
	Proxies(ctx context.Context, client string, q catalog.Query) ([]*store.Proxy, string, error)
	Proxy(ctx context.Context, client, id string) (*store.Proxy, error)
	Blocks(ctx context.Context, client string, q catalog.Query) ([]*store.Block, string, error)
	Block(ctx context.Context, client, id string) (*store.Block, error)
	// LastUsed is when a credential was last used, to the minute; zero: never.
	LastUsed(client, id string) time.Time

	// Change has f change records, all of them or none. f may run more than once.
	Change(ctx context.Context, who audit.Actor, f func(Tx) error) error

	Check(ctx context.Context, client, proxy string, r *http.Request) (exchange.Report, error)
	// Test tries the target of a proxy.
	Test(ctx context.Context, client, proxy string) (catalog.TestResult, error)
	BeginConsent(ctx context.Context, who audit.Actor, client, id, redirectURI string) (string, error)
	EndConsent(ctx context.Context, query url.Values) (client, id string, err error)
	Audit(ctx context.Context, after uint64) iter.Seq2[audit.Entry, error]
	// AuditHead is the number and hash of the last entry of the audit log.
	AuditHead() (seq uint64, hash string, err error)
	Health(ctx context.Context) catalog.Health
	Store() *store.Store
}

// Tx is one change, as *catalog.Tx.
type Tx interface {
	// Client, Credential, Target, Proxy and Block are records as the change finds them.
	Client(id string) (*store.Client, error)
	Credential(client, id string) (*store.Credential, error)
	Target(client, id string) (*store.Target, error)
	Proxy(client, id string) (*store.Proxy, error)
	Block(client, id string) (*store.Block, error)
	// Put makes a record that has no version, or replaces the version that it has.
	Put(action string, record any, fields ...string) error
	Delete(record any, force bool) error
	// Keep writes what is no record.
	Keep(bucket, key string, expect, version uint64, value any)
	// Note adds an entry to the audit log.
	Note(action, resource, id, client, name string, fields ...string)
}

// Over is the Catalogue of a catalogue.
func Over(c *catalog.Catalog) Catalogue { return catalogue{c} }

type catalogue struct{ *catalog.Catalog }

// Change implements Catalogue.
func (c catalogue) Change(ctx context.Context, who audit.Actor, f func(Tx) error) error {
	return c.Catalog.Change(ctx, who, func(tx *catalog.Tx) error { return f(tx) })
}
