package test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestManagementAPIBeforeTheConfiguration: Caddy opens the admin endpoint before a
// configuration is in force. Who asks then must not be told that a record is not there.
func TestManagementAPIBeforeTheConfiguration(t *testing.T) {
	ask := func() *httptest.ResponseRecorder {
		info, err := caddy.GetModule("admin.api.rr")
		if err != nil {
			t.Fatal(err)
		}
		for _, route := range info.New().(caddy.AdminRouter).Routes() {
			if route.Pattern == "/rr/" {
				w := httptest.NewRecorder()
				if err := route.Handler.ServeHTTP(w, httptest.NewRequest("GET", "/rr/clients/default/targets/x", nil)); err != nil {
					t.Fatal(err)
				}
				return w
			}
		}
		t.Fatal("there is no management API")
		return nil
	}
	check := func(when string) {
		t.Helper()
		w := ask()
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" ||
			w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), `"code":"store-unavailable"`) {
			t.Errorf("%s: %d %v %s", when, w.Code, w.Header(), w.Body)
		}
	}
	check("before")
	t.Run("a configuration", func(t *testing.T) {
		rrtest.Start(t, "{\n\trr\n}\n")
		if w := ask(); w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), `"code":"not-found"`) {
			t.Errorf("in force: %d %s", w.Code, w.Body)
		}
	})
	check("afterwards")
}
