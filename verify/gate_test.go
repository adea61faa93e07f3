package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// directory is an rr app with credentials only.
type directory map[string]*Credential

func (d directory) VerifyGate(string) (*Gate, error) { return nil, errors.New("no proxies here") }
func (d directory) VerifyGates() map[string]*Gate    { return nil }
func (d directory) VerifySettings() Settings         { return Settings{} }
func (d directory) StartWith(*host.Loader)           {}
func (d directory) ProxyCredential(name string) (*Credential, error) {
	if c := d[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("there is no credential %q", name)
}

var unlimited = admission{Throttle: Throttle{Failures: -1}}

func loader(t testing.TB) *host.Loader {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return host.NewLoader(ctx, zap.NewNop())
}

func raws(objects ...string) []json.RawMessage {
	list := make([]json.RawMessage, len(objects))
	for i, o := range objects {
		list[i] = json.RawMessage(o)
	}
	return list
}

func gate(t testing.TB, accept ...string) *Gate {
	t.Helper()
	g, err := NewGate(loader(t), "p", "proxy p", &Spec{AcceptRaw: raws(accept...)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// who tells who the gate recognises, or the error.
func who(g *Gate, r *http.Request) string {
	x := &exchange.Exchange{Context: r.Context()}
	if _, err := g.verify(r, x, g.now(), unlimited); err != nil {
		return "error: " + err.Error()
	}
	return x.Credential + "/" + x.ID
}

func TestOrderOfVerifiers(t *testing.T) {
	g := gate(t, `{"kind":"basic","username":"bob","password":"first-password"}`, `{"kind":"basic","username":"bob","password":"second-password"}`,
		`{"kind":"bearer","token":"a-bearer-token-0123456789"}`, `{"kind":"jwt","token":"a.jwt.token"}`, `{"kind":"key","secrets":["a-key-0123456789-0123456789"],"expires":"2030-01-01T00:00:00Z"}`)
	for _, tt := range []struct{ header, want string }{
		{"Authorization: Basic Ym9iOmZpcnN0LXBhc3N3b3Jk", "basic/bob"},
		{"Authorization: Basic Ym9iOnNlY29uZC1wYXNzd29yZA==", "basic/bob"},
		{"Authorization: Bearer a-bearer-token-0123456789", "bearer/bearer"},
		{"Authorization: a-bearer-token-0123456789", "error: basic: "},
		{"Authorization: a.jwt.token", "jwt/jwt"},
		{"Authorization: Bearer a.jwt.token", "jwt/jwt"},
		{"X-Api-Key: a-key-0123456789-0123456789", "key/key"},
		{"X-Api-Key: a.jwt.token", "error: "},
		{"X: 1", "error: no credential of this kind"},
	} {
		if got := who(g, request(t, "/", tt.header)); !strings.HasPrefix(got, tt.want) && !(strings.HasPrefix(tt.want, "error") && strings.HasPrefix(got, "error")) {
			t.Errorf("%s: %s, want %s", tt.header, got, tt.want)
		}
	}
	g.now = func() time.Time { return time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC) }
	for _, a := range g.main.entries {
		if k, ok := a.verifier.(*Key); ok {
			k.now = g.now
		}
	}
	if got := who(g, request(t, "/", "X-Api-Key: a-key-0123456789-0123456789")); !strings.Contains(got, "expired") {
		t.Errorf("after its expiry: %s", got)
	}
}

// TestAHundredThousandKeys are named credentials of one proxy, each found by itself.
func TestAHundredThousandKeys(t *testing.T) {
	const n = 100_000
	l, dir := loader(t), directory{}
	spec := &Spec{}
	key := func(i int) string { return fmt.Sprintf("rr_live_%08d-0123456789abcdef", i) }
	for i := range n {
		c := &Credential{Name: fmt.Sprint("agent-", i), Raw: json.RawMessage(`{"kind":"key","hashes":["` + FormatHash(key(i)) + `"]}`)}
		if err := c.Provision(l); err != nil {
			t.Fatal(err)
		}
		dir[c.Name] = c
		spec.AcceptRaw = append(spec.AcceptRaw, host.Refer(c.Name))
	}
	many, err := NewGate(l, "p", "proxy p", spec, dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 997 {
		want := fmt.Sprintf("agent-%d/agent-%d", i, i)
		if got := who(many, request(t, "/", "X-Api-Key: "+key(i))); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if got := who(many, request(t, "/", "X-Api-Key: "+key(n))); !strings.HasPrefix(got, "error") {
		t.Errorf("an unknown key is %s", got)
	}
	one := gate(t, `{"kind":"key","secrets":["`+key(0)+`"]}`)
	r := request(t, "/", "X-Api-Key: "+key(0))
	cost := func(g *Gate) float64 {
		x := &exchange.Exchange{Context: r.Context()}
		return testing.AllocsPerRun(100, func() {
			if _, err := g.verify(r, x, g.now(), unlimited); err != nil {
				t.Fatal(err)
			}
		})
	}
	if a, b := cost(one), cost(many); a != b || a > 0 {
		t.Errorf("with one key verifying allocates %v objects, with %d keys %v", a, n, b)
	}
}

func TestChangedSecretsAreTakenOver(t *testing.T) {
	g := gate(t, `{"kind":"key","secrets":["first-key-0123456789-0123"]}`)
	k := g.main.entries[0].verifier.(*Key)
	first := request(t, "/", "X-Api-Key: first-key-0123456789-0123")
	x := &exchange.Exchange{Context: first.Context()}
	if _, err := g.verify(first, x, g.now(), unlimited); err != nil || !g.Holds(x.Proof) {
		t.Fatal("the first key is not accepted", err)
	}
	k.secrets[0] = secret.Static("second-key-0123456789-012")
	if err := g.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got := who(g, first); !strings.HasPrefix(got, "error") || g.Holds(x.Proof) {
		t.Errorf("the old key is still %s", got)
	}
	if got := who(g, request(t, "/", "X-Api-Key: second-key-0123456789-012")); got != "key/key" {
		t.Errorf("the new key is %s", got)
	}
}

func TestVerifiedPasswordsAreRememberedAndBounded(t *testing.T) {
	const hash = "$2a$04$aHpZg2CBryn9qAhoZBtOW.s9sXocMLfn35IQtBFi6gUexHIXQ.xC6" // sesame
	g := gate(t, `{"kind":"basic","username":"bob","password":"`+hash+`"}`)
	r := request(t, "/", "Authorization: Basic Ym9iOnNlc2FtZQ==")
	b := g.main.basics[0]
	if _, err := b.VerifyCached(request(t, "/", "Authorization: Basic Ym9iOm90aGVy")); !errors.Is(err, ErrCostly) {
		t.Errorf("an unknown password without a hash: %v", err)
	}
	if got := who(g, r); got != "basic/bob" {
		t.Fatal(got)
	}
	if _, err := b.VerifyCached(r); err != nil {
		t.Errorf("a verified password is not remembered: %v", err)
	}
	if verdicts.max != maxVerdicts {
		t.Errorf("the memory of verified passwords holds %d", verdicts.max)
	}
	if got := who(g, request(t, "/", "Authorization: Basic Ym9iOndyb25n")); !strings.Contains(got, "wrong password") {
		t.Errorf("a wrong password: %s", got)
	}
}

func TestArgon2id(t *testing.T) {
	const hash = "$argon2id$v=19$m=47104,t=1,p=1$SGbo3IT4vetCEsmDwrln9Q$3ac02yrhqNDRs/J1r+VBb8RQwkpcEh+3x9EPKoZhX6g" // sesame
	g := gate(t, `{"kind":"basic","username":"bob","password":"`+hash+`"}`)
	for header, want := range map[string]string{"Ym9iOnNlc2FtZQ==": "basic/bob", "Ym9iOndyb25n": "error: ", "ZXZlOnNlc2FtZQ==": "error: "} {
		if got := who(g, request(t, "/", "Authorization: Basic "+header)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", header, got)
		}
	}
	for _, bad := range []string{"$argon2id$v=19$m=1", strings.Replace(hash, "$m=", "$m=9", 1)} {
		if _, err := NewGate(loader(t), "p", "proxy p", &Spec{AcceptRaw: raws(`{"kind":"basic","username":"bob","password":"` + bad + `"}`)}, nil); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint(n, " keys"), func(b *testing.B) {
			hashes := make([]string, n)
			for i := range hashes {
				hashes[i] = FormatHash(fmt.Sprintf("rr_live_%08d-0123456789abcdef", i))
			}
			raw, _ := json.Marshal(map[string]any{"kind": "key", "hashes": hashes})
			g := gate(b, string(raw))
			r := request(b, "/", "X-Api-Key: rr_live_00000000-0123456789abcdef")
			x := &exchange.Exchange{Context: r.Context()}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := g.verify(r, x, time.Time{}, unlimited); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
