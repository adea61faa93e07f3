package catalog

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/store"
)

// A secret goes only where whoever has said it wanted it to go. That is what hosts are for; a
// credential without hosts is bound to where it is first used, or, of the configuration's, to
// where the configuration uses it. Whoever may make targets and proxies need not know what is
// in the credentials.

// bound is the error for a credential that would go elsewhere.
func bound(name string, to []string, address string) error {
	return conflict("credential %s is bound to %s and may not be sent to %s; to have it go elsewhere, change credentialHosts and say the secret again", name, strings.Join(to, ", "), address)
}

// secretless reports whether a target credential has nothing to be bound.
func secretless(r *store.Credential) bool {
	var s struct {
		Kind string `json:"kind"`
	}
	return json.Unmarshal(r.Spec, &s) == nil && s.Kind == "none"
}

// pin binds a proxy's target credential to the address of its target, if it has no hosts and
// is not bound yet.
func (tx *Tx) pin(p *store.Proxy, ps *parts, address string) error {
	if address == "" { // its target is missing
		return nil
	}
	id, _ := parseID(p.TargetCredentialID)
	if d, ok := tx.catalog.declared.byID[id]; ok {
		if len(d.present.Hosts) == 0 && !slices.Contains(d.goes, address) {
			if len(d.goes) == 0 {
				return conflict("credential %s of the configuration has no hosts, and the configuration sends it nowhere; give it hosts there", d.name)
			}
			return conflict("credential %s of the configuration goes to %s; give it hosts there to have it go elsewhere", d.name, strings.Join(d.goes, ", "))
		}
		return nil
	}
	c := ps.injected
	switch {
	case c == nil || len(c.Hosts) > 0 || secretless(c) || slices.Contains(c.Pinned, address):
		return nil
	case len(c.Pinned) > 0:
		return bound(c.Name, c.Pinned, address)
	}
	t, _ := tx.draft.tenants.get(c.Client)
	if now, ok := t.credentials.get(id); ok {
		c.Version = now.version
	}
	c.Pinned = []string{address}
	return tx.putCredential("bind", c, []string{"credentialBoundTo"})
}

// mayGo is what pin has made sure of, once more when gates are made.
func mayGo(x *inject.Credential, to []string, declared bool, t *inject.Target) error {
	if len(x.Hosts) > 0 || slices.Contains(to, t.Address()) || len(to) == 0 && !declared {
		return nil
	}
	return bound(x.Name, to, t.Address())
}
