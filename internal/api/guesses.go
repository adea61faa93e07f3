package api

import (
	"sync"
	"time"
)

const (
	// maxGuesses is how many checks, within guessWindow, may be about callers that are not
	// recognised: a check answers whether a password is right, and nobody is to try many.
	maxGuesses  = 20
	guessWindow = time.Minute
	// maxGuessing bounds the table of who has made such checks.
	maxGuessing = 4096
)

// guesses count, for each principal, checks of callers that were not recognised. Those under
// way count too until they are over, so that asking for many at once gains nothing, and at
// most as many are there that wait for a password to be hashed.
type guesses struct {
	mu    sync.Mutex
	table map[string]*guessing
}

type guessing struct {
	since          time.Time
	count, pending int
}

// begin asks for leave to check. It is given back by over, which tells whether the caller
// was not recognised. Without leave, wait is how long there is none.
func (g *guesses) begin(who string, now time.Time) (over func(guessed bool), wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.table[who]
	if x == nil {
		if len(g.table) >= maxGuessing && !g.forget(now) {
			return nil, guessWindow
		}
		x = &guessing{since: now}
		g.table[who] = x
	}
	if now.Sub(x.since) >= guessWindow {
		x.since, x.count = now, 0
	}
	if x.count+x.pending >= maxGuesses {
		return nil, max(time.Second, x.since.Add(guessWindow).Sub(now))
	}
	x.pending++
	return func(guessed bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		x.pending--
		if guessed {
			x.count++
		}
		if x.count == 0 && x.pending == 0 {
			delete(g.table, who)
		}
	}, 0
}

// forget makes room for one more; false if there is none.
func (g *guesses) forget(now time.Time) bool {
	for who, x := range g.table {
		if x.pending == 0 && now.Sub(x.since) >= guessWindow {
			delete(g.table, who)
		}
	}
	return len(g.table) < maxGuessing
}
