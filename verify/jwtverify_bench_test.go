package verify

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

const (
	benchIssuer   = "https://tenant.eu.auth0.example/"
	benchAudience = "https://api.example.com"
)

// benchClaims are about as many as an access token of a large provider has; with RS256
// the token has about 850 bytes.
func benchClaims(n int) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": benchIssuer, "sub": fmt.Sprintf("auth0|%024x", n), "aud": []string{benchAudience, benchIssuer + "userinfo"},
		"iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix(), "azp": "7f3c2a1e9b8d4c6fa5e07f3c2a1e9b8d",
		"scope": "openid profile email read:charges write:charges", "permissions": []string{"read:charges", "write:charges"},
	}
}

// remembering has the test's verified tokens kept in a memory of its own, of this size.
func remembering(t testing.TB, entries, bytes int) {
	t.Helper()
	old := tokens
	tokens = newTokenCache(entries, bytes)
	t.Cleanup(func() { tokens = old })
}

// tokenGate accepts tokens of the keys, as the benchmark program's gateways do.
func tokenGate(t testing.TB, keys ...*idp.Key) *Gate {
	t.Helper()
	var members []any
	for _, k := range keys {
		members = append(members, k.JWK())
	}
	raw, err := json.Marshal(map[string]any{
		"kind": "jwt_verify", "issuer": benchIssuer, "audience": []string{benchAudience}, "jwks": map[string]any{"keys": members},
	})
	if err != nil {
		t.Fatal(err)
	}
	return gate(t, string(raw))
}

// tokenRequests are requests with n different tokens.
func tokenRequests(t testing.TB, k *idp.Key, n int) []*http.Request {
	t.Helper()
	requests := make([]*http.Request, n)
	for i := range requests {
		requests[i] = request(t, "/", "Authorization: Bearer "+k.Token(benchClaims(i), nil))
	}
	return requests
}

// pass has the gate recognise the caller of a request, or ends the test.
func pass(t testing.TB, g *Gate, r *http.Request, x *exchange.Exchange) {
	now := g.now()
	if _, err := g.verify(r, x, now, admission{r: r, now: now}); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkTokenSeenBefore is what a token costs from its second request on.
func BenchmarkTokenSeenBefore(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		for _, n := range []int{1, 10_000} {
			if n > 1 && alg == "RS256" { // whose tokens take long to make, and cost what the others do
				continue
			}
			b.Run(fmt.Sprint(alg, "/", n), func(b *testing.B) {
				remembering(b, maxTokens, maxTokenBytes)
				k := idp.NewKey(b, alg, "k1")
				g, requests := tokenGate(b, k), tokenRequests(b, k, n)
				x := &exchange.Exchange{Context: b.Context()}
				for _, r := range requests {
					pass(b, g, r, x)
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					pass(b, g, requests[i%n], x)
				}
			})
		}
	}
}

// BenchmarkTokenFirstSight is what a token costs that was not seen before. Beside it
// golang-jwt's Parse of the same tokens, which is given the key: the promise is its time
// and 10 µs.
func BenchmarkTokenFirstSight(b *testing.B) {
	const n = 256
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		k := idp.NewKey(b, alg, "k1")
		requests := tokenRequests(b, k, n)
		b.Run(alg+"/rr", func(b *testing.B) {
			remembering(b, tokenShards, maxTokenBytes) // one in each part: it goes before it comes again
			g := tokenGate(b, k)
			x := &exchange.Exchange{Context: b.Context()}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				pass(b, g, requests[i%n], x)
			}
		})
		b.Run(alg+"/golang-jwt", func(b *testing.B) {
			public := k.Private.Public()
			parser := jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(benchIssuer), jwt.WithAudience(benchAudience),
				jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(), jwt.WithJSONNumber())
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				raw := strings.TrimPrefix(requests[i%n].Header.Get("Authorization"), "Bearer ")
				if _, err := parser.Parse(raw, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// maxSeenObjects is how many heap objects recognising a token seen before may cost.
const maxSeenObjects = 0

// TestATokenSeenBeforeCostsNoMoreHeap keeps what every request pays from growing unseen.
func TestATokenSeenBeforeCostsNoMoreHeap(t *testing.T) {
	remembering(t, maxTokens, maxTokenBytes)
	k := idp.NewKey(t, "ES256", "k1")
	g, r := tokenGate(t, k), tokenRequests(t, k, 1)[0]
	x := &exchange.Exchange{Context: t.Context()}
	pass(t, g, r, x)
	if got := testing.AllocsPerRun(1000, func() { pass(t, g, r, x) }); got > maxSeenObjects {
		t.Errorf("%v heap objects, at most %d are expected", got, maxSeenObjects)
	}
}

// maxRememberedObjects is how many heap objects a remembered token is, which the garbage
// collector has to look at in each of its rounds.
const maxRememberedObjects = 6

// TestARememberedTokenIsFewObjects keeps in check what tokens cost requests that they have
// nothing to do with.
func TestARememberedTokenIsFewObjects(t *testing.T) {
	remembering(t, maxTokens, maxTokenBytes)
	const n = 1000
	k := idp.NewKey(t, "EdDSA", "k1")
	g, requests := tokenGate(t, k), tokenRequests(t, k, n)
	x := &exchange.Exchange{Context: t.Context()}
	objects := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapObjects)
	}
	before := objects()
	for _, r := range requests {
		pass(t, g, r, x)
	}
	if got := (objects() - before) / n; got > maxRememberedObjects {
		t.Errorf("a token is %.1f heap objects, at most %d are expected", got, maxRememberedObjects)
	}
	runtime.KeepAlive(requests)
}

func TestClaimsOfATokenAreDecodedWhenTheyAreAskedFor(t *testing.T) {
	remembering(t, maxTokens, maxTokenBytes)
	k := idp.NewKey(t, "EdDSA", "k1")
	g, r := tokenGate(t, k), tokenRequests(t, k, 1)[0]
	x := &exchange.Exchange{Context: t.Context()}
	for range 2 { // at first sight, and remembered
		pass(t, g, r, x)
		if v := x.Claims.(*verified); v.decoded.Load() != nil {
			t.Fatal("nobody has asked for claims, and they are decoded")
		}
	}
	for range 2 {
		if v, _ := x.Placeholder("http.auth.user.azp"); v != benchClaims(0)["azp"] {
			t.Errorf("azp is %v", v)
		}
	}
}

// TestTokensOfTheBenchmarkAreSeenAsItSays holds the numbers of internal/bench, which cannot
// ask, against the memory: its many tokens are all remembered, and its unseen ones never
// come again while they are.
func TestTokensOfTheBenchmarkAreSeenAsItSays(t *testing.T) {
	const connections = 32 // of the benchmark, which may overtake one another
	for _, c := range []struct {
		name   string
		tokens int
		size   int // of a token, in bytes
		again  bool
	}{
		{"10,000 of RS256", 10_000, 950, true},
		{"unseen ones of RS256", 26_000, 800, false},
		{"unseen ones of ES256 and EdDSA", 34_000, 550, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			memory, v, now := newTokenCache(maxTokens, maxTokenBytes), &verified{}, time.Now()
			v.until = now.Add(time.Hour)
			keys := make([]digest, c.tokens)
			for i := range keys {
				keys[i] = tokenKey(digest{}, digest{}, fmt.Sprint("token ", i))
			}
			seen, cost := 0, claimsCost(strings.Repeat("x", c.size), benchClaims(0))
			for round := range 3 {
				order := slices.Clone(keys)
				for i := 0; i+connections <= len(order); i += connections {
					part := order[i : i+connections]
					rand.New(rand.NewPCG(uint64(round), uint64(i))).Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
				}
				for _, key := range order {
					if memory.get(key, now) != nil {
						seen++
					} else {
						memory.put(key, v, cost)
					}
				}
			}
			if want := map[bool]int{true: 2 * c.tokens, false: 0}[c.again]; seen != want {
				t.Errorf("of %d tokens three times, %d were seen before, want %d: choose other numbers there and here", c.tokens, seen, want)
			}
		})
	}
}
