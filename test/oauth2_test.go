package test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// oauth2Proxy is a proxy whose upstream wants a token; LINES are oauth2's options.
const oauth2Proxy = `
{
	rr {
		throttle off
		proxy p {
			accept key {env.RR_CALLER}
			target UPSTREAM
			present oauth2 {
				LINES
			}
		}
		MORE
	}
}
:GATEPORT {
	rr_gateway
}
`

const (
	oauth2Secret = "s3cret-of-the-client-0123456789-abcdef"
)

// byBasic are the options of the client rr of newTokens.
const byBasic = "grant client_credentials\ntoken_url TOKENURL\nclient_id rr\nclient_secret {env.OAUTH_SECRET}"

func newTokens(t testing.TB) *idp.Tokens {
	t.Helper()
	return idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: oauth2Secret})
}

// startOAuth2 starts the gateway in front of an upstream that takes good tokens only.
func startOAuth2(t testing.TB, s *idp.Tokens, lines string, more ...string) (*gateway, *rrtest.Upstream) {
	t.Helper()
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	u := rrtest.NewUpstream(t)
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !s.Good(r.Header.Get("Authorization")) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	for n := range more {
		more[n] = strings.ReplaceAll(more[n], "UPSTREAM", u.URL)
	}
	vars := append(more, "LINES", strings.ReplaceAll(lines, "TOKENURL", s.URL()), "UPSTREAM", u.URL, "MORE", "")
	return start(t, oauth2Proxy, vars...), u
}

// noSecrets checks that no log holds any of them, nor a token.
func noSecrets(t testing.TB, g *gateway, secrets ...string) {
	t.Helper()
	logs := g.Logs()
	for _, s := range append(secrets, oauth2Secret, url.QueryEscape(oauth2Secret), callerKey, "at-", "rt-") {
		if strings.Contains(logs, s) {
			t.Errorf("%q is in the log", s)
		}
	}
}

func TestOAuth2(t *testing.T) {
	rrtest.NoLeak(t)
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic+`
scopes read write
audience https://vendor.example
resource https://vendor.example/a https://vendor.example/b
param account {env.RR_CALLER}-7
param plain yes
`)
	for range 5 {
		g.get("/p/v1/x", withKey).want(t, 200, "proxy-access-granted")
	}
	got := received(u)
	first := got[0].Header.Get("Authorization")
	for _, r := range got {
		if a := r.Header.Get("Authorization"); a != first || !strings.HasPrefix(a, "Bearer at-") || r.Contains(callerKey) {
			t.Errorf("the upstream got %+v", r.Header)
		}
	}
	if n := s.Count(); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
	want := url.Values{
		"grant_type": {"client_credentials"}, "scope": {"read write"}, "audience": {"https://vendor.example"},
		"resource": {"https://vendor.example/a", "https://vendor.example/b"}, "account": {callerKey + "-7"}, "plain": {"yes"},
	}
	if form := s.Last(); form.Encode() != want.Encode() {
		t.Errorf("the endpoint got %s, want %s", form.Encode(), want.Encode())
	}
	if r := s.Requests()[0]; r.Header.Get("Accept") != "application/json" {
		t.Errorf("Accept %q", r.Header.Get("Accept"))
	}
	noSecrets(t, g)
	for range 3 {
		if err := g.reload(oauth2Proxy); err != nil {
			t.Fatal(err)
		}
		g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	}
	if n := s.Count(); n != 1 {
		t.Errorf("a reload has asked for a token: %d", n)
	}
	if page := g.Admin("GET", "/rr/tokens", "").Body; !strings.Contains(page, `"kind":"oauth2"`) || strings.Contains(page, "at-") {
		t.Errorf("the state page: %s", page)
	}
}

// TestOAuth2Answers are answers as different providers give them.
func TestOAuth2Answers(t *testing.T) {
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic)
	u.Handle("", rrtest.Echo)
	for n, tt := range []struct {
		name, media, body, extra string
		want                     string // at the upstream; empty: 502
		header                   string
	}{
		{"Bearer in another case", "application/json", `{"access_token":"a1","token_type":"bearer"}`, "", "Bearer a1", ""},
		{"no type", "application/json", `{"access_token":"a2"}`, "", "Bearer a2", ""},
		{"another type", "application/json", `{"access_token":"a3","token_type":"Zoho-oauthtoken"}`, "", "Zoho-oauthtoken a3", ""},
		{"GitHub's form", "application/x-www-form-urlencoded; charset=utf-8", "access_token=gho_4&scope=repo&token_type=bearer", "", "Bearer gho_4", ""},
		{"an own prefix", "application/json", `{"access_token":"a5","token_type":"Bearer"}`, "header Authorization token", "token a5", ""},
		{"an own header", "application/json", `{"access_token":"a6","token_type":"Bearer"}`, "header X-Shopify-Access-Token", "a6", "X-Shopify-Access-Token"},
		{"DPoP", "application/json", `{"access_token":"a7","token_type":"DPoP"}`, "", "", ""},
		{"MAC", "application/json", `{"access_token":"a8","token_type":"mac"}`, "", "", ""},
		{"N_A", "application/json", `{"access_token":"a9","token_type":"N_A"}`, "", "", ""},
		{"N_A, and it is said what it is", "application/json", `{"access_token":"a10","token_type":"N_A"}`, "header Authorization Bearer", "Bearer a10", ""},
		{"an error with status 200", "application/json", `{"error":"bad_verification_code"}`, "", "", ""},
		{"an empty token", "application/json", `{"access_token":""}`, "", "", ""},
		{"a placeholder", "application/json", `{"access_token":"{env.OAUTH_SECRET}"}`, "", "", ""},
		{"a line break", "application/json", `{"access_token":"a\r\nX-Evil: 1"}`, "", "", ""},
	} {
		s.Raw(tt.media, tt.body)
		// a parameter makes each another credential
		if err := g.reload(strings.Replace(oauth2Proxy, "LINES", fmt.Sprintf("LINES\nparam case %d\n%s", n, tt.extra), 1)); err != nil {
			t.Fatal(err)
		}
		u.Reset()
		a := g.get("/p/", withKey)
		if tt.want == "" {
			if a.want(t, 502, "target-credential-failed"); len(received(u)) != 0 {
				t.Errorf("%s: the upstream was asked", tt.name)
			}
			continue
		}
		a.want(t, 200, "proxy-access-granted")
		header := "Authorization"
		if tt.header != "" {
			header = tt.header
		}
		if got := one(t, u).Header; got.Get(header) != tt.want || tt.header != "" && got.Get("Authorization") != "" {
			t.Errorf("%s: the upstream got %v", tt.name, got)
		}
	}
	noSecrets(t, g)
}

// Fetched tokens were kept under a key that lacked something of what decides them, so that one
// consumer had another's.
// Sources: Kong/kong, agentgateway/agentgateway
// Here: Two credentials that differ in anything, be it a scope, a parameter or the way to authenticate, have tokens of their own.
// Topic: caches
func TestPeer_Requirement_TokensAreKeptForTheWholeDefinition(t *testing.T) {
	s := idp.NewTokens(t,
		idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: oauth2Secret},
		idp.TokenClient{ID: "rs", Auth: "client_secret_basic", Secret: oauth2Secret},
		idp.TokenClient{ID: "hm", Auth: "client_secret_jwt", Secret: oauth2Secret})
	base := []string{"grant client_credentials", "token_url " + s.URL(), "client_id rr", "client_secret {env.OAUTH_SECRET}"}
	with := func(more ...string) []string { return append(slices.Clone(base), more...) }
	variants := [][]string{
		base,
		with("scopes a"), with("scopes b"), with("scopes a b"), with("scopes ab"), with("scopes a b", `scope_separator ","`),
		with("audience x"), with("resource x"), with("audience x y"), with("audience y x"),
		with("param x y"), with("param xy z"), with("param x yz"),
		with("header Authorization token"), with("header X-Token"),
		with("timeout 6s"),
		with("client_id rs")[1:],
	}
	variants[len(variants)-1] = []string{base[0], base[1], "client_id rs", base[3]}
	variants = append(variants,
		[]string{base[0], "issuer " + s.Issuer, base[2], base[3]},
		[]string{base[0], "token_url " + s.URL() + "?x=y", base[2], base[3]},
		[]string{base[0], base[1], "client_id hm", base[3], "client_auth client_secret_jwt"},
		[]string{base[0], base[1], "client_id hm", base[3], "client_auth client_secret_jwt", "algorithm HS384"},
		[]string{base[0], base[1], "client_id hm", base[3], "client_auth client_secret_jwt", "assertion_audience " + s.URL()},
	)
	var proxies strings.Builder
	for n, v := range variants {
		fmt.Fprintf(&proxies, "proxy v%d {\naccept key {env.RR_CALLER}\ntarget UPSTREAM\npresent oauth2 {\n%s\n}\n}\n", n, strings.Join(v, "\n"))
	}
	proxies.WriteString("proxy twin {\naccept key {env.RR_CALLER}\ntarget UPSTREAM\npresent oauth2 {\n" + strings.Join(base, "\n") + "\n}\n}\n")
	g, u := startOAuth2(t, s, strings.Join(base, "\n"), "MORE", proxies.String())
	seen := map[string]string{}
	token := func(proxy string) string {
		t.Helper()
		u.Reset()
		g.get("/"+proxy+"/", withKey)
		h := one(t, u).Header
		return h.Get("Authorization") + h.Get("X-Token")
	}
	for n := range variants {
		value := token(fmt.Sprint("v", n))
		_, value, _ = strings.Cut(" "+value, "at-")
		if old, twice := seen[value]; twice || value == "" {
			t.Errorf("%q and %q have the same token", variants[n], old)
		}
		seen[value] = strings.Join(variants[n], " ")
	}
	// but the same credential has one
	if a, b := token("p"), token("twin"); a != b || a != token("v0") {
		t.Error("the same credential has two tokens")
	}
	if n := s.Count(); n != len(variants) {
		t.Errorf("%d tokens for %d credentials", n, len(variants))
	}
}

// TestOAuth2SecretsChange: a new secret holds at once, and tokens got with the old one are
// not used any more.
func TestOAuth2SecretsChange(t *testing.T) {
	s := idp.NewTokens(t,
		idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: "one-0123456789"},
		idp.TokenClient{ID: "rs", Auth: "client_secret_basic", Secret: "two-0123456789"})
	id, secret := filepath.Join(t.TempDir(), "id"), filepath.Join(t.TempDir(), "secret")
	write(t, id, "rr")
	write(t, secret, "one-0123456789")
	g, u := startOAuth2(t, s, "grant client_credentials\ntoken_url TOKENURL\nclient_id {file."+id+"}\nclient_secret {file."+secret+"}")
	sent := func() string {
		t.Helper()
		u.Reset()
		a := g.get("/p/", withKey)
		if a.Status == 200 {
			return one(t, u).Header.Get("Authorization")
		}
		a.want(t, 502, "target-credential-failed")
		return ""
	}
	first := sent()
	write(t, secret, "wrong-0123456789")
	rrtest.Eventually(t, "the wrong secret is used", func() bool { return sent() == "" })
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "answers 401 invalid_client")
	})
	write(t, id, "rs")
	write(t, secret, "two-0123456789")
	rrtest.Eventually(t, "the new client is used", func() bool { now := sent(); return now != "" && now != first })
	noSecrets(t, g, "one-0123456789", "two-0123456789", "wrong-0123456789")
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
