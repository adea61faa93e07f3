package inject

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// configured is a context of a configuration, in which placeholders mean something, and
// what follows its secret files.
func configured(t testing.TB) (caddy.Context, *secret.Expander) {
	t.Helper()
	e, ctx := new(secret.Expander), testContext(t)
	return ctx.WithValue(e.Key()), e
}

// load provisions an injector from its JSON, as a configuration or, without placeholders,
// as a record of the API does.
func load(t testing.TB, ctx caddy.Context, kind string, options map[string]any) (any, error) {
	t.Helper()
	raw, err := json.Marshal(options)
	if err != nil {
		t.Fatal(err)
	}
	return ctx.LoadModuleByID(Namespace+"."+kind, raw)
}

func loadJWT(t testing.TB, ctx caddy.Context, options map[string]any) *JWT {
	t.Helper()
	v, err := load(t, ctx, "jwt", options)
	if err != nil {
		t.Fatal(err)
	}
	return v.(*JWT)
}

// of is a request of a verified caller.
func of(t testing.TB, id string, claims map[string]any, expires time.Time) *http.Request {
	t.Helper()
	r := request(t, id)
	if id == "" {
		x, _ := exchange.Begin(r.Context())
		r = r.WithContext(x)
	}
	x := exchange.From(r.Context())
	x.Claims, x.Expires = rule.Decoded(claims), expires
	return r
}

// sent is the token that a request gets, taken apart and verified with a key.
func sent(t testing.TB, j *JWT, r *http.Request, k *idp.Key) *jose.Token {
	t.Helper()
	if err := j.Inject(r); err != nil {
		t.Fatal(err)
	}
	raw, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		t.Fatalf("the request has %v", r.Header)
	}
	return verified(t, raw, k)
}

func verified(t testing.TB, raw string, k *idp.Key) *jose.Token {
	t.Helper()
	token, err := jose.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	key := &jose.Key{Public: k.Secret}
	if k.Private != nil {
		if key, err = jose.NewKey(k.Private.Public(), "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := token.VerifySignature(key, []string{k.Alg}); err != nil {
		t.Fatal(err)
	}
	return token
}

func date(t testing.TB, token *jose.Token, name string) int64 {
	t.Helper()
	n, err := token.Claims[name].(json.Number).Int64()
	if err != nil {
		t.Fatalf("%s is %v", name, token.Claims[name])
	}
	return n
}

// TestJWTOfTheSeed: the hosted product's own payload gives a working credential.
func TestJWTOfTheSeed(t *testing.T) {
	k := idp.NewKey(t, "RS256", "")
	pkcs1 := string(k.PrivatePEM())
	j := loadJWT(t, testContext(t), map[string]any{
		"privateKey": pkcs1, "algorithm": "RS256", "claims": map[string]any{"iss": "my-service", "aud": "analytics-api"},
	})
	token := sent(t, j, request(t, ""), k)
	if token.Claims["iss"] != "my-service" || token.Claims["aud"] != "analytics-api" || token.Header.Typ != "jwt" || token.Header.HasKid {
		t.Errorf("%+v %v", token.Header, token.Claims)
	}
	now := time.Now().Unix()
	if exp, iat, nbf := date(t, token, "exp"), date(t, token, "iat"), date(t, token, "nbf"); exp < now+290 || exp > now+300 || iat < now-20 || iat > now || nbf != iat {
		t.Errorf("now %d, iat %d, nbf %d, exp %d", now, iat, nbf, exp)
	}
	if jti, _ := token.Claims["jti"].(string); len(jti) < 22 {
		t.Errorf("jti %q", jti)
	}
	again := sent(t, j, request(t, ""), k)
	if again.Claims["jti"] != token.Claims["jti"] {
		t.Error("the second request has a token of its own")
	}
}

func TestMintedAlgorithms(t *testing.T) {
	ctx, _ := configured(t)
	for _, alg := range append(slices.Clone(idp.Algorithms), "HS256", "HS384", "HS512") {
		t.Run(alg, func(t *testing.T) {
			options := map[string]any{"algorithm": alg, "kid": "k1", "claims": map[string]any{"iss": "gw"}}
			var k *idp.Key
			if strings.HasPrefix(alg, "HS") {
				k = idp.NewSecret(alg, "k1", []byte("a secret of some length, for an HMAC"))
				options["secret"] = string(k.Secret)
			} else {
				k = idp.NewKey(t, alg, "k1")
				options["private_key"] = string(k.PrivatePEM())
			}
			token := sent(t, loadJWT(t, ctx, options), request(t, ""), k)
			if token.Header.Alg != alg || token.Header.Kid != "k1" {
				t.Errorf("%+v", token.Header)
			}
		})
	}
}

func TestMintedOptions(t *testing.T) {
	t.Setenv("RR_TEST_ISS", "app-{env.HOME}")
	k := idp.NewKey(t, "ES256", "")
	t.Setenv("RR_TEST_KEY", strings.ReplaceAll(string(k.PrivatePEM()), "\n", `\n`))
	ctx, _ := configured(t)
	j := loadJWT(t, ctx, map[string]any{
		"private_key": "{env.RR_TEST_KEY}", "ttl": "1h", "omit": []string{"nbf", "jti"},
		"header": map[string]any{"typ": "at+jwt", "x": []any{"a", 1}},
		"claims": map[string]any{
			"iss": "{env.RR_TEST_ISS}", "id": json.Number("12345678901234567890"), "iat": 5, "deep": map[string]any{"list": []any{"x-{env.RR_TEST_ISS}", true, nil}},
			"json": `{"a":"b"}`, "word": "{name}",
		},
		"to": map[string]any{"in": "header", "name": "x-jwt", "prefix": "Token"},
	})
	if got := j.Slots(); !reflect.DeepEqual(got, []Slot{{InHeader, "X-Jwt"}}) {
		t.Errorf("slots %v", got)
	}
	r := request(t, "")
	if err := j.Inject(r); err != nil {
		t.Fatal(err)
	}
	raw, _ := strings.CutPrefix(r.Header.Get("X-Jwt"), "Token ")
	token := verified(t, raw, k)
	if exp := date(t, token, "exp"); exp < time.Now().Unix()+3590 || token.Header.Typ != "at+jwt" {
		t.Errorf("%+v %v", token.Header, token.Claims)
	}
	delete(token.Claims, "exp")
	got, _ := json.Marshal(token.Claims)
	want := `{"deep":{"list":["x-app-{env.HOME}",true,null]},"iat":5,"id":12345678901234567890,"iss":"app-{env.HOME}","json":"{\"a\":\"b\"}","word":"{name}"}`
	if string(got) != want {
		t.Errorf("claims %s, want %s", got, want)
	}
}

// TestClaimsOfTheCaller: placeholders are replaced once, by what the caller has been
// verified to have, in its own type.
func TestClaimsOfTheCaller(t *testing.T) {
	k := idp.NewKey(t, "ES256", "")
	ctx, _ := configured(t)
	caller := map[string]any{
		"sub": "alice", "roles": []any{"a", "b"}, "n": json.Number("42"), "admin": false, "tenant": map[string]any{"id": "acme"},
		"https://x.example/team": "t1", "trick": "{env.HOME} {http.auth.user.sub}", "null": nil, "empty": "", "id": "another",
	}
	for _, tt := range []struct{ name, claim, want, err string }{
		{name: "a text", claim: "{http.auth.user.sub}", want: `"alice"`},
		{name: "the caller's id", claim: "{http.auth.user.id}", want: `"id-of-alice"`},
		{name: "a list stays one", claim: "{http.auth.user.roles}", want: `["a","b"]`},
		{name: "a number stays one", claim: "{http.auth.user.n}", want: `42`},
		{name: "false stays false", claim: "{http.auth.user.admin}", want: `false`},
		{name: "an object stays one", claim: "{http.auth.user.tenant}", want: `{"id":"acme"}`},
		{name: "nested", claim: "{http.auth.user.tenant.id}", want: `"acme"`},
		{name: "a URL as name", claim: "{http.auth.user.https://x.example/team}", want: `"t1"`},
		{name: "within a text", claim: "u:{http.auth.user.sub}/{http.auth.user.n}", want: `"u:alice/42"`},
		{name: "braces of the caller are text", claim: "{http.auth.user.trick}", want: `"{env.HOME} {http.auth.user.sub}"`},
		{name: "within a text, too", claim: "({http.auth.user.trick})", want: `"({env.HOME} {http.auth.user.sub})"`},
		{name: "missing", claim: "{http.auth.user.none}", err: "the caller has no {http.auth.user.none}"},
		{name: "missing in a text", claim: "u:{http.auth.user.none}", err: "the caller has no {http.auth.user.none}"},
		{name: "null", claim: "{http.auth.user.null}", err: "the caller has no"},
		{name: "empty", claim: "{http.auth.user.empty}", err: "the caller has no"},
		{name: "missing below", claim: "{http.auth.user.tenant.none}", err: "the caller has no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := loadJWT(t, ctx, map[string]any{"private_key": string(k.PrivatePEM()), "claims": map[string]any{"x": tt.claim, "list": []any{tt.claim}}})
			r := of(t, "id-of-alice", caller, time.Time{})
			if tt.err != "" {
				if err := j.Inject(r); err == nil || !strings.Contains(err.Error(), tt.err) || r.Header.Get("Authorization") != "" {
					t.Errorf("error %v, want %q; the request has %v", err, tt.err, r.Header)
				}
				return
			}
			token := sent(t, j, r, k)
			if got, _ := json.Marshal(token.Claims["x"]); string(got) != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got, _ := json.Marshal(token.Claims["list"]); string(got) != "["+tt.want+"]" {
				t.Errorf("in a list %s, want [%s]", got, tt.want)
			}
		})
	}
	j := loadJWT(t, ctx, map[string]any{"private_key": string(k.PrivatePEM()), "claims": map[string]any{"sub": "{http.auth.user.id}"}})
	if err := j.Inject(of(t, "", caller, time.Time{})); err == nil {
		t.Error("a caller without an id has a token")
	}
	if err := j.Inject(request(t, "")); err == nil {
		t.Error("nobody has a token")
	}
	// in records of the API placeholders are plain text
	plain := loadJWT(t, testContext(t), map[string]any{"private_key": string(k.PrivatePEM()), "claims": map[string]any{"sub": "{http.auth.user.sub} {env.HOME}"}})
	if token := sent(t, plain, of(t, "x", caller, time.Time{}), k); token.Claims["sub"] != "{http.auth.user.sub} {env.HOME}" {
		t.Errorf("a record of the API gives %v", token.Claims)
	}
}

// TestTokensOfCallersAreTheirOwn: whoever differs in what the claims use has another
// token; who does not, shares one.
func TestTokensOfCallersAreTheirOwn(t *testing.T) {
	k := idp.NewKey(t, "ES256", "")
	ctx, _ := configured(t)
	j := loadJWT(t, ctx, map[string]any{"private_key": string(k.PrivatePEM()), "claims": map[string]any{"sub": "{http.auth.user.sub}", "t": "{http.auth.user.t}"}})
	in := time.Now().Add(time.Hour)
	seen := map[any]string{}
	for name, r := range map[string]*http.Request{
		"alice":               of(t, "1", map[string]any{"sub": "alice", "t": "x"}, in),
		"bob":                 of(t, "1", map[string]any{"sub": "bob", "t": "x"}, in),
		"another tenant":      of(t, "1", map[string]any{"sub": "alice", "t": "y"}, in),
		"cut elsewhere":       of(t, "1", map[string]any{"sub": "alic", "t": "ex"}, in),
		"a number":            of(t, "1", map[string]any{"sub": "alice", "t": json.Number("1")}, in),
		"a text":              of(t, "1", map[string]any{"sub": "alice", "t": "1"}, in),
		"a list":              of(t, "1", map[string]any{"sub": "alice", "t": []any{"1"}}, in),
		"alice for a shorter": of(t, "1", map[string]any{"sub": "alice", "t": "x"}, in.Add(-time.Minute)),
	} {
		want, _ := json.Marshal([]any{rule.AllOf(exchange.From(r.Context()).Claims)["sub"], rule.AllOf(exchange.From(r.Context()).Claims)["t"]})
		token := sent(t, j, r, k)
		if got, _ := json.Marshal([]any{token.Claims["sub"], token.Claims["t"]}); string(got) != string(want) {
			t.Errorf("%s got the token of %s", name, got)
		}
		if other, shared := seen[token.Claims["jti"]]; shared {
			t.Errorf("%s and %s share a token", name, other)
		}
		seen[token.Claims["jti"]] = name
	}
	r := of(t, "2", map[string]any{"sub": "alice", "t": "x", "other": "claim"}, in)
	if token := sent(t, j, r, k); seen[token.Claims["jti"]] != "alice" {
		t.Error("what the claims do not use decides, too")
	}
}

// TestATokenEndsWithTheCallersProof: no token lasts longer than what it was made for.
func TestATokenEndsWithTheCallersProof(t *testing.T) {
	k := idp.NewKey(t, "ES256", "")
	ctx, _ := configured(t)
	key := string(k.PrivatePEM())
	now := time.Now().Truncate(time.Second)
	soon := now.Add(90 * time.Second)
	for _, tt := range []struct {
		name    string
		claims  map[string]any
		caller  map[string]any
		expires time.Time
		want    int64 // 0: 5 minutes
		err     string
	}{
		{name: "the proof ends earlier", claims: map[string]any{"sub": "{http.auth.user.sub}"}, expires: soon, want: soon.Unix()},
		{name: "the proof ends later", claims: map[string]any{"sub": "{http.auth.user.sub}"}, expires: now.Add(time.Hour)},
		{name: "the proof does not end", claims: map[string]any{"sub": "{http.auth.user.sub}"}},
		{name: "the claims do not depend on it", claims: map[string]any{"sub": "svc"}, expires: soon},
		{name: "a fraction of a second", claims: map[string]any{"sub": "{http.auth.user.sub}"}, expires: soon.Add(900 * time.Millisecond), want: soon.Unix()},
		{name: "the proof is over", claims: map[string]any{"sub": "{http.auth.user.sub}"}, expires: now.Add(-time.Second), err: "over already"},
		{name: "exp is said", claims: map[string]any{"exp": now.Unix() + 7}, want: now.Unix() + 7},
		{name: "exp is said and over", claims: map[string]any{"exp": 1000}, err: "over already"},
		{name: "exp is the caller's", claims: map[string]any{"exp": "{http.auth.user.exp}"}, caller: map[string]any{"exp": json.Number(strconv.FormatInt(now.Unix()+8, 10))}, want: now.Unix() + 8},
		{name: "exp is the caller's, the proof ends earlier", claims: map[string]any{"exp": "{http.auth.user.exp}"}, caller: map[string]any{"exp": json.Number("4000000000")}, expires: soon, want: soon.Unix()},
		{name: "exp is a text of the caller's", claims: map[string]any{"exp": "{http.auth.user.exp}"}, caller: map[string]any{"exp": "tomorrow"}, err: "claim exp is not a number"},
		{name: "nbf is a text of the caller's", claims: map[string]any{"nbf": "{http.auth.user.nbf}"}, caller: map[string]any{"nbf": "now"}, err: "claim nbf is not a number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			caller := map[string]any{"sub": "alice"}
			for name, v := range tt.caller {
				caller[name] = v
			}
			j := loadJWT(t, ctx, map[string]any{"private_key": key, "claims": tt.claims})
			r := of(t, "a", caller, tt.expires)
			if tt.err != "" {
				if err := j.Inject(r); err == nil || !strings.Contains(err.Error(), tt.err) || len(r.Header) > 0 {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			exp := date(t, sent(t, j, r, k), "exp")
			if tt.want != 0 && exp != tt.want || tt.want == 0 && (exp < now.Unix()+298 || exp > now.Unix()+330) {
				t.Errorf("exp is %d s from now, want %d", exp-now.Unix(), tt.want-now.Unix())
			}
		})
	}
}

// TestAChangedKeyHoldsAtOnce: the next request after the change has a token of the new
// key; what cannot be used changes nothing.
func TestAChangedKeyHoldsAtOnce(t *testing.T) {
	dir := t.TempDir()
	file, password := filepath.Join(dir, "key.pem"), filepath.Join(dir, "password")
	write := func(name string, data []byte) {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, second := idp.NewKey(t, "ES256", ""), idp.NewKey(t, "ES256", "")
	write(file, first.PrivatePEM())
	ctx, e := configured(t)
	j := loadJWT(t, ctx, map[string]any{"private_key": "{file." + file + "}", "claims": map[string]any{"iss": "gw"}})
	sent(t, j, request(t, ""), first)
	write(file, []byte("-----BEGIN PRIVATE KEY-----\nhalf"))
	e.Poll()
	sent(t, j, request(t, ""), first)
	write(file, second.PrivatePEM())
	e.Poll()
	token := sent(t, j, request(t, ""), second)

	// an encrypted one, whose password comes first
	encrypted, err := os.ReadFile("../internal/jose/testdata/encrypted/sha256-aes256.pem")
	if err != nil {
		t.Fatal(err)
	}
	write(password, []byte("another\n"))
	write(filepath.Join(dir, "locked.pem"), encrypted)
	if _, err := load(t, ctx, "jwt", map[string]any{"private_key": "{file." + dir + "/locked.pem}", "private_key_password": "{file." + password + "}"}); err == nil || !strings.Contains(err.Error(), "password is not") {
		t.Errorf("with a wrong password: %v", err)
	}
	write(password, []byte("correct-horse\n"))
	e.Poll()
	locked := loadJWT(t, ctx, map[string]any{"private_key": "{file." + dir + "/locked.pem}", "private_key_password": "{file." + password + "}"})
	if err := locked.Inject(request(t, "")); err != nil {
		t.Error(err)
	}
	if err := j.Cleanup(); err != nil {
		t.Error(err)
	}
	write(file, first.PrivatePEM())
	e.Poll() // of a configuration that has ended: nothing happens
	if again := sent(t, j, request(t, ""), second); again.Claims["jti"] != token.Claims["jti"] {
		t.Error("a request that is still under way has another token")
	}
}

func TestARefusedMintedTokenIsMadeAnew(t *testing.T) {
	k := idp.NewKey(t, "ES256", "")
	synctest.Test(t, func(t *testing.T) {
		ctx, _ := configured(t)
		j := loadJWT(t, ctx, map[string]any{"private_key": string(k.PrivatePEM())})
		r := request(t, "")
		first := sent(t, j, r, k)
		renewals := 0
		for range 10 { // a second apart
			time.Sleep(time.Second)
			renewed, err := j.Renew(r)
			if err != nil {
				t.Error(err)
			}
			r = request(t, "")
			next := sent(t, j, r, k)
			if renewed == (next.Claims["jti"] == first.Claims["jti"]) {
				t.Errorf("renewed %v, but the token is %v after %v", renewed, next.Claims["jti"], first.Claims["jti"])
			}
			if first = next; renewed {
				renewals++
			}
		}
		if renewals != 2 {
			t.Errorf("%d renewals in 10 s, want one in 5 s", renewals)
		}
		static := loadJWT(t, ctx, map[string]any{"token": "a.b.c"})
		if renewed, err := static.Renew(r); renewed || err != nil {
			t.Errorf("a static token was renewed: %v", err)
		}
		if err := j.Cleanup(); err != nil {
			t.Error(err)
		}
	})
}

func TestJWTsThatAreRefused(t *testing.T) {
	t.Setenv("RR_TEST_EMPTY", "")
	key := string(idp.NewKey(t, "ES256", "").PrivatePEM())
	ctx, _ := configured(t)
	with := func(more ...any) map[string]any {
		options := map[string]any{"private_key": key}
		for i := 0; i < len(more); i += 2 {
			options[more[i].(string)] = more[i+1]
		}
		return options
	}
	claims := func(name string, v any) map[string]any { return with("claims", map[string]any{name: v}) }
	for _, tt := range []struct {
		name    string
		options map[string]any
		err     string
	}{
		{"nothing", map[string]any{}, "jwt needs a token"},
		{"token and key", with("token", "a.b.c"), "not both"},
		{"key and secret", with("secret", "s"), "not with both"},
		{"both names", with("privateKey", key), "the same option"},
		{"an option for nothing", map[string]any{"token": "a.b.c", "ttl": "5m"}, "ttl is for a token that is made here"},
		{"claims for nothing", map[string]any{"token": "a.b.c", "claims": map[string]any{}}, "claims is for"},
		{"a password for nothing", map[string]any{"secret": "s", "private_key_password": "p"}, "there is none"},
		{"an option that there is not", with("issuer", "x"), `unknown field "issuer"`},
		{"an unknown algorithm", with("algorithm", "none"), "not a signature algorithm"},
		{"one of secrets", with("algorithm", "HS256"), "does not go with a private_key"},
		{"one of keys", map[string]any{"secret": "s", "algorithm": "ES256"}, "does not go with a secret"},
		{"one of another key", with("algorithm", "RS256"), "does not go with"},
		{"PEM as a secret", map[string]any{"secret": key}, "say private_key"},
		{"no key", with("private_key", "abc"), "neither PEM nor a JWK"},
		{"an empty variable", with("private_key", "{env.RR_TEST_EMPTY}"), "not set or empty"},
		{"an empty variable in a claim", claims("iss", "{env.RR_TEST_EMPTY}"), "not set or empty"},
		{"a long life", with("ttl", "25h"), "ttl is from"},
		{"a short life", with("ttl", "10ms"), "ttl is from"},
		{"omitting the end", with("omit", []string{"exp"}), "omit is for"},
		{"alg by hand", with("header", map[string]any{"alg": "none"}), "header alg cannot be set"},
		{"kid by hand", with("header", map[string]any{"kid": "x"}), "header kid cannot be set"},
		{"crit", with("header", map[string]any{"crit": []string{"exp"}}), "header crit cannot be set"},
		{"a placeholder in the header", with("header", map[string]any{"x": "{http.auth.user.sub}"}), "holds no placeholders"},
		{"a text for a time", claims("exp", "tomorrow"), "exp is a number"},
		{"a negative time", claims("exp", -1), "exp is not a number"},
		{"no time", claims("nbf", nil), "nbf is null"},
		{"a huge time", claims("iat", 1e300), "iat is not a number"},
		{"another placeholder", claims("sub", "{http.request.header.X}"), "unknown placeholder {http.request.header.X}"},
		{"another placeholder inside", claims("a", map[string]any{"b": []any{"x{rr.proxy}"}}), "a.b: unknown placeholder {rr.proxy}"},
		{"a placeholder as a name", claims("{env.HOME}", "x"), "cannot hold a placeholder"},
		{"a place that there is not", with("to", map[string]any{"in": "path"}), "header, query parameter or cookie"},
		{"a forbidden header", with("to", map[string]any{"in": "header", "name": "Host"}), "cannot carry a credential"},
		{"a prefix in the query", with("to", map[string]any{"in": "query", "name": "q", "prefix": "x"}), "only in a header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := load(t, ctx, "jwt", tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v, %v; want %q", v, err, tt.err)
			}
			if strings.Contains(err.Error(), key[30:60]) {
				t.Errorf("the error has the key: %v", err)
			}
		})
	}
	if _, err := ctx.LoadModuleByID(Namespace+".jwt", []byte(`{"secret":"s","claims":{"sub":"a","sub":"b"}}`)); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a claim that is there twice: %v", err)
	}
}

// TestJWTsThatDifferShareNoToken: one token for each definition.
func TestJWTsThatDifferShareNoToken(t *testing.T) {
	k := idp.NewKey(t, "ES256", "")
	ctx, _ := configured(t)
	t.Setenv("RR_TEST_AUD", "x")
	base := map[string]any{"private_key": string(k.PrivatePEM()), "claims": map[string]any{"iss": "gw", "aud": "{env.RR_TEST_AUD}"}}
	seen := map[any]string{}
	take := func(name string, change func(map[string]any)) {
		options := map[string]any{}
		for n, v := range base {
			options[n] = v
		}
		change(options)
		token := sent(t, loadJWT(t, ctx, options), request(t, ""), k)
		if other, shared := seen[token.Claims["jti"]]; shared != (name == "the same") {
			t.Errorf("%q and %q: shared %v", name, other, shared)
		}
		seen[token.Claims["jti"]] = name
	}
	take("base", func(map[string]any) {})
	take("the same", func(map[string]any) {})
	take("ttl", func(o map[string]any) { o["ttl"] = "6m" })
	take("kid", func(o map[string]any) { o["kid"] = "k" })
	take("audience", func(o map[string]any) { o["claims"] = map[string]any{"iss": "gw", "aud": "y"} })
	take("header", func(o map[string]any) { o["header"] = map[string]any{"typ": "x"} })
	t.Setenv("RR_TEST_AUD", "z")
	take("a changed variable", func(map[string]any) {})
}

func BenchmarkMinted(b *testing.B) {
	k := idp.NewKey(b, "ES256", "")
	ctx, _ := configured(b)
	for name, claims := range map[string]map[string]any{
		"shared": {"sub": "svc"}, "for the caller": {"sub": "{http.auth.user.sub}", "tenant": "{http.auth.user.tenant.id}"},
	} {
		b.Run(name, func(b *testing.B) {
			j := loadJWT(b, ctx, map[string]any{"private_key": string(k.PrivatePEM()), "claims": claims})
			r := of(b, "alice", map[string]any{"sub": "alice", "tenant": map[string]any{"id": "acme"}}, time.Now().Add(time.Hour))
			if err := j.Inject(r); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = j.Inject(r)
			}
		})
	}
}
