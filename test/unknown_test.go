package test

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// TestAnUnknownProxyTellsNobodyTheCredential: for a proxy that does not exist another one
// looks at the request in vain, so that both are alike. What the caller presents must not go
// to that one's introspection endpoint, which may be another client's.
func TestAnUnknownProxyTellsNobodyTheCredential(t *testing.T) {
	m := startManaged(t)
	_, key := m.caller("agent")
	p := idp.New(t)
	good := p.Opaque(map[string]any{"sub": "svc-1", "exp": time.Now().Add(time.Hour).Unix()})
	m.made("/rr/clients", `{"clientId":"acme","clientName":"Acme"}`)
	for _, body := range [][2]string{
		{"credentials", `{"credentialType":"proxy","credentialAuthType":"introspect","credentialName":"theirs","credentialSecret":{"url":"` + p.IntrospectionURL() + `","clientAuth":"none"}}`},
		{"credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"vendor","credentialSecret":{"token":"` + vendorKey + `"}}`},
		{"targets", `{"targetName":"vendor","targetBaseURL":"` + m.u.URL + `"}`},
		{"proxies", `{"proxyName":"theirs","proxyAlias":"theirs","proxyProxyCredentialId":"theirs","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor"}`},
	} {
		m.made("/rr/clients/acme/"+body[0], body[1])
	}
	m.get("/api/theirs/x", bearerOf(good)).want(t, 200, "proxy-access-granted")
	asked := p.IntrospectionCount()
	for n := range 30 {
		for i, token := range []string{key, good} {
			a := m.do("GET", fmt.Sprintf("/api/unknown-%d/x", n), "", bearerOf(token), fmt.Sprintf("X-Forwarded-For: 203.0.113.%d", i))
			if a.Status != 429 { // the failures count
				a.want(t, 401, "proxy-access-denied")
			}
		}
	}
	all := p.Introspections()[asked:]
	if len(all) == 0 {
		t.Error("the endpoint was not asked: unknown proxies are not like this one")
	}
	for _, q := range all {
		if token := q.Form.Get("token"); token == key || token == good {
			t.Errorf("the endpoint of another proxy is told %s", token)
		}
	}
}
