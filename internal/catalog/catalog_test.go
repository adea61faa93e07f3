package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/verify"
)

func (k *kit) found(name string) bool {
	k.t.Helper()
	g, err := k.Find(name)
	if err != nil {
		k.t.Fatal(err)
	}
	return g != nil
}

func TestAProxyIsFoundByIDAliasAndName(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	for name, want := range map[string]bool{
		p.ID: true, "pay": true, "stripe": true, "caller": false, "": false, strings.ToUpper(p.ID): false, "PAY": false,
	} {
		if k.found(name) != want {
			t.Errorf("%q: found %v", name, !want)
		}
	}
	p.Alias, p.Name = "cash", "vendor-api"
	k.put(p)
	for name, want := range map[string]bool{p.ID: true, "cash": true, "vendor-api": true, "pay": false, "stripe": false} {
		if k.found(name) != want {
			t.Errorf("renamed: %q: found %v", name, !want)
		}
	}
	if err := k.delete(p, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{p.ID, "cash", "vendor-api"} {
		if k.found(name) {
			t.Errorf("deleted: %q is found", name)
		}
	}
}

func TestAnotherClientsNameIsNoRoute(t *testing.T) {
	k := newKit(t, nil)
	k.usual()
	k.put(&store.Client{Head: store.Head{ID: "acme"}, Name: "Acme"})
	p := aProxy("theirs")
	c, x, g := keyCredential("caller", key2), bearerCredential("secret", "t0ken-0123456789"), aTarget("vendor")
	for _, h := range []*store.Head{&p.Head, &c.Head, &x.Head, &g.Head} {
		h.Client = "acme"
	}
	k.put(c, x, g)
	k.put(p)
	if k.found("theirs") || !k.found(p.ID) {
		t.Error("a proxy of another client is found by name, or not by id")
	}
	for _, alias := range []string{"stripe", "pay"} { // callers of these would come to somebody else
		p.Alias = alias
		if err := k.try(p); !errors.As(err, new(*Conflict)) {
			t.Errorf("alias %s: %v", alias, err)
		}
	}
	p.Alias = "acme-pay"
	k.put(p)
	mineToo := aProxy("acme-pay")
	if err := k.try(mineToo); !errors.As(err, new(*Conflict)) {
		t.Errorf("a name that is an alias: %v", err)
	}
	for _, ref := range []func(*store.Proxy){
		func(p *store.Proxy) { p.TargetID = g.ID }, func(p *store.Proxy) { p.TargetCredentialID = x.ID },
		func(p *store.Proxy) { p.CredentialIDs = []string{c.ID} },
	} {
		q := aProxy("spy")
		ref(q)
		if err := k.try(q); !errors.As(err, new(*Invalid)) {
			t.Errorf("another client's resource is used: %v", err)
		}
	}
}

func TestRefusedChangesChangeNothing(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	before := k.Records().view.Load()
	stale := *p
	stale.Version--
	temporary := bearerCredential("other", "abc-0123456789abcdef")
	for _, tt := range []struct {
		name   string
		change func(tx *Tx) error
		want   string
	}{
		{"a taken name", func(tx *Tx) error { return tx.Put("create", keyCredential("caller", key2)) }, "the name is taken: credential caller"},
		{"a taken key", func(tx *Tx) error { return tx.Put("create", keyCredential("twin", key1)) }, "another credential accepts the same key: credential caller"},
		{"a taken alias", func(tx *Tx) error { q := aProxy("q"); q.Alias = "pay"; return tx.Put("create", q) }, "the alias is taken"},
		{"an alias like an id", func(tx *Tx) error { q := aProxy("q"); q.Alias = p.ID; return tx.Put("create", q) }, "cannot look like an id"},
		{"a stale version", func(tx *Tx) error { return tx.Put("update", &stale) }, store.ErrConflict.Error()},
		{"no such client", func(tx *Tx) error {
			c := keyCredential("x", key2)
			c.Client = "nobody"
			return tx.Put("create", c)
		}, "there is no such record"},
		{"nothing to accept", func(tx *Tx) error { q := aProxy("q"); q.CredentialIDs = nil; return tx.Put("create", q) }, "at least one"},
		{"twice the same", func(tx *Tx) error {
			q := aProxy("q")
			q.CredentialIDs = []string{"caller", "caller"}
			return tx.Put("create", q)
		}, "there twice"},
		{"the wrong side", func(tx *Tx) error {
			q := aProxy("q")
			q.CredentialIDs = []string{"secret"}
			return tx.Put("create", q)
		}, "is a target credential; a proxy credential is needed"},
		{"a bad spec", func(tx *Tx) error {
			c := keyCredential("bad", key2)
			c.Spec = store.Secret(`{"kind":"key","hashes":["sha256:zz"]}`)
			return tx.Put("create", c)
		}, "spec: hash 1: a hash is sha256:"},
		{"a bad rule", func(tx *Tx) error {
			q := aProxy("q")
			q.Rules = []store.Rule{{ID: "r", Rule: rule.Rule{Effect: "deny"}}, {ID: "s"}}
			q.Rules[1].Rule.Effect, q.Rules[1].Rule.PathRegexp = "allow", "("
			return tx.Put("create", q)
		}, "rules/1/path_regexp: "},
		{"a private address", func(tx *Tx) error {
			g := aTarget("metadata")
			g.URL = "http://169.254.169.254"
			return tx.Put("create", g)
		}, "url: "},
		{"in use", func(tx *Tx) error {
			c, err := tx.Credential(store.DefaultClient, "caller")
			if err != nil {
				return err
			}
			return tx.Delete(c, false)
		}, "it is in use: proxy stripe"},
		{"the second of two", func(tx *Tx) error {
			if err := tx.Put("create", temporary); err != nil {
				return err
			}
			return tx.Put("create", keyCredential("caller", key2))
		}, "the name is taken"},
		{"regions that differ", func(tx *Tx) error {
			c := keyCredential("eu", key2)
			c.Region = "eu-west-1"
			if err := tx.Put("create", c); err != nil {
				return err
			}
			q := aProxy("q")
			q.Region, q.CredentialIDs = "us-east-1", []string{"eu"}
			return tx.Put("create", q)
		}, "is of region eu-west-1"},
		{"a panic", func(*Tx) error { panic("boom") }, "panicked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, k.Change(t.Context(), admin, tt.change), tt.want)
		})
	}
	if k.Records().view.Load() != before {
		t.Error("the view has changed")
	}
	n := 0
	for _, err := range k.Audit(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d entries in the audit log, want those of four creations", n)
	}
}

func TestAFaultOfTheStoreChangesNothing(t *testing.T) {
	for _, fault := range []error{store.ErrFull, store.ErrReadOnly, store.ErrUnavailable} {
		k := newKit(t, nil)
		p := k.usual()
		k.mem.FailNext(fault)
		q := *p
		q.Alias = "other"
		if err := k.try(&q); !errors.Is(err, fault) {
			t.Errorf("got %v, want %v", err, fault)
		}
		if h := k.Health(t.Context()); h.Writable || !errors.Is(h.Err, fault) {
			t.Errorf("health: %+v", h)
		}
		if !k.found("pay") || k.found("other") {
			t.Error("the change is in force")
		}
		again := *p
		again.Alias = "other"
		k.put(&again)
		if h := k.Health(t.Context()); !h.Writable || h.Err != nil {
			t.Errorf("health: %+v", h)
		}
		if k.found("pay") || !k.found("other") {
			t.Error("the second try is not in force")
		}
	}
}

func TestParallelChanges(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	const n = 300
	var wg sync.WaitGroup
	errs := make(chan error, 3*n)
	for i := range n {
		wg.Go(func() { errs <- k.try(keyCredential(fmt.Sprintf("c%d", i), fmt.Sprintf("%s-%d", key2, i))) })
		wg.Go(func() { // all of them want the same name
			if err := k.try(keyCredential("wanted", fmt.Sprintf("%s+%d", key2, i))); err != nil && !errors.As(err, new(*Conflict)) {
				errs <- err
			}
		})
		wg.Go(func() { // and all of them change the same record
			for {
				q, err := k.Proxy(t.Context(), store.DefaultClient, p.ID)
				if err == nil {
					q.MaxBody++
					if err = k.try(q); errors.Is(err, store.ErrConflict) {
						continue
					}
				}
				errs <- err
				return
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := k.Proxy(t.Context(), store.DefaultClient, p.ID)
	if err != nil || q.MaxBody != n {
		t.Errorf("%d changes of one record are left of %d (%v)", q.MaxBody, n, err)
	}
	ids := map[string]bool{}
	for after := ""; ; {
		list, next, err := k.Credentials(t.Context(), store.DefaultClient, Query{Limit: 100, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			ids[c.ID] = true
		}
		if after = next; next == "" {
			break
		}
	}
	if len(ids) != n+3 { // and caller, secret, wanted
		t.Errorf("%d credentials, want %d", len(ids), n+3)
	}
	if count, err := audit.Verify(k.Audit(t.Context(), 0)); err != nil || count != uint64(4+n+1+n) {
		t.Errorf("audit log: %d entries, %v", count, err)
	}
}

func TestAnotherReaderSeesTheSame(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	k.put(&store.Block{Head: mine, TokenID: "stolen"})
	for range 20 {
		r := k.open()
		if same(r.view.Load(), k.Records().view.Load()) != "" {
			t.Errorf("read anew: %s", same(r.view.Load(), k.Records().view.Load()))
		}
		r.stop()
		p.MaxBody++
		k.put(p)
	}
}

// same says in what two views differ.
func same(a, b *view) string {
	if !slices.Equal(a.order, b.order) {
		return "clients"
	}
	for _, client := range a.order {
		x, _ := a.tenants.get(client)
		y, _ := b.tenants.get(client)
		if x.credentials.len() != y.credentials.len() || x.targets.len() != y.targets.len() ||
			x.proxies.len() != y.proxies.len() || x.blocks.len() != y.blocks.len() {
			return "numbers of records of " + client
		}
		what := ""
		x.proxies.after(uuid.UUID{}, func(p *proxy) bool {
			if q, ok := y.proxies.get(p.id); !ok || q.version != p.version || q.alias != p.alias || !slices.Equal(p.credentials, q.credentials) {
				what = "proxy " + p.name
			}
			return what == ""
		})
		if what != "" {
			return what
		}
	}
	if a.head != b.head {
		return fmt.Sprint("head of the audit log ", a.head, b.head)
	}
	return ""
}

func TestTwoProcessesFollowEachOther(t *testing.T) {
	k := newKit(t, nil)
	other := &kit{t: t, mem: k.mem, key: k.key}
	other.Catalog = other.another(nil)
	p := k.usual()
	eventually(t, "the other has the proxy", func() bool { return other.found("pay") })
	p.Alias = "cash"
	k.put(p)
	eventually(t, "the other has the new alias", func() bool { return other.found("cash") && !other.found("pay") })
	if err := k.delete(p, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other has it no more", func() bool { return !other.found("cash") })
	caller, err := other.Credential(t.Context(), store.DefaultClient, "caller")
	if err != nil {
		t.Fatal(err)
	}
	caller.Name = "renamed"
	other.put(caller)
	eventually(t, "the first has the new name", func() bool {
		_, err := k.Credential(t.Context(), store.DefaultClient, "renamed")
		_, old := k.Credential(t.Context(), store.DefaultClient, "caller")
		return err == nil && errors.Is(old, store.ErrNotFound)
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("not so: ", what)
}

func TestWhatIsDeclaredIsSeenAndNotChanged(t *testing.T) {
	d := &Declared{
		Credentials: []DeclaredCredential{{Record: &store.Credential{Name: "config-key", Side: store.ProxySide, AuthType: "key"}, Accept: &verify.Credential{}}},
		Targets:     []DeclaredTarget{{Record: &store.Target{Name: "config-target"}}},
		Proxies:     []DeclaredProxy{{Record: &store.Proxy{Name: "config-proxy"}}},
	}
	k := newKit(t, d)
	k.usual()
	list, _, err := k.Proxies(t.Context(), store.DefaultClient, Query{})
	if err != nil || len(list) != 2 || !list[0].Declared || list[1].Declared {
		t.Fatalf("%v %v", list, err)
	}
	byName, err := k.Credential(t.Context(), store.DefaultClient, "config-key")
	if err != nil || !byName.Declared || byName.ID != DeclaredID(store.Credentials, "config-key") {
		t.Fatalf("%+v %v", byName, err)
	}
	for what, change := range map[string]func(tx *Tx) error{
		"change":     func(tx *Tx) error { _, err := tx.Credential(store.DefaultClient, "config-key"); return err },
		"its name":   func(tx *Tx) error { return tx.Put("create", keyCredential("config-key", key2)) },
		"its route":  func(tx *Tx) error { p := aProxy("x"); p.Alias = "config-proxy"; return tx.Put("create", p) },
		"its target": func(tx *Tx) error { return tx.Put("create", aTarget("config-target")) },
	} {
		err := k.Change(t.Context(), admin, change)
		if !errors.As(err, new(*Conflict)) || !strings.Contains(err.Error(), "declared in the configuration") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range []string{"stripe", "pay"} {
		c := New(k.ctx, k.log, Options{Declared: &Declared{Proxies: []DeclaredProxy{{Record: &store.Proxy{Name: name}}}}})
		err := c.Open(k.Records())
		wantError(t, err, "proxy "+name+" is declared in the configuration, and ")
		wantError(t, err, "made through the API (id ")
	}
}

func TestPages(t *testing.T) {
	k := newKit(t, nil)
	var want []string
	for i := range 25 {
		c := keyCredential(fmt.Sprintf("c%02d", i), fmt.Sprintf("%s-%d", key1, i))
		if i%2 == 1 {
			c = bearerCredential(c.Name, "token-0123456789")
		}
		k.put(c)
		want = append(want, c.Name)
	}
	for _, limit := range []int{1, 7, 24, 25, 26, 0} {
		var got []string
		after, pages := "", 0
		for {
			list, next, err := k.Credentials(t.Context(), store.DefaultClient, Query{Limit: limit, After: after})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				got = append(got, c.Name)
			}
			if pages++; next == "" || pages > 30 {
				break
			}
			after = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	list, _, err := k.Credentials(t.Context(), store.DefaultClient, Query{Side: store.TargetSide, AuthType: "bearer"})
	if err != nil || len(list) != 12 {
		t.Errorf("%d bearer credentials, %v", len(list), err)
	}
	if list, _, err = k.Credentials(t.Context(), store.DefaultClient, Query{Name: "c07"}); err != nil || len(list) != 1 {
		t.Errorf("%d credentials of one name, %v", len(list), err)
	}
	if _, _, err = k.Credentials(t.Context(), "nobody", Query{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no such client: %v", err)
	}
}

// TestTables holds the persistent tables against ordinary maps.
func TestTables(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, bulk := range []bool{false, true} {
		var h hashed[uuid.UUID, int]
		var s sorted[int]
		if bulk {
			h.build(idHasher{})
			s.build()
		}
		model := map[uuid.UUID]int{}
		var ids []uuid.UUID
		for i := range 20_000 {
			id := uuid.UUID{byte(rng.IntN(40)), byte(rng.IntN(40)), 12: byte(rng.IntN(4)), 13: byte(rng.IntN(4))}
			if rng.IntN(3) == 0 {
				delete(model, id)
				h.remove(id)
				s.remove(id)
				continue
			}
			model[id] = i
			ids = append(ids, id)
			h.set(id, i, idHasher{})
			s.set(id, i)
		}
		h.finish()
		s.finish()
		if h.m.Len() != len(model) || s.len() != len(model) {
			t.Fatalf("%d and %d entries, want %d", h.m.Len(), s.len(), len(model))
		}
		for _, id := range ids {
			want, ok := model[id]
			a, ina := h.get(id)
			b, inb := s.get(id)
			if ina != ok || inb != ok || a != want || b != want {
				t.Fatalf("%v: %d %v and %d %v, want %d %v", id, a, ina, b, inb, want, ok)
			}
		}
		seen := 0
		s.after(uuid.UUID{}, func(int) bool { seen++; return true })
		if zero, ok := model[uuid.UUID{}]; seen != len(model) && !(ok && seen == len(model)-1) {
			t.Errorf("%d entries are walked, want %d (%d)", seen, len(model), zero)
		}
	}
}

func TestAnIDOfAnotherClientIsNotTaken(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	k.put(&store.Client{Head: store.Head{ID: "acme"}, Name: "Acme"})
	theirs := aTarget("vendor")
	theirs.Head = store.Head{ID: p.TargetID, Client: "acme"}
	var wg sync.WaitGroup
	for i := range 20 { // and others are not hindered by it
		wg.Go(func() {
			if err := k.try(keyCredential(fmt.Sprint("c", i), fmt.Sprint(key2, i))); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			again := *theirs
			if err := k.try(&again); !errors.As(err, new(*Conflict)) {
				t.Errorf("another client's id is taken: %v", err)
			}
		})
	}
	wg.Wait()
}

// TestAllAddressesAreLookedUpAtOnce: a change of many targets runs twice, not once for each.
func TestAllAddressesAreLookedUpAtOnce(t *testing.T) {
	k := newKit(t, nil)
	runs := 0
	err := k.Change(t.Context(), admin, func(tx *Tx) error {
		runs++
		for i := range 200 {
			target := aTarget(fmt.Sprint("t", i))
			target.URL = fmt.Sprintf("http://127.0.%d.%d:9", i/200, i%200)
			if err := tx.Put("create", target); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// TestASecretGoesNowhereElse: a credential without hosts is bound to where it is first used.
func TestASecretGoesNowhereElse(t *testing.T) {
	k := newKit(t, nil)
	p := k.usual()
	elsewhere := aTarget("elsewhere")
	elsewhere.URL = "http://127.0.0.2:9"
	k.put(elsewhere)
	leak := aProxy("leak")
	leak.TargetID = "elsewhere"
	wantError(t, k.try(leak), "credential secret is bound to http://127.0.0.1:9")
	vendor, err := k.Target(t.Context(), store.DefaultClient, "vendor")
	if err != nil {
		t.Fatal(err)
	}
	vendor.URL = "http://127.0.0.2:9"
	wantError(t, k.try(vendor), "is bound to")
	if err := k.delete(p, false); err != nil {
		t.Fatal(err)
	}
	wantError(t, k.try(leak), "is bound to") // also when nothing uses it any more
	secret, err := k.Credential(t.Context(), store.DefaultClient, "secret")
	if err != nil {
		t.Fatal(err)
	}
	secret.Hosts = []string{"http://127.0.0.1:9", "http://127.0.0.2:9"}
	k.put(secret)
	k.put(leak)
	// whoever takes the hosts away wants the secret where it is used then, and nowhere else
	secret.Hosts = nil
	k.put(secret)
	leak.ID, leak.Name, leak.TargetID = "", "back", "vendor"
	wantError(t, k.try(leak), "credential secret is bound to http://127.0.0.2:9")
	if elsewhere, err = k.Target(t.Context(), store.DefaultClient, "elsewhere"); err != nil {
		t.Fatal(err)
	}
	elsewhere.URL = "http://127.0.0.1:9"
	wantError(t, k.try(elsewhere), "is bound to http://127.0.0.2:9")
}

// TestASecretForWhatHadNoneIsBound: a proxy that was made with a credential without a secret
// does not carry the secret that it gets to wherever somebody points its target later.
func TestASecretForWhatHadNoneIsBound(t *testing.T) {
	k := newKit(t, nil)
	nothing := bearerCredential("secret", "x")
	nothing.AuthType, nothing.Spec = "none", store.Secret(`{"kind":"none"}`)
	k.put(keyCredential("caller", key1), nothing, aTarget("vendor"))
	k.put(aProxy("stripe"))
	secret, err := k.Credential(t.Context(), store.DefaultClient, "secret")
	if err != nil {
		t.Fatal(err)
	}
	with := bearerCredential("secret", "sk_test_0123456789")
	secret.AuthType, secret.Spec = with.AuthType, with.Spec
	k.put(secret)
	vendor, err := k.Target(t.Context(), store.DefaultClient, "vendor")
	if err != nil {
		t.Fatal(err)
	}
	vendor.URL = "http://127.0.0.2:9"
	wantError(t, k.try(vendor), "is bound to http://127.0.0.1:9")
}

// TestRequestsBeforeTheStoreIsOpen: Caddy starts apps in any order. What a configuration cannot
// do without is opened for requests, and as long as it cannot be, nobody gets through.
func TestRequestsBeforeTheStoreIsOpen(t *testing.T) {
	k := newKit(t, nil)
	k.usual()
	k.put(&store.Block{Head: mine, Subject: "mallory"})
	failure := errors.New("the disk is gone")
	var c *Catalog
	c = New(k.ctx, k.log, Options{Wanted: func() error {
		if failure != nil {
			return failure
		}
		return c.Open(k.Records())
	}})
	t.Cleanup(c.Close)
	list := c.Blocklist(store.DefaultClient)
	if g, err := c.Find("pay"); g != nil || !errors.Is(err, failure) {
		t.Errorf("%v %v", g, err)
	}
	if !list.Revoked("", "alice", "", time.Time{}) {
		t.Error("nobody is revoked by a list that cannot be read")
	}
	failure = nil
	if list.Revoked("", "alice", "", time.Time{}) || !list.Revoked("", "mallory", "", time.Time{}) {
		t.Error("the list is not read")
	}
	if g, err := c.Find("pay"); g == nil || err != nil {
		t.Errorf("%v %v", g, err)
	}
	without := New(k.ctx, k.log, Options{})
	if g, err := without.Find("pay"); g != nil || err != nil || without.Blocklist("x").Revoked("", "mallory", "", time.Time{}) {
		t.Errorf("without a store: %v %v", g, err)
	}
}

// TestAPanicEndsNothingButItself: the gateway's own work is done by the goroutine that makes
// everybody's changes.
func TestAPanicEndsNothingButItself(t *testing.T) {
	k := newKit(t, nil)
	wantError(t, k.Records().exclusively(func() error { panic("boom") }), "a change panicked: boom")
	err := k.Records().wait(t.Context(), func(b *batch, _ *view) (*view, bool, error) {
		b.puts = append(b.puts, store.Put{Bucket: store.Targets, Key: "half", Version: 1, Value: aTarget("half")})
		panic("boom")
	})
	wantError(t, err, "a change panicked: boom")
	k.usual()
}
