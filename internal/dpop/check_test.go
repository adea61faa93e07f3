package dpop

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The example of RFC 9449 section 7.1, figures 13 to 15, and the thumbprint of section 6.1.
const (
	rfcProof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19" +
		".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9" +
		".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
	rfcToken      = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfcThumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
)

var rfcRequest = Request{
	Method: "GET", Scheme: "https", Host: "resource.example.org", Path: "/protectedresource",
	AccessToken: rfcToken, Bound: rfcThumbprint,
}

func TestTheExampleOfRFC9449(t *testing.T) {
	at := time.Unix(1562262618, 0)
	for _, tt := range []struct {
		name string
		now  time.Time
		edit func(*Request)
		want error
	}{
		{"as it stands", at, nil, nil},
		{"a minute later", at.Add(time.Minute), nil, nil},
		{"more than a minute later", at.Add(time.Minute + 1), nil, ErrProof},
		{"with another token", at, func(r *Request) { r.AccessToken += "x" }, ErrProof},
		{"with a token for another key", at, func(r *Request) { r.Bound = ath("") }, ErrProof},
		{"for another method", at, func(r *Request) { r.Method = "POST" }, ErrProof},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := checker(t, Config{Now: func() time.Time { return tt.now }})
			r := rfcRequest
			if tt.edit != nil {
				tt.edit(&r)
			}
			p, err := c.Check(rfcProof, r)
			if is(err) != tt.want {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (p.Thumbprint != rfcThumbprint || p.Alg != "ES256" || !p.IssuedAt.Equal(at)) {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestCheckAcceptsEveryAlgorithmThatIsAllowed(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "ES384", "ES512", "PS256", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			client := newClient(t, alg)
			p, err := checker(t, Config{Algs: []string{alg}}).Check(client.sign(t, client.good()), client.get())
			if err != nil || p.Alg != alg || p.Thumbprint != client.get().Bound || p.RenewNonce {
				t.Errorf("allowed: got %+v, %v", p, err)
			}
			other := "RS512"
			if _, err := checker(t, Config{Algs: []string{other}}).Check(client.sign(t, client.good()), client.get()); is(err) != ErrProof {
				t.Errorf("only %s allowed: got %v", other, err)
			}
			want := alg == "ES256" || alg == "EdDSA"
			if _, err := checker(t, Config{}).Check(client.sign(t, client.good()), client.get()); (err == nil) != want {
				t.Errorf("by default: got %v", err)
			}
		})
	}
}

func TestTheRequestHasToSayWhatTheTokenIsBoundTo(t *testing.T) {
	client := newClient(t, "EdDSA")
	for name, edit := range map[string]func(*Request){
		"a token that is bound to no key":     func(r *Request) { r.Bound = "" },
		"a token of somebody else":            func(r *Request) { r.Bound = newClient(t, "EdDSA").get().Bound },
		"a thumbprint with padding":           func(r *Request) { r.Bound += "=" },
		"no token":                            func(r *Request) { r.AccessToken = "" },
		"another token":                       func(r *Request) { r.AccessToken += "." },
		"another scheme":                      func(r *Request) { r.Scheme = "http" },
		"another port":                        func(r *Request) { r.Host += ":8443" },
		"no host":                             func(r *Request) { r.Host = "" },
		"another path":                        func(r *Request) { r.Path = "/v1/Items" },
		"OPTIONS of the server, not a path":   func(r *Request) { r.Path = "*" },
		"a method in another case":            func(r *Request) { r.Method = "Get" },
		"a path with the dots that htu lacks": func(r *Request) { r.Path = "/v1/x/../items" },
	} {
		t.Run(name, func(t *testing.T) {
			r := client.get()
			edit(&r)
			if _, err := checker(t, Config{}).Check(client.sign(t, client.good()), r); is(err) != ErrProof {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNoTokenIsNotAnEmptyToken(t *testing.T) {
	client := newClient(t, "EdDSA")
	p, r := client.good(), client.get()
	p.claims["ath"], r.AccessToken = ath(""), ""
	if _, err := checker(t, Config{}).Check(client.sign(t, p), r); is(err) != ErrProof {
		t.Errorf("got %v", err)
	}
}

// ledger is a store that tells what it is asked.
type ledger struct{ by, keys [][32]byte }

func (l *ledger) Use(by, key [32]byte, _ time.Time) (bool, error) {
	l.by, l.keys = append(l.by, by), append(l.keys, key)
	return true, nil
}

func TestWhomTheStoreIsCountedTo(t *testing.T) {
	l := new(ledger)
	c := checker(t, Config{Replay: l})
	a, b := newClient(t, "EdDSA"), newClient(t, "EdDSA")
	for _, client := range []*client{a, b} {
		for _, owner := range []string{"", "alice"} {
			p, r := client.good(), client.get()
			p.claims["jti"], r.Owner = "the same", owner
			if _, err := c.Check(client.sign(t, p), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if l.by[0] != a.signer.Public().Thumbprint || l.by[2] != b.signer.Public().Thumbprint {
		t.Error("without an owner it is not the key")
	}
	if l.by[1] != l.by[3] || l.by[1] == l.by[0] {
		t.Error("it is not the owner, whatever the key")
	}
	if l.keys[0] != l.keys[1] || l.keys[2] != l.keys[3] || l.keys[0] == l.keys[2] {
		t.Error("the owner has a part in what a proof is, or the key has none")
	}
	if digest("ab", "c") == digest("a", "bc") {
		t.Error("texts run together")
	}
}

func TestAProofIsGoodForOneUse(t *testing.T) {
	at := newClock()
	c := checker(t, Config{Now: at.now})
	client, other := newClient(t, "ES256"), newClient(t, "ES256")
	p := client.good()
	proof := client.sign(t, p)

	wrong := client.get()
	wrong.Method = "DELETE"
	if _, err := c.Check(proof, wrong); is(err) != ErrProof {
		t.Fatalf("for another request: %v", err)
	}
	if _, err := c.Check(proof, client.get()); err != nil {
		t.Fatalf("a refusal used the proof up: %v", err)
	}
	for range 3 {
		if _, err := c.Check(proof, client.get()); is(err) != ErrReplay || !errors.Is(err, ErrProof) {
			t.Fatalf("used again: %v", err)
		}
	}
	again := client.good()
	again.claims["jti"] = p.claims["jti"]
	again.claims["iat"] = start.Add(time.Second).Unix()
	if _, err := c.Check(client.sign(t, again), client.get()); is(err) != ErrReplay {
		t.Errorf("another proof with the same jti: %v", err)
	}
	theirs := other.good()
	theirs.claims["jti"] = p.claims["jti"]
	if _, err := c.Check(other.sign(t, theirs), other.get()); err != nil {
		t.Errorf("the same jti of another key: %v", err)
	}
	for range 59 {
		at.add(time.Second)
		if _, err := c.Check(proof, client.get()); is(err) != ErrReplay {
			t.Fatalf("used again at %v: %v", at.now().Sub(start), err)
		}
	}
	at.add(time.Second + 1)
	if _, err := c.Check(proof, client.get()); is(err) != ErrProof {
		t.Errorf("used again when it has expired: %v", err)
	}
}

// TestAReplayIsFoundToTheVeryEnd walks in small steps over the end of a proof whose iat
// has a fraction and is ahead.
func TestAReplayIsFoundToTheVeryEnd(t *testing.T) {
	at := newClock()
	c := checker(t, Config{Now: at.now, MaxAge: 2 * time.Second, Leeway: 3 * time.Second})
	client := newClient(t, "EdDSA")
	p := client.good()
	p.claims["iat"] = json.Number("1800000002.75")
	proof := client.sign(t, p)
	if _, err := c.Check(proof, client.get()); err != nil {
		t.Fatal(err)
	}
	for range 70 {
		at.add(100 * time.Millisecond)
		_, err := c.Check(proof, client.get())
		if is(err) != ErrReplay && is(err) != ErrProof {
			t.Fatalf("%v later: %v", at.now().Sub(start), err)
		}
	}
	if n := len(c.replay.(*MemoryReplay).seen); n != 1 { // forgotten by the next use only
		t.Errorf("%d are remembered", n)
	}
}

func TestOneOfManyAtOnceIsAccepted(t *testing.T) {
	c := checker(t, Config{})
	client := newClient(t, "ES256")
	proof := client.sign(t, client.good())
	var accepted, replayed atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch _, err := c.Check(proof, client.get()); is(err) {
			case nil:
				accepted.Add(1)
			case ErrReplay:
				replayed.Add(1)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 || replayed.Load() != 99 {
		t.Errorf("%d accepted, %d refused as used", accepted.Load(), replayed.Load())
	}
}

type brokenStore struct{}

var errBroken = errors.New("no connection")

func (brokenStore) Use(_, _ [32]byte, _ time.Time) (bool, error) { return true, errBroken }

func TestAStoreThatFailsAcceptsNothing(t *testing.T) {
	client := newClient(t, "ES256")
	_, err := checker(t, Config{Replay: brokenStore{}}).Check(client.sign(t, client.good()), client.get())
	if !errors.Is(err, errBroken) || errors.Is(err, ErrProof) {
		t.Errorf("got %v", err)
	}
}

func TestErrorsHoldNothingOfTheProof(t *testing.T) {
	const marker = "hunter2"
	client := newClient(t, "ES256")
	for _, name := range []string{"typ", "kid", "jku", "crit", "jti", "htm", "htu", "iat", "ath", "nonce", marker} {
		for _, v := range []any{marker, []string{marker}, map[string]any{marker: marker}} {
			p := client.good()
			p.header[name], p.claims[name] = v, v
			requireSilent(t, client, p, marker)
		}
	}
	for _, name := range []string{"kty", "crv", "x", "y", "use", "alg", "kid", "key_ops"} {
		p := client.good()
		p.header["jwk"].(map[string]any)[name] = marker
		requireSilent(t, client, p, marker)
	}
}

func requireSilent(t *testing.T, client *client, p parts, marker string) {
	t.Helper()
	r := client.get()
	r.AccessToken = marker
	_, err := checker(t, Config{}).Check(client.sign(t, p), r)
	if err == nil {
		t.Fatal("accepted")
	}
	if strings.Contains(err.Error(), marker) {
		t.Errorf("the error holds a part of the proof: %v", err)
	}
}

func TestRequestOf(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/a%2Fb/c?q=1", nil)
	r.Host = "api.example.com:8443"
	if got := RequestOf(r, "https"); got.Method != "GET" || got.Scheme != "https" || got.Host != "api.example.com:8443" || got.Path != "/a%2Fb/c?q=1" {
		t.Errorf("got %+v", got)
	}
	r = httptest.NewRequest(http.MethodGet, "http://api.example.com/a%2Fb?q=1", nil)
	if got := RequestOf(r, "http"); got.Host != "api.example.com" || got.Path != "/a%2Fb" {
		t.Errorf("the absolute form: got %+v", got)
	}
	r.URL, r.RequestURI = &url.URL{Path: "/x"}, ""
	if got := RequestOf(r, "http"); got.Path != "/x" {
		t.Errorf("a request without a request line: got %+v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"HS256":               {Algs: []string{"ES256", "HS256"}},
		"none":                {Algs: []string{"none"}},
		"an unknown name":     {Algs: []string{"es256"}},
		"a huge age":          {MaxAge: time.Hour},
		"a negative age":      {MaxAge: -time.Second},
		"a huge leeway":       {Leeway: time.Hour},
		"a negative leeway":   {Leeway: -1},
		"a short key":         {Nonce: true, NonceKey: bytes.Repeat([]byte{1}, 31)},
		"an empty key":        {Nonce: true, NonceKey: []byte{}},
		"a negative step":     {Nonce: true, NonceStep: -1},
		"a step of no length": {Nonce: true, NonceStep: time.Millisecond},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAlgs(t *testing.T) {
	if got := checker(t, Config{}).Algs(); got != "ES256 EdDSA" {
		t.Errorf("got %q", got)
	}
	list := []string{"PS256"}
	c := checker(t, Config{Algs: list})
	list[0] = "HS256"
	if got := c.Algs(); got != "PS256" {
		t.Errorf("got %q", got)
	}
}
