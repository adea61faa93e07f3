package jwks

import (
	"crypto/sha256"
	"time"
)

// maxMissing bounds how many kids are remembered as missing; the oldest makes room.
const maxMissing = 1024

// missing are kids that the issuer does not have. It remembers only digests, so that long
// kids take no more room than short ones.
type missing struct {
	until map[[16]byte]time.Time
	order [maxMissing][16]byte // a ring of what is in until
	next  int
}

func (m *missing) has(kid string, now time.Time) bool {
	return now.Before(m.until[digest(kid)])
}

func (m *missing) add(kid string, until time.Time) {
	if m.until == nil {
		m.until = make(map[[16]byte]time.Time)
	}
	d := digest(kid)
	if _, ok := m.until[d]; !ok {
		delete(m.until, m.order[m.next])
		m.order[m.next] = d
		m.next = (m.next + 1) % maxMissing
	}
	m.until[d] = until
}

func (m *missing) clear() {
	clear(m.until)
	clear(m.order[:])
}

func digest(kid string) [16]byte {
	sum := sha256.Sum256([]byte(kid))
	return [16]byte(sum[:16])
}
