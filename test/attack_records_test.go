package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// What attacks on what is made through the API have found.

// attackedSite has a manager for each of two clients and one for default, none of whom is
// the operator.
const attackedSite = `{
	rr {
		egress allow 127.0.0.0/8
		credential ed-a accept key editor-of-acme-0123456789abcdef
		credential ed-b accept key editor-of-beta-0123456789abcdef
		credential ed-d accept key editor-of-default-0123456789abc
		credential key accept key {env.RR_CALLER}
		credential operators present bearer {env.RR_VENDOR}
		credential reports accept basic reports {env.RR_OTHER}
		proxy declared {
			accept credential reports
			target UPSTREAM
			present credential operators
		}
	}
}
:GATEPORT {
	rr_verify /a/* {
		accept credential ed-a
		accept key an-inline-key-without-a-name-0123456
	}
	rr_api /a/* {
		editor credential ed-a
		owner credential key
		clients acme
	}
	rr_verify /b/* {
		accept credential ed-b
	}
	rr_api /b/* {
		editor credential ed-b
		clients beta
	}
	rr_verify /d/* {
		accept credential ed-d
	}
	rr_api /d/* {
		editor credential ed-d
		clients default
	}
	rr_gateway /api/*
}
:OPENPORT {
	rr_api /manage/* {
		owner user root
		clients *
	}
}
`

const anonymousCaller = `{"credentialType":"proxy","credentialAuthType":"none","credentialName":"anybody"}`

func startAttacked(t testing.TB) *managed {
	t.Helper()
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	m := &managed{start(t, attackedSite, "UPSTREAM", u.URL, "OPENPORT", fmt.Sprint(rrtest.FreePort(t))), u}
	for _, client := range []string{"acme", "beta"} {
		m.want(m.ask("POST", "/rr/clients", `{"clientId":"`+client+`","clientName":"`+client+`"}`), 201)
	}
	return m
}

// edits has the editor of a client (a, b or d) call the API, below the client's own path.
func (m *managed) edits(who, method, path, body string) answer {
	m.t.Helper()
	client := map[string]string{"a": "acme", "b": "beta", "d": "default"}[who]
	key := map[string]string{"a": "editor-of-acme-0123456789abcdef", "b": "editor-of-beta-0123456789abcdef", "d": "editor-of-default-0123456789abc"}[who]
	return m.do(method, "/"+who+"/clients/"+client+"/"+path, body, "Content-Type: application/json", "Authorization: "+key)
}

// TestAttackTheOperatorsSecretGoesWhereTheOperatorSaid: an editor of default, who cannot read
// the configuration, makes a target of their own and has a credential of the configuration
// sent there.
func TestAttackTheOperatorsSecretGoesWhereTheOperatorSaid(t *testing.T) {
	m := startAttacked(t)
	evil := rrtest.NewUpstream(t)
	m.edits("d", "POST", "credentials", anonymousCaller)
	m.edits("d", "POST", "targets", `{"targetName":"evil","targetBaseURL":"`+evil.URL+`"}`)
	m.edits("d", "POST", "proxies", `{"proxyName":"leak","proxyProxyCredentialId":"anybody","proxyTargetId":"evil","proxyTargetCredentialId":"operators"}`)
	m.get("/api/leak/x")
	for _, r := range evil.Received() {
		if strings.Contains(r.Header.Get("Authorization"), vendorKey) {
			t.Error("a secret of the configuration was sent to a host that only an editor has named")
		}
	}
}

// TestAttackAStoredSecretDoesNotFollowItsTarget: whoever may change a target need not know
// the secret that goes there. (tokenUrl and credentialHosts are kept for the same reason.)
func TestAttackAStoredSecretDoesNotFollowItsTarget(t *testing.T) {
	m := startAttacked(t)
	evil := rrtest.NewUpstream(t)
	m.want(m.ask("POST", "/rr/clients/acme/credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"vendor-key","credentialSecret":{"token":"`+vendorKey+`"}}`), 201)
	m.want(m.ask("POST", "/rr/clients/acme/targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`), 201)
	m.want(m.ask("POST", "/rr/clients/acme/credentials", anonymousCaller), 201)
	m.want(m.ask("POST", "/rr/clients/acme/proxies", `{"proxyName":"p","proxyAlias":"pay","proxyProxyCredentialId":"anybody","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor-key"}`), 201)
	m.edits("a", "PUT", "targets/vendor", `{"targetBaseURL":"`+evil.URL+`"}`)
	m.get("/api/pay/x")
	m.edits("a", "POST", "targets", `{"targetName":"evil","targetBaseURL":"`+evil.URL+`"}`)
	m.edits("a", "POST", "proxies", `{"proxyName":"leak","proxyAlias":"leak","proxyProxyCredentialId":"anybody","proxyTargetId":"evil","proxyTargetCredentialId":"vendor-key"}`)
	m.get("/api/leak/x")
	for _, r := range evil.Received() {
		if strings.Contains(r.Header.Get("Authorization"), vendorKey) {
			t.Errorf("%s: a stored secret was sent to a host that its maker has not named", r.URI)
		}
	}
}

// TestAttackAKindIsNoCredential: an inline `accept key` has no name, so it is not the
// credential that the configuration declares under the name key.
func TestAttackAKindIsNoCredential(t *testing.T) {
	m := startAttacked(t)
	a := m.get("/a/clients/acme/audit", "Authorization: an-inline-key-without-a-name-0123456")
	if a.Status != http.StatusForbidden {
		t.Errorf("a caller without a name is the owner: %d %.200s", a.Status, a.Body)
	}
}

// TestAttackAnotherClientsIssuer: what OAuth clients of one client's proxies are told must not
// be what an editor of another client says; they would take their users there.
func TestAttackAnotherClientsIssuer(t *testing.T) {
	m := startAttacked(t)
	const verifier = `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"users","credentialSecret":{"issuer":%q,"jwksUri":"https://127.0.0.1:9/keys","audience":"a"}}`
	m.want(m.ask("POST", "/rr/clients/acme/credentials", fmt.Sprintf(verifier, "https://login.acme.example")), 201)
	m.want(m.ask("POST", "/rr/clients/acme/targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`"}`), 201)
	m.want(m.ask("POST", "/rr/clients/acme/credentials", `{"credentialType":"target","credentialAuthType":"none","credentialName":"nothing"}`), 201)
	m.want(m.ask("POST", "/rr/clients/acme/proxies", `{"proxyName":"p","proxyAlias":"acme-mcp","proxyProxyCredentialId":"users","proxyTargetId":"t","proxyTargetCredentialId":"nothing"}`), 201)
	if a := m.edits("b", "POST", "credentials", fmt.Sprintf(verifier, "https://evil.example")); a.Status != 201 {
		t.Fatal(a.Body)
	}
	for i := range 5 {
		m.edits("b", "POST", "credentials", fmt.Sprintf(`{"credentialType":"proxy","credentialAuthType":"bearer","credentialName":"b%d","credentialSecret":{"token":"0123456789-0123456789-0123-%d","prefix":"%s%d"}}`, i, i, strings.Repeat("X", 200), i))
	}
	if a := m.get("/api/acme-mcp/.well-known/oauth-protected-resource"); strings.Contains(a.Body, "https://evil.example") {
		t.Errorf("clients of acme are led to beta's issuer: %s", a.Body)
	}
	if list := m.get("/api/acme-mcp/x").Header["Www-Authenticate"]; strings.Contains(fmt.Sprint(list), "XXXX") {
		t.Errorf("callers of acme are told beta's schemes: %.300s …", list)
	}
}

// TestAttackAChangeFailsAlone: changes that are written together must not fail because one of
// them cannot be written. Here a credential of beta outgrows what the store takes (its
// previous secrets count too); what is made for acme at the same time is nobody's fault.
func TestAttackAChangeFailsAlone(t *testing.T) {
	m := startAttacked(t)
	secret := func(c string) string {
		headers := map[string]string{}
		for i := range 16 {
			headers[fmt.Sprint("X-", i)] = strings.Repeat(c, 61_000)
		}
		b, _ := json.Marshal(map[string]any{"issuer": "https://a.example", "jwksUri": "https://127.0.0.1:9/k", "audience": "a", "requestHeaders": headers})
		return string(b)
	}
	a := m.edits("b", "POST", "credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"large","credentialSecret":`+secret("0")+`}`)
	for i := 1; a.Status < 300 && i < 9; i++ {
		a = m.edits("b", "POST", "credentials/large/rotate", `{"overlap":"1h","credentialSecret":`+secret(fmt.Sprint(i))+`}`)
	}
	if a.Status >= 500 {
		t.Errorf("a record that is too large is answered with %d %s", a.Status, a.Body)
	}
	body := `{"overlap":"1h","credentialSecret":` + secret("z") + `}`
	var over atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !over.Load() {
				m.edits("b", "POST", "credentials/large/rotate", body)
			}
		})
	}
	makes(t, 4, func(w, i int) int {
		return m.edits("a", "POST", "targets", fmt.Sprintf(`{"targetName":"t-%d-%d","targetBaseURL":%q}`, w, i, m.u.URL)).Status
	})
	over.Store(true)
	wg.Wait()
}

// makes has workers make things for two seconds, of which each must be made.
func makes(t *testing.T, workers int, one func(worker, i int) (status int)) {
	t.Helper()
	var made, failed atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for w := range workers {
		wg.Go(func() {
			for i := 0; time.Now().Before(end); i++ {
				if one(w, i) == 201 {
					made.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 || made.Load() == 0 {
		t.Errorf("%d of acme's changes have failed with others', %d were made", failed.Load(), made.Load())
	}
}

// TestAttackADeletedClientTakesNobodyAlong is the same with a client that is deleted while
// something is made in it: "the record is written twice".
func TestAttackADeletedClientTakesNobodyAlong(t *testing.T) {
	m := startAttacked(t)
	var over atomic.Bool
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Go(func() {
			client := fmt.Sprint("/rr/clients/gone-", n)
			for !over.Load() {
				m.ask("POST", "/rr/clients", fmt.Sprintf(`{"clientId":"gone-%d","clientName":"x"}`, n))
				var both sync.WaitGroup
				for i := range 6 {
					both.Go(func() { m.ask("POST", client+"/blocklist", fmt.Sprintf(`{"jti":"%d"}`, i)) })
				}
				both.Go(func() { m.ask("DELETE", client+"?force=true", "") })
				both.Wait()
				m.ask("DELETE", client+"?force=true", "")
			}
		})
	}
	makes(t, 3, func(w, i int) int {
		return m.ask("POST", "/rr/clients/acme/blocklist", fmt.Sprintf(`{"jti":"%d-%d"}`, w, i)).Status
	})
	over.Store(true)
	wg.Wait()
}

// TestAttackManyLargePatterns: each pattern is within bounds, and all together are not: 840 KB
// of rules took 4.5 GB and 22 s, and 6 to 10 s a request.
func TestAttackManyLargePatterns(t *testing.T) {
	m := startAttacked(t)
	var rules []map[string]any
	for range 16 {
		var checks []map[string]string
		for i := range 32 {
			checks = append(checks, map[string]string{"name": fmt.Sprint("X-", i), "value": strings.Repeat("a{1000}", 4)})
		}
		rules = append(rules, map[string]any{"effect": "allow", "headers": checks})
	}
	b, _ := json.Marshal(rules)
	began := time.Now()
	if a := m.edits("b", "POST", "targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`","targetRules":`+string(b)+`}`); a.Status != 422 {
		t.Errorf("patterns of 4000 parts, 512 times, in %d bytes: %d after %s", len(b), a.Status, time.Since(began))
	}
}

// TestAttackACheckIsNoOracle: whoever may ask what would happen to a request must not try
// passwords of the configuration's callers without end.
func TestAttackACheckIsNoOracle(t *testing.T) {
	m := startAttacked(t)
	for i := range 60 {
		a := m.edits("d", "POST", "proxies/declared/check", fmt.Sprintf(`{"path":"/","headers":{"Authorization":"Basic %s"}}`, basicText("reports", fmt.Sprint("wrong-", i))))
		if a.Status == 429 || a.Status == 403 || strings.Contains(a.Body, "too-many-failures") {
			return
		}
	}
	t.Error("60 passwords of a caller of the configuration were tried, and nobody minds")
}

func basicText(user, password string) string {
	r, _ := http.NewRequest("GET", "http://x/", nil)
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// TestAttackAnUnknownConsentIsTheCallersFault: docs/api.md and the code say 400; it is 502, and
// a warning in the log for each request of anybody.
func TestAttackAnUnknownConsentIsTheCallersFault(t *testing.T) {
	m := startAttacked(t)
	if a := m.Admin("GET", "/rr/oauth2/callback?state=nobody-was-asked&code=x", ""); a.Status != http.StatusBadRequest {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestAttackAConflictNamesNoOthers: an editor of beta is told the name of a credential of the
// client default.
func TestAttackAConflictNamesNoOthers(t *testing.T) {
	m := startAttacked(t)
	a := m.edits("b", "POST", "credentials", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":"x","credentialSecret":{"key":"editor-of-acme-0123456789abcdef"}}`)
	if a.Status != 409 || strings.Contains(a.Body, "ed-a") {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

// TestAttackTheFaceChangesWhileItIsShown is for -race: the metadata of all proxies is changed
// in place while it is served.
func TestAttackTheFaceChangesWhileItIsShown(t *testing.T) {
	m := startAttacked(t)
	var over atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for !over.Load() {
			m.get("/api/nobody/.well-known/oauth-protected-resource")
		}
	})
	for i := range 30 {
		m.edits("b", "POST", "credentials", fmt.Sprintf(`{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"v%d","credentialSecret":{"issuer":"https://i%d.example","jwksUri":"https://127.0.0.1:9/k","audience":"a","scope":"s%d"}}`, i, i, i))
	}
	over.Store(true)
	wg.Wait()
}

// TestAttackAChangeWithoutAConditionIsMade: docs/api.md says that without If-Match a change is
// made on top of what others have changed meanwhile; most of 40 at once were 412.
func TestAttackAChangeWithoutAConditionIsMade(t *testing.T) {
	m := startAttacked(t)
	m.want(m.ask("POST", "/rr/clients/acme/targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`"}`), 201)
	var stale atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if a := m.edits("a", "PUT", "targets/t", fmt.Sprintf(`{"targetTestPath":"/%d"}`, i)); a.Status != 200 {
				stale.Add(1)
			}
		})
	}
	wg.Wait()
	if n := stale.Load(); n > 0 {
		t.Errorf("%d of 40 changes without If-Match were refused as stale", n)
	}
}

// TestAttackACredentialIsNoUser: the name of a credential, or the kind of one without a name, is
// no id that an authenticator has set: `owner user root` is not for the credential root.
func TestAttackACredentialIsNoUser(t *testing.T) {
	setSecrets(t)
	g := start(t, `{
	rr {
		credential root accept key {env.RR_CALLER}
	}
}
:GATEPORT {
	rr_verify /manage/* {
		accept credential root
	}
	rr_api /manage/* {
		owner user root
	}
}
`)
	if a := g.get("/manage/clients/default/audit", "Authorization: "+callerKey); a.Status != http.StatusForbidden {
		t.Errorf("a credential has the role of a user of the same name: %d %.100s", a.Status, a.Body)
	}
}

// TestAttackNobodyDecidesWhatTheLogSays: what an editor calls a secret disappears from all logs
// of the process, so paths, codes and the names of fields must not be taken for secrets.
func TestAttackNobodyDecidesWhatTheLogSays(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	m := &managed{start(t, strings.Replace(attackedSite, "{\n\trr {", "{\n\tlog {\n\t\tformat rr\n\t}\n\trr {", 1), "UPSTREAM", u.URL, "OPENPORT", fmt.Sprint(rrtest.FreePort(t))), u}
	m.want(m.ask("POST", "/rr/clients", `{"clientId":"beta","clientName":"beta"}`), 201)
	for i, text := range []string{"client_ip", "/api/declared", "proxy-access-denied"} {
		m.edits("b", "POST", "credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"bearer","credentialName":"c%d","credentialSecret":{"token":%q}}`, i, text))
	}
	m.get("/api/declared/secret-papers")
	e := m.refusal(func(e map[string]any) bool { return e["proxy"] == "declared" })
	if e["client_ip"] != "127.0.0.1" || e["code"] != "proxy-access-denied" || !strings.Contains(fmt.Sprint(e["path"]), "secret-papers") || strings.Contains(fmt.Sprint(e), "REDACTED") {
		t.Errorf("the log says %v", e)
	}
}

// TestAttackAConsentIsForWhatWasAskedFor: between the question and the answer somebody changes
// the token endpoint, and is sent the code and its PKCE verifier. (The consent keeps the version
// of its credential, and nobody looks at it.)
func TestAttackAConsentIsForWhatWasAskedFor(t *testing.T) {
	m := startAttacked(t)
	provider, evil := rrtest.NewUpstream(t), rrtest.NewUpstream(t)
	m.edits("a", "POST", "credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"calendar",
		"credentialSecret":{"grant":"authorization_code","authorizationUrl":"%s/authorize","tokenUrl":"%s/token","clientId":"rr","clientAuth":"none"}}`, provider.URL, provider.URL))
	a := m.edits("a", "POST", "credentials/calendar/oauth2/authorize", `{"redirectUri":"https://gateway.example/cb"}`)
	var asked struct {
		URL string `json:"authorizationUrl"`
	}
	if err := json.Unmarshal([]byte(a.Body), &asked); err != nil || a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	u, err := url.Parse(asked.URL)
	if err != nil {
		t.Fatal(err)
	}
	m.edits("a", "PUT", "credentials/calendar", fmt.Sprintf(`{"credentialSecret":{"tokenUrl":"%s/token"}}`, evil.URL))
	m.Admin("GET", "/rr/oauth2/callback?code=the-code-of-the-victim&state="+url.QueryEscape(u.Query().Get("state")), "")
	for _, r := range evil.Received() {
		if strings.Contains(string(r.Body), "the-code-of-the-victim") {
			t.Errorf("the code, and its verifier, went to another endpoint than that which was asked: %s", r.Body)
		}
	}
}
