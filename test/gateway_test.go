package test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// oneProxy is a proxy with a key, in front of UPSTREAM. All tests come from one address,
// whose failures are not counted.
const oneProxy = `{
	rr {
		throttle off
		credential agent accept key {env.RR_CALLER}
		credential vendor present bearer {env.RR_VENDOR}
		proxy p {
			accept credential agent
			accept basic bob $2a$04$aHpZg2CBryn9qAhoZBtOW.s9sXocMLfn35IQtBFi6gUexHIXQ.xC6
			accept key {env.RR_OTHER} {
				from header X-Gateway-Key
				from query gateway_key
				from cookie gk
			}
			target http://UPSTREAM/base
			present credential vendor
			default deny
			allow GET,POST /v1/* /stream
			deny POST /v1/charges {
				body $.currency ^(?i)rub$
				note "no roubles"
			}
			deny /v1/admin
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`

func setSecrets(t testing.TB) {
	t.Helper()
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("RR_OTHER", otherKey)
	t.Setenv("RR_VENDOR", vendorKey)
}

func startOne(t *testing.T) (*gateway, *rrtest.Upstream) {
	t.Helper()
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	return start(t, oneProxy, "UPSTREAM", u.Addr), u
}

func TestTheCredentialIsSwapped(t *testing.T) {
	g, u := startOne(t)
	for _, tt := range []struct{ name, path, header string }{
		{"bearer", "/v1/charges?limit=3", "Authorization: Bearer " + callerKey},
		{"scheme in lower case", "/v1/charges?limit=3", "Authorization: bearer " + callerKey},
		{"bare", "/v1/charges?limit=3", "Authorization: " + callerKey},
		{"X-API-Key", "/v1/charges?limit=3", "X-API-Key: " + callerKey},
		{"own header", "/v1/charges?limit=3", "X-Gateway-Key: " + otherKey},
		{"query", "/v1/charges?gateway_key=" + otherKey + "&limit=3", "X: 1"},
		{"cookie", "/v1/charges?limit=3", "Cookie: gk=" + otherKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := g.get(tt.path, tt.header)
			a.want(t, 200, "proxy-access-granted")
			got := one(t, u)
			if got.URI != "/base/v1/charges?limit=3" || got.Host != u.Addr {
				t.Errorf("the upstream got %s at %s", got.URI, got.Host)
			}
			if auth := got.Header["Authorization"]; len(auth) != 1 || auth[0] != "Bearer "+vendorKey {
				t.Errorf("Authorization is %q", auth)
			}
			for name, values := range got.Header {
				if strings.Contains(strings.Join(values, " "), callerKey) || strings.Contains(strings.Join(values, " "), otherKey) {
					t.Errorf("the caller's key went upstream in %s", name)
				}
			}
		})
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	g, u := startOne(t)
	callerSum := sha256.Sum256([]byte(callerKey))
	basic := func(s string) string { return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name    string
		path    string
		headers []string
		reason  string
	}{
		{"nobody", "/v1/x", nil, "no credential"},
		{"a wrong key", "/v1/x", []string{"X-API-Key: " + callerKey + "x"}, "not accepted"},
		{"a part of the key", "/v1/x", []string{"X-API-Key: " + callerKey[:len(callerKey)-1]}, "not accepted"},
		{"the key's hash", "/v1/x", []string{"X-API-Key: sha256:" + hex.EncodeToString(callerSum[:])}, "not accepted"},
		{"the placeholder's text", "/v1/x", []string{"X-API-Key: {env.RR_CALLER}"}, "not accepted"},
		{"the right key in another's place", "/v1/x", []string{"X-Gateway-Key: " + callerKey}, "not accepted"},
		{"the other key in the default place", "/v1/x", []string{"X-API-Key: " + otherKey}, "not accepted"},
		{"two different keys", "/v1/x", []string{"X-API-Key: " + callerKey, "X-Gateway-Key: " + otherKey}, "two different credentials"},
		{"a right and a wrong one", "/v1/x?gateway_key=nope", []string{"X-API-Key: " + callerKey}, "two different credentials"},
		{"the same header twice", "/v1/x", []string{"Authorization: Bearer " + callerKey, "Authorization: Bearer " + callerKey}, "twice"},
		{"the same parameter twice", "/v1/x?gateway_key=" + otherKey + "&gateway_key=" + otherKey, nil, "twice"},
		{"a parameter hidden behind a semicolon", "/v1/x?gateway_key=" + otherKey + "&a=1;gateway_key=b", nil, "twice"},
		{"another scheme", "/v1/x", []string{"Authorization: Digest " + callerKey}, "not accepted"},
		{"an unknown user", "/v1/x", []string{basic("eve:x")}, "unknown user"},
		{"a user without colon", "/v1/x", []string{basic("bob")}, "no colon"},
		{"Basic that is not base64", "/v1/x", []string{"Authorization: Basic !!!"}, "not base64"},
		{"a huge key", "/v1/x", []string{"X-API-Key: " + strings.Repeat("k", 12000)}, "not accepted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := g.get(tt.path, tt.headers...)
			a.want(t, 401, "proxy-access-denied")
			if got := strings.Join(a.Header["Www-Authenticate"], "; "); got != `ApiKey realm="rr"; Basic realm="rr", charset="UTF-8"` {
				t.Errorf("challenges: %s", got)
			}
			if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %s", ct)
			}
			if want := `{"type":"about:blank","title":"Access denied","status":401,"code":"proxy-access-denied"}`; a.Body != want {
				t.Errorf("body %s", a.Body)
			}
			g.refusal(func(e map[string]any) bool {
				reason, _ := e["reason"].(string)
				return strings.Contains(reason, tt.reason)
			})
		})
	}
	if got := received(u); len(got) > 0 {
		t.Errorf("the upstream was called %d times", len(got))
	}
}

func TestRulesOfAProxy(t *testing.T) {
	g, u := startOne(t)
	key := "X-API-Key: " + callerKey
	json := "Content-Type: application/json"
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		allowed                  bool
	}{
		{"an allowed call", "GET", "/v1/charges", "", nil, true},
		{"another path", "GET", "/v2/charges", "", nil, false},
		{"another method", "DELETE", "/v1/charges", "", nil, false},
		{"HEAD is not GET", "HEAD", "/v1/charges", "", nil, false},
		{"an unknown method", "FROB", "/v1/charges", "", nil, false},
		{"an allow in another case", "GET", "/V1/charges", "", nil, false},
		{"a deny in another case", "GET", "/v1/ADMIN", "", nil, false},
		{"a deny, escaped", "GET", "/v1/%61dmin", "", nil, false},
		{"a body that is fine", "POST", "/v1/charges", `{"currency":"eur","amount":1}`, []string{json}, true},
		{"a body that is denied", "POST", "/v1/charges", `{"currency":"RUB"}`, []string{json}, false},
		{"a member twice", "POST", "/v1/charges", `{"currency":"eur","currency":"rub"}`, []string{json}, false},
		{"a form that is fine", "POST", "/v1/charges", `currency=eur&amount=1`, []string{"Content-Type: application/x-www-form-urlencoded"}, true},
		{"a form that is denied", "POST", "/v1/charges", `currency=rub`, []string{"Content-Type: application/x-www-form-urlencoded"}, false},
		{"no body where one is judged", "POST", "/v1/charges", "", []string{json}, false},
		{"a compressed body", "POST", "/v1/charges", `{"currency":"eur"}`, []string{json, "Content-Encoding: gzip"}, false},
		{"a large body", "POST", "/v1/charges", `{"currency":"eur","x":"` + strings.Repeat("x", 1<<20) + `"}`, []string{json}, false},
		{"a large body elsewhere", "POST", "/v1/files", strings.Repeat("x", 2<<20), nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := g.do(tt.method, tt.path, tt.body, append(tt.headers, key)...)
			if !tt.allowed {
				a.want(t, 403, "proxy-access-denied")
				if got := received(u); len(got) > 0 {
					t.Errorf("the upstream got %+v", got)
				}
				return
			}
			a.want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.BodySize != int64(len(tt.body)) || len(tt.body) < 1<<16 && got.Body != tt.body {
				t.Errorf("%d bytes of body went in, %d came out", len(tt.body), got.BodySize)
			}
		})
	}
}
