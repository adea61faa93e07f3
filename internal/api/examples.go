package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// The examples of the OpenAPI document. A test holds them against its schemas.

// sample is JSON with some of these ids and times in it.
func sample(text string, values ...any) any { return json.RawMessage(fmt.Sprintf(text, values...)) }

const (
	exampleCaller = "0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61"
	exampleTarget = "0199d3a1-04b2-7f0e-8a44-6b1f0c9d2e35"
	exampleVendor = "0199d3a1-7c3d-7b91-b2f6-0e8d5a4c1f97"
	exampleProxy  = "0199d3a2-11aa-7d42-9c0b-7a6e4f3b2d18"
	exampleOther  = "0199d3a2-9e4c-7a05-8d3f-5b2c1e0f9a87"
	exampleHash   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	exampleKey    = "rr_live_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE5c0ffee1"
)

var exampleTime = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)

func exampleHead(id string) store.Head {
	return store.Head{ID: id, Client: store.DefaultClient, CreatedAt: exampleTime, UpdatedAt: exampleTime}
}

var (
	exampleAgent = store.Credential{
		Head: exampleHead(exampleCaller), Name: "billing-agent", Side: store.ProxySide, AuthType: "key", Spec: store.Secret(`{"kind":"key"}`),
	}
	exampleStripe  = store.Target{Head: exampleHead(exampleTarget), Name: "stripe", URL: "https://api.stripe.com"}
	examplePayment = store.Proxy{
		Head: exampleHead(exampleProxy), Name: "stripe-payment-api", Default: rule.Deny,
		CredentialIDs: []string{exampleCaller}, TargetID: exampleTarget, TargetCredentialID: exampleVendor,
	}
	exampleRule = store.Rule{
		ID: exampleOther, CreatedAt: exampleTime,
		Rule: rule.Rule{Effect: rule.Allow, Methods: []string{"GET"}, PathRegexp: "^/v1/charges", Note: "reading charges"},
	}
)

var (
	exampleDone = Done{success}

	exampleClientRequest = sample(`{"clientId":"acme","clientName":"Acme"}`)
	exampleClients       = Clients{[]wire.Client{wire.ShowClient(&store.Client{
		Head: store.Head{ID: "acme", Client: "acme", CreatedAt: exampleTime, UpdatedAt: exampleTime}, Name: "Acme",
	})}, "", success}

	exampleCredentialRequest = sample(`{"credentialType":"proxy","credentialAuthType":"key","credentialName":"billing-agent"}`)
	exampleCredentialMade    = Credentials{[]wire.Credential{wire.ShowCredential(&exampleAgent, time.Time{}, &wire.Generated{Key: exampleKey})}, "", success}
	exampleCredentials       = Credentials{[]wire.Credential{wire.ShowCredential(&exampleAgent, exampleTime, nil)}, "", success}
	exampleRotateRequest     = sample(`{"overlap":"24h"}`)
	exampleConsentRequest    = sample(`{"redirectUri":"https://gateway.example.com/manage/oauth2/callback"}`)
	exampleConsent           = sample(`{"authorizationUrl":"https://login.example.com/authorize?client_id=rr&response_type=code&state=…",` +
		`"redirectUri":"https://gateway.example.com/manage/oauth2/callback","message":"Success"}`)

	exampleTargetRequest = sample(`{"targetName":"stripe","targetBaseURL":"https://api.stripe.com"}`)
	exampleTargets       = Targets{[]wire.Target{wire.ShowTarget(&exampleStripe)}, "", success}

	exampleProxyRequest = sample(`{"proxyName":"stripe-payment-api","proxyProxyCredentialId":"%s","proxyTargetId":"%s","proxyTargetCredentialId":"%s","proxyDefaultRuleEffect":"deny"}`,
		exampleCaller, exampleTarget, exampleVendor)
	exampleProxies      = Proxies{[]wire.Proxy{wire.ShowProxy(&examplePayment)}, "", success}
	exampleCheckRequest = sample(`{"method":"DELETE","path":"/v1/charges/ch_1","headers":{"Authorization":"rr_live_…"}}`)
	exampleCheck        = Check{"proxy-access-denied", 403, "billing-agent", "", []CheckStep{
		{"credential billing-agent", "key", "recognises the caller"}, {"proxy", "allow GET ^/v1/charges", "does not match"},
	}, success}

	exampleTrial = Trial{200, 87, "https://api.stripe.com:443", "", success}

	exampleRuleRequest = sample(`{"effect":"allow","methods":["GET"],"path":{"path":{"pattern":"^/v1/charges"}},"notes":"reading charges"}`)
	exampleRules       = Rules{[]wire.Rule{wire.ShowRule(&exampleRule, &examplePayment.Head)}, "", success}

	exampleBlockRequest = sample(`{"sub":"svc-billing","before":"2027-01-31T12:00:00Z","note":"laptop stolen"}`)
	exampleBlocklist    = Blocklist{[]wire.Block{wire.ShowBlock(&store.Block{
		Head: exampleHead(exampleOther), Subject: "svc-billing", Before: exampleTime, Note: "laptop stolen",
	})}, "", success}

	exampleAudit = AuditLog{[]AuditEntry{{
		Seq: 42, Time: exampleTime, Actor: AuditActor{"user", "root", "192.0.2.7"}, Action: "rotate", Resource: store.Credentials,
		ID: exampleCaller, Client: store.DefaultClient, Name: "billing-agent", Fields: []string{"credentialRotatedAt", "credentialSecret"},
		Previous: exampleHash, Hash: exampleHash,
	}}, "", success}
	exampleVerdict = AuditVerdict{Valid: true, Entries: 42, Message: success}

	exampleExportRequest = sample(`{"passphrase":"correct horse battery staple"}`)
	exampleImportRequest = sample(`{"passphrase":"correct horse battery staple","archive":"Y2FkZHktcnIgYXJjaGl2ZQE…"}`)
	exampleImported      = Imported{Records: map[string]int{store.Credentials: 2, store.Proxies: 1, store.Targets: 1}, Message: success}
	exampleRotation      = Rotation{1234, success}
	exampleHealth        = Health{Status: "ok", Records: &HealthCounts{1, 2, 1, 1, 0}, Message: success}
)
