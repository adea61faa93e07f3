package examples

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

const decisionTable = "decision-table"

// upstreamSecrets are the names in example.env of what upstreams take; callers may try them
// and fail.
var upstreamSecrets = []string{"CLEARBIT_KEY", "STRIPE_KEY", "WAREHOUSE_KEY", "TICKETS_KEY", "INVENTORY_KEY", "ERP_SECRET", "ANALYTICS_KEY"}

// scenarios are the folders of the table, each of which its page links to.
func scenarios(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(decisionTable + "/*/expected.txt")
	if err != nil || len(files) != 7 {
		t.Fatalf("found %v, %v", files, err)
	}
	page := readText(t, decisionTable+"/README.md")
	var names []string
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		if !strings.Contains(page, "| ["+name+"]("+name+"/) |") {
			t.Errorf("the table has no link to %s", name)
		}
		names = append(names, name)
	}
	return names
}

// TestDecisionTable makes each scenario's calls, once with the proxy that its Caddyfile
// declares and once with what its api.sh makes, and compares what they print with its
// expected.txt. What upstreams get passes a recorder.
func TestDecisionTable(t *testing.T) {
	needs(t, "curl")
	for _, name := range scenarios(t) {
		for _, form := range []string{"Caddyfile", "api.caddyfile"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				env := environment(t, decisionTable)
				recorder := record(t, "VENDOR_PORT", "STANDIN_PORT")
				for _, port := range []string{"AUTH0_PORT", "OKTA_PORT", "TOKEN_PORT"} {
					t.Setenv(port, os.Getenv("STANDIN_PORT"))
				}
				caddy := runScenario(t, name, form)
				seen := recorder.Received()
				checkForwarded(t, name, env, seen)
				checkLogs(t, env, caddy.Logs())
				if name == "minted-jwt" {
					checkMinted(t, env["ANALYTICS_KEY"], seen)
				}
				if name == "claims" && form == "Caddyfile" && !strings.Contains(caddy.Logs(), `"tenant": "acme"`) {
					t.Error("the tenant is not in the access log")
				}
			})
		}
	}
}

// runScenario starts a gateway and makes the scenario's calls.
func runScenario(t *testing.T, name, form string) *rrtest.Caddy {
	t.Helper()
	folder := filepath.Join(decisionTable, name)
	gatewayPort(t)
	if form != "Caddyfile" {
		t.Setenv("RR_STORE", filepath.Join(t.TempDir(), "rr.db"))
		caddy := startUnthrottled(t, filepath.Join(decisionTable, form))
		script(t, filepath.Join(folder, "api.sh"))
		compareCalls(t, folder)
		return caddy
	}
	caddy := startUnthrottled(t, filepath.Join(folder, form))
	compareCalls(t, folder)
	return caddy
}

// startUnthrottled starts a Caddyfile without the limit on failures per address, since here
// those of all scenarios come from one address within seconds.
func startUnthrottled(t *testing.T, file string) *rrtest.Caddy {
	t.Helper()
	standins, err := filepath.Abs(decisionTable + "/standins.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	text := readText(t, file)
	changed := strings.Replace(text, "\trr {\n", "\trr {\n\t\tthrottle off\n", 1)
	if changed == text {
		t.Fatalf("%s has no rr block", file)
	}
	at := strings.LastIndex(changed, "\nimport ")
	return rrtest.Start(t, changed[:at]+"\nimport "+standins+"\n")
}

func script(t *testing.T, file string) string {
	t.Helper()
	cmd := shell(t, "..", "exec examples/"+file)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", file, err, out, stderr.String())
	}
	return string(out)
}

func compareCalls(t *testing.T, folder string) {
	t.Helper()
	if got, want := script(t, filepath.Join(folder, "calls.sh")), readText(t, filepath.Join(folder, "expected.txt")); got != want {
		t.Errorf("the calls print\n%s\nexpected.txt says\n%s", got, want)
	}
}

// checkForwarded sees that exactly the calls that were allowed reached the upstream, without
// anything that belongs to a caller.
func checkForwarded(t *testing.T, name string, env map[string]string, seen []rrtest.Received) {
	t.Helper()
	allowed := 0
	for line := range strings.Lines(readText(t, filepath.Join(decisionTable, name, "expected.txt"))) {
		if strings.HasPrefix(line, "200 ") {
			allowed++
		}
	}
	if allowed == 0 || len(seen) != allowed {
		t.Errorf("%d calls reached the upstream, %d were allowed", len(seen), allowed)
	}
	for _, r := range seen {
		for variable, value := range env {
			if !slices.Contains(upstreamSecrets, variable) && r.Contains(value) {
				t.Errorf("the upstream got %s: %+v", variable, r)
			}
		}
	}
}

func checkLogs(t *testing.T, env map[string]string, logs string) {
	t.Helper()
	logs = configurations.ReplaceAllString(logs, "") // which have what the stand-ins answer
	for variable, value := range env {
		if strings.Contains(logs, value) {
			t.Errorf("%s is in the log", variable)
		}
	}
	if strings.Contains(logs, "erp-demo-access-token") {
		t.Error("the access token is in the log")
	}
}

// checkMinted checks the token that the upstream got with the standard library: it is RS256,
// signed with the key, says what the configuration says, and ends soon. One is used twice.
func checkMinted(t *testing.T, privateKey string, seen []rrtest.Received) {
	t.Helper()
	block, _ := pem.Decode([]byte(strings.ReplaceAll(privateKey, `\n`, "\n")))
	if block == nil {
		t.Fatal("ANALYTICS_KEY is not PEM")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]bool{}
	for _, r := range seen {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		parts := strings.Split(token, ".")
		if !ok || len(parts) != 3 {
			t.Fatalf("the upstream got %v", r.Header)
		}
		tokens[token] = true
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
			t.Error(err)
		}
		got := payload(t, token)
		exp, _ := got["exp"].(float64)
		if left := time.Until(time.Unix(int64(exp), 0)); got["iss"] != "my-service" || got["aud"] != "analytics-api" || left <= 0 || left > 6*time.Minute {
			t.Errorf("the token says %v", got)
		}
	}
	if len(tokens) != 1 {
		t.Errorf("%d tokens for %d calls", len(tokens), len(seen))
	}
}

func payload(t *testing.T, token string) claims {
	t.Helper()
	var got claims
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDecisionTableTry runs the script that the pages name.
func TestDecisionTableTry(t *testing.T) {
	needs(t, "curl")
	gatewayPort(t)
	t.Setenv("STANDIN_PORT", strconv.Itoa(rrtest.FreePort(t)))
	page := readText(t, decisionTable+"/README.md")
	_, want, _ := strings.Cut(page, "```text\n")
	want, _, _ = strings.Cut(want, "```")
	if got := script(t, decisionTable+"/try.sh claims"); got != want {
		t.Errorf("the script prints\n%s\nthe page says\n%s", got, want)
	}
	if got := script(t, decisionTable+"/try.sh jwt-in-key-out --api"); !strings.Contains(got, "201 POST proxies ") || !strings.HasSuffix(got, "jwt-in-key-out/expected.txt says\n") {
		t.Errorf("the script prints\n%s", got)
	}
	if out, err := shell(t, "..", "examples/"+decisionTable+"/try.sh nothing").CombinedOutput(); err == nil || !strings.Contains(string(out), "vendor-key") {
		t.Errorf("without a scenario: %v\n%s", err, out)
	}
}

// TestDecisionTableHasTheArticlesPayloads compares what the scripts send with the bodies that
// the article has. What it leaves out (a key, ids) is filled in.
func TestDecisionTableHasTheArticlesPayloads(t *testing.T) {
	for scenario, body := range map[string]string{
		"vendor-key": `{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "clearbit-enrichment",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "key": "sk_clearbit_xxxxxxxxxxxxxx"
  }
}`,
		"minted-jwt": `{
  "credentialType": "target",
  "credentialAuthType": "jwt",
  "credentialName": "internal-analytics-api",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "privateKey": "$ANALYTICS_KEY",
    "algorithm": "RS256",
    "claims": {
      "iss": "my-service",
      "aud": "analytics-api"
    }
  }
}`,
		"jwt-in-key-out": `{
  "proxyName": "stripe-payment-api",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "$verifier",
  "proxyTargetId": "$target",
  "proxyTargetCredentialId": "$key",
  "proxyDefaultRuleEffect": "deny"
}`,
	} {
		if !strings.Contains(readText(t, filepath.Join(decisionTable, scenario, "api.sh")), "<<END\n"+body+"\nEND\n") {
			t.Errorf("%s/api.sh does not send\n%s", scenario, body)
		}
	}
}
