package rr

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// parseStore reads where records are kept. Syntax:
//
//	store <kind> [...] { ... } | off
func (a *App) parseStore(d *caddyfile.Dispenser) error {
	if len(a.StoreRaw) > 0 {
		return d.Err("store is said twice")
	}
	if !d.NextArg() {
		return d.Err("store needs a kind, as in `store bolt`, or off")
	}
	kind := d.Val()
	if kind == noStore {
		if d.NextArg() {
			return d.ArgErr()
		}
		a.StoreRaw = caddyconfig.JSONModuleObject(struct{}{}, "kind", kind, nil)
		return nil
	}
	if err := host.CheckKind(storeNamespace, kind); err != nil {
		return d.WrapErr(err)
	}
	guest, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+kind)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(guest, "kind", kind, nil)
	return nil
}

// parseEncryptionKey reads what the store is sealed with. Syntax:
//
//	encryption_key <key> [<earlier key>...]
func (a *App) parseEncryptionKey(d *caddyfile.Dispenser) error {
	if len(a.EncryptionKey) > 0 {
		return d.Err("encryption_key is said twice")
	}
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.Err("encryption_key needs a key, as in {file./run/secrets/rr_key}, and may have earlier ones after it")
	}
	for _, arg := range args {
		if strings.TrimSpace(arg) == "" {
			return d.Err("encryption_key: a key is empty")
		}
		a.EncryptionKey = append(a.EncryptionKey, secret.String(arg))
	}
	return nil
}

// parseAPIDirective reads the directive rr_api. Without `prefix` it is what the path matcher
// has before its star. Syntax:
//
//	rr_api [<matcher>] {
//		prefix  <path>
//		url     <public URL>
//		reader|editor|owner claim <name> <value> | credential <name> | user <id>
//		clients claim <name> | <id>... | *
//	}
func parseAPIDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive
	prefix, said := pathPrefix(h)
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // the directive, again: ExtractMatcherSet resets
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	x := new(APIHandler)
	for h.NextBlock(0) {
		if err := parseAPIOption(h, x); err != nil {
			return nil, err
		}
	}
	if x.Prefix == "" {
		if !said {
			return nil, h.Err("rr_api with a named matcher needs `prefix <path>`: what the path has before the API's own (`prefix /` for nothing)")
		}
		x.Prefix = prefix
	}
	x.Prefix = strings.TrimSuffix(x.Prefix, "/")
	if len(x.Roles) == 0 {
		return nil, h.Err("rr_api gives nobody a role; add lines such as `owner claim roles rr-admin`")
	}
	return h.NewRoute(matcher, x), nil
}

func parseAPIOption(h httpcaddyfile.Helper, x *APIHandler) error {
	switch word := h.Val(); word {
	case "prefix":
		return once(h.Dispenser, &x.Prefix)
	case "url":
		return once(h.Dispenser, &x.URL)
	case "clients":
		return parseClients(h.Dispenser, &x.Clients)
	case "reader", "editor", "owner":
		g, err := parseRole(h.Dispenser, word)
		x.Roles = append(x.Roles, g)
		return err
	default:
		return h.Errf("unrecognized option %q of rr_api; there are: reader, editor, owner, clients, prefix, url", word)
	}
}

func parseRole(d *caddyfile.Dispenser, role string) (RoleGrant, error) {
	g := RoleGrant{Role: role}
	args := d.RemainingArgs()
	switch {
	case len(args) == 3 && args[0] == "claim" && args[1] != "" && args[2] != "":
		g.Claim, g.Value = args[1], args[2]
	case len(args) == 2 && args[0] == "credential" && args[1] != "":
		g.Credential = args[1]
	case len(args) == 2 && args[0] == "user" && args[1] != "":
		g.User = args[1]
	default:
		return g, d.Errf("%s needs who has the role: %s claim <name> <value>, %s credential <name>, or %s user <id>", role, role, role, role)
	}
	return g, nil
}

func parseClients(d *caddyfile.Dispenser, s *ClientScope) error {
	if s.All || s.Claim != "" || len(s.Names) > 0 {
		return d.Err("clients is said twice")
	}
	args := d.RemainingArgs()
	switch {
	case len(args) == 2 && args[0] == "claim":
		s.Claim = args[1]
	case len(args) == 1 && args[0] == "*":
		s.All = true
	case len(args) > 0 && args[0] != "claim":
		s.Names = args
	default:
		return d.Err("clients needs which: clients claim <name>, clients <id>..., or clients *")
	}
	return nil
}
