package rule

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// pattern is a regular expression made ready.
type pattern struct {
	re      *regexp.Regexp
	anyCase *regexp.Regexp // where a pattern is compared in any case too, else nil
	prefix  string         // what all that fits begins with; folded if anyCase is set
	within  string         // what all that fits has in it; likewise
	negated bool           // of a path, which may not fit then; anyCase is set
}

// compilePattern compiles an RE2 pattern and explains what other dialects have and RE2
// has not.
func compilePattern(source string) (*pattern, error) {
	re, err := regexp.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, dialect(err))
	}
	p := &pattern{re: re}
	p.prefix, p.within = literals(source)
	return p, nil
}

// CheckPattern tells what is wrong with a pattern, as Compile does.
func CheckPattern(source string) error {
	_, err := compilePattern(source)
	return err
}

// compileAnyCase compiles a pattern that fits what it fits in any case, too.
func compileAnyCase(source string) (*pattern, error) {
	p, err := compilePattern(source)
	if err != nil {
		return nil, err
	}
	p.prefix, p.within = fold(p.prefix), fold(p.within)
	// beside re, not in its place: (?i)[^a] fits less than [^a]
	p.anyCase, err = regexp.Compile("(?i)" + source)
	return p, err
}

// compileNegated compiles a pattern that a path may not fit; with anyCase not in any case.
func compileNegated(source string, anyCase bool) (*pattern, error) {
	p, err := compileAnyCase(source)
	if err == nil && !anyCase {
		p.anyCase, p.prefix, p.within = p.re, "", ""
	}
	if err == nil {
		p.negated = true
	}
	return p, err
}

// fits reports whether a value fits; a nil pattern fits all.
func (p *pattern) fits(s string) bool {
	return p == nil || strings.HasPrefix(s, p.prefix) && strings.Contains(s, p.within) && p.re.MatchString(s)
}

// fitsPath is fits for a path_regexp.
func (p *pattern) fitsPath(in *Input) bool {
	if p == nil || p.anyCase == nil {
		return p.fits(in.Path)
	}
	if p.prefix != "" && !strings.HasPrefix(in.foldedPath(), p.prefix) || p.within != "" && !strings.Contains(in.foldedPath(), p.within) {
		return p.negated
	}
	return (p.anyCase.MatchString(in.Path) || p.re.MatchString(in.Path)) != p.negated
}

// literals returns the text that everything fitting an anchored pattern begins with, and the
// longest other text that everything fitting has in it, each "" if there is none. Looking
// for them first spares most values the regular expression.
func literals(source string) (prefix, within string) {
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return "", ""
	}
	parts := []*syntax.Regexp{tree}
	if tree.Op == syntax.OpConcat {
		parts = tree.Sub
	}
	for i, part := range parts {
		text := literal(part)
		switch {
		case i == 1 && parts[0].Op == syntax.OpBeginText:
			prefix = text
		case len(text) > len(within):
			within = text
		}
	}
	return prefix, within
}

// literal is the text that a part of a pattern begins with, "" if it is no plain text.
func literal(part *syntax.Regexp) string {
	for part.Op == syntax.OpCapture {
		part = part.Sub[0]
	}
	if part.Op != syntax.OpLiteral || part.Flags&syntax.FoldCase != 0 {
		return ""
	}
	for i, r := range part.Rune {
		if r == utf8.RuneError { // fits any byte that is not UTF-8, too
			return string(part.Rune[:i])
		}
	}
	return string(part.Rune)
}

const (
	lookAround    = "look-around (%s…) is JavaScript's and Perl's, patterns here are RE2: say it with a second rule"
	backReference = "back-references are JavaScript's and Perl's, patterns here are RE2"
)

// foreign are beginnings of what JavaScript and Perl have and RE2 has not.
var foreign = []struct{ begin, hint string }{
	{"(?=", fmt.Sprintf(lookAround, "(?=")},
	{"(?!", fmt.Sprintf(lookAround, "(?!")},
	{"(?<=", fmt.Sprintf(lookAround, "(?<=")},
	{"(?<!", fmt.Sprintf(lookAround, "(?<!")},
	{"(?>", "atomic groups are Perl's, patterns here are RE2, which never backtracks: write (?:…)"},
	{"[^]", "[^] is JavaScript's, patterns here are RE2: write (?s:.)"},
	{`\k`, backReference},
	{`\u`, `\u is JavaScript's, patterns here are RE2: write \x{00e9} for \u00e9`},
	{`\c`, `\c is JavaScript's and Perl's, patterns here are RE2: write \x01 for \cA`},
}

// dialect explains a compile error that another dialect's construct caused.
func dialect(err error) string {
	var e *syntax.Error
	if !errors.As(err, &e) {
		return ""
	}
	if len(e.Expr) == 2 && e.Expr[0] == '\\' && e.Expr[1] >= '1' && e.Expr[1] <= '9' {
		return "; " + backReference
	}
	for _, f := range foreign {
		if strings.HasPrefix(e.Expr, f.begin) {
			return "; " + f.hint
		}
	}
	return ""
}
