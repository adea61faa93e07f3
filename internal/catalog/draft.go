package catalog

import (
	"slices"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/store"
)

// draft is a view in the making.
type draft struct {
	view
	owned map[string]*tenant // tenants that this draft has copied
	bulk  bool
}

func (v *view) draft() *draft { return &draft{view: *v, owned: map[string]*tenant{}} }

// newBulk is a draft of nothing, to be filled from the store.
func newBulk() *draft {
	d := &draft{owned: map[string]*tenant{}, bulk: true}
	d.tenants.build(textHasher)
	d.proxies.build(idHasher{})
	d.aliases.build(textHasher)
	d.digests.build(digestHasher{})
	d.users.build(idHasher{})
	d.tenant(store.DefaultClient)
	return d
}

// finish makes a view of a draft; the draft is not to be used any more.
func (d *draft) finish() *view {
	for _, t := range d.owned {
		t.credentials.finish()
		t.targets.finish()
		t.proxies.finish()
		t.blocks.finish()
		for i := range t.named {
			t.named[i].finish()
		}
	}
	d.tenants.finish()
	d.proxies.finish()
	d.aliases.finish()
	d.digests.finish()
	d.users.finish()
	return &d.view
}

// tenant returns a tenant that may be changed, and makes it if there is none.
func (d *draft) tenant(id string) *tenant {
	if t := d.owned[id]; t != nil {
		return t
	}
	t := &tenant{id: id}
	if old, ok := d.tenants.get(id); ok {
		*t = *old
	} else {
		i, _ := slices.BinarySearch(d.order, id)
		d.order = slices.Insert(slices.Clone(d.order), i, id)
		if d.bulk {
			t.credentials.build()
			t.targets.build()
			t.proxies.build()
			t.blocks.build()
			for i := range t.named {
				t.named[i].build(nameHasher{})
			}
		}
	}
	d.owned[id] = t
	d.tenants.set(id, t, textHasher)
	return t
}

func (d *draft) dropTenant(id string) {
	d.tenants.remove(id)
	delete(d.owned, id)
	d.order = slices.DeleteFunc(slices.Clone(d.order), func(s string) bool { return s == id })
}

// putCredential has a credential with the name, and recognised by the keys with these
// digests.
func (d *draft) putCredential(c *credential, name string, keys []digest) {
	t := d.tenant(c.tenant.Value())
	t.credentials.set(c.id, c)
	t.names(store.Credentials).set(nameKeyOf(name), c.id, nameHasher{})
	for _, x := range keys {
		d.digests.set(x, c, digestHasher{})
	}
}

// dropCredential forgets a credential. Keys that are not known leave entries that byKey does
// not return.
func (d *draft) dropCredential(c *credential, name string, keys []digest) {
	t := d.tenant(c.tenant.Value())
	t.credentials.remove(c.id)
	t.names(store.Credentials).remove(nameKeyOf(name))
	for _, x := range keys {
		d.digests.remove(x)
	}
}

func (d *draft) putTarget(x *target, name string) {
	t := d.tenant(x.tenant)
	t.targets.set(x.id, x)
	t.names(store.Targets).set(nameKeyOf(name), x.id, nameHasher{})
}

func (d *draft) dropTarget(x *target, name string) {
	t := d.tenant(x.tenant)
	t.targets.remove(x.id)
	t.names(store.Targets).remove(nameKeyOf(name))
}

func (d *draft) putProxy(p *proxy) {
	t := d.tenant(p.tenant)
	t.proxies.set(p.id, p)
	t.names(store.Proxies).set(nameKeyOf(p.name), p.id, nameHasher{})
	d.proxies.set(p.id, p, idHasher{})
	if p.alias != "" {
		d.aliases.set(p.alias, p.id, textHasher)
	}
	for _, id := range p.uses() {
		users, _ := d.users.get(id)
		i, found := slices.BinarySearchFunc(users, p.id, byID{}.Compare)
		switch {
		case found:
		case d.bulk: // nobody has seen the list yet
			d.users.set(id, slices.Insert(users, i, p.id), idHasher{})
		default:
			d.users.set(id, slices.Insert(slices.Clone(users), i, p.id), idHasher{})
		}
	}
	if len(d.sample) < sampleSize {
		d.sample = append(slices.Clone(d.sample), p.id)
	}
}

func (d *draft) dropProxy(p *proxy) {
	t := d.tenant(p.tenant)
	t.proxies.remove(p.id)
	t.names(store.Proxies).remove(nameKeyOf(p.name))
	d.proxies.remove(p.id)
	if p.alias != "" {
		d.aliases.remove(p.alias)
	}
	for _, id := range p.uses() {
		users, _ := d.users.get(id)
		if users = slices.DeleteFunc(slices.Clone(users), func(u uuid.UUID) bool { return u == p.id }); len(users) == 0 {
			d.users.remove(id)
		} else {
			d.users.set(id, users, idHasher{})
		}
	}
	d.sample = slices.DeleteFunc(slices.Clone(d.sample), func(u uuid.UUID) bool { return u == p.id })
}

func (d *draft) putBlock(b *block) {
	t := d.tenant(b.tenant)
	t.blocks.set(b.id, b)
	t.revoked.add(&b.record, b.id)
}

func (d *draft) dropBlock(b *block) {
	t := d.tenant(b.tenant)
	t.blocks.remove(b.id)
	t.revoked.remove(&b.record, b.id)
}
