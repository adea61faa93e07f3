package wire_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

func TestRotate(t *testing.T) {
	c, _ := made(t, credential("proxy", "key", object{"key": canary, "header": "X-Key"}))
	at := now
	rotate := func(text string) (*store.Credential, *wire.Generated) {
		t.Helper()
		rotated, g, err := wire.DecodeRotate([]byte(text), c, at)
		if err != nil {
			t.Fatal(err)
		}
		return rotated, g
	}
	first, g := rotate(`{"overlap": "24h"}`)
	if g == nil || g.Key == "" || len(first.Previous) != 1 || string(first.Previous[0].Spec) != string(c.Spec) || !first.Previous[0].Until.Equal(now.Add(24*time.Hour)) || !first.RotatedAt.Equal(now) {
		t.Fatalf("got %+v", first)
	}
	same(t, specOf(t, first)["from"], []object{{"in": "header", "name": "X-Key"}})
	if len(c.Previous) != 0 || !strings.Contains(string(body(t, wire.ShowCredential(first, time.Time{}, nil))), `"credentialPreviousUntil":"2027-02-01T12:00:00Z"`) {
		t.Error("the overlap is not shown, or the old record was changed")
	}
	c, at = first, now.Add(time.Hour)
	second, g := rotate(`{"credentialSecret": {"key": "rr_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, "overlap": 3600}`)
	if g != nil || len(second.Previous) != 2 {
		t.Errorf("got %+v, %v", second, g)
	}
	c, at = second, now.Add(3*time.Hour)
	if third, _ := rotate(`{"overlap":"1h"}`); len(third.Previous) != 2 {
		t.Errorf("an overlap that is over counts: %d", len(third.Previous))
	}
	if third, _ := rotate(``); len(third.Previous) != 0 {
		t.Error("without an overlap an earlier secret is still accepted")
	}
	if same := changed(t, wire.ShowCredential(second, time.Time{}, nil), second); len(same.Previous) != 2 {
		t.Error("a change that changes no secret ends the overlap")
	}
	if other := changed(t, object{"credentialSecret": object{"key": canary + "2"}}, second); len(other.Previous) != 0 {
		t.Error("a replaced secret leaves earlier ones")
	}
}

func TestRotateOfOtherKinds(t *testing.T) {
	for _, tt := range []struct {
		side, authType string
		secret         object
		body           object
		want           object
	}{
		{"proxy", "bearer", object{"token": canary, "prefix": "Token"}, object{"credentialSecret": object{"token": "t"}, "overlap": "1h"}, object{"kind": "bearer", "prefix": "Token", "hashes": []string{"sha256:e3b98a4da31a127d4bde6e43033f66ba274cab0eb7eb1c70ec41402bf6273dd8"}}},
		{"target", "key", object{"key": canary, "query": "k"}, object{"credentialSecret": object{"key": "new"}}, object{"kind": "key", "query": "k", "secret": "new"}},
		{"target", "jwt", object{"secret": canary, "claims": object{"iss": "a"}}, object{"credentialSecret": object{"secret": "new"}}, object{"kind": "jwt", "claims": object{"iss": "a"}, "secret": "new"}},
	} {
		c, _ := made(t, credential(tt.side, tt.authType, tt.secret))
		rotated, _, err := wire.DecodeRotate(body(t, tt.body), c, now)
		if err != nil {
			t.Fatal(err)
		}
		same(t, specOf(t, rotated), tt.want)
	}
}

func TestRotateFaults(t *testing.T) {
	key, _ := made(t, credential("proxy", "key", object{"key": canary}))
	bearer, _ := made(t, credential("proxy", "bearer", object{"token": canary}))
	target, _ := made(t, credential("target", "key", object{"key": canary}))
	none, _ := made(t, credential("target", "none", nil))
	full := *key
	for range wire.MaxPrevious {
		full.Previous = append(full.Previous, store.Previous{Spec: key.Spec, Until: now.Add(time.Hour)})
	}
	for _, tt := range []struct {
		name   string
		old    *store.Credential
		body   string
		faults []string
	}{
		{"no JSON", key, `{"overlap":`, []string{"/overlap: it is not valid JSON"}},
		{"twice", key, `{"overlap":"1h","overlap":"2h"}`, []string{"/overlap: it is there twice"}},
		{"not known", key, `{"overlaps":"1h"}`, []string{"/overlaps: did you mean overlap?"}},
		{"too long", key, `{"overlap":"2161h"}`, []string{"/overlap: it is at most 2160h"}},
		{"no duration", key, `{"overlap":true}`, []string{"/overlap: it is true or false"}},
		{"of a target", target, `{"overlap":"1h","credentialSecret":{"key":"x"}}`, []string{"/overlap: only a proxy credential"}},
		{"nothing to rotate to", bearer, `{}`, []string{"/credentialSecret: it is missing"}},
		{"nothing to rotate", none, `{}`, []string{": a credential of this kind has no secret"}},
		{"the same", target, `{"credentialSecret":{"key":"` + canary + `"}}`, []string{"/credentialSecret: it is what is in use already"}},
		{"the same key", key, `{"credentialSecret":{"key":"` + canary + `"}}`, []string{"/credentialSecret: it is what is in use already"}},
		{"too many", &full, `{"overlap":"1h"}`, []string{"/overlap: 8 secrets from before are still accepted"}},
		{"a wrong secret", bearer, `{"credentialSecret":{"key":"` + canary + `"}}`, []string{"/credentialSecret/key: known are token, prefix"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := wire.DecodeRotate([]byte(tt.body), tt.old, now)
			expect(t, err, tt.faults...)
		})
	}
}
