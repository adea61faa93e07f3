package inject_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// forgedGateway is a gateway to u with a named credential and one in a proxy.
func forgedGateway(port int, u *rrtest.Upstream, secret, extra string) string {
	return fmt.Sprintf(`
{
	rr {
		credential erp present test_forged %s
		proxy p {
			accept key {env.RR_CALLER}
			target %s
			present credential erp
		}
		proxy wrong {
			accept key {env.RR_CALLER}
			target %s
			present test_forged {env.RR_WRONG}
		}
		%s
	}
}
:%d {
	rr_gateway
}
`, secret, u.URL, u.URL, extra, port)
}

func TestTokensOverReloads(t *testing.T) {
	rrtest.NoLeak(t)
	u := rrtest.NewUpstream(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("client-secret-one"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RR_CALLER", callerKey)
	t.Setenv("RR_WRONG", "wrong-secret")
	port := rrtest.FreePort(t)
	secret := "{file." + file + "}"
	c := rrtest.Start(t, forgedGateway(port, u, secret, ""))
	inject.ForgedTokens.Store(0)
	addr := "http://" + rrtest.Addr(port)
	sent := func() string {
		t.Helper()
		u.Reset()
		req := rrtest.Request(t, http.MethodGet, addr+"/p/", "", withKey)
		res, err := rrtest.HTTP1(t, nil).Do(req)
		if err != nil { // taken by the server that was just ending
			res, err = rrtest.HTTP1(t, nil).Do(req)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("got %d", res.StatusCode)
		}
		return u.Received()[0].Header.Get("Authorization")
	}
	want := func(want string) {
		t.Helper()
		if got := sent(); got != want {
			t.Errorf("%q was sent, want %q", got, want)
		}
	}
	want("Bearer client-secret-one-1")
	want("Bearer client-secret-one-1")
	if err := c.Reload(forgedGateway(port, u, secret, "response_headers X-New")); err != nil {
		t.Fatal(err)
	}
	want("Bearer client-secret-one-1")
	if err := c.Reload(forgedGateway(port, u, secret, "credential bad present test_forged {env.NOWHERE}")); err == nil {
		t.Error("a configuration without its secret loads")
	}
	want("Bearer client-secret-one-1")
	if a := rrtest.Do(t, http.MethodGet, addr+"/wrong/", "", withKey); a.Status != http.StatusBadGateway || a.Header.Get("X-New-Code") != "target-credential-failed" {
		t.Errorf("got %d %v", a.Status, a.Header)
	}

	page := tokensPage(t, c)
	if len(page) != 2 {
		t.Fatalf("%+v", page)
	}
	if s := page[0]; s.Credential != "erp" || s.Kind != "test_forged" || s.Fetches != 1 || s.Failures != 0 || *s.ExpiresIn < 3500 || time.Until(s.Expires) < 3500*time.Second {
		t.Errorf("%+v", s)
	}
	if s := page[1]; s.Credential != "proxy wrong" || s.ExpiresIn != nil || s.Failures != 1 || s.LastError != "REDACTED is wrong" {
		t.Errorf("%+v", s)
	}
	metrics := c.Metrics()
	for _, line := range []string{
		`caddy_rr_token_fetches_total{credential="erp",kind="test_forged",outcome="success"} 1`,
		`caddy_rr_token_fetches_total{credential="proxy wrong",kind="test_forged",outcome="refused"} 1`,
		`caddy_rr_token_expiry_timestamp_seconds{credential="erp",kind="test_forged"}`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
	c.WaitLog("there is no new token for the upstream")

	// the file is looked at every two seconds
	if err := os.WriteFile(file, []byte("client-secret-two"), 0o600); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "the changed secret is used", func() bool { return sent() == "Bearer client-secret-two-2" })
	for _, e := range c.LogEntries() {
		if line := fmt.Sprint(e); strings.Contains(line, "client-secret") || e["logger"] == "rr.tokens" && strings.Contains(line, "wrong-secret") {
			t.Errorf("the log has a secret or a token: %s", line)
		}
	}
	if a := c.Admin(http.MethodPost, "/rr/tokens", "{}"); a.Status != http.StatusMethodNotAllowed {
		t.Errorf("got %d", a.Status)
	}
	if err := c.Reload(fmt.Sprintf(":%d {\n respond ok\n}", port)); err != nil {
		t.Fatal(err)
	}
	if left, _ := inject.Tokens(); len(left) != 0 {
		t.Errorf("tokens of no configuration: %+v", left)
	}
	if strings.Contains(c.Metrics(), "caddy_rr_token_") {
		t.Error("series of no configuration")
	}
}

// tokensPage reads /rr/tokens, which must not hold tokens.
func tokensPage(t *testing.T, c *rrtest.Caddy) []inject.TokenState {
	t.Helper()
	a := c.Admin(http.MethodGet, "/rr/tokens", "")
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || strings.Contains(a.Body, "client-secret") {
		t.Fatalf("got %d %s", a.Status, a.Body)
	}
	var page struct{ Tokens []inject.TokenState }
	if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
		t.Fatal(err)
	}
	return page.Tokens
}
