package verify

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
)

// FuzzIntrospectAnswer: whatever an endpoint answers, nobody is let through by anything but
// an object whose one member active is true and that has not expired.
func FuzzIntrospectAnswer(f *testing.F) {
	for _, s := range []string{
		`{"active":true,"sub":"a","exp":1900000000,"aud":["gw"],"scope":"read"}`, `{"active":"true"}`, `{"active":false,"active":true}`,
		`{"active":true,"exp":1e999,"cnf":{"x5t#S256":"x"}}`, `[true]`, `{"active":true}{}`, "{\"active\":true,\"\\u0000\":1}",
	} {
		f.Add([]byte(s))
	}
	now := time.Unix(1_800_000_000, 0)
	i := &Introspect{Audience: Texts{"gw"}, Scope: Texts{"read"}}
	r := request(f, "/")
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := oauth.Object(&fetch.Response{Body: data})
		if err != nil {
			return
		}
		a := new(answer)
		if i.read(a, members, now) != nil {
			return
		}
		id, err := a.identify(r, now)
		if err != nil {
			return
		}
		var plain struct {
			Active any `json:"active"`
			Exp    any `json:"exp"`
		}
		if err := json.Unmarshal(data, &plain); err != nil {
			t.Fatalf("%q is accepted, but encoding/json says: %v", data, err)
		}
		if exp, ok := plain.Exp.(float64); plain.Exp != nil && (!ok || exp <= float64(now.Unix())) || !strings.Contains(string(data), "true") {
			t.Errorf("%q is accepted as %+v", data, id)
		}
	})
}

// FuzzBearerToken: what is sent to an endpoint can be nothing but one parameter's value.
func FuzzBearerToken(f *testing.F) {
	for _, s := range []string{"aZ09-._~+/==", "a=b", "a&b", "", "=", "ü", "a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if isBearerToken(s) && (s == "" || strings.ContainsAny(s, " \t\r\n&?#%\"'<>\\\x00;,:") || strings.ContainsFunc(s, func(r rune) bool { return r > '~' })) {
			t.Errorf("%q is taken for a token", s)
		}
	})
}
