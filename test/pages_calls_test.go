package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

const (
	readmeFirst  = "{\n\tlog {\n\t\tformat rr\n\t}\n\trr {\n\t\tcredential"
	readmeSecond = "{\n\tlog {\n\t\tformat rr\n\t}\n\trr\n}"
)

var siteName = regexp.MustCompile(`(?m)^([\w.-]+\.(internal|example\.com)|http://localhost:8080) \{$`)

// onThisMachine makes a page's Caddyfile one for a workshop.
func onThisMachine(caddyfile string) string {
	caddyfile = siteName.ReplaceAllString(caddyfile, "http://:GATEPORT {")
	caddyfile = strings.Replace(caddyfile, "\trr\n", "\trr {\n\t\tegress allow 127.0.0.0/8\n\t}\n", 1)
	return strings.Replace(caddyfile, "{\n", "{\n\tadmin ADMIN\n\tdefault_bind 127.0.0.1\n\tgrace_period 1s\n", 1)
}

// TestPagesCommandsOfTheReadme makes what README.md makes at run time, with its second
// Caddyfile, and calls it.
func TestPagesCommandsOfTheReadme(t *testing.T) {
	w := newWorkshop(t, onThisMachine(block(t, "README.md", readmeSecond)))
	w.file("stripe.key", vendorKey)
	w.must(block(t, "README.md", "KEY=$(caddy rr"))
	if got := one(t, w.upstream); got.URI != "/v1/charges" || got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the vendor got %+v", got)
	}
}

// TestPagesCalls runs the shell blocks of docs/ that stand alone, and sends the bodies that
// pages show.
func TestPagesCalls(t *testing.T) {
	t.Run("configuration", func(t *testing.T) {
		w := newWorkshop(t, onThisMachine(block(t, "README.md", readmeFirst)), "RESEARCH_AGENT_KEY="+callerKey, "STRIPE_KEY="+vendorKey)
		w.must(block(t, "docs/json.md", "curl -X PATCH"))
		if out := w.must("curl http://localhost:2019/config/apps/rr/proxies/stripe-payment-api/rules/0/paths"); strings.TrimSpace(out) != `["/v1/charges","/v1/refunds"]` {
			t.Errorf("after the PATCH of docs/json.md the paths are %s", out)
		}
		var tokens struct{ Tokens []any }
		if out := w.must(block(t, "docs/observability.md", "curl localhost:2019")); json.Unmarshal([]byte(out), &tokens) != nil || tokens.Tokens == nil {
			t.Errorf("docs/observability.md: %s", out)
		}
	})
	t.Run("records", callsAboutRecords)
	t.Run("sigv4", func(t *testing.T) {
		page := strings.ReplaceAll(block(t, "docs/sigv4.md", "{\n\trr {\n\t\tcredential invoices"), "https://invoices.s3", "http://invoices.s3")
		u := rrtest.NewUpstream(t)
		page = strings.NewReplacer("http://invoices.s3.eu-central-1.amazonaws.com", u.URL, "hosts invoices.s3.eu-central-1.amazonaws.com", "hosts "+u.URL).Replace(page)
		w := newWorkshop(t, onThisMachine(page), "BILLING_KEY="+callerKey, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret")
		w.file("may.pdf", "%PDF-1.7")
		w.must(block(t, "docs/sigv4.md", "curl -H"))
		if got := one(t, u); got.Method != "PUT" || !strings.HasPrefix(got.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
			t.Errorf("the upstream got %+v", got)
		}
	})
	t.Run("providers", callsOfProviders)
}

// callsAboutRecords makes records with the bodies of pages, copies and moves the store, and
// checks an entry of the audit log.
func callsAboutRecords(t *testing.T) {
	w := newWorkshop(t, daemonConfig)
	w.must(block(t, "docs/api-records.md", "curl localhost:2019"))
	key := w.made("credentials", `{"credentialName":"caller","credentialType":"proxy","credentialAuthType":"key"}`)
	w.ask("PUT", "credentials/"+key["sKey"].(string), block(t, "docs/migration.md", `{"credentialSecret": {"from"`), 200)
	target := w.made("targets", `{"targetName":"vendor","targetBaseURL":"`+w.upstream.URL+`"}`)
	w.ask("POST", "targets/"+target["sKey"].(string)+"/rules", block(t, "docs/api-records.md", "{\n  \"effect\": \"deny\""), 201)

	w.must(`for i in $(seq 40); do curl localhost:2019/rr/clients/default/blocklist --json "{\"jti\":\"$i\"}" -o /dev/null; done
		caddy rr audit --ndjson > audit.ndjson 2>/dev/null`)
	hash := strings.Fields(w.must(block(t, "docs/audit.md", "sed -n 42p")))[0]
	var entry audit.Entry
	if err := json.Unmarshal([]byte(w.must("sed -n 42p audit.ndjson")), &entry); err != nil || entry.Seq != 42 || entry.Hash != hash {
		t.Errorf("docs/audit.md has the hash %s of %+v, %v", hash, entry, err)
	}

	w.must(block(t, "docs/store.md", "caddy rr backup"))
	if info, err := os.Stat(filepath.Join(w.dir, "backups", "rr.db")); err != nil || info.Size() == 0 {
		t.Errorf("the backup: %v", err)
	}
	w.must("printf %s 'a long passphrase' > /run/secrets/archive")
	out, back, _ := strings.Cut(block(t, "docs/store.md", "caddy rr export"), "\n")
	w.must(out)
	w.must("caddy rr targets delete vendor --yes && caddy rr credentials delete caller clearbit-enrichment --yes && for id in $(caddy rr blocklist list --json | jq -r '.blocklist[].blockId'); do caddy rr blocklist delete $id --yes; done")
	w.must(back)
	if list := w.must("caddy rr targets list --json | jq -r '.targets[].targetName'"); list != "vendor\n" {
		t.Errorf("after the import there are the targets %q", list)
	}
}

// callsOfProviders tries what docs/providers.md says to look at tokens and refusals with.
func callsOfProviders(t *testing.T) {
	p := idp.New(t, idp.Slash())
	p.AddKey("RS256", "k1")
	token := p.Token("k1", map[string]any{"sub": "app@clients", "aud": "https://gateway.example.com", "permissions": []string{"read:charges"}}, nil)
	w := newWorkshop(t, daemonConfig, "TOKEN="+token, "STRIPE_KEY="+vendorKey)
	w.learned["https://tenant.eu.auth0.com/"] = p.Issuer()
	text, err := os.ReadFile("../examples/jwt-callers/auth0.Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	w.file("auth0.Caddyfile", strings.ReplaceAll(string(text), "https://tenant.eu.auth0.com/", p.Issuer()))

	if out := w.must(block(t, "docs/providers.md", "printenv TOKEN | jq")); !strings.Contains(out, `"sub": "app@clients"`) || !strings.Contains(out, `"kid": "k1"`) {
		t.Errorf("jq shows\n%s", out)
	}
	if out := w.must(block(t, "docs/providers.md", "curl -sS https://tenant")); !strings.Contains(out, `"issuer": "`+p.Issuer()+`"`) || !strings.Contains(out, p.JWKSURL()) {
		t.Errorf("the issuer's document: %s", out)
	}
	if out := w.must(block(t, "docs/providers.md", "printenv TOKEN | caddy rr check")); !strings.Contains(out, "proxy-access-granted") {
		t.Errorf("caddy rr check says\n%s", out)
	}
	w.must("echo '{\"level\":\"info\",\"msg\":\"refused\",\"status\":401,\"reason\":\"expired\",\"path\":\"/x\"}' > log; echo 'no JSON' >> log")
	line := strings.Replace(block(t, "docs/providers.md", "journalctl"), "journalctl -u caddy -o cat", "cat log", 1)
	if out := w.must(line); !strings.Contains(out, `"reason": "expired"`) {
		t.Errorf("%s prints %s", line, out)
	}
}

// TestPagesMigration moves from a stand-in for the hosted product as docs/migration.md says.
func TestPagesMigration(t *testing.T) {
	w := newWorkshop(t, daemonConfig, "OLD_CLIENT=c1", "OLD_TOKEN=u-1")
	for path, body := range map[string]string{
		"/clients/c1/credentials": `{"credentials":[
			{"sKey":"cr-1","credentialId":"cr-1","credentialName":"stripe-api-key","credentialType":"target","credentialAuthType":"bearer","credentialRegion":"us-east-1"},
			{"sKey":"cr-2","credentialId":"cr-2","credentialName":"billing-agent","credentialType":"proxy","credentialAuthType":"apiKey","credentialRegion":"us-east-1"},
			{"sKey":"cr-3","credentialId":"cr-3","credentialName":"auth0-m2m","credentialType":"proxy","credentialAuthType":"jwtVerify","credentialRegion":"us-east-1"}],"message":"Success"}`,
		"/clients/c1/targets": `{"targets":[{"sKey":"ta-1","targetId":"ta-1","targetName":"stripe","targetBaseURL":"` + w.upstream.URL + `","targetRegion":"us-east-1"}],"message":"Success"}`,
		"/clients/c1/proxies": `{"proxies":[{"sKey":"px-1","proxyId":"px-1","proxyName":"pay","proxyRegion":"us-east-1","proxyTargetId":"ta-1","proxyTargetCredentialId":"cr-1",
			"proxyProxyCredentialId":"cr-2","proxyMaxRequestsPerMinute":60,"proxyDefaultRuleEffect":"deny"}],"message":"Success"}`,
		"/clients/c1/proxies/px-1/rules": `{"rules":[{"sKey":"r-1","ruleId":"r-1","effect":"allow","methods":["GET"],"path":{"path":{"pattern":"^/v1/"},"presence":"must_exist"}}],"message":"Success"}`,
	} {
		w.upstream.Handle(path, rrtest.Status(http.StatusOK, body))
	}
	for _, path := range []string{"credentials/cr-1", "credentials/cr-2", "credentials/cr-3", "targets/ta-1"} {
		w.upstream.Handle("/clients/c1/"+path+"/rules", rrtest.Status(http.StatusOK, `{"rules":[],"message":"Success"}`))
	}
	w.learned["https://api.requestrocket.com"] = w.upstream.URL
	w.must(block(t, "docs/migration.md", "OLD="))
	for _, got := range w.upstream.Received() {
		if got.Header.Get("Authorization") != "u-1" {
			t.Errorf("asked without the token: %+v", got)
		}
	}
	w.upstream.Reset()
	w.file("secrets.json", strings.NewReplacer("sk_live_…", vendorKey, "rr_live_…", callerKey).Replace(block(t, "docs/migration.md", "{\n  \"stripe-api-key\"")))
	w.must(block(t, "docs/migration.md", "jq --slurpfile secrets"))
	w.must(block(t, "docs/migration.md", "caddy rr import"))
	a, err := w.through("px-1", "/v1/charges", callerKey)
	if err != nil || a.Status != http.StatusOK {
		t.Fatalf("what was moved answers %d %s %v", a.Status, a.Body, err)
	}
	if got := one(t, w.upstream); got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the vendor got %+v", got)
	}
	if a, err := w.through("px-1", "/v2", callerKey); err != nil || a.Status != http.StatusForbidden {
		t.Errorf("beyond the rules it answers %d %v", a.Status, err)
	}
}
