// Package rr turns Caddy into an outbound API security gateway. Services and agents hold
// only a credential for the gateway; it verifies them, checks what they may call, gives
// the request the upstream's own credential, and forwards it with Caddy's reverse_proxy.
// The upstream's secret never leaves the gateway but to the upstream.
//
// Importing the package registers the app rr, the handlers rr_verify and rr_inject, the
// transport http.reverse_proxy.transport.rr, all kinds of credentials, the log encoder
// rr, the Caddyfile directives, and the command `caddy rr`.
package rr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/api"
	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	_ "github.com/caddy-rr/caddy-rr/internal/logsafe" // the log encoder rr
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/secret"
	"github.com/caddy-rr/caddy-rr/verify"
)

func init() { caddy.RegisterModule(new(App)) }

// App holds what handlers share: named credentials, targets and proxies, and options.
type App struct {
	// Named credentials. A credential either accepts callers or is presented to
	// upstreams.
	Credentials map[string]*Credential `json:"credentials,omitempty"`
	// Named targets: the upstreams.
	Targets map[string]*inject.TargetSpec `json:"targets,omitempty"`
	// Proxies: who may call which target, with which credential, and what.
	Proxies map[string]*Proxy `json:"proxies,omitempty"`
	// The prefix of the response headers <prefix>-Code, -Message and -Warning. Default:
	// RR-Proxy.
	ResponseHeaders string `json:"response_headers,omitempty"`
	// "pass" hands refusals to Caddy's error routes. Default: rr writes its own body,
	// application/problem+json.
	Errors string `json:"errors,omitempty"`
	// Bounds failed authentications per client address.
	Throttle *verify.Throttle `json:"throttle,omitempty"`
	// Address ranges (CIDR) that the gateway may reach in any case when it fetches keys or
	// asks an issuer: by default link-local and metadata addresses are closed to it, and
	// private ones where an issuer's document, not this configuration, names the host.
	Egress []netip.Prefix `json:"egress,omitempty"`
	// Where what is made through the management API is kept: a store, {"kind": "bolt", …}, or
	// {"kind": "off"} for none. Default: bolt, in Caddy's data folder, opened when it is
	// first needed.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=rr.stores inline_key=kind"`
	// What the store is sealed with: 32 random bytes in base64 or hex, as {env.NAME} or
	// {file./absolute/path}. Further ones are earlier keys: a store that is sealed with one
	// of them is sealed with the first. Default: a key file beside the store, which is made.
	EncryptionKey []secret.String `json:"encryption_key,omitempty"`

	log         *zap.Logger
	loader      *host.Loader
	answers     *exchange.Answers
	accepts     map[string]*verify.Credential
	presents    map[string]*inject.Credential
	verifyGates map[string]*verify.Gate
	injectGates map[string]*inject.Gate
	opened      []*verify.Gate
	inline      []*host.Loader // of handlers, which cannot know when the configuration starts
	targets     map[string]*inject.Target
	provisioned bool

	catalog    *catalog.Catalog
	api        func() http.Handler // for the admin endpoint
	managing   managing
	opener     store.Opener // nil: no store
	keys       []store.Key
	publicAPI  string // the URL of an rr_api, if one says it
	wantsStore bool   // a handler serves records
	unwanted   atomic.Bool
	storeMu    sync.Mutex
	storeKey   string // in the pool; empty before the store is open
	store      *openedStore
	over       bool
}

// Credential is a named credential: it has either accept or present.
type Credential struct {
	// How callers prove themselves: a verifier, {"kind": "key", …}.
	AcceptRaw json.RawMessage `json:"accept,omitempty" caddy:"namespace=rr.verifiers inline_key=kind"`
	// What the upstream accepts: an injector, {"kind": "bearer", …}.
	PresentRaw json.RawMessage `json:"present,omitempty" caddy:"namespace=rr.injectors inline_key=kind"`
	// Where a presented credential may be sent: [https://|http://]host[:port], or
	// *.example.com for one label; https and its port unless said. Default: the targets
	// of the proxies that use it.
	Hosts []string `json:"hosts,omitempty"`
	// When an accepted credential stops being accepted (RFC 3339). Default: never.
	Expires time.Time `json:"expires,omitzero"`

	// The rules of the credential.
	rule.Scope
}

// Proxy binds what is accepted from callers to a target and its credential.
type Proxy struct {
	verify.Spec

	// The name of a target, or a URL. Required.
	Target string `json:"target,omitempty"`
	// What the target accepts: an injector, {"kind": "bearer", …}, or a reference to a
	// named credential, {"kind": "credential", "name": "…"}. Required.
	PresentRaw json.RawMessage `json:"present,omitempty" caddy:"namespace=rr.injectors inline_key=kind"`
	// An inactive proxy answers 503 to callers that it recognises.
	Inactive bool `json:"inactive,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "rr", New: func() caddy.Module { return new(App) }}
}

// Provision compiles credentials, targets and proxies. It touches neither disk state
// nor network; secret files are read.
func (a *App) Provision(ctx caddy.Context) (err error) {
	a.log = ctx.Logger()
	a.loader = host.NewLoader(ctx, a.log)
	a.loader.AllowEgress(a.Egress)
	a.loader.SetBlocklist(&blocklist{a})
	if err := registerMetrics(ctx); err != nil {
		return err
	}
	switch a.Errors {
	case "", "pass":
	default:
		return fmt.Errorf("errors can only be pass, not %q", a.Errors)
	}
	if a.answers, err = exchange.NewAnswers(a.ResponseHeaders, a.Errors == "pass"); err != nil {
		return fmt.Errorf("response_headers: %w", err)
	}
	if err := a.checkNames(); err != nil {
		return err
	}
	if err := a.provisionStore(); err != nil {
		return err
	}
	if err := a.provisionCredentials(); err != nil {
		return err
	}
	if err := a.provisionProxies(); err != nil {
		return err
	}
	a.catalog = catalog.New(ctx, a.log, catalog.Options{Egress: a.Egress, Declared: a.declaredRecords(), Wanted: a.openWanted})
	a.api = a.managementAPI(api.Options{Prefix: adminPrefix})
	a.loader.OnChange(a.refresh)
	a.loader.Watch()
	a.provisioned = true
	return nil
}

// refresh takes over secrets that have changed in their files.
func (a *App) refresh() {
	for _, g := range a.opened {
		if err := g.Refresh(); err != nil {
			a.log.Error("changed secrets cannot be used; those from before stay in use", zap.Error(err))
		}
	}
	exchange.Streams.Sweep()
}

// Start opens the store, if the configuration wants one, and begins what goes on in the
// background: issuers' keys are fetched from now on.
func (a *App) Start() error {
	if err := a.openWanted(); err != nil {
		return err
	}
	a.loader.Start()
	for _, l := range a.inline {
		l.Start()
	}
	return nil
}

// managingPatience is how long the end of a configuration waits for requests to the
// management API, which take longer only when they copy the store or seal it anew.
const managingPatience = 5 * time.Second

// Stop implements caddy.App: requests to the management API end. Others may still be
// inside; Cleanup releases.
func (a *App) Stop() error {
	a.managing.finish(managingPatience)
	return nil
}

// Cleanup takes the app's gates out of force.
func (a *App) Cleanup() error {
	for _, g := range a.opened {
		g.Close()
	}
	a.opened = nil
	return a.closeStore()
}

// registerMetrics makes rr's collectors known to the configuration's registry.
func registerMetrics(ctx caddy.Context) error {
	var reg prometheus.Registerer
	if r := ctx.GetMetricsRegistry(); r != nil {
		reg = r
	}
	return metrics.Register(reg)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
