package rule

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glob is a path pattern of Caddy's path matcher (caddyhttp.MatchPath).
type glob struct {
	kind    globKind
	text    string // without the stars that kind stands for; folded in a deny rule
	literal string // of a general pattern: what precedes the first special character
	tail    string // likewise: what follows the last one
	written string // of a deny rule's general pattern: as it was written
}

type globKind uint8

const (
	exact globKind = iota
	all
	prefix
	suffix
	substring
	general // path.Match
)

func compileGlob(p string, deny bool) (glob, error) {
	if p == "" || p[0] != '/' && p[0] != '*' {
		return glob{}, errors.New("a path begins with / or *")
	}
	if err := checkEscapes(p); err != nil {
		return glob{}, err
	}
	written := p
	if deny {
		p = fold(p)
	}
	stars := strings.Count(p, "*")
	first, last := p[0] == '*', p[len(p)-1] == '*'
	switch {
	case p == "*":
		return glob{kind: all}, nil
	case stars == 2 && first && last:
		return glob{kind: substring, text: p[1 : len(p)-1]}, nil
	case stars == 1 && first:
		return glob{kind: suffix, text: p[1:]}, nil
	case stars == 1 && last:
		return glob{kind: prefix, text: p[:len(p)-1]}, nil
	}
	special := strings.IndexAny(p, `*?[\`)
	if special < 0 {
		return glob{kind: exact, text: p}, nil
	}
	if _, err := path.Match(p, ""); err != nil {
		return glob{}, errors.New("the path has a [ or \\ that is no complete pattern")
	}
	g := glob{kind: general, text: p, literal: p[:special], tail: p[strings.LastIndexAny(p, `*?[]\`)+1:]}
	if deny {
		g.written = written
	}
	return g, nil
}

// checkEscapes refuses %20 and the like, which no judged path has: the rule would fit
// nothing, and nobody would notice.
func checkEscapes(p string) error {
	for i := 0; i+2 < len(p); i++ {
		if p[i] != '%' {
			continue
		}
		escape := p[i : i+3]
		c, err := url.PathUnescape(escape)
		if err != nil || escape == "%2F" || escape == "%25" {
			continue // text, or what encoded_slash keep leaves in the path
		}
		if c == "/" {
			return errors.New("the path has %2f: write %2F, as it is judged")
		}
		return fmt.Errorf("the path has %s, but paths are judged decoded: write %q", escape, c)
	}
	return nil
}

// match reports whether a path fits. For a deny rule p is the folded path; asIs is never
// folded.
func (g *glob) match(p, asIs string) bool {
	switch g.kind {
	case exact:
		return p == g.text
	case all:
		return true
	case prefix:
		return strings.HasPrefix(p, g.text)
	case suffix:
		return strings.HasSuffix(p, g.text)
	case substring:
		return strings.Contains(p, g.text)
	}
	if !strings.HasPrefix(p, g.literal) || !strings.HasSuffix(p, g.tail) {
		return false
	}
	ok, _ := path.Match(g.text, p) // compileGlob has checked the pattern
	if !ok && g.written != "" {
		// folded, [^a] and [Z-b] no longer fit all that they fit as written
		ok, _ = path.Match(g.written, asIs)
	}
	return ok
}

// fold maps strings that strings.EqualFold takes for equal to the same string. Bytes that
// are not UTF-8 stay as they are.
func fold(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' {
			return foldSlow(s)
		}
	}
	return s
}

func foldSlow(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.WriteByte(s[0])
		} else {
			b.WriteRune(foldRune(r))
		}
		s = s[n:]
	}
	return b.String()
}

// foldRune is one rune for all that differ only in case: lower-case ASCII if there is one
// among them, else the smallest.
func foldRune(r rune) rune {
	least := r
	for x := unicode.SimpleFold(r); x != r; x = unicode.SimpleFold(x) {
		least = min(least, x)
	}
	if least >= 'A' && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
