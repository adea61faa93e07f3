package redact

import (
	"encoding/binary"
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// minValue is the length in bytes from which a secret is searched for; shorter ones
	// would be found by accident.
	minValue = 8
	// maxValues bounds how many secrets are searched for at once.
	maxValues = 10_000

	window    = 8  // bytes of a form that are looked at first
	sieveBits = 19 // 64 KiB
	maxStale  = 1 << 14
)

// values finds secrets in text. It does not hold them: of each form that a secret can
// take in a log (plain, escaped, encoded) it has the length and seeded hashes.
//
// A form is found by its last eight bytes. Its end tells a secret from others better than
// its beginning, which is often a common prefix. A bit set says "no" for nearly every
// place in a text; only a "maybe" takes the lock.
type values struct {
	seed maphash.Seed
	mul  uint64
	// sieve is nil while there are no values.
	sieve atomic.Pointer[sieve]

	mu    sync.RWMutex
	held  map[uint64]int    // by hash of the value: its owners
	forms map[uint64][]form // by hash of the window
	stale int               // bits in the sieve that no form needs
}

// form is one way in which a secret may be written.
type form struct {
	length int
	sum    uint64
	base64 bool // neighbours in the base64 alphabet belong to it
	guest  bool // see AddGuestSecret
}

type sieve [1 << sieveBits / 64]atomic.Uint64

func (s *sieve) add(h uint64) {
	bit := h >> (64 - sieveBits)
	s[bit/64].Or(1 << (bit % 64))
}

func (s *sieve) maybe(h uint64) bool {
	bit := h >> (64 - sieveBits)
	return s[bit/64].Load()&(1<<(bit%64)) != 0
}

func (v *values) init() {
	v.seed = maphash.MakeSeed()
	v.mul = rand.Uint64() | 1
	v.held = make(map[uint64]int)
	v.forms = make(map[uint64][]form)
}

// AddSecret has Line hide a secret, until release is called. held is false if it cannot be
// searched for: it has fewer than 8 bytes, reads as a number (which would make JSON
// invalid), or there are 10,000 already. Names still hide such a secret.
func (n *Names) AddSecret(value string) (release func(), held bool) {
	if len(value) < minValue || strings.Trim(value, "0123456789.eE+-") == "" {
		return func() {}, false
	}
	return n.values.hold(n.values.id(value), n.values.index(value, false))
}

// AddGuestSecret is AddSecret for a secret that somebody else than the operator has said,
// who must not decide what logs tell of others: held is false unless the value is
// LooksRandom, and names of fields stay.
func (n *Names) AddGuestSecret(value string) (release func(), held bool) {
	if !LooksRandom(value) {
		return func() {}, false
	}
	return n.values.hold(n.values.id("guest "+value), n.values.index(value, true))
}

const (
	minGuest = 16 // bytes of a guest's secret
	minRun   = 8  // letters and digits of it without anything between them
	longRun  = 24 // letters alone; one random text in 200 in base32 has no digit
)

// LooksRandom reports whether a text is nothing that a log has anyway: it has 16 bytes, and
// in it a run of 8 letters and digits (ASCII) with both, or of 24 letters. Keys and tokens do. Names, paths,
// hosts, addresses, times and codes consist of words and numbers with something between.
func LooksRandom(s string) bool {
	if len(s) < minGuest {
		return false
	}
	letters, digits := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c|0x20 >= 'a' && c|0x20 <= 'z':
			letters++
		default:
			letters, digits = 0, 0
		}
		if letters > 0 && digits > 0 && letters+digits >= minRun || letters >= longRun {
			return true
		}
	}
	return false
}

// hold has Line hide what is written in these forms.
func (v *values) hold(id uint64, forms []indexed) (release func(), held bool) {
	if !v.add(id, forms) {
		return func() {}, false
	}
	var once sync.Once
	return func() { once.Do(func() { v.remove(id, forms) }) }, true
}

// indexed is a form with the hash of its window.
type indexed struct {
	window uint64
	form
}

func (v *values) id(value string) uint64 { return maphash.String(v.seed, value) }

func (v *values) index(value string, guest bool) []indexed {
	var out []indexed
	for _, w := range writings(value) {
		h := binary.LittleEndian.Uint64([]byte(w.text[len(w.text)-window:])) * v.mul
		out = append(out, indexed{h, form{len(w.text), v.id(w.text), w.base64, guest}})
	}
	return out
}

func (v *values) add(id uint64, forms []indexed) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[id] == 0 {
		if len(v.held) >= maxValues {
			return false
		}
		s := v.sieve.Load()
		if s == nil {
			s = new(sieve)
		}
		for _, f := range forms {
			v.forms[f.window] = append(v.forms[f.window], f.form)
			s.add(f.window)
		}
		v.sieve.Store(s)
	}
	v.held[id]++
	return true
}

func (v *values) remove(id uint64, forms []indexed) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.held[id]--; v.held[id] > 0 {
		return
	}
	delete(v.held, id)
	for _, f := range forms {
		v.drop(f)
	}
	v.stale += len(forms)
	switch {
	case len(v.held) == 0:
		v.sieve.Store(nil)
		v.stale = 0
	case v.stale > maxStale:
		s := new(sieve)
		for h := range v.forms {
			s.add(h)
		}
		v.sieve.Store(s)
		v.stale = 0
	}
}

func (v *values) drop(f indexed) {
	list := v.forms[f.window]
	for i := range list {
		if list[i] == f.form {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(v.forms, f.window)
		return
	}
	v.forms[f.window] = list
}

// Line hides every registered secret in an encoded log line: plain, escaped for JSON (once
// or twice), percent-encoded, and in base64 at any offset. It returns line itself if
// there is none.
func (n *Names) Line(line []byte) []byte {
	v := &n.values
	s := v.sieve.Load()
	if s == nil {
		return line
	}
	var out []byte
	done := 0
	for i := 0; i+window <= len(line); i++ {
		h := binary.LittleEndian.Uint64(line[i:]) * v.mul
		if !s.maybe(h) {
			continue
		}
		hide := v.match(line, h, i+window)
		if hide.to == 0 {
			continue
		}
		if hide.from < done { // overlaps what has just been hidden
			done = max(done, hide.to)
			continue
		}
		out = append(append(out, line[done:hide.from]...), Redacted...)
		done = hide.to
	}
	if done == 0 {
		return line
	}
	return append(out, line[done:]...)
}

// match returns the longest form that ends at line[end].
func (v *values) match(line []byte, h uint64, end int) (found span) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	for _, f := range v.forms[h] {
		from := end - f.length
		if from < 0 || maphash.Bytes(v.seed, line[from:end]) != f.sum {
			continue
		}
		hide := span{from, end}
		if f.guest && inName(line, end) {
			continue
		}
		if f.base64 {
			hide = widen(line, hide)
		}
		if escaped(line, hide.from) {
			hide.from--
		}
		if found.to == 0 || hide.to-hide.from > found.to-found.from {
			found = hide
		}
	}
	return found
}

// widen extends a span over all of the base64 text that it is in: the characters at its
// ends hold bits of the secret.
func widen(line []byte, s span) span {
	for s.from > 0 && isBase64(line[s.from-1]) {
		s.from--
	}
	for s.to < len(line) && isBase64(line[s.to]) {
		s.to++
	}
	return s
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
}

// inName reports whether line[at] is in the name of a field, or just behind it: the text
// that it is in ends with a quote and a colon. Inside of texts quotes are escaped.
func inName(line []byte, at int) bool {
	for ; at < len(line); at++ {
		if line[at] == '"' && !escaped(line, at) {
			return at+1 < len(line) && line[at+1] == ':'
		}
	}
	return false
}

// escaped reports whether line[at] is the second half of a JSON escape.
func escaped(line []byte, at int) bool {
	n := 0
	for at-n > 0 && line[at-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}
