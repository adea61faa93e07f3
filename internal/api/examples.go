package api

import (
	"encoding/json"
	"fmt"
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
	exampleTime   = "2027-01-31T12:00:00Z"
	exampleHash   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

var (
	exampleDone = sample(`{"message":"Success"}`)

	exampleClientRequest = sample(`{"clientId":"acme","clientName":"Acme Ltd"}`)
	exampleClients       = sample(`{"clients":[{"clientId":"acme","clientName":"Acme Ltd"}],"message":"Success"}`)

	exampleCredentialRequest = sample(`{"credentialName":"billing-agent","credentialType":"proxy","credentialAuthType":"key"}`)
	exampleCredentials       = sample(`{"credentials":[{"credentialId":"%s","credentialName":"billing-agent","credentialType":"proxy","credentialAuthType":"key"}],"message":"Success"}`, exampleCaller)
	exampleRotateRequest     = sample(`{"overlap":"24h"}`)
	exampleConsentRequest    = sample(`{"redirectUri":"https://gateway.example.com/manage/oauth2/callback"}`)
	exampleConsent           = sample(`{"authorizationUrl":"https://login.example.com/authorize?client_id=rr&response_type=code&state=…","redirectUri":"https://gateway.example.com/manage/oauth2/callback","message":"Success"}`)

	exampleTargetRequest = sample(`{"targetName":"stripe","targetBaseURL":"https://api.stripe.com"}`)
	exampleTargets       = sample(`{"targets":[{"targetId":"%s","targetName":"stripe","targetBaseURL":"https://api.stripe.com"}],"message":"Success"}`, exampleTarget)

	exampleProxyRequest = sample(`{"proxyName":"stripe-payment-api","proxyProxyCredentialId":"%s","proxyTargetId":"%s","proxyTargetCredentialId":"%s"}`, exampleCaller, exampleTarget, exampleVendor)
	exampleProxies      = sample(`{"proxies":[{"proxyId":"%s","proxyName":"stripe-payment-api","proxyProxyCredentialId":"%s","proxyTargetId":"%s","proxyTargetCredentialId":"%s"}],"message":"Success"}`, exampleProxy, exampleCaller, exampleTarget, exampleVendor)
	exampleCheckRequest = sample(`{"method":"GET","path":"/v1/charges"}`)
	exampleCheck        = sample(`{"decision":"proxy-access-denied","status":403,"credential":"billing-agent","rules":[{"scope":"proxy","what":"allow rule 1","result":"does not match"}],"message":"Success"}`)

	exampleRuleRequest = sample(`{"effect":"allow"}`)
	exampleRules       = sample(`{"rules":[{"ruleId":"%s","effect":"allow"}],"message":"Success"}`, exampleOther)

	exampleBlockRequest = sample(`{"sub":"svc-7"}`)
	exampleBlocklist    = sample(`{"blocklist":[{"id":"%s","sub":"svc-7"}],"message":"Success"}`, exampleOther)

	exampleAudit = sample(`{"audit":[{"seq":42,"time":"%s","actor":{"kind":"user","name":"root","address":"192.0.2.7"},"action":"rotate","resource":"credentials",`+
		`"id":"%s","client":"default","name":"billing-agent","fields":["credentialSecret"],"previous":"%s","hash":"%[3]s"}],"message":"Success"}`, exampleTime, exampleCaller, exampleHash)
	exampleVerdict = sample(`{"valid":true,"entries":42,"message":"Success"}`)

	exampleExportRequest = sample(`{"passphrase":"correct horse battery staple"}`)
	exampleImportRequest = sample(`{"passphrase":"correct horse battery staple","archive":"Y2FkZHktcnIgYXJjaGl2ZQE…"}`)
	exampleImported      = sample(`{"records":{"credentials":2,"proxies":1,"targets":1},"message":"Success"}`)
	exampleRotation      = sample(`{"records":1234,"message":"Success"}`)
	exampleHealth        = sample(`{"status":"ok","records":{"clients":1,"credentials":2,"targets":1,"proxies":1,"blocklist":0},"message":"Success"}`)
)
