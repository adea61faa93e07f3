// Package catalog answers requests from what the store remembers. It keeps a small view of
// all records in memory, which changes as a whole with every change, and makes gates of
// records when they are first needed. It is also where changes are checked, written to the
// audit log and put in force.
package catalog

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// Options are a configuration's, as far as they concern records.
type Options struct {
	// Egress are private ranges that targets and token addresses of records may be in.
	Egress []netip.Prefix
	// Declared is what the configuration declares itself.
	Declared *Declared
	// Wanted, if not nil, opens the store if the configuration cannot do without it. Caddy
	// starts apps in any order, so requests may come before the catalogue is open; what they
	// need must not be taken for nothing then.
	Wanted func() error
}

// Catalog is the records as one configuration serves them. It implements verify.Directory.
// Before Open it knows none.
type Catalog struct {
	ctx      caddy.Context
	log      *zap.Logger
	options  Options
	declared *declared

	records atomic.Pointer[Records]
	served  sync.Map // uuid.UUID → *served

	mu       sync.Mutex
	accepts  map[uuid.UUID]*unit[*accepting]
	presents map[uuid.UUID]*unit[*presenting]
	targets  map[uuid.UUID]*unit[*reaching]
	labels   int // how many proxies have series of their own
	closed   bool
}

// New makes the catalogue of the configuration that ctx belongs to.
func New(ctx caddy.Context, log *zap.Logger, o Options) *Catalog {
	c := &Catalog{
		ctx: ctx, log: log, options: o, declared: o.Declared.index(),
		accepts:  map[uuid.UUID]*unit[*accepting]{},
		presents: map[uuid.UUID]*unit[*presenting]{},
		targets:  map[uuid.UUID]*unit[*reaching]{},
	}
	return c
}

// ErrClosed says that there is no store: it is not open, or the configuration is over.
var ErrClosed = errors.New("the store is not open")

// Open has the catalogue serve records from now on. What the configuration declares must not
// be in conflict with them. What other configurations have in use is made ready.
func (c *Catalog) Open(r *Records) error {
	if err := c.declared.against(r); err != nil {
		return err
	}
	hot := r.hot()
	r.subscribe(c)
	c.records.Store(r)
	c.warm(hot)
	return nil
}

// maxHot bounds how many proxies are made ready when a configuration begins, and how many
// credentials.
const maxHot = 10_000

// hot are the proxies that configurations in force have in use.
func (r *Records) hot() map[uuid.UUID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	hot := map[uuid.UUID]bool{}
	for f := range r.followers {
		f.served.Range(func(id, s any) bool {
			if len(hot) == maxHot {
				return false
			}
			if s.(*served).current.Load() != nil {
				hot[id.(uuid.UUID)] = true
			}
			return true
		})
	}
	return hot
}

// Close lets go of everything; the records stay.
func (c *Catalog) Close() {
	if r := c.records.Load(); r != nil {
		r.unsubscribe(c)
	}
	c.mu.Lock()
	c.closed = true
	for _, u := range c.accepts {
		u.release()
	}
	for _, u := range c.presents {
		u.release()
	}
	for _, u := range c.targets {
		u.release()
	}
	clear(c.accepts)
	clear(c.presents)
	clear(c.targets)
	c.mu.Unlock()
	c.served.Range(func(id, s any) bool {
		c.leave(id.(uuid.UUID), s.(*served))
		return true
	})
}

// over reports whether Close was called.
func (c *Catalog) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// open is the records, or ErrClosed.
func (c *Catalog) open() (*Records, error) {
	if r := c.records.Load(); r != nil {
		return r, nil
	}
	return nil, ErrClosed
}

// Records are the records beneath, nil before Open.
func (c *Catalog) Records() *Records { return c.records.Load() }

// Store is the store beneath, nil before Open.
func (c *Catalog) Store() *store.Store {
	if r := c.records.Load(); r != nil {
		return r.store
	}
	return nil
}

// serving is the records for a request; nil if the configuration does without a store.
func (c *Catalog) serving() (*Records, error) {
	if r := c.records.Load(); r != nil || c.options.Wanted == nil {
		return r, nil
	}
	err := c.options.Wanted()
	return c.records.Load(), err
}

// Blocklist is that of a client; it is empty if the configuration does without a store.
func (c *Catalog) Blocklist(client string) *Blocklist {
	return &Blocklist{c.serving, client}
}

// Change makes one change: all that f puts and deletes, or nothing. When it returns nil the
// change is durable, in the audit log, and in force: requests from now on are served as it
// says, and streams of callers who have lost access have ended. f may run several times, and
// must have no effect but through tx.
func (c *Catalog) Change(ctx context.Context, who audit.Actor, f func(tx *Tx) error) error {
	r, err := c.open()
	if err != nil {
		return err
	}
	looked := lookups{}
	for {
		err := r.change(ctx, c, who, looked, f)
		if err != nil && c.over() { // nothing can be made ready any more, whatever was said
			return ErrClosed
		}
		if !errors.Is(err, errLookUp) {
			return err
		}
		looked.all(ctx)
	}
}

// Find implements verify.Directory.
func (c *Catalog) Find(name string) (*verify.Gate, error) {
	r, err := c.serving()
	if r == nil || err != nil {
		return nil, err
	}
	p := r.view.Load().route(name)
	if p == nil {
		return nil, nil
	}
	g, err := c.gate(p.id)
	if err != nil && c.over() {
		// Caddy lets requests of an old server finish after its configuration has ended
		if next := r.follower(); next != nil {
			return next.gate(p.id)
		}
	}
	return g, err
}

// Any implements verify.Directory.
func (c *Catalog) Any(n uint64) *verify.Gate {
	r := c.records.Load()
	if r == nil {
		return nil
	}
	sample := r.view.Load().sample
	if len(sample) == 0 {
		return nil
	}
	g, err := c.gate(sample[n%uint64(len(sample))])
	if err != nil {
		return nil
	}
	return g
}

var _ verify.Directory = (*Catalog)(nil)
