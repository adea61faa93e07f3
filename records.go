package rr

import (
	"maps"
	"slices"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
)

// declaredRecords is what the configuration declares in the form of records, without
// secrets, so that the API shows it and records may refer to it.
func (a *App) declaredRecords() *catalog.Declared {
	d := new(catalog.Declared)
	for _, name := range slices.Sorted(maps.Keys(a.Credentials)) {
		d.Credentials = append(d.Credentials, a.declaredCredential(name))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Targets)) {
		s := a.Targets[name]
		d.Targets = append(d.Targets, catalog.DeclaredTarget{Target: a.targets[name], Record: &store.Target{
			Name: name, URL: s.URL, TestPath: s.TestPath, InsecureHTTP: s.InsecureHTTP, Default: s.Default, Rules: declaredRules(s.Rules),
		}})
	}
	for _, name := range slices.Sorted(maps.Keys(a.Proxies)) {
		d.Proxies = append(d.Proxies, a.declaredProxy(name))
	}
	return d
}

func (a *App) declaredCredential(name string) catalog.DeclaredCredential {
	c := a.Credentials[name]
	r := &store.Credential{Name: name, Hosts: c.Hosts, ExpiresAt: c.Expires, Default: c.Default, Rules: declaredRules(c.Rules)}
	raw := c.AcceptRaw
	if r.Side = store.ProxySide; len(raw) == 0 {
		raw, r.Side = c.PresentRaw, store.TargetSide
	}
	r.AuthType, _, _ = host.Split(raw)
	d := catalog.DeclaredCredential{Record: r, Accept: a.accepts[name], Present: a.presents[name]}
	for _, proxy := range slices.Sorted(maps.Keys(a.Proxies)) {
		if ref, ok, _ := host.Reference(a.Proxies[proxy].PresentRaw); ok && ref == name {
			d.Goes = append(d.Goes, a.injectGates[proxy].Upstream())
		}
	}
	return d
}

func (a *App) declaredProxy(name string) catalog.DeclaredProxy {
	p := a.Proxies[name]
	r := &store.Proxy{
		Name: name, Inactive: p.Inactive, Default: p.Default, Rules: declaredRules(p.Rules),
		EncodedSlash: p.EncodedSlash, MaxBody: p.MaxBody,
	}
	// what has no name has no id either: it is in the proxy itself
	for _, raw := range p.AcceptRaw {
		if ref, ok, _ := host.Reference(raw); ok {
			r.CredentialIDs = append(r.CredentialIDs, catalog.DeclaredID(store.Credentials, ref))
		}
	}
	if ref, ok, _ := host.Reference(p.PresentRaw); ok {
		r.TargetCredentialID = catalog.DeclaredID(store.Credentials, ref)
	}
	if a.Targets[p.Target] != nil {
		r.TargetID = catalog.DeclaredID(store.Targets, p.Target)
	}
	return catalog.DeclaredProxy{Record: r, Verify: a.verifyGates[name], Inject: a.injectGates[name]}
}

// declaredRules are rules without ids: they are changed where they are declared.
func declaredRules(rules []rule.Rule) (list []store.Rule) {
	for _, r := range rules {
		list = append(list, store.Rule{Rule: r})
	}
	return list
}

// blocklist is that of the client default, for what the configuration declares.
type blocklist struct{ app *App }

// Revoked implements verify.Blocklist.
func (b *blocklist) Revoked(issuer, subject, tokenID string, issued time.Time) bool {
	c := b.app.catalog
	return c != nil && c.Blocklist(store.DefaultClient).Revoked(issuer, subject, tokenID, issued)
}
