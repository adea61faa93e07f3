// Package stripe calls Stripe's mock server through the gateway with Stripe's own SDK. It is
// a module of its own, so that the SDK is no dependency of the gateway.
package stripe

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/stripe/stripe-go/v82"
)

// vendorKey is a key that the mock accepts; only the gateway gets it.
const vendorKey = "sk_test_example"

// sdk is Stripe's client with another base address: all that a caller has to change.
func sdk(address, key string) *stripe.Client {
	return stripe.NewClient(key, stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL:               stripe.String(address),
		MaxNetworkRetries: stripe.Int64(0),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
	})))
}

func TestStripeSDK(t *testing.T) {
	w := start(t)
	client := sdk(w.gateway, w.key)

	t.Run("a customer is created, and the idempotency key arrives", func(t *testing.T) {
		params := &stripe.CustomerCreateParams{Name: stripe.String("Ada"), Email: stripe.String("ada@example.com")}
		params.SetIdempotencyKey("order-4711")
		c, err := client.V1Customers.Create(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		got := w.last(t)
		if !strings.HasPrefix(c.ID, "cus_") || c.LastResponse.IdempotencyKey != "order-4711" ||
			got.header.Get("Idempotency-Key") != "order-4711" || got.form.Get("email") != "ada@example.com" {
			t.Errorf("customer %s; the vendor got %+v", c.ID, got)
		}
	})
	t.Run("a charge is created", func(t *testing.T) {
		c, err := client.V1Charges.Create(t.Context(), &stripe.ChargeCreateParams{
			Amount: stripe.Int64(2000), Currency: stripe.String("eur"), Description: stripe.String("Ö & ü"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.last(t).form; c.Amount != 2000 || got.Get("description") != "Ö & ü" {
			t.Errorf("charge of %d; the vendor got %v", c.Amount, got)
		}
	})
	t.Run("a list is read over two pages", func(t *testing.T) {
		before := w.count()
		n := 0
		params := &stripe.CustomerListParams{}
		params.Limit = stripe.Int64(1)
		for c, err := range client.V1Customers.List(t.Context(), params) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; c.Object != "customer" {
				t.Errorf("got a %q", c.Object)
			}
		}
		if n != 2 || w.count()-before != 2 || w.last(t).form.Get("starting_after") == "" {
			t.Errorf("%d customers in %d calls; the last is %+v", n, w.count()-before, w.last(t))
		}
	})
	t.Run("an error of the vendor is the SDK's own error", func(t *testing.T) {
		_, err := client.V1PaymentIntents.Create(t.Context(), &stripe.PaymentIntentCreateParams{})
		var vendor *stripe.Error
		if !errors.As(err, &vendor) || vendor.HTTPStatusCode != http.StatusBadRequest || vendor.Type != stripe.ErrorTypeInvalidRequest {
			t.Fatalf("got %v", err)
		}
		if code := vendor.LastResponse.Header.Get("RR-Proxy-Code"); code != "proxy-access-granted" {
			t.Errorf("RR-Proxy-Code is %q", code)
		}
	})

	t.Run("a caller with a token of the issuer needs no key", func(t *testing.T) {
		token := w.issuer.token(t, "https://payments.internal", "payments")
		c, err := sdk(w.gateway, token).V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{Name: stripe.String("Grace")})
		if err != nil {
			t.Fatal(err)
		}
		if got := w.last(t); !strings.HasPrefix(c.ID, "cus_") || got.form.Get("name") != "Grace" {
			t.Errorf("customer %s; the vendor got %+v", c.ID, got)
		}
		if strings.Contains(w.log.String(), token) {
			t.Error("the token is in the gateway's log")
		}
	})

	before := w.count()
	t.Run("a token for somebody else, or without the scope, is not accepted", func(t *testing.T) {
		other := w.issuer.token(t, "https://warehouse.internal", "payments")
		_, err := sdk(w.gateway, other).V1Customers.Retrieve(t.Context(), "cus_1", nil)
		refused(t, err, `"status":401`)
		_, err = sdk(w.gateway, w.issuer.token(t, "https://payments.internal", "reports")).V1Customers.Retrieve(t.Context(), "cus_1", nil)
		refused(t, err, `"status":403`)
	})
	t.Run("what no rule allows stays with the gateway", func(t *testing.T) {
		_, err := client.V1Refunds.Create(t.Context(), &stripe.RefundCreateParams{Charge: stripe.String("ch_1")})
		refused(t, err, `"status":403`)
	})
	t.Run("what a rule on the body denies stays with the gateway", func(t *testing.T) {
		_, err := client.V1Charges.Create(t.Context(), &stripe.ChargeCreateParams{
			Amount: stripe.Int64(2000), Currency: stripe.String("RUB"),
		})
		refused(t, err, `"status":403`)
	})
	t.Run("the vendor's key is no credential for the gateway", func(t *testing.T) {
		_, err := sdk(w.gateway, vendorKey).V1Customers.Retrieve(t.Context(), "cus_1", nil)
		refused(t, err, `"status":401`)
	})
	if n := w.count() - before; n != 0 {
		t.Errorf("%d refused calls reached the vendor", n)
	}

	t.Run("the caller's key is no credential for the vendor", func(t *testing.T) {
		_, err := sdk(w.mock, w.key).V1Customers.Retrieve(t.Context(), "cus_1", nil)
		var vendor *stripe.Error
		if !errors.As(err, &vendor) || vendor.HTTPStatusCode != http.StatusUnauthorized {
			t.Errorf("got %v", err)
		}
	})
	w.checkKeys(t)
}

// refused tells the gateway's refusals from the vendor's errors, which are stripe.Errors.
func refused(t *testing.T, err error, status string) {
	t.Helper()
	var vendor *stripe.Error
	if err == nil || errors.As(err, &vendor) {
		t.Fatalf("got %v", err)
	}
	if text := err.Error(); !strings.Contains(text, status) || !strings.Contains(text, `"code":"proxy-access-denied"`) {
		t.Errorf("got %s", text)
	}
}
