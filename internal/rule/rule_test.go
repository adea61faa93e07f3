package rule

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// allow and deny make tables read as sentences.
func allow(r Rule) Rule { r.Effect = Allow; return r }
func deny(r Rule) Rule  { r.Effect = Deny; return r }

func set(t testing.TB, def string, rules ...Rule) *Set {
	t.Helper()
	s, err := Scope{Default: def, Rules: rules}.Compile(Env{Expression: func(src string) (func(*http.Request) (bool, error), error) {
		return func(*http.Request) (bool, error) {
			switch src {
			case "true":
				return true, nil
			case "false":
				return false, nil
			}
			return false, errors.New("cannot be evaluated")
		}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func input(t testing.TB, method, target, body string, headers ...string) *Input {
	t.Helper()
	r, err := http.NewRequest(method, "http://gw.test"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	path, err := CanonicalPath(r.URL, false)
	if err != nil {
		t.Fatal(err)
	}
	return &Input{Request: r, Method: method, Path: path, Body: NewBody(r, 0), Claims: Decoded{
		"tenant": map[string]any{"id": "acme"}, "roles": []any{"reader", "editor"}, "level": 3.0, "https://x.test/a": "b", "empty": []any{},
	}}
}

const jsonType = "Content-Type: application/json"

func TestDecide(t *testing.T) {
	path := func(p ...string) Rule { return Rule{Paths: p} }
	header := func(c ...Check) Rule { return Rule{Headers: c} }
	query := func(c ...Check) Rule { return Rule{Query: c} }
	claim := func(c ...Check) Rule { return Rule{Claims: c} }
	body := func(c ...Check) Rule { return Rule{Body: c} }
	get := func(target string, headers ...string) *Input { return input(t, "GET", target, "", headers...) }
	post := func(text string, headers ...string) *Input {
		return input(t, "POST", "/", text, append(headers, jsonType)...)
	}
	for _, tt := range []struct {
		name    string
		def     string
		rules   []Rule
		in      *Input
		allowed bool
	}{
		{"no rules allow", "", nil, get("/"), true},
		{"a default alone decides", Deny, nil, get("/"), false},
		{"unsaid with an allow rule: deny", "", []Rule{allow(path("/a"))}, get("/b"), false},
		{"unsaid without an allow rule: allow", "", []Rule{deny(path("/a"))}, get("/b"), true},
		{"deny wins over allow", Allow, []Rule{allow(path("/*")), deny(path("/a"))}, get("/a"), false},
		{"deny wins whatever the order", Allow, []Rule{deny(path("/a")), allow(path("/*"))}, get("/a"), false},
		{"allow wins over the default", Deny, []Rule{allow(path("/a"))}, get("/a"), true},

		{"an exact path", "", []Rule{allow(path("/a/b"))}, get("/a/b"), true},
		{"an exact path, longer", "", []Rule{allow(path("/a/b"))}, get("/a/b/"), false},
		{"an allow compares exactly", "", []Rule{allow(path("/a/b"))}, get("/A/b"), false},
		{"a deny in any case", "", []Rule{deny(path("/a/ß"))}, get("/A/%E1%BA%9E"), false},
		{"a deny, percent-encoded", "", []Rule{deny(path("/admin"))}, get("/%61dmin"), false},
		{"a prefix", "", []Rule{allow(path("/a/*"))}, get("/a/b/c"), true},
		{"a prefix needs its slash", "", []Rule{allow(path("/a/*"))}, get("/a"), false},
		{"a suffix", "", []Rule{allow(path("*.json"))}, get("/a/b.json"), true},
		{"a part", "", []Rule{allow(path("*mid*"))}, get("/a/amidst"), true},
		{"a star inside stays in its segment", "", []Rule{allow(path("/a/*/c"))}, get("/a/b/c"), true},
		{"a star inside does not cross", "", []Rule{allow(path("/a/*/c"))}, get("/a/b/b/c"), false},
		{"any of the paths", "", []Rule{allow(path("/a", "/b"))}, get("/b"), true},
		{"a path regexp", "", []Rule{allow(Rule{PathRegexp: `^/v[12]/`})}, get("/v2/x"), true},
		{"a denying regexp in any case", "", []Rule{deny(Rule{PathRegexp: `^/admin`})}, get("/ADMIN"), false},

		{"a method", "", []Rule{allow(Rule{Methods: []string{"GET", "POST"}})}, get("/"), true},
		{"another method", "", []Rule{allow(Rule{Methods: []string{"POST"}})}, get("/"), false},
		{"HEAD is not GET", "", []Rule{allow(Rule{Methods: []string{"GET"}})}, input(t, "HEAD", "/", ""), false},
		{"an unknown method fits all methods only", "", []Rule{allow(Rule{Methods: []string{"*"}})}, input(t, "FROB", "/", ""), true},
		{"an unknown method fits no list", Allow, []Rule{deny(Rule{Methods: []string{"GET"}})}, input(t, "FROB", "/", ""), true},
		{"a deny fits a method in lower case", Allow, []Rule{deny(Rule{Methods: []string{"DELETE"}})}, input(t, "delete", "/", ""), false},
		{"an allow does not", "", []Rule{allow(Rule{Methods: []string{"DELETE"}})}, input(t, "delete", "/", ""), false},

		{"a header", "", []Rule{allow(header(Check{Name: "x-env", Pattern: "^prod$"}))}, get("/", "X-Env: prod"), true},
		{"an allow needs every value", "", []Rule{allow(header(Check{Name: "X-Env", Pattern: "^prod$"}))}, get("/", "X-Env: prod", "X-Env: dev"), false},
		{"a deny any value", "", []Rule{deny(header(Check{Name: "X-Env", Pattern: "^dev$"}))}, get("/", "X-Env: prod", "X-Env: dev"), false},
		{"a header that is not there", "", []Rule{allow(header(Check{Name: "X-Env", Pattern: ""}))}, get("/"), false},
		{"a header that must be there", "", []Rule{allow(header(Check{Name: "X-Env"}))}, get("/", "X-Env: "), true},
		{"a header that must not", "", []Rule{allow(header(Check{Name: "X-Debug", Absent: true}))}, get("/", "X-Debug: 1"), false},
		{"a header that must not, and is not", "", []Rule{allow(header(Check{Name: "X-Debug", Absent: true}))}, get("/"), true},
		{"Host", "", []Rule{allow(header(Check{Name: "Host", Pattern: `^gw\.test$`}))}, get("/"), true},

		{"a parameter", "", []Rule{allow(query(Check{Name: "a", Pattern: "^1 2$"}))}, get("/?a=1+2"), true},
		{"a parameter in another case", "", []Rule{allow(query(Check{Name: "a"}))}, get("/?A=1"), false},
		{"an escaped name", "", []Rule{deny(query(Check{Name: "debug"}))}, get("/?%64ebug"), false},
		{"a semicolon in the query cannot be judged", Allow, []Rule{deny(query(Check{Name: "b"}))}, get("/?a=1;b=2"), false},
		{"a query that cannot be decoded", Allow, []Rule{deny(query(Check{Name: "a", Pattern: "^1$"}))}, get("/?b=%zz"), false},
		{"a query that cannot be decoded, for another path", Allow, []Rule{deny(Rule{Paths: []string{"/x"}, Query: []Check{{Name: "a"}}})}, get("/?b=%zz"), true},

		{"a nested claim", "", []Rule{allow(claim(Check{Name: "tenant.id", Pattern: "^acme$"}))}, get("/"), true},
		{"an element of a list", "", []Rule{allow(claim(Check{Name: "roles", Pattern: "^editor$"}))}, get("/"), true},
		{"a number", "", []Rule{allow(claim(Check{Name: "level", Pattern: "^3$"}))}, get("/"), true},
		{"a claim whose name has dots", "", []Rule{allow(claim(Check{Name: "https://x.test/a", Pattern: "^b$"}))}, get("/"), true},
		{"a claim that is not there", "", []Rule{allow(claim(Check{Name: "plan"}))}, get("/"), false},
		{"a claim that must not be there", "", []Rule{allow(claim(Check{Name: "plan", Absent: true}))}, get("/"), true},
		{"an empty list is there", "", []Rule{allow(claim(Check{Name: "empty"}))}, get("/"), true},
		{"an empty list fits nothing", "", []Rule{allow(claim(Check{Name: "empty", Pattern: ".*"}))}, get("/"), false},

		{"a member", "", []Rule{allow(body(Check{Name: "$.a", Pattern: "^x$"}))}, post(`{"a":"x"}`), true},
		{"every node for an allow", "", []Rule{allow(body(Check{Name: "$.a[*]", Pattern: "^x$"}))}, post(`{"a":["x","y"]}`), false},
		{"any node for a deny", "", []Rule{deny(body(Check{Name: "$..a", Pattern: "^x$"}))}, post(`{"b":[{"a":"y"},{"a":"x"}]}`), false},
		{"no node", "", []Rule{allow(body(Check{Name: "$.b"}))}, post(`{"a":1}`), false},
		{"a node that must not be there", "", []Rule{allow(body(Check{Name: "$.b", Absent: true}))}, post(`{"a":1}`), true},
		{"a number with an exponent, denied", "", []Rule{deny(body(Check{Name: "$.a", Pattern: "^1000$"}))}, post(`{"a":1e3}`), false},
		{"a number with an exponent, allowed", "", []Rule{allow(body(Check{Name: "$.a", Pattern: "^[0-9]{1,4}$"}))}, post(`{"a":1e3}`), false},
		{"a plain number", "", []Rule{allow(body(Check{Name: "$.a", Pattern: "^[0-9]{1,4}$"}))}, post(`{"a":1000}`), true},
		{"null", "", []Rule{allow(body(Check{Name: "$.a", Pattern: "^null$"}))}, post(`{"a":null}`), true},
		{"an object as text", "", []Rule{deny(body(Check{Name: "$.a", Pattern: `"b":1`}))}, post(`{"a": {"b" : 1}}`), false},
		{"a form", "", []Rule{allow(body(Check{Name: "$.a", Pattern: "^1 2$"}))}, input(t, "POST", "/", "a=1+2", "Content-Type: application/x-www-form-urlencoded"), true},
		{"a body that cannot be judged, though another rule allows", Allow, []Rule{allow(path("/*")), allow(body(Check{Name: "$.a"}))}, post(`{`), false},
		{"a body of another type", Allow, []Rule{deny(body(Check{Name: "$.a"}))}, input(t, "POST", "/", `{"b":1}`, "Content-Type: text/plain"), false},

		{"an expression", "", []Rule{allow(Rule{Expression: "true"})}, get("/"), true},
		{"an expression that does not hold", "", []Rule{allow(Rule{Expression: "false"})}, get("/"), false},
		{"an expression that cannot be evaluated", Allow, []Rule{deny(Rule{Expression: "error"})}, get("/"), false},
		{"everything that is said must fit", "", []Rule{allow(Rule{Methods: []string{"GET"}, Paths: []string{"/a"}, Headers: []Check{{Name: "X"}}})}, get("/a"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := set(t, tt.def, tt.rules...)
			if d := s.Decide(tt.in); d.Allowed != tt.allowed || d.Err != nil && d.Allowed {
				t.Errorf("got %+v", d)
			}
			if n := len(s.Explain(tt.in)); n != len(tt.rules) {
				t.Errorf("%d rules are explained", n)
			}
		})
	}
}

func TestADenyWithoutBodyDoesNotReadIt(t *testing.T) {
	s := set(t, "", allow(Rule{Body: []Check{{Name: "$.a"}}}), deny(Rule{Paths: []string{"/x"}}))
	in := input(t, "POST", "/x", `{"a":1}`, jsonType)
	if d := s.Decide(in); d.Allowed || d.Rule != 1 || in.Body.loaded {
		t.Errorf("got %+v, body read: %v", d, in.Body.loaded)
	}
}

func TestExplain(t *testing.T) {
	s := set(t, "",
		allow(Rule{Body: []Check{{Name: "$.a", Pattern: "^x$"}}}),
		allow(Rule{Methods: []string{"GET", "HEAD"}}),
		deny(Rule{Paths: []string{"/a", "/b"}}),
		deny(Rule{PathRegexp: "^/c"}),
		allow(Rule{Headers: []Check{{Name: "Host"}, {Name: "X-Env", Pattern: "^prod$"}}}),
		allow(Rule{Headers: []Check{{Name: "Content-Type", Absent: true}}}),
		allow(Rule{Query: []Check{{Name: "dry"}}}),
		allow(Rule{Claims: []Check{{Name: "tenant.id", Pattern: "^acme$", Absent: true}}}),
		allow(Rule{Expression: "false"}),
		deny(Rule{Expression: "error"}),
		allow(Rule{Paths: []string{"/x"}}))
	got := s.Explain(input(t, "POST", "/x", `{"a":"y"}`, jsonType))
	for i, want := range []string{
		"body/0: $.a is not there or does not fit ^x$",
		"methods: the method is not GET or HEAD",
		"paths: the path does not fit /a or /b",
		"path_regexp: the path does not fit ^/c",
		"headers/1: X-Env is not there or does not fit ^prod$",
		"headers/0: Content-Type is there",
		"query/0: dry is not there",
		"claims/0: tenant.id fits ^acme$",
		"expression: it does not hold",
		"",
		"",
	} {
		if v := got[i]; v.Why != want || v.Matches != (i == 10) || (v.Err != nil) != (i == 9) {
			t.Errorf("rule %d: %+v, want %q", i, v, want)
		}
	}
	if got[0].Rule.Body == nil || (*Set)(nil).Explain(nil) != nil {
		t.Error("verdicts are not in the order of the rules")
	}
}

func TestCompileErrors(t *testing.T) {
	for _, tt := range []struct {
		rule Rule
		err  string
	}{
		{Rule{Effect: "maybe"}, `rules/0/effect: it is allow or deny, not "maybe"`},
		{allow(Rule{Methods: []string{"get"}}), `rules/0/methods: "get" is written GET`},
		{allow(Rule{Methods: []string{"FROB"}}), "not a registered HTTP method; such"},
		{allow(Rule{Methods: []string{"PSOT"}}), "(did you mean POST?)"},
		{allow(Rule{Paths: []string{"/a", "b"}}), "rules/0/paths/1: a path begins with / or *"},
		{allow(Rule{Paths: []string{"/["}}), "no complete pattern"},
		{allow(Rule{PathRegexp: "("}), "rules/0/path_regexp: error parsing regexp"},
		{allow(Rule{PathRegexp: "^(?<!a)b"}), "look-around"},
		{allow(Rule{PathRegexp: `(a)\1`}), "back-references"},
		{allow(Rule{Headers: []Check{{Name: "A"}, {Name: "B", Pattern: "("}}}), "rules/0/headers/1: "},
		{allow(Rule{Query: []Check{{}}}), "rules/0/query/0: the name is missing"},
		{allow(Rule{Body: []Check{{Name: "a"}}}), `rules/0/body/0: "a" is not a JSONPath`},
		{allow(Rule{Expression: "x"}), "rules/0/expression: expressions are not available here"},
	} {
		if _, err := (Scope{Rules: []Rule{tt.rule}}).Compile(Env{}); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("got %v, want %q", err, tt.err)
		}
	}
	if _, err := (Scope{Default: "x"}).Compile(Env{}); err == nil {
		t.Error("a wrong default was accepted")
	}
}

func TestDecimal(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "1": "1", "-1.50": "-1.5", "1e3": "1000", "1E+3": "1000", "1.5e-3": "0.0015", "12.5e1": "125",
		"0.10e1": "1", "1e399": "1" + strings.Repeat("0", 399), "1e400": "1e400",
		"0." + strings.Repeat("0", 500) + "1e504": "1000", "0e999": "0", "-0.00": "0", "1000.10": "1000.1", "-5e-1": "-0.5", "1e99999999999999999999": "1e99999999999999999999",
	} {
		if got := Text(json.Number(in)); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// TestDecideIsCheap is about allocations: a handful of usual rules must cost none.
func TestDecideIsCheap(t *testing.T) {
	s := set(t, Deny, allow(Rule{Methods: []string{"GET", "POST"}, Paths: []string{"/v1/*"}}), deny(Rule{Paths: []string{"/v1/admin"}}), deny(Rule{Methods: []string{"DELETE"}}))
	in := input(t, "GET", "/v1/charges", "")
	if n := testing.AllocsPerRun(100, func() {
		if !s.Decide(in).Allowed {
			t.Fatal("denied")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
