package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// served is a proxy that requests have come for. It stays while the gates that are made of
// the proxy's record, and of what it refers to, replace each other; so it is what knows
// whether a caller with an open stream still has access.
type served struct {
	catalog *Catalog
	id      uuid.UUID
	series  *metrics.Proxy
	current atomic.Pointer[gates]
	mu      sync.Mutex // held while gates are made
	left    atomic.Bool
}

// gates are the two gates of a proxy, made of records at one time.
type gates struct {
	verify *verify.Gate
	inject *inject.Gate
	close  func()
}

// maxSeries bounds how many proxies of the store have series of their own; the others share
// one.
const maxSeries = 1000

// manySeries is the label of proxies beyond maxSeries.
const manySeries = "_other"

// gate returns the gate of a proxy, made when it is first needed; nil if the proxy is gone.
func (c *Catalog) gate(id uuid.UUID) (*verify.Gate, error) {
	g, err := c.gates(id)
	if g == nil {
		return nil, err
	}
	return g.verify, err
}

func (c *Catalog) gates(id uuid.UUID) (*gates, error) {
	x, ok := c.served.Load(id)
	if !ok {
		p, there := c.records.Load().view.Load().proxies.get(id)
		if !there {
			return nil, nil
		}
		if c.over() {
			return nil, ErrClosed
		}
		x = c.enter(p)
	}
	s := x.(*served)
	if g := s.current.Load(); g != nil {
		return g, nil
	}
	if c.over() { // what is made now would never be let go
		c.leave(id, s)
		return nil, ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.current.Load(); g != nil {
		return g, nil
	}
	// whoever changes a record puts the view in force first and then waits for s.mu to
	// reset, so what is made here of an older view does not stay
	p, there := c.records.Load().view.Load().proxies.get(id)
	if !there {
		return nil, nil
	}
	g, err := c.compile(s, p)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.name, err)
	}
	s.current.Store(g)
	return g, nil
}

// enter begins to serve a proxy.
func (c *Catalog) enter(p *proxy) *served {
	c.mu.Lock()
	label := c.label(p)
	if c.labels++; c.labels > maxSeries {
		label = manySeries
	}
	c.mu.Unlock()
	s := &served{catalog: c, id: p.id, series: metrics.Hold(label)}
	if x, lost := c.served.LoadOrStore(p.id, s); lost {
		metrics.Release(s.series)
		c.mu.Lock()
		c.labels--
		c.mu.Unlock()
		return x.(*served)
	}
	exchange.Streams.Enter(s)
	return s
}

// leave ends to serve a proxy.
func (c *Catalog) leave(id uuid.UUID, s *served) {
	if s.left.Swap(true) {
		return
	}
	c.served.CompareAndDelete(id, s)
	s.reset()
	exchange.Streams.Leave(s)
	metrics.Release(s.series)
	c.mu.Lock()
	c.labels--
	c.mu.Unlock()
}

// reset has the gates made anew with the next request.
func (s *served) reset() {
	s.mu.Lock()
	old := s.current.Swap(nil)
	s.mu.Unlock()
	if old != nil {
		old.close()
	}
}

// Name implements exchange.Holder. A name of a declared proxy has no colon.
func (s *served) Name() string { return "record:" + s.id.String() }

// Holds implements exchange.Holder.
func (s *served) Holds(proof exchange.Proof) bool {
	if s.left.Load() {
		return false
	}
	g, err := s.catalog.gate(s.id)
	if err != nil {
		// that the store cannot be asked now is no reason to end what was granted
		return errors.Is(err, store.ErrUnavailable)
	}
	return g != nil && g.Holds(proof)
}

// label names a proxy in logs and metrics.
func (c *Catalog) label(p *proxy) string {
	if p.tenant == store.DefaultClient && !strings.Contains(p.name, "/") {
		return p.name
	}
	return p.tenant + "/" + p.name
}

// linked finds what a proxy refers to; it is what verify and inject ask while they make gates.
type linked struct {
	c *Catalog
}

// ProxyCredential implements verify.Credentials.
func (h linked) ProxyCredential(id string) (*verify.Credential, error) {
	return h.c.accept(uuid.MustParse(id))
}

// TargetCredential implements inject.Credentials.
func (h linked) TargetCredential(id string) (*inject.Credential, error) {
	return h.c.present(uuid.MustParse(id))
}

// compile makes the gates of a proxy. What is missing, because somebody has deleted it by
// force, leaves a gate that recognises callers and tells them so.
func (c *Catalog) compile(s *served, p *proxy) (_ *gates, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	rec := new(store.Proxy)
	if _, err := c.records.Load().store.Get(ctx, store.Proxies, p.id.String(), rec); err != nil {
		return nil, err
	}
	l := c.loader(p.tenant, "")
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	label := c.label(p)
	spec := &verify.Spec{Scope: store.ScopeOf(rec.Default, rec.Rules), EncodedSlash: rec.EncodedSlash, MaxBody: rec.MaxBody}
	for _, id := range p.credentials {
		_, err := c.accept(id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		spec.AcceptRaw = append(spec.AcceptRaw, host.Refer(id.String()))
	}
	if len(spec.AcceptRaw) == 0 {
		spec.AcceptRaw = []json.RawMessage{verify.NobodysKey()}
	}
	g := &gates{close: l.Close}
	if g.verify, err = verify.NewGate(l, label, place("proxy", rec.Name), spec, linked{c}); err != nil {
		return nil, err
	}
	g.verify.Hold(s, s.series)
	if rec.Inactive {
		g.verify.SetInactive()
	}
	g.inject, err = c.onward(l, label, rec, p)
	switch {
	case errors.Is(err, store.ErrNotFound):
		g.verify.SetIncomplete("its target or target credential was deleted")
		return g, nil
	case err != nil:
		return nil, err
	}
	g.verify.SetOnward(g.inject)
	return g, nil
}

// onward makes the upstream's side of a proxy.
func (c *Catalog) onward(l *host.Loader, label string, rec *store.Proxy, p *proxy) (*inject.Gate, error) {
	target, err := c.reach(p.target)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	x, to, declared, err := c.presenting(p.injected)
	if err != nil {
		return nil, fmt.Errorf("target credential: %w", err)
	}
	if err := mayGo(x, to, declared, target); err != nil {
		return nil, err
	}
	return inject.NewGate(l, label, place("proxy", rec.Name), target, host.Refer(p.injected.String()), linked{c})
}
