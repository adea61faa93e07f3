package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// unit is one record made ready for requests, with a loader of its own, so that what it holds
// goes when the record changes.
type unit[T any] struct {
	once  sync.Once
	value T
	err   error
	mu    sync.Mutex
	close func()
	over  bool
}

type (
	accepting  struct{ credential *verify.Credential }
	presenting struct {
		credential *inject.Credential
		pinned     []string
	}
	reaching struct{ target *inject.Target }
)

// release ends what the unit holds. Requests that are inside may go on.
func (u *unit[T]) release() {
	u.mu.Lock()
	end := u.close
	u.close, u.over = nil, true
	u.mu.Unlock()
	if end != nil {
		end()
	}
}

// hold has release call end.
func (u *unit[T]) hold(end func()) {
	u.mu.Lock()
	over := u.over
	if !over {
		u.close = end
	}
	u.mu.Unlock()
	if over {
		end()
	}
}

// storeTimeout bounds how long a request waits for a record that is not in memory.
const storeTimeout = 5 * time.Second

// ready returns the unit of a record, made on first use. What fails for the store's sake is
// tried again with the next request.
func ready[T any](c *Catalog, units map[uuid.UUID]*unit[T], id uuid.UUID, make func(context.Context, *unit[T]) (T, error)) (T, error) {
	c.mu.Lock()
	u := units[id]
	if u == nil {
		u = new(unit[T])
		if !c.closed {
			units[id] = u
		} else {
			u.over = true
		}
	}
	c.mu.Unlock()
	u.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		u.value, u.err = make(ctx, u)
	})
	if errors.Is(u.err, store.ErrUnavailable) || errors.Is(u.err, context.DeadlineExceeded) {
		c.mu.Lock()
		if units[id] == u {
			delete(units, id)
		}
		c.mu.Unlock()
	}
	return u.value, u.err
}

// loader makes a loader for a record. Its Close ends what it has loaded.
func (c *Catalog) loader(client, id string) *host.Loader {
	o := host.RecordOptions{ID: id, Egress: c.options.Egress, Blocklist: c.Blocklist(client)}
	if r := c.records.Load(); r != nil {
		o.Keeper = r.keeper
	}
	return host.NewRecordLoader(c.ctx, c.log, o)
}

// accept is a proxy credential made ready.
func (c *Catalog) accept(id uuid.UUID) (*verify.Credential, error) {
	if d, ok := c.declared.byID[id]; ok {
		return d.accept, nil
	}
	a, err := ready(c, c.accepts, id, func(ctx context.Context, u *unit[*accepting]) (*accepting, error) {
		rec := new(store.Credential)
		if _, err := c.records.Load().store.Get(ctx, store.Credentials, id.String(), rec); err != nil {
			return nil, err
		}
		l := c.loader(rec.Client, rec.ID)
		u.hold(l.Close)
		v, err := c.verifier(l, rec)
		if err != nil {
			return nil, err
		}
		v.Used = c.records.Load().touch(rec.Client, id)
		if len(v.Digests()) > 0 {
			// nothing goes on in the background, and there may be very many of these
			u.release()
			v.Forget()
			return &accepting{v}, nil
		}
		l.Start()
		return &accepting{v}, nil
	})
	if err != nil {
		return nil, err
	}
	return a.credential, nil
}

// verifier loads the verifier of a proxy credential.
func (c *Catalog) verifier(l *host.Loader, rec *store.Credential) (*verify.Credential, error) {
	v := &verify.Credential{
		Name: rec.Name, Raw: []byte(rec.Spec), Scope: store.ScopeOf(rec.Default, rec.Rules), Expires: rec.ExpiresAt,
	}
	for _, p := range rec.Previous {
		v.Previous = append(v.Previous, verify.Previous{Raw: []byte(p.Spec), Until: p.Until})
	}
	return v, v.Provision(l)
}

// present is a target credential made ready.
func (c *Catalog) present(id uuid.UUID) (*inject.Credential, error) {
	x, _, _, err := c.presenting(id)
	return x, err
}

// presenting is present with where a credential without hosts is bound to.
func (c *Catalog) presenting(id uuid.UUID) (x *inject.Credential, to []string, declared bool, err error) {
	if d, ok := c.declared.byID[id]; ok {
		return d.present, d.goes, true, nil
	}
	p, err := ready(c, c.presents, id, func(ctx context.Context, u *unit[*presenting]) (*presenting, error) {
		rec := new(store.Credential)
		if _, err := c.records.Load().store.Get(ctx, store.Credentials, id.String(), rec); err != nil {
			return nil, err
		}
		l := c.loader(rec.Client, rec.ID)
		u.hold(l.Close)
		x, err := c.injector(l, rec)
		if err != nil {
			return nil, err
		}
		x.Used = c.records.Load().touch(rec.Client, id)
		l.Start()
		to, err := c.records.Load().boundTo(ctx, rec.ID)
		if err != nil {
			return nil, err
		}
		return &presenting{x, to}, nil
	})
	if err != nil {
		return nil, nil, false, err
	}
	return p.credential, p.pinned, false, nil
}

// injector loads the injector of a target credential.
func (c *Catalog) injector(l *host.Loader, rec *store.Credential) (*inject.Credential, error) {
	x := &inject.Credential{
		Name: rec.Name, Raw: []byte(rec.Spec), Scope: store.ScopeOf(rec.Default, rec.Rules), Hosts: rec.Hosts,
	}
	return x, x.Provision(l)
}

// reach is a target made ready.
func (c *Catalog) reach(id uuid.UUID) (*inject.Target, error) {
	if d, ok := c.declared.byID[id]; ok {
		return d.target, nil
	}
	t, err := ready(c, c.targets, id, func(ctx context.Context, u *unit[*reaching]) (*reaching, error) {
		rec := new(store.Target)
		if _, err := c.records.Load().store.Get(ctx, store.Targets, id.String(), rec); err != nil {
			return nil, err
		}
		l := c.loader(rec.Client, rec.ID)
		u.hold(l.Close)
		x, err := compileTarget(l, rec)
		if err != nil {
			return nil, err
		}
		return &reaching{x}, nil
	})
	if err != nil {
		return nil, err
	}
	return t.target, nil
}

func compileTarget(l *host.Loader, rec *store.Target) (*inject.Target, error) {
	return inject.NewTarget(l, rec.Name, targetSpec(rec))
}

func targetSpec(rec *store.Target) *inject.TargetSpec {
	return &inject.TargetSpec{
		URL: rec.URL, TestPath: rec.TestPath, InsecureHTTP: rec.InsecureHTTP, Scope: store.ScopeOf(rec.Default, rec.Rules),
	}
}

// warm makes ready what is in use elsewhere, and what must not wait for the first request.
func (c *Catalog) warm(hot map[uuid.UUID]bool) {
	for id := range hot {
		if _, err := c.gate(id); err != nil {
			c.log.Error("a proxy cannot be made ready", zap.String("id", id.String()), zap.Error(err))
		}
	}
	for _, x := range c.records.Load().view.Load().eager() {
		c.prepare(x)
	}
}

// eager are the credentials to prepare before the first request, the first maxHot.
func (v *view) eager() (list []*credential) {
	for _, client := range v.order {
		t, _ := v.tenants.get(client)
		t.credentials.after(uuid.UUID{}, func(x *credential) bool {
			if x.eager && len(list) < maxHot {
				list = append(list, x)
			}
			return len(list) < maxHot
		})
	}
	return list
}

// prepare makes a credential ready that is worth it before the first request.
func (c *Catalog) prepare(x *credential) {
	if _, err := c.accept(x.id); err != nil {
		c.log.Error("a credential cannot be made ready", zap.String("id", x.id.String()), zap.Error(err))
	}
}

// forget lets go of what was made of records that have changed.
func (c *Catalog) forget(ch *changed) {
	c.mu.Lock()
	drop(c.accepts, ch.credentials)
	drop(c.presents, ch.credentials)
	drop(c.targets, ch.targets)
	c.mu.Unlock()
	v := c.records.Load().view.Load()
	for id := range ch.proxies {
		x, ok := c.served.Load(id)
		if !ok {
			continue
		}
		s := x.(*served)
		s.reset()
		if _, there := v.proxies.get(id); !there {
			c.leave(id, s)
		}
	}
	for id, client := range ch.credentials {
		if x := v.credential(client, id); x != nil && x.eager {
			c.prepare(x)
		}
	}
}

func drop[T any](units map[uuid.UUID]*unit[T], ids map[uuid.UUID]string) {
	for id := range ids {
		if u := units[id]; u != nil {
			delete(units, id)
			u.release()
		}
	}
}

// place names a record in errors.
func place(kind, name string) string { return fmt.Sprintf("%s %s", kind, name) }
