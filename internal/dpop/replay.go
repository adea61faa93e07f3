package dpop

import (
	"errors"
	"sync"
	"time"
)

// Replay remembers which proofs were used.
type Replay interface {
	// Use records the proof that key stands for, until it would be too old anyway, and
	// reports whether that is its first use. Of several calls at once for one key, one is
	// told so. by is whom the room is counted to. What cannot be decided is an error,
	// never fresh.
	Use(by, key [32]byte, until time.Time) (fresh bool, err error)
}

// window is the longest time, in seconds, for which a proof can be accepted from now on.
const window = int64((maxAgeLimit + leewayLimit) / time.Second)

// none ends a list of slots.
const none = int32(-1)

// half is the first half of a digest, for half the memory. To find two that are alike
// takes 2^64 tries, and who does has used up a proof of his own.
type half [16]byte

// slot is one proof, in the list of those that end in the same second.
type slot struct {
	key, by half
	next    int32
}

// MemoryReplay is a Replay in the process's memory, which is bounded (at most 160 bytes for
// each proof) and allocated as it is needed. Proofs are forgotten by later calls: there is
// no goroutine to stop.
//
// When it is full, new proofs are refused; to forget others early would let them be used
// again. So that nobody can bring that about for all, who holds as much as is still free
// gets no more: one alone gets half of the store, each of nine a tenth, and something is
// left for the next.
type MemoryReplay struct {
	now   func() time.Time
	limit int

	mu    sync.Mutex
	seen  map[half]struct{}
	held  map[half]int
	slots []slot
	free  int32 // a list of slots
	// ending are lists of slots, by the second in which they end.
	ending [window + 1]int32
	// forgotten is the last second whose proofs are gone; it never goes back a little: a
	// clock that does must not make room for those proofs again.
	forgotten int64
	// reach is how far ahead, in seconds, proofs have ended at most when they were used.
	reach int64
}

// mostSlots is what a store can hold at most, two gigabytes and more.
const mostSlots = 1 << 24

// NewReplay makes a store for so many proofs; 0 is DefaultReplayMax, as nil is time.Now.
func NewReplay(limit int, now func() time.Time) *MemoryReplay {
	if limit <= 0 {
		limit = DefaultReplayMax
	}
	if now == nil {
		now = time.Now
	}
	m := &MemoryReplay{now: now, limit: min(limit, mostSlots), seen: make(map[half]struct{}), held: make(map[half]int)}
	m.clear(now().Unix() - 1)
	return m
}

// Use implements Replay.
func (m *MemoryReplay) Use(by, key [32]byte, until time.Time) (fresh bool, err error) {
	end := until.Unix() // forgotten when that second is over
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now().Unix() // under the lock, so that it is in the order of the calls
	m.forget(now)
	if end <= m.forgotten { // it may have been there
		return false, nil
	}
	if end-now > window {
		return false, errors.New("a DPoP proof that would have to be remembered for too long")
	}
	m.reach = max(m.reach, end-now)
	k, b := half(key[:16]), half(by[:16])
	if _, used := m.seen[k]; used {
		return false, nil
	}
	if m.held[b] >= m.limit-len(m.seen) {
		return false, ErrReplayFull
	}
	m.seen[k] = struct{}{}
	m.held[b]++
	list := &m.ending[end%int64(len(m.ending))]
	*list = m.take(slot{k, b, *list})
	return true, nil
}

// take returns a free slot's number, filled in.
func (m *MemoryReplay) take(s slot) int32 {
	if m.free == none {
		m.slots = append(m.slots, s)
		return int32(len(m.slots) - 1)
	}
	i := m.free
	m.free = m.slots[i].next
	m.slots[i] = s
	return i
}

// forget drops what has ended before now.
func (m *MemoryReplay) forget(now int64) {
	switch {
	case m.forgotten > now+m.reach:
		// The clock was wrong before or is now. Whatever has been used could be accepted
		// again; none of it ends later than this.
		m.clear(now + m.reach)
	case now-1-m.forgotten > window:
		m.clear(now - 1)
	default:
		for ; m.forgotten < now-1; m.forgotten++ {
			m.drop(m.forgotten + 1)
		}
	}
}

func (m *MemoryReplay) drop(second int64) {
	list := &m.ending[second%int64(len(m.ending))]
	for *list != none {
		i := *list
		s := &m.slots[i]
		delete(m.seen, s.key)
		if m.held[s.by]--; m.held[s.by] == 0 {
			delete(m.held, s.by)
		}
		*list, s.next, m.free = s.next, m.free, i
	}
}

func (m *MemoryReplay) clear(forgotten int64) {
	clear(m.seen)
	clear(m.held)
	m.slots, m.free = m.slots[:0], none
	for i := range m.ending {
		m.ending[i] = none
	}
	m.forgotten = forgotten
}
