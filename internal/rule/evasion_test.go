package rule

import (
	"fmt"
	"strings"
	"testing"
)

// TestEvasions are requests that mean to an upstream what a rule denies, spelt in another
// way.
func TestEvasions(t *testing.T) {
	body := func(c ...Check) Rule { return Rule{Body: c} }
	post := func(text string) *Input { return input(t, "POST", "/", text, jsonType) }
	denied := func(name string, in *Input, rules ...Rule) {
		t.Run(name, func(t *testing.T) {
			s, err := Scope{Rules: rules}.Compile(Env{})
			if err != nil {
				t.Fatal(err)
			}
			if d := s.Decide(in); d.Allowed {
				t.Errorf("allowed: %+v", d)
			}
		})
	}
	amount := deny(body(Check{Name: "$.a", Pattern: "^1000$"}))
	denied("exponent over 400 hides a plain number", post(`{"a":0.`+strings.Repeat("0", 500)+`1e504}`), amount)
	denied("digits past a float64 hide a plain number", post(`{"a":1000.00000000000000000001}`), amount)
	denied("negated class in a deny regexp", &Input{Method: "GET", Path: "/A"}, deny(Rule{PathRegexp: "^/[^a]$"}))
	denied("negated class in a deny glob", &Input{Method: "GET", Path: "/A"}, deny(Rule{Paths: []string{"/[^a]"}}))
	denied("range that folding turns round in a deny glob", &Input{Method: "GET", Path: "/_"}, deny(Rule{Paths: []string{"/[Z-b]"}}))
	denied(`\Q without \E in a deny regexp`, &Input{Method: "GET", Path: "/a.b"}, deny(Rule{PathRegexp: `^\Q/a.b`}))
	denied("object text is compact JSON as written", post(`{"a":{"b":"<x>"}}`), deny(body(Check{Name: "$.a", Pattern: "<x>"})))
	denied("form field both plain and as a list", input(t, "POST", "/", "a=1&a[]=1000", "Content-Type: application/x-www-form-urlencoded"),
		allow(body(Check{Name: "$.a", Pattern: "^1$"})))
	denied("lone surrogate", post(`{"a":"\ud800"}`), deny(body(Check{Name: "$.b"})))
	denied("NUL in a member name", post(`{"a":1,"a\u0000":1000}`), allow(body(Check{Name: "$.a", Pattern: "^1$"})))
	te := input(t, "POST", "/", "")
	te.Request.TransferEncoding = []string{"chunked"}
	denied("Transfer-Encoding, which net/http moves", te, deny(Rule{Headers: []Check{{Name: "Transfer-Encoding"}}}))
	denied("claim that is an empty list is there", input(t, "GET", "/", ""), deny(Rule{Claims: []Check{{Name: "empty"}}}))
	denied("body forwarded before it is judged", func() *Input {
		in := post(`{"x":{"a":1000}}`)
		_, _ = in.Request.Body.Read(make([]byte, 5))
		return in
	}(), deny(body(Check{Name: "$.x"})))
}

func TestRulesThatCouldNeverFitDoNotCompile(t *testing.T) {
	for _, r := range []Rule{
		{Methods: []string{"*", "FROB"}}, {Paths: []string{"/a%20b"}}, {Headers: []Check{{Name: "X Env"}}},
	} {
		if _, err := (Scope{Rules: []Rule{deny(r)}}).Compile(Env{}); err == nil {
			t.Errorf("%+v compiles, but can never fit", r)
		}
	}
	for _, p := range []string{`\u00e9`, `[^]`, `\cA`, `(?>a)`, `(?<=a)b`, `(?<n>a)\k<n>`} {
		_, err := (Scope{Rules: []Rule{allow(Rule{PathRegexp: p})}}).Compile(Env{})
		if err == nil || !strings.Contains(err.Error(), "RE2") {
			t.Errorf("%s: %v", p, err)
		}
	}
	// an escaped look-around beside another fault must not be blamed
	if _, err := (Scope{Rules: []Rule{allow(Rule{PathRegexp: `\(?=(`})}}).Compile(Env{}); strings.Contains(fmt.Sprint(err), "look-around") {
		t.Error(err)
	}
}

// BenchmarkThousandRules is the promise that a scope of 1,000 rules costs 50 µs at most.
func BenchmarkThousandRules(b *testing.B) {
	mk := func(f func(i int) Rule) *Set {
		var rules []Rule
		for i := range 1000 {
			rules = append(rules, f(i))
		}
		return set(b, Deny, rules...)
	}
	get := []string{"GET"}
	for _, bm := range []struct {
		name string
		set  *Set
	}{
		{"exact allow", mk(func(i int) Rule { return allow(Rule{Methods: get, Paths: []string{fmt.Sprint("/v1/r", i)}}) })},
		{"exact deny", mk(func(i int) Rule { return deny(Rule{Methods: get, Paths: []string{fmt.Sprint("/v1/r", i)}}) })},
		{"prefix", mk(func(i int) Rule { return allow(Rule{Methods: get, Paths: []string{fmt.Sprintf("/v1/r%d/*", i)}}) })},
		{"general", mk(func(i int) Rule { return allow(Rule{Methods: get, Paths: []string{fmt.Sprintf("/v1/r%d/*/x", i)}}) })},
		{"regexp alone", mk(func(i int) Rule { return allow(Rule{Methods: get, PathRegexp: fmt.Sprintf(`^/v1/r%d/\d+$`, i)}) })},
		{"regexp deny", mk(func(i int) Rule { return deny(Rule{Methods: get, PathRegexp: fmt.Sprintf(`^/v1/r%d/\d+$`, i)}) })},
		{"regexp same prefix", mk(func(i int) Rule { return allow(Rule{Methods: get, PathRegexp: fmt.Sprintf(`^/v1/[a-z]+/r%d$`, i)}) })},
		{"regexp unanchored", mk(func(i int) Rule { return allow(Rule{Methods: get, PathRegexp: fmt.Sprintf(`/r%d/\d+$`, i)}) })},
		{"header", mk(func(i int) Rule {
			return allow(Rule{Methods: get, Headers: []Check{{Name: "X-Env", Pattern: fmt.Sprintf("^e%d$", i)}}})
		})},
		{"query", mk(func(i int) Rule {
			return allow(Rule{Methods: get, Query: []Check{{Name: "a", Pattern: fmt.Sprintf("^e%d$", i)}}})
		})},
		{"claim", mk(func(i int) Rule {
			return allow(Rule{Methods: get, Claims: []Check{{Name: "tenant.id", Pattern: fmt.Sprintf("^e%d$", i)}}})
		})},
		{"body", mk(func(i int) Rule {
			return allow(Rule{Methods: get, Body: []Check{{Name: "$.a", Pattern: fmt.Sprintf("^e%d$", i)}}})
		})},
	} {
		b.Run(strings.ReplaceAll(bm.name, " ", "_"), func(b *testing.B) {
			in := input(b, "GET", "/v1/charges/Ch_1?a=1&b=2", `{"a":"x","b":[1,2,3]}`, jsonType, "X-Env: prod")
			b.ReportAllocs()
			for b.Loop() {
				bm.set.Decide(in)
			}
		})
	}
}
