package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Credential is a named target credential.
type Credential struct {
	Name string
	// Raw is its injector.
	Raw json.RawMessage
	// Hosts is where it may be sent; empty means the target it is used with.
	Hosts []string
	// Scope are the credential's own rules.
	rule.Scope
	// Used, if not nil, is told of each request that the credential is for. It must be
	// quick.
	Used func(now time.Time)

	injector Injector
	kind     string
	set      *rule.Set
	bindings []Binding
}

// Settings are the rr app's options that concern the upstream's side.
type Settings struct {
	Answers *exchange.Answers
}

// Credentials knows named target credentials.
type Credentials interface {
	// TargetCredential returns a named target credential.
	TargetCredential(name string) (*Credential, error)
}

// Host is the rr app, as far as the upstream's side needs it.
type Host interface {
	Credentials
	// InjectGate returns a proxy's gate.
	InjectGate(proxy string) (*Gate, error)
	// InjectSettings returns the options.
	InjectSettings() Settings
}

// Injector returns the credential's injector, once it is provisioned.
func (c *Credential) Injector() Injector { return c.injector }

// MayGo reports whether the credential may be sent to the target.
func (c *Credential) MayGo(t *Target) bool {
	return len(c.bindings) == 0 || allowed(c.bindings, t.scheme, t.host, t.port)
}

// Provision loads the credential's injector and compiles its rules.
func (c *Credential) Provision(l *host.Loader) (err error) {
	place := "credential " + c.Name
	if c.injector, c.kind, err = loadInjector(l, place+": present", c.Raw); err != nil {
		return err
	}
	if c.set, err = c.Compile(l.RuleEnv()); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	for _, h := range c.Hosts {
		b, err := ParseBinding(h)
		if err != nil {
			return fmt.Errorf("%s: hosts: %w", place, err)
		}
		c.bindings = append(c.bindings, b)
	}
	return nil
}

func loadInjector(l *host.Loader, place string, raw json.RawMessage) (Injector, string, error) {
	guest, kind, err := l.Guest(place, Namespace, raw)
	if err != nil {
		return nil, kind, err
	}
	x, ok := guest.(Injector)
	if !ok {
		return nil, kind, fmt.Errorf("%s: module %s.%s is a %T, which does not implement inject.Injector", place, Namespace, kind, guest)
	}
	return x, kind, nil
}

// Gate is the compiled upstream's side of a proxy, or of an inline rr_inject (which has
// no target). It is safe for concurrent use.
type Gate struct {
	name     string
	target   *Target
	cred     *Credential
	set      *rule.Set // the target's rules, or those of the inline block
	slots    slots
	deferred bool
}

// NewGate binds a target credential to a target. present is the injector's object or a
// reference to a named credential; place says in errors where it stands.
func NewGate(l *host.Loader, name, place string, target *Target, present json.RawMessage, h Credentials) (*Gate, error) {
	g := &Gate{name: name, target: target, set: target.set, deferred: true}
	if err := g.present(l, place, present, h); err != nil {
		return nil, err
	}
	if !g.cred.MayGo(target) {
		return nil, fmt.Errorf("%s: credential %s may not be sent to %s://%s; its hosts are %q", place, g.cred.Name, target.scheme, target.dial, g.cred.Hosts)
	}
	return g, nil
}

// newInline is the gate of an inline rr_inject.
func newInline(l *host.Loader, s *rule.Scope, present json.RawMessage, deferred bool, h Credentials) (*Gate, error) {
	const place = "rr_inject"
	set, err := s.Compile(l.RuleEnv())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	g := &Gate{set: set, deferred: deferred}
	if err := g.present(l, place, present, h); err != nil {
		return nil, err
	}
	if err := g.cred.early(deferred); err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	if len(g.cred.bindings) > 0 && !deferred {
		return nil, fmt.Errorf("%s: credential %s has hosts, which cannot be enforced before a handler that goes where it likes; use rr_proxy, or `deferred` here and `transport rr` in the reverse_proxy that follows", place, g.cred.Name)
	}
	return g, nil
}

// early refuses credentials that depend on the request as it leaves, before a handler that
// may still change everything.
func (c *Credential) early(deferred bool) error {
	switch c.injector.(type) {
	case *SigV4, *HTTPSignature:
		if !deferred {
			return fmt.Errorf("%s signs the request as it leaves, which is not known before a handler that may change it; use rr_proxy, or `deferred` here and `transport rr` in the reverse_proxy that follows", c.kind)
		}
	}
	return nil
}

func (g *Gate) present(l *host.Loader, place string, present json.RawMessage, h Credentials) error {
	if len(present) == 0 {
		return fmt.Errorf("%s: it presents nothing; add `present <kind> …`, or `present none` to send no credential", place)
	}
	ref, isRef, err := host.Reference(present)
	if err != nil {
		return fmt.Errorf("%s: present: %w", place, err)
	}
	switch {
	case isRef && h == nil:
		return fmt.Errorf("%s: present: credential %q is not known: there is no rr app with credentials in the configuration", place, ref)
	case isRef:
		g.cred, err = h.TargetCredential(ref)
	default:
		g.cred = &Credential{Raw: present}
		if g.cred.injector, g.cred.kind, err = loadInjector(l, place+": present", present); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("%s: present: %w", place, err)
	}
	if g.slots, err = newSlots(g.cred.injector); err != nil {
		return fmt.Errorf("%s: present %s: %w", place, g.label(), err)
	}
	l.Hide(redact.Header, g.slots.headers...)
	l.Hide(redact.Query, g.slots.query...)
	l.Hide(redact.Cookie, g.slots.cookies...)
	return nil
}

// label names the target credential in logs and reasons.
func (g *Gate) label() string {
	if g.cred.Name != "" {
		return g.cred.Name
	}
	return g.cred.kind
}

// AppHost returns the rr app for a handler, nil if the configuration has none.
func AppHost(ctx caddy.Context) (Host, error) {
	app, err := ctx.AppIfConfigured("rr")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, ok := app.(Host)
	if !ok {
		return nil, fmt.Errorf("the app rr is a %T, which is not rr's", app)
	}
	return h, nil
}
