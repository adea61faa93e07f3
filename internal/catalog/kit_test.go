package catalog

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	_ "github.com/caddy-rr/caddy-rr/internal/logsafe"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/storetest"
	"github.com/caddy-rr/caddy-rr/verify"
)

var admin = audit.Actor{Kind: "admin", Name: "test"}

// kit is a catalogue over a store in memory.
type kit struct {
	*Catalog
	t   testing.TB
	mem *storetest.Mem
	key store.Key
}

func newKit(t testing.TB, declared *Declared) *kit {
	t.Helper()
	key, err := store.ParseKey("3c1f5e7a9b2d4f6081a3c5e7092b4d6f8013a5c7e92b4d6f8a1c3e5f70924b6d")
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{t: t, mem: storetest.Memory(), key: key}
	k.Catalog = k.another(declared)
	return k
}

// another is another configuration's catalogue over the same records.
func (k *kit) another(declared *Declared) *Catalog {
	k.t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	k.t.Cleanup(cancel)
	c := New(ctx, zap.NewNop(), Options{Declared: declared, Egress: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	r := k.Records()
	if r == nil {
		r = k.open()
		k.t.Cleanup(func() { _ = r.Close() })
	}
	if err := c.Open(r); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(c.Close)
	return c
}

// Records are those of the kit's catalogue, nil before it has one.
func (k *kit) Records() *Records {
	if k.Catalog == nil {
		return nil
	}
	return k.Catalog.Records()
}

// open reads the store anew.
func (k *kit) open() *Records {
	k.t.Helper()
	backend, err := k.mem.Open(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	s, err := store.Open(k.t.Context(), store.Options{Backend: backend, Keys: []store.Key{k.key}})
	if err != nil {
		k.t.Fatal(err)
	}
	r, err := OpenRecords(k.t.Context(), s, zap.NewNop())
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// put makes or changes records of the client default.
func (k *kit) put(records ...any) {
	k.t.Helper()
	if err := k.try(records...); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) try(records ...any) error {
	return k.Change(k.t.Context(), admin, func(tx *Tx) error {
		for _, r := range records {
			if err := tx.Put("create", r); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *kit) delete(record any, force bool) error {
	return k.Change(k.t.Context(), admin, func(tx *Tx) error { return tx.Delete(record, force) })
}

var mine = store.Head{Client: store.DefaultClient}

func keyCredential(name, key string) *store.Credential {
	return &store.Credential{
		Head: mine, Name: name, Side: store.ProxySide, AuthType: "key",
		Spec: store.Secret(`{"kind":"key","hashes":["` + verify.FormatHash(key) + `"]}`),
	}
}

func bearerCredential(name, token string) *store.Credential {
	return &store.Credential{
		Head: mine, Name: name, Side: store.TargetSide, AuthType: "bearer",
		Spec: store.Secret(`{"kind":"bearer","token":"` + token + `"}`),
	}
}

func aTarget(name string) *store.Target {
	return &store.Target{Head: mine, Name: name, URL: "http://127.0.0.1:9"}
}

func aProxy(name string) *store.Proxy {
	return &store.Proxy{Head: mine, Name: name, CredentialIDs: []string{"caller"}, TargetID: "vendor", TargetCredentialID: "secret"}
}

// usual makes a proxy and what it refers to.
func (k *kit) usual() *store.Proxy {
	k.t.Helper()
	p := aProxy("stripe")
	p.Alias = "pay"
	k.put(keyCredential("caller", key1), bearerCredential("secret", "sk_test_0123456789"), aTarget("vendor"))
	k.put(p)
	return p
}

const (
	key1 = "rr_live_0123456789abcdef0123456789abcdef"
	key2 = "rr_live_fedcba9876543210fedcba9876543210"
)

func wantError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %q", err, text)
	}
}
