package test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// full is a gateway with a record of every kind, one of them with a consent.
type full struct {
	*consenter
	users *idp.Provider
	keys  *idp.Key
}

func newFull(t *testing.T) *full {
	t.Helper()
	f := &full{consenter: newConsenter(t), users: idp.New(t)}
	f.keys = f.users.AddKey("ES256", "k1")
	f.consent()
	f.calls()
	f.made("credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"users","credentialSecret":{"issuer":"`+f.users.Issuer()+`","jwksUri":"`+f.users.JWKSURL()+`","audience":"a"}}`)
	f.made("proxies", `{"proxyName":"q","proxyAlias":"people","proxyProxyCredentialIds":["users","agent"],"proxyTargetId":"vendor","proxyTargetCredentialId":"vendor-key",
		"proxyRules":[{"effect":"allow","methods":["GET"],"notes":"reading"},{"effect":"deny","path":{"path":{"pattern":"^/secret"},"presence":"must_exist"}}]}`)
	f.made("blocklist", `{"sub":"mallory","note":"left"}`)
	f.ask("POST", "/rr/clients", `{"clientId":"acme","clientName":"Acme"}`, 201)
	f.ask("POST", "/rr/clients/acme/targets", `{"targetName":"vendor","targetBaseURL":"`+f.u.URL+`/acme"}`, 201)
	f.ask("POST", "credentials/agent/rotate", `{"overlap":"24h"}`, 200) // the key from before goes on
	return f
}

// lists are all records as the API shows them, without what differs by itself.
func lists(d *daemon) map[string][]map[string]any {
	d.t.Helper()
	all := map[string][]map[string]any{}
	for _, client := range []string{"default", "acme"} {
		for _, kind := range []string{"credentials", "targets", "proxies", "blocklist"} {
			query := ""
			if kind == "credentials" {
				query = "?includeTemporary=true"
			}
			list, err := recordsIn(kind, d.ask("GET", "/rr/clients/"+client+"/"+kind+query, "", 200).Body)
			if err != nil {
				d.t.Fatal(err)
			}
			for _, r := range list {
				maps.DeleteFunc(r, func(member string, _ any) bool {
					return strings.HasSuffix(member, "UpdatedAt") || member == "credentialLastUsedAt"
				})
			}
			all[client+"/"+kind] = list
		}
	}
	return all
}

// same checks that a gateway has the records of another and serves them.
func (f *full) same(d *daemon, want map[string][]map[string]any) {
	f.t.Helper()
	for place, list := range lists(d) {
		a, _ := json.Marshal(list)
		b, _ := json.Marshal(want[place])
		if len(list) == 0 && place != "acme/credentials" && place != "acme/proxies" && place != "acme/blocklist" || string(a) != string(b) {
			f.t.Errorf("%s: there is %s, and has to be %s", place, a, b)
		}
	}
	f.u.Reset()
	a, err := d.through("p", "/x", f.key)
	if err != nil || a.Status != 200 {
		f.t.Errorf("p answers %d %s %v", a.Status, a.Body, err)
	} else if got := one(f.t, f.u).Header.Get("Authorization"); !f.s.Good(got) || f.s.Reused() != 0 {
		f.t.Errorf("the upstream got %q; %d refresh tokens came twice", got, f.s.Reused())
	}
	token := func(sub string) string {
		return f.keys.Token(f.users.Claims(map[string]any{"aud": "a", "sub": sub}), nil)
	}
	rrtest.Eventually(f.t, "the issuer's keys are there", func() bool {
		a, err := d.through("people", "/x", token("alice"))
		return err == nil && a.Status == 200
	})
	for _, tt := range []struct {
		path, token string
		status      int
	}{{"/secret", token("alice"), 403}, {"/x", token("mallory"), 401}, {"/x", f.key, 200}, {"/x", "wrong", 401}} {
		if a, err := d.through("q", tt.path, tt.token); err != nil || a.Status != tt.status {
			f.t.Errorf("q answers %d %s %v, want %d", a.Status, a.Body, err, tt.status)
		}
	}
	if a := d.ask("GET", "/rr/audit/verify", "", 200); !strings.Contains(a.Body, `"valid":true`) {
		f.t.Errorf("the audit log is not whole: %s", a.Body)
	}
	d.ask("PUT", "proxies/q", `{"proxyActive":false}`, 200)
	d.ask("PUT", "proxies/q", `{"proxyActive":true}`, 200)
}

// TestABackupIsServed: a copy that is made while records change takes the place of a store.
func TestABackupIsServed(t *testing.T) {
	f := newFull(t)
	var calls, changes atomic.Int64
	f.more(10)
	want := lists(f.daemon)
	delete(want, "default/proxies") // they change
	u, key := f.u, f.key
	f.ask("PUT", "proxies/p", `{"proxyTargetCredentialId":"vendor-key"}`, 200)
	end := busy(f.daemon, key, 10, &calls, &changes)
	rrtest.Eventually(t, "records change", func() bool { return changes.Load() > 20 || t.Failed() })
	copied := f.ask("GET", "/rr/store/backup", "", 200)
	rrtest.Eventually(t, "records change", func() bool { return changes.Load() > 40 || t.Failed() })
	end()
	if copied.Header.Get("Content-Type") != "application/octet-stream" || !strings.Contains(copied.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the backup comes with %v", copied.Header)
	}
	f.stop()
	secret, err := os.ReadFile(f.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	d := prepareDaemon(t, "store bolt")
	put := func(path, text string) {
		t.Helper()
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(d.dbFile(), copied.Body)
	d.refused("key is missing")
	put(d.keyFile(), string(secret))
	d.start()
	d.serves(u, key)
	proxies := lists(d)
	want["default/proxies"] = proxies["default/proxies"]
	if len(proxies["default/proxies"]) != 2 {
		t.Errorf("there are %v", proxies)
	}
	d.ask("PUT", "proxies/p", `{"proxyTargetCredentialId":"drive"}`, 200)
	want["default/proxies"] = lists(d)["default/proxies"]
	f.same(d, want)
	d.stop()
}

// TestAnArchiveIsServed: another gateway, with another key, takes over an archive.
func TestAnArchiveIsServed(t *testing.T) {
	f := newFull(t)
	const words = "correct horse battery staple"
	archive := f.ask("POST", "/rr/store/export", `{"passphrase":"`+words+`"}`, 200)
	want := lists(f.daemon)
	f.stop()
	body := func(edit func([]byte) []byte, more map[string]any) string {
		b := []byte(archive.Body)
		if edit != nil {
			b = edit(slices.Clone(b))
		}
		return asJSON(map[string]any{"passphrase": words, "archive": base64.StdEncoding.EncodeToString(b)}, more)
	}
	d := newDaemon(t, "store bolt\nencryption_key "+secondKey)
	for name, text := range map[string]string{
		"another passphrase": body(nil, map[string]any{"passphrase": "incorrect horse battery"}),
		"cut off":            body(func(b []byte) []byte { return b[:len(b)-1] }, nil),
		"edited":             body(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, nil),
	} {
		if a := d.ask("POST", "/rr/store/import", text, 422); strings.Contains(a.Body, words) {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	if list, _ := recordsIn("credentials", d.ask("GET", "credentials?includeTemporary=true", "", 200).Body); len(list) != 0 {
		t.Errorf("refused archives have left %v", list)
	}
	d.ask("POST", "/rr/store/import", body(nil, nil), 200)
	f.same(d, want)
	if a := d.ask("POST", "/rr/store/import", body(nil, nil), 409); !strings.Contains(a.Body, `"name":"vendor-key"`) {
		t.Errorf("once more: %s", a.Body)
	}
	d.kill()
	d.start()
	f.same(d, want)
	// an older archive takes the place of what has changed since
	made := d.ask("POST", "/rr/store/export", `{"passphrase":"`+words+`"}`, 200)
	archive = made
	d.ask("PUT", "targets/vendor", `{"targetBaseURL":"`+f.u.URL+`/elsewhere"}`, 200)
	d.ask("DELETE", "proxies/q", "", 200)
	d.ask("POST", "/rr/store/import", body(nil, map[string]any{"replace": true}), 200)
	f.same(d, want)
	d.stop()
}

// hosted is what the hosted product's API returns, with secrets filled in.
const hosted = `{
  "credentials": [
    {"pKey":"cli_1","sKey":"0b1c7a52-31f0-4e0f-9a55-6b3f3a3f2c01","userId":"u-1","clientId":"cli_1","parentId":"cli_1",
     "credentialId":"0b1c7a52-31f0-4e0f-9a55-6b3f3a3f2c01","credentialName":"callers","credentialType":"proxy","credentialAuthType":"apiKey","credentialRegion":"us-east-1",
     "credentialSecret":{"key":"CALLER"},"credentialDefaultRuleEffect":"allow","credentialCreatedAt":"2026-01-02T03:04:05.678Z","credentialUpdatedAt":"2026-01-02T03:04:05.678Z"},
    {"sKey":"cred_stripe","clientId":"cli_1","credentialId":"cred_stripe","credentialName":"stripe","credentialType":"target","credentialAuthType":"bearer","credentialRegion":"us-east-1",
     "credentialSecret":{"token":"VENDOR"}},
    {"sKey":"cred_made","clientId":"cli_1","credentialId":"cred_made","credentialName":"without a secret","credentialType":"proxy","credentialAuthType":"key","credentialRegion":"us-east-1"}
  ],
  "targets": [
    {"sKey":"tgt_stripe","clientId":"cli_1","targetId":"tgt_stripe","targetName":"stripe","targetRegion":"us-east-1","targetBaseURL":"UPSTREAM/base","targetTestPath":"/health","targetDefaultRuleEffect":"allow"}
  ],
  "proxies": [
    {"sKey":"6f1f0a0e-5d4b-4d39-8a53-1f6f1f0e9b02","clientId":"cli_1","proxyId":"6f1f0a0e-5d4b-4d39-8a53-1f6f1f0e9b02","proxyName":"one","proxyRegion":"us-east-1","proxyActive":true,
     "proxyProxyCredentialId":"0b1c7a52-31f0-4e0f-9a55-6b3f3a3f2c01","proxyTargetId":"tgt_stripe","proxyTargetCredentialId":"cred_stripe","proxyDefaultRuleEffect":"deny",
     "proxyRules":[{"effect":"allow","priority":900,"methods":["GET"],"path":{"pattern":"^/v1/","presence":"present"},"notes":"reading"}]},
    {"sKey":"proxy_two","clientId":"cli_1","proxyId":"proxy_two","proxyName":"two","proxyRegion":"us-east-1","proxyAlias":"second",
     "proxyProxyCredentialId":"cred_made","proxyTargetId":"tgt_stripe","proxyTargetCredentialId":"cred_stripe"},
    {"sKey":"proxy_three","clientId":"cli_1","proxyId":"proxy_three","proxyName":"three","proxyRegion":"us-east-1",
     "proxyProxyCredentialId":"cred_made","proxyTargetId":"tgt_stripe","proxyTargetCredentialId":"cred_stripe"}
  ]
}`

// TestTheHostedProductsRecordsAreServed: its records are taken as its API returns them, and
// callers go on with their keys and the ids that they know.
func TestTheHostedProductsRecordsAreServed(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	var members map[string]any
	text := strings.NewReplacer("CALLER", callerKey, "VENDOR", vendorKey, "UPSTREAM", u.URL).Replace(hosted)
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	d.ask("POST", "/rr/store/import", text, 404, 422) // their client is not here
	a := d.ask("POST", "/rr/store/import", asJSON(members, map[string]any{"client": "default"}), 200)
	var done struct {
		Records     map[string]int
		IDs         map[string]string
		Credentials []struct {
			CredentialName   string
			CredentialSecret struct{ Key string }
		}
	}
	if err := json.Unmarshal([]byte(a.Body), &done); err != nil {
		t.Fatal(err)
	}
	if done.Records["credentials"] != 3 || done.Records["targets"] != 1 || done.Records["proxies"] != 3 || len(done.IDs) != 5 ||
		len(done.Credentials) != 1 || done.Credentials[0].CredentialName != "without a secret" || strings.Contains(a.Body, callerKey) || strings.Contains(a.Body, vendorKey) {
		t.Errorf("the import answers %s", a.Body)
	}
	made := done.Credentials[0].CredentialSecret.Key
	calls := func() {
		t.Helper()
		for _, tt := range []struct {
			proxy, path, key string
			status           int
		}{
			{"6f1f0a0e-5d4b-4d39-8a53-1f6f1f0e9b02", "/v1/x", callerKey, 200}, {"one", "/v1/x", callerKey, 200}, {"one", "/v2/x", callerKey, 403},
			{"one", "/v1/x", made, 401}, {"second", "/v1/x", made, 200}, {done.IDs["proxy_two"], "/v1/x", made, 200}, {"proxy_three", "/v1/x", made, 200},
		} {
			u.Reset()
			a, err := d.through(tt.proxy, tt.path, tt.key)
			if err != nil || a.Status != tt.status {
				t.Errorf("%s%s: %d %s %v, want %d", tt.proxy, tt.path, a.Status, a.Body, err, tt.status)
			} else if got := received(u); tt.status == 200 && (len(got) != 1 || got[0].URI != "/base"+tt.path || got[0].Header.Get("Authorization") != "Bearer "+vendorKey) {
				t.Errorf("%s%s: the upstream got %v", tt.proxy, tt.path, got)
			}
		}
	}
	calls()
	if a := d.ask("POST", "/rr/store/import", asJSON(members, map[string]any{"client": "default"}), http.StatusConflict); !strings.Contains(a.Body, "users") {
		t.Errorf("once more: %s", a.Body)
	}
	d.kill()
	d.start()
	calls()
	// into a client of its own
	d.ask("POST", "/rr/clients", `{"clientId":"cli_2","clientName":"Two"}`, 201)
	other := strings.NewReplacer("cli_1", "cli_2", callerKey, otherKey, "0b1c7a52", "0b1c7a53", "6f1f0a0e", "6f1f0a0f", `"second"`, `"third"`, "proxy_three", "proxy_four").Replace(text)
	d.ask("POST", "/rr/store/import", other, 200)
	if a, err := d.through("6f1f0a0f-5d4b-4d39-8a53-1f6f1f0e9b02", "/v1/x", otherKey); err != nil || a.Status != 200 {
		t.Errorf("the other client's proxy answers %d %s %v", a.Status, a.Body, err)
	}
	calls()
	d.stop()
}
