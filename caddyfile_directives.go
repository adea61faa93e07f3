package rr

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/verify"
)

// parseVerify reads the directive rr_verify. Syntax:
//
//	rr_verify [<matcher>] [<proxy>] {
//		accept ...
//		also ...
//		allow|deny ...
//		default allow|deny
//		encoded_slash keep
//		max_body <size>
//		resource <url>|off
//	}
func parseVerify(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive
	v := new(verify.Handler)
	if h.NextArg() {
		v.Proxy = h.Val()
		if err := checkProxy(h, h.Dispenser, v.Proxy); err != nil {
			return nil, err
		}
		if h.NextArg() {
			return nil, h.ArgErr()
		}
	}
	options := false
	for h.NextBlock(0) {
		options = true
		if known, err := parseSpec(h.Dispenser, &v.Spec); err != nil {
			return nil, err
		} else if !known {
			return nil, h.Errf("unrecognized option %q of rr_verify; there are: accept, also, allow, deny, default, encoded_slash, max_body, resource", h.Val())
		}
	}
	switch {
	case v.Proxy != "" && options:
		return nil, h.Errf("rr_verify %s takes everything from the proxy; the block must go", v.Proxy)
	case v.Proxy == "" && len(v.AcceptRaw) == 0:
		return nil, h.Err("rr_verify accepts nothing; add `accept <kind> …`, or `accept none` for anonymous callers, or name a proxy")
	}
	return v, nil
}

// parseInject reads the directive rr_inject. Syntax:
//
//	rr_inject [<matcher>] [<proxy>] {
//		present ...
//		allow|deny ...
//		default allow|deny
//		deferred
//		unverified
//	}
func parseInject(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive
	x := new(inject.Handler)
	if h.NextArg() {
		x.Proxy = h.Val()
		if err := checkProxy(h, h.Dispenser, x.Proxy); err != nil {
			return nil, err
		}
		if h.NextArg() {
			return nil, h.ArgErr()
		}
	}
	for h.NextBlock(0) {
		if err := parseInjectOption(h, x); err != nil {
			return nil, err
		}
	}
	if x.Proxy == "" && len(x.PresentRaw) == 0 {
		return nil, h.Err("rr_inject presents nothing; add `present <kind> …`, or `present none` to send no credential, or name a proxy")
	}
	return x, nil
}

func parseInjectOption(h httpcaddyfile.Helper, x *inject.Handler) error {
	word := h.Val()
	switch word {
	case "deferred", "unverified":
		x.Deferred, x.Unverified = x.Deferred || word == "deferred", x.Unverified || word == "unverified"
		if h.NextArg() {
			return h.ArgErr()
		}
		return nil
	case "present", "allow", "deny", "default":
		if x.Proxy != "" {
			return h.Errf("rr_inject %s takes %s from the proxy", x.Proxy, word)
		}
		if word == "present" {
			return parsePresent(h.Dispenser, &x.PresentRaw)
		}
		return parseScope(h.Dispenser, &x.Scope)
	}
	return h.Errf("unrecognized option %q of rr_inject; there are: present, allow, deny, default, deferred, unverified", word)
}

// declared is what the global option has declared, nil without one.
func declared(h httpcaddyfile.Helper) *App {
	global, ok := h.Option("rr").(httpcaddyfile.App)
	if !ok {
		return nil
	}
	app := new(App)
	if json.Unmarshal(global.Value, app) != nil {
		return nil
	}
	return app
}

// checkProxy refuses, with its place, the name of a proxy that is not declared.
func checkProxy(h httpcaddyfile.Helper, d *caddyfile.Dispenser, name string) error {
	app := declared(h)
	if app == nil {
		return d.Errf("there is no proxy %q: the global option `rr { … }` is missing", name)
	}
	if app.Proxies[name] == nil {
		return d.Errf("there is no proxy %q; %s", name, known(app.Proxies))
	}
	return nil
}

// parseProxyDirective reads the directive rr_proxy: rr_verify and rr_inject of a proxy
// and a reverse_proxy to its target. Syntax:
//
//	rr_proxy [<matcher>] <proxy> {
//		<subdirectives of reverse_proxy>
//	}
func parseProxyDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive
	mount := pathBefore(h)
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // the directive, again: ExtractMatcherSet resets
	if !h.NextArg() {
		return nil, h.Err("rr_proxy needs the name of a proxy")
	}
	name := h.Val()
	if err := checkProxy(h, h.Dispenser, name); err != nil {
		return nil, err
	}
	h.Delete()
	h.Reset()
	if !hasIssuer(declared(h), name) {
		mount = ""
	}
	v := &verify.Handler{Proxy: name, Mount: mount, Unwatched: true}
	x := &inject.Handler{Proxy: name, Deferred: true}
	// Caddy keeps the health of upstreams by this text, so it is another for each proxy
	values, err := forward(h, matcher, v, x, "{rr.upstream."+name+"}", h.NewFromNextSegment())
	return withMetadata(h, values, err, mount, name)
}

// pathPrefix is what the directive's path matcher has before its star; said is false if it
// has a matcher of another sort. h is left at the directive.
func pathPrefix(h httpcaddyfile.Helper) (prefix string, said bool) {
	defer func() {
		h.Reset()
		h.Next()
	}()
	if !h.NextArg() || h.Val() == "*" {
		return "", true
	}
	if !strings.HasPrefix(h.Val(), "/") {
		return "", false
	}
	return strings.TrimSuffix(strings.TrimSuffix(h.Val(), "*"), "/"), true
}

// parseGatewayDirective reads the directive rr_gateway: every proxy at <prefix>/<name>/….
// Without `prefix` it is what the path matcher has before its star. With `proxy` the proxy's
// name is elsewhere, such as in the host. Syntax:
//
//	rr_gateway [<matcher>] {
//		prefix <path>
//		proxy  <placeholder>
//		<subdirectives of reverse_proxy>
//	}
func parseGatewayDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive
	prefix, said := pathPrefix(h)
	app := declared(h)
	switch {
	case app == nil:
		return nil, h.Err("rr_gateway has nothing to lead to: the global option `rr { … }` is missing; `rr` alone serves what is made through the API")
	case len(app.Proxies) == 0 && app.storeOff():
		return nil, h.Err("rr_gateway has no proxy to lead to; declare one in the global option `rr { … }`, or give it a store")
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	d := h.NewFromNextSegment()
	d.Next()
	d.Next()
	name := ""
	for d.NextBlock(0) {
		switch d.Val() {
		case "prefix":
			if !d.AllArgs(&prefix) {
				return nil, d.ArgErr()
			}
			said = true
		case "proxy":
			if !d.AllArgs(&name) || !strings.Contains(name, "{") {
				return nil, d.Err("proxy needs a placeholder that has the proxy's id, alias or name, such as {labels.2}")
			}
		default:
			skip(d)
			continue
		}
		d.DeleteN(2)
	}
	if name != "" && !said {
		prefix, said = "", true
	}
	if !said {
		return nil, d.Err("rr_gateway with a named matcher needs `prefix <path>`: what the path has before the proxy's name (`prefix /` for nothing)")
	}
	d.Reset()
	values, err := forward(h, matcher, &verify.Handler{Gateway: &verify.Gateway{Prefix: strings.TrimSuffix(prefix, "/"), Name: name}, Unwatched: true},
		&inject.Handler{Gateway: true, Deferred: true}, gatewayDial, d)
	if matcher == nil {
		prefix = "" // the gateway sees every request
	}
	return withMetadata(h, values, err, strings.TrimSuffix(prefix, "/"), "")
}

// gatewayDial is the upstream of a gateway: that of whichever proxy the request is for.
const gatewayDial = "{rr.upstream}"

// foreign are the subdirectives of reverse_proxy that would take requests elsewhere than
// the rules judged or the credential is bound to, or that cannot work with rr.
var foreign = map[string]string{
	"lb_policy": "a proxy has one target",
	"to":        "the upstream is the proxy's target",
	"dynamic":   "the upstream is the proxy's target",
	"transport": "the transport is rr's; options towards the upstream go into the target's `transport http { … }`",
	"rewrite":   "rules judge the path that is sent; put the rewrite before, in the site",
	"method":    "rules judge the method that is sent; put the change before, in the site",
}

// forward makes one route of verifying, injecting and forwarding. d holds the directive's
// tokens, of which what is left is reverse_proxy's.
func forward(h httpcaddyfile.Helper, matcher map[string]json.RawMessage, v *verify.Handler, x *inject.Handler, dial string, d *caddyfile.Dispenser) ([]httpcaddyfile.ConfigValue, error) {
	if err := refuseForeign(d, x.Gateway); err != nil {
		return nil, err
	}
	rp := &reverseproxy.Handler{
		TransportRaw: caddyconfig.JSONModuleObject(struct{}{}, "protocol", "rr", nil),
		Upstreams:    reverseproxy.UpstreamPool{{Dial: dial}},
	}
	if err := rp.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	if err := rp.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	route := caddyhttp.Route{HandlersRaw: []json.RawMessage{
		caddyconfig.JSONModuleObject(v, "handler", "rr_verify", nil),
		caddyconfig.JSONModuleObject(x, "handler", "rr_inject", nil),
		caddyconfig.JSONModuleObject(rp, "handler", "reverse_proxy", nil),
	}}
	if matcher != nil {
		route.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcher}
	}
	return []httpcaddyfile.ConfigValue{{Class: "route", Value: route}}, nil
}

// refuseForeign looks through the subdirectives and leaves d before the first token.
func refuseForeign(d *caddyfile.Dispenser, gateway bool) error {
	d.Next() // an empty token
	d.Next() // the directive
	if d.NextArg() {
		return d.Errf("surplus argument %q: the upstream is the proxy's target", d.Val())
	}
	for d.NextBlock(0) {
		if why, ok := foreign[d.Val()]; ok {
			return d.Errf("%s is not for rr (nor are %s): %s", d.Val(), others(d.Val()), why)
		}
		if strings.HasPrefix(d.Val(), "health_") {
			return d.Errf("%s is not for rr: an active health check has no caller, and so no credential to send", d.Val())
		}
		if gateway && passive[d.Val()] {
			return d.Errf("%s is not for rr_gateway: the upstreams of all its proxies would be taken for one; use rr_proxy", d.Val())
		}
		if strings.HasPrefix(d.Val(), "header_up") && d.CountRemainingArgs() > 0 {
			if name := d.RemainingArgs()[0]; strings.EqualFold(strings.TrimLeft(name, "+-?>"), "host") {
				return d.Err("header_up Host is not for rr: Host is the target's, which the credential is bound to")
			}
		}
		skip(d)
	}
	d.Reset()
	d.Next()
	return nil
}

// passive are the subdirectives of passive health checks.
var passive = map[string]bool{
	"fail_duration": true, "max_fails": true, "unhealthy_status": true, "unhealthy_latency": true, "unhealthy_request_count": true,
}

func others(word string) string {
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(foreign)), func(s string) bool { return s == word })
	return strings.Join(rest, ", ")
}
