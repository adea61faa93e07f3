package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A reference to a secret that could not be resolved was taken as the secret, so that whoever sent the
// text of the reference was let in.
// Sources: apache/apisix#13667
// Here: A placeholder that does not resolve is an error that names it when the configuration loads. The text of one that
// does is no key.
func TestPeer_apisix_13667_AReferenceIsNoKey(t *testing.T) {
	for _, ref := range []string{"{env.RR_NOT_THERE}", "{file./nowhere/at/all}", "{http.vars.x}"} {
		refusedToLoad(t, strings.Replace(proxies(peerProxy("p", vendor)), "{env.RR_CALLER}", ref, 1), "proxy p: accept key", ref)
	}
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	for _, text := range []string{"{env.RR_CALLER}", "env.RR_CALLER", "{$RR_CALLER}", "$env://RR_CALLER", "$secret://vault/1/a/key", "${RR_CALLER}", ""} {
		g.get("/p/x", "X-API-Key: "+text).want(t, 401, "proxy-access-denied")
	}
	silent(t, u)
	g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
}

// The same through the management API: what looks like a reference there must be text, or its maker could read the operator's
// environment.
// Sources: apache/apisix#13667
// Here: Placeholders in what is made through the API are never expanded: the upstream gets the text itself.
func TestPeer_apisix_13667_ReferencesOfTheAPIAreText(t *testing.T) {
	m := startManaged(t)
	_, key := m.caller("agent")
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	for i, text := range []string{"{env.RR_VENDOR}", "{file./etc/passwd}", "{http.request.header.X-Api-Key}"} {
		name := fmt.Sprint("p", i)
		m.made("credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"bearer","credentialName":%q,"credentialSecret":{"token":%q}}`, name, text))
		m.made("proxies", fmt.Sprintf(`{"proxyName":%q,"proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":%q}`, name, name))
		m.get("/api/"+name+"/x", "Authorization: "+key).want(t, 200, "proxy-access-granted")
		if got := one(t, m.u).Header.Get("Authorization"); got != "Bearer "+text {
			t.Errorf("of %s the upstream got %q", text, got)
		}
	}
}

// An empty text was accepted as the credential for an upstream, and requests went out with
// empty passwords and tokens.
// Sources: TykTechnologies/tyk#6699, TykTechnologies/tyk#6702
// Here: An empty variable, file or text is refused when it is loaded, for every kind, and 422 through the API.
func TestPeer_tyk_6699_EmptySecretsAreRefused(t *testing.T) {
	t.Setenv("RR_EMPTY", "")
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "\n")
	for _, secret := range []string{"{env.RR_EMPTY}", "{file." + empty + "}", `""`} {
		for _, present := range []string{
			"key " + secret, "bearer " + secret, "basic svc " + secret, "jwt " + secret, "custom {\nheader X-A " + secret + "\n}",
			"oauth2 {\ngrant client_credentials\ntoken_url https://as.example/\nclient_id rr\nclient_secret " + secret + "\n}",
			"sigv4 {\naccess_key_id a\nsecret_access_key " + secret + "\nregion r\nservice s\n}",
		} {
			refusedToLoad(t, proxies(peerProxy("p", present)))
		}
	}
	m := startManaged(t)
	for kind, body := range map[string]string{"bearer": `{"token":""}`, "key": `{"key":""}`, "jwt": `{"token":""}`, "custom": `{"headers":{"X-A":""}}`} {
		a := m.ask("POST", "credentials", `{"credentialType":"target","credentialAuthType":"`+kind+`","credentialName":"`+kind+`","credentialSecret":`+body+`}`)
		if a.Status != 422 {
			t.Errorf("%s: %d %s", kind, a.Status, a.Body)
		}
	}
}

// A sandbox went on when a placeholder had not been resolved, or when a part that it needs had not
// started.
// Sources: NVIDIA/OpenShell#2161, NVIDIA/OpenShell#2162
// Here: A reload with a secret that is not there is refused as a whole, and the configuration that runs goes on with what it has.
func TestPeer_openshell_2161_AReloadWithoutASecretChangesNothing(t *testing.T) {
	site := proxies(peerProxy("p", vendor))
	g, u := startPeer(t, site)
	for _, broken := range []string{strings.Replace(site, "RR_VENDOR", "RR_NOT_THERE", 1), strings.Replace(site, "RR_CALLER", "RR_NOT_THERE", 1)} {
		if err := g.reload(broken); err == nil || !strings.Contains(err.Error(), "{env.RR_NOT_THERE}") {
			t.Errorf("got %v", err)
		}
		g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, u).Header.Get("Authorization"); got != "Bearer "+vendorKey {
			t.Errorf("the upstream got %q", got)
		}
	}
}

// A file with a secret was replaced by an empty one, and from then on requests went out
// without a credential.
// Sources: TykTechnologies/tyk#6699, TykTechnologies/tyk#6702
// Here: A file that becomes empty, or goes away, leaves its last good value in use, and the log says so.
func TestPeer_tyk_6702_AnEmptiedFileChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, vendorKey)
	g, u := startPeer(t, proxies(peerProxy("p", "bearer {file."+path+"}")))
	for _, change := range []func() error{func() error { return os.WriteFile(path, nil, 0o600) }, func() error { return os.Remove(path) }} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		g.WaitLog("a secret file cannot be used; its last good value stays in use")
		g.get("/p/x", withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, u).Header.Get("Authorization"); got != "Bearer "+vendorKey {
			t.Errorf("the upstream got %q", got)
		}
	}
}

// Values that came from a caller or a secret were expanded once more, so that a text with a placeholder in it read the
// environment of the server.
// Sources: GHSA-j8px-rmrx-76h9, caddyserver/caddy#7761
// Here: Values are plain text: a secret, a claim, a header, a path that contains `{env.X}` goes out as it is.
// Topic: lifecycle
func TestPeer_GHSA_j8px_rmrx_76h9_ValuesAreNotExpandedAgain(t *testing.T) {
	t.Setenv("RR_LOOKS", "{env.RR_CANARY}{http.request.header.X-In}")
	t.Setenv("RR_CANARY", "canary-of-the-environment")
	g, u := startPeer(t, proxies(peerProxy("p", "custom {\nheader X-A {env.RR_LOOKS}\nquery q {env.RR_LOOKS}\n}")))
	g.get("/p/%7Benv.RR_CANARY%7D?x={env.RR_CANARY}", withKey, "X-In: {env.RR_CANARY}").want(t, 200, "proxy-access-granted")
	got := one(t, u)
	if got.Contains("canary-of-the-environment") || got.Header.Get("X-A") != "{env.RR_CANARY}{http.request.header.X-In}" || got.Header.Get("X-In") != "{env.RR_CANARY}" {
		t.Errorf("the upstream got %s with %v", got.URI, got.Header)
	}
}
