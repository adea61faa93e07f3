package stripe

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stripe/stripe-go/v82"
)

// fetched is the example's proxy with a token of an authorization server for the vendor.
const fetched = `{
	admin off
	persist_config off
	default_bind 127.0.0.1
	rr {
		proxy stripe {
			accept key {env.BILLING_KEY}
			target http://127.0.0.1:{$STRIPE_PORT}
			present oauth2 {
				grant client_credentials
				token_url {$TOKEN_URL}
				client_id gateway
				client_secret {env.CLIENT_SECRET}
			}
		}
	}
}

http://127.0.0.1:{$RR_PORT} {
	rr_proxy stripe
}
`

// TestStripeWithAFetchedToken: the vendor's mock takes a token that the gateway fetched,
// once for all calls.
func TestStripeWithAFetchedToken(t *testing.T) {
	w := start(t)
	const secret = "client-secret-0123456789abcdef"
	var asked atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if id, password, _ := r.BasicAuth(); id != "gateway" || password != secret || r.FormValue("grant_type") != "client_credentials" {
			http.Error(rw, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(rw, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, vendorKey)
	}))
	t.Cleanup(tokens.Close)

	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, []byte(fetched), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	log := run(t, "http://"+addr, []string{
		"RR_PORT=" + port, "STRIPE_PORT=" + w.mock[strings.LastIndexByte(w.mock, ':')+1:], "BILLING_KEY=" + w.key,
		"TOKEN_URL=" + tokens.URL, "CLIENT_SECRET=" + secret,
	}, "../../bin/caddy", "run", "--config", config)
	client := sdk("http://"+addr, w.key)
	for i := range 5 {
		c, err := client.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{Name: stripe.String("Ada")})
		if err != nil || !strings.HasPrefix(c.ID, "cus_") {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	for _, text := range []string{vendorKey, secret, w.key} {
		if strings.Contains(log.String(), text) {
			t.Error("a secret is in the gateway's log")
		}
	}
}
