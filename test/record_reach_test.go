package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/verify"
)

// openedLoopback is an `egress allow` for tests, whose servers are all on this machine.
var openedLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// recordLoader loads guests of one record beside the running configuration.
func recordLoader(t testing.TB, o host.RecordOptions) *host.Loader {
	t.Helper()
	l := host.NewRecordLoader(caddy.ActiveContext(), zap.NewNop(), o)
	t.Cleanup(l.Close)
	return l
}

// recordVerifier is a proxy credential that was made through the API.
func recordVerifier(t testing.TB, l *host.Loader, spec string) verify.Verifier {
	t.Helper()
	v, _, err := l.Guest("credential x: accept", verify.Namespace, json.RawMessage(spec))
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	return v.(verify.Verifier)
}

func withToken(t testing.TB, token string) *http.Request {
	return rrtest.Request(t, "GET", "http://gateway.example/", "", "Authorization: Bearer "+token)
}

const anyPublic = `
{
	rr {
		proxy p {
			accept jwt_verify {
				jwks_url JWKS
				issuer ISSUER
				any_audience
			}
			target http://127.0.0.1:9
			present none
		}
	}
}
:GATEPORT {
	rr_proxy p
}
`

// TestRecordsFetchFromOpenAddressesAlone: what a record names is not what the operator
// wrote, though the same stands in the configuration.
func TestRecordsFetchFromOpenAddressesAlone(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	key := p.AddKey("ES256", "k1")
	token := key.Token(p.Claims(nil), nil)
	g := start(t, anyPublic, "JWKS", p.JWKSURL(), "ISSUER", p.Issuer())
	rrtest.Eventually(t, "the configuration's own keys are there", func() bool {
		return g.get("/", "Authorization: Bearer "+token).code() == "upstream-unreachable"
	})
	p.SetIntrospection([]byte(`{"active":true,"sub":"s"}`))
	for name, spec := range map[string]string{
		"jwks_url":   fmt.Sprintf(`{"kind":"jwt_verify","jwks_url":%q,"issuer":%q,"any_audience":true,"refresh_min":"61s"}`, p.JWKSURL(), p.Issuer()),
		"issuer":     fmt.Sprintf(`{"kind":"jwt_verify","issuer":%q,"any_audience":true,"refresh_min":"61s"}`, p.Issuer()),
		"introspect": fmt.Sprintf(`{"kind":"introspect","url":%q,"client_auth":"none","timeout":"7s"}`, p.IntrospectionURL()),
	} {
		seen := p.JWKSFetches() + p.DiscoveryFetches() + p.IntrospectionCount()
		closed := recordLoader(t, host.RecordOptions{})
		v := recordVerifier(t, closed, spec)
		_, err := v.Verify(withToken(t, token))
		var retry verify.Retryable
		if err == nil || errors.Is(err, verify.ErrRejected) || !errors.As(err, &retry) {
			t.Errorf("%s, closed: %v", name, err)
		}
		if now := p.JWKSFetches() + p.DiscoveryFetches() + p.IntrospectionCount(); now != seen {
			t.Errorf("%s, closed: the provider was asked", name)
		}
		if err := host.CheckReach(t.Context(), v, nil); err == nil {
			t.Errorf("%s may be made", name)
		} else if e := (*host.AddressError)(nil); !errors.As(err, &e) || !strings.Contains(name+" url", e.Option) {
			t.Errorf("%s: %v", name, err)
		}
		open := recordVerifier(t, recordLoader(t, host.RecordOptions{Egress: openedLoopback}), spec)
		rrtest.Eventually(t, name+" is open", func() bool {
			_, err := open.Verify(withToken(t, token))
			return err == nil
		})
		if err := host.CheckReach(t.Context(), open, openedLoopback); err != nil {
			t.Errorf("%s may not be made: %v", name, err)
		}
	}
}

// TestRecordTokensComeFromOpenAddressesAlone is the same for the other side.
func TestRecordTokensComeFromOpenAddressesAlone(t *testing.T) {
	rrtest.NoLeak(t)
	rrtest.NewNames(t).Set("inside.example", "127.0.0.1")
	start(t, anyPublic, "JWKS", "https://127.0.0.1:9/keys", "ISSUER", "https://as.example")
	s := newTokens(t)
	login := httptest.NewServer(rrtest.Status(http.StatusOK, `{"t":"session-0123456789"}`))
	t.Cleanup(login.Close)
	nobody, connections := rrtest.CountConnections(t)
	_, port, _ := net.SplitHostPort(nobody)
	for name, tt := range map[string]struct{ open, closed string }{
		"token_url": {
			fmt.Sprintf(`{"kind":"oauth2","grant":"client_credentials","token_url":%q,"client_id":"rr","client_secret":%q}`, s.URL(), oauth2Secret),
			fmt.Sprintf(`{"kind":"oauth2","grant":"client_credentials","token_url":"https://inside.example:%s/","client_id":"rr","client_secret":"x"}`, port),
		},
		"issuer": {
			fmt.Sprintf(`{"kind":"oauth2","grant":"client_credentials","issuer":%q,"client_id":"rr","client_secret":%q}`, s.Issuer, oauth2Secret),
			fmt.Sprintf(`{"kind":"oauth2","grant":"client_credentials","issuer":"https://inside.example:%s","client_id":"rr","client_secret":"x"}`, port),
		},
		"url": {
			fmt.Sprintf(`{"kind":"custom_token","url":%q,"token":{"path":"$.t"},"secrets":{"x":"y"},"body":"a={secret.x}"}`, login.URL),
			fmt.Sprintf(`{"kind":"custom_token","url":"https://inside.example:%s/login","token":{"path":"$.t"},"secrets":{"x":"y"},"body":"a={secret.x}"}`, port),
		},
	} {
		inject1 := func(spec string, open []netip.Prefix) (*inject.Credential, error) {
			t.Helper()
			c := &inject.Credential{Name: "c", Raw: json.RawMessage(spec)}
			l := recordLoader(t, host.RecordOptions{ID: name, Egress: open})
			if err := c.Provision(l); err != nil {
				t.Fatal(err)
			}
			x, _, err := l.Guest("credential c", inject.Namespace, json.RawMessage(spec))
			if err != nil {
				t.Fatal(err)
			}
			return c, x.(inject.Injector).Inject(rrtest.Request(t, "GET", "https://api.example/", ""))
		}
		c, err := inject1(tt.closed, nil)
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s, closed: %v", name, err)
		}
		var e *host.AddressError
		if err := c.CheckReach(t.Context(), nil); !errors.As(err, &e) || e.Option != name || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s may be made: %v", name, err)
		}
		if c, err = inject1(tt.open, openedLoopback); err != nil {
			t.Errorf("%s, open: %v", name, err)
		}
		if err := c.CheckReach(t.Context(), openedLoopback); err != nil {
			t.Errorf("%s may not be made: %v", name, err)
		}
		if _, err = inject1(tt.open, nil); err == nil {
			t.Errorf("%s is open to those to whom it is closed", name)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made to a closed address", n)
	}
}

// TestRecordsComeAndGo: a thousand times, and nothing stays behind: no goroutine, no
// token, no fetched key, no series.
func TestRecordsComeAndGo(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	p.SetIntrospection([]byte(`{"active":true,"sub":"s"}`))
	s := newTokens(t)
	g := start(t, anyPublic, "JWKS", "https://127.0.0.1:9/keys", "ISSUER", "https://as.example")
	accepts := []string{
		`{"kind":"key","secrets":["a-key-of-a-record-0123456789-%d"]}`,
		`{"kind":"basic","username":"u","password":"a-password-of-a-record-%d"}`,
		fmt.Sprintf(`{"kind":"jwt_verify","issuer":%q,"any_audience":true,"subject":"%%d"}`, p.Issuer()),
		fmt.Sprintf(`{"kind":"introspect","url":%q,"client_id":"c%%d","client_auth":"none"}`, p.IntrospectionURL()),
	}
	presents := []string{
		`{"kind":"bearer","token":"a-token-of-a-record-0123456789-%d"}`,
		fmt.Sprintf(`{"kind":"oauth2","grant":"client_credentials","token_url":%q,"client_id":"rr","client_secret":%q,"params":{"n":"parameter-%%d"}}`, s.URL(), oauth2Secret),
		fmt.Sprintf(`{"kind":"oauth2","grant":"authorization_code","token_url":%q,"authorization_url":%q,"client_id":"rr","client_secret":"secret-of-a-record-%%d"}`, s.URL(), s.URL()),
		`{"kind":"jwt","secret":"a-secret-of-a-record-0123456789-0123456789","claims":{"n":"%d"}}`,
	}
	const cycles = 1000
	for n := range cycles {
		// in a context of its own, or in that of all records
		around, cancel := caddy.ActiveContext(), func() {}
		if n%2 == 1 {
			around, cancel = caddy.NewContext(around)
		}
		l := host.NewRecordLoader(around, zap.NewNop(), host.RecordOptions{ID: fmt.Sprint("record-", n), Egress: openedLoopback})
		spec := func(list []string) json.RawMessage { return json.RawMessage(fmt.Sprintf(list[n/2%len(list)], n)) }
		a := &verify.Credential{Name: "a", Raw: spec(accepts)}
		c := &inject.Credential{Name: "c", Raw: spec(presents)}
		target, err := inject.NewTarget(l, "t", &inject.TargetSpec{URL: p.URL()})
		if err := errors.Join(err, a.Provision(l), c.Provision(l)); err != nil {
			t.Fatal(err)
		}
		if _, err := inject.NewGate(l, "p", "proxy p", target, spec(presents), nil); err != nil {
			t.Fatal(err)
		}
		l.Start()
		v := recordVerifier(t, l, string(spec(accepts)))
		if n%10 < 8 {
			_, _ = v.Verify(withToken(t, "some-token"))
			x, _, err := l.Guest("credential c", inject.Namespace, spec(presents))
			if err != nil {
				t.Fatal(err)
			}
			_ = x.(inject.Injector).Inject(rrtest.Request(t, "GET", "https://api.example/", ""))
		}
		if n%3 == 0 {
			cancel()
		} else {
			l.Close()
			cancel()
		}
		l.Close()
	}
	if left, _ := inject.Tokens(); len(left) != 0 {
		t.Errorf("%d tokens are left: %+v", len(left), left[0])
	}
	if m := g.Metrics(); strings.Contains(m, "caddy_rr_token_") {
		t.Error("series are left")
	}
	if s.Count() == 0 {
		t.Error("no token was fetched at all")
	}
}
