package test

import (
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// What looks credentials up was taken when the program started, as nothing, and stayed nothing when there
// was something later.
// Sources: Infisical/agent-vault#269
// Here: The store may be opened long after the start, by the first call of the API. What runs by then sees what is made: a proxy of the
// configuration asks the blocklist that did not exist when it was loaded, without a reload.
func TestPeer_agent_vault_269_WhatComesAfterTheStart(t *testing.T) {
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	g, _ := startIssuer(t, p, "")
	token := bearer(p.Token("k1", map[string]any{"jti": "t1"}, nil))
	other := bearer(p.Token("k1", map[string]any{"jti": "t2"}, nil))
	g.get("/", token).want(t, 200, "proxy-access-granted")
	if a := g.Admin("POST", "/rr/clients/default/blocklist", `{"jti":"t1"}`); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	g.get("/", token).want(t, 401, "proxy-access-denied")
	g.get("/", other).want(t, 200, "proxy-access-granted")
}

// Whether a secret is in use was asked of some of the places that can use it, so that one that was
// needed could be deleted.
// Sources: Infisical/agent-vault#272
// Here: Whatever a proxy refers to (each of its callers' credentials, its target, its target credential) is not deleted without `force=true`; the
// answer names what uses it, and calls go on.
func TestPeer_agent_vault_272_WhatIsInUseIsNotDeleted(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	m.caller("second")
	m.want(m.ask("PUT", "proxies/p", `{"proxyProxyCredentialIds":["agent","second"]}`), 200)
	for _, used := range []string{"credentials/agent", "credentials/second", "credentials/vendor-key", "targets/vendor"} {
		a := m.ask("DELETE", used, "")
		m.want(a, 409, `"conflict"`, `"users"`)
		if !strings.Contains(a.Body, `p`) {
			t.Errorf("%s: %s", used, a.Body)
		}
		m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
	}
	m.want(m.ask("DELETE", "proxies/p", ""), 200)
	for _, free := range []string{"credentials/agent", "credentials/second", "credentials/vendor-key", "targets/vendor"} {
		m.want(m.ask("DELETE", free, ""), 200)
	}
}
