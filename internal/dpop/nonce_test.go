package dpop

import (
	"bytes"
	"testing"
	"time"
)

func TestNonces(t *testing.T) {
	at := newClock()
	at.add(time.Duration(300-start.Unix()%300) * time.Second) // the start of a step
	client := newClient(t, "ES256")
	c := checker(t, Config{Now: at.now, Nonce: true})
	with := func(nonce any) (Proof, error) {
		p := client.good()
		p.claims["iat"] = at.now().Unix()
		if nonce != nil {
			p.claims["nonce"] = nonce
		}
		return c.Check(client.sign(t, p), client.get())
	}
	nonce := c.Nonce()

	for name, n := range map[string]any{"missing": nil, "empty": "", "made up": "abc", "longer": nonce + "A", "of another key": other(t, at)} {
		if _, err := with(n); is(err) != ErrUseNonce {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := with(7); is(err) != ErrProof {
		t.Errorf("a number: got %v", err)
	}
	for _, tt := range []struct {
		after time.Duration
		want  error
		renew bool
	}{
		{0, nil, false},
		{5*time.Minute - 1, nil, false},
		{5 * time.Minute, nil, true},
		{10*time.Minute - 1, nil, true},
		{10 * time.Minute, ErrUseNonce, false},
		{time.Hour, ErrUseNonce, false},
	} {
		began := at.now()
		at.add(tt.after)
		if p, err := with(nonce); is(err) != tt.want || p.RenewNonce != tt.renew {
			t.Errorf("%v later: got %v, renew %v", tt.after, err, p.RenewNonce)
		}
		if _, err := with(c.Nonce()); err != nil {
			t.Errorf("%v later, the new one: got %v", tt.after, err)
		}
		at.add(began.Sub(at.now()))
	}
}

func other(t *testing.T, at *clock) string {
	t.Helper()
	return checker(t, Config{Now: at.now, Nonce: true, NonceKey: bytes.Repeat([]byte{1}, 32)}).Nonce()
}

func TestNoncesOutliveAChangeOfConfiguration(t *testing.T) {
	at := newClock()
	a, b := checker(t, Config{Now: at.now, Nonce: true}), checker(t, Config{Now: at.now, Nonce: true})
	if a.Nonce() == "" || a.Nonce() != b.Nonce() {
		t.Errorf("%q and %q", a.Nonce(), b.Nonce())
	}
	first, second := other(t, at), other(t, at)
	if first != second || first == a.Nonce() {
		t.Errorf("the key does not decide: %q and %q with one, %q with another", first, second, a.Nonce())
	}
	if got := checker(t, Config{}).Nonce(); got != "" {
		t.Errorf("there is a nonce, %q, that nobody asked for", got)
	}
}

// TestWhenANonceIsAskedFor: not for a proof that is bad anyway, but before its time is
// looked at, since a client whose clock is wrong is helped by the nonce's answer.
func TestWhenANonceIsAskedFor(t *testing.T) {
	client := newClient(t, "ES256")
	for _, tt := range []struct {
		claim string
		value any
		want  error
	}{
		{"htm", "PUT", ErrProof},
		{"htu", "https://api.example.com/", ErrProof},
		{"iat", 1, ErrUseNonce},
		{"ath", "x", ErrUseNonce},
	} {
		p := client.good()
		p.claims[tt.claim] = tt.value
		if _, err := checker(t, Config{Nonce: true}).Check(client.sign(t, p), client.get()); is(err) != tt.want {
			t.Errorf("with a bad %s: got %v", tt.claim, err)
		}
	}
}
