package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/store"
)

// request is one Apply that waits for the writer.
type request struct {
	writes []store.Write
	result chan result
}

type result struct {
	revision uint64
	err      error
}

// place is where a record is.
type place struct{ bucket, key string }

// What is written in one transaction, at most: it takes memory and keeps others waiting.
const (
	batchRequests = 1000
	batchBytes    = 16 << 20
	// fill is how full pages are made, of 1. Most keys are written in their order, which
	// leaves pages as full as this.
	fill = 0.9
)

// Apply implements store.Backend. A ctx that ends does not take back what the writer has
// begun: then Apply waits and returns what became of it.
func (b *backend) Apply(ctx context.Context, writes ...store.Write) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := store.CheckWrites(writes); err != nil {
		return 0, err
	}
	if len(writes) == 0 {
		return b.Revision(ctx)
	}
	if b.readOnly {
		if _, err := b.Revision(ctx); err != nil { // it is closed
			return 0, err
		}
		return 0, fmt.Errorf("%w: %s could only be opened for reading; let Caddy's user write the file, then restart", store.ErrReadOnly, b.path)
	}
	r := &request{writes, make(chan result, 1)}
	select {
	case b.requests <- r:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-b.ctx.Done():
		return 0, errClosed
	}
	done := <-r.result
	return done.revision, done.err
}

// write is the one goroutine that writes. Requests that come while it waits for the disk
// are written together next, with one wait for all of them.
func (b *backend) write() {
	for {
		select {
		case first := <-b.requests:
			b.commit(b.gather(first))
		case <-b.ctx.Done():
			return
		}
	}
}

// gather takes the requests that wait.
func (b *backend) gather(first *request) []*request {
	batch, size := []*request{first}, first.size()
	for len(batch) < batchRequests && size < batchBytes {
		select {
		case r := <-b.requests:
			batch, size = append(batch, r), size+r.size()
		default:
			return batch
		}
	}
	return batch
}

func (r *request) size() (sum int) {
	for _, w := range r.writes {
		sum += len(w.Value)
	}
	return sum
}

// commit writes requests and answers them.
func (b *backend) commit(batch []*request) {
	b.writing.Lock()
	defer b.writing.Unlock()
	results, err := b.transact(batch)
	switch {
	case err == nil:
		for i, r := range batch {
			r.result <- results[i]
		}
	case len(batch) == 1:
		batch[0].result <- result{err: err}
	default: // each on its own: one that needs much room must not fail the others
		for _, r := range batch {
			results, err := b.transact([]*request{r})
			if err != nil {
				results = []result{{err: err}}
			}
			r.result <- results[0]
		}
	}
}

// errNothing rolls a transaction back in which nothing was written.
var errNothing = errors.New("nothing to write")

// transact writes requests in one transaction, and tells the watchers. Each gets its own
// result, such as a conflict; an error is one of the disk, and nothing was written.
func (b *backend) transact(batch []*request) ([]result, error) {
	if why := b.broken.Load(); why != nil {
		return nil, *why
	}
	results := make([]result, len(batch))
	var changes []store.Change
	written := false
	number := 0
	err := guard(b.path, func() error {
		return b.current.db.Update(func(tx *bbolt.Tx) (err error) {
			number = tx.ID()
			revision := b.history.Revision()
			for i, r := range batch {
				if results[i].err = b.judge(tx, r.writes); results[i].err != nil {
					continue
				}
				told := len(changes)
				if changes, err = apply(tx, r.writes, revision+1, changes); err != nil {
					return err
				}
				if len(changes) > told {
					revision++
				}
				results[i].revision = revision
				written = true
			}
			if !written {
				return errNothing
			}
			return begin(tx, revision)
		})
	})
	if err != nil && !errors.Is(err, errNothing) {
		b.examine(err, number)
		return nil, explain(b.path, err)
	}
	if b.touched != nil {
		for i, r := range batch {
			if results[i].err != nil {
				continue
			}
			for _, w := range r.writes { // also what nobody is told of
				b.touched[place{w.Bucket, w.Key}] = true
			}
		}
	}
	b.history.Add(changes...)
	return results, nil
}

// judge compares what writes expect with what is there.
func (b *backend) judge(tx *bbolt.Tx, writes []store.Write) (err error) {
	for _, w := range writes {
		var stored []byte
		if in := bucketOf(tx, w.Bucket); in != nil {
			stored = in.Get([]byte(w.Key))
		}
		var version uint64
		if stored != nil {
			if version, err = b.version(stored); err != nil {
				return err
			}
		}
		if err = w.Judge(version); err != nil {
			return err
		}
	}
	return nil
}

// apply makes writes in a transaction and appends to the changes what watchers are told.
func apply(tx *bbolt.Tx, writes []store.Write, revision uint64, changes []store.Change) ([]store.Change, error) {
	for _, w := range writes {
		in, err := tx.CreateBucketIfNotExists([]byte(bucketPrefix + w.Bucket))
		if err != nil {
			return nil, err
		}
		in.FillPercent = fill
		c := store.Change{Revision: revision, Bucket: w.Bucket, Key: w.Key}
		if w.Value == nil {
			err = in.Delete([]byte(w.Key))
		} else {
			stored := binary.BigEndian.AppendUint64(make([]byte, 0, versionSize+len(w.Value)), w.Version)
			err = in.Put([]byte(w.Key), append(stored, w.Value...))
			c.Version = w.Version
		}
		if err != nil {
			return nil, err
		}
		if !w.Renews() {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// examine looks at the store after the transaction with a number has failed. If the file
// cannot be trusted any more then nothing more is written: it is damaged, or the failure
// came so late that what was refused can be seen, and may or may not be on the disk.
func (b *backend) examine(failure error, number int) {
	last := 0
	err := guard(b.path, func() error {
		return b.current.db.View(func(tx *bbolt.Tx) error {
			last = tx.ID()
			return nil
		})
	})
	switch {
	case errors.As(failure, new(*damage)):
		err = failure
	case err == nil && number > 0 && last >= number:
		err = fmt.Errorf("%w: %s: the disk failed in the middle of a change (%w): nothing is written until a restart; check the disk",
			store.ErrUnavailable, b.path, failure)
	}
	if err != nil && b.broken.CompareAndSwap(nil, &err) {
		b.log.Error("the store is not written any more", zap.Error(err))
	}
}
