package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler verifies the caller, removes the caller's credential from the request and
// judges the rules of the credential and of the proxy. Refused requests go no further.
// What passes has {http.auth.user.id} and, if the credential has claims,
// {http.auth.user.<claim>}.
//
// It is configured by the name of a proxy of the rr app, or inline, or as a gateway to
// all proxies.
type Handler struct {
	// Use what this proxy of the rr app accepts, and its rules.
	Proxy string `json:"proxy,omitempty"`
	// Find the proxy by the first segment of the path, for all proxies of the rr app.
	Gateway *Gateway `json:"gateway,omitempty"`
	// The path below which the handler is reached, if nothing takes it off before, such
	// as /stripe. The metadata for OAuth clients (RFC 9728) is named with it.
	Mount string `json:"mount,omitempty"`
	// Leave it to the transport rr to end the streams of callers who lose access.
	// rr_proxy and rr_gateway say so, since nothing else follows there.
	Unwatched bool `json:"unwatched,omitempty"`

	Spec

	log      *zap.Logger
	gate     *Gate
	own      bool // the gate is the handler's, to be closed by it
	gateway  *gateway
	settings Settings
	// whether the server lets headers through whose names look like others'
	lookAlikes bool
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_verify", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds or builds the gate.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Logger(h)
	// unless it is told to expect some, Caddy's server drops every header with "_" or "."
	// in its name, and net/http brings all names into canonical form
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	h.lookAlikes = !ok || len(srv.ExpectedUnderscoreHeaders)+len(srv.ExpectedDotHeaders) > 0
	app, err := AppHost(ctx)
	if err != nil {
		return err
	}
	if app != nil {
		h.settings = app.VerifySettings()
	} else if h.settings.Answers, err = exchange.NewAnswers("", false); err != nil {
		return err
	}
	inline := len(h.AcceptRaw)+len(h.AlsoRaw)+len(h.Rules) > 0 || h.Default != "" || h.EncodedSlash != "" || h.MaxBody != 0 || h.Resource != ""
	switch {
	case h.Gateway != nil && (h.Proxy != "" || inline), h.Proxy != "" && inline:
		return errors.New("rr_verify takes the name of a proxy, or its own accept and rules, or is a gateway; not several of these")
	case (h.Gateway != nil || h.Proxy != "") && app == nil:
		return errors.New("rr_verify refers to the rr app, but the configuration has none: add the global option `rr { … }`")
	case h.Gateway != nil:
		h.gateway, err = newGateway(host.NewLoader(ctx, h.log), h.Gateway, app)
	case h.Proxy != "":
		h.gate, err = app.VerifyGate(h.Proxy)
	default:
		err = h.provisionInline(ctx, app)
	}
	if err == nil {
		h.checkLogs(ctx)
	}
	return err
}

func (h *Handler) checkLogs(ctx caddy.Context) {
	gates := []*Gate{h.gate}
	if h.gateway != nil {
		gates = h.gateway.sorted
	}
	var headers []string
	inQuery := false
	if h.gateway != nil {
		s := &h.gateway.face.slots
		headers, inQuery = s.names(InHeader), s.query
	}
	for _, g := range gates {
		names, query := g.carriers()
		headers, inQuery = union(headers, names), inQuery || query
	}
	host.CheckLogs(ctx, h.log, headers, inQuery)
}

func (h *Handler) provisionInline(ctx caddy.Context, app Host) error {
	l := host.NewLoader(ctx, h.log)
	l.AllowEgress(h.settings.Egress)
	gate, err := NewGate(l, "", "rr_verify", &h.Spec, app)
	if err != nil {
		return err
	}
	if l.Starting() {
		if err := startWithApp(ctx, app, l); err != nil {
			return err
		}
	}
	if reg := ctx.GetMetricsRegistry(); reg != nil { // without an rr app nobody else does
		if err := metrics.Register(reg); err != nil {
			return err
		}
	}
	gate.holder = inlineHolder(ctx)
	gate.Open()
	h.gate, h.own = gate, true
	l.OnChange(h.refresh)
	l.Watch()
	return nil
}

// inlines counts the inline handlers of each server that is being provisioned.
var inlines sync.Map // *caddyhttp.Server → *atomic.Int64

// inlineHolder names an inline gate by its server and its place there, so that after a
// reload its streams are held against what stands in the same place, and nothing else. A
// name of a proxy has no colon.
func inlineHolder(ctx caddy.Context) string {
	srv, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return ":inline"
	}
	n, counted := inlines.LoadOrStore(srv, new(atomic.Int64))
	if !counted {
		context.AfterFunc(ctx, func() { inlines.Delete(srv) })
	}
	return fmt.Sprintf("%s:%d", strings.Join(srv.Listen, ","), n.(*atomic.Int64).Add(1))
}

// startWithApp has the app start the loader: handlers are not told when they come into
// force, apps are. A configuration without the app gets an empty one for that.
func startWithApp(ctx caddy.Context, app Host, l *host.Loader) error {
	if app == nil {
		module, err := ctx.App("rr")
		if err != nil {
			return err
		}
		var ok bool
		if app, ok = module.(Host); !ok {
			return fmt.Errorf("the app rr is a %T, which is not rr's", module)
		}
	}
	app.StartWith(l)
	return nil
}

func (h *Handler) refresh() {
	if err := h.gate.Refresh(); err != nil {
		h.log.Error("changed secrets cannot be used; those from before stay in use", zap.Error(err))
	}
	exchange.Streams.Sweep()
}

// Cleanup takes the handler's own gate out of force.
func (h *Handler) Cleanup() error {
	if h.own {
		h.own = false
		h.gate.Close()
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if strings.Contains(r.URL.Path, WellKnown) {
		if done, err := h.metadata().serve(w, r); done {
			return err
		}
	}
	start, received := time.Now(), r.URL.Path
	x, outermost := exchange.Begin(r.Context())
	x.Answers = h.settings.Answers
	if outermost {
		host.LogFields(r, x)
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			repl.Map(x.Placeholder)
		}
	}
	gate, ref := h.find(r, x)
	if gate == nil {
		gate = h.gate // whose series count what no proxy can be blamed for
	}
	if ref == nil {
		ref = h.admit(gate, r, x, start)
	}
	if gate != nil {
		gate.series.Verified(time.Since(start))
	}
	if ref != nil {
		ref.Challenges = h.advertise(r, h.metadata(), received, ref.Challenges)
		return h.refuse(w, r, x, gate, ref)
	}
	x.Decision = exchange.CodeGranted
	defer func() { gate.series.Outcome(x.Decision) }()
	if !h.Unwatched {
		ctx, cancel := context.WithCancel(x.Context)
		defer cancel()
		x.Context = ctx
		defer exchange.Streams.Watch(x, func() {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			cancel()
		})()
	}
	// A copy, although it is of 304 bytes: reverse_proxy's transport reads the request after
	// its handler has returned, so the grant could not be taken out of it again.
	return next.ServeHTTP(w, r.WithContext(x))
}

// find returns the gate of the request and checks what concerns every request. A gateway
// must not tell proxies that exist from others by the order of its checks, so what
// depends on the proxy is only refused to callers that it recognises.
func (h *Handler) find(r *http.Request, x *exchange.Exchange) (*Gate, *exchange.Refusal) {
	gate := h.gate
	if gate != nil {
		x.Proxy = gate.name
	}
	method, ref := exchange.CheckMethod(r)
	if ref == nil && h.gateway != nil {
		var err error
		if _, bad := rule.CanonicalPath(r.URL, true); bad != nil {
			ref = badPath(bad)
		} else if gate, err = h.gateway.find(r); err != nil {
			ref = refusalOf(err)
		} else if gate == nil {
			return nil, h.gateway.unknown(r, h)
		}
	}
	if ref != nil {
		h.strip(r)
		return nil, ref
	}
	x.Proxy, x.Gate, x.Metrics, x.KeepSlash = gate.name, gate.holding(), gate.series, gate.keepSlash
	x.Onward = gate.onward
	x.Stripped = gate.main.slots.folded
	path, err := rule.CanonicalPath(r.URL, gate.keepSlash)
	if err != nil && h.gateway == nil {
		h.strip(r)
		return gate, badPath(err)
	}
	x.Input = rule.Input{Request: r, Method: method, Path: path}
	return gate, nil
}

func badPath(err error) *exchange.Refusal {
	return exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath, err)
}

// strip removes the carriers of every gate that the handler leads to.
func (h *Handler) strip(r *http.Request) {
	if h.gateway == nil {
		h.gate.strip(r, h.lookAlikes)
		return
	}
	for _, g := range h.gateway.sorted {
		g.strip(r, h.lookAlikes)
	}
	h.gateway.face.slots.strip(r, h.lookAlikes)
}

// admit verifies the caller, removes the credential, and judges the rules.
func (h *Handler) admit(g *Gate, r *http.Request, x *exchange.Exchange, now time.Time) *exchange.Refusal {
	presented := h.gateway != nil && h.gateway.presented(r)
	entries, err := g.verify(r, x, now, h.admission(r, now))
	query := r.URL.RawQuery
	g.strip(r, h.lookAlikes)
	exchange.NeutralizeConnection(r.Header)
	if r.URL.RawQuery != query || h.gateway != nil {
		// Caddy's logs print RequestURI, and a caller's credential is not for them
		r.RequestURI = r.URL.RequestURI()
	}
	if err != nil {
		return h.refusalFor(g, r, err, presented)
	}
	if x.Input.Path == "" {
		_, err := rule.CanonicalPath(r.URL, g.keepSlash)
		return badPath(err)
	}
	if ref := g.standby(); ref != nil {
		return ref
	}
	x.Input.Claims = x.Claims
	if needsBody(entries) || g.set.NeedsBody() {
		x.Input.Body = rule.NewBody(r, g.maxBody)
	}
	for _, entry := range entries {
		if ref := judge(entry.set, &x.Input, entry.label); ref != nil {
			return ref
		}
	}
	return judge(g.set, &x.Input, "proxy")
}

// admission asks the table of failures only if somebody wants to know.
func (h *Handler) admission(r *http.Request, now time.Time) admission {
	return admission{Throttle: h.settings.Throttle, r: r, now: now}
}

func needsBody(entries []*accepted) bool {
	return slices.ContainsFunc(entries, func(a *accepted) bool { return a.set.NeedsBody() })
}

// judge decides in one scope; nil means allowed.
func judge(set *rule.Set, in *rule.Input, scope string) *exchange.Refusal {
	d := set.Decide(in)
	if d.Allowed {
		return nil
	}
	if scope != "proxy" {
		scope = "credential " + scope
	}
	return exchange.Refuse(http.StatusForbidden, exchange.CodeDenied, exchange.Denial(d, scope))
}

func clientIP(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return ip
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
