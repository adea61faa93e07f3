package rule

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/theory/jsonpath"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

func TestNamePatterns(t *testing.T) {
	header := func(c ...Check) Rule { return Rule{Headers: c} }
	query := func(c ...Check) Rule { return Rule{Query: c} }
	claim := func(c ...Check) Rule { return Rule{Claims: c} }
	body := func(c ...Check) Rule { return Rule{Body: c} }
	get := func(target string, headers ...string) *Input { return input(t, "GET", target, "", headers...) }
	post := func(text string) *Input { return input(t, "POST", "/", text, jsonType) }
	form := func(text string) *Input {
		return input(t, "POST", "/", text, "Content-Type: application/x-www-form-urlencoded")
	}
	chunked := get("/")
	chunked.Request.TransferEncoding = []string{"chunked"}
	named := func(pattern, value string) Check { return Check{NamePattern: pattern, Pattern: value} }
	absent := func(pattern, value string) Check { return Check{NamePattern: pattern, Pattern: value, Absent: true} }
	sql := named(".*", "(?i)drop table")
	for _, tt := range []struct {
		name    string
		rule    Rule
		in      *Input
		allowed bool
	}{
		{"a deny: any name with any fitting value", deny(header(named("^X-", "^1$"))), get("/", "X-A: 0", "X-B: 2", "X-B: 1"), false},
		{"a deny: none", deny(header(named("^X-", "^1$"))), get("/", "X-A: 0", "Y: 1"), true},
		{"an allow: some name all of whose values fit", allow(header(named("^X-", "^1$"))), get("/", "X-A: 0", "X-B: 1"), true},
		{"an allow: no name all of whose values fit", allow(header(named("^X-", "^1$"))), get("/", "X-A: 0", "X-B: 1", "X-B: 2"), false},
		{"an allow: no such name", allow(header(named("^X-", ""))), get("/", "Y: 1"), false},
		{"absent: nothing fits", allow(header(absent("^X-", "^1$"))), get("/", "X-A: 0"), true},
		{"absent: something fits", allow(header(absent("^X-", "^1$"))), get("/", "X-A: 0", "X-A: 1"), false},
		{"a deny for what is absent", deny(header(absent("^X-Actor$", ".+"))), get("/"), false},
		{"a deny for what is absent and is there", deny(header(absent("^X-Actor$", ".+"))), get("/", "X-Actor: a"), true},
		{"names of headers have any case", deny(header(named("^x-debug$", ""))), get("/", "X-Debug: 1"), false},
		{"capitals too", deny(header(named("^X-DEBUG$", ""))), get("/", "x-debug: 1"), false},
		{"a negated class denies in both its readings", deny(header(named("^[^x]-A$", ""))), get("/", "X-A: 1"), false},
		{"and does not allow", allow(header(named("^[^x]-A$", ""))), get("/", "X-A: 1"), false},
		{"Host", deny(header(named("^Host$", `^gw\.test$`))), get("/"), false},
		{"Transfer-Encoding", deny(header(named("^Transfer", ""))), chunked, false},
		{"Transfer-Encoding is not there", deny(header(named("^Transfer", ""))), get("/"), true},

		{"a parameter", deny(query(named("^(?i)debug$", "^1$"))), get("/?a=1&Debug=0&Debug=1"), false},
		{"an escaped parameter", deny(query(named("^debug$", ""))), get("/?%64ebug"), false},
		{"another parameter", deny(query(named("^debug$", ""))), get("/?debugger=1"), true},
		{"an allow needs all values of the name", allow(query(named("^a", "^1$"))), get("/?a=1&a=2&b=1"), false},
		{"of one name", allow(query(named("^a", "^1$"))), get("/?a=1&a=2&aa=1"), true},
		{"a query that cannot be judged", deny(query(named("^a$", ""))), get("/?b=1;c=2"), false},

		{"a claim", allow(claim(named("^(tenant|org)\\.id$", "^acme$"))), get("/"), true},
		{"an element of a claim", deny(claim(named("^roles?$", "^editor$"))), get("/"), false},
		{"a claim whose name has dots", deny(claim(named(`^https://x\.test/a$`, "^b$"))), get("/"), false},
		{"an object is a claim", allow(claim(named("^tenant$", ""))), get("/"), true},
		{"no claim", allow(claim(named("^plan", ""))), get("/"), false},
		{"an absent claim", allow(claim(absent("^plan", ""))), get("/"), true},

		{"anything in the body", deny(body(sql)), post(`{"a":[{"b":"x; DROP TABLE y"}]}`), false},
		{"nothing of it", deny(body(sql)), post(`{"a":[{"b":"drop the table"}]}`), true},
		{"the body itself", deny(body(sql)), post(`"drop table"`), false},
		{"wrapped into a list", deny(body(named(`^\$\.role$`, "admin"))), post(`{"role":["admin"]}`), false},
		{"the path with $", deny(body(named(`^\$\.a\.b\[0\]\.c$`, ""))), post(`{"a":{"b":[{"c":null}]}}`), false},
		{"the path without $", deny(body(named(`^a\.b\[0\]\.c$`, ""))), post(`{"a":{"b":[{"c":null}]}}`), false},
		{"an element without $", deny(body(named(`^\[1\]\.a$`, "^x$"))), post(`[{"a":"x"},{"a":"x"}]`), false},
		{"another path", deny(body(named(`^a\.b\[0\]\.c$`, ""))), post(`{"a":{"b":[{"d":{"c":1}}]}}`), true},
		{"a name that looks like a path", allow(body(named(`^a\.b$`, "^1$"))), post(`{"a.b":1,"a":{"b":2}}`), false},
		{"a name that looks like the document", allow(body(named(`^\$\.amount$`, "^1$"))), post(`{"amount":99,"$":{"amount":1}}`), false},
		{"a name that looks like an index", allow(body(named(`^\$\[0\]$`, "^1$"))), post(`{"[0]":1}`), false},
		{"a name that needs quotes", deny(body(named(`^\$\['it\\'s\\u0001'\]$`, ""))), post(`{"it's\u0001":1}`), false},
		{"an operator of a database", deny(body(named(`(^|\.)\$where$`, ""))), post(`{"filter":{"$where":"1"}}`), false},
		{"some value of an allow", allow(body(named(`^items\[\d+\]\.id$`, "^1$"))), post(`{"items":[{"id":2},{"id":1}]}`), true},
		{"no value of an allow", allow(body(named(`^items\[\d+\]\.id$`, "^1$"))), post(`{"items":[{"id":2}]}`), false},
		{"absent in the body", allow(body(absent(`^a$`, ""))), post(`{"b":1}`), true},
		{"a number in another notation", deny(body(named("^a$", "^1000$"))), post(`{"a":1e3}`), false},
		{"a number in another notation, allowed", allow(body(named("^a$", "^1e3$"))), post(`{"a":1e3}`), false},
		{"a number in another notation, absent", allow(body(absent("^a$", "^1000$"))), post(`{"a":1e3}`), false},
		{"a number that nobody knows, elsewhere", deny(body(named("^a$", "^1$"))), post(`{"b":1e999999}`), true},
		{"a number that nobody knows", deny(body(named("^a$", "^1$"))), post(`{"a":1e999999}`), false},
		{"a number that nobody knows, beside one that fits", allow(body(named("^(a|b)$", "^1$"))), post(`{"a":1e999999,"b":1}`), false},
		{"a member twice", allow(body(named("^a$", "^1$"))), post(`{"a":1,"A":2}`), false},
		{"a form", deny(body(named("^a$", "^1 2$"))), form("b=1&%61=1+2"), false},
		{"a nested field of a form", deny(body(named(`^\$\['a\[b\]'\]$`, "^1$"))), form("a[b]=1"), false},
		{"a form with a field twice", allow(body(named("^a$", "^1$"))), form("a=1&a=1"), false},
		{"a body that cannot be judged", deny(body(named("^nothing$", ""))), post(`{"a"`), false},

		{"a path that may not fit", deny(Rule{PathRegexp: "^/public/", PathAbsent: true}), get("/private"), false},
		{"a path that may not fit, and does", deny(Rule{PathRegexp: "^/public/", PathAbsent: true}), get("/public/a"), true},
		{"a deny does not let another case pass", deny(Rule{PathRegexp: "^/public/", PathAbsent: true}), get("/PUBLIC/a"), false},
		{"an allow does not either", allow(Rule{PathRegexp: "^/admin", PathAbsent: true}), get("/ADMIN"), false},
		{"an allow of other paths", allow(Rule{PathRegexp: "^/admin", PathAbsent: true}), get("/a"), true},
		{"a negated class in an allow", allow(Rule{PathRegexp: "^/[^a]$", PathAbsent: true}), get("/A"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, "", tt.rule)
			if d := s.Decide(tt.in); d.Allowed != tt.allowed {
				t.Errorf("got %+v", d)
			}
			if v := s.Explain(tt.in)[0]; v.Matches == (v.Why != "" || v.Err != nil) {
				t.Errorf("explained as %+v", v)
			}
		})
	}
}

// TestNamesAreBounded drives checks to their bound: the request is refused, soon.
func TestNamesAreBounded(t *testing.T) {
	long := strings.Repeat("n", 1000)
	for name, text := range map[string]string{
		"a long name before a long list": `{"` + long + `":[` + strings.Repeat("0,", 20_000) + `0]}`,
		"much within many lists":         strings.Repeat("[", 60) + `"` + strings.Repeat("x", 900_000) + `"` + strings.Repeat("]", 60),
	} {
		t.Run(name, func(t *testing.T) {
			s := set(t, Allow, allow(Rule{Body: []Check{{NamePattern: "^.*$", Pattern: "^nothing$"}}}))
			if d := s.Decide(input(t, "POST", "/", text, jsonType)); d.Allowed || !errors.Is(d.Err, errTooMuch) {
				t.Errorf("got %+v", d)
			}
		})
	}
	in := input(t, "GET", "/", "")
	claims := map[string]any{}
	for i := range 10_000 {
		claims[fmt.Sprint(long, i)] = true
	}
	in.Claims = Decoded{"a": claims}
	s := set(t, Allow, deny(Rule{Claims: []Check{{NamePattern: "^b$"}}}))
	if d := s.Decide(in); d.Allowed || !errors.Is(d.Err, errTooMuch) {
		t.Errorf("claims: got %+v", d)
	}
}

func TestCompileErrorsSayWhichField(t *testing.T) {
	for _, tt := range []struct {
		rule        Rule
		field, part string
	}{
		{Rule{Effect: "x"}, "rules/0/effect", ""},
		{deny(Rule{PathRegexp: "("}), "rules/0/path_regexp", ""},
		{deny(Rule{PathAbsent: true}), "rules/0/path_absent", ""},
		{deny(Rule{Paths: []string{"/a", "b"}}), "rules/0/paths/1", ""},
		{deny(Rule{Headers: []Check{{Name: "A"}, {Name: "B", Pattern: "("}}}), "rules/0/headers/1", "pattern"},
		{deny(Rule{Headers: []Check{{NamePattern: "(?=a)"}}}), "rules/0/headers/0", "name_pattern"},
		{deny(Rule{Query: []Check{{Name: "a", NamePattern: "b"}}}), "rules/0/query/0", "name_pattern"},
		{deny(Rule{Body: []Check{{Name: "a"}}}), "rules/0/body/0", "name"},
		{deny(Rule{Claims: []Check{{}}}), "rules/0/claims/0", "name"},
	} {
		_, err := (Scope{Rules: []Rule{tt.rule}}).Compile(Env{})
		var fault *FieldError
		if !errors.As(err, &fault) || fault.Field != tt.field || fault.Part != tt.part || !strings.HasPrefix(err.Error(), tt.field+": ") {
			t.Errorf("%+v: %#v, want %s %s", tt.rule, err, tt.field, tt.part)
		}
	}
}

// FuzzBodyNames holds the paths of name patterns against a JSONPath library's.
func FuzzBodyNames(f *testing.F) {
	for _, s := range []string{`{"a":{"b":[1,{"c":"x"}]}}`, `{"it's":{"":1,"$":2,"a.b":[[]]}}`, `[0]`, `"x"`, `{"a\u0001\n":1}`} {
		f.Add(s)
	}
	every := jsonpath.MustParse("$..*")
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := strictjson.Decode([]byte(text), strictjson.Options{})
		if err != nil {
			return // what is no JSON is refused before names are looked at
		}
		var seen []string
		w := bodyWalk{namedCheck: &namedCheck{names: &pattern{re: regexp.MustCompile("")}}, path: []byte("$")}
		collect(doc, "$", &seen)
		if err := w.value(doc); err != nil || string(w.path) != "$" {
			t.Fatalf("%v, path %s", err, w.path)
		}
		if want := len(every.Select(doc)) + 1; len(seen) != want {
			t.Errorf("%d paths, %d values", len(seen), want)
		}
		slices.Sort(seen)
		if n := len(slices.Compact(seen)); n != len(seen) {
			t.Errorf("two values have one path: %q", seen)
		}
		for _, path := range seen {
			p, err := jsonpath.Parse(path)
			if err != nil || strings.Contains(path, "*") { // .a-b and .* are names here, not in a JSONPath
				continue
			}
			if got := p.Select(doc); len(got) != 1 {
				t.Errorf("%s selects %d values", path, len(got))
			}
		}
	})
}

func collect(v any, path string, seen *[]string) {
	*seen = append(*seen, path)
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			collect(member, string(appendMember([]byte(path), name)), seen)
		}
	case []any:
		for i, element := range v {
			collect(element, fmt.Sprintf("%s[%d]", path, i), seen)
		}
	}
}

func BenchmarkNamePatterns(b *testing.B) {
	for name, r := range map[string]Rule{
		"headers": {Headers: []Check{{NamePattern: "^X-", Pattern: "^e1$"}}},
		"query":   {Query: []Check{{NamePattern: "^(a|b)$", Pattern: "^e1$"}}},
		"claims":  {Claims: []Check{{NamePattern: "^tenant\\.", Pattern: "^e1$"}}},
		"body":    {Body: []Check{{NamePattern: ".*", Pattern: "(?i)drop table"}}},
	} {
		b.Run(name, func(b *testing.B) {
			in := input(b, "GET", "/v1/charges?a=1&b=2", `{"a":"x","b":[1,2,3]}`, jsonType, "X-Env: prod")
			s := set(b, "", deny(r))
			b.ReportAllocs()
			for b.Loop() {
				s.Decide(in)
			}
		})
	}
}
