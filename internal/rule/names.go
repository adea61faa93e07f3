package rule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// namedCheck is a Check with a pattern for names, made ready: all names that there are
// are compared, not looked up. It stands beside the others, so that these cost the same
// as if there were none.
type namedCheck struct {
	part  string
	index int
	names *pattern
	check
}

// missingNamed returns the first of these checks that does not hold.
func (c *compiled) missingNamed(in *Input) (miss, error) {
	for i := range c.named {
		k := &c.named[i]
		ok, err := k.holdsIn(in, c.deny)
		if err != nil || !ok {
			return miss{k.part, k.index}, err
		}
	}
	return miss{}, nil
}

func (k *namedCheck) holdsIn(in *Input, deny bool) (bool, error) {
	switch k.part {
	case "headers":
		return k.holdsForHeaders(in.Request, deny), nil
	case "query":
		list, err := in.parameters()
		return err == nil && k.holdsForParameters(list, deny), err
	case "claims":
		return k.holdsForClaims(AllOf(in.Claims))
	}
	return k.holdsForBody(in.Body, deny)
}

// found tells whether a check holds if some name with the right values is there, or none.
func (k *namedCheck) found(some bool) bool { return some != k.absent }

// broad tells whether fitting speaks against the request: in a deny, and in an absent of
// an allow. Then the wider reading counts.
func (k *namedCheck) broad(deny bool) bool { return deny != k.absent }

// counts judges a name with n values, of which some fit.
func (k *namedCheck) counts(n, fits int, deny bool) bool {
	if k.absent || deny {
		return fits > 0
	}
	return n > 0 && fits == n
}

// fitsName is fits for names of headers, which are the same in any case. As with paths,
// (?i)[^a] fits less than [^a].
func (p *pattern) fitsName(name string, broad bool) bool {
	return p.anyCase.MatchString(name) || broad && p.re.MatchString(name)
}

// fitsBytes is fits for text that is not kept.
func (p *pattern) fitsBytes(b []byte) bool {
	return len(b) >= len(p.prefix) && string(b[:len(p.prefix)]) == p.prefix && p.re.Match(b)
}

func (k *namedCheck) holdsForHeaders(r *http.Request, deny bool) bool {
	broad := k.broad(deny)
	counts := func(name string, values []string) bool {
		if !k.names.fitsName(name, broad) {
			return false
		}
		fits := 0
		for _, v := range values {
			if k.pattern.fits(v) {
				fits++
			}
		}
		return k.counts(len(values), fits, deny)
	}
	for name, values := range r.Header {
		if counts(name, values) {
			return k.found(true)
		}
	}
	// net/http keeps these elsewhere
	return k.found(counts("Host", []string{r.Host}) || counts("Transfer-Encoding", r.TransferEncoding))
}

func (k *namedCheck) holdsForParameters(list []pair, deny bool) bool {
	// names of which one value does not fit: there may be very many values
	spoilt := map[string]bool{}
	if k.pattern != nil && !k.absent && !deny {
		for _, p := range list {
			if !k.pattern.fits(p.value) {
				spoilt[p.name] = true
			}
		}
	}
	for _, p := range list {
		if !spoilt[p.name] && k.names.fits(p.name) && k.pattern.fits(p.value) {
			return k.found(true)
		}
	}
	return k.found(false)
}

// maxCompared bounds, in bytes, what a check compares: names, if it has a pattern for them,
// and lists and objects as text. A long name with a long list in it makes as many long
// paths, and what is in twenty lists is in the text of each.
const maxCompared = 8 << 20

// compared is what a check has compared, in bytes.
type compared int

func (c *compared) add(n int) error {
	if *c += compared(n); *c > maxCompared {
		return errTooMuch
	}
	return nil
}

// fits is nodeFits, which makes text of lists and objects.
func (c *compared) fits(p *pattern, v any, broad bool) (bool, error) {
	switch v.(type) {
	case []any, map[string]any:
		if p == nil {
			return true, nil
		}
		text := Text(v)
		return p.fits(text), c.add(len(text))
	}
	return nodeFits(p, v, broad)
}

var errTooMuch = errors.New("it has so many and so long names, or is nested so deeply, that not all of it can be compared")

func (k *namedCheck) holdsForClaims(claims map[string]any) (bool, error) {
	w := claimWalk{namedCheck: k}
	if err := w.object("", claims); err != nil {
		return false, fmt.Errorf("claims: %w", err)
	}
	return k.found(w.some), nil
}

// claimWalk visits claims, nested ones by their path.
type claimWalk struct {
	*namedCheck
	some bool
	compared
}

func (w *claimWalk) object(path string, object map[string]any) error {
	for name, v := range object {
		name = path + name
		if err := w.add(len(name)); err != nil {
			return err
		}
		w.some = w.some || w.names.fits(name) && anyFits(w.pattern, v)
		if inner, ok := v.(map[string]any); ok {
			if err := w.object(name+".", inner); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *namedCheck) holdsForBody(b *Body, deny bool) (bool, error) {
	if b == nil {
		return false, errNoBody
	}
	doc, err := b.document()
	if err == nil {
		w := bodyWalk{namedCheck: k, broad: k.broad(deny), path: []byte("$")}
		if err = w.value(doc); err == nil {
			return k.found(w.some), nil
		}
	}
	return false, fmt.Errorf("body: %w", err)
}

// bodyWalk visits all values of a document. It goes on when it has found one, since what
// cannot be judged may come after it: maps have no order.
type bodyWalk struct {
	*namedCheck
	broad bool
	some  bool
	path  []byte
	compared
}

func (w *bodyWalk) value(v any) error {
	if err := w.add(len(w.path)); err != nil {
		return err
	}
	if w.names.fitsBytes(w.path) || len(w.path) > 1 && w.names.fitsBytes(relative(w.path)) {
		ok, err := w.fits(w.pattern, v, w.broad)
		if err != nil {
			return err
		}
		w.some = w.some || ok
	}
	end := len(w.path)
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			w.path = appendMember(w.path[:end], name)
			if err := w.value(member); err != nil {
				return err
			}
		}
	case []any:
		for i, element := range v {
			w.path = append(strconv.AppendInt(append(w.path[:end], '['), int64(i), 10), ']')
			if err := w.value(element); err != nil {
				return err
			}
		}
	}
	w.path = w.path[:end]
	return nil
}

// relative is a path without the $ of the document.
func relative(path []byte) []byte {
	if path[1] == '.' {
		return path[2:]
	}
	return path[1:]
}

// appendMember adds a member's name to a path: .name, or ['name'] as in RFC 9535 section
// 2.7 where the first could be taken for something else.
func appendMember(path []byte, name string) []byte {
	if name != "" && name != "$" && !strings.ContainsFunc(name, ambiguous) {
		return append(append(path, '.'), name...)
	}
	path = append(path, "['"...)
	for i := range len(name) {
		switch c := name[i]; {
		case c == '\'' || c == '\\':
			path = append(path, '\\', c)
		case c < ' ':
			if short := strings.IndexByte("\b\t\n\f\r", c); short >= 0 {
				path = append(path, '\\', "btnfr"[short])
			} else {
				path = fmt.Appendf(path, `\u%04x`, c)
			}
		default:
			path = append(path, c)
		}
	}
	return append(path, "']"...)
}

func ambiguous(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune(`.[]'"\`, c) }
