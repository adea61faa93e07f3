package rule

import (
	"errors"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// glob is a path pattern of Caddy's path matcher.
type glob struct {
	kind    globKind
	text    string // without the stars that kind stands for
	literal string // of a general pattern: what precedes the first special character
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

func compileGlob(p string, anyCase bool) (glob, error) {
	if p == "" || p[0] != '/' && p[0] != '*' {
		return glob{}, errors.New("a path begins with / or *")
	}
	if anyCase {
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
	return glob{kind: general, text: p, literal: p[:special]}, nil
}

func (g *glob) match(p string) bool {
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
	if !strings.HasPrefix(p, g.literal) {
		return false
	}
	ok, _ := path.Match(g.text, p)
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
