package token

import (
	"context"
	"sync"
)

// group are the goroutines of one Source, or of all Sources of one Callers.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup
}

func newGroup() *group {
	g := new(group)
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	return g
}

// run has f done in a goroutine, unless the group is closed.
func (g *group) run(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.work.Go(f)
	return true
}

// close ends all work and waits for that.
func (g *group) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel(errClosed)
	g.work.Wait()
}
