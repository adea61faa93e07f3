package catalog

import (
	"errors"
	"slices"
	"unique"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

func (tx *Tx) putClient(action string, r *store.Client, fields []string) error {
	tx.heads = append(tx.heads, headBefore{&r.Head, r.Head})
	if r.ID == "" {
		id, err := newID()
		if err != nil {
			return err
		}
		r.ID = id.String()
	}
	r.Client = r.ID
	t, exists := tx.draft.tenants.get(r.ID)
	switch {
	case r.Version == 0 && exists && (t.version > 0 || r.ID != store.DefaultClient):
		return conflict("there is a client %q", r.ID)
	case r.Version != 0 && (!exists || t.version != r.Version):
		return store.ErrConflict
	case tx.batch.touches(store.Clients, r.ID):
		tx.again = true
		return errAgain
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = tx.now
	}
	r.UpdatedAt = tx.now
	tx.write(action, store.Clients, &r.Head, r.Name, r, fields)
	r.Version++
	tx.draft.tenant(r.ID).version = r.Version
	return nil
}

func (tx *Tx) putCredential(action string, r *store.Credential, fields []string) error {
	id, err := tx.begin(store.Credentials, &r.Head)
	if err != nil {
		return err
	}
	t, _ := tx.draft.tenants.get(r.Client)
	old, exists := t.credentials.get(id)
	if exists && old.version != r.Version || !exists && r.Version != 0 {
		return store.ErrConflict
	}
	if err := tx.nameFree(store.Credentials, r.Client, r.Name, id); err != nil {
		return err
	}
	if err := tx.identify(r.Rules); err != nil {
		return err
	}
	if n := len(r.Spec) + size(r.Previous); n > maxSpecs {
		return invalid("spec", "it has %d bytes with the earlier secrets that are still accepted, at most %d are kept; rotate without overlap, which ends them", n, maxSpecs)
	}
	r.Previous = slices.DeleteFunc(r.Previous, func(p store.Previous) bool { return !tx.now.Before(p.Until) })
	if err := tx.catalog.checkCredential(r, tx.looked); err != nil {
		return err
	}
	goes, err := tx.usersAllow(id, r)
	if err != nil {
		return err
	}
	now := traitsOf(r.Side, r.Spec, r.Previous)
	c := headOf(r, id)
	c.eager = now.eager
	keys := now.keys
	if err := tx.keysFree(r, c, keys); err != nil {
		return err
	}
	if exists {
		before, err := readNow[store.Credential](tx, store.Credentials, id)
		if err != nil {
			return err
		}
		if len(before.Hosts) > 0 || secretless(before) {
			tx.rebind(r, goes)
		}
		c.used.Store(old.used.Load())
		tx.draft.dropCredential(old, before.Name, traitsOf(before.Side, before.Spec, before.Previous).keys)
	}
	tx.write(action, store.Credentials, &r.Head, r.Name, r, fields)
	r.Version++
	c.version = r.Version
	tx.draft.putCredential(c, r.Name, keys)
	return nil
}

// maxSpecs bounds what a credential and its earlier secrets have together, in bytes.
const maxSpecs = 4 << 20

func size(previous []store.Previous) (n int) {
	for _, p := range previous {
		n += len(p.Spec)
	}
	return n
}

// headOf is what the view has of a credential.
func headOf(r *store.Credential, id uuid.UUID) *credential {
	c := &credential{
		id: id, version: r.Version, tenant: unique.Make(r.Client), kind: kindIndex(r.AuthType),
		target: r.Side == store.TargetSide, temporary: r.Temporary,
	}
	return c
}

// keysFree makes sure that nobody else is recognised by the same key.
func (tx *Tx) keysFree(r *store.Credential, c *credential, keys []digest) error {
	for _, d := range keys {
		other, ok := tx.draft.byKey(d)
		if ok && other.id != c.id {
			taken := &Conflict{Detail: "another credential accepts the same key"}
			if other.tenant == c.tenant {
				taken.Users = []Ref{{store.Credentials, other.id.String(), tx.catalog.nameOf(tx.ctx, store.Credentials, other.id)}}
			}
			return taken
		}
		if ref, ok := tx.catalog.declared.keys[d]; ok {
			if r.Client != store.DefaultClient {
				return &Conflict{Detail: "another credential accepts the same key"}
			}
			return conflict("%s, which the configuration declares, accepts the same key", describe(ref))
		}
	}
	return nil
}

// usersAllow makes sure that the proxies that use a credential still may, and returns the
// addresses that they send it to.
func (tx *Tx) usersAllow(id uuid.UUID, r *store.Credential) (goes []string, err error) {
	users, _ := tx.draft.users.get(id)
	for _, p := range users {
		px, err := readNow[store.Proxy](tx, store.Proxies, p)
		if err != nil {
			return nil, err
		}
		ref := []Ref{{store.Proxies, px.ID, px.Name}}
		if r.Region != "" && px.Region != "" && r.Region != px.Region {
			return nil, &Conflict{Detail: "a proxy of another region uses it", Users: ref}
		}
		if r.Side != store.TargetSide || px.TargetCredentialID != r.ID {
			continue
		}
		address, err := tx.checkBinding(r, px.TargetID)
		switch {
		case errors.Is(err, errAgain):
			return nil, err
		case err != nil:
			return nil, &Conflict{Detail: err.Error(), Users: ref}
		case address != "" && !slices.Contains(goes, address):
			goes = append(goes, address)
		}
	}
	return goes, nil
}

func (tx *Tx) putTarget(action string, r *store.Target, fields []string) error {
	id, err := tx.begin(store.Targets, &r.Head)
	if err != nil {
		return err
	}
	t, _ := tx.draft.tenants.get(r.Client)
	old, exists := t.targets.get(id)
	if exists && old.version != r.Version || !exists && r.Version != 0 {
		return store.ErrConflict
	}
	if err := tx.nameFree(store.Targets, r.Client, r.Name, id); err != nil {
		return err
	}
	if err := tx.identify(r.Rules); err != nil {
		return err
	}
	if err := tx.catalog.checkTarget(r, tx.looked); err != nil {
		return err
	}
	if exists {
		before, err := readNow[store.Target](tx, store.Targets, id)
		if err != nil {
			return err
		}
		if err := tx.targetUsers(id, r); err != nil {
			return err
		}
		tx.draft.dropTarget(old, before.Name)
	}
	tx.write(action, store.Targets, &r.Head, r.Name, r, fields)
	r.Version++
	tx.draft.putTarget(&target{id, r.Version, r.Client}, r.Name)
	return nil
}

// targetUsers makes sure that the credentials that go to a target may go where it is now.
func (tx *Tx) targetUsers(id uuid.UUID, r *store.Target) error {
	users, _ := tx.draft.users.get(id)
	for _, p := range users {
		px, err := readNow[store.Proxy](tx, store.Proxies, p)
		if err != nil {
			return err
		}
		ref := []Ref{{store.Proxies, px.ID, px.Name}}
		if r.Region != "" && px.Region != "" && r.Region != px.Region {
			return &Conflict{Detail: "a proxy of another region uses it", Users: ref}
		}
		if err := tx.catalog.checkCredentialGoes(px.TargetCredentialID, r); err != nil {
			return &Conflict{Detail: err.Error(), Users: ref}
		}
	}
	return nil
}

func (tx *Tx) putBlock(action string, r *store.Block, fields []string) error {
	id, err := tx.begin(store.Blocked, &r.Head)
	if err != nil {
		return err
	}
	t, _ := tx.draft.tenants.get(r.Client)
	old, exists := t.blocks.get(id)
	if exists && old.version != r.Version || !exists && r.Version != 0 {
		return store.ErrConflict
	}
	if t.blocks.len() >= maxBlocks && !exists {
		return conflict("the blocklist is full: it has %d entries; give entries a time when they end", maxBlocks)
	}
	if t.revoked.others(r, id) >= maxAlike {
		return conflict("the blocklist has %d entries about the same already; change or delete one of them", maxAlike)
	}
	tx.write(action, store.Blocked, &r.Head, r.TokenID+r.Subject+r.Issuer, r, fields)
	r.Version++
	if exists {
		tx.draft.dropBlock(old)
	}
	tx.draft.putBlock(&block{id, r.Version, r.Client, *r})
	return nil
}

// maxBlocks bounds a client's blocklist.
const maxBlocks = 100_000

// maxAlike bounds the entries about one subject, issuer or token: all of them are looked at
// for each of its tokens.
const maxAlike = 100

// Delete deletes a record. What is in use is only deleted with force.
func (tx *Tx) Delete(record any, force bool) error {
	switch r := record.(type) {
	case *store.Credential:
		return tx.deleteUsed(store.Credentials, &r.Head, r.Name, force)
	case *store.Target:
		return tx.deleteUsed(store.Targets, &r.Head, r.Name, force)
	case *store.Proxy:
		return tx.deleteProxy(r)
	case *store.Block:
		return tx.deleteBlock(r)
	case *store.Client:
		return tx.deleteClient(r, force)
	}
	return errors.New("there is no such kind of record")
}

func (tx *Tx) deleteUsed(bucket string, h *store.Head, name string, force bool) error {
	id, ok := parseID(h.ID)
	if !ok {
		return store.ErrNotFound
	}
	if users, _ := tx.draft.users.get(id); len(users) > 0 && !force {
		c := &Conflict{Detail: "it is in use"}
		for _, p := range users[:min(len(users), 20)] {
			px, _ := tx.draft.proxies.get(p)
			c.Users = append(c.Users, Ref{store.Proxies, p.String(), px.name})
		}
		return c
	}
	t, _ := tx.draft.tenants.get(h.Client)
	if bucket == store.Credentials {
		old, ok := t.credentials.get(id)
		if !ok || old.version != h.Version {
			return store.ErrConflict
		}
		before, err := readNow[store.Credential](tx, store.Credentials, id)
		if err != nil && !errors.Is(err, store.ErrTampered) { // which must not stay for ever
			return err
		}
		tx.draft.dropCredential(old, name, traitsOf(before.Side, before.Spec, before.Previous).keys)
		if err := tx.dropGrants(h.ID); err != nil {
			return err
		}
		tx.Keep(store.Used, h.ID, store.Any, 0, nil)
		tx.Keep(store.Bound, h.ID, store.Any, 0, nil)
	} else {
		old, ok := t.targets.get(id)
		if !ok || old.version != h.Version {
			return store.ErrConflict
		}
		tx.draft.dropTarget(old, name)
	}
	tx.write("delete", bucket, h, name, nil, nil)
	return nil
}

func (tx *Tx) deleteProxy(r *store.Proxy) error {
	id, _ := parseID(r.ID)
	old, ok := tx.draft.proxies.get(id)
	if !ok || old.version != r.Version {
		return store.ErrConflict
	}
	tx.draft.dropProxy(old)
	tx.write("delete", store.Proxies, &r.Head, r.Name, nil, nil)
	return nil
}

func (tx *Tx) deleteBlock(r *store.Block) error {
	id, _ := parseID(r.ID)
	t, _ := tx.draft.tenants.get(r.Client)
	old, ok := t.blocks.get(id)
	if !ok || old.version != r.Version {
		return store.ErrConflict
	}
	tx.draft.dropBlock(old)
	tx.write("delete", store.Blocked, &r.Head, r.TokenID+r.Subject+r.Issuer, nil, nil)
	return nil
}

// identify gives rules that are new an id.
func (tx *Tx) identify(rules []store.Rule) error {
	for i := range rules {
		if rules[i].ID != "" {
			continue
		}
		id, err := newID()
		if err != nil {
			return err
		}
		rules[i].ID, rules[i].CreatedAt = id.String(), tx.now
	}
	return nil
}
