package examples

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// TestDecisionTableWithIssuers has the same calls come with tokens that two identity providers
// of the test kit have just signed, and the keys come from there.
func TestDecisionTableWithIssuers(t *testing.T) {
	needs(t, "curl")
	for _, name := range []string{"m2m-callers", "claims", "jwt-in-key-out"} {
		for _, form := range []string{"Caddyfile", "api.caddyfile"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				env := environment(t, decisionTable)
				recorder := record(t, "VENDOR_PORT", "STANDIN_PORT")
				auth0, okta := idp.New(t, idp.Path("/auth0")), idp.New(t, idp.Path("/okta"))
				for variable, provider := range map[string]*idp.Provider{"AUTH0_PORT": auth0, "OKTA_PORT": okta} {
					provider.AddKey("RS256", "new")
					t.Setenv(variable, port(provider.URL()))
				}
				env = maps.Clone(env)
				var file strings.Builder
				for variable, value := range env {
					if strings.HasSuffix(variable, "_TOKEN") {
						provider := auth0
						if variable == "OKTA_TOKEN" {
							provider = okta
						}
						env[variable] = provider.Token("new", renewed(t, value), nil)
					}
					fmt.Fprintf(&file, "%s='%s'\n", variable, env[variable])
				}
				text := filepath.Join(t.TempDir(), "example.env")
				if err := os.WriteFile(text, []byte(file.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				t.Setenv("EXAMPLE_ENV", text)
				caddy := runScenario(t, name, form)
				checkForwarded(t, name, env, recorder.Received())
				checkLogs(t, env, caddy.Logs())
				if auth0.JWKSFetches() == 0 {
					t.Error("the issuer's keys were not fetched")
				}
			})
		}
	}
}

// renewed are the claims of a token of example.env, valid from now on, if it is valid.
func renewed(t *testing.T, token string) claims {
	t.Helper()
	old := payload(t, token)
	if exp, ok := old["exp"].(float64); !ok || time.Unix(int64(exp), 0).Before(time.Now()) {
		return old
	}
	return with(old, claims{"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()})
}

// TestDecisionTableRenewsTokens runs the OAuth2 scenario with an authorization server of the
// test kit, whose tokens end after two seconds: calls go on being answered, with new ones.
func TestDecisionTableRenewsTokens(t *testing.T) {
	needs(t, "curl")
	for _, form := range []string{"Caddyfile", "api.caddyfile"} {
		t.Run(form, func(t *testing.T) {
			env := environment(t, decisionTable)
			t.Setenv("STANDIN_PORT", strconv.Itoa(rrtest.FreePort(t)))
			server := idp.NewTokens(t, idp.TokenClient{ID: "gateway", Auth: "client_secret_basic", Secret: env["ERP_SECRET"]})
			server.Members(map[string]any{"expires_in": 2})
			t.Setenv("TOKEN_PORT", port(server.URL()))
			erp := rrtest.NewUpstream(t)
			erp.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !server.Good(r.Header.Get("Authorization")) {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				fmt.Fprintf(w, "erp: %s %s", r.Method, strings.TrimPrefix(r.URL.Path, "/erp"))
			}))
			t.Setenv("VENDOR_PORT", port(erp.URL))

			caddy := runScenario(t, "oauth2-upstream", form)
			rrtest.Eventually(t, "a second and a third token were fetched", func() bool {
				compareCalls(t, filepath.Join(decisionTable, "oauth2-upstream"))
				return server.Count() >= 3
			})
			checkLogs(t, env, caddy.Logs())
			if form := server.Requests()[0].Form; form.Get("grant_type") != "client_credentials" || form.Get("scope") != "invoices.read" {
				t.Errorf("the server was asked for %v", form)
			}
		})
	}
}

// port is the port of a URL with a host and a port.
func port(url string) string {
	_, host, _ := strings.Cut(url, "://")
	host, _, _ = strings.Cut(host, "/")
	return host[strings.LastIndexByte(host, ':')+1:]
}
