package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// byIntrospection is a proxy whose callers have opaque tokens of the certified provider.
const byIntrospection = `{
	rr {
		throttle off
		proxy p {
			accept introspect {
				url ISSUER/token/introspection
				AUTHENTICATION
				scope read
			}
			target http://UPSTREAM
			present none
			allow *
		}
	}
}
http://:GATEPORT {
	rr_proxy p
}
`

func TestProviderIntrospects(t *testing.T) {
	key := idp.NewKey(t, "ES256", "gateway-1")
	set, err := json.Marshal(map[string]any{"keys": []any{key.JWK()}})
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "gateway.pem")
	if err := os.WriteFile(keyFile, key.PrivatePEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	e, u := startProvider(t, "CLIENT_JWKS="+string(set)), rrtest.NewUpstream(t)
	secret := func(client, how string) string {
		t.Setenv("RR_"+strings.ToUpper(how), idp.ExternalSecret(client))
		return "client_id " + client + "\n\t\t\t\tclient_secret {env.RR_" + strings.ToUpper(how) + "}\n\t\t\t\tclient_auth " + how
	}
	for _, tt := range []struct{ name, authentication string }{
		{"basic", secret("gateway-basic", "basic")},
		{"post", secret("gateway-post", "post")},
		{"client_secret_jwt", secret("gateway-hmac", "client_secret_jwt")},
		{"private_key_jwt", "client_id gateway-jwt\n\t\t\t\tclient_auth private_key_jwt\n\t\t\t\tprivate_key {file." + keyFile + "}\n\t\t\t\tkid gateway-1\n\t\t\t\talgorithm ES256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := start(t, byIntrospection, "ISSUER", e.Issuer, "UPSTREAM", u.Addr, "AUTHENTICATION", tt.authentication)
			u.Reset()
			token := e.Token("", "read", nil)
			g.get("/", bearer(token)).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.Contains(token) {
				t.Errorf("the caller's token goes upstream: %+v", got)
			}
			g.get("/", bearer(e.Token("", "write", nil))).want(t, 403, "proxy-access-denied")
			g.get("/", bearer(token+"x")).want(t, 401, "proxy-access-denied")
			e.Revoke(token) // nothing is remembered unless the configuration says so
			g.get("/", bearer(token)).want(t, 401, "proxy-access-denied")
			if strings.Contains(g.Logs(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

func TestProviderBindsTokensToKeys(t *testing.T) {
	e, u := startProvider(t), rrtest.NewUpstream(t)
	g := start(t, byProvider, "ISSUER", e.Issuer, "UPSTREAM", u.Addr, "ALGORITHMS", "ES256", "MORE", "dpop required")
	resource, url := idp.ExternalResource+"ES256", "http://"+g.addr+"/x"
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			client, thief := idp.NewProver(t, alg), idp.NewProver(t, alg)
			token := e.Token(resource, "read", client)
			send := func(scheme, token, proof string) answer {
				return g.get("/x?q=1", "Authorization: "+scheme+" "+token, "DPoP: "+proof)
			}
			rrtest.Eventually(t, "the gateway has the provider's keys", func() bool {
				return send("DPoP", token, client.Proof("GET", url, token, nil, nil)).Status == 200
			})
			u.Reset()
			proof := client.Proof("GET", url, token, nil, nil)
			send("DPoP", token, proof).want(t, 200, "proxy-access-granted")
			if got := one(t, u); got.Contains(token) || got.Contains(proof) {
				t.Errorf("token or proof go upstream: %+v", got)
			}
			for name, a := range map[string]answer{
				"a proof again":          send("DPoP", token, proof),
				"another's proof":        send("DPoP", token, thief.Proof("GET", url, token, nil, nil)),
				"another method":         send("DPoP", token, client.Proof("POST", url, token, nil, nil)),
				"another path":           send("DPoP", token, client.Proof("GET", url+"y", token, nil, nil)),
				"another token's proof":  send("DPoP", token, client.Proof("GET", url, token+"x", nil, nil)),
				"no proof":               g.get("/x", "Authorization: DPoP "+token),
				"as a bearer":            g.get("/x", bearer(token)),
				"a token without a key":  g.get("/x", bearer(e.Token(resource, "read", nil))),
				"a proof for any token":  send("DPoP", e.Token(resource, "read", nil), client.Proof("GET", url, "", nil, nil)),
				"a proof without a hash": send("DPoP", token, client.Proof("GET", url, "", nil, nil)),
			} {
				challenge := strings.Join(a.Header.Values("WWW-Authenticate"), ", ")
				if a.Status != 401 || a.code() != "proxy-access-denied" || !strings.Contains(challenge, "DPoP ") || !strings.Contains(challenge, "algs=") {
					t.Errorf("%s: %d %q, challenge %q", name, a.Status, a.code(), challenge)
				}
			}
			if n := len(received(u)); n != 0 {
				t.Errorf("%d refused requests reached the upstream", n)
			}
		})
	}
}
