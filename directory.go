package rr

import (
	"errors"
	"fmt"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/verify"
)

// VerifyGate implements verify.Host.
func (a *App) VerifyGate(proxy string) (*verify.Gate, error) {
	return lookUp(a, a.verifyGates, "proxy", proxy)
}

// VerifyGates implements verify.Host.
func (a *App) VerifyGates() map[string]*verify.Gate { return a.verifyGates }

// ProxyCredential implements verify.Host.
func (a *App) ProxyCredential(name string) (*verify.Credential, error) {
	if _, ok := a.presents[name]; ok {
		return nil, fmt.Errorf("credential %q is presented to upstreams; callers cannot prove themselves with it", name)
	}
	return get(a.accepts, "credential", name)
}

// Directory implements verify.Host. Whoever asks serves records, so the store is opened with
// the configuration.
func (a *App) Directory() verify.Directory {
	if a.opener == nil {
		return nil
	}
	a.wantsStore = true
	return a.catalog
}

// VerifySettings implements verify.Host.
func (a *App) VerifySettings() verify.Settings {
	s := verify.Settings{Answers: a.answers}
	if a.Throttle != nil {
		s.Throttle = *a.Throttle
	}
	s.Egress = a.Egress
	return s
}

// StartWith implements verify.Host.
func (a *App) StartWith(l *host.Loader) { a.inline = append(a.inline, l) }

// InjectGate implements inject.Host.
func (a *App) InjectGate(proxy string) (*inject.Gate, error) {
	return lookUp(a, a.injectGates, "proxy", proxy)
}

// TargetCredential implements inject.Host.
func (a *App) TargetCredential(name string) (*inject.Credential, error) {
	if _, ok := a.accepts[name]; ok {
		return nil, fmt.Errorf("credential %q is accepted from callers; it cannot be presented to an upstream", name)
	}
	return get(a.presents, "credential", name)
}

// InjectSettings implements inject.Host.
func (a *App) InjectSettings() inject.Settings { return inject.Settings{Answers: a.answers} }

// lookUp is get for handlers, which may ask for an app whose provisioning failed: Caddy
// hands it out all the same.
func lookUp[V any](a *App, m map[string]V, what, name string) (V, error) {
	if !a.provisioned {
		var none V
		return none, errors.New("the rr app is not ready")
	}
	return get(m, what, name)
}

func get[V any](m map[string]V, what, name string) (V, error) {
	v, ok := m[name]
	if !ok {
		return v, fmt.Errorf("there is no %s %q; %s", what, name, known(m))
	}
	return v, nil
}

// Interface guards
var (
	_ verify.Host = (*App)(nil)
	_ inject.Host = (*App)(nil)
)
