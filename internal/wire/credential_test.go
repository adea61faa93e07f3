package wire_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// TestTheSeedsCredentials takes the payloads of the seed as they stand; the dots of its
// private key are a real one.
func TestTheSeedsCredentials(t *testing.T) {
	key := strings.ReplaceAll(keys().rsa, "\n", `\n`)
	for name, tt := range map[string]struct{ text, spec string }{
		"key": {`{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "clearbit-enrichment",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "key": "sk_clearbit_xxxxxxxxxxxxxx"
  }
}`, `{"kind":"key","secret":"sk_clearbit_xxxxxxxxxxxxxx"}`},
		"jwt": {`{
  "credentialType": "target",
  "credentialAuthType": "jwt",
  "credentialName": "internal-analytics-api",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "privateKey": "` + key + `",
    "algorithm": "RS256",
    "claims": {
      "iss": "my-service",
      "aud": "analytics-api"
    }
  }
}`, `{"algorithm":"RS256","claims":{"aud":"analytics-api","iss":"my-service"},"kind":"jwt","private_key":"` + key + `"}`},
		"jwtVerify": {`{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"auth0-m2m","credentialSecret":{"jwksUri":"https://t.auth0.com/.well-known/jwks.json","audience":"https://gw.test","issuer":"https://t.auth0.com/"}}`,
			`{"audience":["https://gw.test"],"issuer":"https://t.auth0.com/","jwks_url":"https://t.auth0.com/.well-known/jwks.json","kind":"jwt_verify"}`},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := made(t, tt.text)
			if string(c.Spec) != tt.spec {
				t.Errorf("got  %s\nwant %s", string(c.Spec), tt.spec)
			}
			if _, err := load(t, c); err != nil {
				t.Error(err)
			}
		})
	}
	c, _ := made(t, credential("target", "key", object{"key": canary}))
	c.Region, c.AuthType = "us-east-1", "apiKey"
	same(t, wire.ShowCredential(c, now, nil), object{
		"pKey": "acme", "sKey": c.ID, "clientId": "acme", "parentId": "acme", "credentialId": c.ID, "credentialName": "n", "credentialType": "target",
		"credentialAuthType": "apiKey", "credentialRegion": "us-east-1", "credentialLastUsedAt": now, "credentialCreatedAt": now, "credentialUpdatedAt": now,
	})
}

func TestCredentialFaults(t *testing.T) {
	long := strings.Repeat("x", 129)
	target := func(authType string, secret object) object { return credential("target", authType, secret) }
	proxy := func(authType string, secret object) object { return credential("proxy", authType, secret) }
	with := func(o object, name string, v any) object { o[name] = v; return o }
	for _, tt := range []struct {
		name   string
		body   any
		faults []string
	}{
		{"nothing", `{}`, []string{"/credentialName: missing", "/credentialType: missing"}},
		{"no object", `["` + canary + `"]`, []string{": it is a list, and has to be an object"}},
		{"types", object{"credentialName": 1, "credentialType": true, "credentialAuthType": nil, "credentialSecret": canary, "credentialHosts": object{}},
			[]string{"/credentialHosts: it is an object, and has to be a list", "/credentialName: it is a number, and has to be a text", "/credentialSecret: it is a text, and has to be an object", "/credentialType: it is true or false"}},
		{"names", with(target("none", nil), "credentialName", long), []string{"/credentialName: it has 129 characters"}},
		{"control characters", with(target("none", nil), "credentialName", "a\u0085b"), []string{"/credentialName: a name has 1 to 128 characters, none of which is a control character"}},
		{"NUL", `{"credentialName":"a\u0000"}`, []string{"/credentialName: NUL"}},
		{"another spelling", with(target("none", nil), "credential_name", "x"), []string{"/credential_name: did you mean credentialName?"}},
		{"a typing error", with(target("none", nil), "credentialRegoin", "x"), []string{"/credentialRegoin: did you mean credentialRegion?"}},
		{"not known at all", with(target("none", nil), "colour", "x"), []string{"/colour: it is not known here"}},
		{"a secret for a name", with(target("none", nil), canary+canary, "x"), []string{": it has a member that is not known here"}},
		{"filters", with(target("none", nil), "filters", []any{}), []string{"/filters: filters are not supported by this version"}},
		{"another side", target("jwtVerify", object{}), []string{"/credentialAuthType: this kind is for proxy credentials; target credentials are of key,"}},
		{"the other side", proxy("oauth2", object{}), []string{"/credentialAuthType: this kind is for target credentials"}},
		{"a kind with a typing error", target("oauth", object{}), []string{"/credentialAuthType: did you mean oauth2?"}},
		{"no kind", target("zzzzzz", object{}), []string{"/credentialAuthType: there is no such kind; target credentials are of key"}},
		{"hosts of a caller", with(proxy("none", nil), "credentialHosts", []string{"a.test"}), []string{"/credentialHosts: only target credentials"}},
		{"expiry of a target", with(target("none", nil), "credentialExpiresAt", "2027-01-31T12:00:00Z"), []string{"/credentialExpiresAt: only proxy credentials"}},
		{"no time", with(proxy("none", nil), "credentialExpiresAt", "tomorrow"), []string{"/credentialExpiresAt: RFC 3339"}},
		{"effect", with(proxy("none", nil), "credentialDefaultRuleEffect", "maybe"), []string{"/credentialDefaultRuleEffect: allow or deny"}},
		{"region", with(proxy("none", nil), "credentialRegion", "a b"), []string{"/credentialRegion: without spaces"}},

		{"none with a secret", target("none", object{"key": canary}), []string{"/credentialSecret/key: nothing is"}},
		{"no key", target("key", object{}), []string{"/credentialSecret/key: key is missing"}},
		{"an empty key", target("key", object{"key": " "}), []string{"/credentialSecret/key: it is empty"}},
		{"a key of another type", target("key", object{"key": 7}), []string{"/credentialSecret/key: it is a number"}},
		{"two places", target("key", object{"key": canary, "header": "X", "query": "q"}), []string{"/credentialSecret/query: query and header exclude each other"}},
		{"two names", target("key", object{"key": canary, "secret": canary}), []string{"/credentialSecret/secret: another name of what is at /credentialSecret/key"}},
		{"an option with a typing error", target("key", object{"key": canary, "Header": "X"}), []string{"/credentialSecret/Header: did you mean header?"}},
		{"all at once", target("basic", object{"user": canary, "passwd": canary}), []string{"/credentialSecret/passwd: did you mean password?", "/credentialSecret/user: known are username, password",
			"/credentialSecret/username: missing", "/credentialSecret/password: missing"}},
		{"a colon", proxy("basic", object{"username": "a:b", "password": canary}), []string{"/credentialSecret/username: colon"}},
		{"a key with a space", proxy("key", object{"key": canary + " "}), []string{"/credentialSecret/key: a space"}},
		{"a second key with a line break", proxy("key", object{"keys": []string{canary, canary + "\n" + canary}}), []string{"/credentialSecret/keys/1: control character"}},
		{"a wrong hash", proxy("key", object{"hashes": []string{canary}}), []string{"/credentialSecret/hashes/0: sha256:"}},
		{"no token", proxy("bearer", object{"prefix": "Token"}), []string{"/credentialSecret/token: missing"}},
		{"a null token", proxy("jwt", object{"token": nil}), []string{"/credentialSecret/token: missing"}},
		{"no place", proxy("key", object{"key": canary, "from": []object{{"in": "header"}, {"in": "header", "name": "a b"}, {"in": "query", "name": "q", "prefix": "x"}, {"in": "body", "name": "x"}}}),
			[]string{"/credentialSecret/from/3/in: it has to be header or query or cookie"}},
		{"no name of a place", proxy("key", object{"key": canary, "from": []object{{"in": "header"}, {"in": "header", "name": "a b"}, {"in": "query", "name": "q", "prefix": "x"}, {"name": "x"}}}),
			[]string{"/credentialSecret/from/0/name: missing", "/credentialSecret/from/1/name: not a header's name", "/credentialSecret/from/2/prefix: only in a header", "/credentialSecret/from/3/in: missing"}},
		{"two forms of a place", proxy("key", object{"key": canary, "header": "X", "from": []object{{"in": "header", "name": "Y"}}}), []string{"/credentialSecret/header: header and from exclude each other"}},
		{"a JWT of nothing", target("jwt", object{}), []string{"/credentialSecret: it needs a token"}},
		{"a JWT of both", target("jwt", object{"token": canary, "privateKey": canary}), []string{"/credentialSecret/privateKey: privateKey and token exclude each other"}},
		{"an option of the other", target("jwt", object{"token": canary, "ttl": "5m"}), []string{"/credentialSecret/ttl: ttl and token exclude each other"}},
		{"a time that is text", target("jwt", object{"secret": canary, "claims": object{"exp": "{http.auth.user.exp}", "nbf": -1}}), []string{"/credentialSecret/claims/exp: seconds since 1970", "/credentialSecret/claims/nbf: seconds since 1970"}},
		{"durations", target("jwt", object{"secret": canary, "ttl": "-5m"}), []string{"/credentialSecret/ttl: a duration such as 30s"}},
		{"a duration of another type", target("jwt", object{"secret": canary, "ttl": []string{}}), []string{"/credentialSecret/ttl: it is a list, and has to be a duration"}},
		{"no keys", proxy("jwtVerify", object{}), []string{"/credentialSecret: it needs keys", "/credentialSecret/audience: it is missing"}},
		{"keys twice", proxy("jwtVerify", object{"anyAudience": true, "jwksUri": "https://a.test", "secret": canary}), []string{"/credentialSecret/secret: secret and jwksUri exclude each other"}},
		{"an audience and any", proxy("jwtVerify", object{"issuer": "https://a.test", "audience": "a", "anyAudience": true}), []string{"/credentialSecret/anyAudience: anyAudience and audience exclude"}},
		{"no JWK Set", proxy("jwtVerify", object{"audience": "a", "jwks": "{"}), []string{"/credentialSecret/jwks: not a JSON object"}},
		{"deeper", proxy("jwtVerify", object{"issuer": "a", "audience": "a", "dpop": object{"nonse": true}, "claims": []any{object{"path": 1, "value": "x"}, 2}}),
			[]string{"/credentialSecret/claims/0/path: it is a number", "/credentialSecret/claims/1: it is a number, and has to be an object", "/credentialSecret/dpop/nonse: did you mean nonce?"}},
		{"no grant", target("oauth2", object{"clientId": "x"}), []string{"/credentialSecret/grant: missing", "/credentialSecret/tokenUrl: missing"}},
		{"no such grant", target("oauth2", object{"grant": canary, "issuer": "https://a.test"}), []string{"/credentialSecret/grant: it has to be client_credentials or"}},
		{"a file", target("oauth2", object{"grant": "refresh_token", "issuer": "https://a.test", "keepRotated": true}), []string{"/credentialSecret/keepRotated: which only a configuration may name"}},
		{"both endpoints", target("oauth2", object{"grant": "refresh_token", "issuer": "https://a.test", "tokenUrl": "https://a.test"}), []string{"/credentialSecret/issuer: issuer and tokenUrl exclude"}},
		{"a number for a header", target("custom", object{"headers": object{"X-A": 1}, "query": object{"q": nil}}), []string{"/credentialSecret/headers/X-A: it is a number", "/credentialSecret/query/q: it is null", "/credentialSecret/values: missing"}},
		{"nothing to send", target("custom", object{}), []string{"/credentialSecret/values: values is missing"}},
		{"no header", target("custom", object{"headers": object{"X A": canary}}), []string{"/credentialSecret: a name is not a header's name"}},
		{"no token anywhere", target("customToken", object{"url": "https://a.test"}), []string{"/credentialSecret/token: missing"}},
		{"no signing key", target("httpSignature", object{"keyId": "k"}), []string{"/credentialSecret: it needs a privateKey"}},
		{"too large a number", target("sigv4", object{"accessKeyId": "a", "secretAccessKey": canary, "region": "r", "service": "s", "maxBody": 1e9}), []string{"/credentialSecret/maxBody: a whole number from 0 to 67108864"}},
		{"a fraction", target("sigv4", object{"accessKeyId": "a", "secretAccessKey": canary, "region": "r", "service": "s", "maxBody": 1.5}), []string{"/credentialSecret/maxBody: a whole number"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := wire.DecodeCredential(body(t, tt.body), nil)
			expect(t, err, tt.faults...)
		})
	}
	var many object = object{}
	for i := range 200 {
		many[fmt.Sprint("member", i)] = i
	}
	if _, _, err := wire.DecodeCredential(body(t, many), nil); len(err.(wire.Faults)) != wire.MaxFaults {
		t.Errorf("%d faults", len(err.(wire.Faults)))
	}
}

func TestGeneratedKeys(t *testing.T) {
	c, g := made(t, credential("proxy", "key", nil))
	if g == nil || !strings.HasPrefix(g.Key, "rr_live_") || !secret.CheckKey(g.Key) {
		t.Fatal("no key was made")
	}
	shown := wire.ShowCredential(c, time.Time{}, g)
	if text := string(body(t, shown)); !strings.Contains(text, `"credentialSecret":{"key":"`+g.Key+`"}`) {
		t.Errorf("its maker is not shown it in %s", text)
	}
	for _, text := range []string{string(body(t, wire.ShowCredential(c, time.Time{}, nil))), fmt.Sprintf("%v %+v %#v %v", shown, shown, *g, g), string(c.Spec)} {
		if strings.Contains(text, g.Key) {
			t.Errorf("the key is in %s", text)
		}
	}
	other, otherMade := made(t, credential("proxy", "key", object{"header": "X-Key"}))
	if otherMade == nil || otherMade.Key == g.Key {
		t.Error("two keys are the same")
	}
	same(t, specOf(t, other)["from"], []object{{"in": "header", "name": "X-Key"}})
	// what was shown once, sent back, is the same key
	if again := changed(t, shown, c); string(again.Spec) != string(c.Spec) {
		t.Error("the answer sent back changes the key")
	}
	short, g := made(t, credential("proxy", "key", object{"key": "short"}))
	if g == nil || len(g.Warnings) != 1 || len(wire.ShowCredential(short, time.Time{}, g).Warnings) != 1 || strings.Contains(g.Warnings[0], "short ") {
		t.Errorf("no warning of a short key: %v", g)
	}
}

func TestShortFormsOfPlaces(t *testing.T) {
	for _, tt := range []struct {
		side, authType string
		secret         object
		option         string
		want           any
	}{
		{"proxy", "key", object{"key": canary, "header": "X-Key", "prefix": "Token"}, "from", []object{{"in": "header", "name": "X-Key", "prefix": "Token"}}},
		{"proxy", "key", object{"key": canary, "prefix": "Token"}, "from", []object{{"in": "header", "name": "Authorization", "prefix": "Token"}}},
		{"proxy", "key", object{"key": canary, "from": object{"in": "cookie", "name": "c"}}, "from", []object{{"in": "cookie", "name": "c"}}},
		{"proxy", "jwtVerify", object{"issuer": "https://a.test", "audience": "a", "query": "token"}, "from", []object{{"in": "query", "name": "token"}}},
		{"target", "jwt", object{"token": canary, "header": "X-Token"}, "to", object{"in": "header", "name": "X-Token"}},
		{"target", "jwt", object{"secret": canary, "header": object{"typ": "x"}, "cookie": "c"}, "to", object{"in": "cookie", "name": "c"}},
		{"target", "jwt", object{"secret": canary, "header": object{"typ": "x"}}, "header", object{"typ": "x"}},
		{"target", "oauth2", object{"grantType": "client_credentials", "token_url": "https://a.test", "scope": "a b", "prefix": "Token"}, "scopes", []string{"a", "b"}},
		{"target", "jwt", object{"secret": canary, "ttl": 90}, "ttl", "1m30s"},
		{"target", "jwt", object{"secret": canary, "ttl": 0.5}, "ttl", "500ms"},
	} {
		c, _ := made(t, credential(tt.side, tt.authType, tt.secret))
		same(t, specOf(t, c)[tt.option], tt.want)
	}
}

// TestPlaceholdersAreText is that nothing of a body is ever replaced, here or in the kind.
func TestPlaceholdersAreText(t *testing.T) {
	t.Setenv("RR_CANARY", canary)
	const text = "{env.RR_CANARY}"
	for _, e := range []everyKind{
		{"target", "key", "", object{"key": text}, ""},
		{"target", "bearer", "", object{"token": text}, ""},
		{"target", "basic", "", object{"username": text, "password": "{file./etc/hostname}"}, ""},
		{"target", "custom", "", object{"headers": object{"X-A": text}, "query": object{"q": "a" + text}}, ""},
		{"target", "jwt", "", object{"token": text}, ""},
		{"target", "jwt", "minted", object{"secret": text + text + text, "claims": object{"iss": text, "sub": "{http.auth.user.sub}"}}, ""},
		{"target", "oauth2", "", object{"grant": "client_credentials", "tokenUrl": "https://a.test", "clientId": text, "clientSecret": text, "params": object{"p": text}}, ""},
		{"target", "customToken", "", object{"url": "https://a.test", "body": "{secret.a}", "secrets": object{"a": text}, "token": object{"body": true}, "requestHeaders": object{"Content-Type": "text/plain"}}, ""},
		{"proxy", "basic", "", object{"username": text, "password": text}, ""},
		{"proxy", "key", "", object{"key": text + text}, ""},
	} {
		t.Run(e.String(), func(t *testing.T) {
			c, _ := made(t, credential(e.side, e.authType, e.secret))
			if strings.Contains(string(c.Spec), canary) {
				t.Error("it was replaced")
			}
			if _, err := load(t, c); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestChangesAreMerged(t *testing.T) {
	key, _ := made(t, credential("target", "key", object{"key": canary, "header": "X-Key", "prefix": "Token"}))
	for _, tt := range []struct {
		name string
		body object
		want object
	}{
		{"nothing", object{}, object{"kind": "key", "secret": canary, "header": "X-Key", "prefix": "Token"}},
		{"an option", object{"credentialSecret": object{"prefix": "Other"}}, object{"kind": "key", "secret": canary, "header": "X-Key", "prefix": "Other"}},
		{"null", object{"credentialSecret": object{"prefix": nil}}, object{"kind": "key", "secret": canary, "header": "X-Key"}},
		{"the secret", object{"credentialSecret": object{"key": "new"}}, object{"kind": "key", "secret": "new", "header": "X-Key", "prefix": "Token"}},
		{"what excludes others", object{"credentialSecret": object{"query": "k"}}, object{"kind": "key", "secret": canary, "query": "k"}},
		{"another kind", object{"credentialAuthType": "bearer", "credentialSecret": object{"token": "t"}}, object{"kind": "bearer", "token": "t"}},
		{"another name of the kind", object{"credentialAuthType": "apiKey"}, object{"kind": "key", "secret": canary, "header": "X-Key", "prefix": "Token"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := changed(t, tt.body, key)
			same(t, specOf(t, c), tt.want)
			if c.ID != key.ID || c.Version != key.Version || c.Client != key.Client || !c.CreatedAt.Equal(key.CreatedAt) {
				t.Errorf("another record: %+v", c.Head)
			}
		})
	}

	minted, _ := made(t, credential("target", "jwt", object{"secret": canary, "algorithm": "HS256", "claims": object{"iss": "a", "aud": "b"}}))
	same(t, specOf(t, changed(t, object{"credentialSecret": object{"token": "t"}}, minted)), object{"kind": "jwt", "token": "t"})
	same(t, specOf(t, changed(t, object{"credentialSecret": object{"claims": object{"iss": "c"}}}, minted))["claims"], object{"iss": "c"})

	custom, _ := made(t, credential("target", "custom", object{"headers": object{"X-A": canary, "X-B": canary}, "cookies": object{"c": "1"}}))
	same(t, specOf(t, changed(t, object{"credentialSecret": object{"headers": object{"X-C": "2"}}}, custom))["values"],
		[]object{{"in": "cookie", "name": "c", "value": "1"}, {"in": "header", "name": "X-C", "value": "2"}})
	same(t, specOf(t, changed(t, object{"credentialSecret": object{"cookies": nil, "headers": object{"X-C": "2"}}}, custom))["values"], []object{{"in": "header", "name": "X-C", "value": "2"}})

	caller, _ := made(t, object{"credentialName": "n", "credentialType": "proxy", "credentialAuthType": "none", "credentialRegion": "eu", "credentialDefaultRuleEffect": "deny", "credentialExpiresAt": "2027-02-01T00:00:00Z"})
	c := changed(t, object{"credentialDefaultRuleEffect": nil, "credentialExpiresAt": nil, "credentialName": "m"}, caller)
	if c.Default != "" || !c.ExpiresAt.IsZero() || c.Name != "m" || caller.Name != "n" {
		t.Errorf("got %+v", c)
	}
}

func TestChangesThatAreRefused(t *testing.T) {
	caller, _ := made(t, object{"credentialName": "n", "credentialType": "proxy", "credentialAuthType": "key", "credentialRegion": "eu", "credentialSecret": object{"key": canary}})
	target, _ := made(t, credential("target", "oauth2", object{"grant": "client_credentials", "tokenUrl": "https://a.test/token", "clientId": "c", "clientSecret": canary}))
	fetched, _ := made(t, credential("proxy", "jwtVerify", object{"jwksUri": "https://a.test/jwks", "audience": "a", "requestHeaders": object{"X-Key": canary}}))
	fetchedToken, _ := made(t, credential("target", "customToken", object{"url": "https://a.test", "secrets": object{"a": canary}, "body": "{secret.a}", "token": object{"body": true}}))
	for _, tt := range []struct {
		name   string
		old    *store.Credential
		body   object
		faults []string
	}{
		{"another side", caller, object{"credentialType": "target"}, []string{"/credentialType: it is fixed"}},
		{"another region", caller, object{"credentialRegion": "us"}, []string{"/credentialRegion: it is fixed"}},
		{"no region", caller, object{"credentialRegion": nil}, []string{"/credentialRegion: it is fixed"}},
		{"no name", caller, object{"credentialName": nil}, []string{"/credentialName: it is missing"}},
		{"another id", caller, object{"credentialId": "x", "sKey": caller.ID, "clientId": "other", "userId": "u"}, []string{"/clientId: cannot be changed", "/credentialId: cannot be changed"}},
		{"no key", caller, object{"credentialSecret": object{"key": nil}}, []string{"/credentialSecret/key: to have one made, rotate"}},
		{"another kind without its secret", caller, object{"credentialAuthType": "bearer"}, []string{"/credentialSecret/token: missing"}},
		{"secrets to another address", target, object{"credentialSecret": object{"tokenUrl": "https://evil.test/token"}}, []string{"/credentialSecret/tokenUrl: say all secrets again"}},
		{"secrets to an issuer", target, object{"credentialSecret": object{"issuer": "https://evil.test"}}, []string{"/credentialSecret/issuer: say all secrets again"}},
		{"headers to another address", fetched, object{"credentialSecret": object{"jwksUri": "https://evil.test"}}, []string{"/credentialSecret/jwksUri: say all secrets again"}},
		{"a login elsewhere", fetchedToken, object{"credentialSecret": object{"url": "https://evil.test"}}, []string{"/credentialSecret/url: say all secrets again"}},
		{"another grant without its secrets", target, object{"credentialSecret": object{"grant": "refresh_token"}}, []string{"/credentialSecret/tokenUrl: missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := wire.DecodeCredential(body(t, tt.body), tt.old)
			expect(t, err, tt.faults...)
		})
	}
	changed(t, object{"credentialSecret": object{"tokenUrl": "https://b.test/token", "clientSecret": "new"}}, target)
	changed(t, object{"credentialSecret": object{"tokenUrl": "https://a.test/token"}}, target)
	changed(t, object{"credentialSecret": object{"jwksUri": "https://b.test", "requestHeaders": nil}}, fetched)
}

func TestConsentIsPending(t *testing.T) {
	consent := object{"grant": "authorization_code", "tokenUrl": "https://a.test/token", "authorizationUrl": "https://a.test/authorize", "clientId": "c", "clientSecret": canary}
	c, _ := made(t, credential("target", "oauth2", consent))
	if !c.Temporary || !wire.ShowCredential(c, time.Time{}, nil).Temporary {
		t.Error("nobody has consented yet")
	}
	c.Temporary = false
	if c := changed(t, object{"credentialSecret": object{"scopes": "a"}}, c); c.Temporary {
		t.Error("the consent is forgotten")
	}
	own := object{"grant": "client_credentials", "tokenUrl": "https://a.test/token", "clientId": "c", "clientSecret": canary}
	c, _ = made(t, credential("target", "oauth2", own))
	if c.Temporary || !changed(t, object{"credentialSecret": consent}, c).Temporary {
		t.Error("the grant decides whether somebody has to consent")
	}
}
