package wire_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

func TestWhereABodyIsRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	for _, tt := range []struct{ name, body, fault string }{
		{"twice", `{"clientName":"a","clientName":"b"}`, "/clientName: it is there twice"},
		{"twice, escaped", `{"clientName":"a","clientN\u0061me":"b"}`, "/clientName: it is there twice"},
		{"twice, deep", `{"a":[0,{"b/c":{"x":1,"y":[],"x":2}}]}`, "/a/1/b~1c/x: it is there twice"},
		{"twice, a secret", `{"` + canary + canary + `":1,"` + canary + canary + `":2}`, ": it is there twice"},
		{"half a pair", `{"a":{"b":["\ud800"]}}`, "/a/b/0: surrogate"},
		{"half a pair in a name", `{"a":{"\ud800":1}}`, "/a: a member's name has a NUL or half"},
		{"NUL", `{"a":"\u0000"}`, "/a: NUL"},
		{"NUL in a name", `{"a":{"b":1,"c\u0000":1}}`, "/a: a member's name has a NUL or half"},
		{"too deep", deep, strings.Repeat("/a", 64) + ": at most 64 lists and objects"},
		{"broken", `{"a":{"b":}`, "/a/b: it is not valid JSON, at byte"},
		{"cut off", `{"a":[1,2`, "/a/2: it is not valid JSON"},
		{"empty", ``, ": it is not valid JSON"},
		{"two", `{"a":1}{}`, ": it is not valid JSON"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "/a: it is not valid JSON"},
		{"a comment", `{"a":1} // ` + canary, ": it is not valid JSON, at byte"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.DecodeClient([]byte(tt.body), nil)
			expect(t, err, tt.fault)
		})
	}
}

// FuzzCredential holds of every body that what is taken is JSON of one kind, and is the same
// when its answer is sent back; and that no secret is shown.
func FuzzCredential(f *testing.F) {
	for _, e := range every() {
		b, err := json.Marshal(credential(e.side, e.authType, e.secret))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(`{"credentialName":"n","credentialType":"proxy","credentialAuthType":"key","credentialExpiresAt":"2027-01-31T12:00:00.123456Z","credentialDefaultRuleEffect":"deny"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, g, err := wire.DecodeCredential([]byte(text), nil)
		if err != nil {
			checkFaults(t, err)
			return
		}
		shown := wire.ShowCredential(c, time.Time{}, nil)
		again, _, err := wire.DecodeCredential(body(t, shown), c)
		if err != nil {
			t.Fatalf("shown as %s it is refused: %v", body(t, shown), err)
		}
		if string(again.Spec) != string(c.Spec) || again.Name != c.Name || !again.ExpiresAt.Equal(c.ExpiresAt) || fmt.Sprint(again.Hosts) != fmt.Sprint(c.Hosts) {
			t.Errorf("shown as %s it is another one", body(t, shown))
		}
		if key := g; key != nil && key.Key != "" && strings.Contains(string(body(t, shown)), key.Key) {
			t.Error("a key that was made is shown again")
		}
		if rotated, _, err := wire.DecodeRotate([]byte(`{"credentialSecret":`+string(body(t, shown.Secret))+`}`), c, now); err == nil && rotated.RotatedAt.IsZero() {
			t.Error("it was rotated at no time")
		}
	})
}

// FuzzRecords is FuzzCredential for the other records.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{
		`{"targetName":"t","targetBaseURL":"https://api.example.com/v2","targetTestPath":"/health","targetRegion":"us-east-1","targetDefaultRuleEffect":"allow"}`,
		`{"proxyName":"p","proxyProxyCredentialIds":["a","b"],"proxyTargetId":"t","proxyTargetCredentialId":"c","proxyAlias":"x","proxyActive":false,"proxyMaxBody":1}`,
		`{"clientName":"Acme","clientId":"acme"}`, `{"sub":"s","before":"2027-02-01T00:00:00.5Z","note":"n"}`, `{"jti":"x","expiresAt":"2027-02-01T00:00:00+01:00"}`,
		`{"method":"POST","path":"/a?b=c","headers":{"A":["1"]},"body":{"a":1}}`, `{"path":"/","query":{"a":"b"}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b := []byte(text)
		roundTrip(t, b, wire.DecodeTarget, wire.ShowTarget)
		roundTrip(t, b, wire.DecodeProxy, wire.ShowProxy)
		roundTrip(t, b, wire.DecodeClient, wire.ShowClient)
		roundTrip(t, b, wire.DecodeBlock, wire.ShowBlock)
		c, err := wire.DecodeCheck(b)
		if err != nil {
			checkFaults(t, err)
		} else if _, err := c.Request(t.Context()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func roundTrip[R store.Target | store.Proxy | store.Client | store.Block, V any](t *testing.T, b []byte, decode func([]byte, *R) (*R, error), show func(*R) V) {
	t.Helper()
	r, err := decode(b, nil)
	if err != nil {
		checkFaults(t, err)
		return
	}
	shown := body(t, show(r))
	again, err := decode(shown, r)
	if err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", r) {
		t.Errorf("%+v, shown as %s, is %+v, %v", r, shown, again, err)
	}
}

// FuzzRotate holds that a rotation changes the spec and nothing else that callers depend on.
func FuzzRotate(f *testing.F) {
	for _, s := range []string{``, `{}`, `{"overlap":"24h"}`, `{"overlap":3600,"credentialSecret":{"key":"x"}}`, `{"credentialSecret":{"header":"X"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := wire.DecodeCredential([]byte(`{"credentialName":"n","credentialType":"proxy","credentialAuthType":"key","credentialSecret":{"key":"`+canary+`"}}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		rotated, _, err := wire.DecodeRotate([]byte(text), c, now)
		if err != nil {
			checkFaults(t, err)
			return
		}
		if string(rotated.Spec) == string(c.Spec) || len(rotated.Previous) > 1 || len(rotated.Previous) == 1 && !rotated.Previous[0].Until.After(now) {
			t.Errorf("got %+v", rotated.Previous)
		}
	})
}
