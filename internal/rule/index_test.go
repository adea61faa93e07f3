package rule

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// linear decides as if there was no index.
func linear(s *Set, in *Input) Decision {
	plain := *s
	plain.index = nil
	return plain.Decide(in)
}

// TestIndexDecidesAlike makes large scopes of all kinds of paths at random and compares
// decisions, the deciding rule included, with those that asking every rule gives.
func TestIndexDecidesAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	segment := func() string { return pick("v1", "V1", "charges", "Ä", "ß", "ſ", "k", "K", "a b", "x") }
	pattern := func() Rule {
		switch random.IntN(10) {
		case 0:
			return Rule{Paths: []string{pick("*", "*/x", "*k*", "/*", "*charges")}}
		case 1:
			return Rule{Paths: []string{"/" + segment() + "/*/" + segment(), "/" + segment()}}
		case 2:
			return Rule{Paths: []string{"/" + segment() + pick("/[^a]*", "/[^a]*/x", "/*/"+segment(), `/?\x`, "/[K-z]")}}
		case 3:
			return Rule{PathRegexp: "^/" + segment() + "/" + pick("", "x$", `\d+$`, "(k|x)", "(?i)v")}
		case 4:
			return Rule{PathRegexp: "^/" + segment() + "/", PathAbsent: true}
		case 5:
			return Rule{PathRegexp: pick("/x$", "(charges)", "v1/k", "(?i:V1)/", "^(/v1)/x", "[^/]k")}
		case 6:
			return Rule{Paths: []string{"/" + segment() + "/" + segment() + "/*"}}
		case 7:
			return Rule{Paths: []string{"/" + segment() + "/" + segment()[:1] + "*"}}
		case 8:
			return Rule{Paths: []string{strings.Repeat("/x", random.IntN(2*maxDepth)) + "/*"}}
		}
		return Rule{Paths: []string{"/" + segment() + "/" + segment()}}
	}
	decided, indexed := map[bool]int{}, 0
	for range 300 {
		scope := Scope{Default: pick(Allow, Deny)}
		for range indexedFrom + random.IntN(40) {
			r := pattern()
			r.Effect = pick(Allow, Allow, Deny)
			if random.IntN(3) == 0 {
				r.Methods = []string{pick("GET", "POST")}
			}
			scope.Rules = append(scope.Rules, r)
		}
		s, err := scope.Compile(Env{})
		if err != nil {
			t.Fatal(err)
		}
		if s.index != nil {
			indexed++
		}
		for range 40 {
			path := strings.Repeat("/x", random.IntN(2)*random.IntN(2*maxDepth)) + "/" + segment()
			for range random.IntN(4) {
				path += "/" + segment()
			}
			in := func() *Input {
				return &Input{Method: "GET", Path: path, Request: &http.Request{URL: new(url.URL)}}
			}
			got, want := s.Decide(in()), linear(s, in())
			if got != want {
				t.Fatalf("%s of %+v: %+v with the index, %+v without", path, scope.Rules, got, want)
			}
			decided[got.Allowed]++
		}
	}
	if decided[true] < 500 || decided[false] < 500 || indexed < 200 {
		t.Errorf("a weak test: %v decided, %d scopes have an index", decided, indexed)
	}
}

// asked are the positions of the rules that are asked for a path.
func (x *index) asked(path string) (list []int32) {
	var found candidates
	x.find(&Input{Path: path}, &found)
	for i := found.next(); i >= 0; i = found.next() {
		list = append(list, i)
	}
	return list
}

// TestIndexAsksFewRules: in a scope of 1,000 rules for paths only those are asked that the
// path may concern.
func TestIndexAsksFewRules(t *testing.T) {
	var rules []Rule
	for i := range 1000 {
		effect := []string{Allow, Deny}[i%2]
		rules = append(rules, []Rule{
			{Effect: effect, Paths: []string{fmt.Sprintf("/v1/r%d", i)}},
			{Effect: effect, Paths: []string{fmt.Sprintf("/v1/r%d/*", i)}},
			{Effect: effect, PathRegexp: fmt.Sprintf("^/v1/r%d/[0-9]+$", i)},
			{Effect: effect, Paths: []string{fmt.Sprintf("/v1/r%d/*/y", i), "/v1/all"}},
		}[i%4])
	}
	s := set(t, Deny, append(rules, Rule{Effect: Allow, Paths: []string{"*/any"}})...)
	for path, want := range map[string][]int32{
		"/v1/r5/7":  {5, 1000},
		"/v1/r5":    {1000},
		"/v1/r4":    {4, 1000},
		"/v1/R6/1":  {1000}, // only deny rules compare in any case
		"/V1/R9/x":  {9, 1000},
		"/v1/r11/x": {11, 1000},
		"/v2/r5/7":  {1000},
		"":          {1000},
	} {
		if got := s.index.asked(path); !slices.Equal(got, want) {
			t.Errorf("%s: rules %v, want %v", path, got, want)
		}
	}
	if got := len(s.index.asked("/v1/all")); got != 251 {
		t.Errorf("%d rules for /v1/all", got)
	}
}
