package token

import (
	"container/list"
	"sync"
	"time"
)

// maxCallers bounds Callers unless it is told otherwise.
const maxCallers = 10_000

// Callers are the Sources of tokens that depend on the caller, one for each key. They are
// bounded: the one that was not used for longest goes first.
type Callers struct {
	limit int
	group *group

	mu    sync.Mutex
	byKey map[[32]byte]*list.Element
	order list.List // of *member, the latest first
}

type member struct {
	key    [32]byte
	source *Source
}

// NewCallers returns an empty set for at most limit callers; 0 means 10,000.
func NewCallers(limit int) *Callers {
	if limit <= 0 {
		limit = maxCallers
	}
	return &Callers{limit: limit, group: newGroup(), byKey: make(map[[32]byte]*list.Element)}
}

// Get returns the Source of a key, nil if there is none.
func (c *Callers) Get(key [32]byte) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*member).source
}

// Add returns the Source of a key and makes it if there is none yet. Who waits at a Source
// that has to go for it, waits on undisturbed.
func (c *Callers) Add(key [32]byte, cfg Config) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[key]; e != nil {
		c.order.MoveToFront(e)
		return e.Value.(*member).source
	}
	now := time.Now()
	for range 2 { // so that ended tokens do not stay for long
		if e := c.order.Back(); e != nil && e.Value.(*member).source.idle(now) {
			c.drop(e)
		}
	}
	if len(c.byKey) >= c.limit {
		c.drop(c.order.Back())
	}
	s := newSource(cfg, c.group)
	c.byKey[key] = c.order.PushFront(&member{key, s})
	return s
}

func (c *Callers) drop(e *list.Element) {
	m := c.order.Remove(e).(*member)
	delete(c.byKey, m.key)
	m.source.retire()
}

// idle reports whether nothing is lost with s: no token, no fetch, no failure to remember.
func (s *Source) idle(now time.Time) bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.valid(now) == nil && s.flight == nil && s.retry.waiting(now) == nil && s.state.Fetches > 0
}

// Len is the number of callers.
func (c *Callers) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byKey)
}

// Close ends what goes on in the background for all callers and waits for that.
func (c *Callers) Close() {
	c.mu.Lock()
	for e := c.order.Front(); e != nil; e = e.Next() {
		e.Value.(*member).source.retire()
	}
	c.mu.Unlock()
	c.group.close()
}
