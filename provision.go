package rr

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/verify"
)

func (a *App) checkNames() error {
	for what, names := range map[string][]string{
		"credential": slices.Collect(maps.Keys(a.Credentials)),
		"target":     slices.Collect(maps.Keys(a.Targets)),
		"proxy":      slices.Collect(maps.Keys(a.Proxies)),
	} {
		for _, name := range names {
			if err := checkName(name); err != nil {
				return fmt.Errorf("%s %q: %w", what, name, err)
			}
		}
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func checkName(name string) error {
	if !namePattern.MatchString(name) {
		return errors.New("a name is up to 128 letters, digits, dots, hyphens and underscores, and begins with a letter or digit")
	}
	return nil
}

func (a *App) provisionCredentials() error {
	a.accepts, a.presents = map[string]*verify.Credential{}, map[string]*inject.Credential{}
	for _, name := range slices.Sorted(maps.Keys(a.Credentials)) {
		c := a.Credentials[name]
		switch {
		case c == nil || len(c.AcceptRaw) == 0 && len(c.PresentRaw) == 0:
			return fmt.Errorf("credential %s: it says neither accept nor present", name)
		case len(c.AcceptRaw) > 0 && len(c.PresentRaw) > 0:
			return fmt.Errorf("credential %s: it says both accept and present; make two credentials of it", name)
		case len(c.AcceptRaw) > 0 && len(c.Hosts) > 0:
			return fmt.Errorf("credential %s: hosts is for credentials that are presented to upstreams", name)
		case len(c.PresentRaw) > 0 && !c.Expires.IsZero():
			return fmt.Errorf("credential %s: expires is for credentials that are accepted from callers", name)
		case len(c.AcceptRaw) > 0:
			v := &verify.Credential{Name: name, Raw: c.AcceptRaw, Scope: c.Scope, Expires: c.Expires}
			if err := v.Provision(a.loader); err != nil {
				return err
			}
			a.accepts[name] = v
		default:
			x := &inject.Credential{Name: name, Raw: c.PresentRaw, Scope: c.Scope, Hosts: c.Hosts}
			if err := x.Provision(a.loader); err != nil {
				return err
			}
			a.presents[name] = x
		}
	}
	return nil
}

func (a *App) provisionProxies() error {
	a.verifyGates, a.injectGates = map[string]*verify.Gate{}, map[string]*inject.Gate{}
	targets := map[string]*inject.Target{}
	a.targets = targets
	for _, name := range slices.Sorted(maps.Keys(a.Targets)) {
		spec := a.Targets[name]
		if spec == nil {
			return fmt.Errorf("target %s: it has no url", name)
		}
		t, err := inject.NewTarget(a.loader, name, spec)
		if err != nil {
			return err
		}
		targets[name] = t
	}
	for _, name := range slices.Sorted(maps.Keys(a.Proxies)) {
		if err := a.provisionProxy(name, a.Proxies[name], targets); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) provisionProxy(name string, p *Proxy, targets map[string]*inject.Target) error {
	place := "proxy " + name
	if p == nil || p.Target == "" {
		return fmt.Errorf("%s: it has no target", place)
	}
	target := targets[p.Target]
	if target == nil {
		if !strings.Contains(p.Target, "://") {
			return fmt.Errorf("%s: there is no target %q; %s", place, p.Target, known(targets))
		}
		var err error
		if target, err = inject.NewTarget(a.loader, "of proxy "+name, &inject.TargetSpec{URL: p.Target}); err != nil {
			return err
		}
	}
	ig, err := inject.NewGate(a.loader, name, place, target, p.PresentRaw, a)
	if err != nil {
		return err
	}
	vg, err := verify.NewGate(a.loader, name, place, &p.Spec, a)
	if err != nil {
		return err
	}
	if p.Inactive {
		vg.SetInactive()
	}
	vg.Open()
	a.opened = append(a.opened, vg)
	vg.SetOnward(ig)
	a.verifyGates[name], a.injectGates[name] = vg, ig
	return nil
}

// known lists names for messages.
func known[V any](m map[string]V) string {
	if len(m) == 0 {
		return "none is declared"
	}
	return "there are: " + strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
