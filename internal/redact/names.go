// Package redact takes credentials out of text that is about to be written to a log. It
// knows them by name (headers, query parameters, cookies that the running configuration
// reads or writes, and names that everybody uses for credentials) and by value (secrets
// that are in use). What it cannot know is a secret under a name nobody told it.
//
// When in doubt it hides too much: a lost piece of a log line is a nuisance, a leaked
// key is an incident.
//
// The package imports nothing of Caddy and nothing of zap.
package redact

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Redacted stands where a credential stood.
const Redacted = "REDACTED"

// Kind says where a name carries a credential.
type Kind uint8

// The kinds of names.
const (
	Header Kind = iota + 1
	Query
	Cookie
)

// class says where a name is looked for; a name may be in several.
type class uint8

const (
	asField class = 1 << iota // as the key of a log field or JSON member, and in "Name: value"
	asPair                    // in name=value, wherever it stands
	asParam                   // in name=value only behind one of ? & ; # or at the start of a URI
)

func (k Kind) class() class {
	if k == Header {
		return asField | asPair | asParam
	}
	return asPair | asParam
}

// Names is a set of sensitive names and secret values. It is safe for concurrent use;
// looking a name up takes no lock. The zero value is not usable, see New.
type Names struct {
	mu   sync.Mutex
	refs map[owned]int

	current atomic.Pointer[nameSet]
	values  values
}

// owned is one registered name; what several owners registered goes when the last leaves.
type owned struct {
	kind Kind
	name string // folded
}

var process = New()

// Default returns the set of the whole process. Log encoders are set up before the
// handlers whose names they hide, and old requests log through old encoders, so there is
// one set for all configurations.
func Default() *Names { return process }

// New returns a set that knows only the built-in names.
func New() *Names {
	n := &Names{refs: make(map[owned]int)}
	n.values.init()
	n.rebuild()
	return n
}

// Add makes names sensitive until release is called. Names match in any letter case, and
// "_", "." and "-" are the same. Calling release again does nothing.
func (n *Names) Add(kind Kind, names ...string) (release func()) {
	mine := make([]owned, 0, len(names))
	for _, name := range names {
		if f := fold(name); f != "" {
			mine = append(mine, owned{kind, f})
		}
	}
	n.change(mine, +1)
	var once sync.Once
	return func() { once.Do(func() { n.change(mine, -1) }) }
}

func (n *Names) change(names []owned, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	distinct := len(n.refs)
	for _, o := range names {
		n.refs[o] += by
		if n.refs[o] == 0 {
			delete(n.refs, o)
		}
	}
	if len(n.refs) != distinct {
		n.rebuild()
	}
}

// Format implements fmt.Formatter: the set never prints what is in it.
func (n *Names) Format(f fmt.State, _ rune) { fmt.Fprint(f, "redact.Names") }

// AsNow is the set of names as it is now: it does not change any more, and has no values.
func (n *Names) AsNow() *Names { return n.current.Load().alone }

// Field reports whether the value of a log field (a header, a JSON member) called name is
// a credential.
func (n *Names) Field(name string) bool { return n.current.Load().class(name)&asField != 0 }

// nameSet is an immutable look-up table of folded names.
type nameSet struct {
	classes map[string]class
	lengths uint64 // bit i: there is a name of i bytes; bit 63: of 63 or more
	alone   *Names // the names without the values
}

func (n *Names) rebuild() {
	s := &nameSet{classes: make(map[string]class, len(builtIn)+len(n.refs))}
	for name, c := range builtIn {
		s.add(name, c)
	}
	for o := range n.refs {
		s.add(o.name, o.kind.class())
	}
	s.alone = new(Names)
	s.alone.values.init()
	s.alone.current.Store(s)
	n.current.Store(s)
}

func (s *nameSet) add(name string, c class) {
	s.classes[name] |= c
	s.lengths |= 1 << min(len(name), 63)
}

// class looks a plain name up, without allocating.
func (s *nameSet) class(name string) class {
	if s.lengths&(1<<min(len(name), 63)) == 0 {
		return 0
	}
	var room [64]byte
	return s.classes[string(appendFolded(room[:0], name))]
}

// encoded is class for a name as it stands in a query: percent-encoded, perhaps with
// blanks around it or an index behind it (token[], token[0]), as servers let pass.
func (s *nameSet) encoded(name string) class {
	if strings.IndexByte(name, '%') >= 0 {
		name = unescape(name)
	}
	name = strings.Trim(name, "+ \t\r\n\x00[({,\\")
	if i := strings.IndexByte(name, '['); i >= 0 {
		name = name[:i]
	}
	return s.class(name)
}

// fold brings a name to the form in which names are compared.
func fold(name string) string { return string(appendFolded(nil, strings.TrimSpace(name))) }

func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case c >= 'A' && c <= 'Z':
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}
