package catalog

import (
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

// maxAccepted bounds how many credentials a proxy accepts.
const maxAccepted = 1000

func (tx *Tx) putProxy(action string, r *store.Proxy, fields []string) error {
	id, err := tx.begin(store.Proxies, &r.Head)
	if err != nil {
		return err
	}
	old, exists := tx.draft.proxies.get(id)
	if exists && (old.version != r.Version || old.tenant != r.Client) || !exists && r.Version != 0 {
		return store.ErrConflict
	}
	if err := tx.nameFree(store.Proxies, r.Client, r.Name, id); err != nil {
		return err
	}
	if err := tx.routeFree(r, id); err != nil {
		return err
	}
	if err := tx.identify(r.Rules); err != nil {
		return err
	}
	p := &proxy{id: id, tenant: r.Client, name: r.Name, alias: r.Alias}
	ps := &parts{missing: map[string]bool{}}
	if err := tx.link(r, p, old, ps); err != nil {
		return err
	}
	err = tx.read(r, ps)
	if err != nil {
		return err
	}
	if err := agree(r, ps); err != nil {
		return err
	}
	address, err := tx.catalog.checkProxy(r, ps)
	if err != nil {
		return err
	}
	if err := tx.pin(r, ps, address); err != nil {
		return err
	}
	if exists {
		tx.draft.dropProxy(old)
	}
	tx.write(action, store.Proxies, &r.Head, r.Name, r, fields)
	r.Version++
	p.version = r.Version
	tx.draft.putProxy(p)
	return nil
}

// routeFree makes sure that a gateway finds the proxy, and nobody else's requests come to
// it: an alias may not be the name under which callers know another.
func (tx *Tx) routeFree(r *store.Proxy, id uuid.UUID) error {
	d := tx.draft
	if r.Alias != "" {
		if _, is := parseID(r.Alias); is {
			return invalid("alias", "an alias cannot look like an id")
		}
		if other, ok := d.aliases.get(r.Alias); ok && other != id {
			return tx.routeTaken(r, other, "the alias is taken")
		}
		if ref, ok := tx.catalog.declared.named(store.Proxies, r.Alias); ok {
			return conflict("the alias is taken: %s is declared in the configuration", describe(ref))
		}
		t, _ := d.tenants.get(store.DefaultClient)
		if other, ok := t.names(store.Proxies).get(nameKeyOf(r.Alias)); ok && other != id {
			return tx.routeTaken(r, other, "the alias is the name of another proxy")
		}
	}
	if r.Client == store.DefaultClient {
		if other, ok := d.aliases.get(r.Name); ok && other != id {
			return tx.routeTaken(r, other, "the name is the alias of another proxy")
		}
	}
	return nil
}

// routeTaken names the other proxy, if the client may know of it.
func (tx *Tx) routeTaken(r *store.Proxy, other uuid.UUID, detail string) error {
	c := &Conflict{Detail: detail}
	if p, ok := tx.draft.proxies.get(other); ok && p.tenant == r.Client {
		c.Users = []Ref{{store.Proxies, p.id.String(), p.name}}
	}
	return c
}

// link turns what a proxy refers to into ids. What somebody has deleted by force may stay
// where it was, so that the rest can be changed.
func (tx *Tx) link(r *store.Proxy, p, old *proxy, ps *parts) error {
	reference := func(bucket, text, field string) (uuid.UUID, error) {
		id, err := tx.reference(bucket, r.Client, text, field)
		if err == nil || old == nil {
			return id, err
		}
		if same, ok := parseID(text); ok && slices.Contains(old.uses(), same) && errors.As(err, new(*Invalid)) {
			ps.missing[text] = true
			return same, nil
		}
		return id, err
	}

	if len(r.CredentialIDs) == 0 {
		return invalid("credential_ids", "a proxy needs at least one proxy credential")
	}
	if len(r.CredentialIDs) > maxAccepted {
		return invalid("credential_ids", "a proxy accepts at most %d credentials", maxAccepted)
	}
	for i, text := range r.CredentialIDs {
		id, err := reference(store.Credentials, text, "credential_ids")
		if err != nil {
			return err
		}
		if slices.Contains(p.credentials, id) {
			return invalid("credential_ids", "credential %s is there twice", text)
		}
		r.CredentialIDs[i] = id.String()
		p.credentials = append(p.credentials, id)
	}
	var err error
	if p.target, err = reference(store.Targets, r.TargetID, "target_id"); err != nil {
		return err
	}
	if p.injected, err = reference(store.Credentials, r.TargetCredentialID, "target_credential_id"); err != nil {
		return err
	}
	r.TargetID, r.TargetCredentialID = p.target.String(), p.injected.String()
	return nil
}

func (tx *Tx) reference(bucket, client, text, field string) (uuid.UUID, error) {
	if text == "" {
		return uuid.UUID{}, invalid(field, "it is missing")
	}
	id, err := tx.resolve(bucket, client, text)
	if errors.Is(err, store.ErrNotFound) {
		return id, invalid(field, "the client has nothing of this id or name")
	}
	return id, err
}

// parts are the records that a proxy refers to; a declared or missing one is nil.
type parts struct {
	missing     map[string]bool // by id
	credentials []*store.Credential
	target      *store.Target
	injected    *store.Credential
}

// read reads what a proxy refers to.
func (tx *Tx) read(r *store.Proxy, ps *parts) (err error) {
	for _, text := range r.CredentialIDs {
		c, err := tx.sided(text, store.ProxySide, "credential_ids", ps)
		if err != nil {
			return err
		}
		ps.credentials = append(ps.credentials, c)
	}
	if ps.injected, err = tx.sided(r.TargetCredentialID, store.TargetSide, "target_credential_id", ps); err != nil {
		return err
	}
	id, _ := parseID(r.TargetID)
	if _, declared := tx.catalog.declared.byID[id]; !declared && !ps.missing[r.TargetID] {
		ps.target, err = readNow[store.Target](tx, store.Targets, id)
	}
	return err
}

// sided reads a credential and makes sure that it is for the side that it is used on.
func (tx *Tx) sided(text, side, field string, ps *parts) (*store.Credential, error) {
	if ps.missing[text] {
		return nil, nil
	}
	id, _ := parseID(text)
	is, c := "", (*store.Credential)(nil)
	if ref, declared := tx.catalog.declared.byID[id]; declared {
		is = ref.side
	} else {
		var err error
		if c, err = readNow[store.Credential](tx, store.Credentials, id); err != nil {
			return nil, err
		}
		is = c.Side
	}
	if is != side {
		return nil, invalid(field, "credential %s is a %s credential; a %s credential is needed here", text, is, side)
	}
	return c, nil
}

// agree makes sure that regions, where they are said, are the same.
func agree(r *store.Proxy, ps *parts) error {
	differs := func(region string) bool { return region != "" && r.Region != "" && region != r.Region }
	for _, c := range ps.credentials {
		if c != nil && differs(c.Region) {
			return invalid("credential_ids", "credential %s is of region %s, the proxy of %s", c.Name, c.Region, r.Region)
		}
	}
	if ps.target != nil && differs(ps.target.Region) {
		return invalid("target_id", "the target is of region %s, the proxy of %s", ps.target.Region, r.Region)
	}
	if ps.injected != nil && differs(ps.injected.Region) {
		return invalid("target_credential_id", "the credential is of region %s, the proxy of %s", ps.injected.Region, r.Region)
	}
	return nil
}

// deleteClient deletes a client, with force also everything that it owns.
func (tx *Tx) deleteClient(r *store.Client, force bool) error {
	t, ok := tx.draft.tenants.get(r.ID)
	if !ok || t.version != r.Version {
		return store.ErrConflict
	}
	if r.ID == store.DefaultClient {
		return conflict("the client default always exists")
	}
	if !t.empty() && !force {
		return tx.owned(t)
	}
	if err := tx.deleteOwned(r.ID, t); err != nil {
		return err
	}
	tx.draft.dropTenant(r.ID)
	tx.write("delete", store.Clients, &r.Head, r.Name, nil, nil)
	return nil
}

// owned is the conflict that names what a client has.
func (tx *Tx) owned(t *tenant) error {
	c := &Conflict{Detail: "the client owns something"}
	const most = 20
	t.proxies.after(uuid.UUID{}, func(p *proxy) bool {
		c.Users = append(c.Users, Ref{store.Proxies, p.id.String(), p.name})
		return len(c.Users) < most
	})
	t.credentials.after(uuid.UUID{}, func(x *credential) bool {
		c.Users = append(c.Users, Ref{store.Credentials, x.id.String(), tx.catalog.nameOf(tx.ctx, store.Credentials, x.id)})
		return len(c.Users) < most
	})
	t.targets.after(uuid.UUID{}, func(x *target) bool {
		c.Users = append(c.Users, Ref{store.Targets, x.id.String(), tx.catalog.nameOf(tx.ctx, store.Targets, x.id)})
		return len(c.Users) < most
	})
	return c
}

// deleteOwned deletes what a client owns, proxies first.
func (tx *Tx) deleteOwned(client string, t *tenant) error {
	var list []any
	collect := func(id uuid.UUID, version uint64, r any, h *store.Head) {
		*h = store.Head{ID: id.String(), Client: client, Version: version}
		list = append(list, r)
	}
	var failed error
	t.proxies.after(uuid.UUID{}, func(p *proxy) bool {
		tx.again = tx.again || tx.batch.touches(store.Proxies, p.id.String())
		r := &store.Proxy{Name: p.name}
		collect(p.id, p.version, r, &r.Head)
		return true
	})
	t.credentials.after(uuid.UUID{}, func(c *credential) bool {
		r, err := readNow[store.Credential](tx, store.Credentials, c.id)
		if failed = err; err != nil {
			return false
		}
		collect(c.id, c.version, r, &r.Head)
		return true
	})
	t.targets.after(uuid.UUID{}, func(x *target) bool {
		r, err := readNow[store.Target](tx, store.Targets, x.id)
		if failed = errors.Join(failed, err); err != nil {
			return false
		}
		collect(x.id, x.version, r, &r.Head)
		return true
	})
	t.blocks.after(uuid.UUID{}, func(b *block) bool {
		tx.again = tx.again || tx.batch.touches(store.Blocked, b.id.String())
		r := b.record
		collect(b.id, b.version, &r, &r.Head)
		return true
	})
	switch {
	case failed != nil:
		return failed
	case tx.again:
		return errAgain
	}
	for _, r := range list {
		if err := tx.Delete(r, true); err != nil {
			return err
		}
	}
	return nil
}
