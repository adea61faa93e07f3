package rule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// blunt is the set without what spares rules or patterns from being asked: no index, and no
// text that has to be there before a pattern is tried.
func blunt(s *Set) *Set {
	plain := *s
	plain.index = nil
	plain.rules = slices.Clone(s.rules)
	for i := range plain.rules {
		c := &plain.rules[i]
		c.globs = slices.Clone(c.globs)
		for j := range c.globs {
			c.globs[j].literal, c.globs[j].tail = "", ""
		}
		if c.path != nil {
			path := *c.path
			path.prefix, path.within = "", ""
			c.path = &path
		}
	}
	return &plain
}

// FuzzIndex makes a large scope of the given patterns, one a line, and others that have
// nothing to do with the path. What spares rules from being asked must not change what is
// decided, nor which rule decides.
//
// Bits 0 to 2 of a pattern's kind choose: deny, path_regexp instead of a glob, path_absent.
func FuzzIndex(f *testing.F) {
	for _, seed := range []struct{ patterns, path string }{
		{"/v1/*\n^/v1/x$\n/v1/[^a]*\n*", "/V1/x"},
		{"^/(v1)/x|^/v1/y\n(?i)^/v1/\n(?m)^/v1\n(?s)^/v1.x\n^\\Q/v1/*\\E\n^(|/v1)/x", "/v1/x"},
		{"^/\\x{fffd}/x\n^/\xc3\xa4/\n/\xff/*\n/\\[/*\n/?/x", "/\xff/x"},
		{"^/K/\n^/\u212a/\n/\u017f/*\n/s/*\n/ß/ẞ", "/\u212a/\u017f"},
		{"/a%2Fb/*\n^/a%2Fb/\n/a%25*\n/*%2F*/x", "/a%2Fb/x"},
		{"*\n^$\n^\\*$\n|\n^/?", "*"},
		{"^/a/b/c/d/e/f/\n/a/b/c/d/e/f/*\n/A/B/C/D/E/*\n/a/b/c/d/\\e/f/g", "/a/b/c/d/e/f/g"},
		{"^^/v1/\n^(?:/v1/)+\n^/v1/{0}\n^(?i:/v1/)\n^/v1(?:/x)?\n^((/v1))/\n\\A/v1/\n^/v1/\\b", "/v1/x"},
		{"^/[^a]/\n/[Z-b]/*\n/[^a]*/x\n/[a-c]/?", "/A/x"},
	} {
		for _, kinds := range []uint64{0, 0x249249, 0x492492, 0x6db6db, 0x924924, ^uint64(0), 0x123456789abcdef} {
			f.Add(seed.patterns, seed.path, kinds)
		}
	}
	f.Fuzz(func(t *testing.T, patterns, path string, kinds uint64) {
		scope := Scope{Default: []string{Allow, Deny}[kinds>>63]}
		for line := range strings.SplitSeq(patterns, "\n") {
			r := Rule{Effect: []string{Allow, Deny}[kinds&1], PathAbsent: kinds&6 == 6}
			if kinds&2 != 0 {
				r.PathRegexp = line
			} else {
				r.Paths = []string{line, "/elsewhere/" + line}
			}
			kinds >>= 3
			if _, err := (Scope{Rules: []Rule{r}}).Compile(Env{}); err == nil && len(scope.Rules) < 16 {
				scope.Rules = append(scope.Rules, r)
			}
		}
		for i := range indexedFrom + len(scope.Rules) {
			scope.Rules = append(scope.Rules, Rule{Effect: Allow, Paths: []string{fmt.Sprintf("/other/%d/*", i)}})
		}
		s, err := scope.Compile(Env{})
		if err != nil {
			t.Fatal(err)
		}
		if s.index == nil {
			t.Fatal("no index")
		}
		input := func() *Input {
			return &Input{Method: "GET", Path: path, Request: &http.Request{URL: new(url.URL)}}
		}
		got, want := s.Decide(input()), blunt(s).Decide(input())
		if got != want {
			t.Fatalf("%q of %+v: %+v with the index, %+v without", path, scope.Rules, got, want)
		}
	})
}
