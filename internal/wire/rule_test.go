package wire_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// TestEveryShapeOfRules has a rule of each published shape and of rr's own.
func TestEveryShapeOfRules(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       rule.Rule
		priority   int
	}{
		{"A", `{"effect":"allow","priority":100,"methods":["GET","HEAD"],"pathPattern":"^/v1/","pathPresence":"present","regexFlags":"gi",
			"headerChecks":[{"name":"X-Env","valuePattern":"^prod$","presence":"present"},{"namePattern":"^X-Debug","presence":"absent"}],"queryChecks":[{"name":"dry_run","value":"^true$"}],"notes":"n"}`,
			rule.Rule{Effect: "allow", Methods: []string{"GET", "HEAD"}, PathRegexp: "(?i)^/v1/", Note: "n",
				Headers: []rule.Check{{Name: "X-Env", Pattern: "(?i)^prod$"}, {NamePattern: "(?i)^X-Debug", Absent: true}}, Query: []rule.Check{{Name: "dry_run", Pattern: "(?i)^true$"}}}, 100},
		{"A'", `{"effect":"deny","priority":900,"methods":[],"path":{"pattern":"^/admin","presence":"present"}}`, rule.Rule{Effect: "deny", PathRegexp: "^/admin"}, 900},
		{"B", `{"effect":"deny","methods":["POST","PUT"],
			"path":{"path":{"pattern":"^/v1/orders"},"presence":"must_exist"},
			"headers":[{"name":{"pattern":"^X-Actor$"},"value":{"pattern":".+"},"presence":"must_not_exist"}],
			"body":[{"jsonPath":{"pattern":".*"},"matchValue":{"pattern":"drop table","flags":"i"},"presence":"must_exist"}],
			"notes":"writes need an actor; no SQL in bodies"}`,
			rule.Rule{Effect: "deny", Methods: []string{"POST", "PUT"}, PathRegexp: "^/v1/orders", Headers: []rule.Check{{Name: "X-Actor", Pattern: ".+", Absent: true}},
				Body: []rule.Check{{NamePattern: ".*", Pattern: "(?i)drop table"}}, Note: "writes need an actor; no SQL in bodies"}, 0},
		{"B, tokens and queries", `{"effect":"allow","token":[{"claim":"permissions","value":{"pattern":"^write:"},"presence":"must_exist"},{"claim":{"pattern":"^role","flags":"g"}}],"queries":[{"name":{"pattern":"^(a|b)$","flags":"i"}}]}`,
			rule.Rule{Effect: "allow", Claims: []rule.Check{{Name: "permissions", Pattern: "^write:"}, {NamePattern: "^role"}}, Query: []rule.Check{{NamePattern: "(?i)^(a|b)$"}}}, 0},
		{"rr's own", `{"effect":"allow","methods":["*"],"paths":["/v1/*"],"path_regexp":"^/v[12]/","path_absent":true,"headers":[{"name":"X-A","pattern":"^1$","absent":true},{"name_pattern":"^x-"}],
			"query":[{"name":"q"}],"claims":[{"name":"tenant.id","pattern":"^acme$"}],"body":[{"name":"$.amount","pattern":"^1$"},{"name_pattern":"^a$","absent":false}],"note":"n"}`,
			rule.Rule{Effect: "allow", Methods: []string{"*"}, Paths: []string{"/v1/*"}, PathRegexp: "^/v[12]/", PathAbsent: true, Headers: []rule.Check{{Name: "X-A", Pattern: "^1$", Absent: true}, {NamePattern: "^x-"}},
				Query: []rule.Check{{Name: "q"}}, Claims: []rule.Check{{Name: "tenant.id", Pattern: "^acme$"}}, Body: []rule.Check{{Name: "$.amount", Pattern: "^1$"}, {NamePattern: "^a$"}}, Note: "n"}, 0},
		{"a path alone", `{"effect":"deny","path":"^/a"}`, rule.Rule{Effect: "deny", PathRegexp: "^/a"}, 0},
		{"a path with flags of its own", `{"effect":"deny","regexFlags":"s","path":{"path":{"pattern":"^/a","flags":"smiu"},"presence":"must_not_exist"},"headers":[{"name":"A","value":"b"}]}`,
			rule.Rule{Effect: "deny", PathRegexp: "(?ims)^/a", PathAbsent: true, Headers: []rule.Check{{Name: "A", Pattern: "(?s)b"}}}, 0},
		{"anything", `{"effect":"deny","path":{"pattern":""},"headers":[{"name":{"pattern":""},"value":{"pattern":""}}]}`, rule.Rule{Effect: "deny", Headers: []rule.Check{{NamePattern: ".*"}}}, 0},
		{"a pattern for one header in any case", `{"effect":"deny","flags":"i","headers":[{"name":{"pattern":"^x-actor$"}}]}`, rule.Rule{Effect: "deny", Headers: []rule.Check{{Name: "X-ACTOR"}}}, 0},
		{"a pattern for one parameter", `{"effect":"deny","query":[{"name":{"pattern":"^a\\.b$"}},{"name":{"pattern":"^a$","flags":"i"}}]}`, rule.Rule{Effect: "deny", Query: []rule.Check{{Name: "a.b"}, {NamePattern: "(?i)^a$"}}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := wire.DecodeRule([]byte(tt.body), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(r.Rule, tt.want) || r.Priority != tt.priority {
				t.Errorf("got  %+v\nwant %+v", r.Rule, tt.want)
			}
			r.ID, r.CreatedAt = head.ID, now
			shown := wire.ShowRule(r, &store.Head{ID: "p", Client: "acme"})
			again, err := wire.DecodeRule(body(t, shown), r)
			if err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("shown as %s it is %+v, %v", body(t, shown), again, err)
			}
		})
	}
}

func TestRulesAreShownInShapeB(t *testing.T) {
	r := &store.Rule{ID: head.ID, CreatedAt: now, Priority: 7, Rule: rule.Rule{
		Effect: "deny", Methods: []string{"POST"}, PathRegexp: "(?i)^/v1", PathAbsent: true, Paths: []string{"/a"},
		Headers: []rule.Check{{Name: "X.A", Pattern: "(?ms)^1$", Absent: true}}, Query: []rule.Check{{NamePattern: "^q"}},
		Claims: []rule.Check{{Name: "tenant.id"}, {NamePattern: "(?si)^t"}}, Body: []rule.Check{{Name: "$.a"}, {NamePattern: ".*", Pattern: "x"}}, Expression: "true", Note: "n",
	}}
	same(t, wire.ShowRule(r, &store.Head{ID: "p", Client: "acme", Declared: true}), object{
		"pKey": "p", "sKey": head.ID, "clientId": "acme", "parentId": "acme", "declared": true, "ruleId": head.ID, "ruleCreatedAt": now, "effect": "deny", "priority": 7, "methods": []string{"POST"},
		"path": object{"path": object{"pattern": "^/v1", "flags": "i"}, "presence": "must_not_exist"}, "paths": []string{"/a"},
		"headers":    []object{{"name": object{"pattern": `^X\.A$`}, "value": object{"pattern": "^1$", "flags": "ms"}, "presence": "must_not_exist"}},
		"query":      []object{{"name": object{"pattern": "^q"}, "presence": "must_exist"}},
		"token":      []object{{"claim": "tenant.id", "presence": "must_exist"}, {"claim": object{"pattern": "(?si)^t"}, "presence": "must_exist"}},
		"body":       []object{{"jsonPath": "$.a", "presence": "must_exist"}, {"jsonPath": object{"pattern": ".*"}, "matchValue": object{"pattern": "x"}, "presence": "must_exist"}},
		"expression": "true", "notes": "n",
	})
}

func TestRuleFaults(t *testing.T) {
	old := &store.Rule{ID: head.ID}
	checks := strings.TrimSuffix(strings.Repeat(`{"name":"a"},`, wire.MaxChecks+1), ",")
	for _, tt := range []struct {
		name, body string
		faults     []string
	}{
		{"nothing", `{}`, []string{"/effect: allow or deny"}},
		{"a list", `[]`, []string{": it is a list"}},
		{"types", `{"effect":1,"priority":"1","methods":"GET","paths":{},"path":3,"headers":{},"query":[1],"notes":2,"flags":[]}`,
			[]string{"/flags: it is a list", "/priority: whole number", "/effect: allow or deny", "/paths: it is an object", "/path: it is a number", "/headers: it is an object", "/query/0: it is a number", "/notes: it is a number"}},
		{"not known", `{"effect":"deny","header":[],"headers":[{"name":"a","valeu":"b"}],"colour":1}`, []string{"/colour: it is not known", "/header: did you mean headers?", "/headers/0/valeu: did you mean value?"}},
		{"said twice", `{"effect":"deny","path":"^/a","pathPattern":"^/b","headers":[{"name":"A"}],"headerChecks":[],"notes":"a","note":"b"}`,
			[]string{"/pathPattern: it says the same as /path", "/headerChecks: it says the same as /headers", "/note: it says the same as /notes"}},
		{"priority", `{"effect":"deny","priority":1001}`, []string{"/priority: from 0 to 1000"}},
		{"presence", `{"effect":"deny","path":{"pattern":"a","presence":"maybe"},"headers":[{"name":"A","presence":"no","absent":true}]}`,
			[]string{"/path/presence: must_exist or must_not_exist", "/headers/0/absent: it says the same as /headers/0/presence", "/headers/0/presence: must_exist or"}},
		{"absent without a pattern", `{"effect":"deny","pathPresence":"absent"}`, []string{"/pathPresence: there is no pattern"}},
		{"methods", `{"effect":"deny","methods":["GET","get","PSOT",1]}`, []string{"/methods/1: is written GET", "/methods/2: did you mean POST?", "/methods/3: it is a number"}},
		{"globs", `{"effect":"deny","paths":["/a","b","/["]}`, []string{"/paths/1: begins with / or *", "/paths/2: no complete pattern"}},
		{"patterns, all of them", `{"effect":"deny","path":{"path":{"pattern":"(?<!a)b"}},"headers":[{"name":"A"},{"name":{"pattern":"("},"value":{"pattern":"(a)\\1"}}],"query":[{"name":"q","pattern":"[^]"}],
			"token":[{"claim":"c","value":"\\u00e9"}],"body":[{"jsonPath":{"pattern":"(?=a)"},"matchValue":{"pattern":"a(?!b)"}},{"jsonPath":"amount"}]}`,
			[]string{"/path/path/pattern: look-around", "/headers/1/name/pattern: missing closing )", "/headers/1/value/pattern: back-references", "/query/0/pattern: [^] is JavaScript's",
				"/token/0/value: write \\x{00e9}", "/body/0/jsonPath/pattern: look-around", "/body/0/matchValue/pattern: look-around", "/body/1/jsonPath: not a JSONPath such as"}},
		{"a pattern without one", `{"effect":"deny","headers":[{"name":{"flags":"i"}}],"path":{"presence":"present"}}`, []string{"/path/pattern: it is missing", "/headers/0/name/pattern: it is missing"}},
		{"no name", `{"effect":"deny","headers":[{}],"body":[{"matchValue":"x"}]}`, []string{"/headers/0/name: it is missing", "/body/0/jsonPath: it is missing"}},
		{"no header", `{"effect":"deny","headers":[{"name":"X Env"},{"name":{"pattern":"^X Env$"}}]}`, []string{"/headers/0/name: not a header's name", "/headers/1/name: not a header's name"}},
		{"two names", `{"effect":"deny","headers":[{"name":"A","namePattern":"B"}]}`, []string{"/headers/0/namePattern: it says the same as"}},
		{"flags", `{"effect":"deny","regexFlags":"y","path":{"pattern":"a","flags":"v"},"headers":[{"name":"A","flags":"x"}]}`, []string{"/regexFlags: y (sticky)", "/path/flags: v (sets", "/headers/0/flags: flags are i, m and s"}},
		{"an expression", `{"effect":"deny","expression":"true"}`, []string{"/expression: only a configuration has them"}},
		{"many checks", `{"effect":"deny","query":[` + checks + `]}`, []string{"/query: it has 33 elements"}},
		{"a long pattern", `{"effect":"deny","path":"` + strings.Repeat("a", wire.MaxPattern+1) + `"}`, []string{"/path: it has 2049 bytes"}},
		{"a pattern that becomes long", `{"effect":"deny","path":"(` + strings.Repeat("ab?", 20) + `){1000}"}`, []string{"/path: with its repetitions written out"}},
		{"a long note", `{"effect":"deny","notes":"` + strings.Repeat("n", 1001) + `"}`, []string{"/notes: it has 1001 characters"}},
		{"all of it", `{"effect":"deny","query":[` + strings.TrimSuffix(strings.Repeat(`{"name":"a","pattern":"`+strings.Repeat("a", 2000)+`"},`, 20), ",") + `]}`, []string{": it has more than the 32768 bytes"}},
		{"another rule", `{"effect":"deny","ruleId":"x"}`, []string{"/ruleId: cannot be changed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.DecodeRule([]byte(tt.body), old)
			expect(t, err, tt.faults...)
		})
	}
}

func TestRulesOfAScopeAreBounded(t *testing.T) {
	rules := make([]store.Rule, wire.MaxRules+1)
	expect(t, wire.CheckRules(rules), ": there are 1001 rules")
	expect(t, wire.CheckRules(rules[1:]))
	for i := range rules {
		rules[i].Rule.Note = strings.Repeat("n", 5000)
	}
	expect(t, wire.CheckRules(rules[1:]), ": more than 4194304 bytes")
}

func TestPatternsOfAScopeAreBounded(t *testing.T) {
	rules := make([]store.Rule, 26)
	var list []string
	for i := range rules {
		large := strings.Repeat("a{1000}", 8)
		rules[i].Rule.Headers = []rule.Check{{Name: "A", Pattern: large}}
		list = append(list, `{"effect":"deny","headers":[{"name":"A","value":"`+large+`"}]}`)
	}
	expect(t, wire.CheckRules(rules), ": all patterns together have more than 200000 parts")
	expect(t, wire.CheckRules(rules[:24]))
	decode := func(rules string) error {
		_, err := wire.DecodeTarget([]byte(`{"targetName":"t","targetBaseURL":"https://a.example","targetRules":[`+rules+`]}`), nil)
		return err
	}
	expect(t, decode(strings.Join(list, ",")), "/targetRules/24/headers/0/value: with it, all patterns together have more than 200000 parts")
	expect(t, decode(strings.Join(list[:24], ",")))
	_, err := wire.DecodeRule([]byte(`{"effect":"deny","query":[`+strings.TrimSuffix(strings.Repeat(`{"name":"a","pattern":"`+strings.Repeat("a{1000}", 8)+`"},`, 32), ",")+`]}`), nil)
	expect(t, err, "/query/24/pattern: with it, all patterns together")
}

// TestPatternsThatTakeLongToParse are small when they are parsed, which takes up to 0.7 s each.
func TestPatternsThatTakeLongToParse(t *testing.T) {
	for _, source := range []string{"[" + strings.Repeat(`\pL\PL`, 340) + "]", "(?i)[" + strings.Repeat(`B-\x{1e942}`, 180) + "]", "(?i)[" + strings.Repeat("B-\U0001e942", 330) + "]"} {
		text, _ := json.Marshal(map[string]any{"effect": "deny", "path": source})
		began := time.Now()
		_, err := wire.DecodeRule(text, nil)
		expect(t, err, "/path: more than 10000 parts")
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	}
	for _, source := range []string{`^/[\p{L}\p{N}_-]+/\x{e9}-\x{ea}$`, `(?i)^[a-z0-9-]{1,64}$`, `^/v1/[^/]+/[à-ÿ]$`} {
		text, _ := json.Marshal(map[string]any{"effect": "deny", "path": source})
		_, err := wire.DecodeRule(text, nil)
		expect(t, err)
	}
}

// TestRulesMeanWhatTheySay judges requests with rules in the original's shapes.
func TestRulesMeanWhatTheySay(t *testing.T) {
	b := `{"effect":"deny","methods":["POST","PUT"],"path":{"path":{"pattern":"^/v1/orders"},"presence":"must_exist"},
		"headers":[{"name":{"pattern":"^X-Actor$"},"value":{"pattern":".+"},"presence":"must_not_exist"}]}`
	sql := `{"effect":"deny","body":[{"jsonPath":{"pattern":".*"},"matchValue":{"pattern":"drop table","flags":"i"},"presence":"must_exist"}]}`
	for _, tt := range []struct {
		name, rule, request string
		allowed             bool
	}{
		{"an actor is missing", b, `{"method":"POST","path":"/v1/orders"}`, false},
		{"there is one", b, `{"method":"POST","path":"/v1/orders","headers":{"x-actor":"a"}}`, true},
		{"another path", b, `{"method":"POST","path":"/v2/orders"}`, true},
		{"the path in another case", b, `{"method":"POST","path":"/V1/orders"}`, false},
		{"SQL", sql, `{"method":"POST","path":"/","body":{"a":[{"b":"; DROP TABLE x"}]}}`, false},
		{"no SQL", sql, `{"method":"POST","path":"/","body":{"a":[{"b":"x"}]}}`, true},
		{"a body that nobody can judge", sql, `{"method":"POST","path":"/","body":"{"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := wire.DecodeRule([]byte(tt.rule), nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := wire.DecodeCheck([]byte(tt.request))
			if err != nil {
				t.Fatal(err)
			}
			request, err := c.Request(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			set, err := store.ScopeOf("", []store.Rule{*r}).Compile(rule.Env{})
			if err != nil {
				t.Fatal(err)
			}
			path, _ := rule.CanonicalPath(request.URL, false)
			if d := set.Decide(&rule.Input{Request: request, Method: request.Method, Path: path, Body: rule.NewBody(request, 0)}); d.Allowed != tt.allowed {
				t.Errorf("got %+v", d)
			}
		})
	}
}

// FuzzRule holds that a rule that is taken can be used, and is the same when its answer is
// sent back.
func FuzzRule(f *testing.F) {
	for _, s := range []string{
		`{"effect":"allow","priority":100,"methods":["GET"],"pathPattern":"^/v1/","pathPresence":"present","regexFlags":"gi","headerChecks":[{"name":"X-Env","valuePattern":"^prod$"}]}`,
		`{"effect":"deny","path":{"path":{"pattern":"^/v1/orders","flags":"m"},"presence":"must_not_exist"},"body":[{"jsonPath":{"pattern":".*"},"matchValue":{"pattern":"x","flags":"i"}}],"token":[{"claim":"a"}]}`,
		`{"effect":"deny","paths":["/a*"],"query":[{"name":{"pattern":"^a$"}}],"claims":[{"name_pattern":"(?i)"}]}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := wire.DecodeRule([]byte(text), nil)
		if err != nil {
			checkFaults(t, err)
			return
		}
		if _, err := (rule.Scope{Rules: []rule.Rule{r.Rule}}).Compile(rule.Env{}); err != nil {
			t.Fatalf("it does not compile: %v", err)
		}
		shown := body(t, wire.ShowRule(r, &head))
		again, err := wire.DecodeRule(shown, r)
		if err != nil || fmt.Sprintf("%+v", again.Rule) != fmt.Sprintf("%+v", r.Rule) {
			t.Errorf("%s is\n%+v, shown as %s\n%+v, %v", text, r.Rule, shown, again, err)
		}
	})
}

// checkFaults holds that faults are faults, with pointers that are some.
func checkFaults(t *testing.T, err error) {
	t.Helper()
	faults, ok := err.(wire.Faults)
	if !ok || len(faults) == 0 || len(faults) > wire.MaxFaults {
		t.Fatalf("%T with %d faults", err, len(faults))
	}
	for _, fault := range faults {
		if fault.Pointer != "" && fault.Pointer[0] != '/' || fault.Detail == "" {
			t.Errorf("%+v", fault)
		}
	}
	if _, err := json.Marshal(faults); err != nil {
		t.Error(err)
	}
}
