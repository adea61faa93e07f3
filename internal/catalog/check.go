package catalog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

// located turns an error of a compiler into one that says where in the record it is. The
// compilers put the place before: `credential x: rules/3/path_regexp: …`.
func located(err error, kind, name, field string) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), place(kind, name)+": ")
	switch {
	case strings.HasPrefix(text, "rules/"), strings.HasPrefix(text, "default: "), strings.HasPrefix(text, "hosts: "):
		where, detail, _ := strings.Cut(text, ": ")
		return &Invalid{Field: where, Detail: detail}
	}
	for _, word := range []string{"accept ", "present ", "previous "} {
		if rest, ok := strings.CutPrefix(text, word); ok {
			if _, detail, ok := strings.Cut(rest, ": "); ok {
				text = detail
			}
			break
		}
	}
	if m := ofOption.FindStringSubmatch(text); m != nil && field == "spec" {
		return &Invalid{Field: field + "/" + m[1], Detail: m[2]}
	}
	return &Invalid{Field: field, Detail: text}
}

// ofOption is an error of one option of a kind: `jwks_url "http://…": reason`, or without the
// value, which is not repeated.
var ofOption = regexp.MustCompile(`^([a-z]+(?:_[a-z]+)*)(?: "[^"]*")?: (.+)$`)

// reacher is a credential that may want to reach addresses.
type reacher interface {
	CheckReach(ctx context.Context, allow []netip.Prefix) error
}

// checkCredential makes sure that a credential can be used, and does not want to go where
// records may not reach.
func (c *Catalog) checkCredential(r *store.Credential, looked lookups) error {
	l := c.loader(r.Client, "")
	defer l.Close()
	var x reacher
	var err error
	switch r.Side {
	case store.ProxySide:
		if len(r.Hosts) > 0 {
			return invalid("hosts", "hosts are for target credentials")
		}
		x, err = c.verifier(l, r)
	case store.TargetSide:
		if !r.ExpiresAt.IsZero() {
			return invalid("expires_at", "an end is for proxy credentials")
		}
		x, err = c.injector(l, r)
	default:
		return invalid("side", "it is proxy or target, not %q", r.Side)
	}
	if err != nil {
		return located(err, "credential", r.Name, "spec")
	}
	err = looked.verdict("credential "+string(r.Spec), func(ctx context.Context) error { return x.CheckReach(ctx, c.options.Egress) })
	var address *host.AddressError
	if errors.As(err, &address) {
		return &Invalid{Field: "spec/" + address.Option, Detail: address.Err.Error()}
	}
	return err
}

// checkTarget makes sure that a target can be used, and is not where records may not reach.
func (c *Catalog) checkTarget(r *store.Target, looked lookups) error {
	l := c.loader(r.Client, "")
	defer l.Close()
	if _, err := compileTarget(l, r); err != nil {
		return located(err, "target", r.Name, "url")
	}
	spec := targetSpec(r)
	err := looked.verdict(fmt.Sprintf("target %s %v", r.URL, r.InsecureHTTP), func(ctx context.Context) error {
		return inject.CheckTarget(ctx, spec, c.options.Egress)
	})
	if err != nil {
		return &Invalid{Field: "url", Detail: err.Error()}
	}
	return nil
}

// lookups are what is known of addresses that records want to reach. They are looked up
// while nobody waits for it but the one who wants to know.
type lookups map[[sha256.Size]byte]*lookup

// lookup is one question and, once somebody has looked, its answer.
type lookup struct {
	ask  func(context.Context) error
	done bool
	err  error
}

// errLookUp ends a change that needs to know addresses; it is run again when they are known.
var errLookUp = errors.New("it is not known yet whether an address may be reached")

// verdict answers a question that key identifies, or notes that it has to be asked.
func (l lookups) verdict(key string, ask func(context.Context) error) error {
	sum := sha256.Sum256([]byte(key)) // a key may hold secrets
	x := l[sum]
	if x == nil {
		l[sum] = &lookup{ask: ask}
		return nil // the change goes on, so that all its questions come at once, and is made again
	}
	return x.err
}

// open reports whether anything has to be looked up.
func (l lookups) open() bool {
	for _, x := range l {
		if !x.done {
			return true
		}
	}
	return false
}

// all looks up whatever is not known yet.
func (l lookups) all(ctx context.Context) {
	for _, x := range l {
		if !x.done {
			x.err, x.done = x.ask(ctx), true
		}
	}
}

// given finds what a proxy refers to among records that were read for it.
type given struct {
	c       *Catalog
	l       *host.Loader
	accepts map[string]*store.Credential
	present *store.Credential
}

// ProxyCredential implements verify.Credentials.
func (g given) ProxyCredential(id string) (*verify.Credential, error) {
	if r := g.accepts[id]; r != nil {
		return g.c.verifier(g.l, r)
	}
	return linked{g.c}.ProxyCredential(id)
}

// TargetCredential implements inject.Credentials.
func (g given) TargetCredential(id string) (*inject.Credential, error) {
	if g.present != nil {
		return g.c.injector(g.l, g.present)
	}
	return linked{g.c}.TargetCredential(id)
}

// checkProxy makes sure that a proxy can be used, and returns the address of its target.
func (c *Catalog) checkProxy(r *store.Proxy, ps *parts) (address string, err error) {
	l := c.loader(r.Client, "")
	defer l.Close()
	g := given{c, l, map[string]*store.Credential{}, ps.injected}
	spec := &verify.Spec{Scope: store.ScopeOf(r.Default, r.Rules), EncodedSlash: r.EncodedSlash, MaxBody: r.MaxBody}
	for i, id := range r.CredentialIDs {
		if !ps.missing[id] {
			g.accepts[id] = ps.credentials[i]
			spec.AcceptRaw = append(spec.AcceptRaw, host.Refer(id))
		}
	}
	if len(spec.AcceptRaw) == 0 {
		spec.AcceptRaw = append(spec.AcceptRaw, verify.NobodysKey())
	}
	if _, err := verify.NewGate(l, r.Name, place("proxy", r.Name), spec, g); err != nil {
		return "", located(err, "proxy", r.Name, "credential_ids")
	}
	if ps.missing[r.TargetID] || ps.missing[r.TargetCredentialID] {
		return "", nil
	}
	target, err := c.targetOf(l, r.TargetID, ps.target)
	if err != nil {
		return "", located(err, "target", r.Name, "target_id")
	}
	_, err = inject.NewGate(l, r.Name, place("proxy", r.Name), target, host.Refer(r.TargetCredentialID), g)
	return target.Address(), located(err, "proxy", r.Name, "target_credential_id")
}

func (c *Catalog) targetOf(l *host.Loader, id string, r *store.Target) (*inject.Target, error) {
	if r != nil {
		return compileTarget(l, r)
	}
	key, _ := parseID(id)
	return c.reach(key)
}

// checkBinding makes sure that a credential may be sent to a target, and returns the target's
// address; none if somebody has deleted it by force.
func (tx *Tx) checkBinding(r *store.Credential, targetID string) (address string, err error) {
	l := tx.catalog.loader(r.Client, "")
	defer l.Close()
	x, err := tx.catalog.injector(l, r)
	if err != nil {
		return "", err
	}
	id, _ := parseID(targetID)
	var rec *store.Target
	if _, declared := tx.catalog.declared.byID[id]; !declared {
		rec, err = readNow[store.Target](tx, store.Targets, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	t, err := tx.catalog.targetOf(l, targetID, rec)
	if err == nil && !x.MayGo(t) {
		err = fmt.Errorf("the credential is used for %s, where its hosts do not let it go", t.Address())
	}
	if err != nil {
		return "", err
	}
	return t.Address(), nil
}

// checkCredentialGoes makes sure that a stored credential may be sent to a target.
func (c *Catalog) checkCredentialGoes(credential string, r *store.Target) error {
	l := c.loader(r.Client, "")
	defer l.Close()
	t, err := compileTarget(l, r)
	if err != nil {
		return err
	}
	key, _ := parseID(credential)
	x, to, declared, err := c.presenting(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && !x.MayGo(t) {
		err = bound(x.Name, x.Hosts, t.Address())
	}
	if err == nil {
		err = mayGo(x, to, declared, t)
	}
	return err
}
