package verify

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// blocked is a host's blocklist.
type blocked struct {
	mu      sync.RWMutex
	entries map[string]bool // "jti x", "sub x", "iss x"
	before  time.Time       // of subjects
	asked   int
}

func (b *blocked) add(entry string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		b.entries = map[string]bool{}
	}
	b.entries[entry] = true
}

func (b *blocked) Revoked(issuer, subject, tokenID string, issued time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	old := b.before.IsZero() || issued.Before(b.before)
	return b.entries["iss "+issuer] || b.entries["jti "+tokenID] || b.entries["sub "+subject] && old
}

// blockedLoader is a loader whose host has a blocklist: that of a configuration, or of a
// record.
func blockedLoader(t testing.TB, b host.Blocklist, record bool) *host.Loader {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if record {
		l := host.NewRecordLoader(ctx, zap.NewNop(), host.RecordOptions{ID: "x", Blocklist: b})
		t.Cleanup(l.Close)
		return l
	}
	l := host.NewLoader(ctx, zap.NewNop())
	if b != nil {
		l.SetBlocklist(b)
	}
	return l
}

func blockedGate(t testing.TB, b host.Blocklist, record bool, more string, keys ...*idp.Key) *Gate {
	t.Helper()
	var members []any
	for _, k := range keys {
		members = append(members, k.JWK())
	}
	set, err := json.Marshal(map[string]any{"keys": members})
	if err != nil {
		t.Fatal(err)
	}
	spec := fmt.Sprintf(`{"kind":"jwt_verify","issuer":%q,"audience":%q,"jwks":%s%s}`, benchIssuer, benchAudience, set, more)
	g, err := NewGate(blockedLoader(t, b, record), "p", "proxy p", &Spec{AcceptRaw: raws(spec)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestTheHostsBlocklistIsAsked on every request, beside the verifier's own list, and about
// open streams.
func TestTheHostsBlocklistIsAsked(t *testing.T) {
	remembering(t, maxTokens, maxTokenBytes)
	k := idp.NewKey(t, "EdDSA", "k1")
	now := time.Now()
	claims := benchClaims(1)
	claims["sub"], claims["jti"], claims["iat"] = "svc", "id-1", now.Add(-time.Minute).Unix()
	r := request(t, "/", "Authorization: Bearer "+k.Token(claims, nil))
	for _, record := range []bool{false, true} {
		for _, entry := range []string{"jti id-1", "sub svc", "iss " + benchIssuer} {
			b := new(blocked)
			g := blockedGate(t, b, record, `,"revoked":{"jti":["another"]}`, k)
			for range 2 { // at first sight, and remembered
				if got := who(g, r); got != "jwt_verify/svc" {
					t.Fatalf("%s: %s", entry, got)
				}
			}
			if b.asked < 2 {
				t.Errorf("it was asked %d times", b.asked)
			}
			g.Open()
			x := &exchange.Exchange{Context: r.Context(), Gate: g}
			if _, err := g.verify(r, x, g.now(), unlimited); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			done := exchange.Streams.Watch(x, func() { close(ended) })
			b.add("jti of-somebody-else")
			exchange.Streams.Sweep()
			select {
			case <-ended:
				t.Errorf("%s: the stream ended for an entry about another token", entry)
			default:
			}
			b.add(entry)
			if got := who(g, r); !strings.Contains(got, "the token is revoked") {
				t.Errorf("%s: %s", entry, got)
			}
			exchange.Streams.Sweep()
			select {
			case <-ended:
			default:
				t.Errorf("%s: the stream goes on", entry)
			}
			done()
			g.Close()
		}
	}
	b := &blocked{before: now.Add(-time.Hour)}
	b.add("sub svc")
	if got := who(blockedGate(t, b, true, "", k), r); got != "jwt_verify/svc" {
		t.Errorf("a token that was issued later: %s", got)
	}
	b.before = now
	if got := who(blockedGate(t, b, true, "", k), r); !strings.Contains(got, "the token is revoked") {
		t.Errorf("a token that was issued before: %s", got)
	}
	// one's own list still counts, with a host's and without
	for _, b := range []host.Blocklist{new(blocked), nil} {
		if got := who(blockedGate(t, b, false, `,"revoked":{"jti":["id-1"]}`, k), r); !strings.Contains(got, "the token is revoked") {
			t.Errorf("its own list: %s", got)
		}
	}
}

func TestEither(t *testing.T) {
	yes, no := &revoked{ids: map[string]bool{"x": true}}, &revoked{}
	for name, tt := range map[string]struct {
		list Blocklist
		want bool
	}{
		"the first": {either(yes, nil), true}, "the second": {either(nil, yes), true}, "one of both": {either(no, yes), true},
		"the other": {either(yes, no), true}, "none of both": {either(no, no), false},
	} {
		if got := tt.list.Revoked("", "", "x", time.Time{}); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if either(nil, nil) != nil || either(nil, host.BlocklistOf(t.Context())) != nil {
		t.Error("nothing is a list")
	}
}

// TestABlocklistCostsNoHeap on the path that every request takes.
func TestABlocklistCostsNoHeap(t *testing.T) {
	remembering(t, maxTokens, maxTokenBytes)
	k := idp.NewKey(t, "EdDSA", "k1")
	r := tokenRequests(t, k, 1)[0]
	x := &exchange.Exchange{Context: t.Context()}
	for _, own := range []string{"", `,"revoked":{"jti":["another"]}`} {
		g := blockedGate(t, &revoked{ids: map[string]bool{"x": true}}, true, own, k)
		pass(t, g, r, x)
		if got := testing.AllocsPerRun(1000, func() { pass(t, g, r, x) }); got > maxSeenObjects {
			t.Errorf("%v heap objects, at most %d are expected", got, maxSeenObjects)
		}
	}
}

// TestIntrospectedTokensAreBlocked, remembered or not, and their open streams end.
func TestIntrospectedTokensAreBlocked(t *testing.T) {
	p := idp.New(t)
	for _, cache := range []string{"0s", "1m"} {
		for entry, answer := range map[string]string{
			"jti id-1": `{"active":true,"sub":"s","iss":"i","jti":"id-1"}`,
			"jti 7":    `{"active":true,"sub":"s","iss":"i","jti":7}`,
			"sub s":    `{"active":true,"sub":"s"}`,
			"iss i":    `{"active":true,"username":"u","iss":"i","iat":1700000000}`,
		} {
			t.Run(cache+" "+entry, func(t *testing.T) {
				p.SetIntrospection([]byte(answer))
				b := new(blocked)
				// the token is new to the memory of answers, which all tests share
				token := fmt.Sprintf("token-%s-%s", cache, strings.ReplaceAll(entry, " ", "-"))
				spec := fmt.Sprintf(`{"kind":"introspect","url":%q,"client_auth":"none","cache":%q}`, p.IntrospectionURL(), cache)
				g, err := NewGate(blockedLoader(t, b, false), "p", "proxy p", &Spec{AcceptRaw: raws(spec)}, nil)
				if err != nil {
					t.Fatal(err)
				}
				g.Open()
				defer g.Close()
				r := bearing(t, token)
				x := &exchange.Exchange{Context: r.Context(), Gate: g}
				for range 2 {
					if _, err := g.verify(r, x, g.now(), unlimited); err != nil {
						t.Fatalf("%s: %v", entry, err)
					}
				}
				if v, ok := x.Placeholder("http.auth.user.iss"); ok && strings.Contains(answer, `"iss"`) && v != "i" {
					t.Errorf("%s: iss is %v", entry, v)
				}
				ended := make(chan struct{})
				defer exchange.Streams.Watch(x, func() { close(ended) })()
				asked := p.IntrospectionCount()
				exchange.Streams.Sweep()
				if !g.Holds(x.Proof) || p.IntrospectionCount() != asked {
					t.Errorf("%s: the caller does not stand, or the endpoint was asked", entry)
				}
				b.add(entry)
				if got := who(g, r); !strings.Contains(got, "the token is revoked") {
					t.Errorf("%s, cache %s: %s", entry, cache, got)
				}
				exchange.Streams.Sweep()
				select {
				case <-ended:
				default:
					t.Errorf("%s: the stream goes on", entry)
				}
			})
		}
	}
}

// TestIntrospectedCallersStandByThemselves: they are no callers of another verifier.
func TestIntrospectedCallersStandByThemselves(t *testing.T) {
	p := idp.New(t)
	p.SetIntrospection([]byte(`{"active":true,"sub":"s","jti":"x"}`))
	one, other := introspect(t, p), introspect(t, p, "scope read")
	id, err := one.Verify(bearing(t, "token-of-one"))
	if err != nil || id.Claims["jti"] != "x" {
		t.Fatalf("%v %v", id.Claims, err)
	}
	k := idp.NewKey(t, "EdDSA", "k1")
	jwt := tokenGate(t, k).main.entries[0].verifier.(*JWTVerify)
	if !one.Stands(id) || other.Stands(id) || jwt.Stands(id) || one.Stands(Identity{ID: "s"}) {
		t.Error("the wrong one vouches for a caller")
	}
	token, err := jwt.Verify(tokenRequests(t, k, 1)[0])
	if err != nil || one.Stands(token) {
		t.Errorf("introspect vouches for a JWT (%v)", err)
	}
}
