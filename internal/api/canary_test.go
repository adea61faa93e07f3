package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

// secrets are one credentialSecret of each kind, with CANARY in whatever is secret.
var secrets = []struct{ side, authType, secret string }{
	{"proxy", "key", `{"key":"CANARY-key-0123456789abcdef"}`},
	{"proxy", "bearer", `{"token":"CANARY-token-0123456789abcdef"}`},
	{"proxy", "basicAuth", `{"username":"reports","password":"CANARY-password-01234567"}`},
	{"proxy", "jwt", `{"token":"CANARY-jwt-0123456789abcdef"}`},
	{"proxy", "jwtVerify", `{"issuer":"https://issuer.example/","audience":["a"],"secret":"CANARY-shared-secret-0123456789abcdef"}`},
	{"target", "apiKey", `{"key":"CANARY-key-0123456789abcdef","header":"X-API-Key"}`},
	{"target", "bearer", `{"token":"CANARY-token-0123456789abcdef"}`},
	{"target", "basic", `{"username":"CANARY-user","password":"CANARY-password"}`},
	{"target", "jwt", `{"secret":"CANARY-signing-secret-0123456789abcdef","claims":{"iss":"gateway","pin":"CANARY-claim"}}`},
	{"target", "oauth2", `{"grant":"client_credentials","tokenUrl":"https://login.example/token","clientId":"rr","clientSecret":"CANARY-client-secret","params":{"extra":"CANARY-param"}}`},
	{"target", "customToken", `{"url":"https://login.example/?key=CANARY-query","body":"{\"password\":\"{secret.p}\"}","secrets":{"p":"CANARY-password"},"token":{"path":"$.token"},"requestHeaders":{"X-Key":"CANARY-header"}}`},
	{"target", "custom", `{"headers":{"X-One":"CANARY-one"},"query":{"two":"CANARY-two"},"cookies":{"three":"CANARY-three"}}`},
	{"target", "sigv4", `{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"CANARY-secret-access-key","sessionToken":"CANARY-session","region":"eu-central-1","service":"s3"}`},
}

// TestNoSecretIsShown goes through all that can be done with credentials, rightly and
// wrongly, and looks for secrets in every answer, in the log, the audit log and the document.
func TestNoSecretIsShown(t *testing.T) {
	k := newKit(t)
	for i, s := range secrets {
		name := fmt.Sprintf("%s-%s", s.side, s.authType)
		body := fmt.Sprintf(`{"credentialName":%q,"credentialType":%q,"credentialAuthType":%q,"credentialSecret":%s}`, name, s.side, s.authType, s.secret)
		id, _ := k.make("acme", "credentials", body, key(name))
		k.call("POST", "/clients/acme/credentials", body, key(name)).want(http.StatusCreated)
		one := "/clients/acme/credentials/" + id
		read := k.call("GET", one, "").want(http.StatusOK)
		k.call("PUT", one, string(lift(t, read, "credentials"))).want(http.StatusOK)
		k.call("PUT", one, fmt.Sprintf(`{"credentialSecret":%s}`, strings.ReplaceAll(s.secret, "CANARY-", "CANARY-new-"))).want(http.StatusOK)
		k.call("POST", one+"/rotate", fmt.Sprintf(`{"credentialSecret":%s}`, strings.ReplaceAll(s.secret, "CANARY-", "CANARY-third-"))).want(http.StatusOK)
		// secrets where they do not belong
		for _, wrong := range []string{
			fmt.Sprintf(`{"credentialName":%s}`, s.secret),
			fmt.Sprintf(`{"credentialSecret":{"unknown":%s}}`, s.secret),
			fmt.Sprintf(`{"credentialSecret":[%s]}`, s.secret),
			fmt.Sprintf(`{"credentialAuthType":"CANARY-type","credentialRegion":"CANARY region","credentialSecret":%s}`, s.secret),
			`{"credentialExpiresAt":"CANARY-time","credentialHosts":["CANARY host"],"credentialType":"CANARY"}`,
			`{"credentialSecret":"CANARY-text"}`,
			`{"credentialSecret":{"key":["CANARY-list"]`,
			s.secret,
		} {
			if a := k.call("PUT", one, wrong); a.StatusCode/100 != 4 {
				t.Errorf("%s with %s: %d", name, wrong, a.StatusCode)
			}
			k.call("POST", one+"/rotate", wrong)
			k.call("POST", "/clients/acme/credentials", wrong)
			k.call("POST", "/store/import", fmt.Sprintf(`{"credentials":[%s]}`, wrong))
		}
		if i%2 == 0 {
			k.fake.err = store.ErrConflict
			k.call("POST", one+"/rotate", fmt.Sprintf(`{"credentialSecret":%s}`, s.secret))
			k.fake.err = nil
		}
	}
	k.call("GET", "/clients/acme/credentials", "").want(http.StatusOK)
	k.call("GET", "/audit", "").want(http.StatusOK)
	k.call("GET", "/audit", "", header("Accept", "application/x-ndjson")).want(http.StatusOK)
	k.call("GET", "/health", "").want(http.StatusOK)
	k.call("GET", "/openapi.json", "").want(http.StatusOK)
	k.call("GET", "/clients/acme/credentials?name=CANARY&cursor=CANARY", "").want(http.StatusBadRequest)
	log, err := json.Marshal(k.fake.log)
	if err != nil {
		t.Fatal(err)
	}
	for where, text := range map[string]string{"an answer": k.answers.String(), "the log": k.log.String(), "the audit log": string(log)} {
		if i := strings.Index(text, "CANARY"); i >= 0 {
			t.Errorf("%s has a secret: …%s…", where, text[max(0, i-200):min(len(text), i+60)])
		}
	}
	if !strings.Contains(k.answers.String(), "X-API-Key") {
		t.Error("what is no secret is not shown either")
	}
}
