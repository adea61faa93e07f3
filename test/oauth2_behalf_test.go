package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// forCallers is a proxy whose callers have tokens or a key; LINES are oauth2's options.
const forCallers = `
{
	rr {
		throttle off
		proxy p {
			accept jwt_verify {
				jwks JWKS
				audience https://gateway.example
			}
			accept key {env.RR_CALLER}
			target UPSTREAM
			present oauth2 {
				LINES
			}
		}
	}
}
:GATEPORT {
	rr_gateway
}
`

// startForCallers starts forCallers; the callers' tokens are signed with the key.
func startForCallers(t testing.TB, s *idp.Tokens, lines string) (*gateway, *rrtest.Upstream, func(sub string, life time.Duration) string) {
	t.Helper()
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	key := idp.NewKey(t, "ES256", "k1")
	u := rrtest.NewUpstream(t)
	g := start(t, forCallers, "LINES", strings.ReplaceAll(lines, "TOKENURL", s.URL()), "UPSTREAM", u.URL, "JWKS", file(t, "jwks", jwkSet(key)))
	return g, u, func(sub string, life time.Duration) string {
		return key.Token(claims(map[string]any{"sub": sub, "email": sub + "@example.com", "exp": time.Now().Add(life).Unix()}), nil)
	}
}

func TestOAuth2TokenExchange(t *testing.T) {
	s := newTokens(t)
	g, u, token := startForCallers(t, s, strings.Replace(byBasic, "client_credentials", "token_exchange", 1)+"\nsubject_token_type jwt\naudience https://vendor.example\nscopes read")
	alice, bob := token("alice", time.Hour), token("bob", time.Hour)
	sent := func(caller string) string {
		t.Helper()
		u.Reset()
		g.get("/p/", bearer(caller)).want(t, 200, "proxy-access-granted")
		got := one(t, u)
		if got.Contains(caller) {
			t.Error("the caller's own token goes to the upstream")
		}
		return got.Header.Get("Authorization")
	}
	a, b := sent(alice), sent(bob)
	if a == b || !s.Good(a) || !s.Good(b) {
		t.Errorf("%q and %q", a, b)
	}
	want := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"https://vendor.example"}, "scope": {"read"},
		"subject_token": {bob}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	if form := s.Last(); form.Encode() != want.Encode() {
		t.Errorf("the endpoint got %v", form)
	}
	if sent(alice) != a || sent(bob) != b || s.Count() != 2 {
		t.Errorf("%d exchanges", s.Count())
	}
	// another token of the same caller is another subject
	if other := sent(token("alice", 2*time.Hour)); other == a {
		t.Error("what one token was exchanged for is used for another")
	}
	// who has no token has nothing to exchange
	before := s.Count()
	u.Reset()
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "the caller has no token that could be exchanged")
	})
	if len(received(u)) != 0 || s.Count() != before {
		t.Error("something was sent")
	}
	// the result never outlives the caller's token, which has 30 s of leeway here
	short := token("carol", -27*time.Second)
	first := sent(short)
	rrtest.Eventually(t, "the caller's token has ended", func() bool { return g.get("/p/", bearer(short)).Status == 401 })
	if again := sent(token("carol", -25*time.Second)); again == first {
		t.Error("a token is used that belonged to one that has ended")
	}
	var wait sync.WaitGroup
	before = s.Count()
	dave := token("dave", time.Hour)
	for range 50 {
		wait.Go(func() { rrtest.Do(t, "GET", "http://"+g.addr+"/p/", "", bearer(dave)) })
	}
	if wait.Wait(); s.Count() != before+1 {
		t.Errorf("%d exchanges of one token", s.Count()-before)
	}
	noSecrets(t, g, alice, bob, short, dave)
}

// assertionOf is the header and the claims of the assertion in a form.
func assertionOf(t testing.TB, form url.Values) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(form.Get("assertion"), ".")
	if len(parts) != 3 {
		t.Fatalf("the form has no assertion: %v", form)
	}
	for i, to := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(raw, to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestOAuth2Assertion(t *testing.T) {
	key := idp.NewKey(t, "RS256", "key-1")
	s := idp.NewTokens(t, idp.TokenClient{ID: "issuer-1", Key: key, Auth: "none"}, idp.TokenClient{ID: "rr", Key: key, Auth: "private_key_jwt"})
	private := file(t, "key.pem", key.PrivatePEM())
	g, u, token := startForCallers(t, s, "grant jwt_bearer\ntoken_url TOKENURL\nprivate_key "+private+"\nkid key-1\nscopes read\nclaims {\niss issuer-1\nsub {http.auth.user.email}\nrole a b\n}")
	alice, bob := token("alice", time.Hour), token("bob", time.Hour)
	for range 2 {
		g.get("/p/", bearer(alice)).want(t, 200, "proxy-access-granted")
	}
	header, got := assertionOf(t, s.Last())
	if header["alg"] != "RS256" || header["kid"] != "key-1" || got["iss"] != "issuer-1" || got["sub"] != "alice@example.com" || got["aud"] != s.URL() || fmt.Sprint(got["role"]) != "[a b]" {
		t.Errorf("%v %v", header, got)
	}
	if s.Last().Get("scope") != "read" || s.Last().Has("client_id") || s.Count() != 1 {
		t.Errorf("the endpoint got %v", s.Last())
	}
	g.get("/p/", bearer(bob)).want(t, 200, "proxy-access-granted")
	if _, got := assertionOf(t, s.Last()); got["sub"] != "bob@example.com" {
		t.Errorf("%v", got)
	}
	all := received(u)
	if all[0].Header.Get("Authorization") != all[1].Header.Get("Authorization") || all[0].Header.Get("Authorization") == all[2].Header.Get("Authorization") {
		t.Error("callers share their tokens, or have several")
	}
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "http.auth.user.email") })
	// a client that proves itself with the same key
	lines := "grant jwt_bearer\ntoken_url " + s.URL() + "\nclient_id rr\nclient_auth private_key_jwt\nprivate_key " + private + "\nkid key-1"
	if err := g.reload(strings.Replace(forCallers, "LINES", lines, 1)); err != nil {
		t.Fatal(err)
	}
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	if _, got := assertionOf(t, s.Last()); got["iss"] != "rr" || got["sub"] != "rr" || s.Last().Get("client_assertion") == "" || s.Last().Get("client_assertion") == s.Last().Get("assertion") {
		t.Errorf("%v", got)
	}
	noSecrets(t, g, alice, bob)
}

// TestOAuth2Google uses the file of a service account as it is.
func TestOAuth2Google(t *testing.T) {
	const email = "svc@project.iam.gserviceaccount.com"
	old, key := idp.NewKey(t, "RS256", "1f0e"), idp.NewKey(t, "RS256", "2a1b")
	s := idp.NewTokens(t, idp.TokenClient{ID: email, Key: key, Auth: "none"})
	other := idp.NewTokens(t, idp.TokenClient{ID: email, Key: old, Auth: "none"})
	account := func(s *idp.Tokens, key *idp.Key) string {
		raw, err := json.MarshalIndent(map[string]any{
			"type": "service_account", "project_id": "project", "private_key_id": key.ID, "private_key": string(key.PrivatePEM()),
			"client_email": email, "client_id": "1079", "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": s.URL(),
			"universe_domain": "googleapis.com",
		}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw) + "\n"
	}
	path := filepath.Join(t.TempDir(), "account.json")
	write(t, path, account(other, old))
	g, u, _ := startForCallers(t, s, "credentials {file."+path+"}\nscopes https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/pubsub")
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	header, got := assertionOf(t, other.Last())
	if header["kid"] != "1f0e" || got["iss"] != email || got["aud"] != other.URL() || got["sub"] != nil ||
		got["scope"] != "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/pubsub" {
		t.Errorf("%v %v", header, got)
	}
	if len(other.Last()) != 2 {
		t.Errorf("the endpoint got %v", other.Last())
	}
	first := one(t, u).Header.Get("Authorization")
	write(t, path, account(s, key))
	rrtest.Eventually(t, "the new key is used", func() bool {
		u.Reset()
		g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
		return one(t, u).Header.Get("Authorization") != first
	})
	if s.Count() != 1 || other.Count() != 1 {
		t.Errorf("%d and %d requests", s.Count(), other.Count())
	}
	noSecrets(t, g, "PRIVATE KEY")
}
