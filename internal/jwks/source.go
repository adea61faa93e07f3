package jwks

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// Source is an issuer's keys. It is safe for concurrent use.
type Source struct {
	cfg Config
	// send does one exchange; own says that it is with the host that the operator named.
	send  func(ctx context.Context, own bool, req *http.Request) (*fetch.Response, error)
	close func()

	// current is what requests are answered from, nil when there is nothing.
	current atomic.Pointer[held]

	ctx    context.Context // ends with Stop
	cancel context.CancelFunc
	work   sync.WaitGroup // the goroutines that Start began
	wake   chan struct{}  // tells the loop that a flight was asked for

	mu       sync.Mutex
	started  bool
	ready    chan struct{} // closed while there are keys
	flight   *flight       // the fetch that is asked for or under way, nil if none
	next     time.Time     // of the next fetch on schedule
	failures int           // fetches that failed since the last that did not
	lastErr  error         // of the last fetch, nil if it succeeded
	asked    time.Time     // when a key that is not known last led to a fetch
	missing  missing
	uri      string // the jwks_uri of the last discovery
	fetches  int
	changed  map[*func()]struct{} // the subscribers

	saved  saved  // what the storage has
	report report // what the log has; for the loop alone
}

// held is a set with the time of the fetch that got it.
type held struct {
	set *jose.Set
	// at has no monotonic reading: the time that a machine sleeps counts too.
	at time.Time
	// nameless says that no key of the set has a name, so that any may be meant.
	nameless bool
}

func newHeld(set *jose.Set, at time.Time) *held {
	named := slices.ContainsFunc(set.Keys(), func(k *jose.Key) bool { return k.ID != "" })
	return &held{set: set, at: at.Round(0), nameless: !named}
}

// New makes a Source that knows nothing and does nothing until its Start.
func New(c Config) *Source {
	client := fetch.New(c.Policy)
	s := &Source{
		cfg:     c.withDefaults(),
		close:   client.Close,
		wake:    make(chan struct{}, 1),
		ready:   make(chan struct{}),
		changed: make(map[*func()]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.send = func(ctx context.Context, own bool, req *http.Request) (*fetch.Response, error) {
		if own {
			return client.Do(ctx, req, jose.MaxSet)
		}
		return client.Untrusted().Do(ctx, req, jose.MaxSet)
	}
	return s
}

// Start begins to fetch: at once, and then on schedule. What the storage has is used
// until the first fetch is done. A second Start does nothing, nor does one after Stop.
func (s *Source) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started || s.ctx.Err() != nil {
		return
	}
	s.started = true
	s.flight = newFlight(true)
	s.work.Go(s.run)
}

// Stop ends all that Start began and waits for it. Keys that are held still answer, until
// they are too old. It is not to be called by a subscriber.
func (s *Source) Stop() {
	s.mu.Lock() // a Start is before this or finds it
	s.cancel()
	s.mu.Unlock()
	s.work.Wait()
	s.close()
}

// Set returns the keys of now, nil if there are none or only ones that are too old.
func (s *Source) Set() *jose.Set {
	if h := s.fresh(); h != nil {
		return h.set
	}
	return nil
}

func (s *Source) fresh() *held {
	h := s.current.Load()
	if h == nil || time.Since(h.at) > s.cfg.MaxStale {
		return nil
	}
	return h
}

// Subscribe has f called whenever the keys have changed or were dropped, before anybody
// who waits for them goes on. f must not wait for the Source.
func (s *Source) Subscribe(f func()) (unsubscribe func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed[&f] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.changed, &f)
	}
}

func (s *Source) notify() {
	s.mu.Lock()
	var list []func()
	for f := range s.changed {
		list = append(list, *f)
	}
	s.mu.Unlock()
	for _, f := range list {
		f()
	}
}

// Stats is what a Source is about.
type Stats struct {
	// LastSuccess is the time of the fetch that got the keys that are held; zero if there
	// are none.
	LastSuccess time.Time
	// LastError is why the last fetch failed, nil if it did not.
	LastError error
	// NextFetch is when the keys are fetched next; zero before Start.
	NextFetch time.Time
	// Keys is how many keys are held, Fetches how many fetches have ended.
	Keys, Fetches int
}

// Stats returns the Source's state.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := Stats{LastError: s.lastErr, NextFetch: s.next, Fetches: s.fetches}
	if h := s.fresh(); h != nil {
		stats.LastSuccess, stats.Keys = h.at, len(h.set.Keys())
	}
	return stats
}
