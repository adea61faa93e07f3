package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/store"
)

// Records are the records of one store, prepared for requests. All configurations of the
// process share them.
type Records struct {
	store *store.Store
	log   *zap.Logger
	now   func() time.Time
	view  atomic.Pointer[view]
	used  usedQueue
	own   revisions

	mu        sync.Mutex
	queue     []*pending
	busy      bool
	followers map[*Catalog]struct{}

	failure atomic.Pointer[error] // why the last write failed; nil if it did not

	stop context.CancelFunc
	done sync.WaitGroup
}

// OpenRecords reads all records of a store. Close ends what it starts, and closes the store.
func OpenRecords(ctx context.Context, s *store.Store, log *zap.Logger) (*Records, error) {
	r := &Records{store: s, log: log, now: time.Now, followers: map[*Catalog]struct{}{}}
	revision, err := s.Backend().Revision(ctx)
	if err != nil {
		return nil, err
	}
	v, err := load(ctx, s)
	if err != nil {
		return nil, err
	}
	r.view.Store(v)
	run, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.done.Go(func() { r.follow(run, revision) })
	r.done.Go(func() { r.housekeep(run) })
	return r, nil
}

// Store is the store that the records are of.
func (r *Records) Store() *store.Store { return r.store }

// Destruct implements caddy.Destructor.
func (r *Records) Destruct() error { return r.Close() }

// Close writes what is still to be written and closes the store.
func (r *Records) Close() error {
	r.stop()
	r.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(r.flushUsed(ctx), r.store.Close())
}

// subscribe has a catalogue told of changes, until unsubscribe.
func (r *Records) subscribe(c *Catalog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.followers[c] = struct{}{}
}

func (r *Records) unsubscribe(c *Catalog) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.followers, c)
}

// follower is a catalogue that has not ended, nil if there is none.
func (r *Records) follower() *Catalog {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.followers {
		return f
	}
	return nil
}

// changed is what a change has touched.
type changed struct {
	credentials, targets, proxies map[uuid.UUID]string // the client, empty if it is not known
}

func newChanged() *changed {
	return &changed{map[uuid.UUID]string{}, map[uuid.UUID]string{}, map[uuid.UUID]string{}}
}

func (c *changed) add(bucket, client string, id uuid.UUID) {
	switch bucket {
	case store.Credentials, store.Bound:
		c.credentials[id] = client
	case store.Targets:
		c.targets[id] = client
	case store.Proxies:
		c.proxies[id] = client
	}
}

// publish puts a view in force. When it returns, no request that begins gets anything of
// what was changed, and streams of callers who lost access have ended.
func (r *Records) publish(v *view, c *changed) {
	old := r.view.Swap(v)
	for _, what := range []map[uuid.UUID]string{c.credentials, c.targets} {
		for id := range what {
			before, _ := old.users.get(id)
			after, _ := v.users.get(id)
			for _, list := range [][]uuid.UUID{before, after} {
				for _, p := range list {
					c.proxies[p] = ""
				}
			}
		}
	}
	r.mu.Lock()
	followers := make([]*Catalog, 0, len(r.followers))
	for f := range r.followers {
		followers = append(followers, f)
	}
	r.mu.Unlock()
	for _, f := range followers {
		f.forget(c)
	}
	exchange.Streams.Sweep()
}

// follow takes over what others change in the store, such as another process of a cluster.
// What this process has changed is known already.
func (r *Records) follow(ctx context.Context, after uint64) {
	for ctx.Err() == nil {
		for change, err := range r.store.Backend().Watch(ctx, after) {
			if err == nil {
				err = r.takeOver(ctx, change)
			}
			if err != nil {
				if after = r.reload(ctx, err, after); ctx.Err() != nil {
					return
				}
				break
			}
			after = change.Revision
		}
		wait(ctx, time.Second)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// reload reads everything anew if changes were missed.
func (r *Records) reload(ctx context.Context, why error, after uint64) uint64 {
	if ctx.Err() != nil {
		return after
	}
	r.log.Error("changes of the store cannot be followed; it is read anew if need be", zap.Error(why))
	if !errors.Is(why, store.ErrTrimmed) {
		return after
	}
	revision, err := r.store.Backend().Revision(ctx)
	if err != nil {
		return after
	}
	v, err := load(ctx, r.store)
	if err != nil {
		r.log.Error("the store cannot be read", zap.Error(err))
		return after
	}
	old := r.view.Load()
	c := newChanged()
	for it := old.proxies.m.Iterator(); !it.Done(); {
		id, _, _ := it.Next()
		c.proxies[id] = ""
	}
	for it := old.users.m.Iterator(); !it.Done(); {
		id, _, _ := it.Next()
		c.credentials[id], c.targets[id] = "", ""
	}
	r.publish(v, c)
	return revision
}

// takeOver brings the view up to date with one record of the store.
func (r *Records) takeOver(ctx context.Context, change store.Change) error {
	if !viewed(change.Bucket, change.Key) || r.own.has(change.Revision) || r.knows(change) {
		return nil
	}
	return r.exclusively(func() error {
		if r.knows(change) {
			return nil
		}
		d := r.view.Load().draft()
		c := newChanged()
		if err := d.refresh(ctx, r.store, change.Bucket, change.Key); err != nil {
			return fmt.Errorf("%s %s: %w", change.Bucket, change.Key, err)
		}
		if id, ok := parseID(change.Key); ok {
			c.add(change.Bucket, "", id)
		}
		r.publish(d.finish(), c)
		return nil
	})
}

// knows reports whether the view has what the change tells of, or something later.
func (r *Records) knows(change store.Change) bool {
	version := r.view.Load().version(change.Bucket, change.Key)
	return change.Version == 0 && version == 0 || change.Version > 0 && version >= change.Version
}

// revisions are the latest of the store that this process has made, whose notices tell
// nothing new.
type revisions struct {
	mu   sync.Mutex
	made map[uint64]bool
	last []uint64
}

// rememberedRevisions bounds how many.
const rememberedRevisions = 4096

func (r *revisions) add(revision uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made == nil {
		r.made = map[uint64]bool{}
	}
	r.made[revision] = true
	if r.last = append(r.last, revision); len(r.last) > rememberedRevisions {
		delete(r.made, r.last[0])
		r.last = r.last[1:]
	}
}

func (r *revisions) has(revision uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made[revision]
}
