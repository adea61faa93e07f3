package catalog

import (
	"context"
	"encoding/json"
	"errors"
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
	if c == nil || len(c.Hosts) > 0 || secretless(c) {
		return nil
	}
	to, err := tx.boundTo(c.ID)
	switch {
	case err != nil:
		return err
	case slices.Contains(to, address):
		return nil
	case len(to) > 0:
		return bound(c.Name, to, address)
	}
	tx.bind(c.ID, 0, []string{address})
	return nil
}

// bind binds a credential to addresses; to none, it is not bound until it is used. expect is
// as in a store.Put.
func (tx *Tx) bind(credential string, expect uint64, to []string) {
	put := store.Put{Bucket: store.Bound, Key: credential, Expect: expect}
	if len(to) > 0 {
		put.Version, put.Value = 1, binding{to}
	}
	tx.own[store.Bound+credential] = binding{to}
	if i := slices.IndexFunc(tx.puts, func(p store.Put) bool { return p.Bucket == put.Bucket && p.Key == put.Key }); i >= 0 {
		put.Expect = tx.puts[i].Expect // it is bound twice, and written once
		tx.puts[i] = put
		return
	}
	tx.puts = append(tx.puts, put)
}

// rebind binds a credential whose hosts were taken away, or which had no secret before, to
// where it is used: whoever did so has said the secret for that.
func (tx *Tx) rebind(r *store.Credential, goes []string) {
	if r.Side == store.TargetSide && len(r.Hosts) == 0 && !secretless(r) {
		tx.bind(r.ID, store.Any, goes)
	}
}

// binding is where a credential without hosts was first used.
type binding struct {
	To []string `json:"to"`
}

// boundTo is where a credential is bound to, with what this change has bound.
func (tx *Tx) boundTo(credential string) ([]string, error) {
	if tx.batch.touches(store.Bound, credential) {
		tx.again = true
		return nil, errAgain
	}
	if b, ok := tx.own[store.Bound+credential].(binding); ok {
		return b.To, nil
	}
	return tx.records.boundTo(tx.ctx, credential)
}

func (r *Records) boundTo(ctx context.Context, credential string) ([]string, error) {
	var b binding
	_, err := r.store.Get(ctx, store.Bound, credential, &b)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return b.To, err
}

// withBinding adds to a credential where it is bound to.
func (r *Records) withBinding(ctx context.Context, c *store.Credential) (err error) {
	if c.Side == store.TargetSide && !c.Declared {
		c.Pinned, err = r.boundTo(ctx, c.ID)
	}
	return err
}

// mayGo is what pin has made sure of, once more when gates are made.
func mayGo(x *inject.Credential, to []string, declared bool, t *inject.Target) error {
	if len(x.Hosts) > 0 || slices.Contains(to, t.Address()) || len(to) == 0 && !declared {
		return nil
	}
	return bound(x.Name, to, t.Address())
}
