package inject

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

func init() { caddy.RegisterModule(new(Transport)) }

// Transport writes the target credential that rr_inject prepared on the request, for each
// attempt, and forwards it. A request that rr_inject did not prepare is refused; so are
// health checks, which have no caller.
//
// In rr_proxy and rr_gateway the connection is the target's own, with the target's
// options. In a reverse_proxy of your own, behind an rr_inject with `deferred`, it is
// this transport's, with the options of Caddy's HTTP transport, which it takes all.
type Transport struct {
	reverseproxy.HTTPTransport
}

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.transport.rr", New: func() caddy.Module { return new(Transport) }}
}

// UnmarshalCaddyfile sets up the transport from Caddyfile tokens. Syntax:
//
//	transport rr {
//		<options of transport http>
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return t.HTTPTransport.UnmarshalCaddyfile(d)
}

// Provision sets up the underlying transport.
func (t *Transport) Provision(ctx caddy.Context) error {
	if len(t.NetworkProxyRaw) == 0 && t.ForwardProxyURL == "" {
		t.NetworkProxyRaw = []byte(`{"from":"none"}`)
	}
	return t.HTTPTransport.Provision(ctx)
}

// maxUnwatched is the size, in bytes, up to which a body is not a stream: it is over
// before anybody could lose access meanwhile.
const maxUnwatched = 1 << 20

// outgoing is a request and its URL in one allocation.
type outgoing struct {
	request http.Request
	url     url.URL
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchange.From(req.Context())
	var g *Gate
	if x != nil && x.Deferred {
		g, _ = x.Onward.(*Gate)
	}
	if g == nil {
		return nil, exchange.Refuse(http.StatusForbidden, exchange.CodeNotVerified,
			errors.New("transport rr got a request that no rr_inject prepared for it"))
	}
	x.Answered = false
	res, ref := t.forward(x, g, req)
	if ref != nil {
		x.Refusal = ref
		return nil, ref
	}
	return res, nil
}

func (t *Transport) forward(x *exchange.Exchange, g *Gate, req *http.Request) (*http.Response, *exchange.Refusal) {
	if ref := sameAsJudged(x, req); ref != nil {
		return nil, ref
	}
	if ref := t.mayGo(g, req); ref != nil {
		return nil, ref
	}
	if g.target == nil {
		t.SetScheme(req) // signatures may cover it
	}
	out, err := g.prepare(x, req)
	if err != nil {
		return nil, exchange.Refuse(http.StatusBadGateway, exchange.CodeTargetFailed, fmt.Errorf("%s: %w", g.label(), err))
	}
	rt := &t.HTTPTransport
	if g.target != nil {
		rt = g.target.transport
	}
	res, cancel, err := g.send(x, rt, req, out)
	if err != nil {
		return nil, failed(err)
	}
	x.Answered = true
	x.Answers.DropForeign(res.Header)
	g.slots.conceal(res.Header)
	watchDownload(x, res, cancel)
	return res, nil
}

// sameAsJudged makes sure that what is sent is what the rules judged: nothing between
// rr_verify and the wire may rewrite it.
func sameAsJudged(x *exchange.Exchange, req *http.Request) *exchange.Refusal {
	path := req.URL.Path
	if x.KeepSlash {
		var err error
		if path, err = rule.CanonicalPath(req.URL, true); err != nil {
			return exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath, err)
		}
	}
	if path != x.Input.Path {
		return exchange.Refuse(http.StatusBadRequest, exchange.CodeBadPath,
			errors.New("the path was rewritten after the rules judged it; put the rewrite before rr_verify or rr_proxy"))
	}
	if req.Method != x.Input.Method {
		return exchange.Refuse(http.StatusMethodNotAllowed, exchange.CodeMethodRefused,
			errors.New("the method was rewritten after the rules judged it; put the change before rr_verify or rr_proxy"))
	}
	return nil
}

// mayGo compares what will be dialled with what the credential is bound to.
func (t *Transport) mayGo(g *Gate, req *http.Request) *exchange.Refusal {
	dial, ok := reverseproxy.GetDialInfo(req.Context())
	if !ok {
		return exchange.Refuse(http.StatusForbidden, exchange.CodeHostNotAllowed, errors.New("it is not known what would be dialled"))
	}
	refuse := func(bound any) *exchange.Refusal {
		return exchange.Refuse(http.StatusForbidden, exchange.CodeHostNotAllowed,
			fmt.Errorf("credential %s is bound to %v, but %s would be dialled", g.label(), bound, dial.Address))
	}
	if g.target != nil {
		if dial.Network != "tcp" || dial.Address != g.target.dial {
			return refuse(g.target.dial)
		}
		return nil // that the target is among the credential's hosts was checked at load
	}
	if len(g.cred.bindings) == 0 {
		return nil
	}
	scheme := "http"
	if t.TLSEnabled() {
		scheme = "https"
	}
	if dial.Network != "tcp" || !allowed(g.cred.bindings, scheme, dial.Host, dial.Port) {
		return refuse(g.cred.Hosts)
	}
	return nil
}

// prepare makes the request that leaves: a copy, pointed at the target, with the slots
// emptied and the credential written. The original is shared with Caddy's logs and
// retries and is not touched.
func (g *Gate) prepare(x *exchange.Exchange, req *http.Request) (*http.Request, error) {
	o := new(outgoing)
	o.request, o.url = *req, *req.URL
	out := &o.request
	// the values may be shared: nobody between here and the wire changes one in place
	out.URL, out.Header = &o.url, maps.Clone(req.Header)
	g.slots.clear(out, x.Stripped)
	// Inject sees the request as it leaves, which signatures need; a path segment of a
	// credential stands before the request's own path, behind the target's
	late := len(g.slots.paths) > 0
	if g.target != nil {
		g.target.direct(out, !late)
	}
	if err := g.cred.injector.Inject(out); err != nil {
		return nil, err
	}
	if out.Method != req.Method {
		return nil, errors.New("the injector changed the method")
	}
	if g.target != nil && late {
		joinPath(out.URL, g.target.base, g.target.escapedBase)
	}
	if g.target != nil {
		out.URL.Scheme, out.URL.Host, out.Host = g.target.scheme, g.target.dial, g.target.authority
	} else if port := ":" + defaultPort("https"); out.URL.Scheme != "http" && len(out.Host) > len(port) && out.Host == out.URL.Host {
		// Caddy sets Host to the dialled host and port; APIs and signatures want it
		// without the scheme's own port
		if h, p, err := net.SplitHostPort(out.Host); err == nil && p == "443" {
			out.Host = bracketed(h)
		}
	}
	return out, nil
}

// watchUpload has a long or endless request body end if its caller loses access.
func watchUpload(x *exchange.Exchange, out *http.Request) (cancel func()) {
	if out.Body == nil || out.ContentLength >= 0 && out.ContentLength <= maxUnwatched || x.Gate == nil {
		return nil
	}
	ctx, stop := context.WithCancel(out.Context())
	*out = *out.WithContext(ctx)
	done := exchange.Streams.Watch(x, func() {
		// the attempt only ends once its reading from the caller has ended
		_ = http.NewResponseController(x.Writer).SetReadDeadline(time.Now())
		stop()
	})
	return func() { done(); stop() }
}

// watchDownload has a long, endless or upgraded response end if its caller loses access.
func watchDownload(x *exchange.Exchange, res *http.Response, cancel func()) {
	if x.Gate != nil && (res.ContentLength < 0 || res.ContentLength > maxUnwatched || res.StatusCode == http.StatusSwitchingProtocols) {
		res.Body = exchange.Streams.WatchBody(x, res.Body, cancel)
		return
	}
	if cancel != nil {
		res.Body = exchange.OnClose(res.Body, cancel)
	}
}

// failed maps a failed attempt to what the caller sees.
func failed(err error) *exchange.Refusal {
	var timeout net.Error
	switch {
	case errors.Is(err, errAddress):
		return exchange.Refuse(http.StatusForbidden, exchange.CodeAddrNotAllowed, err)
	case errors.Is(err, context.Canceled):
		return exchange.Refuse(exchange.StatusClientClosed, exchange.CodeUnreachable, err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return exchange.Refuse(http.StatusGatewayTimeout, exchange.CodeUnreachable, err)
	}
	return exchange.Refuse(http.StatusBadGateway, exchange.CodeUnreachable, err)
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Transport)(nil)
	_ caddy.CleanerUpper    = (*Transport)(nil)
	_ caddyfile.Unmarshaler = (*Transport)(nil)
	_ http.RoundTripper     = (*Transport)(nil)
)
