package examples

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestTokenPages makes the calls of the pages whose upstreams want tokens that are fetched,
// with the stand-in that each brings.
func TestTokenPages(t *testing.T) {
	for _, ex := range []struct {
		folder, target string
		// fetches is how often a token is fetched where the recorder sees it.
		fetches int
		// secrets are what no log may have, callers what no upstream may get.
		secrets, callers []string
	}{
		{"github-app", "GITHUB_PORT", 1, []string{"APP_KEY", "CI_KEY"}, []string{"CI_KEY"}},
		{"session-login", "ERP_PORT", 0, []string{"ERP_PASSWORD", "REPORTS_KEY"}, []string{"REPORTS_KEY"}},
	} {
		t.Run(ex.folder, func(t *testing.T) {
			env := environment(t, ex.folder)
			recorder := record(t, ex.target, "STANDIN_PORT")
			gateway := gatewayPort(t)
			caddy := rrtest.StartFile(t, filepath.Join(ex.folder, "Caddyfile"))
			forwarded := 0
			for _, c := range calls(t, ex.folder, gateway) {
				c.run(t)
				if c.status == http.StatusOK {
					forwarded++
				}
			}
			got := recorder.Received()
			if forwarded == 0 || len(got) != forwarded+ex.fetches {
				t.Errorf("%d requests reached the vendor, want %d calls and %d fetches", len(got), forwarded, ex.fetches)
			}
			for _, r := range got {
				for _, name := range ex.callers {
					if r.Contains(env[name]) {
						t.Errorf("the vendor got the caller's %s: %+v", name, r)
					}
				}
			}
			// Caddy logs its configuration, which has what the stand-ins answer
			logs := configurations.ReplaceAllString(caddy.Logs(), "")
			for _, name := range ex.secrets {
				if strings.Contains(logs, env[name]) {
					t.Errorf("%s is in the log", name)
				}
			}
			for _, token := range []string{"ghs_installation", "erp-demo-session"} {
				if strings.Contains(logs, token) {
					t.Errorf("%s… is in the log", token)
				}
			}
		})
	}
}

var configurations = regexp.MustCompile(`(?m)^.*adjusted config.*$`)

// github is what GitHub does about installation tokens, as its documentation has it
// ("Generating an installation access token for a GitHub App").
type github struct {
	app string
	key *jose.Key

	mu     sync.Mutex
	given  int
	faults []string
}

func newGitHub(t *testing.T, app, privateKey string) *github {
	t.Helper()
	block, _ := pem.Decode([]byte(strings.ReplaceAll(privateKey, `\n`, "\n")))
	if block == nil {
		t.Fatal("APP_KEY is not PEM")
	}
	private, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	var public *rsa.PublicKey = &private.PublicKey
	key, err := jose.NewKey(public, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return &github{app: app, key: key}
}

func (g *github) fault(format string, args ...any) {
	g.faults = append(g.faults, fmt.Sprintf(format, args...))
}

// ServeHTTP gives tokens to the App and shows its repository to whoever has the latest.
func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.URL.Path != "/app/installations/4321/access_tokens" {
		if bearer != fmt.Sprint("ghs_token-", g.given) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"message": "Bad credentials"}`))
			return
		}
		_, _ = w.Write([]byte(`{"name": "site"}`))
		return
	}
	if r.Method != http.MethodPost || r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" || r.Header.Get("User-Agent") == "" {
		g.fault("%s with %v", r.Method, r.Header)
	}
	var body struct {
		Repositories []string
		Permissions  map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Repositories) != 1 || body.Permissions["contents"] != "read" {
		g.fault("the body is %+v, %v", body, err)
	}
	g.judge(bearer)
	if len(g.faults) > 0 {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	g.given++
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"token": fmt.Sprint("ghs_token-", g.given), "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		"permissions": body.Permissions, "repository_selection": "selected",
	})
}

// judge checks an App's token: RS256, iat in the past, exp within 10 minutes, iss the App.
func (g *github) judge(raw string) {
	token, err := jose.Parse(raw)
	if err != nil {
		g.fault("%v", err)
		return
	}
	if err := token.VerifySignature(g.key, []string{"RS256"}); err != nil {
		g.fault("%v", err)
	}
	now := time.Now().Unix()
	number := func(name string) int64 {
		n, ok := token.Claims[name].(json.Number)
		v, err := n.Int64()
		if !ok || err != nil {
			g.fault("%s is %v", name, token.Claims[name])
		}
		return v
	}
	if iat, exp := number("iat"), number("exp"); iat > now || exp <= now || exp > now+600 || token.Claims["iss"] != g.app {
		g.fault("at %d the claims are %v", now, token.Claims)
	}
}

// TestGitHubApp makes the page's calls against what stands for GitHub here, which then
// takes the token back: the gateway gets another one.
func TestGitHubApp(t *testing.T) {
	env := environment(t, "github-app")
	vendor := rrtest.NewUpstream(t)
	fake := newGitHub(t, env["APP_ID"], env["APP_KEY"])
	vendor.Handle("", fake)
	t.Setenv("GITHUB_PORT", vendor.Addr[strings.LastIndexByte(vendor.Addr, ':')+1:])
	t.Setenv("STANDIN_PORT", fmt.Sprint(rrtest.FreePort(t)))
	gateway := gatewayPort(t)
	caddy := rrtest.StartFile(t, "github-app/Caddyfile")
	for _, c := range calls(t, "github-app", gateway) {
		c.run(t)
	}
	fake.mu.Lock()
	if fake.given != 1 || len(fake.faults) > 0 {
		t.Errorf("%d tokens were given; %q", fake.given, fake.faults)
	}
	fake.given = 7 // those before are void
	fake.mu.Unlock()
	time.Sleep(5100 * time.Millisecond) // a token that has just come is not renewed
	a := rrtest.Do(t, "GET", "http://"+rrtest.Addr(gateway)+"/repos/acme/site", "", "Authorization: Bearer "+env["CI_KEY"])
	fake.mu.Lock()
	defer fake.mu.Unlock()
	if a.Status != http.StatusOK || fake.given != 8 || len(fake.faults) > 0 {
		t.Errorf("after the token was taken back: %d %s; %d tokens, %q", a.Status, a.Body, fake.given, fake.faults)
	}
	for _, secret := range []string{env["APP_KEY"][40:90], env["CI_KEY"], "ghs_token-", "eyJ"} {
		if strings.Contains(caddy.Logs(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}
