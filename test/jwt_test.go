package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// jwtProxy is a proxy for callers with tokens; LINES are jwt_verify's options.
const jwtProxy = `
{
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				LINES
			}
			target UPSTREAM
			present bearer {env.VENDOR_KEY}
			RULES
		}
	}
}
:GATEPORT {
	rr_proxy p {
		header_up X-User {http.auth.user.id}
		header_up X-Tenant {http.auth.user.tenant.id}
	}
}
`

// startJWT starts jwtProxy; lines and rules are put in.
func startJWT(t testing.TB, lines, rules string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	t.Setenv("VENDOR_KEY", vendorKey)
	u := rrtest.NewUpstream(t)
	return start(t, jwtProxy, "LINES", lines, "RULES", rules, "UPSTREAM", u.URL), u
}

// file writes a file and returns its placeholder.
func file(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return "{file." + path + "}"
}

// stranger is another key that calls itself the same.
func stranger(t testing.TB, k *idp.Key) *idp.Key {
	t.Helper()
	if k.Secret != nil {
		return idp.NewSecret(k.Alg, k.ID, []byte("another-secret-of-thirty-two-bytes-and-more"))
	}
	return idp.NewKey(t, k.Alg, k.ID)
}

func jwkSet(keys ...*idp.Key) []byte {
	var list []map[string]any
	for _, k := range keys {
		list = append(list, k.JWK())
	}
	b, _ := json.Marshal(map[string]any{"keys": list})
	return b
}

// claims are those of a good token; over is put over them.
func claims(over map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{
		"iss": "https://issuer.example/", "aud": "https://gateway.example", "sub": "svc-1", "iat": now, "exp": now + 300,
	}
	for name, v := range over {
		if v == nil {
			delete(c, name)
		} else {
			c[name] = v
		}
	}
	return c
}

const sharedSecret = "a-secret-of-thirty-two-bytes-and-a-few"

func TestJWTKeySources(t *testing.T) {
	t.Setenv("SHARED", sharedSecret)
	rsa, ec, ed := idp.NewKey(t, "RS256", "r1"), idp.NewKey(t, "ES256", "e1"), idp.NewKey(t, "EdDSA", "d1")
	hs := idp.NewSecret("HS256", "", []byte(sharedSecret))
	common := "issuer https://issuer.example/\naudience https://gateway.example\n"
	for _, c := range []struct {
		name, lines string
		key         *idp.Key
	}{
		{"RSA key in PEM", "public_key " + file(t, "rsa.pem", rsa.PublicPEM()), rsa},
		{"RSA key as PS512", "public_key " + file(t, "rsa.pem", rsa.PublicPEM()), rsa.With("PS512", "any")},
		{"EC key in PEM", "public_key " + file(t, "ec.pem", ec.PublicPEM()), ec},
		{"EdDSA in a set", "jwks " + file(t, "set.json", jwkSet(rsa, ec, ed)), ed},
		{"a set in clear", "jwks `" + string(jwkSet(rsa, ec)) + "`", ec},
		{"secret", "secret {env.SHARED}", hs},
		{"secret, HS512", "secret {env.SHARED}\nalgorithms HS512", idp.NewSecret("HS512", "", []byte(sharedSecret))},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, u := startJWT(t, common+c.lines, "")
			token := c.key.Token(claims(map[string]any{"tenant": map[string]any{"id": "t7"}}), nil)
			for range 2 { // the second time it is remembered
				g.get("/v1/x", bearer(token)).want(t, 200, "proxy-access-granted")
				got := one(t, u)
				if got.Header.Get("Authorization") != "Bearer "+vendorKey || got.Header.Get("X-User") != "svc-1" || got.Header.Get("X-Tenant") != "t7" {
					t.Errorf("the upstream got %v", got.Header)
				}
			}
			a := g.get("/v1/x", bearer(stranger(t, c.key).Token(claims(nil), nil)))
			a.want(t, 401, "proxy-access-denied")
			if w := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(w, `Bearer realm="rr", error="invalid_token"`) {
				t.Errorf("the challenge is %q", w)
			}
			if len(received(u)) != 0 {
				t.Error("a refused request reached the upstream")
			}
		})
	}
}

func TestJWTClaims(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	base := "jwks " + file(t, "set.json", jwkSet(key)) + "\nissuer https://issuer.example/\n"
	now := time.Now().Unix()
	type claim = map[string]any
	for _, c := range []struct {
		name, lines string
		claims      claim
		status      int
	}{
		{"one of several audiences", "audience a b", claim{"aud": []string{"x", "b"}}, 200},
		{"another audience", "audience a b", claim{"aud": []string{"x", "ab"}}, 401},
		{"any audience", "any_audience", claim{"aud": "whatever"}, 200},
		{"any audience, none said", "any_audience", claim{"aud": nil}, 200},
		{"subject by pattern", "any_audience\nsubject ^svc-", nil, 200},
		{"subject exactly", "any_audience\nsubject svc", nil, 401},
		{"scope as text", "any_audience\nscope read write", claim{"scope": "write read admin"}, 200},
		{"scope as a list", "any_audience\nscope read write", claim{"scope": []string{"read", "write"}}, 200},
		{"scp as a list", "any_audience\nscope read", claim{"scp": []string{"read"}}, 200},
		{"scp as text", "any_audience\nscope read", claim{"scp": "read"}, 200},
		{"a scope too few", "any_audience\nscope read write", claim{"scope": "read"}, 403},
		{"part of a scope", "any_audience\nscope read", claim{"scope": "readonly"}, 403},
		{"claim by value", "any_audience\nclaim client_id abc", claim{"client_id": "abc"}, 200},
		{"claim by value, not a part", "any_audience\nclaim client_id abc", claim{"client_id": "xabcx"}, 401},
		{"claim by value, dot is a dot", "any_audience\nclaim host a.b", claim{"host": "axb"}, 401},
		{"claim by pattern", "any_audience\nclaim tenant.id ^t[0-9]+$", claim{"tenant": claim{"id": "t12"}}, 200},
		{"claim by pattern, nested too little", "any_audience\nclaim tenant.id ^t[0-9]+$", claim{"tenant": "t12"}, 401},
		{"claim in a list", "any_audience\nclaim roles admin", claim{"roles": []string{"dev", "admin"}}, 200},
		{"claim is a number", "any_audience\nclaim level 3", claim{"level": 3}, 200},
		{"claim is null", "any_audience\nclaim level null", claim{"level": json.RawMessage("null")}, 401},
		{"claim name with dots", "any_audience\nclaim kubernetes.io.namespace prod", claim{"kubernetes.io": claim{"namespace": "prod"}}, 200},
		{"required claims", "any_audience\nrequired_claims jti tenant.id", claim{"jti": "1", "tenant": claim{"id": ""}}, 200},
		{"required claim is not there", "any_audience\nrequired_claims jti", nil, 401},
		{"max_age", "any_audience\nmax_age 1h", claim{"iat": now - 3500}, 200},
		{"older than max_age", "any_audience\nmax_age 1h", claim{"iat": now - 3700}, 401},
		{"max_age without iat", "any_audience\nmax_age 1h", claim{"iat": nil}, 401},
		{"typ at+jwt", "any_audience\ntyp at+jwt", nil, 401},
		{"expired within the leeway", "any_audience", claim{"exp": now - 20}, 200},
		{"expired beyond the leeway", "any_audience", claim{"exp": now - 31}, 401},
		{"no leeway", "any_audience\nleeway 0s", claim{"exp": now - 1}, 401},
		{"exp with a fraction", "any_audience", claim{"exp": float64(now) + 60.5}, 200},
		{"revoked jti", "any_audience\nrevoked jti a b", claim{"jti": "b"}, 401},
		{"another jti", "any_audience\nrevoked jti a b", claim{"jti": "c"}, 200},
		{"revoked sub", "any_audience\nrevoked sub svc-1", nil, 401},
		{"sub revoked before", "any_audience\nrevoked sub svc-1 before 2099-01-01T00:00:00Z", nil, 401},
		{"sub revoked long ago", "any_audience\nrevoked sub svc-1 before 2001-01-01T00:00:00Z", nil, 200},
		{"sub revoked long ago, no iat", "any_audience\nrevoked sub svc-1 before 2001-01-01T00:00:00Z", claim{"iat": nil}, 401},
		{"revoked issuer", "any_audience\nrevoked iss https://issuer.example/", nil, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, u := startJWT(t, base+c.lines, "")
			token := key.Token(claims(c.claims), nil)
			for range 2 {
				code := "proxy-access-denied"
				if c.status == 200 {
					code = "proxy-access-granted"
				}
				a := g.get("/v1/x", bearer(token))
				a.want(t, c.status, code)
				if c.status == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="insufficient_scope", scope="`) {
					t.Errorf("the challenge is %q", a.Header["Www-Authenticate"])
				}
			}
			if n := len(received(u)); (n == 2) != (c.status == 200) {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}

// TestJWTClaimsInRules: rules, expressions and the log see the claims.
func TestJWTClaimsInRules(t *testing.T) {
	key := idp.NewKey(t, "ES256", "k1")
	g, _ := startJWT(t, "any_audience\nissuer https://issuer.example/\njwks "+file(t, "set.json", jwkSet(key)), `
			allow GET /tenants/* {
				claim tenant ^acme$
			}
			allow POST /tenants/* {
				expression `+"`{http.auth.user.plan} == \"pro\"`"+`
			}`)
	acme := bearer(key.Token(claims(map[string]any{"tenant": "acme"}), nil))
	pro := bearer(key.Token(claims(map[string]any{"plan": "pro"}), nil))
	g.get("/tenants/1", acme).want(t, 200, "proxy-access-granted")
	g.get("/tenants/1", pro).want(t, 403, "proxy-access-denied")
	g.do(http.MethodPost, "/tenants/1", "", pro).want(t, 200, "proxy-access-granted")
	g.do(http.MethodPost, "/tenants/1", "", acme).want(t, 403, "proxy-access-denied")
}

// TestJWTKeyFileRotates: a changed file takes effect, and what was remembered with the old
// key does not help.
func TestJWTKeyFileRotates(t *testing.T) {
	old, young := idp.NewKey(t, "ES256", "k1"), idp.NewKey(t, "ES256", "k2")
	path := filepath.Join(t.TempDir(), "set.json")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(jwkSet(old))
	g, _ := startJWT(t, "any_audience\nissuer https://issuer.example/\njwks {file."+path+"}", "")
	first, second := bearer(old.Token(claims(nil), nil)), bearer(young.Token(claims(nil), nil))
	g.get("/", first).want(t, 200, "proxy-access-granted")
	g.get("/", second).want(t, 401, "proxy-access-denied")
	write([]byte("{broken"))
	rrtest.Eventually(t, "the broken file is reported", func() bool { return strings.Contains(g.Logs(), "changed keys cannot be used") })
	g.get("/", first).want(t, 200, "proxy-access-granted")
	write(jwkSet(young))
	rrtest.Eventually(t, "the new key is in use", func() bool { return g.get("/", second).Status == 200 })
	g.get("/", first).want(t, 401, "proxy-access-denied")
}
