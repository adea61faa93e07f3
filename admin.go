package rr

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap/exp/zapslog"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/audit"
)

func init() { caddy.RegisterModule(new(adminAPI)) }

// adminPrefix is where the management API is on the admin endpoint.
const adminPrefix = "/rr"

// adminAPI is rr's part of the admin endpoint: the management API, its metrics and its state
// pages. Caddy replaces that endpoint before the apps of a new configuration are loaded, and
// keeps it if they fail, so it asks for the app with every request.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (*adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.rr", New: func() caddy.Module { return new(adminAPI) }}
}

// Provision registers the collectors.
func (*adminAPI) Provision(ctx caddy.Context) error { return registerMetrics(ctx) }

// Routes implements caddy.AdminRouter.
func (*adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/rr/tokens", Handler: caddy.AdminHandlerFunc(showTokens)},
		{Pattern: "/rr/", Handler: caddy.AdminHandlerFunc(manage)},
	}
}

// manage serves the management API: whoever reaches the admin endpoint may do everything.
func manage(w http.ResponseWriter, r *http.Request) error {
	app, err := managed()
	if errors.Is(err, errStarting) {
		api.Starting(w)
		return nil
	}
	if err != nil {
		return err
	}
	defer app.managing.end()
	if err := app.openStore(); err != nil {
		status := http.StatusServiceUnavailable
		if errors.Is(err, errNoStore) {
			status = http.StatusNotFound
		}
		return caddy.APIError{HTTPStatus: status, Err: err}
	}
	who := api.Principal{Actor: audit.Actor{Kind: "admin", Name: adminName(r), Address: r.RemoteAddr}, Role: api.Owner, All: true}
	app.api().ServeHTTP(w, r.WithContext(api.WithPrincipal(r.Context(), who)))
	return nil
}

// errStarting is that no configuration is in force: Caddy opens the admin endpoint before it
// loads the first one. It must not look as if a record were not there.
var errStarting = errors.New("no configuration is in force")

// managed is the app of the configuration in force, which does not end before managing.end.
func managed() (*App, error) {
	for range 3 { // one that ends has been replaced already
		ctx := caddy.ActiveContext()
		if ctx.Context == nil {
			return nil, errStarting
		}
		active, err := ctx.AppIfConfigured("rr")
		app, ok := active.(*App)
		if err != nil || !ok {
			return nil, caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("the configuration has no rr app: add the global option `rr { … }`")}
		}
		if app.managing.begin() {
			return app, nil
		}
	}
	return nil, errStarting // the configuration ends
}

// managing counts the requests to the management API at the admin endpoint, so that their
// configuration does not end under them: Caddy does not wait for that endpoint.
type managing struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when the last request has ended; nil before finish
}

// begin is false when the configuration ends.
func (m *managing) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idle != nil {
		return false
	}
	m.n++
	return true
}

func (m *managing) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n--; m.n == 0 && m.idle != nil {
		close(m.idle)
	}
}

// finish lets no more requests begin and waits for those that have, but not for long ones.
func (m *managing) finish(patience time.Duration) {
	m.mu.Lock()
	if m.idle == nil {
		if m.idle = make(chan struct{}); m.n == 0 {
			close(m.idle)
		}
	}
	idle := m.idle
	m.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(patience):
	}
}

// adminName is who called the admin endpoint: the name in a client certificate of a remote
// administrator, or where the call came from.
func adminName(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.String()
	}
	if r.RemoteAddr == "" || strings.HasPrefix(r.RemoteAddr, "@") {
		return "unix socket"
	}
	return "admin endpoint"
}

// managementAPI returns the management API below a prefix, made when it is first asked for:
// most configurations come and go without.
func (a *App) managementAPI(o api.Options) func() http.Handler {
	return sync.OnceValue(func() http.Handler {
		if o.BaseURL == "" { // where browsers can come, which the admin endpoint refuses
			o.BaseURL = a.publicAPI
		}
		o.Log = slog.New(zapslog.NewHandler(a.log.Core(), zapslog.WithName("rr.api")))
		return api.New(api.Over(a.catalog), o)
	})
}

// showTokens tells about the tokens that rr holds for upstreams, not the tokens.
func showTokens(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("/rr/tokens is read with GET")}
	}
	var page struct {
		Tokens []inject.TokenState `json:"tokens"`
		// how many more there are
		More int `json:"more,omitempty"`
	}
	page.Tokens, page.More = inject.Tokens()
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(page)
}

// Interface guards
var (
	_ caddy.AdminRouter = (*adminAPI)(nil)
	_ caddy.Provisioner = (*adminAPI)(nil)
)
