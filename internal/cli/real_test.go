package cli

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/secret"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// realAPI is the API itself over a store in memory, and a command line for it.
type realAPI struct {
	t *testing.T
	*script
	address string
}

func newRealAPI(t *testing.T) *realAPI {
	t.Helper()
	key, err := store.ParseKey("3c1f5e7a9b2d4f6081a3c5e7092b4d6f8013a5c7e92b4d6f8a1c3e5f70924b6d")
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Backend: storetest.Memory(), Keys: []store.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	records, err := catalog.OpenRecords(t.Context(), s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = records.Close() })
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	c := catalog.New(ctx, zap.NewNop(), catalog.Options{Egress: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err := c.Open(records); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	handler := api.New(api.Over(c), api.Options{Prefix: "/rr", Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	who := api.Principal{Actor: audit.Actor{Kind: audit.Admin, Name: "test"}, Role: api.Owner, All: true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), who)))
	}))
	t.Cleanup(server.Close)
	t.Chdir(t.TempDir())
	return &realAPI{t, &script{t: t, now: time.Now()}, server.Listener.Addr().String()}
}

// rr runs a command that has to succeed, and returns its standard output.
func (r *realAPI) rr(line string) string {
	r.t.Helper()
	out, errs, err := r.run(append(words(line), "--address", r.address))
	if err != nil {
		r.t.Fatalf("rr %s: %s", line, errs)
	}
	return strings.TrimSuffix(out, "\n")
}

// fails runs a command that has to fail, and say something of that.
func (r *realAPI) fails(line string, says ...string) {
	r.t.Helper()
	_, errs, err := r.run(append(words(line), "--address", r.address))
	for _, want := range says {
		if err == nil || !strings.Contains(errs, want) {
			r.t.Errorf("rr %s: got %v, %q; want %q", line, err, errs, want)
		}
	}
}

func (r *realAPI) expect(line string, has ...string) {
	r.t.Helper()
	out := r.rr(line)
	for _, want := range has {
		if !strings.Contains(out, want) {
			r.t.Errorf("rr %s has no %q in:\n%s", line, want, out)
		}
	}
}

func (r *realAPI) file(name, content string) {
	r.t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

const canary = "CANARY-0123456789abcdef0123456789abcdef"

// TestWithTheAPI is a day with the command line and the API as it is.
func TestWithTheAPI(t *testing.T) {
	r := newRealAPI(t)
	r.file("secret", canary+"\n")

	key := r.rr("credentials create --type proxy --kind key --name agent --quiet")
	if !strings.HasPrefix(key, "rr_live_") || strings.Contains(key, "\n") || !secret.CheckKey(key) {
		t.Errorf("not a key alone: %q", key)
	}
	if out := r.rr("credentials create --type target --kind bearer --name stripe --secret-file secret --host api.stripe.com"); out != "" {
		t.Errorf("standard output has %q", out)
	}
	r.rr("credentials create --type target --kind basic --name erp --username svc --secret-file secret")
	r.rr("credentials create --type proxy --kind basic --name staff --username staff --secret-file secret")
	r.rr("credentials create --type target --kind oauth2 --name crm --grant client_credentials --token-url https://login.example.com/token --client-id gateway --secret-file secret")
	r.file("legacy.json", `{"credentialSecret":{"url":"https://erp.example.com/login","body":"{\"p\":\"{secret.password}\"}","token":{"path":"$.token"}}}`)
	r.file("secret2", canary+"2")
	r.rr("credentials create --type target --kind customToken --name legacy --file legacy.json --secret-file secret --secret-member secrets.password")
	r.rr("targets create --name stripe --base-url https://api.stripe.com --test-path /v1/balance")
	id := r.rr("proxies create --name stripe --alias pay --target stripe --target-credential stripe --credential agent,staff --default deny")
	r.expect("proxies list", "NAME", "stripe  pay    stripe  agent, staff", id)
	r.expect("proxies get stripe", "target credential  stripe")
	r.expect("credentials list --type target --kind bearer", "stripe")

	rule := r.rr("rules create --proxy stripe --allow 'GET,POST /v1/charges /v1/charges/*' --note reads --header X-Env=^prod$ --claim !guest --path-regexp ^/v1 --body '$.amount=^[0-9]+$' --query limit --priority 7")
	r.expect("rules list --proxy stripe", "GET,POST /v1/charges /v1/charges/* path ~ ^/v1 header X-Env…", "7", rule)
	r.rr("rules update --proxy stripe " + rule + " --note changed --allow 'GET /v2/*' --claim roles=^a$")
	r.expect("rules get --proxy stripe "+rule, "GET /v2/* path ~ ^/v1 header X-Env ~ ^prod$ query limit claim roles ~ ^a$ body $.amount ~ ^[0-9]+$", "changed")
	r.rr("rules delete --proxy stripe " + rule + " --yes")

	r.fails("rules update --proxy stripe "+rule+" --note x", "no such rule", "404")
	r.fails("targets delete stripe --yes", "proxies stripe ("+id+")", "--force")
	r.fails("targets update stripe --name other --if-match 99", "412")
	r.fails("targets create --name bad --base-url ftp://x --region 'a b'", "/targetBaseURL: ", "422")
	r.fails("credentials rotate stripe", "/credentialSecret: ")
	r.fails("credentials create --type proxy --kind key --name agent", "409", "credentials agent (")

	if rotated := r.rr("credentials rotate agent --overlap 7d -q"); rotated == key || !secret.CheckKey(rotated) {
		t.Errorf("not another key: %q", rotated)
	}
	r.rr("credentials rotate stripe --secret-file secret2")
	r.expect("credentials get agent", "previous until", "rotated")
	r.rr("credentials update agent --expires 90d")
	r.rr("credentials update agent --expires never --name agent-2")
	r.rr("proxies update stripe --active=false --alias ''")
	r.expect("proxies list", "no")
	r.rr("blocklist create --sub svc --before 2027-01-31T12:00:00Z --note why --expires 30d")
	r.expect("blocklist list --sub svc", "svc", "why")
	r.rr("clients create --name Acme --id acme")
	r.rr("clients update acme --name 'Acme Ltd'")
	r.expect("clients list", "acme     Acme Ltd")
	r.expect("health", "status       ok", "credentials  6")
	r.expect("audit --resource credentials", "rotate", "admin test")
	r.expect("audit --client acme", "clients")
	r.rr("rotate-key --yes")
	r.noCanary("credentials list --json", "credentials get stripe --json", "proxies list --json", "audit --ndjson")
}

// noCanary looks whether a secret comes out again.
func (r *realAPI) noCanary(lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		if strings.Contains(r.rr(line), canary) {
			r.t.Errorf("rr %s shows a secret", line)
		}
	}
}

// TestCreatesOnce sends a create twice, as after an answer that was lost.
func TestCreatesOnce(t *testing.T) {
	r := newRealAPI(t)
	first := r.rr("credentials create --type proxy --kind key --name agent --idempotency-key once")
	if again := r.rr("credentials create --type proxy --kind key --name agent --idempotency-key once"); again != first {
		t.Errorf("the second time it is %q, not %q", again, first)
	}
	r.fails("credentials create --type proxy --kind key --name other --idempotency-key once", "Idempotency-Key: it came before")
}

// TestArchives takes everything to another gateway.
func TestArchives(t *testing.T) {
	r := newRealAPI(t)
	r.file("secret", canary)
	r.file("words", "correct horse battery staple\n")
	r.rr("credentials create --type target --kind bearer --name stripe --secret-file secret")
	r.rr("targets create --name stripe --base-url https://api.stripe.com")
	r.rr("export -o all.archive --passphrase-file words")
	archive, err := os.ReadFile("all.archive")
	if err != nil || strings.Contains(string(archive), canary) {
		t.Fatalf("the archive: %v, or it has a secret in clear", err)
	}
	r.fails("import all.archive --passphrase-file words", "409", "credentials stripe")
	r.rr("import all.archive --passphrase-file words --replace")

	other := newRealAPI(t)
	other.file("all.archive", string(archive))
	other.file("words", "correct horse battery staple\n")
	other.file("wrong", "something else altogether\n")
	other.fails("import all.archive --passphrase-file wrong", "422")
	other.rr("import all.archive --passphrase-file words")
	other.expect("credentials list", "stripe")
	other.fails("backup -o copy.db", "501") // of a store that is in memory
}

// TestImportOfTheOriginal takes what the original's API lists.
func TestImportOfTheOriginal(t *testing.T) {
	r := newRealAPI(t)
	r.file("credentials.json", `{"credentials":[
		{"credentialId":"cred_1","credentialName":"agent","credentialType":"proxy","credentialAuthType":"apiKey","clientId":"cli_9","pKey":"x","sKey":"cred_1"},
		{"credentialId":"cred_2","credentialName":"stripe","credentialType":"target","credentialAuthType":"apiKey","credentialSecret":{"key":"`+canary+`"}}],"message":"Success"}`)
	r.file("rest.json", `{"targets":[{"targetId":"tgt_1","targetName":"stripe","targetBaseURL":"https://api.stripe.com","targetDefaultRuleEffect":"allow"}],
		"proxies":[{"proxyId":"proxy_1","proxyName":"pay","proxyProxyCredentialId":"cred_1","proxyTargetId":"tgt_1","proxyTargetCredentialId":"cred_2","proxyActive":true}],"message":"Success"}`)
	var made struct{ CredentialName, Key string }
	if out := r.rr("import credentials.json rest.json --client default"); json.Unmarshal([]byte(out), &made) != nil || made.CredentialName != "agent" || !secret.CheckKey(made.Key) {
		t.Errorf("no key for the agent in %q", out)
	}
	r.expect("proxies list", "pay   proxy_1  stripe  agent")
}

// TestVerifiesTheLog checks the log of the gateway, and a copy that somebody has edited.
func TestVerifiesTheLog(t *testing.T) {
	r := newRealAPI(t)
	r.rr("targets create --name a --base-url https://a.example.com")
	said := r.rr("audit --verify")
	_, head, found := strings.Cut(said, "1 entries are in order; the end is ")
	if !found {
		t.Fatalf("got %q", said)
	}
	r.rr("targets create --name b --base-url https://b.example.com")
	r.expect("audit --verify --head "+head, "2 entries are in order")
	r.fails("audit --verify --head 2"+head[1:], "the log was written anew")
	r.fails("audit --verify --head 3"+head[1:], "entry 3: it is missing")

	log := r.rr("audit --ndjson") + "\n"
	r.file("whole", log)
	r.expect("audit --verify --file whole", "2 entries are in order")
	r.file("edited", strings.Replace(log, `"name":"a"`, `"name":"c"`, 1))
	r.fails("audit --verify --file edited", "entry 1: it was edited")
	_, second, _ := strings.Cut(log, "\n")
	r.file("shortened", second)
	r.fails("audit --verify --file shortened", "0 entries are in order")
	r.stdin = strings.Split(strings.TrimSuffix(log, "\n"), "\n")
	r.expect("audit --verify --file -", "2 entries are in order")
}
