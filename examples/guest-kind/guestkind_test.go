package guestkind

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/store/secret"
	"github.com/caddy-rr/caddy-rr/verify"
)

// newSignedTime is the verifier as Caddy makes it, at a time of its own. Without a
// gateway's context a secret's text is its value.
func newSignedTime(t *testing.T, key string, now time.Time) *SignedTime {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	s := &SignedTime{Key: secret.String(key)}
	if err := s.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return now }
	return s
}

func TestVerify(t *testing.T) {
	key := newKey(t)
	now := time.Unix(1_800_000_000, 0)
	s := newSignedTime(t, key, now)
	right := signed(t, "robot-7", now, key)
	for _, tt := range []struct {
		name, text string
		want       error
	}{
		{"now", right, nil},
		{"at the window's beginning", signed(t, "robot-7", now.Add(-5*time.Minute), key), nil},
		{"at its end", signed(t, "robot-7", now.Add(5*time.Minute), key), nil},
		{"before it", signed(t, "robot-7", now.Add(-5*time.Minute-time.Second), key), verify.ErrRejected},
		{"after it", signed(t, "robot-7", now.Add(5*time.Minute+time.Second), key), verify.ErrRejected},
		{"nothing", "", verify.ErrAbsent},
		{"no signature", "robot-7:1800000000", verify.ErrRejected},
		{"no name", signed(t, "", now, key), verify.ErrRejected},
		{"a name with a colon", signed(t, "robot:7", now, key), verify.ErrRejected},
		{"the time in another spelling", strings.Replace(right, ":1", ":+1", 1), verify.ErrRejected},
		{"another name", strings.Replace(right, "robot-7", "robot-8", 1), verify.ErrRejected},
		{"the signature in capitals", strings.ToUpper(right), verify.ErrRejected},
		{"a cut signature", right[:len(right)-1], verify.ErrRejected},
	} {
		id, err := s.Verify(&http.Request{Header: http.Header{"X-Signature": {tt.text}}})
		if !errors.Is(err, tt.want) || err == nil && id.ID != "robot-7" {
			t.Errorf("%s: got %+v, %v, want %v", tt.name, id, err, tt.want)
		}
	}
	id, err := s.Verify(&http.Request{Header: http.Header{"X-Signature": {right}}})
	if err != nil || !id.Expires.Equal(now.Add(5*time.Minute)) {
		t.Errorf("the proof ends at %v (%v)", id.Expires, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("robot-7:1800000000:00")
	f.Add("a::-1:")
	f.Fuzz(func(t *testing.T, text string) {
		signed, signature, _, ok := parse(text)
		if ok && signed+":"+signature != text {
			t.Errorf("%q is read as %q and %q", text, signed, signature)
		}
	})
}
