package wire_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// every are secrets of every kind with all options that go together, in the API's names.
// shown are the options that an answer has.
func every() []everyKind {
	k := keys()
	hash := "sha256:" + strings.Repeat("ab", 32)
	client := func(more object) object {
		all := object{"clientId": "gateway", "clientAuth": "private_key_jwt", "privateKey": k.rsa, "algorithm": "RS256", "keyId": "k1", "assertionAudience": "https://login.test/",
			"certificate": k.certificate, "key": k.ec, "ca": k.certificate}
		maps.Copy(all, more)
		return all
	}
	with := func(base object, more object) object { all := maps.Clone(base); maps.Copy(all, more); return all }
	jwtVerify := object{
		"issuer": "https://login.test/", "audience": []string{"a", "b"}, "algorithms": []string{"ES256"}, "leeway": "45s", "typ": "at+jwt", "subject": "^svc-",
		"scope": []string{"read", "write"}, "claims": []object{{"path": "tenant.id", "value": "^t"}}, "requiredClaims": []string{"jti"}, "maxAge": "1h0m0s",
		"revoked": object{"jti": []string{"x"}, "sub": []object{{"subject": "s", "before": "2027-01-31T12:00:00Z"}}, "iss": []string{"https://old.test/"}},
		"dpop":    object{"required": true, "nonce": true, "algorithms": []string{"ES256"}, "maxAge": "2m0s"},
		"from":    []object{{"in": "header", "name": "X-Token", "prefix": "Token"}},
	}
	fetching := with(jwtVerify, object{"jwksUri": "https://login.test/jwks", "refreshMin": "2m0s", "refreshMax": "3h0m0s", "unknownKidInterval": "20s", "timeout": "3s", "maxStale": "48h0m0s",
		"ca": k.certificate, "requestHeaders": object{"X-Key": canary}})
	minting := object{"privateKey": k.rsa, "algorithm": "RS256", "keyId": "k1", "ttl": "10m0s", "claims": object{"iss": "{env.HOME}", "level": 3, "sub": "{http.auth.user.sub}"}, "omit": []string{"jti"},
		"tokenHeader": object{"typ": "at+jwt"}, "to": object{"in": "header", "name": "X-Token", "prefix": "Token"}}
	oauth := client(object{"grant": "client_credentials", "tokenUrl": "https://login.test/token", "scopes": []string{"a", "b"}, "scopeSeparator": ",", "audience": []string{"c"}, "resource": []string{"https://d.test"},
		"params": object{"p": canary}, "to": object{"in": "query", "name": "access_token"}, "timeout": "3s"})
	return []everyKind{
		{"proxy", "key", "", object{"key": canary, "from": []object{{"in": "query", "name": "k"}}}, "from"},
		{"proxy", "key", "several", object{"keys": []string{canary, canary + "2"}}, ""},
		{"proxy", "apiKey", "hashes", object{"hashes": []string{hash}}, ""},
		{"proxy", "bearer", "", object{"token": canary, "prefix": "Token"}, "prefix"},
		{"proxy", "basic", "", object{"username": "svc", "password": canary}, "username"},
		{"proxy", "basicAuth", "", object{"username": "svc", "password": canary}, "username"},
		{"proxy", "jwt", "", object{"token": canary}, ""},
		{"proxy", "jwtVerify", "", fetching, "jwksUri issuer audience algorithms leeway typ subject scope claims requiredClaims maxAge revoked dpop from refreshMin refreshMax unknownKidInterval timeout maxStale"},
		{"proxy", "jwt_verify", "public key", with(jwtVerify, object{"publicKey": k.public}), "issuer audience algorithms leeway typ subject scope claims requiredClaims maxAge revoked dpop from"},
		{"proxy", "jwtVerify", "secret", object{"secret": canary + canary, "anyAudience": true}, "anyAudience"},
		{"proxy", "jwtVerify", "jwks", object{"jwks": object{"keys": []object{{"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}}, "audience": []string{"a"}}, "audience"},
		{"proxy", "introspect", "", client(object{"url": "https://login.test/introspect", "tokenTypeHint": "access_token", "issuer": "https://login.test/", "audience": []string{"a"}, "scope": []string{"read"},
			"cache": "30s", "timeout": "3s", "from": []object{{"in": "header", "name": "X-Token"}}}), "url clientId clientAuth algorithm keyId assertionAudience tokenTypeHint issuer audience scope cache timeout from"},
		{"proxy", "mtls", "", object{"uri": []string{"spiffe://example.org/a"}, "dns": []string{"a.example.org"}, "email": []string{"a@example.org"}, "fingerprint": []string{hash}, "ca": []string{k.certificate}}, "uri dns email fingerprint"},
		{"proxy", "none", "", nil, ""},

		{"target", "key", "", object{"key": canary, "header": "X-Key", "prefix": "Token"}, "header prefix"},
		{"target", "apiKey", "query", object{"key": canary, "query": "k"}, "query"},
		{"target", "bearer", "", object{"token": canary, "prefix": "Token"}, "prefix"},
		{"target", "basic", "", object{"username": canary, "password": canary}, ""},
		{"target", "jwt", "elsewhere", object{"token": canary, "to": object{"in": "cookie", "name": "session"}}, "to"},
		{"target", "jwt", "minted", minting, "algorithm keyId ttl omit to"},
		{"target", "jwt", "secret", object{"secret": canary + canary, "algorithm": "HS256"}, "algorithm"},
		{"target", "oauth2", "", oauth, "grant tokenUrl clientId clientAuth algorithm keyId assertionAudience scopes scopeSeparator audience resource to timeout"},
		{"target", "oauth2", "refresh", object{"grant": "refresh_token", "tokenUrl": "https://login.test/token", "clientId": "c", "clientSecret": canary, "refreshToken": canary}, "grant tokenUrl clientId"},
		{"target", "oauth2", "assertion", object{"grant": "jwt_bearer", "tokenUrl": "https://login.test/token", "clientId": "c", "privateKey": k.ec, "claims": object{"sub": canary}}, "grant tokenUrl clientId"},
		{"target", "oauth2", "exchange", object{"grant": "token_exchange", "issuer": "https://login.test/", "clientId": "c", "clientSecret": canary, "subjectTokenType": "jwt", "requestedTokenType": "access_token",
			"actorToken": canary, "actorTokenType": "jwt"}, "grant issuer clientId subjectTokenType requestedTokenType actorTokenType"},
		{"target", "oauth2", "consent", object{"grant": "authorization_code", "tokenUrl": "https://login.test/token", "authorizationUrl": "https://login.test/authorize?prompt=consent", "clientId": "c", "clientSecret": canary},
			"grant tokenUrl authorizationUrl clientId"},
		{"target", "oauth2", "account", object{"credentials": object{"type": "service_account", "client_email": "a@b.test", "private_key": k.rsa, "private_key_id": "k", "token_uri": "https://oauth2.googleapis.com/token"}, "scopes": []string{"a"}}, "scopes"},
		{"target", "customToken", "", object{"url": "https://erp.test/login?key={secret.password}", "method": "POST", "requestHeaders": object{"X-Client": canary, "Content-Type": "application/json"}, "basic": object{"username": "u", "password": "{secret.password}"},
			"body": `{"a":"{jwt.app}"}`, "secrets": object{"password": canary}, "jwts": object{"app": object{"privateKey": k.ec, "keyId": "k", "ttl": "1m0s", "claims": object{"iss": canary}, "omit": []string{"nbf"}, "tokenHeader": object{"x": 1}}},
			"success": object{"path": "$.ok", "value": "true"}, "token": object{"path": "$.token"}, "expiresIn": "$.expires_in", "ttl": "10m0s", "to": object{"in": "header", "name": "X-Session"}, "timeout": "3s", "ca": k.certificate},
			"method success token expiresIn ttl to timeout"},
		{"target", "custom_token", "header", object{"url": "https://erp.test/login", "token": object{"header": "X-Token"}, "expiresAt": "$.until", "body": canary, "requestHeaders": object{"Content-Type": "text/plain"}}, "token expiresAt"},
		{"target", "custom", "", object{"headers": object{"X-A": canary, "X-B": "{env.HOME}"}, "query": object{"q": canary}, "cookies": object{"c": canary}, "path": canary}, "sends"},
		{"target", "custom", "list", object{"values": []object{{"in": "header", "name": "X-A", "value": canary}}}, "sends"},
		{"target", "none", "", nil, ""},
		{"target", "sigv4", "", object{"accessKeyId": "AKIA1", "secretAccessKey": canary, "sessionToken": canary, "region": "eu-central-1", "service": "s3", "unsignedPayload": true, "maxBody": 4096}, "accessKeyId region service unsignedPayload maxBody"},
		{"target", "httpSignature", "", object{"keyId": "k", "algorithm": "ed25519", "privateKey": k.ed, "components": []string{"@method", "content-digest"}, "label": "rr", "ttl": "5m0s", "nonce": true, "tag": "t", "alg": true, "contentDigest": "sha-512", "maxBody": 4096},
			"keyId algorithm components label ttl nonce tag alg contentDigest maxBody"},
		{"target", "http_signature", "secret", object{"secret": "Q0FOQVJZLTdmM2ExYzBlOTFiZDIyYWE=", "secretEncoding": "base64"}, "secretEncoding"},
	}
}

type everyKind struct {
	side, authType, name string
	secret               object
	shown                string
}

func (e everyKind) String() string {
	return strings.TrimSpace(e.side + " " + e.authType + " " + e.name)
}

func TestEveryKindIsTakenStoredAndShown(t *testing.T) {
	for _, e := range every() {
		t.Run(e.String(), func(t *testing.T) {
			c, g := made(t, credential(e.side, e.authType, e.secret))
			if g != nil && g.Key != "" {
				t.Error("a key was made though one was said")
			}
			if _, err := load(t, c); err != nil {
				t.Errorf("the kind does not take it: %v", err)
			}
			shown := wire.ShowCredential(c, time.Time{}, g)
			if names, want := slices.Sorted(maps.Keys(shown.Secret)), strings.Fields(e.shown); !slices.Equal(names, slices.Sorted(slices.Values(want))) {
				t.Errorf("shown are %v, want %v", names, want)
			}
			for name, v := range shown.Secret {
				if name != "sends" {
					same(t, v, e.secret[name])
				}
			}
			again := changed(t, shown, c)
			if string(again.Spec) != string(c.Spec) {
				t.Error("what was shown and sent back changes the spec")
			}
			secretless(t, shown, c, again)
		})
	}
}

// secretless looks for the canary, and for private keys, in what is printed and in JSON.
func secretless(t *testing.T, shown wire.Credential, records ...*store.Credential) {
	t.Helper()
	texts := []string{string(body(t, shown)), fmt.Sprintf("%v %+v %#v", shown, shown, shown)}
	for _, c := range records {
		texts = append(texts, fmt.Sprintf("%v %+v %#v", c, c, *c))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) || strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, "$argon2id$") {
			t.Errorf("a secret is in %.200s", text)
		}
	}
}

// TestOwnNamesAreTakenToo sends the same secrets in the names of rr's own configuration.
func TestOwnNamesAreTakenToo(t *testing.T) {
	for _, e := range every() {
		if e.authType == "custom" && e.name == "" || e.secret["password"] != nil && e.side == "proxy" { // has no other form; has a random salt
			continue
		}
		t.Run(e.String(), func(t *testing.T) {
			c, _ := made(t, credential(e.side, e.authType, e.secret))
			own := specOf(t, c)
			delete(own, "kind")
			if _, hashed := own["hashes"]; hashed && e.authType != "key" && e.authType != "apiKey" {
				delete(own, "hashes")
				own["token"] = canary
			}
			again, _ := made(t, credential(e.side, e.authType, own))
			same(t, json.RawMessage(again.Spec), json.RawMessage(c.Spec))
		})
	}
}

// TestNoOptionIsForgotten compares the API's members with the kinds' own fields.
func TestNoOptionIsForgotten(t *testing.T) {
	kinds := map[string]map[string]any{
		"proxy": {"key": verify.Key{}, "bearer": verify.Bearer{}, "basic": verify.Basic{}, "jwt": verify.JWT{}, "jwt_verify": verify.JWTVerify{},
			"introspect": verify.Introspect{}, "mtls": verify.MTLS{}, "none": verify.None{}},
		"target": {"key": inject.Key{}, "bearer": inject.Bearer{}, "basic": inject.Basic{}, "jwt": inject.JWT{}, "oauth2": inject.OAuth2{}, "custom_token": inject.CustomToken{},
			"custom": inject.Custom{}, "none": inject.None{}, "sigv4": inject.SigV4{}, "http_signature": inject.HTTPSignature{}},
	}
	// why an option is not open to the API
	closed := map[string]string{
		"proxy key expires":          "credentialExpiresAt says it",
		"proxy bearer hashes":        "token says it",
		"proxy jwt hashes":           "token says it",
		"target oauth2 keep_rotated": "it names a file",
		"proxy jwt_verify jwksUri":   "jwksUri is jwks_url there",
	}
	for side, list := range kinds {
		for kind, own := range list {
			for _, option := range optionsOf(reflect.TypeOf(own)) {
				if reason := closed[side+" "+kind+" "+option]; reason != "" {
					continue
				}
				if !wire.Takes(side, kind, option) {
					t.Errorf("%s %s: the option %s is not taken", side, kind, option)
				}
			}
		}
	}
}

// optionsOf are the JSON names of a kind's fields.
func optionsOf(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported():
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			names = append(names, optionsOf(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}
