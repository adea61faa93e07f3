package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/store"
)

func TestRulesInABody(t *testing.T) {
	const head = `{"proxyName":"p","proxyProxyCredentialId":"a","proxyTargetId":"b","proxyTargetCredentialId":"c"`
	p, err := DecodeProxy([]byte(head+`,"proxyRules":[{"effect":"allow","methods":["GET"],"paths":["/v1/*"]},{"effect":"deny","path":{"path":{"pattern":"^/v1/admin"},"presence":"must_exist"}}]}`), nil)
	if err != nil || len(p.Rules) != 2 || p.Rules[0].Rule.Paths[0] != "/v1/*" || p.Rules[1].Rule.PathRegexp != "^/v1/admin" {
		t.Fatalf("%+v %v", p, err)
	}
	p.Head = store.Head{ID: "0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61", Client: "default", Version: 1}
	p.Rules[0].ID, p.Rules[1].ID = "r1", "r2"
	shown, err := json.Marshal(ShowProxy(p))
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeProxy(shown, p)
	if err != nil || len(again.Rules) != 2 || again.Rules[0].ID != "r1" || again.Rules[1].ID != "r2" {
		t.Errorf("what was shown is not taken back: %+v %v", again, err)
	}
	if same, err := DecodeProxy([]byte(`{"proxyName":"q"}`), p); err != nil || len(same.Rules) != 2 {
		t.Errorf("rules that are not said do not stay: %v %v", same, err)
	}
	if none, err := DecodeProxy([]byte(`{"proxyRules":[]}`), p); err != nil || len(none.Rules) != 0 {
		t.Errorf("no rules: %v %v", none, err)
	}
	for body, pointer := range map[string]string{
		`"proxyRules":{}`: "/proxyRules", `"proxyRules":[1]`: "/proxyRules/0", `"proxyRules":[{"effect":"allow"},{"effect":"x"}]`: "/proxyRules/1/effect",
		`"proxyRules":[{"effect":"allow","path":{"path":{"pattern":"("}}}]`: "/proxyRules/0/path/path/pattern", `"proxyRules":[{"effect":"allow","nope":1}]`: "/proxyRules/0/nope",
	} {
		_, err := DecodeProxy([]byte(head+","+body+"}"), nil)
		faults, ok := err.(Faults)
		if !ok || len(faults) != 1 || faults[0].Pointer != pointer {
			t.Errorf("%s: %v, want a fault at %s", body, err, pointer)
		}
	}
}

func TestAStoredSecretGoesToNoOtherHosts(t *testing.T) {
	old := &store.Credential{
		Head: store.Head{ID: "0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61", Client: "default", Version: 1}, Name: "x", Side: store.TargetSide, AuthType: "bearer",
		Spec: store.Secret(`{"kind":"bearer","token":"t"}`), Hosts: []string{"a.example", "b.example"},
	}
	for _, tt := range []struct {
		body string
		ok   bool
	}{
		{`{"credentialHosts":["a.example"]}`, true}, {`{"credentialHosts":["b.example","a.example"]}`, true}, {`{"credentialName":"y"}`, true},
		{`{"credentialHosts":["evil.example"]}`, false}, {`{"credentialHosts":["a.example","evil.example"]}`, false},
		{`{"credentialHosts":[]}`, false}, {`{"credentialHosts":null}`, false}, {`{"credentialHosts":["*.example"],"credentialSecret":{"prefix":"Bearer"}}`, false},
		{`{"credentialHosts":["evil.example"],"credentialSecret":{"token":"t"}}`, true},
	} {
		_, _, err := DecodeCredential([]byte(tt.body), old)
		if (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "say all secrets again") {
			t.Errorf("%s: %v", tt.body, err)
		}
	}
}
