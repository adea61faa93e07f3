package rr

import (
	"encoding/json"
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/verify"
)

// parseTarget reads a named target. Syntax:
//
//	target <name> <url> {
//		test_path     <path>
//		insecure_http
//		transport http {
//			<options of Caddy's HTTP transport>
//		}
//		allow|deny ...
//		default allow|deny
//	}
func (a *App) parseTarget(d *caddyfile.Dispenser) error {
	name, err := newName(d, "target", a.Targets)
	if err != nil {
		return err
	}
	t := new(inject.TargetSpec)
	if !d.AllArgs(&t.URL) {
		return d.Errf("target %s needs exactly one URL, as in https://api.example.com/v2", name)
	}
	if err := inject.ParseTargetURL(t.URL); err != nil {
		return d.WrapErr(err)
	}
	for d.NextBlock(1) {
		if err := parseTargetOption(d, t); err != nil {
			return err
		}
	}
	put(&a.Targets, name, t)
	return nil
}

func parseTargetOption(d *caddyfile.Dispenser, t *inject.TargetSpec) error {
	switch d.Val() {
	case "test_path":
		if err := once(d, &t.TestPath); err != nil {
			return err
		}
		if t.TestPath == "" || t.TestPath[0] != '/' {
			return d.Errf("test_path %q does not begin with a slash", t.TestPath)
		}
	case "insecure_http":
		t.InsecureHTTP = true
		if d.NextArg() {
			return d.ArgErr()
		}
	case "transport":
		return parseTransport(d, t)
	case "allow", "deny", "default":
		return parseScope(d, &t.Scope)
	default:
		return d.Errf("unrecognized option %q of target; there are: test_path, insecure_http, transport, allow, deny, default", d.Val())
	}
	return nil
}

func parseTransport(d *caddyfile.Dispenser, t *inject.TargetSpec) error {
	if len(t.Transport) > 0 {
		return d.Err("transport is said twice")
	}
	if !d.NextArg() || d.Val() != "http" {
		return d.Err("the transport of a target is http: transport http { … }")
	}
	guest, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.transport.http")
	if err != nil {
		return err
	}
	t.Transport = caddyconfig.JSON(guest, nil)
	return nil
}

// parseProxy reads a proxy. Syntax:
//
//	proxy <name> {
//		accept  <kind> [...] | credential <name>
//		also    <kind> [...] | credential <name>
//		target  <name> | <url>
//		present <kind> [...] | credential <name>
//		allow|deny [<methods>] [<paths>...] { ... }
//		default allow|deny
//		encoded_slash keep
//		max_body <size>
//		resource <url>|off
//		inactive
//	}
func (a *App) parseProxy(d *caddyfile.Dispenser) error {
	name, err := newName(d, "proxy", a.Proxies)
	if err != nil {
		return err
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	p := new(Proxy)
	for d.NextBlock(1) {
		if err := parseProxyOption(d, p); err != nil {
			return err
		}
	}
	switch {
	case len(p.AcceptRaw) == 0:
		return d.Errf("proxy %s accepts nothing; add `accept <kind> …`, or `accept none` for anonymous callers", name)
	case p.Target == "":
		return d.Errf("proxy %s has no target; add `target <url>`", name)
	case len(p.PresentRaw) == 0:
		return d.Errf("proxy %s presents nothing; add `present <kind> …`, or `present none` to send no credential", name)
	}
	put(&a.Proxies, name, p)
	return nil
}

func parseProxyOption(d *caddyfile.Dispenser, p *Proxy) error {
	switch d.Val() {
	case "target":
		if err := once(d, &p.Target); err != nil {
			return err
		}
		if checkName(p.Target) == nil {
			return nil
		}
		if err := inject.ParseTargetURL(p.Target); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "present":
		return parsePresent(d, &p.PresentRaw)
	case "inactive":
		p.Inactive = true
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	}
	known, err := parseSpec(d, &p.Spec)
	if err == nil && !known {
		err = d.Errf("unrecognized option %q of proxy; there are: accept, also, target, present, allow, deny, default, encoded_slash, max_body, resource, inactive", d.Val())
	}
	return err
}

func parsePresent(d *caddyfile.Dispenser, raw *json.RawMessage) error {
	if len(*raw) > 0 {
		return d.Err("present is said twice; an upstream gets exactly one credential (`present custom` has several parts)")
	}
	if !d.NextArg() {
		return d.Errf("present needs a kind; the kinds are: %s", kinds("present"))
	}
	var err error
	*raw, err = parseKind(d, "present", true)
	return err
}

// parseSpec reads an option that proxies and rr_verify have in common.
func parseSpec(d *caddyfile.Dispenser, s *verify.Spec) (known bool, err error) {
	switch d.Val() {
	case "accept", "also":
		verb := d.Val()
		if !d.NextArg() {
			return true, d.Errf("%s needs a kind; the kinds are: %s", verb, kinds(verb))
		}
		raw, err := parseKind(d, verb, true)
		if err != nil {
			return true, err
		}
		if verb == "accept" {
			s.AcceptRaw = append(s.AcceptRaw, raw)
		} else {
			s.AlsoRaw = append(s.AlsoRaw, raw)
		}
	case "allow", "deny", "default":
		return true, parseScope(d, &s.Scope)
	case "encoded_slash":
		if err := once(d, &s.EncodedSlash); err != nil {
			return true, err
		}
		if s.EncodedSlash != "keep" {
			return true, d.Errf("encoded_slash can only be keep, not %q", s.EncodedSlash)
		}
	case "max_body":
		var size string
		if s.MaxBody != 0 || !d.AllArgs(&size) {
			return true, d.Err("max_body is said once, with a size such as 1MiB")
		}
		n, err := humanize.ParseBytes(size)
		if err != nil || n == 0 || n > 1<<30 {
			return true, d.Errf("max_body %q is not a size up to 1GiB, such as %s", size, strconv.Quote("1MiB"))
		}
		s.MaxBody = int64(n)
	case "resource":
		return true, once(d, &s.Resource)
	default:
		return false, nil
	}
	return true, nil
}
