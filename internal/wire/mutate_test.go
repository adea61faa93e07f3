package wire_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// mutator changes JSON values at random, so that they stay JSON: a fuzzer of bytes
// seldom gets past the parser.
type mutator struct {
	*rand.Rand
	pool []any // values to put in
}

// names are all names that the mutator has seen.
func (m *mutator) collect(v any) (names []string) {
	m.pool = append(m.pool, v)
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			names = append(append(names, name), m.collect(x)...)
		}
	case []any:
		for _, x := range v {
			names = append(names, m.collect(x)...)
		}
	}
	return names
}

func (m *mutator) change(v any, names []string, depth int) any {
	if m.IntN(12) == 0 || depth > 6 {
		return m.pool[m.IntN(len(m.pool))]
	}
	switch v := v.(type) {
	case map[string]any:
		made := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) { // maps have no order, and chance has to have one
			switch m.IntN(25) {
			case 0: // gone
			case 1:
				made[names[m.IntN(len(names))]] = v[name]
			default:
				made[name] = m.change(v[name], names, depth+1)
			}
		}
		if m.IntN(6) == 0 {
			made[names[m.IntN(len(names))]] = m.pool[m.IntN(len(m.pool))]
		}
		return made
	case []any:
		made := []any{}
		for _, x := range v {
			made = append(made, m.change(x, names, depth+1))
		}
		return made
	}
	return v
}

// TestMutatedBodies sends thousands of bodies that are nearly right. What is taken has to be
// the same when its answer is sent back, and no fault may have a secret.
func TestMutatedBodies(t *testing.T) {
	var seeds []any
	for _, e := range every() {
		if e.secret["password"] == nil || e.side == "target" { // hashing takes its time
			seeds = append(seeds, credential(e.side, e.authType, e.secret))
		}
	}
	for _, text := range []string{
		`{"effect":"allow","priority":100,"methods":["GET"],"pathPattern":"^/v1/","pathPresence":"present","regexFlags":"gi","headerChecks":[{"name":"X-Env","valuePattern":"^prod$","presence":"absent"}],"queryChecks":[{"namePattern":"a","pattern":"b"}]}`,
		`{"effect":"deny","path":{"path":{"pattern":"^/v1/orders","flags":"m"},"presence":"must_not_exist"},"headers":[{"name":{"pattern":"^X-A$"}}],"body":[{"jsonPath":{"pattern":".*"},"matchValue":{"pattern":"x","flags":"i"}}],"token":[{"claim":"a","value":"x"}]}`,
		`{"effect":"deny","paths":["/a*"],"path_regexp":"a","path_absent":true,"query":[{"name":{"pattern":"^a$"},"absent":true}],"claims":[{"name_pattern":"(?i)a"}],"body":[{"name":"$.a"}],"note":"n"}`,
		`{"proxyName":"p","proxyProxyCredentialIds":["a","b"],"proxyProxyCredentialId":"a","proxyTargetId":"t","proxyTargetCredentialId":"c","proxyAlias":"x","proxyActive":false,"proxyMaxBody":1}`,
		`{"targetName":"t","targetBaseURL":"https://api.example.com/v2","targetTestPath":"/health","targetRegion":"us-east-1","targetDefaultRuleEffect":"allow","targetInsecureHTTP":true}`,
		`{"sub":"s","before":"2027-02-01T00:00:00.5Z","note":"n","expiresAt":null}`, `{"path":"/","method":"POST","headers":{"A":["b"]},"query":{"a":"b"},"body":{"a":[1.5,-0,1e400,"\u0001"]}}`,
	} {
		var v any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "1e400", "1e40")), &v); err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, v)
	}
	m := &mutator{Rand: rand.New(rand.NewPCG(5, 7))}
	var names []string
	for _, v := range seeds {
		var plain any // of the types that JSON has
		if err := json.Unmarshal(body(t, v), &plain); err != nil {
			t.Fatal(err)
		}
		names = append(names, m.collect(plain)...)
	}
	slices.Sort(names)
	slices.SortFunc(m.pool, func(a, b any) int { return strings.Compare(string(encoded(a)), string(encoded(b))) })
	taken := map[string]int{}
	for i := range 4000 {
		var v any
		_ = json.Unmarshal(body(t, seeds[i%len(seeds)]), &v)
		text := encoded(m.change(v, names, 0))
		tryAll(t, text, taken)
		if t.Failed() {
			t.Fatalf("body %d: %s", i, text)
		}
	}
	for _, kind := range []string{"credential", "rule", "check", "target", "proxy"} {
		if taken[kind] < 10 {
			t.Errorf("only %d bodies were taken for a %s: the mutations are too wild to tell anything", taken[kind], kind)
		}
	}
}

func encoded(v any) []byte {
	b, _ := json.Marshal(v) // which came from JSON
	return b
}

// tryAll has every decoder read a body.
func tryAll(t *testing.T, text []byte, taken map[string]int) {
	if !strings.Contains(string(text), `"basic`) { // hashing takes its time
		c, g, err := wire.DecodeCredential(text, nil)
		if err == nil {
			taken["credential"]++
			if taken["credential"] <= 300 {
				_, _ = load(t, c) // which must not panic, whatever it says
			}
			shown := wire.ShowCredential(c, time.Time{}, nil)
			again, _, err := wire.DecodeCredential(body(t, shown), c)
			if err != nil || string(again.Spec) != string(c.Spec) || (g != nil && g.Key != "" && strings.Contains(string(body(t, shown)), g.Key)) {
				t.Errorf("shown as %s: %v", body(t, shown), err)
			}
		} else if checkFaults(t, err); strings.Contains(err.Error(), canary) {
			t.Errorf("a fault has a secret: %v", err)
		}
	}
	if r, err := wire.DecodeRule(text, nil); err == nil {
		taken["rule"]++
		again, err := wire.DecodeRule(body(t, wire.ShowRule(r, &head)), r)
		if err != nil || string(encoded(again)) != string(encoded(r)) {
			t.Errorf("shown as %s: %v", body(t, wire.ShowRule(r, &head)), err)
		}
	} else {
		checkFaults(t, err)
	}
	if c, err := wire.DecodeCheck(text); err == nil {
		taken["check"]++
		if _, err := c.Request(t.Context()); err != nil {
			t.Error(err)
		}
	}
	tryRecord(t, text, taken, "target", wire.DecodeTarget, wire.ShowTarget)
	tryRecord(t, text, taken, "proxy", wire.DecodeProxy, wire.ShowProxy)
	tryRecord(t, text, taken, "block", wire.DecodeBlock, wire.ShowBlock)
}

func tryRecord[R store.Target | store.Proxy | store.Client | store.Block, V any](t *testing.T, text []byte, taken map[string]int, name string, decode func([]byte, *R) (*R, error), show func(*R) V) {
	if _, err := decode(text, nil); err == nil {
		taken[name]++
	}
	roundTrip(t, text, decode, show)
}
