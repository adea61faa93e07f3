package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// recordsGateway serves what is made through the API, and one proxy that it declares.
const recordsGateway = `{
	rr {
		egress allow 127.0.0.0/8
		credential config-caller accept key {env.RR_OTHER}
		proxy declared {
			accept credential config-caller
			target UPSTREAM
			present bearer {env.RR_VENDOR}
		}
	}
}
:GATEPORT {
	rr_gateway /api/*
}
`

// managed is a gateway with its API.
type managed struct {
	*gateway
	u *rrtest.Upstream
}

func startManaged(t testing.TB) *managed {
	t.Helper()
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	return &managed{start(t, recordsGateway, "UPSTREAM", u.URL), u}
}

// ask calls the API, below /rr/clients/default unless the path begins with a slash.
func (m *managed) ask(method, path, body string) rrtest.Answer {
	m.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = "/rr/clients/default/" + path
	}
	return m.Admin(method, path, body)
}

// made makes a record and returns it.
func (m *managed) made(kind, body string) map[string]any {
	m.t.Helper()
	a := m.ask("POST", kind, body)
	if a.Status != http.StatusCreated {
		m.t.Fatalf("POST %s: %d %s", kind, a.Status, a.Body)
	}
	return m.first(kind, a)
}

// first is the first record of an answer's list.
func (m *managed) first(kind string, a rrtest.Answer) map[string]any {
	m.t.Helper()
	var envelope map[string]json.RawMessage
	var list []map[string]any
	kind = kind[strings.LastIndexByte(kind, '/')+1:]
	if err := json.Unmarshal([]byte(a.Body), &envelope); err != nil || json.Unmarshal(envelope[kind], &list) != nil || len(list) == 0 {
		m.t.Fatalf("no %s in %s", kind, a.Body)
	}
	return list[0]
}

// caller makes a proxy credential, and returns its id and its key.
func (m *managed) caller(name string) (id, key string) {
	m.t.Helper()
	r := m.made("credentials", fmt.Sprintf(`{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q}`, name))
	key, _ = r["credentialSecret"].(map[string]any)["key"].(string)
	if key == "" {
		m.t.Fatalf("no key is shown: %v", r)
	}
	return r["credentialId"].(string), key
}

// usual makes the proxy p for a new caller, and returns the caller's id and key, and the proxy's id.
func (m *managed) usual() (caller, key, proxy string) {
	m.t.Helper()
	caller, key = m.caller("agent")
	m.made("credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"vendor-key","credentialSecret":{"token":"`+vendorKey+`"}}`)
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`","targetTestPath":"/health"}`)
	p := m.made("proxies", `{"proxyName":"p","proxyAlias":"pay","proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor-key"}`)
	return caller, key, p["proxyId"].(string)
}

// want checks what the API answers.
func (m *managed) want(a rrtest.Answer, status int, texts ...string) {
	m.t.Helper()
	if a.Status != status {
		m.t.Errorf("got %d, want %d: %.400s", a.Status, status, a.Body)
	}
	for _, text := range texts {
		if !strings.Contains(a.Body, text) {
			m.t.Errorf("%q is not in %.400s", text, a.Body)
		}
	}
}

// The payloads of the seed, as they stand but for the places where it has … or <…>.
const (
	seedKey = `{
  "credentialType": "target",
  "credentialAuthType": "key",
  "credentialName": "clearbit-enrichment",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "key": "sk_clearbit_xxxxxxxxxxxxxx"
  }
}`
	seedJWT = `{
  "credentialType": "target",
  "credentialAuthType": "jwt",
  "credentialName": "internal-analytics-api",
  "credentialRegion": "us-east-1",
  "credentialSecret": {
    "privateKey": PEM,
    "algorithm": "RS256",
    "claims": {
      "iss": "my-service",
      "aud": "analytics-api"
    }
  }
}`
	seedProxy = `{
  "proxyName": "stripe-payment-api",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "<auth0-m2m-verify-id>",
  "proxyTargetId": "<stripe-target-id>",
  "proxyTargetCredentialId": "<stripe-api-key-id>",
  "proxyDefaultRuleEffect": "deny"
}`
)

func TestTheSeedsCalls(t *testing.T) {
	m := startManaged(t)
	p := idp.New(t)
	signer := p.AddKey("RS256", "k1")

	key := m.made("credentials", seedKey)
	pem, err := json.Marshal(string(idp.NewKey(t, "RS256", "own").PrivatePEM()))
	if err != nil {
		t.Fatal(err)
	}
	jwt := m.made("credentials", strings.Replace(seedJWT, "PEM", string(pem), 1))
	verifier := m.made("credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"auth0-m2m","credentialRegion":"us-east-1",
		"credentialSecret":{"jwksUri":"`+p.JWKSURL()+`","audience":"https://gateway.example.com","issuer":"`+p.Issuer()+`"}}`)
	target := m.made("targets", `{"targetName":"stripe","targetRegion":"us-east-1","targetBaseURL":"`+m.u.URL+`","targetTestPath":"/health","targetDefaultRuleEffect":"allow"}`)
	stripe := m.made("credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"stripe-api-key","credentialRegion":"us-east-1","credentialSecret":{"token":"`+vendorKey+`"}}`)
	proxy := m.made("proxies", strings.NewReplacer(
		"<auth0-m2m-verify-id>", verifier["credentialId"].(string), "<stripe-target-id>", target["targetId"].(string),
		"<stripe-api-key-id>", stripe["credentialId"].(string)).Replace(seedProxy))

	claims := map[string]any{"aud": "https://gateway.example.com", "sub": "svc"}
	token := "Authorization: Bearer " + signer.Token(p.Claims(claims), nil)
	path := "/api/" + proxy["proxyId"].(string) + "/v1/charges"
	rrtest.Eventually(t, "the issuer's keys are there", func() bool { return g503(m, path, token) != http.StatusServiceUnavailable })
	m.get(path, token).want(t, 403, "proxy-access-denied") // the default denies
	m.want(m.ask("POST", "proxies/"+proxy["proxyId"].(string)+"/rules",
		`{"effect":"allow","methods":["GET"],"path":{"path":{"pattern":"^/v1/charges"},"presence":"must_exist"}}`), 201, `"rules"`)
	received(m.u)
	m.get(path, token).want(t, 200, "proxy-access-granted")
	if got := one(t, m.u).Header.Get("Authorization"); got != "Bearer "+vendorKey {
		t.Errorf("the upstream got %q", got)
	}
	m.do("POST", path, "{}", token).want(t, 403, "proxy-access-denied")
	m.get(path, "Authorization: Bearer "+signer.Token(p.Claims(map[string]any{"aud": "https://other.example"}), nil)).want(t, 401, "proxy-access-denied")

	// the seed's other two target credentials, through the same proxy
	for id, want := range map[string]func(rrtest.Received) bool{
		key["credentialId"].(string): func(r rrtest.Received) bool { return r.Header.Get("X-Api-Key") == "sk_clearbit_xxxxxxxxxxxxxx" },
		jwt["credentialId"].(string): func(r rrtest.Received) bool {
			return strings.Count(r.Header.Get("Authorization"), ".") == 2 && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey")
		},
	} {
		m.want(m.ask("PUT", "proxies/"+proxy["proxyId"].(string), `{"proxyTargetCredentialId":"`+id+`"}`), 200)
		received(m.u)
		m.get(path, token).want(t, 200, "proxy-access-granted")
		if r := one(t, m.u); !want(r) {
			t.Errorf("credential %s: the upstream got %v", id, r.Header)
		}
	}
}

func g503(m *managed, path string, headers ...string) int { return m.get(path, headers...).Status }

func TestWhatIsMadeIsServedAtOnce(t *testing.T) {
	m := startManaged(t)
	caller, key, proxy := m.usual()
	auth := "Authorization: " + key
	for _, name := range []string{"p", "pay", proxy} {
		m.get("/api/"+name+"/x?y=1", auth).want(t, 200, "proxy-access-granted")
		if r := one(t, m.u); r.Header.Get("Authorization") != "Bearer "+vendorKey || r.URI != "/x?y=1" {
			t.Errorf("%s: the upstream got %s %v", name, r.URI, r.Header)
		}
	}
	m.get("/api/declared/x", "Authorization: "+otherKey).want(t, 200, "proxy-access-granted")
	m.get("/api/declared/x", auth).want(t, 401, "proxy-access-denied")
	m.get("/api/p/x", "Authorization: "+otherKey).want(t, 401, "proxy-access-denied")

	m.want(m.ask("PUT", "proxies/p", `{"proxyActive":false}`), 200)
	m.get("/api/p/x", auth).want(t, 503, "proxy-inactive")
	m.get("/api/p/x").want(t, 401, "proxy-access-denied")
	m.want(m.ask("PUT", "proxies/p", `{"proxyActive":true,"proxyAlias":"cash"}`), 200)
	m.get("/api/pay/x", auth).want(t, 401, "proxy-access-denied")
	m.get("/api/cash/x", auth).want(t, 200, "proxy-access-granted")

	// a declared credential in a proxy of the store
	m.want(m.ask("PUT", "proxies/p", `{"proxyProxyCredentialIds":["agent","config-caller"]}`), 200)
	m.get("/api/p/x", "Authorization: "+otherKey).want(t, 200, "proxy-access-granted")
	m.get("/api/p/x", auth).want(t, 200, "proxy-access-granted")

	if got := m.first("credentials", m.ask("GET", "credentials/"+caller, ""))["credentialLastUsedAt"]; got == nil {
		t.Error("it is not said when the credential was last used")
	}
	m.want(m.ask("DELETE", "targets/vendor", ""), 409, `"name":"p"`)
	m.want(m.ask("DELETE", "targets/vendor?force=true", ""), 200)
	m.get("/api/p/x", auth).want(t, 503, "proxy-incomplete")
	m.get("/api/p/x", "Authorization: nope").want(t, 401, "proxy-access-denied")
	m.want(m.ask("DELETE", "proxies/p", ""), 200)
	m.get("/api/p/x", auth).want(t, 401, "proxy-access-denied")
}

func TestRecordsSurviveReloadsAndRestarts(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	for range 5 {
		if err := m.reload(recordsGateway); err != nil {
			t.Fatal(err)
		}
		m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	}
	if err := m.reload(strings.Replace(recordsGateway, "proxy declared", "proxy p", 1)); err == nil || !strings.Contains(err.Error(), "proxy p is declared in the configuration, and was made through the API") {
		t.Errorf("a name in both places: %v", err)
	}
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted") // a failed reload changes nothing
	if err := m.reload(strings.Replace(recordsGateway, "rr {", "rr {\n\tencryption_key UW6hxMSO5k2y1y5yJtYyl8oLSu9Ff9rKj0z3BoxlqVY=", 1)); err == nil {
		t.Error("a wrong key is taken")
	}
	m.want(m.ask("PUT", "proxies/p", `{"proxyAlias":"later"}`), 200)
	if err := m.reload(":GATEPORT {\n\trespond ok\n}"); err != nil { // nobody has the store open
		t.Fatal(err)
	}
	m.want(m.Admin("GET", "/rr/health", ""), 404)
	if err := m.reload(recordsGateway); err != nil {
		t.Fatal(err)
	}
	m.get("/api/later/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	if err := m.reload("{\n\trr {\n\t\tstore off\n\t}\n}\n:GATEPORT {\n\trespond ok\n}"); err != nil {
		t.Fatal(err)
	}
	m.want(m.Admin("GET", "/rr/health", ""), 404, "store off")
}

func TestAnUnknownProxyLooksLikeAnother(t *testing.T) {
	m := startManaged(t)
	m.usual()
	for _, headers := range [][]string{nil, {"Authorization: Bearer wrong"}, {"Authorization: Basic d3Jvbmc6d3Jvbmc="}, {"X-API-Key: wrong"}, {"Authorization: a", "X-API-Key: b"}} {
		known, declared, unknown := m.get("/api/p/x", headers...), m.get("/api/declared/x", headers...), m.get("/api/nobody/x", headers...)
		for _, a := range []answer{known, declared} {
			if a.Status != unknown.Status || a.Body != unknown.Body || fmt.Sprint(a.Header["Www-Authenticate"]) != fmt.Sprint(unknown.Header["Www-Authenticate"]) {
				t.Errorf("%v: %d %s %v, but unknown: %d %s %v", headers, a.Status, a.Body, a.Header["Www-Authenticate"], unknown.Status, unknown.Body, unknown.Header["Www-Authenticate"])
			}
		}
	}
}

func TestAPIMadeTextsAreTexts(t *testing.T) {
	m := startManaged(t)
	_, key := m.caller("agent")
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	for i, text := range []string{"{env.HOME}", "{file./etc/passwd}", "{http.request.header.X-Secret}", "{$HOME}", "{env.RR_VENDOR}", "a{env.HOME}b"} {
		for kind, body := range map[string]string{
			"bearer": `{"token":%q}`, "key": `{"key":%q}`, "basic": `{"username":"u","password":%q}`,
			"custom": `{"headers":{"X-Custom":%q}}`, "jwt": `{"token":%q}`,
		} {
			name := fmt.Sprintf("%s-%d", kind, i)
			m.made("credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":%q,"credentialName":%q,"credentialSecret":%s}`, kind, name, fmt.Sprintf(body, text)))
			m.made("proxies", fmt.Sprintf(`{"proxyName":%q,"proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":%q}`, name, name))
			received(m.u)
			m.get("/api/"+name+"/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
			r := one(t, m.u)
			got := r.Header.Get("Authorization") + r.Header.Get("X-Api-Key") + r.Header.Get("X-Custom")
			if u, p, ok := basicOf(r.Header); ok {
				got = u + p
			}
			if !strings.Contains(got, text) {
				t.Errorf("%s %s: the upstream got %q", kind, text, got)
			}
		}
	}
}

func basicOf(h http.Header) (user, password string, ok bool) {
	r := &http.Request{Header: h}
	return r.BasicAuth()
}

func TestAPIMadeTargetsReachNoPrivateAddress(t *testing.T) {
	m := startManaged(t)
	if err := m.reload(strings.Replace(recordsGateway, "egress allow 127.0.0.0/8", "", 1)); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "[fd00::1]", "localhost", "0x7f.1", "2130706433", "0177.0.0.1",
		"[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "127.1", "0.0.0.0", "[::]", "100.64.0.1", "[64:ff9b::7f00:1]", "192.168.1.1", "172.16.0.1", "localhost.", "[fe80::1]", "metadata.google.internal",
	} {
		a := m.ask("POST", "targets", `{"targetName":"x","targetBaseURL":"https://`+host+`/"}`)
		if host == "metadata.google.internal" && a.Status == 201 {
			continue // it cannot be looked up here, and is judged when it is dialled
		}
		if a.Status != 422 || !strings.Contains(a.Body, `"pointer":"/targetBaseURL"`) {
			t.Errorf("%s: %d %s", host, a.Status, a.Body)
		}
	}
	// made while it was allowed, and judged again when it is dialled
	if err := m.reload(recordsGateway); err != nil {
		t.Fatal(err)
	}
	_, key, _ := m.usual()
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	received(m.u)
	if err := m.reload(strings.Replace(recordsGateway, "egress allow 127.0.0.0/8", "", 1)); err != nil {
		t.Fatal(err)
	}
	m.get("/api/p/x", "Authorization: "+key).want(t, 403, "address-not-allowed")
	if got := received(m.u); len(got) != 0 {
		t.Errorf("the upstream got %v", got)
	}
}

func TestTheBlocklistHoldsAtOnce(t *testing.T) {
	m := startManaged(t)
	p := idp.New(t)
	signer := p.AddKey("ES256", "k1")
	m.made("credentials", `{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"users","credentialSecret":{"issuer":"`+p.Issuer()+`","jwksUri":"`+p.JWKSURL()+`","audience":"a"}}`)
	m.made("credentials", `{"credentialType":"target","credentialAuthType":"none","credentialName":"nothing"}`)
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	m.made("proxies", `{"proxyName":"p","proxyProxyCredentialId":"users","proxyTargetId":"vendor","proxyTargetCredentialId":"nothing"}`)
	now := time.Now()
	token := func(jti, sub string, issued time.Time) string {
		return "Authorization: Bearer " + signer.Token(p.Claims(map[string]any{"aud": "a", "jti": jti, "sub": sub, "iat": issued.Unix()}), nil)
	}
	a, b, c := token("t1", "alice", now), token("t2", "bob", now.Add(-time.Minute)), token("t3", "bob", now)
	rrtest.Eventually(t, "the issuer's keys are there", func() bool { return g503(m, "/api/p/x", a) == 200 })
	for _, x := range []string{a, b, c} {
		m.get("/api/p/x", x).want(t, 200, "proxy-access-granted")
	}
	entry := m.made("blocklist", `{"jti":"t1","note":"leaked"}`)
	m.get("/api/p/x", a).want(t, 401, "proxy-access-denied")
	m.get("/api/p/x", b).want(t, 200, "proxy-access-granted")
	m.made("blocklist", `{"sub":"bob","before":"`+now.Add(-30*time.Second).UTC().Format(time.RFC3339)+`"}`)
	m.get("/api/p/x", b).want(t, 401, "proxy-access-denied")
	m.get("/api/p/x", c).want(t, 200, "proxy-access-granted")
	if err := m.reload(recordsGateway); err != nil {
		t.Fatal(err)
	}
	m.get("/api/p/x", a).want(t, 401, "proxy-access-denied")
	m.want(m.ask("DELETE", "blocklist/"+fmt.Sprint(entry["blockId"]), ""), 200)
	m.get("/api/p/x", a).want(t, 200, "proxy-access-granted")
	m.made("blocklist", `{"iss":"`+p.Issuer()+`"}`)
	for _, x := range []string{a, b, c} {
		m.get("/api/p/x", x).want(t, 401, "proxy-access-denied")
	}
}
