package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// mintedProxy is a proxy whose upstream wants tokens of the gateway's own; LINES are
// options of the minted jwt.
const mintedProxy = `
{
	log {
		format rr
		level DEBUG
	}
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				jwks CALLERS
				any_audience
			}
			target UPSTREAM
			present jwt {
				LINES
			}
		}
	}
}
:GATEPORT {
	log {
		format rr
	}
	rr_proxy p
}
`

// mintedToken is the token that the upstream got, verified with the gateway's key.
func mintedToken(t testing.TB, got rrtest.Received, key *idp.Key) *jose.Token {
	t.Helper()
	raw, ok := strings.CutPrefix(got.Header.Get("Authorization"), "Bearer ")
	if !ok {
		t.Fatalf("the upstream got %v", got.Header)
	}
	token, err := jose.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jose.NewKey(key.Private.Public(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := token.VerifySignature(public, []string{key.Alg}); err != nil {
		t.Fatal(err)
	}
	return token
}

// TestMintedTokensSpeakForTheCaller: each caller has a token of its own, with its own
// claims, which reloads do not make anew.
func TestMintedTokensSpeakForTheCaller(t *testing.T) {
	idpKey, own := idp.NewKey(t, "ES256", "idp"), idp.NewKey(t, "RS256", "")
	u := rrtest.NewUpstream(t)
	lines := "private_key " + file(t, "own.pem", own.PrivatePEM()) + `
		algorithm PS256
		kid gw-1
		claims {
			iss gateway
			aud erp billing
			sub {http.auth.user.sub}
			act "svc:{http.auth.user.id}"
			roles {http.auth.user.roles}
			team {http.auth.user.team.name}
		}`
	g := start(t, mintedProxy, "LINES", lines, "UPSTREAM", u.URL, "CALLERS", file(t, "set.json", jwkSet(idpKey)))
	own = own.With("PS256", "")
	token := func(sub string, more ...any) string {
		c := claims(map[string]any{"sub": sub, "roles": []string{"r1", "{env.HOME}"}, "team": map[string]any{"name": "red {http.auth.user.sub}"}})
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
		}
		return idpKey.Token(c, nil)
	}
	ids := map[any]string{}
	tokens := map[string]string{}
	for _, sub := range []string{"alice", "bob"} {
		tokens[sub] = token(sub)
		for range 2 {
			g.get("/x", bearer(tokens[sub])).want(t, 200, "proxy-access-granted")
			got := one(t, u)
			minted := mintedToken(t, got, own)
			if got.Contains(tokens[sub]) {
				t.Error("the upstream got the caller's own token")
			}
			if minted.Header.Kid != "gw-1" {
				t.Errorf("kid %q", minted.Header.Kid)
			}
			var parts []string
			for _, name := range []string{"iss", "aud", "sub", "act", "roles", "team"} {
				b, _ := json.Marshal(minted.Claims[name])
				parts = append(parts, string(b))
			}
			want := []string{`"gateway"`, `["erp","billing"]`, `"` + sub + `"`, `"svc:` + sub + `"`, `["r1","{env.HOME}"]`, `"red {http.auth.user.sub}"`}
			if !reflect.DeepEqual(parts, want) {
				t.Errorf("claims %s, want %s", parts, want)
			}
			if other, known := ids[minted.Claims["jti"]]; known && other != sub {
				t.Errorf("%s got the token of %s", sub, other)
			}
			ids[minted.Claims["jti"]] = sub
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d tokens for two callers with two requests each", len(ids))
	}
	if err := g.reload(strings.Replace(mintedProxy, "throttle off", "throttle off\nresponse_headers RR-Proxy", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/x", bearer(tokens["alice"])).want(t, 200, "proxy-access-granted")
	if minted := mintedToken(t, one(t, u), own); ids[minted.Claims["jti"]] != "alice" {
		t.Error("after a reload alice's token is another")
	}
	if err := g.reload(strings.Replace(mintedProxy, "LINES", "LINES\nttl 10m", 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/x", bearer(tokens["alice"])).want(t, 200, "proxy-access-granted")
	minted := mintedToken(t, one(t, u), own)
	if _, old := ids[minted.Claims["jti"]]; old {
		t.Error("a changed definition goes on with the old token")
	}
	// of the caller's token are 5 minutes left; the leeway is not for what is made of it
	if got, most := seconds(t, minted.Claims["exp"]), seconds(t, jwtClaim(t, tokens["alice"], "exp")); got != most {
		t.Errorf("exp is %d; the caller's token is good until %d", got, most)
	}

	for name, tok := range map[string]string{
		"no roles":    token("carol", "roles", nil),
		"no team":     token("carol", "team", map[string]any{}),
		"an empty id": token("carol", "team", map[string]any{"name": ""}),
	} {
		a := g.get("/x", bearer(tok))
		if a.want(t, 502, "target-credential-failed"); strings.Contains(a.Body, "http.auth") {
			t.Errorf("%s: the caller is told %s", name, a.Body)
		}
		if got := received(u); len(got) != 0 {
			t.Errorf("%s: the upstream got %+v", name, got)
		}
	}
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "the caller has no {http.auth.user.roles}") && e["level"] == "error"
	})
	for _, token := range tokens {
		if strings.Contains(g.Logs(), token) {
			t.Error("a caller's token is in the log")
		}
	}
	for _, part := range []string{"eyJ", string(own.PrivatePEM()[60:90])} {
		if strings.Contains(g.Logs(), part) {
			t.Errorf("%s is in the log", part)
		}
	}
}

func jwtClaim(t testing.TB, raw, name string) any {
	t.Helper()
	token, err := jose.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return token.Claims[name]
}

func seconds(t testing.TB, v any) int64 {
	t.Helper()
	n, ok := v.(json.Number)
	at, err := n.Int64()
	if !ok || err != nil {
		t.Fatalf("%v is no whole number", v)
	}
	return at
}

// TestMintedKeyIsReplaced: a new key in the file signs from the next request on, without
// a reload; `caddy validate` needs no more than the file.
func TestMintedKeyIsReplaced(t *testing.T) {
	first, second := idp.NewKey(t, "ES256", ""), idp.NewKey(t, "ES256", "")
	path := filepath.Join(t.TempDir(), "own.pem")
	write := func(k *idp.Key) {
		if err := os.WriteFile(path, k.PrivatePEM(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	idpKey := idp.NewKey(t, "ES256", "idp")
	u := rrtest.NewUpstream(t)
	g := start(t, mintedProxy, "LINES", "private_key {file."+path+"}\nto header X-Signed\nclaims {\niss gw\n}", "UPSTREAM", u.URL, "CALLERS", file(t, "set.json", jwkSet(idpKey)))
	caller := bearer(idpKey.Token(claims(nil), nil))
	signedBy := func(k *idp.Key) bool {
		g.get("/x", caller, "X-Signed: forged", "X_Signed: forged").want(t, 200, "proxy-access-granted")
		got := one(t, u)
		if len(got.Header["X-Signed"]) != 1 || got.Header.Get("Authorization") != "" || got.Contains("forged") {
			t.Fatalf("the upstream got %v", got.Header)
		}
		token, err := jose.Parse(got.Header.Get("X-Signed"))
		if err != nil {
			t.Fatal(err)
		}
		public, err := jose.NewKey(k.Private.Public(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		return token.VerifySignature(public, []string{"ES256"}) == nil
	}
	if !signedBy(first) {
		t.Error("it is signed with another key")
	}
	write(second)
	rrtest.Eventually(t, "the new key signs", func() bool { return signedBy(second) })
}

// TestMintedForTheSeed is the hosted product's own payload as a JSON configuration.
func TestMintedForTheSeed(t *testing.T) {
	own := idp.NewKey(t, "RS256", "")
	u := rrtest.NewUpstream(t)
	present, _ := json.Marshal(map[string]any{
		"kind": "jwt", "privateKey": string(own.PrivatePEM()), "algorithm": "RS256",
		"claims": map[string]any{"iss": "my-service", "aud": "analytics-api"},
	})
	port := rrtest.FreePort(t)
	c := rrtest.StartJSON(t, fmt.Sprintf(`{"apps": {
		"rr": {"proxies": {"p": {"accept": [{"kind": "none"}], "target": %q, "present": %s}}},
		"http": {"servers": {"s": {"listen": [":%d"], "routes": [{"handle": [
			{"handler": "rr_verify", "proxy": "p"}, {"handler": "rr_inject", "proxy": "p", "deferred": true},
			{"handler": "reverse_proxy", "transport": {"protocol": "rr"}, "upstreams": [{"dial": %q}]}]}]}}}}}`,
		u.URL, present, port, u.Addr))
	if a := rrtest.Do(t, "GET", "http://"+rrtest.Addr(port)+"/x", ""); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	token := mintedToken(t, one(t, u), own)
	if token.Claims["iss"] != "my-service" || token.Claims["aud"] != "analytics-api" {
		t.Errorf("%v", token.Claims)
	}
	if !strings.Contains(c.Logs(), "a secret is written in clear") {
		t.Error("nobody is warned of a key in clear")
	}
}

func TestMintedThatDoesNotLoad(t *testing.T) {
	idpKey := idp.NewKey(t, "ES256", "idp")
	for lines, want := range map[string]string{
		"private_key {env.RR_TEST_NOTHING}":                                          "proxy p: present jwt: provision rr.injectors.jwt: private_key: {env.RR_TEST_NOTHING}",
		"private_key " + file(t, "x", []byte("no key")):                              "provision rr.injectors.jwt: private_key: the private key is neither PEM nor a JWK",
		"secret {env.HOME}\nclaims {\n iss {env.RR_TEST_NOTHING}\n}":                 "provision rr.injectors.jwt: claims: iss: {env.RR_TEST_NOTHING}",
		"private_key " + file(t, "x", idpKey.PublicPEM()):                            "no private key",
		"private_key " + file(t, "y", idpKey.PrivatePEM()) + "\nkid k\n":             "",
		"private_key " + file(t, "z", idpKey.PrivatePEM()) + "\nkid k\nto query jwt": "",
	} {
		text := strings.NewReplacer("LINES", lines, "UPSTREAM", "https://api.example", "CALLERS", file(t, "set.json", jwkSet(idpKey)), "GATEPORT", "0").Replace(mintedProxy)
		t.Run(want, func(t *testing.T) {
			if err := rrtest.Validate(t, text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}
