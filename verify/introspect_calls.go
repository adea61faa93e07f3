package verify

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The bounds of one endpoint's calls: how many are made at once, of which one address gets
// half, and how many tokens wait for their turn or their answer.
const (
	maxIntrospections = 64
	maxQuestions      = 1024
)

// introspections are the calls of one endpoint that are under way. Who asks about the same
// token waits for the same answer.
type introspections struct {
	mu     sync.Mutex
	calls  map[digest]*introspection
	slots  chan struct{}
	shares map[string]*share // by client address
}

// share is what one address has of the calls.
type share struct {
	slots     chan struct{}
	questions int
}

type introspection struct {
	done   chan struct{}
	answer *answer
	err    error
}

func newIntrospections() *introspections {
	return &introspections{calls: make(map[digest]*introspection), slots: make(chan struct{}, maxIntrospections), shares: make(map[string]*share)}
}

var errIntrospectionsBusy = &introspectError{reason: errors.New("too many tokens are waiting for the endpoint"), after: time.Second}

// do returns the answer to one question, asked by call if nobody has asked it yet and
// it is allowed; by is the caller's address. The call has its own context, which ends after timeout at the latest;
// each who waits may leave earlier.
func (c *introspections) do(ctx context.Context, key digest, by string, timeout time.Duration, allowed func() bool, call func(context.Context) (*answer, error)) (*answer, error) {
	q, err := c.join(key, by, timeout, allowed, call)
	if err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *introspections) join(key digest, by string, timeout time.Duration, allowed func() bool, call func(context.Context) (*answer, error)) (*introspection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.calls[key]; q != nil {
		return q, nil
	}
	if !allowed() {
		return nil, ErrCostly
	}
	own := c.shares[by]
	if own == nil {
		own = &share{slots: make(chan struct{}, maxIntrospections/2)}
	}
	// who has as many questions as there is room left for gets no more, so that nobody
	// can take all of it
	if own.questions >= maxQuestions-len(c.calls) {
		return nil, errIntrospectionsBusy
	}
	q := &introspection{done: make(chan struct{})}
	c.calls[key], c.shares[by] = q, own
	own.questions++
	go func() {
		q.answer, q.err = c.make(timeout, own, call)
		c.mu.Lock()
		delete(c.calls, key)
		if own.questions--; own.questions == 0 {
			delete(c.shares, by)
		}
		c.mu.Unlock()
		close(q.done)
	}()
	return q, nil
}

// make waits for the call's turn and makes it.
func (c *introspections) make(timeout time.Duration, own *share, call func(context.Context) (*answer, error)) (a *answer, err error) {
	defer func() {
		if p := recover(); p != nil { // outside a request it would end the process
			a, err = nil, fmt.Errorf("introspect: panic: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, slots := range []chan struct{}{own.slots, c.slots} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return nil, errIntrospectionsBusy
		}
	}
	return call(ctx)
}

// The bounds of all answers that are remembered together, and of refusals. Refusals are
// apart, so that who invents tokens cannot displace the answers about real ones.
const (
	maxAnswers     = 1 << 14
	maxAnswerBytes = 32 << 20
	maxRefusals    = 1 << 12
	refusalLife    = 10 * time.Second
)

// The answers are remembered for the whole process, so that a reload does not have every
// token asked about again. What decides is in the key: the configuration of the
// credential, the endpoint and the client, and the token.
var (
	answers  = newAnswerCache(maxAnswers, maxAnswerBytes)
	refusals = newAnswerCache(maxRefusals, maxAnswerBytes)
)

// cachedAnswer returns the answer that is remembered, nil if there is none.
func cachedAnswer(key digest, now time.Time) *answer {
	if a := answers.get(key, now); a != nil {
		return a
	}
	return refusals.get(key, now)
}

// keepAnswer remembers an answer for its life: a token that is accepted until it expires
// at the latest, a refusal for a short time.
func keepAnswer(key digest, a *answer, life time.Duration, now time.Time) {
	if a.refused != nil {
		answers.drop(key)
		refusals.put(key, a, now.Add(min(life, refusalLife)))
		return
	}
	until := now.Add(life)
	if exp := a.identity.Expires; !exp.IsZero() && exp.Before(until) {
		until = exp
	}
	refusals.drop(key)
	answers.put(key, a, until)
}

// answerCache is bounded in entries and bytes; what was put in first goes first.
type answerCache struct {
	mu                  sync.Mutex
	entries             map[digest]*list.Element
	order               list.List // of *cachedEntry, the oldest in front
	maxEntries, maxCost int
	cost                int
}

type cachedEntry struct {
	key    digest
	answer *answer
	until  time.Time
	cost   int
}

func newAnswerCache(entries, bytes int) *answerCache {
	return &answerCache{entries: make(map[digest]*list.Element), maxEntries: entries, maxCost: bytes}
}

func (c *answerCache) get(key digest, now time.Time) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.entries[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*cachedEntry)
	if !now.Before(e.until) {
		c.remove(el)
		return nil
	}
	return e.answer
}

// put remembers an answer, in place of an older one.
func (c *answerCache) put(key digest, a *answer, until time.Time) {
	// decoded, an answer takes about four times its text
	cost := 512 + 4*a.size
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.entries[key]; el != nil {
		c.remove(el)
	}
	if cost > c.maxCost {
		return
	}
	for c.order.Len() > 0 && (c.order.Len() >= c.maxEntries || c.cost+cost > c.maxCost) {
		c.remove(c.order.Front())
	}
	c.entries[key] = c.order.PushBack(&cachedEntry{key, a, until, cost})
	c.cost += cost
}

func (c *answerCache) drop(key digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.entries[key]; el != nil {
		c.remove(el)
	}
}

func (c *answerCache) remove(el *list.Element) {
	e := c.order.Remove(el).(*cachedEntry)
	c.cost -= e.cost
	delete(c.entries, e.key)
}
