package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A user who had lost a role, or whose account was taken over, still managed what belonged to others.
// Sources: Infisical/agent-vault#230, Infisical/agent-vault#232
// Here: A role is looked up for each request in the configuration of the moment; who has lost it gets 403 at once, and a client's name in the
// path opens no other client.
func TestPeer_agent_vault_232_ALostRoleIsLost(t *testing.T) {
	m := startAttacked(t)
	if a := m.edits("a", "GET", "credentials", ""); a.Status != 200 {
		t.Fatalf("the editor gets %d", a.Status)
	}
	if a := m.do("GET", "/a/clients/beta/credentials", "", "Authorization: editor-of-acme-0123456789abcdef"); a.Status != http.StatusNotFound {
		t.Errorf("another client's records: %d", a.Status)
	}
	if err := m.reload(strings.Replace(attackedSite, "editor credential ed-a\n", "", 1)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"credentials", "targets", "proxies", "audit"} {
		if a := m.edits("a", "GET", path, ""); a.Status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
	if a := m.edits("a", "POST", "targets", `{"targetName":"t","targetBaseURL":"`+m.u.URL+`"}`); a.Status != http.StatusForbidden {
		t.Errorf("it still creates: %d", a.Status)
	}
}

// The management API came with a key that was the same everywhere, and many never
// changed it.
// Sources: CVE-2020-13945, apache/apisix
// Here: There is no such key. On a site the API has no callers until roles are given, and only verified callers have one.
func TestPeer_CVE_2020_13945_NoDefaultKey(t *testing.T) {
	m := startAttacked(t)
	for _, key := range []string{"edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2", "admin", "root", "sk-1234", ""} {
		for _, header := range []string{"X-API-Key: ", "Authorization: ", "Authorization: Bearer ", "Kong-Admin-Token: ", "X-Tyk-Authorization: "} {
			if a := m.do("GET", "/a/clients/acme/credentials", "", header+key); a.Status != http.StatusUnauthorized {
				t.Errorf("%s%s: %d", header, key, a.Status)
			}
		}
	}
	port := m.vars[3]
	other := rrtest.Do(t, "GET", "http://127.0.0.1:"+port+"/manage/clients/default/credentials", "", "Authorization: Basic "+basicText("root", "root"))
	if other.Status != http.StatusForbidden {
		t.Errorf("a site without an authenticator: %d", other.Status)
	}
	keys := map[string]bool{}
	for n := range 20 {
		_, key := m.caller(fmt.Sprint("c", n))
		keys[key] = true
	}
	if len(keys) != 20 {
		t.Error("generated keys are the same")
	}
}

// An address in a header that anybody may send was believed, and the API took a stranger for this
// machine.
// Sources: CVE-2022-24112
// Here: Neither a role nor the limit of failures follows from X-Forwarded-For, X-Real-IP or Host, unless the site trusts the proxy that
// sends them.
func TestPeer_CVE_2022_24112_AHeaderIsNoAddress(t *testing.T) {
	m := startAttacked(t)
	port := m.vars[3]
	for _, header := range []string{"X-Real-IP: 127.0.0.1", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "True-Client-IP: ::1", "Host: localhost:2019", "Origin: http://localhost:2019"} {
		for _, path := range []string{"/manage/clients/default/credentials", "/manage/audit", "/rr/clients/default/credentials"} {
			a := rrtest.Do(t, "GET", "http://127.0.0.1:"+port+path, "", header)
			if a.Status == 200 && strings.Contains(a.Body, "clientId") || strings.HasPrefix(path, "/manage") && a.Status != http.StatusForbidden {
				t.Errorf("%s with %s: %d %.100s", path, header, a.Status, a.Body)
			}
		}
	}
}

// What a caller sent as a key went into an SQL statement, before anybody was
// authenticated.
// Sources: CVE-2026-42208
// Here: A key is looked up by its SHA-256, in memory; names in paths are looked up as texts. No store is asked on a request.
func TestPeer_CVE_2026_42208_KeysAreOnlyCompared(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	before := m.ask("GET", "credentials", "").Body
	for _, text := range []string{`' OR '1'='1`, `" OR ""="`, `x'; DROP TABLE credentials; --`, `' UNION SELECT token FROM keys --`, `*`, `%`, `agent`, `{"$ne":null}`, `$(id)`, `../../rr.db`, key + `' --`, `__proto__`} {
		for _, header := range []string{"X-API-Key: ", "Authorization: Bearer "} {
			m.get("/api/p/x", header+text).want(t, 401, "proxy-access-denied")
		}
		m.get("/api/p/x", "Authorization: Basic "+basicText(text, text)).want(t, 401, "proxy-access-denied")
	}
	for _, name := range []string{"p'--", "*", "%25", "p%27%20OR%201=1", "%7B%22$ne%22:null%7D"} {
		m.get("/api/"+name+"/x", "Authorization: "+key).want(t, 401, "proxy-access-denied")
		if a := m.ask("GET", "credentials/"+name, ""); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
	silent(t, m.u)
	if after := m.ask("GET", "credentials", "").Body; dropTimes(after) != dropTimes(before) {
		t.Errorf("the records have changed:\n%s\n%s", before, after)
	}
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
}

// dropTimes is a list without the times of last use.
func dropTimes(list string) string {
	var v map[string]any
	_ = json.Unmarshal([]byte(list), &v)
	records, _ := v["credentials"].([]any)
	for _, r := range records {
		delete(r.(map[string]any), "credentialLastUsedAt")
	}
	return fmt.Sprint(v)
}

// A secret that the configuration takes from a file was shown resolved by the server's own
// configuration API.
// Sources: greenpau/caddy-security#425
// Here: The configuration holds the placeholder and nothing else; the value is in the running process only.
// Topic: writeonly
func TestPeer_caddy_security_425_ConfigShowsPlaceholders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, vendorKey)
	site := proxies(peerProxy("p", "bearer {file."+path+"}"))
	g, _ := startPeer(t, site)
	g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
	config := g.Admin("GET", "/config/", "").Body
	if !strings.Contains(config, "{file."+path+"}") || !strings.Contains(config, "{env.RR_CALLER}") || strings.Contains(config, vendorKey) || strings.Contains(config, callerKey) {
		t.Errorf("/config/ shows %s", config)
	}
	for _, page := range []string{"/config/apps/rr/proxies/p/present", "/rr/tokens", "/rr/health", "/metrics", "/reverse_proxy/upstreams", "/debug/vars"} {
		if a := g.Admin("GET", page, ""); strings.Contains(a.Body, vendorKey) || strings.Contains(a.Body, callerKey) {
			t.Errorf("%s shows a secret", page)
		}
	}
}

// A tool that wrote its configuration back wrote the values in the place of the references to the
// environment.
// Sources: openclaw/openclaw#9627
// Here: Changing another part of the configuration through /config/ keeps the placeholders; what is resolved is never written
// back.
// Topic: writeonly
func TestPeer_openclaw_9627_WritingBackKeepsReferences(t *testing.T) {
	g, _ := startPeer(t, proxies(peerProxy("p", vendor)))
	if a := g.Admin("POST", "/config/apps/rr/proxies/p/rules", `[{"effect":"deny","paths":["/no"]}]`); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	g.get("/p/no", withKey).want(t, 403, "proxy-access-denied")
	config := g.Admin("GET", "/config/", "").Body
	if !strings.Contains(config, "{env.RR_VENDOR}") {
		t.Errorf("/config/ has no reference: %s", config)
	}
	if strings.Contains(config, vendorKey) || strings.Contains(config, callerKey) {
		t.Errorf("/config/ has a secret: %s", config)
	}
}

// A record was read, where its secret is masked, and sent back; the mask was then encrypted as the secret, or what was encrypted was encrypted
// once more.
// Sources: apache/apisix#13351, Kong/kong#2655
// Here: A secret that is absent in a change stays as it is. A record as GET returned it can be PUT back, any number of
// times.
// Topic: writeonly
func TestPeer_apisix_13351_AMaskedSecretIsKept(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	for n := range 3 {
		a := m.ask("GET", "credentials/vendor-key", "")
		if strings.Contains(a.Body, vendorKey) {
			t.Fatalf("GET shows the secret: %s", a.Body)
		}
		record, _ := json.Marshal(m.first("credentials", a))
		m.want(m.ask("PUT", "credentials/vendor-key", string(record)), 200)
		m.want(m.ask("PUT", "credentials/vendor-key", `{"credentialName":"vendor-key"}`), 200)
		m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
		if got := one(t, m.u).Header.Get("Authorization"); got != "Bearer "+vendorKey {
			t.Errorf("round %d: the upstream got %q", n, got)
		}
	}
	// the caller's own record, too
	record, _ := json.Marshal(m.first("credentials", m.ask("GET", "credentials/agent", "")))
	m.want(m.ask("PUT", "credentials/agent", string(record)), 200)
	m.get("/api/p/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
}

// The page of the configuration was open to any address, and showed headers with credentials in
// them.
// Sources: agentgateway/agentgateway#2191
// Here: A site serves no administration unless it says `rr_api`, and no page of it has a secret.
// Topic: writeonly
func TestPeer_agentgateway_2191_NothingOfTheConfigurationOnASite(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	for _, path := range []string{"/config/", "/config/apps/rr", "/rr/tokens", "/rr/clients", "/rr/health", "/metrics", "/debug/vars", "/api/config", "/openapi.json", "/rr/openapi.json"} {
		for _, auth := range []string{"X: y", "Authorization: " + key} {
			if a := m.get(path, auth); strings.Contains(a.Body, "{") && a.code() != "proxy-access-denied" || strings.Contains(a.Body, "credential\"") {
				t.Errorf("%s: %d %.200s", path, a.Status, a.Body)
			}
		}
	}
	for _, path := range []string{"credentials", "targets", "proxies", "blocklist", "audit", "/rr/clients", "/rr/tokens", "/rr/audit", "/config/"} {
		if a := m.ask("GET", path, ""); strings.Contains(a.Body, vendorKey) || strings.Contains(a.Body, key) || strings.Contains(a.Body, otherKey) {
			t.Errorf("%s shows a secret", path)
		}
	}
}
