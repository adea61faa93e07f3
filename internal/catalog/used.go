package catalog

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// usedEvery is how often it is written down when credentials were last used. In memory it is
// exact to a minute; for each credential it is written once an hour at most, since there may
// be very many of them, and writing costs more than the request.
const usedEvery = time.Minute

// usedQueue are the credentials that were used since the last time that it was written.
type usedQueue struct {
	mu  sync.Mutex
	ids map[uuid.UUID]int64
}

func (q *usedQueue) add(id uuid.UUID, minute int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ids == nil {
		q.ids = map[uuid.UUID]int64{}
	}
	q.ids[id] = minute
}

func (q *usedQueue) take() map[uuid.UUID]int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := q.ids
	q.ids = nil
	return ids
}

// touch returns what notes that a credential is used. Within a minute it costs one load.
func (r *Records) touch(client string, id uuid.UUID) func(time.Time) {
	t, ok := r.view.Load().tenants.get(client)
	if !ok {
		return nil
	}
	c, ok := t.credentials.get(id)
	if !ok {
		return nil
	}
	// not all at the full hour
	offset := int64(id[15]) % 60
	return func(now time.Time) {
		minute := now.Unix() / 60
		last := c.used.Load()
		if last < minute && c.used.CompareAndSwap(last, minute) && (last+offset)/60 != (minute+offset)/60 {
			r.used.add(id, minute)
		}
	}
}

// flushUsed writes down when credentials were last used.
func (r *Records) flushUsed(ctx context.Context) error {
	var puts []store.Put
	for id, minute := range r.used.take() {
		puts = append(puts, store.Put{Bucket: store.Used, Key: id.String(), Expect: store.Any, Version: uint64(max(minute, 1)), Value: minute})
	}
	for len(puts) > 0 {
		n := min(len(puts), 1000)
		_, err := r.store.Apply(ctx, puts[:n]...)
		if r.note(err); err != nil {
			return err
		}
		puts = puts[n:]
	}
	return nil
}

// housekeep does what has to be done from time to time.
func (r *Records) housekeep(ctx context.Context) {
	t := time.NewTicker(usedEvery)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := r.flushUsed(ctx); err != nil {
			r.log.Warn("it cannot be written when credentials were last used", zap.Error(err))
		}
		if n%10 == 0 {
			if err := r.expire(ctx); err != nil {
				r.log.Warn("what is over in the store cannot be deleted", zap.Error(err))
			}
		}
	}
}

// expireAtOnce is how much of what is over is deleted at once.
const expireAtOnce = 500

// expire deletes what is over: entries of blocklists, consents that nobody came back from,
// and answers that were kept for repetitions.
func (r *Records) expire(ctx context.Context) error {
	now := r.now()
	for _, bucket := range []string{store.Consents, store.Replies} {
		var puts []store.Put
		for item, err := range r.store.List(ctx, bucket, "") {
			if err != nil {
				return err
			}
			var kept struct {
				ExpiresAt time.Time `json:"expires_at"`
			}
			if err := item.Open(&kept); err != nil {
				r.log.Warn("what is kept for a time cannot be read", zap.String("bucket", bucket), zap.String("key", item.Key), zap.Error(err))
				continue
			}
			if now.After(kept.ExpiresAt) { // without a time, too: an older version has made it
				puts = append(puts, store.Put{Bucket: bucket, Key: item.Key, Expect: item.Version})
			}
		}
		for some := range slices.Chunk(puts, expireAtOnce) {
			if _, err := r.store.Apply(ctx, some...); err != nil && !errors.Is(err, store.ErrConflict) {
				return err // what has been changed meanwhile is looked at next time
			}
		}
	}
	return r.expireBlocks(ctx, now)
}

// expireBlocks deletes entries of blocklists that are over.
func (r *Records) expireBlocks(ctx context.Context, now time.Time) error {
	who := audit.Actor{Kind: audit.System}
	return r.wait(ctx, func(b *batch, v *view) (*view, bool, error) {
		d := v.draft()
		n := 0
		for _, client := range v.order {
			t, _ := v.tenants.get(client)
			t.blocks.after(uuid.UUID{}, func(x *block) bool {
				if at := x.record.ExpiresAt; !at.IsZero() && now.After(at) && !b.touches(store.Blocked, x.id.String()) {
					b.puts = append(b.puts, store.Put{Bucket: store.Blocked, Key: x.id.String(), Expect: x.version})
					b.touched[store.Blocked+"\x00"+x.id.String()] = true
					b.entries = append(b.entries, audit.Entry{
						Time: now.UTC().Truncate(time.Millisecond), Actor: who, Action: "expire", Resource: store.Blocked,
						ID: x.id.String(), Client: client, Name: x.record.TokenID + x.record.Subject + x.record.Issuer,
					})
					d.dropBlock(x)
					n++
				}
				return n < batchSize
			})
		}
		if n == 0 {
			return nil, false, nil
		}
		return d.finish(), false, nil
	})
}
