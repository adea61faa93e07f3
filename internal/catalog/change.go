package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/store"
)

// auditHead is the end of the audit log: what the next entry follows.
type auditHead struct {
	audit.Head
	version uint64
}

const auditHeadKey = "audit"

// pending is a change that waits for its turn.
type pending struct {
	ctx  context.Context
	run  func(*batch, *view) (*view, bool, error)
	done chan error
	lost int // how often it could not be written with others, or another process was faster
}

// try runs the change. Whoever waits for it is told of a panic: it is the worker's goroutine.
func (p *pending) try(b *batch, v *view) (next *view, again bool, err error) {
	before := *b
	defer func() {
		if cause := recover(); cause != nil {
			*b = before
			next, again, err = nil, false, fmt.Errorf("a change panicked: %v", cause)
		}
	}()
	return p.run(b, v)
}

// maxLost bounds how often a change is tried again because another process was faster.
const maxLost = 8

// batchMax bounds how many changes are written at once.
const batchMax = 64

// commitTimeout bounds how long the store may take for one batch.
const commitTimeout = 30 * time.Second

// batch is what is written at once: changes of several callers, one after the other.
type batch struct {
	puts    []store.Put
	touched map[string]bool // bucket and key of what is in puts
	entries []audit.Entry
	heads   []headBefore
	changed *changed
	waiting []*pending
}

// touches reports whether the batch changes a record.
func (b *batch) touches(bucket, key string) bool { return b.touched[bucket+"\x00"+key] }

// change has f run with nobody else changing anything, writes what it has put, and puts it in
// force. Changes that come at the same time are written together. f may run twice.
func (r *Records) change(ctx context.Context, c *Catalog, who audit.Actor, looked lookups, f func(*Tx) error) error {
	run := func(b *batch, v *view) (next *view, again bool, err error) {
		var tx *Tx
		defer func() {
			if next == nil && tx != nil {
				undo(tx.heads)
			}
		}()
		tx = &Tx{ctx: ctx, catalog: c, records: r, who: who, now: r.now().UTC().Truncate(time.Millisecond), batch: b, draft: v.draft(), own: map[string]any{}, owners: map[string]string{}, looked: looked}
		if err := f(tx); err != nil || tx.again || looked.open() {
			if looked.open() { // whatever f made of it
				err = errLookUp
			}
			return nil, tx.again, err
		}
		tx.join()
		return tx.draft.finish(), false, nil
	}
	return r.wait(ctx, run)
}

// exclusively has f run with nobody changing anything.
func (r *Records) exclusively(f func() error) error {
	return r.wait(context.Background(), func(b *batch, v *view) (*view, bool, error) {
		if len(b.waiting) > 0 {
			return nil, true, nil // after what the batch has so far
		}
		return nil, false, f()
	})
}

// wait queues a change, and does the work of the queue if nobody else does.
func (r *Records) wait(ctx context.Context, run func(*batch, *view) (*view, bool, error)) error {
	p := &pending{ctx: ctx, run: run, done: make(chan error, 1)}
	r.mu.Lock()
	r.queue = append(r.queue, p)
	lead := !r.busy
	r.busy = true
	r.mu.Unlock()
	if lead { // which is nobody's turn: whoever wants a change waits for that one alone
		go func() {
			for r.work() {
			}
		}()
	}
	return <-p.done
}

// work runs and writes one batch; false if there was none.
func (r *Records) work() bool {
	r.mu.Lock()
	n := 0
	for n < min(len(r.queue), batchMax) && (n == 0 || r.queue[n].lost == 0 && r.queue[0].lost == 0) {
		n++ // what did not go together with others is made alone
	}
	taken := r.queue[:n]
	r.queue = r.queue[len(taken):]
	if len(taken) == 0 {
		r.busy = false
		r.mu.Unlock()
		return false
	}
	r.mu.Unlock()

	b := &batch{touched: map[string]bool{}, changed: newChanged()}
	base := r.view.Load()
	v := base
	var later []*pending
	for i, p := range taken {
		if err := p.ctx.Err(); err != nil {
			p.done <- err
			continue
		}
		next, again, err := p.try(b, v)
		if again {
			later = append(later, taken[i:]...)
			break
		}
		if err != nil || next == nil {
			p.done <- err
			if r.view.Load() != base { // it has put a view in force itself
				base = r.view.Load()
				v = base
			}
			continue
		}
		v = next
		b.waiting = append(b.waiting, p)
	}
	if len(b.waiting) > 0 {
		later = append(r.commit(b, v), later...)
	}
	if len(later) > 0 {
		r.mu.Lock()
		r.queue = append(later, r.queue...)
		r.mu.Unlock()
	}
	return true
}

// commit writes a batch and puts its view in force. It returns the changes that have to be
// made again, since another process has changed something at the same time.
func (r *Records) commit(b *batch, v *view) (again []*pending) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	head := v.head
	for i := range b.entries {
		e := &b.entries[i]
		head.Head = head.Append(e)
		b.puts = append(b.puts, store.Put{Bucket: store.Audit, Key: audit.Key(e.Seq), Version: 1, Value: e})
	}
	if len(b.entries) > 0 {
		head.version++
		b.puts = append(b.puts, store.Put{Bucket: store.Meta, Key: auditHeadKey, Expect: v.head.version, Version: head.version, Value: head.Head})
	}
	revision, err := r.store.Apply(ctx, b.puts...)
	r.note(err)
	if err == nil {
		r.own.add(revision)
		d := v.draft()
		d.head = head
		r.publish(d.finish(), b.changed)
	}
	if err != nil {
		undo(b.heads)
	}
	together := len(b.waiting) > 1 && (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrNotFound))
	caughtUp := errors.Is(err, store.ErrConflict) && r.catchUp(ctx, b) == nil
	for _, p := range b.waiting {
		if p.lost++; (caughtUp || together) && p.lost <= maxLost {
			again = append(again, p) // alone, so that one does not fail for another
			continue
		}
		p.done <- err
	}
	return again
}

// catchUp reads anew what a batch wanted to change.
func (r *Records) catchUp(ctx context.Context, b *batch) error {
	d, c := r.view.Load().draft(), newChanged()
	for _, p := range b.puts {
		if p.Bucket != store.Audit && viewed(p.Bucket, p.Key) {
			if err := d.refresh(ctx, r.store, p.Bucket, p.Key); err != nil {
				return err
			}
			if id, ok := parseID(p.Key); ok {
				c.add(p.Bucket, "", id)
			}
		}
	}
	r.publish(d.finish(), c)
	return nil
}

// note remembers whether the store can be written.
func (r *Records) note(err error) {
	if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrUnavailable) {
		r.failure.Store(&err)
	} else if err == nil {
		r.failure.Store(nil)
	}
}

func (r *Records) lastFailure() error {
	if err := r.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// join adds what a change has put to its batch.
func (tx *Tx) join() {
	for _, p := range tx.puts {
		tx.batch.touched[p.Bucket+"\x00"+p.Key] = true
		if id, ok := parseID(p.Key); ok {
			tx.batch.changed.add(p.Bucket, tx.owners[p.Key], id)
		}
	}
	tx.batch.puts = append(tx.batch.puts, tx.puts...)
	tx.batch.heads = append(tx.batch.heads, tx.heads...)
	tx.batch.entries = append(tx.batch.entries, tx.entries...)
}

// newID is a UUID whose order is that of time.
func newID() (uuid.UUID, error) { return uuid.NewV7() }
