package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage" // where key sets are kept
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
)

// newReal is a kit over the real catalogue, with a store in memory.
func newReal(t testing.TB) *kit {
	t.Helper()
	key, err := store.ParseKey("MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=")
	if err != nil {
		t.Fatal(err)
	}
	memory := storetest.Memory()
	s, err := store.Open(t.Context(), store.Options{Backend: memory, Keys: []store.Key{key}})
	if err != nil {
		t.Fatal(err)
	}
	records, err := catalog.OpenRecords(t.Context(), s, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = records.Close() }) // nothing is kept
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true},
		StorageRaw: json.RawMessage(fmt.Sprintf(`{"module":"file_system","root":%q}`, t.TempDir())),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(ctx, zap.NewNop(), catalog.Options{Egress: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	if err := c.Open(records); err != nil {
		t.Fatal(err)
	}
	k := &kit{t: t, log: new(logBuffer), answers: new(logBuffer), who: root}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(k.log)
		}
	})
	k.handler = api.New(api.Over(c), api.Options{Prefix: "/rr", Log: slog.New(slog.NewTextHandler(k.log, nil))})
	k.fake = &fake{memory: memory, store: s} // only these two of it can be used
	return k
}

const realTarget = `{"targetName":%q,"targetBaseURL":"http://127.0.0.1:9"}`

// TestSeed makes the calls of the seed, as they stand.
func TestSeed(t *testing.T) {
	k := newReal(t)
	key, _ := k.make("default", "credentials", `{"credentialType":"target","credentialAuthType":"key","credentialName":"clearbit-enrichment","credentialRegion":"us-east-1","credentialSecret":{"key":"sk_clearbit_xxxxxxxxxxxxxx"}}`)
	verifier, _ := k.make("default", "credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"auth0","credentialRegion":"us-east-1","credentialSecret":{"jwksUri":"https://tenant.invalid/.well-known/jwks.json","audience":"a","issuer":"https://tenant.invalid/"}}`)
	target, _ := k.make("default", "targets", `{"targetName":"stripe","targetBaseURL":"http://127.0.0.1:9","targetRegion":"us-east-1"}`)
	proxy, made := k.make("default", "proxies", fmt.Sprintf(`{"proxyName":"stripe-payment-api","proxyRegion":"us-east-1","proxyProxyCredentialId":%q,"proxyTargetId":%q,"proxyTargetCredentialId":%q,"proxyDefaultRuleEffect":"deny"}`, verifier, target, key))
	if made.text("message") != "Success" || made.text("proxies.0.proxyDefaultRuleEffect") != "deny" || made.get("proxies.0.proxyActive") != true {
		t.Errorf("%s", made.body)
	}
	a := k.call("POST", "/clients/default/proxies/"+proxy+"/check", `{"path":"/v1/charges"}`).want(http.StatusOK)
	if a.text("decision") != "proxy-access-denied" || a.get("status") != 401.0 {
		t.Errorf("%s", a.body)
	}
}

// TestRealFaults: what the catalogue finds out points into the body.
func TestRealFaults(t *testing.T) {
	k := newReal(t)
	caller, _ := k.make("default", "credentials", fmt.Sprintf(callerBody, "caller"))
	vendor, _ := k.make("default", "credentials", fmt.Sprintf(vendorBody, "vendor"))
	target, _ := k.make("default", "targets", fmt.Sprintf(realTarget, "target"))
	proxy := func(caller, target, vendor string) string {
		return fmt.Sprintf(`{"proxyName":"p","proxyProxyCredentialId":%q,"proxyTargetId":%q,"proxyTargetCredentialId":%q}`, caller, target, vendor)
	}
	for _, c := range []struct {
		name, path, body, code string
		status                 int
		place                  string
	}{
		{"a private address", "targets", `{"targetName":"x","targetBaseURL":"http://169.254.169.254"}`, "invalid", 422, "/targetBaseURL"},
		{"another form of it", "targets", `{"targetName":"x","targetBaseURL":"https://0x7f.1"}`, "invalid", 422, "/targetBaseURL"},
		{"no such caller", "proxies", proxy("none", target, vendor), "invalid", 422, "/proxyProxyCredentialId"},
		{"no such target", "proxies", proxy(caller, "none", vendor), "invalid", 422, "/proxyTargetId"},
		{"the wrong side", "proxies", proxy(vendor, target, vendor), "invalid", 422, "/proxyProxyCredentialId"},
		{"the wrong side again", "proxies", proxy(caller, target, caller), "invalid", 422, "/proxyTargetCredentialId"},
		{"a bad key", "credentials", `{"credentialName":"x","credentialType":"target","credentialAuthType":"jwt","credentialSecret":{"privateKey":"CANARY-no-key","algorithm":"RS256"}}`, "invalid", 422, "/credentialSecret"},
		{"the same key", "credentials", fmt.Sprintf(callerBody, "other"), "conflict", 409, ""},
		{"the same name", "targets", fmt.Sprintf(realTarget, "target"), "conflict", 409, ""},
		{"a bad rule", "targets/target/rules", `{"effect":"deny","path":{"path":{"pattern":"("}}}`, "invalid", 422, "/path/path/pattern"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.t = t
			places := k.call("POST", "/clients/default/"+c.path, c.body).problem(c.status, c.code)
			if c.place != "" && (len(places) == 0 || !strings.HasPrefix(places[0], c.place)) {
				t.Errorf("places %q, want %s", places, c.place)
			}
		})
	}
	if strings.Contains(k.answers.String()+k.log.String(), "CANARY") {
		t.Error("an answer or the log has a secret")
	}
}

// TestRealParallel: many at once; every one is there, and each name once.
func TestRealParallel(t *testing.T) {
	k := newReal(t)
	const count = 300
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	var ids []string
	for i := range 2 * count {
		all.Go(func() {
			a := k.call("POST", "/clients/default/targets", fmt.Sprintf(realTarget, fmt.Sprint(i/2)))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.StatusCode]++
			if a.StatusCode == http.StatusCreated {
				ids = append(ids, a.Header.Get("Location"))
			}
		})
	}
	all.Wait()
	slices.Sort(ids)
	if statuses[201] != count || statuses[409] != count || len(slices.Compact(ids)) != count {
		t.Errorf("%v, %d ids", statuses, len(ids))
	}
	if n := len(k.call("GET", "/clients/default/targets?limit=1000", "").get("targets").([]any)); n != count {
		t.Errorf("%d targets", n)
	}
	a := k.call("GET", "/audit/verify", "").want(http.StatusOK)
	if a.get("valid") != true || a.get("entries") != float64(count) {
		t.Errorf("%s", a.body)
	}
}

// TestRealTwoEditors: both have read the record, one of them is told that it has changed.
func TestRealTwoEditors(t *testing.T) {
	k := newReal(t)
	id, made := k.make("default", "targets", fmt.Sprintf(realTarget, "a"))
	const editors = 8
	statuses := make([]int, editors)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			statuses[i] = k.call("PUT", "/clients/default/targets/"+id, fmt.Sprintf(`{"targetName":"editor %d"}`, i), header("If-Match", made.etag())).StatusCode
		})
	}
	all.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] != 412 || statuses[editors-1] != 412 {
		t.Error(statuses)
	}
}

// TestRealOnce: the answer is kept in the change itself.
func TestRealOnce(t *testing.T) {
	k := newReal(t)
	body := fmt.Sprintf(generated, "agent")
	k.fake.memory.FailNext(store.ErrUnavailable)
	k.call("POST", "/clients/default/credentials", body, key("k")).problem(http.StatusServiceUnavailable, "store-unavailable")
	first := k.call("POST", "/clients/default/credentials", body, key("k")).want(http.StatusCreated)
	k.fake.memory.Fail(store.ErrReadOnly)
	second := k.call("POST", "/clients/default/credentials", body, key("k")).want(http.StatusCreated)
	if !bytes.Equal(first.body, second.body) {
		t.Errorf("%s\n%s", first.body, second.body)
	}
	k.call("POST", "/clients/default/credentials", fmt.Sprintf(generated, "other"), key("l")).problem(http.StatusServiceUnavailable, "store-read-only")
	if a := k.call("GET", "/health", "").want(http.StatusOK); a.text("status") != "degraded" || a.text("detail") == "" {
		t.Errorf("%s", a.body)
	}
	k.fake.memory.Fail(nil)
}

// TestRealRotation: what a rotation replaces is accepted for the overlap.
func TestRealRotation(t *testing.T) {
	k := newReal(t)
	caller, made := k.make("default", "credentials", fmt.Sprintf(generated, "agent"))
	k.make("default", "credentials", fmt.Sprintf(vendorBody, "vendor"))
	k.make("default", "targets", fmt.Sprintf(realTarget, "target"))
	k.make("default", "proxies", `{"proxyName":"p","proxyProxyCredentialId":"agent","proxyTargetId":"target","proxyTargetCredentialId":"vendor"}`)
	decision := func(key string) string {
		t.Helper()
		return k.call("POST", "/clients/default/proxies/p/check", fmt.Sprintf(`{"path":"/","headers":{"Authorization":%q}}`, key)).want(http.StatusOK).text("decision")
	}
	old := made.text("credentials.0.credentialSecret.key")
	rotated := k.call("POST", "/clients/default/credentials/"+caller+"/rotate", `{"overlap":"1h"}`, header("If-Match", made.etag())).want(http.StatusOK)
	fresh := rotated.text("credentials.0.credentialSecret.key")
	if fresh == old || decision(fresh) != "proxy-access-granted" || decision(old) != "proxy-access-granted" || decision("rr_live_other") != "proxy-access-denied" {
		t.Errorf("new %s, old %s", decision(fresh), decision(old))
	}
	third := k.call("POST", "/clients/default/credentials/"+caller+"/rotate", ``).want(http.StatusOK).text("credentials.0.credentialSecret.key")
	if decision(third) != "proxy-access-granted" || decision(fresh) != "proxy-access-denied" || decision(old) != "proxy-access-denied" {
		t.Errorf("third %s, second %s, first %s", decision(third), decision(fresh), decision(old))
	}
	k.call("DELETE", "/clients/default/credentials/"+caller, "").problem(http.StatusConflict, "conflict")
	k.call("DELETE", "/clients/default/credentials/"+caller+"?force=true", "").want(http.StatusOK)
	if got := decision(third); got != "proxy-access-denied" {
		t.Error(got)
	}
}

// TestRealExportAndImport moves everything from one store to another.
func TestRealExportAndImport(t *testing.T) {
	k := newReal(t)
	k.call("POST", "/clients", `{"clientId":"acme","clientName":"Acme"}`).want(http.StatusCreated)
	for _, client := range []string{"default", "acme"} {
		k.make(client, "credentials", fmt.Sprintf(generated, "caller"))
		k.make(client, "credentials", fmt.Sprintf(vendorBody, "vendor"))
		k.make(client, "targets", fmt.Sprintf(realTarget, "target"))
		k.make(client, "proxies", `{"proxyName":"p","proxyProxyCredentialId":"caller","proxyTargetId":"target","proxyTargetCredentialId":"vendor"}`)
		k.make(client, "blocklist", `{"sub":"s"}`)
		k.call("POST", "/clients/"+client+"/proxies/p/rules", `{"effect":"deny","methods":["DELETE"]}`).want(http.StatusCreated)
	}
	archive := k.call("POST", "/store/export", fmt.Sprintf(`{"passphrase":%q}`, words)).want(http.StatusOK).body
	other := newReal(t)
	other.call("POST", "/store/import", importBody(archive, "")).want(http.StatusOK)
	for _, path := range []string{"/clients", "/clients/acme/credentials", "/clients/acme/targets", "/clients/acme/proxies", "/clients/acme/blocklist", "/clients/acme/proxies/p/rules", "/clients/default/proxies"} {
		was, is := withoutTimes(k.call("GET", path, "").body), withoutTimes(other.call("GET", path, "").body)
		if was != is {
			t.Errorf("%s was\n%s\nis\n%s", path, was, is)
		}
	}
	other.call("POST", "/store/import", importBody(archive, "")).problem(http.StatusConflict, "conflict")
	other.call("POST", "/store/import", importBody(archive, `,"replace":true`)).want(http.StatusOK)
	if a := other.call("GET", "/audit/verify", "").want(http.StatusOK); a.get("valid") != true {
		t.Errorf("%s", a.body)
	}
	k.call("POST", "/store/rotate-key", "").want(http.StatusOK)
	k.call("GET", "/clients/acme/credentials/caller", "").want(http.StatusOK)
	k.call("DELETE", "/clients/acme", "").problem(http.StatusConflict, "conflict")
	k.call("DELETE", "/clients/acme?force=true", "").want(http.StatusOK)
	k.call("GET", "/clients/acme", "").problem(http.StatusNotFound, "not-found")
}

// TestRealImportOfTheOriginal: a proxy that refers to what is imported with it.
func TestRealImportOfTheOriginal(t *testing.T) {
	k := newReal(t)
	const body = `{
	"credentials": [
		{"sKey":"cred_1","credentialName":"agent","credentialType":"proxy","credentialAuthType":"key"},
		{"sKey":"cred_2","credentialName":"stripe","credentialType":"target","credentialAuthType":"bearer","credentialSecret":{"token":"CANARY-sk-0123456789"}}
	],
	"targets": [{"sKey":"tgt_1","targetName":"stripe","targetBaseURL":"http://127.0.0.1:9"}],
	"proxies": [{"sKey":"proxy_1","proxyName":"pay","proxyProxyCredentialId":"cred_1","proxyTargetId":"tgt_1","proxyTargetCredentialId":"cred_2"}]
}`
	made := k.call("POST", "/store/import", body).want(http.StatusOK).text("credentials.0.credentialSecret.key")
	a := k.call("POST", "/clients/default/proxies/pay/check", fmt.Sprintf(`{"path":"/","headers":{"Authorization":%q}}`, made)).want(http.StatusOK)
	if a.text("decision") != "proxy-access-granted" || k.call("GET", "/clients/default/proxies?alias=proxy_1", "").text("proxies.0.proxyName") != "pay" {
		t.Errorf("%s", a.body)
	}
	broken := strings.Replace(body, `"proxyTargetId":"tgt_1"`, `"proxyTargetId":"tgt_2"`, 1)
	other := newReal(t)
	other.call("POST", "/store/import", broken).problem(http.StatusUnprocessableEntity, "invalid")
	if n := len(other.call("GET", "/clients/default/credentials", "").get("credentials").([]any)); n != 0 {
		t.Errorf("%d credentials were imported all the same", n)
	}
}

// withoutTimes is a text without times, which an import does not keep all.
func withoutTimes(body []byte) string {
	text := string(body)
	for {
		i := strings.Index(text, `UpdatedAt":"`)
		if i < 0 {
			return text
		}
		end := i + len(`UpdatedAt":"`) + len(time.Now().UTC().Format("2006-01-02T15:04:05"))
		for text[end] != '"' {
			end++
		}
		text = text[:i] + text[end:]
	}
}

// TestImportForAnUnknownClient: the place of its id is named.
func TestImportForAnUnknownClient(t *testing.T) {
	k := newReal(t)
	for body, want := range map[string]string{
		`{"targets":[{"targetName":"a","targetBaseURL":"http://127.0.0.1:9"},{"targetName":"b","clientId":"nobody","targetBaseURL":"http://127.0.0.1:9"}]}`: "/targets/1/clientId",
		`{"client":"nobody","targets":[{"targetName":"a","targetBaseURL":"http://127.0.0.1:9"}]}`:                                                           "/client",
		`{"credentials":[{"credentialName":"b","clientId":"nobody","credentialType":"proxy","credentialAuthType":"key"}]}`:                                  "/credentials/0/clientId",
		`{"proxies":[{"proxyName":"p","clientId":"nobody","proxyProxyCredentialId":"a","proxyTargetId":"b","proxyTargetCredentialId":"c"}]}`:                "/proxies/0/clientId",
		`{"targets":[{"targetName":"b","clientId":7,"targetBaseURL":"http://127.0.0.1:9"}]}`:                                                                "/targets/0/clientId",
	} {
		if places := k.call("POST", "/store/import", body).problem(http.StatusUnprocessableEntity, "invalid"); !slices.Equal(places, []string{want}) {
			t.Errorf("%s: %v", body, places)
		}
	}
}

// TestConsentsAreBounded: who asks for many, forgets the oldest; each is in the audit log.
func TestConsentsAreBounded(t *testing.T) {
	k := newReal(t)
	id, _ := k.make("default", "credentials", `{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"c",
		"credentialSecret":{"grant":"authorization_code","authorizationUrl":"http://127.0.0.1:9/authorize","tokenUrl":"http://127.0.0.1:9/token","clientId":"rr","clientAuth":"none"}}`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 15 {
				k.call("POST", "/clients/default/credentials/"+id+"/oauth2/authorize", `{"redirectUri":"https://gateway.example/cb"}`).want(http.StatusOK)
			}
		})
	}
	all.Wait()
	n := 0
	for _, err := range k.fake.store.List(t.Context(), store.Consents, "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 100 {
		t.Errorf("%d are awaited", n)
	}
	if log := string(k.get("/rr/audit?limit=1000")); strings.Count(log, `"authorize"`) != 120 {
		t.Errorf("%d are in the audit log", strings.Count(log, `"authorize"`))
	}
}
