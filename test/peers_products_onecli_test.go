package test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// For one host there were a general secret and a consent, and which of them was sent was decided by the order in
// which they were found.
// Sources: onecli/onecli#428, onecli/onecli#429
// Here: A proxy names its one credential; two are an error with the line. Two proxies to one host, each with its own, do not mix, though the host, the
// path and the header are the same.
func TestPeer_onecli_428_OneCredentialAndNoOrder(t *testing.T) {
	refusedToLoad(t, proxies(peerProxy("p", vendor, "present key {env.RR_OTHER}")), "Caddyfile:", "present")
	s := newTokens(t)
	t.Setenv("OAUTH_SECRET", oauth2Secret)
	g, u := startPeer(t, proxies(peerProxy("general", vendor), peerProxy("consented", "oauth2 {\n"+byBasic+"\n}")), "TOKENURL", s.URL())
	for range 3 {
		g.get("/general/x", withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, u).Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+vendorKey {
			t.Errorf("the general secret's proxy sends %q", got)
		}
		g.get("/consented/x", withKey).want(t, 200, "proxy-access-granted")
		if got := one(t, u).Header["Authorization"]; len(got) != 1 || !s.Good(got[0]) {
			t.Errorf("the other one sends %q", got)
		}
	}
}

// A request line with a whole https address was not understood, or taken for another path than it has.
// Sources: onecli/onecli#259
// Here: The scheme and host of such an address decide nothing; its path and query are judged and sent as in any other request.
func TestPeer_onecli_259_WholeAddresses(t *testing.T) {
	g, u := startOne(t)
	for line, status := range map[string]int{
		"https://api.vendor.example/v1/x?a=1":       200,
		"https://api.vendor.example:8443/v1/x?a=1":  200,
		"HTTPS://API.vendor.example/v1/x?a=1":       200,
		"https://api.vendor.example/v1/admin":       403,
		"https://api.vendor.example/v1/%2e%2e/x":    400,
		"https://api.vendor.example//v1/x":          400,
		"https://api.vendor.example/v9?/v1/x":       403,
		"https://api.vendor.example":                400,
		"https://u:p@api.vendor.example/v1/x?a=1":   200,
		"https://api.vendor.example/v1/admin#/v1/x": 400,
	} {
		answer, got := raw(t, g.addr, "GET "+line+" HTTP/1.1\r\nHost: api.vendor.example\r\n"+withKey+"\r\nConnection: close\r\n\r\n")
		if got != status {
			t.Errorf("%s: got %d, want %d: %.300s", line, got, status, answer)
		}
		if status != 200 {
			silent(t, u)
		} else if r := one(t, u); r.URI != "/base/v1/x?a=1" || r.Host != u.Addr {
			t.Errorf("%s: the upstream got %s for %s", line, r.URI, r.Host)
		}
	}
}

// Addresses that lead back to the product were made from headers of the request, so whoever sent the request decided where
// browsers, and with them codes and tokens, went.
// Sources: onecli/onecli#451, CVE-2024-21498, CVE-2024-21499
// Here: A consent comes back to the `url` that the operator has said, or to the address that whoever asks for it has named; `Host` and `X-Forwarded-*` are
// not asked. Metadata and challenges name the host that was asked, and no forwarded one of whom nobody trusts.
func TestPeer_onecli_451_AddressesAreNotMadeFromHeaders(t *testing.T) {
	lies := []string{"X-Forwarded-Host: evil.test", "X-Forwarded-Proto: javascript", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /evil", "Forwarded: host=evil.test;proto=javascript", "X-Original-Host: evil.test"}
	t.Run("consents", func(t *testing.T) {
		setSecrets(t)
		g := start(t, `{
	rr {
		egress allow 127.0.0.0/8
		credential editor accept key {env.RR_CALLER}
	}
}
:GATEPORT {
	rr_verify /manage/* {
		accept credential editor
	}
	rr_api /manage/* {
		editor credential editor
		url https://gateway.example.com
	}
}
`)
		m := &managed{g, rrtest.NewUpstream(t)}
		m.made("credentials", `{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"drive","credentialSecret":{"grant":"authorization_code",
			"authorizationUrl":"http://127.0.0.1:9/authorize","tokenUrl":"http://127.0.0.1:9/token","clientId":"rr","clientAuth":"none"}}`)
		const path = "/manage/clients/default/credentials/drive/oauth2/authorize"
		for _, host := range []string{g.addr, "evil.test"} {
			a := g.do("POST", path, `{}`, append(lies, "Host: "+host, "Content-Type: application/json", "Authorization: "+callerKey)...)
			var asked struct{ AuthorizationURL string }
			if err := json.Unmarshal([]byte(a.Body), &asked); err != nil || a.Status != 200 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			where, err := url.Parse(asked.AuthorizationURL)
			if err != nil {
				t.Fatal(err)
			}
			if back := where.Query().Get("redirect_uri"); !strings.HasPrefix(back, "https://gateway.example.com/") || strings.Contains(fmt.Sprint(a.Header, a.Body), "evil") {
				t.Errorf("Host %s: browsers come back to %s", host, back)
			}
		}
	})
	t.Run("metadata", func(t *testing.T) {
		p := idp.New(t)
		p.AddKey("ES256", "k1")
		g, _ := startIssuer(t, p, "")
		a := g.get("/x", lies...)
		doc := g.get("/.well-known/oauth-protected-resource", lies...)
		if a.Status != 401 || doc.Status != 200 || !strings.Contains(doc.Body, "http://"+g.addr) {
			t.Fatalf("%d, %d %s", a.Status, doc.Status, doc.Body)
		}
		if all := fmt.Sprint(a.Header, a.Body, doc.Header, doc.Body); strings.Contains(all, "evil") || strings.Contains(all, "javascript") {
			t.Errorf("somebody is led away: %s", all)
		}
	})
}

// Somebody had consented, and the consent was never used: requests went out without it, and all that was seen was the vendor's
// own 401.
// Sources: onecli/onecli#482
// Here: As long as there is no token nothing is sent: 502 `target-credential-failed`, which is the gateway's own answer, and a log line that says
// that nobody has consented yet.
func TestPeer_onecli_482_WithoutAConsentNothingIsSent(t *testing.T) {
	m := startManaged(t)
	_, key := m.caller("agent")
	m.made("credentials", `{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"drive","credentialSecret":{"grant":"authorization_code",
		"authorizationUrl":"http://127.0.0.1:9/authorize","tokenUrl":"http://127.0.0.1:9/token","clientId":"rr","clientAuth":"none"}}`)
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	m.made("proxies", `{"proxyName":"p","proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":"drive"}`)
	m.get("/api/p/x", "Authorization: "+key).want(t, 502, "target-credential-failed")
	silent(t, m.u)
	e := m.refusal(func(e map[string]any) bool { return e["code"] == "target-credential-failed" })
	if !strings.Contains(fmt.Sprint(e["reason"]), "consent") || e["level"] != "error" {
		t.Errorf("the log has %v", e)
	}
}
