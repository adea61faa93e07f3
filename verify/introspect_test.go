package verify

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// introspectKind is the kind, set up by Caddyfile lines.
func introspectKind(t testing.TB, e *secret.Expander, lines ...string) (*Introspect, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: e.Context(t.Context())})
	t.Cleanup(cancel)
	i := new(Introspect)
	if err := i.UnmarshalCaddyfile(caddyfile.NewTestDispenser("introspect {\n" + strings.Join(lines, "\n") + "\n}")); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = i.Cleanup() })
	return i, i.Provision(ctx)
}

// introspect asks a provider, without a proof of who asks unless lines say it.
func introspect(t testing.TB, p *idp.Provider, lines ...string) *Introspect {
	t.Helper()
	if !strings.Contains(strings.Join(lines, "\n"), "client_") {
		lines = append(lines, "client_auth none")
	}
	i, err := introspectKind(t, new(secret.Expander), append(lines, "url "+p.IntrospectionURL())...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func bearing(t testing.TB, token string) *http.Request {
	t.Helper()
	return request(t, "/", "Authorization: Bearer "+token)
}

// verdict is the id of who is recognised, or what else came of it.
func verdict(id Identity, err error) string {
	var lacks *InsufficientScope
	switch {
	case err == nil:
		return "id " + id.ID
	case errors.As(err, &lacks):
		return "lacks " + lacks.Scope
	case errors.Is(err, ErrRejected), errors.Is(err, ErrAbsent), errors.Is(err, ErrCostly):
		return err.Error()
	}
	return "technical: " + err.Error()
}

func TestIntrospectAnswers(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	at := time.Unix(1_800_000_000, 0)
	plain := introspect(t, p)
	strict := introspect(t, p, "issuer https://as.example/", "audience gw other", "scope read write")
	for _, tt := range []struct {
		name   string
		kind   *Introspect
		answer string
		want   string // what the verdict begins with
	}{
		{"active", plain, `{"active":true,"sub":"alice"}`, "id alice"},
		{"without anything", plain, `{"active":true}`, "id "},
		{"username", plain, `{"active":true,"sub":"","username":"bob","client_id":"c"}`, "id bob"},
		{"client", plain, `{"active":true,"client_id":"c"}`, "id c"},
		{"null is not there", plain, `{"active":true,"sub":null,"exp":null,"nbf":null,"cnf":null,"token_type":null,"client_id":"c"}`, "id c"},
		{"all members", plain, `{"active":true,"scope":"a b","client_id":"c","username":"u","token_type":"Bearer","exp":1800000001,"iat":1799999999,"nbf":1799999999,"sub":"s","aud":"x","iss":"y","jti":"z"}`, "id s"},
		{"fractions", plain, `{"active":true,"sub":"s","exp":1800000000.5,"iat":1.8e9}`, "id s"},
		{"token_type in lower case", plain, `{"active":true,"sub":"s","token_type":"bearer"}`, "id s"},
		{"token_type access_token", plain, `{"active":true,"sub":"s","token_type":"access_token"}`, "id s"},
		{"an access token of Hydra", plain, `{"active":true,"sub":"s","token_use":"access_token","token_type":"Bearer"}`, "id s"},
		{"an access token of Keycloak", plain, `{"active":true,"sub":"s","typ":"Bearer"}`, "id s"},
		{"clocks apart", plain, `{"active":true,"sub":"s","iat":1800000029,"nbf":1800000029}`, "id s"},

		{"not active", plain, `{"active":false}`, "credential not accepted: the token is not active"},
		{"not active, with members", plain, `{"active":false,"sub":"alice","exp":1900000000}`, "credential not accepted: the token is not active"},
		{"active as text", plain, `{"active":"true","sub":"alice"}`, "credential not accepted: the token is not active"},
		{"active as number", plain, `{"active":1,"sub":"alice"}`, "credential not accepted: the token is not active"},
		{"active is null", plain, `{"active":null}`, "credential not accepted: the token is not active"},
		{"active in a list", plain, `{"active":[true]}`, "credential not accepted: the token is not active"},
		{"Active", plain, `{"Active":true,"ACTIVE":true}`, "credential not accepted: the token is not active"},
		{"active is missing", plain, `{"sub":"alice"}`, "credential not accepted: the token is not active"},
		{"an empty object", plain, `{}`, "credential not accepted: the token is not active"},
		{"an error with 200", plain, `{"error":"invalid_client"}`, "credential not accepted: the token is not active"},

		{"expired", plain, `{"active":true,"exp":1800000000}`, "credential not accepted: the token has expired"},
		{"exp is 0", plain, `{"active":true,"exp":0}`, "credential not accepted: the token has expired"},
		{"exp as text", plain, `{"active":true,"exp":"1900000000"}`, "credential not accepted: exp is not a number"},
		{"exp as empty text", plain, `{"active":true,"exp":""}`, "credential not accepted: exp is not a number"},
		{"exp negative", plain, `{"active":true,"exp":-1}`, "credential not accepted: exp is not a time"},
		{"exp in milliseconds", plain, `{"active":true,"exp":1900000000000}`, "credential not accepted: exp is not a time"},
		{"exp overflowing", plain, `{"active":true,"exp":1e999}`, "credential not accepted: exp is not a time"},
		{"exp as list", plain, `{"active":true,"exp":[1900000000]}`, "credential not accepted: exp is not a number"},
		{"nbf ahead", plain, `{"active":true,"nbf":1800000031}`, "credential not accepted: nbf is in the future"},
		{"iat ahead", plain, `{"active":true,"iat":1800000031}`, "credential not accepted: iat is in the future"},
		{"nbf as text", plain, `{"active":true,"nbf":"now"}`, "credential not accepted: nbf is not a number"},
		{"sub as number", plain, `{"active":true,"sub":7}`, "credential not accepted: sub is not a string"},

		{"DPoP", plain, `{"active":true,"token_type":"DPoP"}`, "credential not accepted: the token needs a DPoP proof"},
		{"cnf.jkt", plain, `{"active":true,"token_type":"Bearer","cnf":{"jkt":"x"}}`, "credential not accepted: the token needs a DPoP proof"},
		{"cnf.jkt and a certificate", plain, `{"active":true,"cnf":{"jkt":"x","x5t#S256":"y"}}`, "credential not accepted: the token needs a DPoP proof"},
		{"cnf with a key", plain, `{"active":true,"cnf":{"jwk":{}}}`, "credential not accepted: cnf binds"},
		{"cnf empty", plain, `{"active":true,"cnf":{}}`, "credential not accepted: cnf binds"},
		{"cnf as text", plain, `{"active":true,"cnf":"x"}`, "credential not accepted: cnf is not an object"},
		{"cnf.x5t#S256 as number", plain, `{"active":true,"cnf":{"x5t#S256":7}}`, "credential not accepted: cnf: x5t#S256"},
		{"cnf.x5t#S256 empty", plain, `{"active":true,"cnf":{"x5t#S256":""}}`, "credential not accepted: cnf: x5t#S256"},
		{"a certificate that is not there", plain, `{"active":true,"cnf":{"x5t#S256":"y"}}`, "credential not accepted: the token is bound to another"},
		{"another type", plain, `{"active":true,"token_type":"mac"}`, "credential not accepted: token_type"},
		{"type as list", plain, `{"active":true,"token_type":["Bearer"]}`, "credential not accepted: token_type"},
		{"a refresh token of Hydra", plain, `{"active":true,"token_use":"refresh_token"}`, "credential not accepted: token_use"},
		{"a refresh token as its type", plain, `{"active":true,"token_type":"refresh_token"}`, "credential not accepted: token_type"},
		{"a refresh token of Keycloak", plain, `{"active":true,"typ":"Refresh"}`, "credential not accepted: typ"},
		{"an ID token of Keycloak", plain, `{"active":true,"typ":"ID"}`, "credential not accepted: typ"},

		{"strict", strict, `{"active":true,"sub":"s","iss":"https://as.example/","aud":["x","gw"],"scope":"write other read"}`, "id s"},
		{"scope as list", strict, `{"active":true,"sub":"s","iss":"https://as.example/","aud":"other","scope":["write","read"]}`, "id s"},
		{"iss without its slash", strict, `{"active":true,"iss":"https://as.example","aud":"gw","scope":"read write"}`, "credential not accepted: iss"},
		{"iss missing", strict, `{"active":true,"aud":"gw","scope":"read write"}`, "credential not accepted: iss"},
		{"iss as list", strict, `{"active":true,"iss":["https://as.example/"],"aud":"gw","scope":"read write"}`, "credential not accepted: iss"},
		{"iss null", strict, `{"active":true,"iss":null,"aud":"gw","scope":"read write"}`, "credential not accepted: iss"},
		{"aud of others", strict, `{"active":true,"iss":"https://as.example/","aud":"gw2","scope":"read write"}`, "credential not accepted: aud"},
		{"aud missing", strict, `{"active":true,"iss":"https://as.example/","scope":"read write"}`, "credential not accepted: aud"},
		{"aud null", strict, `{"active":true,"iss":"https://as.example/","aud":null,"scope":"read write"}`, "credential not accepted: aud"},
		{"aud as object", strict, `{"active":true,"iss":"https://as.example/","aud":{"gw":1},"scope":"read write"}`, "credential not accepted: aud"},
		{"aud is not split", strict, `{"active":true,"iss":"https://as.example/","aud":"gw x","scope":"read write"}`, "credential not accepted: aud"},
		{"scope incomplete", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","scope":"read"}`, "lacks read write"},
		{"scope missing", strict, `{"active":true,"iss":"https://as.example/","aud":"gw"}`, "lacks read write"},
		{"scope in another case", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","scope":"Read Write"}`, "lacks read write"},
		{"scope as a part", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","scope":"readwrite read-write"}`, "lacks read write"},
		{"scope as number", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","scope":7}`, "credential not accepted: scope"},
		{"expired and without scope", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","exp":1}`, "credential not accepted: the token has expired"},
		{"bound and without scope", strict, `{"active":true,"iss":"https://as.example/","aud":"gw","cnf":{"x5t#S256":"y"}}`, "credential not accepted: the token is bound"},

		{"no JSON", plain, `<html>active</html>`, "technical: "},
		{"nothing", plain, ``, "technical: "},
		{"a list", plain, `[{"active":true}]`, "technical: "},
		{"true", plain, `true`, "technical: "},
		{"null", plain, `null`, "technical: "},
		{"cut off", plain, `{"active":true`, "technical: "},
		{"two answers", plain, `{"active":true}{"active":false}`, "technical: "},
		{"a member twice", plain, `{"active":false,"active":true}`, "technical: "},
		{"a member twice, escaped", plain, `{"active":false,"\u0061ctive":true}`, "technical: "},
		{"a member twice within", plain, `{"active":true,"cnf":{"jkt":"x","jkt":null}}`, "technical: "},
		{"NUL in a name", plain, `{"active\u0000":false,"active":true}`, "technical: "},
		{"no UTF-8", plain, "{\"active\":true,\"sub\":\"\xff\"}", "technical: "},
		{"nested too deeply", plain, `{"active":true,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "technical: "},
		{"too large", plain, `{"active":true,"x":"` + strings.Repeat("x", maxAnswer) + `"}`, "technical: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.kind.now = func() time.Time { return at }
			p.SetIntrospection([]byte(tt.answer))
			id, err := tt.kind.Verify(bearing(t, "a-token"))
			if got := verdict(id, err); !strings.HasPrefix(got, tt.want) || tt.want == "id " && got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if strings.HasPrefix(tt.want, "technical") {
				var again Retryable
				if !errors.As(err, &again) || again.RetryAfter() <= 0 {
					t.Errorf("it does not say when to ask again: %v", err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "a-token") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestIntrospectClaims(t *testing.T) {
	p := idp.New(t)
	exp := time.Now().Add(time.Hour).Unix()
	p.Introspectable("a-token", map[string]any{"sub": "alice", "exp": exp, "tenant": map[string]any{"id": 7}, "nothing": nil})
	id, err := introspect(t, p).Verify(bearing(t, "a-token"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("map[exp:%d nothing:<nil> sub:alice tenant:map[id:7]]", exp)
	if got := fmt.Sprint(id.Claims); got != want || id.Expires.Unix() != exp {
		t.Errorf("claims %s until %v, want %s", got, id.Expires, want)
	}
}

// TestIntrospectQuestion is what the endpoint gets.
func TestIntrospectQuestion(t *testing.T) {
	rrtest.NoLeak(t)
	p := idp.New(t)
	p.OnlyClient("a:b", "s %")
	p.Introspectable("a-token", map[string]any{"sub": "alice"})
	i := introspect(t, p, "client_id a:b", `client_secret "s %"`, "token_type_hint access_token")
	if _, err := i.Verify(bearing(t, "a-token")); err != nil {
		t.Fatal(err)
	}
	got := p.Introspections()[0]
	if got.Form.Encode() != "token=a-token&token_type_hint=access_token" || got.Header.Get("Accept") != "application/json" {
		t.Errorf("it got %v, %v", got.Form, got.Header)
	}
	i = introspect(t, p, "client_id a:b", "client_secret wrong")
	if text := verdict(i.Verify(bearing(t, "a-token"))); text != "technical: introspect: the endpoint answers 401 invalid_client" {
		t.Errorf("with a wrong secret: %s", text)
	}
}

// TestIntrospectNoToken: what cannot be a token costs no call.
func TestIntrospectNoToken(t *testing.T) {
	p := idp.New(t)
	i := introspect(t, p)
	for _, tt := range []struct{ header, want string }{
		{"X: y", "no credential"},
		{"Authorization: Basic YTpi", "no credential"},
		{"Authorization: Bearer", "no credential"},
		{"Authorization: a-token", "no credential"},
		{"Authorization: Bearer a b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer a,b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer a\"b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer a&token=b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer a%20b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer a=b", "credential not accepted: the token has characters"},
		{"Authorization: Bearer ==", "credential not accepted: the token has characters"},
		{"Authorization: Bearer ü", "credential not accepted: the token has characters"},
		{"Authorization: Bearer " + strings.Repeat("a", 16<<10+1), "credential not accepted: the token is larger"},
	} {
		for name, verify := range map[string]func(*http.Request) (Identity, error){"Verify": i.Verify, "VerifyCached": i.VerifyCached} {
			if got := verdict(verify(request(t, "/", tt.header))); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s of %.40q: %s, want %s", name, tt.header, got, tt.want)
			}
		}
	}
	if n := p.IntrospectionCount(); n != 0 {
		t.Errorf("the endpoint was asked %d times", n)
	}
	longest := strings.Repeat("a", 16<<10-2) + "=="
	p.Introspectable(longest, map[string]any{"sub": "long"})
	p.Introspectable("aZ09-._~+/==", map[string]any{"sub": "odd"})
	for token, want := range map[string]string{longest: "id long", "aZ09-._~+/==": "id odd"} {
		if got := verdict(i.Verify(bearing(t, token))); got != want {
			t.Errorf("%.20s: %s", token, got)
		}
	}
}

func TestIntrospectCarriers(t *testing.T) {
	p := idp.New(t)
	p.Introspectable("a-token", map[string]any{"sub": "alice"})
	for _, tt := range []struct{ line, header, challenge string }{
		{"", "Authorization: bearer a-token", `Bearer realm="rr"`},
		{"prefix Token", "Authorization: Token a-token", `Token realm="rr"`},
		{"from header x-token", "X-Token: a-token", `Bearer realm="rr"`},
		{"from header Authorization OAuth", "Authorization: OAuth a-token", `Bearer realm="rr"`},
		{"from header X-One\nfrom cookie token", "Cookie: token=a-token", `Bearer realm="rr"`},
	} {
		i := introspect(t, p, tt.line)
		if got := verdict(i.Verify(request(t, "/", tt.header))); got != "id alice" || i.Challenge(false) != tt.challenge {
			t.Errorf("%s: %s, %s", tt.line, got, i.Challenge(false))
		}
	}
	if c := introspect(t, p).Challenge(true); c != `Bearer realm="rr", error="invalid_token"` {
		t.Errorf("challenge %s", c)
	}
}

// TestIntrospectUnavailable: while the endpoint gives no answer, nobody is let through.
func TestIntrospectUnavailable(t *testing.T) {
	rrtest.NoLeak(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"active":true}`))
	z.Close()
	answer := func(status int, body string, headers ...string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for n := 0; n < len(headers); n += 2 {
				w.Header().Set(headers[n], headers[n+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	const active = `{"active":true,"sub":"alice"}`
	u := rrtest.NewUpstream(t)
	i, err := introspectKind(t, new(secret.Expander), "url "+u.URL+"/introspect", "client_auth none", "cache 1h", "timeout 200ms")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		handler http.Handler
		want    string
		after   time.Duration
	}{
		{"a redirect", answer(302, active, "Location", u.URL+"/elsewhere"), "redirects are not followed", 5 * time.Second},
		{"a redirect that keeps the method", answer(307, active, "Location", u.URL+"/elsewhere"), "redirects are not followed", 5 * time.Second},
		{"201", answer(201, active), "answers 201", 5 * time.Second},
		{"204", answer(204, ""), "answers 204", 5 * time.Second},
		{"400", answer(400, `{"error":"invalid_request"}`), "answers 400 invalid_request", 5 * time.Second},
		{"401", answer(401, active), "answers 401", 5 * time.Second},
		{"403", answer(403, active), "answers 403", 5 * time.Second},
		{"404", answer(404, active), "answers 404", 5 * time.Second},
		{"429", answer(429, active, "Retry-After", "17"), "answers 429", 17 * time.Second},
		{"500", answer(500, active), "answers 500", 5 * time.Second},
		{"503", answer(503, active, "Retry-After", "3600"), "answers 503", time.Minute},
		{"gzip", answer(200, zipped.String(), "Content-Encoding", "gzip"), "Content-Encoding", 5 * time.Second},
		{"gzip that does not say so", answer(200, zipped.String()), "not valid JSON", 5 * time.Second},
		{"100 MB", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(active))
			for range 100 << 10 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<10)); err != nil {
					return
				}
			}
		}), "too large", 5 * time.Second},
		{"no end", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(active))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), "deadline exceeded", 5 * time.Second},
		{"no answer", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm() // the server sees the client leave when it has read all
			<-r.Context().Done()
		}), "deadline exceeded", 5 * time.Second},
		{"a torn answer", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(active))
		}), "unexpected EOF", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u.Handle("/introspect", tt.handler)
			_, err := i.Verify(bearing(t, "a-token"))
			if got := verdict(Identity{}, err); !strings.HasPrefix(got, "technical: introspect: ") || !strings.Contains(got, tt.want) || strings.Contains(got, "alice") {
				t.Errorf("%s, want %s", got, tt.want)
			}
			var again Retryable
			if !errors.As(err, &again) || again.RetryAfter() != tt.after {
				t.Errorf("%v does not say %v", err, tt.after)
			}
		})
	}
	u.Handle("/introspect", answer(200, active, "Content-Type", "text/plain"))
	if got := verdict(i.Verify(bearing(t, "a-token"))); got != "id alice" {
		t.Errorf("when it is back: %s", got)
	}
	for _, r := range u.Received() {
		if r.URI != "/introspect" {
			t.Errorf("a redirect was followed to %s", r.URI)
		}
	}
}

func TestIntrospectDown(t *testing.T) {
	p := idp.New(t)
	i := introspect(t, p)
	p.Down()
	if got := verdict(i.Verify(bearing(t, "a-token"))); !strings.HasPrefix(got, "technical: introspect: ") {
		t.Errorf("down: %s", got)
	}
}

// TestIntrospectBinding is a token that only works with its client certificate.
func TestIntrospectBinding(t *testing.T) {
	rrtest.NoLeak(t)
	ca := rrtest.NewCA(t)
	own, other := ca.Client(t, nil), ca.Client(t, nil)
	p := idp.New(t)
	p.Introspectable("a-token", map[string]any{"sub": "alice", "cnf": idp.CertificateConfirmation(own.Certificate[0])})
	i := introspect(t, p, "cache 1m")
	with := func(c tls.Certificate) *http.Request {
		r := over(t, c, false)
		r.Header.Set("Authorization", "Bearer a-token")
		return r
	}
	const refused = "credential not accepted: the token is bound"
	for n, tt := range []struct {
		r    *http.Request
		want string
	}{
		{with(other), refused}, {with(own), "id alice"}, {with(other), refused}, {bearing(t, "a-token"), refused}, {with(own), "id alice"},
	} {
		if got := verdict(i.Verify(tt.r)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%d: %s, want %s", n, got, tt.want)
		}
	}
	if n := p.IntrospectionCount(); n != 1 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func TestIntrospectFaults(t *testing.T) {
	ok := []string{"url https://as.example/introspect", "client_id rr", "client_secret s"}
	for _, tt := range []struct{ lines, err string }{
		{"url http://as.example/", "https"},
		{"url https://u:p@as.example/", "user name"},
		{"url /introspect", "https://"},
		{"url https://as.example/ https://b.example/", "exactly one"},
		{"client_auth digest", "basic, post"},
		{"client_auth private_key_jwt", "client_auth private_key_jwt needs private_key"},
		{"client_auth none", "client_secret has no part"},
		{"scope", "at least one"},
		{`scope "read write"`, "is not a scope"},
		{`scope a\b`, "is not a scope"},
		{"audience a\nany_audience", "contradict"},
		{"any_audience yes", "any_audience"},
		{"cache 0", "cache"},
		{"cache -1s", "cache"},
		{"cache soon", "cache"},
		{"cache 1s\ncache 2s", "twice"},
		{"timeout 2m", "at most 1m"},
		{"from header Host", "cannot carry"},
		{"from header X-Token\nprefix Token", "prefix is for Authorization"},
		{"issuer a\nissuer b", "twice"},
		{"key {env.X}", "belong together"},
		{"secret x", "there are: url, client_id, client_secret, client_auth, private_key, algorithm, kid, assertion_audience, certificate, key, ca, token_type_hint"},
	} {
		lines := ok
		if strings.HasPrefix(tt.lines, "url") {
			lines = ok[1:]
		}
		if _, err := introspectKind(t, new(secret.Expander), append([]string{tt.lines}, lines...)...); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.lines, err, tt.err)
		}
	}
	for lines, want := range map[string]string{
		"client_id rr\nclient_secret s":                         "url",
		"url https://as.example/":                               "client_auth basic needs client_id",
		"url https://as.example/\nclient_id rr":                 "needs client_secret",
		ok[0] + "\nclient_id rr\nclient_secret {env.RR_NONE}":   "client_secret: {env.RR_NONE}",
		ok[0] + "\nclient_auth none\nca {file./does/not/exist}": "ca: {file./does/not/exist}",
	} {
		if _, err := introspectKind(t, new(secret.Expander), lines); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", lines, err, want)
		}
	}
	if err := new(Introspect).UnmarshalCaddyfile(caddyfile.NewTestDispenser("introspect https://as.example/")); err == nil || !strings.Contains(err.Error(), "url https://") {
		t.Errorf("an argument: %v", err)
	}
	// from JSON nothing has been checked before
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	for n, i := range []*Introspect{
		{}, {URL: "http://as.example/"}, {URL: "https://as.example/", Cache: -1}, {URL: "https://as.example/", Timeout: -1},
		{URL: "https://as.example/", Scope: Texts{"a b"}}, {URL: "https://as.example/", Audience: Texts{""}}, {URL: "https://as.example/"},
	} {
		if err := i.Provision(ctx); err == nil {
			t.Errorf("%d loads", n)
		}
		if err := i.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}

// TestIntrospectSecretChanges has the client secret in a file.
func TestIntrospectSecretChanges(t *testing.T) {
	p := idp.New(t)
	p.Introspectable("a-token", map[string]any{"sub": "alice"})
	p.OnlyClient("rr", "first")
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	e := new(secret.Expander)
	i, err := introspectKind(t, e, "url "+p.IntrospectionURL(), "client_id rr", "client_secret {file."+path+"}", "cache 1h")
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if got := verdict(i.Verify(bearing(t, "a-token"))); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	expect("id alice")
	write("second")
	e.Poll()
	expect("technical") // what was remembered was said to another client
	p.OnlyClient("rr", "second")
	expect("id alice")
	if n := p.IntrospectionCount(); n != 3 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func TestIntrospectNamesItsIssuer(t *testing.T) {
	p := idp.New(t)
	for line, want := range map[string]string{
		"": "", "issuer accounts.example": "", "issuer https://as.example/\nscope read write": "https://as.example/ [read write]",
	} {
		issuer, scopes := introspect(t, p, line).AuthorizationServer()
		if got := issuer; want != "" && issuer+" "+fmt.Sprint(scopes) != want || want == "" && got != "" {
			t.Errorf("%s: %s %v", line, issuer, scopes)
		}
	}
}
