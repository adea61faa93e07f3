package rr

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/verify"
)

// parseMetadata reads the directive rr_metadata: the metadata of a proxy, or of all, for
// sites in which rr_proxy or rr_gateway stands where the well-known path does not lead.
// Syntax:
//
//	rr_metadata [<matcher>] [<proxy>]
func parseMetadata(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive
	m := new(verify.Metadata)
	if h.NextArg() {
		m.Proxy = h.Val()
		if err := checkProxy(h, h.Dispenser, m.Proxy); err != nil {
			return nil, err
		}
	}
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	for h.NextBlock(0) {
		return nil, h.Err("rr_metadata has no options")
	}
	return m, nil
}

// pathBefore is what a path matcher, standing next, has before its star; empty if there
// is no matcher or another one.
func pathBefore(h httpcaddyfile.Helper) string {
	defer func() {
		h.Reset()
		h.Next()
	}()
	if !h.NextArg() || !strings.HasPrefix(h.Val(), "/") {
		return ""
	}
	path := strings.TrimSuffix(strings.TrimSuffix(h.Val(), "*"), "/")
	if strings.ContainsAny(path, "*{}") {
		return ""
	}
	return path
}

// withMetadata adds the route of the metadata, where the path matcher of the directive
// would keep it out, and only if there is an issuer to name.
func withMetadata(h httpcaddyfile.Helper, values []httpcaddyfile.ConfigValue, err error, mount, proxy string) ([]httpcaddyfile.ConfigValue, error) {
	if err != nil || mount == "" || proxy == "" && !hasIssuer(declared(h), proxy) {
		return values, err
	}
	path := verify.WellKnown + mount
	return append(values, httpcaddyfile.ConfigValue{Class: "route", Value: caddyhttp.Route{
		MatcherSetsRaw: caddyhttp.RawMatcherSets{{"path": caddyconfig.JSON(caddyhttp.MatchPath{path, path + "/*"}, nil)}},
		HandlersRaw:    []json.RawMessage{caddyconfig.JSONModuleObject(&verify.Metadata{Proxy: proxy}, "handler", "rr_metadata", nil)},
	}}), nil
}

// hasIssuer reports whether the proxy, or any if it is empty, accepts what an issuer
// issues.
func hasIssuer(app *App, proxy string) bool {
	if app == nil {
		return false
	}
	names := []string{proxy}
	if proxy == "" {
		names = slices.Collect(maps.Keys(app.Proxies))
	}
	return slices.ContainsFunc(names, func(name string) bool {
		p := app.Proxies[name]
		return p != nil && slices.ContainsFunc(p.AcceptRaw, func(raw json.RawMessage) bool {
			if ref, ok, _ := host.Reference(raw); ok && app.Credentials[ref] != nil {
				raw = app.Credentials[ref].AcceptRaw
			}
			var kind struct {
				Issuer string `json:"issuer"`
			}
			return json.Unmarshal(raw, &kind) == nil && kind.Issuer != ""
		})
	})
}
