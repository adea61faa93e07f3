package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

const managedSite = `{
	rr {
		egress allow 127.0.0.0/8
		throttle off
		credential ci-bot accept key {env.RR_CALLER}
		credential nobody accept key {env.RR_OTHER}
	}
}
:GATEPORT {
	rr_verify /manage/* {
		accept jwt_verify {
			jwks_url JWKS
			issuer ISSUER
			audience manage
		}
		accept credential ci-bot
		accept credential nobody
	}
	rr_api /manage/* {
		owner claim roles rr-admin
		editor claim roles rr-editor
		reader credential ci-bot
		owner user root-sub
		clients claim tenant
	}
	rr_gateway /api/*
}
:OPENPORT {
	rr_api /manage/* {
		owner user root
		clients *
	}
}
:BASICPORT {
	basic_auth /manage/* {
		root HASH
	}
	rr_api /manage/* {
		owner user root
		clients *
	}
}
`

func TestTheAPIOnASite(t *testing.T) {
	setSecrets(t)
	p := idp.New(t)
	signer := p.AddKey("ES256", "k1")
	open, basic := rrtest.FreePort(t), rrtest.FreePort(t)
	u := rrtest.NewUpstream(t)
	m := &managed{start(t, managedSite, "JWKS", p.JWKSURL(), "ISSUER", p.Issuer(), "OPENPORT", fmt.Sprint(open), "BASICPORT", fmt.Sprint(basic),
		"HASH", "$2a$04$fUDoiLigBtaFvL.CVJ6RvOEQtWO8uxHO8Vklor15vIAUIs97JW6Vm"), u}
	m.want(m.ask("POST", "/rr/clients", `{"clientId":"acme","clientName":"Acme"}`), 201)
	m.want(m.ask("POST", "/rr/clients", `{"clientId":"other","clientName":"Other"}`), 201)
	_, made := m.caller("from-the-api")

	token := func(roles any, tenant any, sub string) string {
		claims := map[string]any{"aud": "manage", "sub": sub}
		if roles != nil {
			claims["roles"] = roles
		}
		if tenant != nil {
			claims["tenant"] = tenant
		}
		return "Authorization: Bearer " + signer.Token(p.Claims(claims), nil)
	}
	rrtest.Eventually(t, "the issuer's keys are there", func() bool {
		return m.get("/manage/health", token("rr-admin", "acme", "a")).Status != http.StatusServiceUnavailable
	})
	const create = `{"credentialType":"proxy","credentialAuthType":"key","credentialName":%q}`
	for i, tt := range []struct {
		name         string
		caller       []string
		method, path string
		want         int
	}{
		{"nobody", nil, "GET", "/clients/acme/credentials", 401},
		{"an owner reads", []string{token("rr-admin", "acme", "a")}, "GET", "/clients/acme/credentials", 200},
		{"an owner, one role of several", []string{token([]any{"x", "rr-admin"}, "acme", "a")}, "GET", "/clients/acme/credentials", 200},
		{"an owner creates", []string{token("rr-admin", "acme", "a")}, "POST", "/clients/acme/credentials", 201},
		{"an editor creates", []string{token("rr-editor", "acme", "a")}, "POST", "/clients/acme/credentials", 201},
		{"an editor reads no audit log", []string{token("rr-editor", "acme", "a")}, "GET", "/clients/acme/audit", 403},
		{"an owner does", []string{token("rr-admin", "acme", "a")}, "GET", "/clients/acme/audit", 200},
		{"but not everybody's", []string{token("rr-admin", "acme", "a")}, "GET", "/audit", 403},
		{"another client is not there", []string{token("rr-admin", "acme", "a")}, "GET", "/clients/other/credentials", 404},
		{"nor default", []string{token("rr-admin", "acme", "a")}, "GET", "/clients/default/credentials", 404},
		{"nor one that does not exist", []string{token("rr-admin", "acme", "a")}, "GET", "/clients/none/credentials", 404},
		{"a list of clients", []string{token("rr-admin", []any{"acme", "other"}, "a")}, "GET", "/clients/other/credentials", 200},
		{"no client", []string{token("rr-admin", nil, "a")}, "GET", "/clients/acme/credentials", 404},
		{"a star is a name", []string{token("rr-admin", "*", "a")}, "GET", "/clients/acme/credentials", 404},
		{"no role", []string{token(nil, "acme", "a")}, "GET", "/clients/acme/credentials", 403},
		{"another role", []string{token("rr-admin2", "acme", "a")}, "GET", "/clients/acme/credentials", 403},
		{"a role in an object", []string{token(map[string]any{"rr-admin": true}, "acme", "a")}, "GET", "/clients/acme/credentials", 403},
		{"a user", []string{token(nil, "acme", "root-sub")}, "POST", "/clients/acme/credentials", 201},
		{"a credential of the configuration has no clients here", []string{"Authorization: " + callerKey}, "GET", "/clients/default/credentials", 404},
		{"a reader does not write", []string{"Authorization: " + callerKey}, "POST", "/clients/default/credentials", 403},
		{"a credential without a role", []string{"Authorization: " + otherKey}, "GET", "/clients/default/credentials", 403},
		{"a credential of the API", []string{"Authorization: " + made}, "GET", "/clients/default/credentials", 401},
		{"the same with /api", []string{token("rr-admin", "acme", "a")}, "GET", "/api/clients/acme/credentials", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body, headers := "", tt.caller
			if tt.method == "POST" {
				body, headers = fmt.Sprintf(create, fmt.Sprint("c", i)), append([]string{"Content-Type: application/json"}, headers...)
			}
			a := m.do(tt.method, "/manage"+tt.path, body, headers...)
			if a.Status != tt.want {
				t.Errorf("got %d, want %d: %s", a.Status, tt.want, a.Body)
			}
		})
	}
	audit := m.Admin("GET", "/rr/audit", "").Body
	if !strings.Contains(audit, `"kind":"credential","name":"jwt_verify: root-sub"`) {
		t.Errorf("the audit log does not say who: %s", audit)
	}

	other := &managed{&gateway{Caddy: m.Caddy, t: t, addr: rrtest.Addr(open)}, u}
	for _, h := range [][]string{nil, {"Authorization: Bearer x"}, {"X-User: root"}, {"Remote-User: root"}} {
		if a := other.get("/manage/clients/default/credentials", h...); a.Status != http.StatusForbidden {
			t.Errorf("without an authenticator %v gets %d", h, a.Status)
		}
	}
	other.addr = rrtest.Addr(basic)
	if a := other.get("/manage/clients/default/credentials", "Authorization: Basic cm9vdDpoaWNjdXA="); a.Status != 401 {
		t.Errorf("a wrong password gets %d", a.Status)
	}
	if a := other.get("/manage/audit", "Authorization: Basic cm9vdDpzZXNhbWU="); a.Status != 200 {
		t.Errorf("basic_auth's user gets %d %s", a.Status, a.Body)
	}
}

// A caller with the role of a proxy could approve its own proposal, and so have a secret sent where it chose.
// Sources: Infisical/agent-vault#140
// Here: What was made through the API to call has no way to the API, be it by a path or by the admin endpoint as a target.
// Topic: management
func TestPeer_agent_vault_140_ACallerCannotManage(t *testing.T) {
	m := startManaged(t)
	_, key, _ := m.usual()
	// the admin endpoint as an upstream would let every caller manage
	a := m.ask("POST", "targets", `{"targetName":"admin","targetBaseURL":"http://localhost:2019"}`)
	if err := m.reload(strings.Replace(recordsGateway, "egress allow 127.0.0.0/8", "", 1)); err != nil {
		t.Fatal(err)
	}
	if b := m.ask("POST", "targets", `{"targetName":"admin2","targetBaseURL":"http://localhost:2019"}`); b.Status != 422 {
		t.Errorf("a target at the admin endpoint: %d, with egress %d", b.Status, a.Status)
	}
	for _, path := range []string{"/rr/clients/default/credentials", "/api/rr/clients/default/credentials", "/clients/default/credentials"} {
		if a := m.get(path, "Authorization: "+key); a.Status != 401 && a.Status != 200 || strings.Contains(a.Body, "credentialId") {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
}
