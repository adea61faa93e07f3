package test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

func init() {
	for _, m := range []caddy.Module{around{}, within{}} {
		caddy.RegisterModule(m)
	}
	for name, h := range map[string]caddyhttp.MiddlewareHandler{"rr_test_around": around{}, "rr_test_within": within{}} {
		httpcaddyfile.RegisterHandlerDirective(name, func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return h, nil })
	}
}

// around is a handler before rr_verify: it recovers from panics, and then tells whether the
// request that it has is still what it was.
type around struct{}

func (around) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_test_around", New: func() caddy.Module { return new(around) }}
}

func (around) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	own, granted := r.Context(), exchange.From(r.Context())
	defer func() {
		if recover() != nil {
			err = caddyhttp.Error(http.StatusTeapot, errors.New("a panic"))
		}
		if r.Context() != own || r.Context().Err() != nil || exchange.From(r.Context()) != granted {
			w.Header().Set("X-Leaked", "yes")
		}
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	}()
	return next.ServeHTTP(w, r)
}

// within is a handler behind rr_verify.
type within struct{}

func (within) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_test_within", New: func() caddy.Module { return new(within) }}
}

func (within) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	x := exchange.From(r.Context())
	if x == nil {
		return caddyhttp.Error(http.StatusNotImplemented, errors.New("no grant"))
	}
	w.Header().Set("X-Granted", x.Credential)
	switch r.URL.Path {
	case "/error":
		return caddyhttp.Error(http.StatusTeapot, errors.New("an error"))
	case "/panic":
		panic("within")
	case "/replaced": // in place, as Caddy's replacers do
		*r = *r.WithContext(x.Context)
	case "/further":
		return next.ServeHTTP(w, r)
	}
	return nil
}

// TestAttackAGrantEndsWithItsHandlers: what rr_verify grants is for the handlers behind it.
// The handlers before it and the error routes, which have the same request, have none once
// those are done, however they end.
func TestAttackAGrantEndsWithItsHandlers(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := start(t, `http://:GATEPORT {
	route {
		rr_test_around
		rr_verify {
			accept key {env.RR_CALLER}
		}
		rr_test_within
		rr_test_around
		rr_verify {
			accept key {env.RR_OTHER} {
				from header X-Second
			}
		}
		rr_test_within
		error 418
	}
	handle_errors {
		rr_inject {
			present bearer {env.RR_VENDOR}
		}
		reverse_proxy UPSTREAM
	}
}
`, "UPSTREAM", u.Addr)
	for _, tt := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/done", []string{withKey}, 204},
		{"/replaced", []string{withKey}, 204},
		{"/error", []string{withKey}, 403},
		{"/panic", []string{withKey}, 403},
		{"/further", []string{withKey, "X-Second: " + otherKey}, 403},
		{"/further", []string{withKey}, 401},
	} {
		a := g.get(tt.path, tt.headers...)
		if a.Status != tt.status || a.Header.Get("X-Leaked") != "" || a.Header.Get("X-Granted") == "" {
			t.Errorf("%s: %d with %v: %s", tt.path, a.Status, a.Header, a.Body)
		}
		if code := a.Header.Get("Rr-Proxy-Code"); a.Status == 403 && code != exchange.CodeNotVerified {
			t.Errorf("%s: refused by somebody else: %s", tt.path, code)
		}
	}
	silent(t, u)
}

// TestAttackTwoInjections: a request that an rr_inject has prepared is not taken on by that of
// the gateway, which would go where the first leads.
func TestAttackTwoInjections(t *testing.T) {
	setSecrets(t)
	u := rrtest.NewUpstream(t)
	g := &gateway{t: t, addr: rrtest.Addr(rrtest.FreePort(t))}
	config, err := rrtest.Adapt(strings.NewReplacer("UPSTREAM", u.Addr, "SITE", g.addr).Replace(`{
	rr {
		proxy other {
			accept key {env.RR_OTHER}
			target http://UPSTREAM
			present bearer {env.RR_VENDOR}
		}
		proxy free {
			accept key {env.RR_CALLER}
			target http://UPSTREAM
			present bearer {env.RR_VENDOR}
		}
	}
}
http://SITE {
	rr_gateway
}
`))
	if err != nil {
		t.Fatal(err)
	}
	const own = `{"deferred":true,"gateway":true,"handler":"rr_inject"}`
	twice := strings.Replace(config, own, `{"deferred":true,"handler":"rr_inject","proxy":"other"},`+own, 1)
	if twice == config {
		t.Fatalf("rr_gateway is made of other handlers now: %s", config)
	}
	g.Caddy = rrtest.StartJSON(t, twice)
	g.get("/free/x", withKey).want(t, 403, exchange.CodeNotVerified)
	silent(t, u)
}
