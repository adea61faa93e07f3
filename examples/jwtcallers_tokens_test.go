package examples

import "maps"

type claims = map[string]any

// with is a token's claims with some of them changed; nil leaves one out.
func with(base, over claims) claims {
	changed := maps.Clone(base)
	maps.Copy(changed, over)
	return changed
}

// What tokens of the providers look like.
var (
	auth0 = claims{
		"iss": "https://tenant.eu.auth0.com/", "sub": "awZfdIir8YFdGZWkvCejDoUb7SjTDicx@clients", "aud": "https://gateway.example.com",
		"gty": "client-credentials", "azp": "awZfdIir8YFdGZWkvCejDoUb7SjTDicx", "scope": "read:charges", "permissions": []string{"read:charges"},
	}
	okta = claims{
		"ver": 1, "iss": "https://dev-000000.okta.com/oauth2/default", "aud": "https://gateway.example.com",
		"cid": "0oaReportBuilder02", "sub": "0oaReportBuilder02", "scp": []string{"gateway", "charges.read"},
	}
	cognito = claims{
		"iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI", "aud": nil, "token_use": "access", "version": 2,
		"client_id": "2example34567890", "sub": "2example34567890",
		"scope": "https://gateway.example.com/call https://gateway.example.com/charges.read",
	}
	entra = claims{
		"ver": "2.0", "iss": "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0", "jti": nil, "uti": "cUyDHVTFHEa2",
		"aud": "00001111-aaaa-2222-bbbb-3333cccc4444", "azp": "22223333-cccc-4444-dddd-5555eeee6666", "azpacr": "1",
		"sub": "bbbbbbbb-1111-2222-3333-cccccccccccc", "oid": "bbbbbbbb-1111-2222-3333-cccccccccccc", "roles": []string{"Charges.Read"},
		"tid": "aaaabbbb-0000-cccc-1111-dddd2222eeee",
	}
	entraV1 = with(entra, claims{
		"ver": "1.0", "iss": "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/", "aud": "api://00001111-aaaa-2222-bbbb-3333cccc4444",
		"azp": nil, "azpacr": nil, "appid": "22223333-cccc-4444-dddd-5555eeee6666", "appidacr": "1",
	})
	keycloak = claims{
		"iss": "https://sso.example.com/realms/prod", "aud": []string{"https://gateway.example.com", "account"}, "typ": "Bearer",
		"azp": "billing-worker", "sub": "f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e", "scope": "profile email",
		"realm_access":    claims{"roles": []string{"offline_access", "charges-reader"}},
		"resource_access": claims{"gateway": claims{"roles": []string{"refunds-creator"}}, "account": claims{"roles": []string{"view-profile"}}},
	}
	google = claims{
		"iss": "https://accounts.google.com", "aud": "https://gateway.example.com", "sub": "113774264463038321964", "azp": "113774264463038321964",
		"email": "billing-worker@my-project.iam.gserviceaccount.com", "email_verified": true, "jti": nil,
	}
	googleSelf = claims{
		"iss": "billing-worker@my-project.iam.gserviceaccount.com", "sub": "billing-worker@my-project.iam.gserviceaccount.com",
		"aud": "https://gateway.example.com", "jti": nil,
	}
	githubActions = claims{
		"iss": "https://token.actions.githubusercontent.com", "aud": "https://gateway.example.com",
		"sub": "repo:octo-org@123456/octo-repo@456789:ref:refs/heads/main", "repository": "octo-org/octo-repo", "repository_owner": "octo-org",
		"repository_id": "456789", "repository_owner_id": "123456", "ref": "refs/heads/main", "event_name": "push", "actor": "octocat",
		"job_workflow_ref": "octo-org/octo-repo/.github/workflows/refund.yml@refs/heads/main", "runner_environment": "github-hosted",
	}
	kubernetes = claims{
		"iss": "https://kubernetes.default.svc.cluster.local", "aud": []string{"https://gateway.example.com"}, "sub": "system:serviceaccount:billing:worker",
		"kubernetes.io": claims{
			"namespace": "billing", "pod": claims{"name": "worker-0", "uid": "900f80ed"}, "serviceaccount": claims{"name": "worker", "uid": "a709ef71"},
			"warnafter": 1717674962,
		},
	}
	spiffe = claims{
		"iss": nil, "jti": nil, "sub": "spiffe://example.org/ns/billing/sa/worker", "aud": []string{"https://gateway.example.com"},
	}
)

// jwtCalls are calls with tokens as the providers make them, changed in one thing.
var jwtCalls = []struct {
	file, name string
	token      claims
	method     string
	want       int
}{
	{"auth0", "as it is made", auth0, "GET", 200},
	{"auth0", "of the RFC 9068 profile", with(auth0, claims{"azp": nil, "gty": nil, "client_id": "awZfdIir8YFdGZWkvCejDoUb7SjTDicx"}), "GET", 200},
	{"auth0", "without the permission", with(auth0, claims{"permissions": []string{"read:charges-summary"}}), "GET", 403},
	{"auth0", "without the scope", auth0, "POST", 403},
	{"auth0", "with another scope", with(auth0, claims{"scope": "create:refunds:test read:charges"}), "POST", 403},
	{"auth0", "with the scope", with(auth0, claims{"scope": "read:charges create:refunds"}), "POST", 200},
	{"auth0", "iss without the slash", with(auth0, claims{"iss": "https://tenant.eu.auth0.com"}), "GET", 401},
	{"auth0", "of a user", with(auth0, claims{"sub": "auth0|6553da60a54af58e29493993"}), "GET", 401},
	{"auth0", "for userinfo only", with(auth0, claims{"aud": "https://tenant.eu.auth0.com/userinfo"}), "GET", 401},

	{"okta", "as it is made", okta, "GET", 200},
	{"okta", "without the scope of this call", with(okta, claims{"scp": []string{"gateway"}}), "GET", 403},
	{"okta", "without the scope of all calls", with(okta, claims{"scp": []string{"charges.read"}}), "GET", 403},
	{"okta", "refund by another client", with(okta, claims{"scp": []string{"gateway", "refunds.create"}}), "POST", 403},
	{"okta", "refund without its scope", with(okta, claims{"cid": "0oaBillingWorker01"}), "POST", 403},
	{"okta", "refund", with(okta, claims{"scp": []string{"gateway", "refunds.create"}, "cid": "0oaBillingWorker01"}), "POST", 200},
	{"okta", "of an unknown client", with(okta, claims{"cid": "0oaSomebodyElse003"}), "GET", 401},
	{"okta", "of the org authorization server", with(okta, claims{"iss": "https://dev-000000.okta.com", "aud": "https://dev-000000.okta.com"}), "GET", 401},

	{"cognito", "as it is made", cognito, "GET", 200},
	{"cognito", "bound to a resource", with(cognito, claims{"aud": "https://gateway.example.com"}), "GET", 200},
	{"cognito", "without the scope of this call", with(cognito, claims{"scope": "https://gateway.example.com/call"}), "GET", 403},
	{"cognito", "without the scope of all calls", with(cognito, claims{"scope": "https://gateway.example.com/charges.read"}), "GET", 403},
	{"cognito", "of a user through an SDK", with(cognito, claims{"scope": "aws.cognito.signin.user.admin"}), "GET", 403},
	{"cognito", "refund by another client", with(cognito, claims{"scope": "https://gateway.example.com/call https://gateway.example.com/refunds.create"}), "POST", 403},
	{"cognito", "refund without its scope", with(cognito, claims{"client_id": "1example23456789"}), "POST", 403},
	{"cognito", "of an unknown client", with(cognito, claims{"client_id": "3example45678901"}), "GET", 401},
	{"cognito", "ID token", with(cognito, claims{"token_use": "id", "aud": "2example34567890", "client_id": nil, "scope": nil}), "GET", 401},
	{"cognito", "for another use", with(cognito, claims{"token_use": "id"}), "GET", 401},

	{"entra", "version 2", entra, "GET", 200},
	{"entra", "version 1", entraV1, "GET", 200},
	{"entra", "without the role of this call", entra, "POST", 403},
	{"entra", "with another role", with(entra, claims{"roles": []string{"Refunds.Create"}}), "GET", 403},
	{"entra", "refund", with(entraV1, claims{"roles": []string{"Charges.Read", "Refunds.Create"}}), "POST", 200},
	{"entra", "without any role", with(entra, claims{"roles": nil}), "GET", 401},
	{"entra", "version 1 without any role", with(entraV1, claims{"roles": nil}), "GET", 401},
	{"entra", "version 2 for the Application ID URI", with(entra, claims{"aud": entraV1["aud"]}), "GET", 401},
	{"entra", "of another tenant", with(entra, claims{"iss": "https://login.microsoftonline.com/11112222-bbbb-3333-cccc-4444dddd5555/v2.0"}), "GET", 401},
	{"entra", "with the issuer of common", with(entra, claims{"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}), "GET", 401},

	{"keycloak", "as it is made", keycloak, "GET", 200},
	{"keycloak", "refund", keycloak, "POST", 200},
	{"keycloak", "without the realm role", with(keycloak, claims{"realm_access": claims{"roles": []string{"offline_access"}}}), "GET", 403},
	{"keycloak", "without client roles", with(keycloak, claims{"resource_access": nil}), "POST", 403},
	{"keycloak", "without the audience mapper", with(keycloak, claims{"aud": "account"}), "GET", 401},
	{"keycloak", "without any audience", with(keycloak, claims{"aud": nil}), "GET", 401},
	{"keycloak", "ID token", with(keycloak, claims{"typ": "ID", "aud": "billing-worker"}), "GET", 401},
	{"keycloak", "for another use", with(keycloak, claims{"typ": "Logout"}), "GET", 401},
	{"keycloak", "of an unknown client", with(keycloak, claims{"azp": "wiki"}), "GET", 401},
	{"keycloak", "asked for at the address inside", with(keycloak, claims{"iss": "https://keycloak.internal:8443/realms/prod"}), "GET", 401},

	{"google", "as Google makes it", google, "GET", 200},
	{"google", "with its email address", google, "POST", 200},
	{"google", "without an email address", with(google, claims{"email": nil, "email_verified": nil}), "GET", 200},
	{"google", "refund without an email address", with(google, claims{"email": nil, "email_verified": nil}), "POST", 403},
	{"google", "of an unverified email address", with(google, claims{"email_verified": false}), "POST", 403},
	{"google", "refund by another account", with(google, claims{
		"sub": "104029292853099978293", "email": "report-builder@my-project.iam.gserviceaccount.com",
	}), "POST", 403},
	{"google", "of another account", with(google, claims{"sub": "999999999999999999999"}), "GET", 401},
	{"google", "for gcloud", with(google, claims{"aud": "32555940559.apps.googleusercontent.com"}), "GET", 401},
	{"google", "self-signed", googleSelf, "POST", 200},
	{"google", "self-signed for years", with(googleSelf, claims{"iat": 1700000000, "exp": 2200000000}), "GET", 401},
	{"google", "self-signed in the name of another", with(googleSelf, claims{"sub": "admin@my-project.iam.gserviceaccount.com"}), "GET", 401},

	{"github-actions", "as it is made", githubActions, "GET", 200},
	{"github-actions", "with the older form of sub", with(githubActions, claims{"sub": "repo:octo-org/octo-repo:ref:refs/heads/main"}), "GET", 200},
	{"github-actions", "of another branch", with(githubActions, claims{"ref": "refs/heads/not-refs/heads/main"}), "GET", 403},
	{"github-actions", "of a pull request", with(githubActions, claims{"event_name": "pull_request_target"}), "GET", 403},
	{"github-actions", "of another repository", with(githubActions, claims{"repository_id": "4567890"}), "GET", 403},
	{"github-actions", "without an environment", githubActions, "POST", 403},
	{"github-actions", "refund", with(githubActions, claims{"environment": "production"}), "POST", 200},
	{"github-actions", "refund from another repository", with(githubActions, claims{"environment": "production", "repository_id": "456780"}), "POST", 403},
	{"github-actions", "refund by another workflow", with(githubActions, claims{
		"environment": "production", "job_workflow_ref": "octo-org/octo-repo/.github/workflows/ci.yml@refs/heads/main",
	}), "POST", 403},
	{"github-actions", "of another owner", with(githubActions, claims{"repository_owner_id": "1234567"}), "GET", 401},
	{"github-actions", "with the usual audience", with(githubActions, claims{"aud": "https://github.com/octo-org"}), "GET", 401},

	{"kubernetes", "as it is made", kubernetes, "GET", 200},
	{"kubernetes", "refund", kubernetes, "POST", 200},
	{"kubernetes", "of another namespace", with(kubernetes, claims{"kubernetes.io": claims{"namespace": "shop"}}), "GET", 403},
	{"kubernetes", "refund from another namespace", with(kubernetes, claims{
		"kubernetes.io": claims{"namespace": "reports", "serviceaccount": claims{"name": "worker"}},
	}), "POST", 403},
	{"kubernetes", "of a node", with(kubernetes, claims{"sub": "system:node:n1"}), "GET", 401},
	{"kubernetes", "of another service account", with(kubernetes, claims{
		"kubernetes.io": claims{"namespace": "billing", "serviceaccount": claims{"name": "default"}},
	}), "POST", 403},
	{"kubernetes", "for the API server", with(kubernetes, claims{"aud": []string{"https://kubernetes.default.svc.cluster.local"}}), "GET", 401},
	{"kubernetes", "from a Secret", claims{
		"iss": "kubernetes/serviceaccount", "aud": nil, "exp": nil, "iat": nil, "sub": "system:serviceaccount:billing:worker",
	}, "GET", 401},

	{"spiffe", "as it is made", spiffe, "GET", 200},
	{"spiffe", "with an issuer", with(spiffe, claims{"iss": "https://oidc-discovery.example.org"}), "GET", 200},
	{"spiffe", "refund", spiffe, "POST", 200},
	{"spiffe", "of another workload", with(spiffe, claims{"sub": "spiffe://example.org/ns/reports/sa/builder"}), "POST", 403},
	{"spiffe", "of another trust domain", with(spiffe, claims{"sub": "spiffe://other.org/ns/billing/sa/worker"}), "GET", 401},
	{"spiffe", "of a look-alike trust domain", with(spiffe, claims{"sub": "spiffe://example-org/ns/billing/sa/worker"}), "GET", 401},
	{"spiffe", "without an audience", with(spiffe, claims{"aud": nil}), "GET", 401},
}
