package rr

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/verify"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("rr", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("rr_verify", parseVerify)
	httpcaddyfile.RegisterHandlerDirective("rr_inject", parseInject)
	httpcaddyfile.RegisterHandlerDirective("rr_metadata", parseMetadata)
	httpcaddyfile.RegisterDirective("rr_proxy", parseProxyDirective)
	httpcaddyfile.RegisterDirective("rr_gateway", parseGatewayDirective)
	httpcaddyfile.RegisterDirective("rr_api", parseAPIDirective)
	// after rewrites, so that rules judge the path that goes on, and before everything
	// that could answer
	for _, dir := range []string{"rr_metadata", "rr_verify"} {
		httpcaddyfile.RegisterDirectiveOrder(dir, httpcaddyfile.Before, "basic_auth")
	}
	// as late as possible; a catch-all reverse_proxy must not come before rr_proxy
	for _, dir := range []string{"rr_inject", "rr_api", "rr_gateway", "rr_proxy"} {
		httpcaddyfile.RegisterDirectiveOrder(dir, httpcaddyfile.Before, "reverse_proxy")
	}
}

// parseGlobal reads the global option. Blocks may be repeated. Syntax:
//
//	rr {
//		credential <name> accept|present <kind> [...] { ... }
//		target     <name> <url> { ... }
//		proxy      <name> { ... }
//		response_headers <prefix>
//		errors           pass
//		throttle         <failures> <window> | off
//		egress           allow <cidr>...
//		store            <kind> [...] { ... } | off
//		encryption_key   <key> [<earlier key>...]
//	}
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if before, ok := existing.(httpcaddyfile.App); ok {
		if err := json.Unmarshal(before.Value, app); err != nil {
			return nil, err
		}
	}
	d.Next() // rr
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	for d.NextBlock(0) {
		if err := app.parseOption(d); err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "rr", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) parseOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "credential":
		return a.parseCredential(d)
	case "target":
		return a.parseTarget(d)
	case "proxy":
		return a.parseProxy(d)
	case "response_headers":
		return once(d, &a.ResponseHeaders)
	case "errors":
		if err := once(d, &a.Errors); err != nil {
			return err
		}
		if a.Errors != "pass" {
			return d.Errf("errors can only be pass, not %q", a.Errors)
		}
		return nil
	case "throttle":
		return a.parseThrottle(d)
	case "egress":
		return a.parseEgress(d)
	case "store":
		return a.parseStore(d)
	case "encryption_key":
		return a.parseEncryptionKey(d)
	}
	return d.Errf("unrecognized option %q of rr; there are: credential, target, proxy, response_headers, errors, throttle, egress, store, encryption_key", d.Val())
}

func (a *App) parseEgress(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 || args[0] != "allow" {
		return d.Err("egress needs `allow` and address ranges, as in `egress allow 10.0.0.0/8`")
	}
	for _, arg := range args[1:] {
		p, err := netip.ParsePrefix(arg)
		if err != nil {
			return d.Errf("egress: %q is not an address range such as 10.0.0.0/8", arg)
		}
		a.Egress = append(a.Egress, p.Masked())
	}
	return nil
}

// once reads an option with one argument that may be said only once.
func once(d *caddyfile.Dispenser, s *string) error {
	option := d.Val()
	if *s != "" {
		return d.Errf("%s is said twice", option)
	}
	if !d.AllArgs(s) {
		return d.Errf("%s needs exactly one argument", option)
	}
	return nil
}

func (a *App) parseThrottle(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if a.Throttle != nil {
		return d.Err("throttle is said twice")
	}
	if len(args) == 1 && args[0] == "off" {
		a.Throttle = &verify.Throttle{Failures: -1}
		return nil
	}
	if len(args) != 2 {
		return d.Err("throttle needs a number of failures and a window, as in `throttle 20 10s`, or `off`")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return d.Errf("throttle: %q is not a number of failures", args[0])
	}
	window, err := caddy.ParseDuration(args[1])
	if err != nil || window <= 0 {
		return d.Errf("throttle: %q is not a window such as 10s", args[1])
	}
	a.Throttle = &verify.Throttle{Failures: n, Window: caddy.Duration(window)}
	return nil
}

// newName reads a name that must not be taken yet.
func newName[V any](d *caddyfile.Dispenser, what string, taken map[string]V) (string, error) {
	if !d.NextArg() {
		return "", d.Errf("%s needs a name", what)
	}
	name := d.Val()
	if err := checkName(name); err != nil {
		return "", d.Errf("%s %q: %v", what, name, err)
	}
	if _, twice := taken[name]; twice {
		return "", d.Errf("%s %q is declared twice", what, name)
	}
	return name, nil
}

// parseCredential reads a named credential. Its own options are taken out of the block;
// what is left is the kind's.
func (a *App) parseCredential(d *caddyfile.Dispenser) error {
	name, err := newName(d, "credential", a.Credentials)
	if err != nil {
		return err
	}
	if !d.NextArg() || d.Val() != "accept" && d.Val() != "present" {
		return d.Errf("credential %s: say `accept <kind> …` (from callers) or `present <kind> …` (to the upstream)", name)
	}
	verb := d.Val()
	if !d.NextArg() {
		return d.Errf("credential %s: %s needs a kind; the kinds are: %s", name, verb, kinds(verb))
	}
	c := new(Credential)
	rest, err := c.takeOwn(d.NewFromNextSegment(), verb)
	if err != nil {
		return err
	}
	raw, err := parseKind(rest, verb, false)
	if err != nil {
		return err
	}
	if verb == "accept" {
		c.AcceptRaw = raw
	} else {
		c.PresentRaw = raw
	}
	put(&a.Credentials, name, c)
	return nil
}

// takeOwn reads a credential's own options and returns the tokens of its kind.
func (c *Credential) takeOwn(d *caddyfile.Dispenser, verb string) (*caddyfile.Dispenser, error) {
	d.Next() // the kind
	brace := d.Token()
	head := []caddyfile.Token{brace}
	for d.NextArg() {
		head = append(head, d.Token())
	}
	var options []caddyfile.Token
	for d.NextBlock(0) {
		own, err := c.parseOwn(d, verb)
		if err != nil {
			return nil, err
		}
		if !own {
			options = append(options, d.NextSegment()...)
		}
	}
	if len(options) > 0 {
		brace.Text, brace.Line = "{", head[len(head)-1].Line
		head = append(append(head, brace), options...)
		brace.Text, brace.Line = "}", options[len(options)-1].Line+1
		head = append(head, brace)
	}
	return caddyfile.NewDispenser(head), nil
}

// parseOwn reads the option at hand if it is a credential's own.
func (c *Credential) parseOwn(d *caddyfile.Dispenser, verb string) (bool, error) {
	switch d.Val() {
	case "allow", "deny", "default":
		return true, parseScope(d, &c.Scope)
	case "hosts":
		return true, c.parseHosts(d, verb)
	case "expires":
		if verb != "accept" {
			return true, d.Err("expires is for credentials that are accepted from callers")
		}
		return true, verify.ParseExpires(d, &c.Expires)
	}
	return false, nil
}

func (c *Credential) parseHosts(d *caddyfile.Dispenser, verb string) error {
	if verb != "present" {
		return d.Err("hosts is for credentials that are presented to upstreams")
	}
	hosts := d.RemainingArgs()
	if len(hosts) == 0 {
		return d.Err("hosts needs at least one host, as in api.example.com")
	}
	for _, h := range hosts {
		if _, err := inject.ParseBinding(h); err != nil {
			return d.WrapErr(err)
		}
	}
	c.Hosts = append(c.Hosts, hosts...)
	return nil
}

// skip passes over an option with its arguments and block.
func skip(d *caddyfile.Dispenser) {
	for d.NextArg() {
	}
	for n := d.Nesting(); d.NextBlock(n); {
		skip(d)
	}
}

func put[V any](m *map[string]V, name string, v V) {
	if *m == nil {
		*m = make(map[string]V)
	}
	(*m)[name] = v
}

func namespace(verb string) string {
	if verb == "present" {
		return inject.Namespace
	}
	return verify.Namespace
}

func kinds(verb string) string { return strings.Join(host.Kinds(namespace(verb)), ", ") }

// parseKind reads a kind and its options from the current token on, or, if references
// are allowed, `credential <name>`.
func parseKind(d *caddyfile.Dispenser, verb string, references bool) (json.RawMessage, error) {
	if d.Val() == "" && !d.Next() {
		return nil, d.Errf("%s needs a kind; the kinds are: %s", verb, kinds(verb))
	}
	kind := host.Kind(d.Val())
	if kind == "credential" && references {
		var name string
		if !d.AllArgs(&name) {
			return nil, d.Err("credential needs the name of a credential")
		}
		if err := checkName(name); err != nil {
			return nil, d.Errf("credential %q: %v", name, err)
		}
		return host.Refer(name), nil
	}
	if err := host.CheckKind(namespace(verb), kind); err != nil {
		return nil, d.WrapErr(err)
	}
	guest, err := caddyfile.UnmarshalModule(d, namespace(verb)+"."+kind)
	if err != nil {
		return nil, err
	}
	return caddyconfig.JSONModuleObject(guest, "kind", kind, nil), nil
}

// parseScope reads an allow, a deny or a default.
func parseScope(d *caddyfile.Dispenser, s *rule.Scope) error {
	if d.Val() != "default" {
		return parseRule(d, s)
	}
	if err := once(d, &s.Default); err != nil {
		return err
	}
	if s.Default != "allow" && s.Default != "deny" {
		return d.Errf("default is allow or deny, not %q", s.Default)
	}
	return nil
}
