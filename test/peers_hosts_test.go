package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// A proxy compared the Host header with what a secret was for and dialled another host, so
// that the secret could be sent to whoever the caller named.
// Sources: superfly/tokenizer#56
// Here: Where a request goes is the target's URL alone. Host, the absolute form, `X-Forwarded-Host` and the like decide nothing, and the
// upstream gets its own name as Host.
func TestPeer_tokenizer_56_TheCheckedHostIsTheDialledHost(t *testing.T) {
	g, u := startPeer(t, proxies(peerProxy("p", vendor)))
	evil := rrtest.NewUpstream(t)
	for _, head := range []string{
		"GET http://" + evil.Addr + "/p/x HTTP/1.1\r\nHost: " + evil.Addr + "\r\n",
		"GET http://" + evil.Addr + "/p/x HTTP/1.1\r\nHost: x\r\n",
		"GET /p/x HTTP/1.1\r\nHost: " + evil.Addr + "\r\n",
		"GET /p/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: " + evil.Addr + "\r\nForwarded: host=" + evil.Addr + "\r\nX-Original-Host: " + evil.Addr + "\r\n",
		"GET /p/http://" + evil.Addr + "/x HTTP/1.1\r\nHost: x\r\n",
		"GET /p/x?url=http://" + evil.Addr + " HTTP/1.1\r\nHost: x\r\nX-Target-Url: http://" + evil.Addr + "\r\n",
	} {
		rrtest.Raw(t, g.addr, head+withKey+"\r\nConnection: close\r\n\r\n")
		for _, r := range received(u) {
			if r.Host != u.Addr {
				t.Errorf("%s\nthe upstream's Host is %s", head, r.Host)
			}
		}
	}
	silent(t, evil)
}

// A stored secret could be sent to another host, port or scheme than the one it was given
// for, by adding a route.
// Sources: NVIDIA/OpenShell#2510
// Here: The binding belongs to the credential. Where it does not fit what is dialled, the answer is 403 `host-not-allowed` before anything is
// sent; a rotated secret has the same binding.
func TestPeer_openshell_2510_ASecretStaysWithItsHost(t *testing.T) {
	setSecrets(t)
	u, other := rrtest.NewUpstream(t), rrtest.NewUpstream(t)
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, vendorKey)
	g := start(t, hostBound, "UPSTREAM", u.Addr, "OTHER", other.Addr, "{env.RR_VENDOR}", "{file."+file+"}")
	for _, secret := range []string{vendorKey, "sk_test_rotated-89abcdef0123456789abcdef"} {
		write(t, file, secret)
		rrtest.Eventually(t, "the secret is used", func() bool {
			g.get("/fine", withKey).want(t, 200, "proxy-access-granted")
			return one(t, u).Header.Get("Authorization") == "Bearer "+secret
		})
		g.get("/other", withKey).want(t, 403, "host-not-allowed")
		g.get("/other", withKey, "Host: "+u.Addr).want(t, 403, "host-not-allowed")
		silent(t, other)
	}
}

// Secrets were found by the name of a variable, so that two vendors whose keys had the same
// name got each other's.
// Sources: onsails/right-agent#92
// Here: A proxy names its credential, and the credential its hosts; two that go into the same header of two vendors never meet.
func TestPeer_right_agent_92_TwoVendorsOneHeader(t *testing.T) {
	setSecrets(t)
	t.Setenv("RR_SECOND", "the-second-vendors-key-0123456789")
	u, second := rrtest.NewUpstream(t), rrtest.NewUpstream(t)
	two := strings.Replace(peerProxy("two", "key {env.RR_SECOND}"), "UPSTREAM", "OTHER", 1)
	g := start(t, proxies(peerProxy("one", "key {env.RR_VENDOR}"), two), "UPSTREAM", u.Addr, "OTHER", second.Addr)
	for range 3 {
		g.get("/one/x", withKey).want(t, 200, "proxy-access-granted")
		g.get("/two/x", withKey).want(t, 200, "proxy-access-granted")
		if a, b := one(t, u).Header["X-Api-Key"], one(t, second).Header["X-Api-Key"]; fmt.Sprint(a) != "["+vendorKey+"]" || fmt.Sprint(b) != "[the-second-vendors-key-0123456789]" {
			t.Errorf("the vendors got %q and %q", a, b)
		}
	}
}

// A wildcard that made no sense as a host was accepted when it was configured, and the
// process crashed when it was used.
// Sources: dam-agents/dam#175
// Here: Bindings are read when they are loaded, from the configuration or through the API; `*` stands for one label, and not for a public suffix.
func TestPeer_dam_175_BadWildcardsAreRefusedAtLoad(t *testing.T) {
	list := []string{"*", "*.com", "a.*.test", "*a.test", "**.a.test", "*.", ".", "a.test/*", "https://*", "a.test:*", "{env.HOST}"}
	for _, bad := range list {
		refusedToLoad(t, "{\n\trr {\n\t\tcredential c present bearer {env.RR_VENDOR} {\n\t\t\thosts \""+bad+"\"\n\t\t}\n\t}\n}\nhttp://:GATEPORT {\n\trr_gateway\n}\n", "host \""+bad+"\"")
	}
	m := startManaged(t)
	for _, bad := range list {
		a := m.ask("POST", "credentials", `{"credentialType":"target","credentialAuthType":"bearer","credentialName":"x","credentialHosts":["`+bad+`"],"credentialSecret":{"token":"t"}}`)
		m.want(a, 422, `"pointer":"/credentialHosts`)
	}
}

// Hosts were compared letter by letter, so that a dot at the end or a capital let a request by,
// or kept a good one out.
// Sources: RFC 9110 section 4.2.3
// Here: Hosts are compared without case, without the dot at the end, as IDNA writes them, and with the scheme's port filled in.
func TestPeer_Requirement_HostsAreComparedAsHosts(t *testing.T) {
	bound := func(hosts, target string) string {
		return "{\n\trr {\n\t\tcredential c present bearer {env.RR_VENDOR} {\n\t\t\thosts " + hosts + "\n\t\t}\n\t\tproxy p {\n\t\t\taccept key {env.RR_CALLER}\n\t\t\ttarget " + target + "\n\t\t\tpresent credential c\n\t\t}\n\t}\n}\nhttp://:GATEPORT {\n\trr_gateway\n}\n"
	}
	setSecrets(t)
	for _, same := range [][2]string{
		{"api.example.com", "https://API.Example.COM."}, {"API.EXAMPLE.COM.", "https://api.example.com:443"}, {"bücher.example", "https://xn--bcher-kva.example"},
	} {
		t.Run(same[0], func(t *testing.T) {
			if err := rrtest.Validate(t, strings.ReplaceAll(bound(same[0], same[1]), "GATEPORT", "0")); err != nil {
				t.Errorf("%s: %v", same[1], err)
			}
		})
	}
	for _, other := range [][2]string{
		{"api.example.com", "https://api.example.com:8443"}, {"api.example.com", "https://api.example.com.evil.test"}, {"*.example.com", "https://a.b.example.com"}, {"*.example.com", "https://example.com"},
	} {
		refusedToLoad(t, bound(other[0], other[1]), "may not be sent to")
	}
}

// A credential that is loaded for one host was allowed wherever another rule allowed to go.
// Sources: dam-agents/dam#92
// Here: Whoever may make targets and proxies through the API still cannot have a secret of the configuration sent to them.
func TestPeer_dam_92_AnotherRouteDoesNotWidenASecret(t *testing.T) {
	m := startAttacked(t)
	evil := rrtest.NewUpstream(t)
	m.edits("d", "POST", "credentials", anonymousCaller)
	m.edits("d", "POST", "targets", `{"targetName":"evil","targetBaseURL":"`+evil.URL+`"}`)
	a := m.edits("d", "POST", "proxies", `{"proxyName":"leak","proxyProxyCredentialId":"anybody","proxyTargetId":"evil","proxyTargetCredentialId":"operators"}`)
	if b := m.get("/api/leak/x"); a.Status < 400 && b.Status < 400 {
		t.Errorf("the route is made (%d) and answers %d", a.Status, b.Status)
	}
	silent(t, evil)
	// it still goes where the operator said
	m.get("/api/declared/x", "Authorization: Basic "+basicText("reports", otherKey)).want(t, 200, "proxy-access-granted")
	if got := one(t, m.u); got.Header.Get("Authorization") != "Bearer "+vendorKey {
		t.Errorf("the upstream got %v", got.Header)
	}
}
