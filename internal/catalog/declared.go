package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// Declared is what the configuration declares itself: it is shown beside the records, they
// may refer to it, and it cannot be changed here. All of it belongs to the client default.
type Declared struct {
	Credentials []DeclaredCredential
	Targets     []DeclaredTarget
	Proxies     []DeclaredProxy
}

// DeclaredCredential is a credential of the configuration, of one side.
type DeclaredCredential struct {
	Record  *store.Credential // without secrets
	Accept  *verify.Credential
	Present *inject.Credential
	// Goes are where the configuration itself sends it, as scheme://host:port.
	Goes []string
}

// DeclaredTarget is a target of the configuration.
type DeclaredTarget struct {
	Record *store.Target
	Target *inject.Target
}

// DeclaredProxy is a proxy of the configuration.
type DeclaredProxy struct {
	Record *store.Proxy
	Verify *verify.Gate
	Inject *inject.Gate
}

// declared is Declared with its indexes.
type declared struct {
	*Declared
	byID  map[uuid.UUID]*declaredThing
	names map[string]*declaredThing // by bucket and name
	keys  map[digest]*declaredThing
}

type declaredThing struct {
	bucket, name, side string
	accept             *verify.Credential
	present            *inject.Credential
	goes               []string
	target             *inject.Target
	proxy              *DeclaredProxy
}

func describe(d *declaredThing) string { return place(singular(d.bucket), d.name) }

// declaredSpace is the name space of ids of what the configuration declares (RFC 9562
// section 5.5).
var declaredSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/caddy-rr/caddy-rr/declared"))

// DeclaredID is the id of what the configuration declares: always the same for a name.
func DeclaredID(bucket, name string) string {
	return uuid.NewSHA1(declaredSpace, []byte(bucket+"/"+name)).String()
}

func (d *Declared) index() *declared {
	if d == nil {
		d = &Declared{}
	}
	x := &declared{Declared: d, byID: map[uuid.UUID]*declaredThing{}, names: map[string]*declaredThing{}, keys: map[digest]*declaredThing{}}
	add := func(h *store.Head, bucket string, t *declaredThing) {
		h.ID, h.Client, h.Declared = DeclaredID(bucket, t.name), store.DefaultClient, true
		t.bucket = bucket
		x.byID[uuid.MustParse(h.ID)] = t
		x.names[bucket+"/"+t.name] = t
	}
	for _, c := range d.Credentials {
		t := &declaredThing{name: c.Record.Name, side: c.Record.Side, accept: c.Accept, present: c.Present, goes: c.Goes}
		add(&c.Record.Head, store.Credentials, t)
		if c.Accept != nil {
			for _, k := range c.Accept.Digests() {
				x.keys[k] = t
			}
		}
	}
	for _, r := range d.Targets {
		add(&r.Record.Head, store.Targets, &declaredThing{name: r.Record.Name, target: r.Target})
	}
	for i := range d.Proxies {
		p := &d.Proxies[i]
		add(&p.Record.Head, store.Proxies, &declaredThing{name: p.Record.Name, proxy: p})
	}
	slices.SortFunc(d.Credentials, func(a, b DeclaredCredential) int { return strings.Compare(a.Record.ID, b.Record.ID) })
	slices.SortFunc(d.Targets, func(a, b DeclaredTarget) int { return strings.Compare(a.Record.ID, b.Record.ID) })
	slices.SortFunc(d.Proxies, func(a, b DeclaredProxy) int { return strings.Compare(a.Record.ID, b.Record.ID) })
	for i := range d.Proxies { // sorting has moved them
		x.names[store.Proxies+"/"+d.Proxies[i].Record.Name].proxy = &d.Proxies[i]
	}
	return x
}

func (d *declared) named(bucket, name string) (*declaredThing, bool) {
	t, ok := d.names[bucket+"/"+name]
	return t, ok
}

// against makes sure that nothing the configuration declares is in the store too.
func (d *declared) against(r *Records) error {
	v := r.view.Load()
	t, _ := v.tenants.get(store.DefaultClient)
	for _, x := range d.names {
		if id, taken := t.names(x.bucket).get(nameKeyOf(x.name)); taken {
			return fmt.Errorf("%s is declared in the configuration, and was made through the API (id %s): rename or delete one of them", describe(x), id)
		}
		if x.bucket != store.Proxies {
			continue
		}
		if id, taken := v.aliases.get(x.name); taken {
			return fmt.Errorf("%s is declared in the configuration, and its name is the alias of a proxy that was made through the API (id %s): rename one of them", describe(x), id)
		}
	}
	for k, x := range d.keys {
		if c, taken := v.byKey(k); taken {
			return fmt.Errorf("%s is declared in the configuration and accepts the same key as a credential that was made through the API (id %s): who is calling could not be told; replace one of the keys", describe(x), c.id)
		}
	}
	return nil
}
