package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

func init() { caddy.RegisterModule(new(Handler)) }

// Handler gives a verified request the upstream's credential. It refuses requests that
// no rr_verify let through, judges the rules of the target and of the target credential,
// and then either leaves the credential to the transport rr of the reverse_proxy that
// follows (`deferred`; rr_proxy and rr_gateway do that), or writes it on a copy of the
// request for whatever handler follows.
type Handler struct {
	// Use the target and target credential of this proxy of the rr app.
	Proxy string `json:"proxy,omitempty"`
	// Use those of the proxy that rr_verify, as a gateway, found.
	Gateway bool `json:"gateway,omitempty"`
	// The upstream's credential: an injector, {"kind": "bearer", …}, or a reference to a
	// named credential, {"kind": "credential", "name": "…"}.
	PresentRaw json.RawMessage `json:"present,omitempty" caddy:"namespace=rr.injectors inline_key=kind"`
	// Leave the credential to the transport rr of the reverse_proxy that follows.
	Deferred bool `json:"deferred,omitempty"`
	// Inject also into requests that no rr_verify let through. Whoever reaches the
	// handler then acts with the upstream's credential.
	Unverified bool `json:"unverified,omitempty"`

	// The rules of the target's scope.
	rule.Scope

	log     *zap.Logger
	gate    *Gate
	host    Host
	answers *exchange.Answers
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rr_inject", New: func() caddy.Module { return new(Handler) }}
}

// Provision finds or builds the gate.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = ctx.Logger(h)
	app, err := AppHost(ctx)
	if err != nil {
		return err
	}
	h.host = app
	if app != nil {
		h.answers = app.InjectSettings().Answers
	} else if h.answers, err = exchange.NewAnswers("", false); err != nil {
		return err
	}
	inline := len(h.PresentRaw) > 0 || len(h.Rules) > 0 || h.Default != ""
	switch {
	case h.Gateway && (h.Proxy != "" || inline), h.Proxy != "" && inline:
		return errors.New("rr_inject takes the name of a proxy, or its own present and rules, or follows a gateway; not several of these")
	case (h.Gateway || h.Proxy != "") && app == nil:
		return errors.New("rr_inject refers to the rr app, but the configuration has none: add the global option `rr { … }`")
	case h.Gateway && !h.Deferred:
		return errors.New("rr_inject of a gateway is always deferred")
	case h.Gateway:
		return nil
	case h.Proxy != "":
		if err = h.useProxy(app); err == nil {
			h.checkLogs(ctx)
		}
		return err
	}
	l := host.NewLoader(ctx, h.log)
	if h.gate, err = newInline(l, &h.Scope, h.PresentRaw, h.Deferred, app); err != nil {
		return err
	}
	l.Watch()
	h.checkLogs(ctx)
	return nil
}

// checkLogs warns if logs would show an early credential; a deferred one is in none.
func (h *Handler) checkLogs(ctx caddy.Context) {
	if !h.gate.deferred {
		host.CheckLogs(ctx, h.log, h.gate.slots.headers, false)
	}
}

func (h *Handler) useProxy(app Host) (err error) {
	h.gate, err = app.InjectGate(h.Proxy)
	if err != nil || h.Deferred {
		return err
	}
	if len(h.gate.cred.bindings) > 0 {
		return fmt.Errorf("rr_inject %s: credential %s has hosts, which cannot be enforced before a handler that goes where it likes; use `rr_proxy %s`", h.Proxy, h.gate.cred.Name, h.Proxy)
	}
	if err := h.gate.cred.early(false); err != nil {
		return fmt.Errorf("rr_inject %s: %w", h.Proxy, err)
	}
	early := *h.gate
	early.deferred, early.target = false, nil
	h.gate = &early
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	x := exchange.From(r.Context())
	if x == nil {
		var ref *exchange.Refusal
		if r, x, ref = h.unverified(r); ref != nil {
			return host.Refuse(w, r, h.answers, h.log, ref, h.Proxy, "")
		}
	}
	g := h.gate
	if h.Gateway {
		var err error
		if g, err = h.onward(x); err != nil {
			return h.refuse(w, r, x, exchange.Refuse(http.StatusForbidden, exchange.CodeNotVerified, err))
		}
	}
	if ref := g.judge(r, x); ref != nil {
		return h.refuse(w, r, x, ref)
	}
	if g.deferred {
		return h.defers(w, r, x, g, next)
	}
	return h.early(w, r, x, g, next)
}

// onward is the gate of the proxy that rr_verify, as a gateway, found.
func (h *Handler) onward(x *exchange.Exchange) (*Gate, error) {
	if x.Deferred { // Onward is the other's gate
		return nil, errors.New("another rr_inject has been before the rr_inject of the gateway")
	}
	if g, ok := x.Onward.(*Gate); ok {
		return g, nil
	}
	return h.host.InjectGate(x.Proxy)
}

// unverified begins the exchange of a request that no rr_verify let through, if that is
// what the operator wants.
func (h *Handler) unverified(r *http.Request) (*http.Request, *exchange.Exchange, *exchange.Refusal) {
	if !h.Unverified {
		return r, nil, exchange.Refuse(http.StatusForbidden, exchange.CodeNotVerified,
			errors.New("no rr_verify let the request through; put rr_verify before rr_inject in the same block, or say `unverified`"))
	}
	method, ref := exchange.CheckMethod(r)
	if ref != nil {
		return r, nil, ref
	}
	path, err := rule.CanonicalPath(r.URL, false)
	if err != nil {
		return r, nil, exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath, err)
	}
	// whatever the caller proves itself with elsewhere is not for the upstream
	delete(r.Header, "Authorization")
	delete(r.Header, "Proxy-Authorization")
	exchange.NeutralizeConnection(r.Header)
	x, _ := exchange.Begin(r.Context())
	x.Answers = h.answers
	x.Input = rule.Input{Method: method, Path: path, Request: r}
	host.LogFields(r, x)
	return r.WithContext(x), x, nil
}

// judge decides in the scopes of the target and of the target credential. They see the
// request as it is now, which must be what rr_verify saw.
func (g *Gate) judge(r *http.Request, x *exchange.Exchange) *exchange.Refusal {
	if x.KeepSlash || r.URL.RawPath != "" || r.URL.Path != x.Input.Path {
		path, err := rule.CanonicalPath(r.URL, x.KeepSlash)
		if err != nil {
			return exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath, err)
		}
		if path != x.Input.Path {
			return exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath,
				errors.New("the path was rewritten after rr_verify judged it; put the rewrite before rr_verify"))
		}
	}
	x.Input.Request = r
	if x.Input.Body == nil && (g.set.NeedsBody() || g.cred.set.NeedsBody()) {
		x.Input.Body = rule.NewBody(r, 0)
	}
	if d := g.set.Decide(&x.Input); !d.Allowed {
		return exchange.Refuse(http.StatusForbidden, exchange.CodeDenied, exchange.Denial(d, "target"))
	}
	if d := g.cred.set.Decide(&x.Input); !d.Allowed {
		return exchange.Refuse(http.StatusForbidden, exchange.CodeDenied, exchange.Denial(d, "credential "+g.label()))
	}
	return nil
}

// defers leaves the rest to the transport.
func (h *Handler) defers(w http.ResponseWriter, r *http.Request, x *exchange.Exchange, g *Gate, next caddyhttp.Handler) error {
	x.Onward, x.Deferred, x.Writer = g, true, w
	if g.target != nil {
		x.Upstream = g.target.dial
	}
	if used := g.cred.Used; used != nil {
		used(time.Now())
	}
	x.Grant(w.Header())
	err := next.ServeHTTP(w, r)
	if err == nil || x.Answered {
		return err
	}
	return h.refuse(w, r, x, refusalOf(x, err))
}

// refusalOf says why nothing came back from the upstream.
func refusalOf(x *exchange.Exchange, err error) *exchange.Refusal {
	if x.Refusal != nil {
		return x.Refusal
	}
	status := http.StatusBadGateway
	var he caddyhttp.HandlerError
	if errors.As(err, &he) {
		if he.StatusCode >= 400 {
			status = he.StatusCode
		}
		if he.Err != nil {
			err = he.Err // without Caddy's id and place in its source
		}
	}
	return exchange.Refuse(status, exchange.CodeUnreachable, err)
}

// early writes the credential on a copy of the request and passes that on.
func (h *Handler) early(w http.ResponseWriter, r *http.Request, x *exchange.Exchange, g *Gate, next caddyhttp.Handler) error {
	out := r.WithContext(r.Context())
	u := *r.URL
	out.URL, out.Header = &u, r.Header.Clone()
	exchange.NeutralizeConnection(out.Header)
	g.slots.clear(out, x.Stripped)
	if err := g.cred.injector.Inject(out); err != nil {
		return h.refuse(w, r, x, exchange.Refuse(http.StatusBadGateway, exchange.CodeTargetFailed, fmt.Errorf("%s: %w", g.label(), err)))
	}
	x.Decision = exchange.CodeGranted
	return next.ServeHTTP(&marking{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, x: x, slots: &g.slots}, out)
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, x *exchange.Exchange, ref *exchange.Refusal) error {
	x.Decision = ref.Code
	return host.Refuse(w, r, x.Answers, h.log, ref, x.Proxy, x.Credential)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
